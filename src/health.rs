//! How the gatekeeper is, as its probes tell it: kept up to date in the background, so that answering costs nothing and asks nobody.
//! What counts as well is judged here too, by plain functions of what was seen.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;

/// A database that takes this long to answer is not well.
const SLOW: Duration = Duration::from_millis(1000);
/// Security events above this risk count.
pub const RISK: u32 = 70;
/// How far back they count.
pub const SECURITY_WINDOW: Duration = Duration::from_secs(24 * 3600);
/// So many of them are too many.
const SECURITY_EVENTS: u64 = 10;
/// Beyond this nobody needs to know how many.
pub const MOST_EVENTS: u32 = 1000;

#[derive(Debug)]
pub struct Health {
    started: AtomicBool,
    draining: AtomicBool,
    store: ArcSwap<StoreSeen>,
    platform: ArcSwap<Platform>,
    webhooks: ArcSwap<Webhooks>,
}

/// What was seen of the database the last time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoreSeen {
    pub database: Database,
    pub pool: Pool,
    pub security_events: SecurityEvents,
}

/// How many there were within [`SECURITY_WINDOW`] and above [`RISK`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SecurityEvents {
    #[default]
    NotCountedYet,
    /// Up to [`MOST_EVENTS`].
    Counted(u64),
    /// They cannot be counted now; how many there were the last time, if that says anything.
    Uncountable { last: Option<u64> },
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Database {
    #[default]
    NotAskedYet,
    Connected {
        latency: Duration,
    },
    /// Why is in the log: it may name hosts.
    Away,
}

/// The connections to the database, in the words and the arithmetic of SQLAlchemy's pool: `overflow` is how many are open beyond
/// `pool_size`, and below zero while fewer are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pool {
    pub pool_size: u32,
    pub max_overflow: u32,
    pub checked_out: u32,
    pub checked_in: u32,
}

/// The platform behind `SUPABASE_URL`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Platform {
    NotConfigured,
    NotAskedYet,
    Connected,
    Away,
}

/// What a door for webhooks saw lately.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Webhooks {
    pub recent: u64,
    pub failed: u64,
}

impl Health {
    pub fn new(platform: Platform) -> Self {
        Self {
            started: AtomicBool::new(false),
            draining: AtomicBool::new(false),
            store: ArcSwap::default(),
            platform: ArcSwap::from_pointee(platform),
            webhooks: ArcSwap::default(),
        }
    }

    /// Whether calls should be sent here. Latches: once started it stays started, once draining it stays draining.
    pub fn is_ready(&self) -> bool {
        self.started.load(Ordering::Acquire) && !self.draining.load(Ordering::Acquire)
    }

    pub fn started(&self) {
        self.started.store(true, Ordering::Release);
    }

    pub fn draining(&self) {
        self.draining.store(true, Ordering::Release);
    }

    pub fn store(&self) -> Arc<StoreSeen> {
        self.store.load_full()
    }

    pub fn saw_store(&self, seen: StoreSeen) {
        self.store.store(Arc::new(seen));
    }

    pub fn platform(&self) -> Platform {
        **self.platform.load()
    }

    pub fn saw_platform(&self, platform: Platform) {
        self.platform.store(Arc::new(platform));
    }

    pub fn webhooks(&self) -> Webhooks {
        **self.webhooks.load()
    }

    pub fn saw_webhooks(&self, webhooks: Webhooks) {
        self.webhooks.store(Arc::new(webhooks));
    }
}

impl Database {
    pub fn is_connected(&self) -> bool {
        matches!(self, Self::Connected { .. })
    }

    pub fn latency(&self) -> Option<Duration> {
        match self {
            Self::Connected { latency } => Some(*latency),
            Self::Away | Self::NotAskedYet => None,
        }
    }
}

impl SecurityEvents {
    pub fn known(self) -> Option<u64> {
        match self {
            Self::NotCountedYet => None,
            Self::Counted(count) => Some(count),
            Self::Uncountable { last } => last,
        }
    }
}

impl Pool {
    pub fn most(&self) -> u32 {
        self.pool_size.saturating_add(self.max_overflow)
    }

    pub fn overflow(&self) -> i64 {
        i64::from(self.checked_out) + i64::from(self.checked_in) - i64::from(self.pool_size)
    }

    fn is_exhausted(&self) -> bool {
        self.most() > 0 && self.checked_out >= self.most()
    }
}

impl Webhooks {
    pub fn are_well(&self) -> bool {
        self.failed == 0
    }
}

/// A reason not to be well.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Concern {
    DatabaseAway,
    DatabaseSlow(Duration),
    SecretMissing(String),
    SecurityEvents(u64),
    PlatformAway,
    PoolExhausted { most: u32 },
}

impl fmt::Display for Concern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::DatabaseAway => f.write_str("the database does not answer: calls go on, their records wait"),
            Self::DatabaseSlow(latency) => write!(f, "the database took {} ms to answer", latency.as_millis()),
            Self::SecretMissing(name) => write!(f, "{name} is not set, and the policies use it"),
            Self::SecurityEvents(count) => {
                let at_least = if *count < MOST_EVENTS.into() { "" } else { "at least " };
                write!(f, "{at_least}{count} security events of a risk above {RISK} within 24 hours")
            }
            Self::PlatformAway => f.write_str("the host of SUPABASE_URL cannot be reached"),
            Self::PoolExhausted { most } => write!(f, "all {most} connections to the database are in use"),
        }
    }
}

