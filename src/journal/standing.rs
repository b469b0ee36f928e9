//! How the journal stands, for metrics and health; and what keeps it from working, told once when it begins and once when it is over.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::Ordering;

use uuid::Uuid;

use super::{Shared, locked};
use crate::clock::Timestamp;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// On disk, the adopted journals' included, and how many there may be.
    pub bytes: u64,
    pub limit: u64,
    /// Numbers of this process that are not written to the database.
    pub waiting: u64,
    /// Since when the first of them waits, or a second earlier; after an hour of waiting a few seconds.
    pub oldest_unwritten: Option<Timestamp>,
    /// Journals of dead processes that are being read.
    pub orphans: usize,
    /// Why it does not work as it should; it goes on trying.
    pub trouble: Option<String>,
}

pub(super) fn of(shared: &Shared) -> Standing {
    // In this order: what is written was given away before.
    let written = shared.home.written.load(Ordering::Acquire);
    let taken = shared.home.taken.load(Ordering::Acquire);
    Standing {
        bytes: shared.room.used(),
        limit: shared.room.limits.bytes,
        waiting: taken.saturating_sub(written),
        oldest_unwritten: locked(&shared.log).oldest_after(written),
        orphans: shared.orphans.load(Ordering::Acquire),
        trouble: shared.troubles.first(),
    }
}

/// What can go wrong apart from the rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Part {
    Write,
    Sync,
    MakeSegment,
    Tidy,
    /// Of this instance's journal.
    Read(Uuid),
}

impl Part {
    /// Whether entries cannot be expected to be kept meanwhile.
    const fn is_writing(self) -> bool {
        match self {
            Self::Write | Self::Sync => true,
            // Without a next segment the one that is there grows.
            Self::MakeSegment | Self::Tidy | Self::Read(_) => false,
        }
    }

    const fn well(self) -> &'static str {
        match self {
            Self::Write => "entries are written again",
            Self::Sync => "the disk takes what is written again",
            Self::MakeSegment => "segments can be made again",
            Self::Tidy => "what is in the database is freed again",
            Self::Read(_) => "it can be read again",
        }
    }
}

#[derive(Debug, Default)]
pub(super) struct Troubles(Mutex<BTreeMap<Part, String>>);

impl Troubles {
    pub fn set(&self, part: Part, why: String) {
        let mut troubles = locked(&self.0);
        if !troubles.contains_key(&part) {
            tracing::error!("journal: {why}");
        }
        troubles.insert(part, why);
    }

    pub fn clear(&self, part: Part) {
        if locked(&self.0).remove(&part).is_some() {
            tracing::info!("journal: {}", part.well());
        }
    }

    /// Nobody tries it any more.
    pub fn forget(&self, part: Part) {
        locked(&self.0).remove(&part);
    }

    pub fn keep_from_writing(&self) -> bool {
        locked(&self.0).keys().any(|part| part.is_writing())
    }

    pub fn first(&self) -> Option<String> {
        locked(&self.0).values().next().cloned()
    }
}
