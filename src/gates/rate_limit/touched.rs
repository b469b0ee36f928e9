//! How many packed entries one operation looks at, and that it is a small part of a million: whoever calls meanwhile waits for no more. It
//! is counted and not timed, so it is the same on every machine; `benches/limits.rs` has the times.

use std::cell::Cell;
use std::sync::Arc;
use std::time::Duration;

use super::entry::BASE_BUCKETS;
use super::shard::SLICE;
use super::{RateLimiter, SHARDS, Subject};
use crate::clock::{Clock, ManualClock, Timestamp};
use crate::identity::{Action, Endpoint, NamePattern, Place, SourceName, TargetName};
use crate::policy::{Allowance, Burst, Counted, Limits, Source, Sources, Window};
use crate::verdict::Verdict;

const SOURCES: usize = 1_000_000;
/// What a shard holds of them and a quarter more, for shards are not all alike.
const A_SHARD: usize = SOURCES / SHARDS * 5 / 4;
/// Shards know nothing of one another, so a few are looked at.
const LOOKED_AT: usize = 6;

thread_local! {
    static CELLS: Cell<usize> = const { Cell::new(0) };
}

/// A cell is looked at.
pub(super) fn cell() {
    CELLS.with(|cells| cells.set(cells.get() + 1));
}

/// Whoever bears such a name, each for itself: a hundred calls a minute, in all and to any one endpoint.
pub(super) fn agents(burst: Option<Burst>) -> Source {
    let place = Place::new("limits.toml:1");
    let windows = [Window { limit: 100, secs: 60 }].into();
    let allowance = Arc::new(Allowance { windows, burst, place: place.clone(), burst_place: place.clone() });
    Source {
        pattern: NamePattern::parse("agent-*").unwrap(),
        total: Arc::clone(&allowance),
        endpoint: allowance,
        overrides: vec![],
        counted: Counted::Apart,
        certificates: None,
        place,
    }
}

struct House {
    limiter: RateLimiter,
    sources: Sources,
    limits: Limits,
    endpoint: Endpoint,
}

impl House {
    fn new() -> Self {
        let source = agents(None);
        Self {
            limiter: RateLimiter::new(Clock::Manual(ManualClock::at(Timestamp::from_secs(86_400)))),
            sources: Sources { patterns: vec![Arc::new(source)], ..Sources::default() },
            limits: Limits { endpoints_per_source: 64, buckets: SOURCES * 8, stranger_records_per_minute: 1, window_lengths: vec![60] },
            endpoint: Endpoint::of(&TargetName::parse("brain").unwrap(), Action::parse("chat").as_ref()),
        }
    }

    fn looks_at(&self, name: &SourceName) -> bool {
        let shard = self.limiter.shard(self.limiter.hash(name.as_str()));
        self.limiter.own.iter().take(LOOKED_AT).any(|looked_at| std::ptr::eq(looked_at, shard))
    }

    fn call(&self, name: &SourceName, at: Timestamp) {
        let subject = Subject::Source { name, policy: self.sources.find(name).unwrap() };
        let Verdict::Allow(ticket) = self.limiter.limit_source(subject, &self.limits, at) else { panic!("{name:?} is over its limit") };
        assert!(matches!(self.limiter.limit_endpoint(ticket, &self.endpoint), Verdict::Allow(_)));
    }
}

/// The most cells that any of the operations looks at.
fn most<T>(mut operations: impl Iterator<Item = T>) -> usize {
    let mut most = 0;
    loop {
        CELLS.with(|cells| cells.set(0));
        let done = operations.next();
        most = most.max(CELLS.with(Cell::get));
        if done.is_none() {
            return most;
        }
    }
}

#[test]
fn of_a_million_sources_nothing_looks_at_more_than_a_small_part_at_once() {
    let (house, now) = (&House::new(), Timestamp::from_secs(86_400));
    let [next_minute, later] = [60, 600].map(|secs| now.plus(Duration::from_secs(secs)));
    let names: Vec<_> =
        (0..SOURCES).map(|n| SourceName::parse(&format!("agent-{n}")).unwrap()).filter(|name| house.looks_at(name)).collect();
    let calls = |at| names.iter().map(move |name| (name, at)).map(|(name, at)| house.call(name, at));

    // An index that grows is put together anew.
    assert!(most(calls(now)) <= A_SHARD);
    assert_eq!(house.limiter.buckets(), names.len() * (BASE_BUCKETS + 1));
    // Everybody's window is over, and another begins. Whoever calls is looked up, unpacked and packed again.
    assert!(most(calls(next_minute)) <= 8);
    assert!(most(names.iter().map(|name| house.limiter.usage(&house.sources, name.as_str(), next_minute))) <= 8);
    assert!(most(names.iter().map(|name| house.limiter.take_back(name.as_str(), "brain:chat", next_minute, 1))) <= 8);
    // What is handed over of a shard was counted at one moment. Those that have become wider have left as many cells behind.
    assert!(most(house.limiter.held(next_minute)) <= 3 * A_SHARD);
    // A sweep lets others go first after each slice. It passes over cells that are free.
    assert!(most(house.limiter.sweep(next_minute)) <= A_SHARD + 4 * SLICE);
    assert!(most(house.limiter.sweep(later)) <= 2 * A_SHARD + 8 * SLICE);
    assert_eq!(house.limiter.buckets(), 0);
}
