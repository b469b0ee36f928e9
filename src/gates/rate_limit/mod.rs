//! The limits: how much each source may use, in all and of each endpoint. Decided in memory alone; what was counted goes
//! to `rate_limits` with the call's record, and comes back from there after a restart (`ledger`).
//!
//! Windows are aligned and exact (`window`): of every window at most its limit of calls pass, whatever their order or number at once.
//! Every authenticated call counts, refused ones too. governor smooths bursts inside the windows (`burst`).

mod bucket;
mod burst;
mod cells;
mod entry;
mod finding;
mod form;
mod held;
mod ledger;
mod packed;
mod pool;
mod shard;
pub mod strangers;
mod texts;
#[cfg(test)]
mod touched;
mod window;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use foldhash::fast::RandomState;

use crate::call::Count;
use crate::clock::{Clock, Timestamp};
use crate::identity::{Endpoint, SERVICE_ROLE, SourceName};
use crate::policy::{Limits, Source};
use crate::verdict::{Denial, LimitScope, Limited, Standings, Verdict};
use bucket::Refused;
use cells::Position;
use entry::{Entry, Home, Terms};
pub use held::{EarlierCounts, Held, MOST_HELD};
pub use ledger::Usage;
use pool::Pools;
use shard::Shard;

/// More than any machine has cores, and so many that a part of a million sources is small: what has to be done for all of a part at once,
/// as when its index grows, is done in a fraction of a millisecond.
const SHARDS: usize = 256;
/// Of each shard's entries that are ready to be judged; the others are packed. Together more sources than call at once almost anywhere.
const UNPACKED: usize = 8;
/// The same, of the entries that patterns share.
const UNPACKED_SHARED: usize = 64;

/// The counts of all sources: one for the whole gatekeeper.
#[derive(Debug)]
pub struct RateLimiter {
    clock: Clock,
    /// Seeded anew by each process: nobody knows which names meet in one shard.
    hasher: RandomState,
    began: Timestamp,
    /// The sources with an entry of their own, by name.
    own: Box<[Mutex<Shard>]>,
    /// The entries that sources of a pattern share when there are too many for one each, by pattern. Locked before a shard of
    /// `own`, never after.
    shared: Mutex<Shard>,
    pools: Pools,
    labels: Labels,
}

/// The labels that need no allocation per call.
#[derive(Debug)]
struct Labels {
    unreached: Arc<str>,
    others: Arc<str>,
    service_role: Arc<str>,
}

/// Whom a call is counted for.
#[derive(Clone, Copy, Debug)]
pub enum Subject<'p> {
    /// A source, and the entry of policy that lists it.
    Source { name: &'p SourceName, policy: &'p Source },
    /// Counted, never limited.
    ServiceRole,
    /// Not authenticated, and enforcement is off: neither counted nor limited, so that it harms nobody.
    Stranger,
}

/// Proof that a call was counted and judged by its source's total.
#[derive(Debug)]
#[must_use = "a call that goes on needs it for the endpoint's limit"]
pub struct SourceTicket<'p> {
    basis: Basis<'p>,
    at: Timestamp,
    count: Option<Count>,
    standings: Standings,
}

/// Proof that a call was counted and judged by its endpoint's limit too.
#[derive(Debug)]
#[must_use = "a call that goes on needs it as its proof"]
pub struct EndpointTicket {
    count: Option<Count>,
    standings: Standings,
}

#[derive(Debug)]
enum Basis<'p> {
    Limited { counts: Counts, source: &'p Source, limits: &'p Limits },
    Unlimited,
}

/// Whether a call is made, or only asked about.
#[derive(Clone, Copy)]
enum Making {
    Made,
    Imagined,
}

/// Where a call is counted.
#[derive(Debug)]
enum Counts {
    In(Home),
    /// Only looked at: what the call would change goes with the ticket.
    InCopy(Box<Entry>),
}

impl SourceTicket<'_> {
    /// What `rate_limits` gets if the call ends before its endpoint is known.
    pub fn count(&self) -> Option<&Count> {
        self.count.as_ref()
    }

    pub fn standings(&self) -> Standings {
        self.standings
    }
}

impl EndpointTicket {
    /// What `rate_limits` gets, instead of what the source's ticket said.
    pub fn count(&self) -> Option<&Count> {
        self.count.as_ref()
    }

    pub fn standings(&self) -> Standings {
        self.standings
    }
}

impl RateLimiter {
    pub fn new(clock: Clock) -> Self {
        Self::packing(clock, UNPACKED, UNPACKED_SHARED)
    }

    /// One that packs every entry as soon as another is asked for: what it says is the same, and slower.
    pub fn packing_all(clock: Clock) -> Self {
        Self::packing(clock, 0, 0)
    }

    fn packing(clock: Clock, unpacked: usize, unpacked_shared: usize) -> Self {
        let (hasher, pools) = (RandomState::default(), Pools::default());
        Self {
            began: clock.now(),
            clock,
            own: (0..SHARDS).map(|_| Mutex::new(Shard::new(Home::Own, unpacked, hasher.clone(), &pools))).collect(),
            shared: Mutex::new(Shard::new(Home::Shared, unpacked_shared, hasher.clone(), &pools)),
            hasher,
            pools,
            labels: Labels { unreached: Endpoint::UNREACHED.into(), others: Endpoint::OTHERS.into(), service_role: SERVICE_ROLE.into() },
        }
    }

