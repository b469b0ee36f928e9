//! Where somebody is counted: in an entry of their own, or in one that is shared.

use std::hash::BuildHasher;
use std::sync::{Arc, Mutex};

use super::entry::{BASE_BUCKETS, Entry, Home, Terms};
use super::form::Moments;
use super::pool::{Pools, Slots};
use super::shard::Shard;
use super::{RateLimiter, SHARDS, lock};
use crate::identity::SourceName;
use crate::policy::Counted;

impl RateLimiter {
    /// Does something with the entry that this source is counted in; makes it, if there is none.
    pub(super) fn with_entry<T>(&self, name: &SourceName, terms: Terms<'_>, act: impl FnOnce(&mut Entry) -> T) -> T {
        self.find(&self.pools, name, terms, |found| found.or_made(act))
    }

    /// The same for somebody who is counted already, or is listed by name.
    pub(super) fn with_home<T>(&self, home: Home, identifier: &Arc<str>, act: impl FnOnce(&mut Entry) -> T) -> T {
        self.find_home(&self.pools, home, identifier, |found| found.or_made(act))
    }

    /// Finds the entry that this source is counted in, or where it would be.
    pub(super) fn find<T>(&self, pools: &Pools, name: &SourceName, terms: Terms<'_>, act: impl FnOnce(Found<'_>) -> T) -> T {
        if terms.source.counted == Counted::Together {
            return self.find_home(pools, Home::Shared, &terms.source.pattern.shared(), act);
        }
        let name = name.shared();
        if terms.source.pattern.is_single() {
            return self.find_home(pools, Home::Own, &name, act);
        }
        let hash = self.hash(&name);
        let moments = || self.moments();
        if let Some(entry) = lock(self.shard(hash)).get(hash, &name, moments) {
            return act(Found::There(entry));
        }
        let pattern = terms.source.pattern.shared();
        let of_pattern = self.hash(&pattern);
        let mut shared = lock(&self.shared);
        // Who may have been counted in the shared entry in a window that still runs stays there until it ends: with an entry of
        // its own it would start again from nothing.
        if !shared.get(of_pattern, &pattern, moments).is_some_and(|entry| entry.is_live(terms.at)) {
            let mut own = lock(self.shard(hash));
            if let Some(entry) = own.get(hash, &name, moments) {
                return act(Found::There(entry));
            }
            if let Some(slots) = pools.guests.take(BASE_BUCKETS, terms.most_buckets()) {
                return act(Found::Missing { shard: &mut own, hash, home: Home::Own, identifier: name, slots });
            }
        }
        self.find_in(&mut shared, pools, Home::Shared, of_pattern, &pattern, act)
    }

    fn find_home<T>(&self, pools: &Pools, home: Home, identifier: &Arc<str>, act: impl FnOnce(Found<'_>) -> T) -> T {
        let hash = self.hash(identifier);
        let mut shard = lock(match home {
            Home::Own => self.shard(hash),
            Home::Shared => &self.shared,
        });
        self.find_in(&mut shard, pools, home, hash, identifier, act)
    }

    fn find_in<T>(
        &self,
        shard: &mut Shard,
        pools: &Pools,
        home: Home,
        hash: u64,
        identifier: &Arc<str>,
        act: impl FnOnce(Found<'_>) -> T,
    ) -> T {
        if let Some(entry) = shard.get(hash, identifier, || self.moments()) {
            return act(Found::There(entry));
        }
        let slots = pools.listed.take_anyway(BASE_BUCKETS);
        act(Found::Missing { shard, hash, home, identifier: Arc::clone(identifier), slots })
    }

    pub(super) fn hash(&self, identifier: &str) -> u64 {
        self.hasher.hash_one(identifier)
    }

    pub(super) fn shard(&self, hash: u64) -> &Mutex<Shard> {
        // Of other bits than those that find an entry in its shard.
        let part = usize::try_from(hash >> 32).unwrap_or(0);
        #[expect(clippy::indexing_slicing, reason = "a remainder is smaller than its divisor")]
        &self.own[part % SHARDS]
    }

    pub(super) fn moments(&self) -> Moments {
        Moments { began: self.began, nanos: self.clock.monotonic_nanos() }
    }
}

/// Where somebody is counted, or would be.
pub(super) enum Found<'e> {
    There(&'e mut Entry),
    Missing { shard: &'e mut Shard, hash: u64, home: Home, identifier: Arc<str>, slots: Slots },
}

impl Found<'_> {
    fn or_made<T>(self, act: impl FnOnce(&mut Entry) -> T) -> T {
        match self {
            Self::There(entry) => act(entry),
            Self::Missing { shard, hash, home, identifier, slots } => {
                let mut entry = Entry::new(home, identifier, slots);
                let acted = act(&mut entry);
                shard.add(hash, entry);
                acted
            }
        }
    }

    pub fn copy(self) -> Entry {
        match self {
            Self::There(entry) => entry.copy(),
            Self::Missing { home, identifier, slots, .. } => Entry::new(home, identifier, slots),
        }
    }
}
