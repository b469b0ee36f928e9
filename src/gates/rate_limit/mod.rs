//! The limits: how much each source may use, in all and of each endpoint. Decided in memory alone; what was counted goes
//! to `rate_limits` with the call's record, and comes back from there after a restart (`ledger`).
//!
//! Windows are aligned and exact (`window`): of every window at most its limit of calls pass, whatever their order or number at once.
//! Every authenticated call counts, refused ones too. governor smooths bursts inside the windows (`burst`).

mod bucket;
mod burst;
mod entry;
mod ledger;
mod pool;
pub mod strangers;
mod window;

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::call::Count;
use crate::clock::{Clock, Timestamp};
use crate::identity::{Endpoint, SERVICE_ROLE, SourceName};
use crate::policy::{Counted, Limits, Source};
use crate::verdict::{Denial, LimitScope, Limited, Standings, Verdict};
use bucket::Refused;
use entry::{BASE_BUCKETS, Entry, Home, Terms};
pub use ledger::Usage;
use pool::Pool;

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
    /// The buckets of what policy lists: single names, and the entries that patterns share.
    listed: Pool,
    /// The buckets of sources that a pattern lets in.
    guests: Pool,
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
    Entry { home: Home, source: &'p Source, limits: &'p Limits },
    Unlimited,
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
            hasher: RandomState::new(),
            own: std::array::from_fn(|_| Mutex::default()),
            shared: Mutex::default(),
            listed: Pool::default(),
            guests: Pool::default(),
            labels: Labels { unreached: Endpoint::UNREACHED.into(), others: Endpoint::OTHERS.into(), service_role: SERVICE_ROLE.into() },
        }
    }

    /// Counts a call that arrived at `at`, and judges it by its source's total.
    pub fn limit_source<'p>(&self, subject: Subject<'p>, limits: &'p Limits, at: Timestamp) -> Verdict<SourceTicket<'p>> {
        let uncounted = |count| SourceTicket { basis: Basis::Unlimited, at, count, standings: Standings::default() };
        let (name, source) = match subject {
            Subject::Source { name, policy } => (name, policy),
            Subject::ServiceRole => return Verdict::Allow(uncounted(Some(self.count_of(Arc::clone(&self.labels.service_role), at)))),
            Subject::Stranger => return Verdict::Allow(uncounted(None)),
        };
        let terms = Terms { source, limits, at, clock: &self.clock };
        let (home, identifier, judgement) =
            self.with_entry(name, terms, |entry| (entry.home, Arc::clone(&entry.identifier), entry.judge_total(terms)));
        let ticket = SourceTicket {
            basis: Basis::Entry { home, source, limits },
            at,
            count: Some(self.count_of(identifier, at)),
            standings: Standings { source: judgement.standing, endpoint: None },
        };
        verdict(LimitScope::Source, judgement.refused, ticket)
    }

    /// Judges the call by what its source may use of one endpoint, as of its arrival.
    pub fn limit_endpoint(&self, ticket: SourceTicket<'_>, endpoint: &Endpoint) -> Verdict<EndpointTicket> {
        let SourceTicket { basis, at, count, standings } = ticket;
        match (basis, count) {
            (Basis::Entry { home, source, limits }, Some(count)) => {
                let terms = Terms { source, limits, at, clock: &self.clock };
                let (judgement, label) = self.with_home(home, &count.identifier, |entry| entry.judge_endpoint(endpoint, terms));
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
        self.listed.held() + self.guests.held()
    }

    fn count_of(&self, identifier: Arc<str>, at: Timestamp) -> Count {
        Count { identifier, endpoint: Arc::clone(&self.labels.unreached), minute: at.floor(60) }
    }

    /// Finds or makes the entry that this source is counted in.
    fn with_entry<T>(&self, name: &SourceName, terms: Terms<'_>, act: impl FnOnce(&mut Entry) -> T) -> T {
        if terms.source.counted == Counted::Together {
            return self.with_home(Home::Shared, &terms.source.pattern.shared(), act);
        }
        let shard = self.shard(name.as_str());
        if let Some(entry) = lock(shard).get_mut(name.as_str()) {
            return act(entry);
        }
        if terms.source.pattern.is_single() {
            return self.with_home(Home::Own, &name.shared(), act);
        }
        let pattern = terms.source.pattern.as_str();
        let mut shared = lock(&self.shared);
        // Who may have been counted in the shared entry in a window that still runs stays there until it ends: with an entry of
        // its own it would start again from nothing.
        if !shared.get(pattern).is_some_and(|entry| entry.is_live(terms.at)) {
            let mut own = lock(shard);
            if let Some(entry) = own.get_mut(name.as_str()) {
                return act(entry);
            }
            if let Some(slots) = self.guests.take(BASE_BUCKETS, terms.most_buckets()) {
                let entry = own.entry(name.shared()).or_insert_with_key(|name| Entry::new(Home::Own, Arc::clone(name), slots));
                return act(entry);
            }
        }
        if let Some(entry) = shared.get_mut(pattern) {
            return act(entry);
        }
        act(self.insert(&mut shared, Home::Shared, pattern.into()))
    }

    /// The entry of somebody who is counted already, or is listed by name: it is there, or is made.
    fn with_home<T>(&self, home: Home, identifier: &Arc<str>, act: impl FnOnce(&mut Entry) -> T) -> T {
        let mut entries = lock(match home {
            Home::Own => self.shard(identifier),
            Home::Shared => &self.shared,
        });
        match entries.get_mut(identifier) {
            Some(entry) => act(entry),
            None => act(self.insert(&mut entries, home, Arc::clone(identifier))),
        }
    }

    fn insert<'e>(&self, entries: &'e mut Entries, home: Home, identifier: Arc<str>) -> &'e mut Entry {
        entries
            .entry(identifier)
            .or_insert_with_key(|identifier| Entry::new(home, Arc::clone(identifier), self.listed.take_anyway(BASE_BUCKETS)))
    }

    fn shard(&self, name: &str) -> &Mutex<Entries> {
        let hash = usize::try_from(self.hasher.hash_one(name) >> 32).unwrap_or(0);
        #[expect(clippy::indexing_slicing, reason = "a remainder is smaller than its divisor")]
        &self.own[hash % SHARDS]
    }
}

fn verdict<P>(scope: LimitScope, refused: Option<Refused>, onward: P) -> Verdict<P> {
    match refused {
        None => Verdict::Allow(onward),
        Some(Refused { rule, retry_after }) => {
            Verdict::Deny { denial: Denial::Limited(Limited { scope, rule, retry_after, place: None }), onward }
        }
    }
}

/// A panic elsewhere leaves numbers that are still numbers: refusing every call for it would be worse.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