    /// Counts a call that arrived at `at`, and judges it by its source's total.
    pub fn limit_source<'p>(&self, subject: Subject<'p>, limits: &'p Limits, at: Timestamp) -> Verdict<SourceTicket<'p>> {
        self.judge_source(Making::Made, subject, limits, at)
    }

    /// What [`Self::limit_source`] would say now. Neither this call nor what its ticket leads to is counted.
    pub fn look<'p>(&self, subject: Subject<'p>, limits: &'p Limits, at: Timestamp) -> Verdict<SourceTicket<'p>> {
        self.judge_source(Making::Imagined, subject, limits, at)
    }

    fn judge_source<'p>(&self, making: Making, subject: Subject<'p>, limits: &'p Limits, at: Timestamp) -> Verdict<SourceTicket<'p>> {
        let uncounted = |count| SourceTicket { basis: Basis::Unlimited, at, count, standings: Standings::default() };
        let (name, source) = match subject {
            Subject::Source { name, policy } => (name, policy),
            Subject::ServiceRole => return Verdict::Allow(uncounted(Some(self.count_of(Arc::clone(&self.labels.service_role), at)))),
            Subject::Stranger => return Verdict::Allow(uncounted(None)),
        };
        let terms = Terms { source, limits, at, clock: &self.clock };
        let (counts, identifier, judgement) = match making {
            Making::Made => {
                self.with_entry(name, terms, |entry| (Counts::In(entry.home), Arc::clone(&entry.identifier), entry.judge_total(terms)))
            }
            Making::Imagined => {
                let mut entry = self.find(&self.pools.apart(), name, terms, |found| found.copy());
                let judgement = entry.judge_total(terms);
                let identifier = Arc::clone(&entry.identifier);
                (Counts::InCopy(Box::new(entry)), identifier, judgement)
            }
        };
        let ticket = SourceTicket {
            basis: Basis::Limited { counts, source, limits },
            at,
            count: Some(self.count_of(identifier, at)),
            standings: Standings { source: judgement.standing, endpoint: None },
        };
        verdict(LimitScope::Source, judgement.refused, ticket)
    }

    /// Judges the call by what its source may use of one endpoint, as of its arrival. Counts it if its ticket was counted.
    pub fn limit_endpoint(&self, ticket: SourceTicket<'_>, endpoint: &Endpoint) -> Verdict<EndpointTicket> {
        let SourceTicket { basis, at, count, standings } = ticket;
        match (basis, count) {
            (Basis::Limited { counts, source, limits }, Some(count)) => {
                let terms = Terms { source, limits, at, clock: &self.clock };
                let (judgement, label) = match counts {
                    Counts::In(home) => self.with_home(home, &count.identifier, |entry| entry.judge_endpoint(endpoint, terms)),
                    Counts::InCopy(mut entry) => entry.judge_endpoint(endpoint, terms),
                };
                let label = label.unwrap_or_else(|| Arc::clone(&self.labels.others));
                let ticket = EndpointTicket {
                    count: Some(Count { endpoint: label, ..count }),
                    standings: Standings { endpoint: judgement.standing, ..standings },
                };
                verdict(LimitScope::Endpoint, judgement.refused, ticket)
            }
            (_, count) => {
                let count = count.map(|count| Count { endpoint: endpoint.as_str().into(), ..count });
                Verdict::Allow(EndpointTicket { count, standings })
            }
        }
    }

    /// Lets go of every count that can decide nothing any more: a part of it for each that is taken of what this returns, so that whoever
    /// takes them can let others go first. Holds one lock at a time.
    pub fn sweep(&self, now: Timestamp) -> impl Iterator<Item = ()> {
        let mut shards = self.own.iter().chain([&self.shared]);
        let (mut shard, mut position) = (shards.next(), Position::default());
        std::iter::from_fn(move || {
            if !lock(shard?).sweep(&mut position, now, self.moments()) {
                (shard, position) = (shards.next(), Position::default());
            }
            Some(())
        })
    }

    /// How many buckets are held: at most `limits.buckets`, if that is more than four for every entry that policy lists.
    pub fn buckets(&self) -> usize {
        self.pools.listed.held() + self.pools.guests.held()
    }

    fn count_of(&self, identifier: Arc<str>, at: Timestamp) -> Count {
        Count { identifier, endpoint: Arc::clone(&self.labels.unreached), minute: at.floor(60) }
    }
}

fn verdict<P>(scope: LimitScope, refused: Option<Refused>, onward: P) -> Verdict<P> {
    match refused {
        None => Verdict::Allow(onward),
        Some(Refused { rule, retry_after, place }) => {
            Verdict::Deny { denial: Denial::Limited(Limited { scope, rule, retry_after, place: Some(place) }), onward }
        }
    }
}

/// A panic elsewhere leaves numbers that are still numbers: refusing every call for it would be worse.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
