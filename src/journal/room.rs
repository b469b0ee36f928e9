//! How many bytes the journals of this process may take, its own and those it adopted, and how many they do.

use std::sync::atomic::{AtomicU64, Ordering};

use super::format::Class;

const MIB: u64 = 1 << 20;
/// What is kept free for each call under way: more than all but the longest records take.
const ENTRY: u64 = 4096;

/// The bound on everything in a process's journals.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    pub bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { bytes: 1024 * MIB }
    }
}

impl Limits {
    /// Small enough that little waits for the end of its segment, large enough that making and removing them costs nothing.
    pub(super) fn segment(self) -> u64 {
        (self.bytes / 64).clamp(4096, 16 * MIB)
    }

    /// For the entries of what has begun when room runs out: of so many calls, or of some that nobody counts.
    fn reserve(self, under_way: u64) -> u64 {
        under_way.saturating_mul(ENTRY).clamp(self.bytes / 32, self.bytes / 2)
    }

    fn of(self, class: Class) -> u64 {
        match class {
            Class::Ordinary => self.bytes,
            // Anybody can make these: the last fifth is kept for calls of those who are known.
            Class::Stranger => self.bytes - self.bytes / 5,
        }
    }
}

#[derive(Debug)]
pub(super) struct Room {
    pub limits: Limits,
    used: AtomicU64,
}

impl Room {
    pub fn new(limits: Limits) -> Self {
        Self { limits, used: AtomicU64::new(0) }
    }

    pub fn used(&self) -> u64 {
        self.used.load(Ordering::Acquire)
    }

    pub fn has(&self, bytes: u64, class: Class) -> bool {
        self.used().saturating_add(bytes) <= self.limits.of(class)
    }

    /// Whether there is, for entries of this class, no more than those need whose calls are under way.
    pub fn is_full(&self, class: Class, under_way: u64) -> bool {
        !self.has(self.limits.reserve(under_way), class)
    }

    pub fn take(&self, bytes: u64) {
        self.used.fetch_add(bytes, Ordering::AcqRel);
    }

    pub fn give_back(&self, bytes: u64) {
        // Never below nothing, whatever is given back twice.
        let less = |used: u64| Some(used.saturating_sub(bytes));
        let _before = self.used.fetch_update(Ordering::AcqRel, Ordering::Acquire, less);
    }
}
