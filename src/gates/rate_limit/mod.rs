//! The limits: how much each source may use, in all and of each endpoint. Decided in memory alone; what was counted goes
//! to `rate_limits` with the call's record, and comes back from there after a restart (`ledger`).
//!
//! Windows are aligned and exact (`window`): of every window at most its limit of calls pass, whatever their order or number at once.
//! Every authenticated call counts, refused ones too. governor smooths bursts inside the windows (`burst`).

mod bucket;
mod burst;
mod entry;
mod held;
mod ledger;
mod pool;
pub mod strangers;
mod window;

use std::hash::BuildHasher;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use foldhash::HashMap;
use foldhash::fast::RandomState;

use crate::call::Count;
use crate::clock::{Clock, Timestamp};
use crate::identity::{Endpoint, SERVICE_ROLE, SourceName};
use crate::policy::{Counted, Limits, Source};
use crate::verdict::{Denial, LimitScope, Limited, Standings, Verdict};
use bucket::Refused;
use entry::{BASE_BUCKETS, Entry, Home, Terms};
pub use held::{EarlierCounts, Held, MOST_HELD};
pub use ledger::Usage;
use pool::{Pools, Slots};

/// More than any machine has cores; a lock is held for well under a microsecond.
const SHARDS: usize = 64;

type Entries = HashMap<Arc<str>, Entry>;

/// The counts of all sources: one for the whole gatekeeper.
#[derive(Debug)]
pub struct RateLimiter {
    clock: Clock,
    hasher: RandomState,
    /// The sources with an entry of their own, by name.
    own: [Mutex<Entries>; SHARDS],
    /// The entries that sources of a pattern share when there are too many for one each, by pattern. Locked before a shard of
    /// `own`, never after.
    shared: Mutex<Entries>,
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
        Self {
            clock,
            hasher: RandomState::default(),
            own: std::array::from_fn(|_| Mutex::default()),
            shared: Mutex::default(),
            pools: Pools::default(),
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

    /// Lets go of every count that can decide nothing any more. Called every minute; holds one lock at a time.
    pub fn sweep(&self, now: Timestamp) {
        for entries in self.own.iter().chain([&self.shared]) {
            let mut entries = lock(entries);
            entries.retain(|_, entry| entry.sweep(now));
            if entries.capacity() / 4 > entries.len() {
                let room = entries.len() * 2;
                entries.shrink_to(room);
            }
        }
    }

    /// How many buckets are held: at most `limits.buckets`, if that is more than four for every entry that policy lists.
    pub fn buckets(&self) -> usize {
        self.pools.listed.held() + self.pools.guests.held()
    }

    fn count_of(&self, identifier: Arc<str>, at: Timestamp) -> Count {
        Count { identifier, endpoint: Arc::clone(&self.labels.unreached), minute: at.floor(60) }
    }

    /// Does something with the entry that this source is counted in; makes it, if there is none.
    fn with_entry<T>(&self, name: &SourceName, terms: Terms<'_>, act: impl FnOnce(&mut Entry) -> T) -> T {
        self.find(&self.pools, name, terms, |found| act(found.or_made()))
    }

    /// The same for somebody who is counted already, or is listed by name.
    fn with_home<T>(&self, home: Home, identifier: &Arc<str>, act: impl FnOnce(&mut Entry) -> T) -> T {
        self.find_home(&self.pools, home, identifier, |found| act(found.or_made()))
    }

    /// Finds the entry that this source is counted in, or where it would be.
    fn find<T>(&self, pools: &Pools, name: &SourceName, terms: Terms<'_>, act: impl FnOnce(Found<'_>) -> T) -> T {
        if terms.source.counted == Counted::Together {
            return self.find_home(pools, Home::Shared, &terms.source.pattern.shared(), act);
        }
        let shard = self.shard(name.as_str());
        if let Some(entry) = lock(shard).get_mut(name.as_str()) {
            return act(Found::There(entry));
        }
        if terms.source.pattern.is_single() {
            return self.find_home(pools, Home::Own, &name.shared(), act);
        }
        let pattern = terms.source.pattern.as_str();
        let mut shared = lock(&self.shared);
        // Who may have been counted in the shared entry in a window that still runs stays there until it ends: with an entry of
        // its own it would start again from nothing.
        if !shared.get(pattern).is_some_and(|entry| entry.is_live(terms.at)) {
            let mut own = lock(shard);
            if let Some(entry) = own.get_mut(name.as_str()) {
                return act(Found::There(entry));
            }
            if let Some(slots) = pools.guests.take(BASE_BUCKETS, terms.most_buckets()) {
                return act(Found::Missing { entries: &mut own, home: Home::Own, identifier: name.shared(), slots });
            }
        }
        match shared.get_mut(pattern) {
            Some(entry) => act(Found::There(entry)),
            None => act(Found::listed(&mut shared, pools, Home::Shared, pattern.into())),
        }
    }

    fn find_home<T>(&self, pools: &Pools, home: Home, identifier: &Arc<str>, act: impl FnOnce(Found<'_>) -> T) -> T {
        let mut entries = lock(match home {
            Home::Own => self.shard(identifier),
            Home::Shared => &self.shared,
        });
        match entries.get_mut(identifier) {
            Some(entry) => act(Found::There(entry)),
            None => act(Found::listed(&mut entries, pools, home, Arc::clone(identifier))),
        }
    }

    fn shard(&self, name: &str) -> &Mutex<Entries> {
        let hash = usize::try_from(self.hasher.hash_one(name) >> 32).unwrap_or(0);
        #[expect(clippy::indexing_slicing, reason = "a remainder is smaller than its divisor")]
        &self.own[hash % SHARDS]
    }
}

/// Where somebody is counted, or would be.
enum Found<'e> {
    There(&'e mut Entry),
    Missing { entries: &'e mut Entries, home: Home, identifier: Arc<str>, slots: Slots },
}

impl<'e> Found<'e> {
    fn listed(entries: &'e mut Entries, pools: &Pools, home: Home, identifier: Arc<str>) -> Self {
        Self::Missing { entries, home, identifier, slots: pools.listed.take_anyway(BASE_BUCKETS) }
    }

    fn or_made(self) -> &'e mut Entry {
        match self {
            Self::There(entry) => entry,
            Self::Missing { entries, home, identifier, slots } => {
                entries.entry(identifier).or_insert_with_key(|identifier| Entry::new(home, Arc::clone(identifier), slots))
            }
        }
    }

    fn copy(self) -> Entry {
        match self {
            Self::There(entry) => entry.copy(),
            Self::Missing { home, identifier, slots, .. } => Entry::new(home, identifier, slots),
        }
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
