//! A part of all entries, behind one lock: those of the last callers as they are judged, the others packed.

use std::sync::Arc;

use foldhash::fast::RandomState;

use super::cells::Position;
use super::entry::{Entry, Home};
use super::form::Moments;
use super::packed::Packed;
use super::pool::Pools;
use crate::clock::Timestamp;

/// Packed entries that a sweep looks at while it holds the lock: some tens of microseconds.
pub(super) const SLICE: usize = 256;

#[derive(Debug)]
pub(super) struct Shard {
    /// The last to call comes first. Few, so that looking through them costs less than a map would.
    unpacked: Vec<(u64, Box<Entry>)>,
    most_unpacked: usize,
    packed: Packed,
}

impl Shard {
    pub fn new(home: Home, most_unpacked: usize, hasher: RandomState, pools: &Pools) -> Self {
        Self { unpacked: Vec::new(), most_unpacked, packed: Packed::new(home, hasher, pools) }
    }

    pub fn get(&mut self, hash: u64, identifier: &Arc<str>, moments: impl Fn() -> Moments) -> Option<&mut Entry> {
        if self.unpacked.len() > self.most_unpacked {
            self.pack(moments());
        }
        let found = self.unpacked.iter().position(|(of, entry)| *of == hash && entry.identifier == *identifier);
        match found {
            Some(at) => self.unpacked.get_mut(..=at)?.rotate_right(1),
            None => {
                let entry = self.packed.take(hash, identifier, moments())?;
                self.unpacked.insert(0, (hash, Box::new(entry)));
            }
        }
        self.unpacked.first_mut().map(|(_, entry)| &mut **entry)
    }

    /// One that is not there yet. It is packed when others have called since.
    pub fn add(&mut self, hash: u64, entry: Entry) {
        self.unpacked.insert(0, (hash, Box::new(entry)));
    }

    pub fn for_each(&self, moments: Moments, mut look: impl FnMut(&Entry)) {
        self.unpacked.iter().for_each(|(_, entry)| look(entry));
        self.packed.for_each(moments, look);
    }

    pub fn clear(&mut self, pools: &Pools) {
        self.unpacked.clear();
        self.packed.clear(pools);
    }

    /// Lets go of what can decide nothing any more, a part at a time. False when all has been seen.
    pub fn sweep(&mut self, position: &mut Position, now: Timestamp, moments: Moments) -> bool {
        if *position == Position::default() {
            self.unpacked.retain_mut(|(_, entry)| entry.sweep(now));
        }
        let is_more = self.packed.sweep(position, SLICE, now, moments);
        if !is_more {
            self.packed.put_together();
        }
        is_more
    }

    fn pack(&mut self, moments: Moments) {
        while self.unpacked.len() > self.most_unpacked
            && let Some((hash, entry)) = self.unpacked.pop()
        {
            if let Err(entry) = self.packed.put(hash, entry, moments) {
                self.unpacked.push((hash, entry));
                return;
            }
        }
    }
}