/// What speaks against `/health`: the database, the secrets that are in use, and what happened lately.
pub fn of_the_whole(store: &StoreSeen, secrets: &BTreeMap<String, bool>) -> Vec<Concern> {
    let database = match store.database {
        Database::Connected { latency } => (latency >= SLOW).then_some(Concern::DatabaseSlow(latency)),
        Database::Away | Database::NotAskedYet => Some(Concern::DatabaseAway),
    };
    let missing = secrets.iter().filter(|(_, there)| !**there).map(|(name, _)| Concern::SecretMissing(name.clone()));
    let events = store.security_events.known().filter(|count| *count >= SECURITY_EVENTS).map(Concern::SecurityEvents);
    database.into_iter().chain(missing).chain(events).collect()
}

/// What speaks against `/api/health`: whatever must be reached and is not.
pub fn of_connections(store: &StoreSeen, platform: Platform) -> Vec<Concern> {
    let database = (!store.database.is_connected()).then_some(Concern::DatabaseAway);
    let platform = match platform {
        Platform::NotConfigured | Platform::Connected => None,
        Platform::NotAskedYet | Platform::Away => Some(Concern::PlatformAway),
    };
    database.into_iter().chain(platform).collect()
}

/// What speaks against `/api/monitoring/health`: the same, and a pool without a free connection.
pub fn in_detail(store: &StoreSeen, platform: Platform) -> Vec<Concern> {
    let exhausted = store.pool.is_exhausted().then_some(Concern::PoolExhausted { most: store.pool.most() });
    of_connections(store, platform).into_iter().chain(exhausted).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn connected(millis: u64) -> StoreSeen {
        let database = Database::Connected { latency: Duration::from_millis(millis) };
        StoreSeen { database, pool: pool(0, 1), security_events: SecurityEvents::Counted(0) }
    }

    fn pool(checked_out: u32, checked_in: u32) -> Pool {
        Pool { pool_size: 5, max_overflow: 5, checked_out, checked_in }
    }

    fn secrets(there: &[(&str, bool)]) -> BTreeMap<String, bool> {
        there.iter().map(|(name, there)| ((*name).to_owned(), *there)).collect()
    }

    #[test]
    fn healthy_is_connected_fast_complete_and_quiet() {
        let events = |count| StoreSeen { security_events: count, ..connected(5) };
        let (all, one_missing) = (secrets(&[("A", true), ("B", true)]), secrets(&[("A", true), ("B", false)]));
        let cases = [
            (connected(0), &all, vec![]),
            (connected(999), &all, vec![]),
            (connected(1000), &all, vec![Concern::DatabaseSlow(Duration::from_millis(1000))]),
            (StoreSeen { database: Database::Away, ..connected(0) }, &all, vec![Concern::DatabaseAway]),
            (StoreSeen::default(), &all, vec![Concern::DatabaseAway]),
            (connected(5), &one_missing, vec![Concern::SecretMissing("B".into())]),
            (events(SecurityEvents::Counted(9)), &all, vec![]),
            (events(SecurityEvents::Counted(10)), &all, vec![Concern::SecurityEvents(10)]),
            (events(SecurityEvents::NotCountedYet), &all, vec![]),
            (events(SecurityEvents::Uncountable { last: None }), &all, vec![]),
            (events(SecurityEvents::Uncountable { last: Some(10) }), &all, vec![Concern::SecurityEvents(10)]),
            (
                StoreSeen { database: Database::Away, security_events: SecurityEvents::Counted(11), ..connected(0) },
                &one_missing,
                vec![Concern::DatabaseAway, Concern::SecretMissing("B".into()), Concern::SecurityEvents(11)],
            ),
        ];
        for (store, secrets, expected) in cases {
            assert_eq!(of_the_whole(&store, secrets), expected, "{store:?} {secrets:?}");
        }
    }

    #[test]
    fn whatever_must_be_reached_and_is_not_degrades() {
        let away = StoreSeen { database: Database::Away, ..connected(0) };
        let cases = [
            (connected(5000), Platform::Connected, vec![]),
            (connected(5), Platform::NotConfigured, vec![]),
            (connected(5), Platform::Away, vec![Concern::PlatformAway]),
            (connected(5), Platform::NotAskedYet, vec![Concern::PlatformAway]),
            (away.clone(), Platform::NotConfigured, vec![Concern::DatabaseAway]),
            (away, Platform::Away, vec![Concern::DatabaseAway, Concern::PlatformAway]),
        ];
        for (store, platform, expected) in cases {
            assert_eq!(of_connections(&store, platform), expected, "{store:?} {platform:?}");
            assert_eq!(in_detail(&store, platform), expected, "{store:?} {platform:?}");
        }
    }

    #[test]
    fn a_pool_is_exhausted_when_all_that_may_be_open_is_in_use() {
        let detail = |pool| in_detail(&StoreSeen { pool, ..connected(5) }, Platform::Connected);
        assert_eq!(detail(pool(9, 1)), []);
        assert_eq!(detail(pool(10, 0)), [Concern::PoolExhausted { most: 10 }]);
        // Before anything was seen there is no pool to be exhausted.
        assert_eq!(detail(Pool::default()), []);
    }

    #[test]
    fn overflow_is_counted_as_sqlalchemy_counts_it() {
        for (checked_out, checked_in, overflow) in [(0, 0, -5), (1, 1, -3), (3, 2, 0), (9, 0, 4)] {
            let pool = pool(checked_out, checked_in);
            assert_eq!(pool.overflow(), overflow);
            assert_eq!(i64::from(checked_out), i64::from(pool.pool_size) - i64::from(checked_in) + overflow);
        }
    }
}
