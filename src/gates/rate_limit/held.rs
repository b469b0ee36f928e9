//! What is counted, on its way from a process to the one that takes its place: the rows of `rate_limits` may be a second behind.

use std::cmp::Reverse;
use std::sync::Mutex;

use serde::{Deserialize, Serialize};

use super::entry::is_counted;
use super::window::Tally;
use super::{RateLimiter, lock};
use crate::clock::Timestamp;
use crate::identity::Endpoint;
use crate::policy::{Limits, Source, Sources};

/// Counts that are handed over at most: more than the shipped limits let anybody hold.
pub const MOST_HELD: usize = 400_000;

/// What was counted of one source, in all or of one of its endpoints, in windows of one length.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    /// As in `rate_limits`.
    identifier: String,
    of: Of,
    /// Of an endpoint: calls that arrived before may have been counted among the others. In microseconds; older processes do not say it.
    #[serde(default)]
    since: i64,
    secs: u32,
    /// When the current window began, in microseconds.
    start: i64,
    current: u32,
    previous: u32,
}

/// What is counted together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Of {
    Total,
    Others,
    Endpoint(String),
}

impl Of {
    /// All that a row of `rate_limits` counts for, by its endpoint.
    pub fn of_row(endpoint: &str) -> impl Iterator<Item = Self> {
        let beside = match endpoint {
            Endpoint::UNREACHED => None,
            Endpoint::OTHERS => Some(Self::Others),
            endpoint => Some(Self::Endpoint(endpoint.to_owned())),
        };
        std::iter::once(Self::Total).chain(beside)
    }
}

/// Whether the counts of earlier runs are there. The database's are added to what this process has counted itself, so once only.
#[derive(Debug, Default)]
pub struct EarlierCounts(Mutex<Earlier>);

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Earlier {
    #[default]
    Unknown,
    /// They are added one by one: there may be a million.
    FromDatabase,
    /// They hold the database's.
    HandedOver,
}

impl EarlierCounts {
    /// Whether the database's are to be added, with [`Self::add`].
    pub fn begin(&self) -> bool {
        let mut earlier = lock(&self.0);
        let is_first = *earlier == Earlier::Unknown;
        if is_first {
            *earlier = Earlier::FromDatabase;
        }
        is_first
    }

    /// Adds some of the database's. False, and nothing added, if all were handed over meanwhile: they would count twice.
    pub fn add(&self, add: impl FnOnce()) -> bool {
        let earlier = lock(&self.0);
        let is_wanted = *earlier == Earlier::FromDatabase;
        if is_wanted {
            add();
        }
        is_wanted
    }

    /// Takes what is handed over. The database's are not added any more.
    pub fn take(&self, take: impl FnOnce()) {
        let mut earlier = lock(&self.0);
        *earlier = Earlier::HandedOver;
        take();
    }
}

impl Held {
    /// As many as are handed over at most.
    pub fn fullest(mut all: Vec<Self>) -> Vec<Self> {
        if all.len() > MOST_HELD {
            all.sort_unstable_by_key(|held| Reverse(held.current));
            all.truncate(MOST_HELD);
        }
        all
    }
}

impl RateLimiter {
    /// All that can still decide something, a part at a time, so that whoever gathers it can let calls go first; [`Held::fullest`] bounds it.
    pub fn held(&self, now: Timestamp) -> impl Iterator<Item = Vec<Held>> {
        self.own.iter().chain([&self.shared]).map(move |shard| {
            let mut part = Vec::new();
            lock(shard).for_each(self.moments(), |entry| {
                part.extend(entry.tallies(now).map(|(of, since, Tally { secs, start, current, previous })| Held {
                    identifier: entry.identifier.as_ref().to_owned(),
                    of,
                    since: since.as_micros(),
                    secs,
                    start: start.as_micros(),
                    current,
                    previous,
                }));
            });
            part
        })
    }

    /// Takes over what the process before this one held. What is known here already, from the database, is part of that: so of the two the
    /// greater counts. Sources that policy no longer lists are passed over.
    pub fn take_over(&self, sources: &Sources, limits: &Limits, held: &[Held]) {
        let tally = |held: &Held| {
            let Held { secs, start, current, previous, .. } = *held;
            // Every window begins at a multiple of its length, whatever somebody else says.
            Tally { secs, start: Timestamp::from_micros(start).floor(secs), current, previous }
        };
        let mut all: Vec<(&Held, Tally)> = held.iter().map(|held| (held, tally(held))).collect();
        // What has ended may have found room beside what still runs, but must not take it.
        all.sort_by_key(|(_, tally)| Reverse(tally.ends()));
        for (Held { identifier, of, since, .. }, tally) in all {
            let since = Timestamp::from_micros(*since);
            let counts = |source: &Source| is_counted(of, tally.secs, source);
            self.with_listed(sources, limits, identifier, counts, |entry, terms| entry.raise_to(of, since, tally, terms));
        }
    }
}
