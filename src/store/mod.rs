//! The operators' database: where records go and where their changes come from. No call ever waits for it.
//!
//! One trait, two databases, one behaviour: `tests/it/store_contract.rs` holds both to it. What is shared is here;
//! `sqlite` and `postgres` hold SQL and nothing else.

pub mod audit_log;
mod batch;
pub mod control;
mod fault;
mod keys;
pub mod ledger;
mod maintain;
mod postgres;
mod records;
mod rows;
mod sqlite;
pub mod verify;

use std::sync::Arc;

use futures_util::future::{BoxFuture, FutureExt, TryFutureExt};
use uuid::Uuid;

use crate::audit::AuditEntry;
use crate::clock::Timestamp;
use crate::enforcement::Ruling;
use crate::identity::{KeyHash, KeyId};
pub use crate::retention::Keep;
use crate::seal::Sealer;
use crate::switches::Flag;
use audit_log::AuditLog;
use control::{ActivityEntry, EntryKind, FlagChange, Review, StoredBlock};
use ledger::{Batch, Gap, Loss};
pub use maintain::{Maintained, Retained, TableAge};
pub use records::{ActivityStatus, ActivityType, ApiStatus, AuditClass, CallRecord, Counted, Record, StatsKey, StatsOutcome};

pub type StoreFuture<'a, T> = BoxFuture<'a, Result<T, StoreError>>;

/// Why the database did not do it. The text is for the log: it may name hosts and tables, so it never reaches a caller.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Away, restarting, out of connections: worth trying again.
    #[error("the database is away: {0}")]
    Away(String),
    /// It answered, and will answer the same the next time.
    #[error("the database refused: {0}")]
    Refused(String),
}

/// How many connections at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpenOptions {
    /// Connections kept.
    pub pool_size: u32,
    /// Connections opened beyond those when all are in use.
    pub max_overflow: u32,
}

/// The store that `url` names: `sqlite://…` or `postgres://…`. Nothing is connected yet, so the database may be away.
pub async fn open(url: &str, options: OpenOptions) -> Result<Arc<dyn Store>, StoreError> {
    open_with(url, options, None).await
}

/// The same, sealing what is audited.
pub async fn open_sealing(url: &str, options: OpenOptions, sealer: Sealer) -> Result<Arc<dyn Store>, StoreError> {
    open_with(url, options, Some(Arc::new(sealer))).await
}

async fn open_with(url: &str, options: OpenOptions, sealer: Option<Arc<Sealer>>) -> Result<Arc<dyn Store>, StoreError> {
    match url.split_once(':').map(|(scheme, _)| scheme) {
        Some("sqlite") => Ok(Arc::new(sqlite::Sqlite::open(url, options, sealer).await?)),
        Some("postgres" | "postgresql") => Ok(Arc::new(postgres::Postgres::open(url, options, sealer)?)),
        // The URL itself is never repeated: it may hold a password.
        _ => Err(StoreError::Refused("DATABASE_URL must begin with sqlite:// or postgres://".into())),
    }
}

pub trait Store: AuditLog + Send + Sync + 'static {
    /// Applies what is missing of the embedded migrations.
    fn migrate(&self) -> StoreFuture<'_, ()>;
    fn migrations(&self) -> StoreFuture<'_, Vec<Migration>>;
    fn ping(&self) -> StoreFuture<'_, ()>;
    fn pool(&self) -> PoolState;

    /// One transaction for the whole batch: log rows, stats and counts, losses and how far each instance has come, or none of them. A
    /// record that is already there changes nothing. Those of the calls that were not there yet.
    fn write_batch<'a>(&'a self, batch: Batch<'a>) -> StoreFuture<'a, Vec<&'a Record<'a>>>;
    fn write<'a>(&'a self, calls: &'a [Record<'a>]) -> StoreFuture<'a, ()> {
        self.write_batch(Batch { calls, ..Batch::default() }).map_ok(drop).boxed()
    }

    /// Notes a run of a gatekeeper, so that its numbers are watched from the first on.
    fn announce(&self, instance: Uuid, started_at: Timestamp) -> StoreFuture<'_, ()>;
    /// Notes that a run has ended, and the last number it has given; 0 if none.
    fn ended(&self, instance: Uuid, last: u64, at: Timestamp) -> StoreFuture<'_, ()>;
    /// Notes numbers that will never have a row, and why.
    fn lost<'a>(&'a self, losses: &'a [Loss]) -> StoreFuture<'a, ()> {
        self.write_batch(Batch { losses, ..Batch::default() }).map_ok(drop).boxed()
    }
    /// Numbers without a row, explained or not, of the newest instances first.
    fn gaps(&self, most: u32) -> StoreFuture<'_, Vec<Gap>>;

    /// Sums of `rate_limits` per identifier and endpoint from `start` on.
    fn counts_since(&self, start: Timestamp) -> StoreFuture<'_, Vec<EndpointCount>>;
    /// The rows of one identifier (or of all) from `start` on, newest first.
    fn limit_rows<'a>(&'a self, identifier: Option<&'a str>, start: Timestamp, most: u32) -> StoreFuture<'a, Vec<LimitRow>>;
    /// Deletes all rows of one identifier and keeps the entry about it, in one transaction. How many there were; of none, nothing is
    /// kept.
    fn clear_limits<'a>(&'a self, identifier: &'a str, entry: &'a AuditEntry) -> StoreFuture<'a, u64>;

    /// A cursor behind every signal there is now.
    fn signal_cursor(&self) -> StoreFuture<'_, SignalCursor>;
    /// What became visible since `cursor`, and the cursor behind it. No signal is ever passed over, however late its transaction commits.
    fn signals_after<'a>(&'a self, cursor: &'a SignalCursor) -> StoreFuture<'a, (Vec<Signal>, SignalCursor)>;

    fn keys(&self) -> StoreFuture<'_, Vec<StoredKey>>;
    /// Keeps a key, and the entry about it.
    fn insert_key<'a>(&'a self, key: &'a StoredKey, entry: &'a AuditEntry) -> StoreFuture<'a, ()>;
    /// Ends a key at `at`, unless it ends sooner, and keeps the entry about it. False, and nothing kept, if there is no such key.
    fn expire_key<'a>(&'a self, id: &'a KeyId, at: Timestamp, entry: &'a AuditEntry) -> StoreFuture<'a, bool>;
    fn revoke_key<'a>(&'a self, id: &'a KeyId, at: Timestamp, entry: &'a AuditEntry) -> StoreFuture<'a, bool>;
    /// Notes when keys were last used; never moves a time back, and is no change that others must hear of.
    fn touch_keys<'a>(&'a self, used: &'a [(KeyId, Timestamp)]) -> StoreFuture<'a, ()>;

    /// All rows of `feature_flags`, by name. Where an adopted table says nothing, a flag is as a new one is.
    fn flags(&self) -> StoreFuture<'_, Vec<Flag>>;
    /// Changes or makes a flag, and keeps the entry about it with the flag's state before and after, in one transaction. What it was, if it
    /// was, and what it is.
    fn set_flag<'a>(&'a self, change: &'a FlagChange, entry: &'a AuditEntry) -> StoreFuture<'a, (Option<Flag>, Flag)>;
    /// Makes flags of these names that are on, where there are none yet, so that one UPDATE finds its row. No news, and not audited.
    fn seed_flags<'a>(&'a self, names: &'a [String]) -> StoreFuture<'a, ()>;

    /// What operators have said about gates; at most one ruling each.
    fn rulings(&self) -> StoreFuture<'_, Vec<Ruling>>;
    /// Keeps each ruling unless one about its gate is there that was made later or at the same moment.
    fn put_rulings<'a>(&'a self, rulings: &'a [Ruling]) -> StoreFuture<'a, ()>;

    /// The blocks that have not ended by `now`, oldest first, and of too many ([`control::MOST_BLOCKS`]) one more than that.
    fn blocks(&self, now: Timestamp) -> StoreFuture<'_, Vec<StoredBlock>>;
    /// A block that is there already, by its id, is left as it is.
    fn insert_block<'a>(&'a self, block: &'a StoredBlock, entry: &'a AuditEntry) -> StoreFuture<'a, ()>;
    /// Ends a block at `at`, and keeps the entry about it. False, and nothing kept, if there is no such block or it has ended by then.
    fn end_block<'a>(&'a self, id: Uuid, at: Timestamp, entry: &'a AuditEntry) -> StoreFuture<'a, bool>;

    /// Keeps entries; one that is there already changes nothing.
    fn audit<'a>(&'a self, entries: &'a [AuditEntry]) -> StoreFuture<'a, ()>;
    /// The newest first, those that the database's own triggers wrote too.
    fn audit_entries(&self, most: u32) -> StoreFuture<'_, Vec<AuditEntry>>;

    /// Writes rows of the activity log that are no calls; one that is there already changes nothing.
    fn add_entries<'a>(&'a self, entries: &'a [ActivityEntry]) -> StoreFuture<'a, ()> {
        self.write_batch(Batch { entries, ..Batch::default() }).map_ok(drop).boxed()
    }
    /// Writes a bypass, and keeps the entry about it: both or neither.
    fn log_bypass<'a>(&'a self, bypass: &'a ActivityEntry, entry: &'a AuditEntry) -> StoreFuture<'a, ()>;
    /// Entries of a kind, newest first: all of them, or those that still want somebody's eye (bypasses that are open, fixes that failed,
    /// not reviewed).
    fn entries(&self, kind: EntryKind, open_only: bool, most: u32) -> StoreFuture<'_, Vec<CallRow>>;
    /// Notes who looked at an entry: `metadata.reviewed`, and for a bypass the status `reviewed`. False, and nothing kept, if there is no
    /// such entry that wants somebody's eye.
    fn review<'a>(&'a self, id: Uuid, review: &'a Review, entry: &'a AuditEntry) -> StoreFuture<'a, bool>;

    /// Rows of `security_events` since `start` with a risk above `risk`, counted up to `most`.
    fn security_events(&self, start: Timestamp, risk: u32, most: u32) -> StoreFuture<'_, u64>;

    /// Waits until somebody may have left a signal. A store that cannot tell waits for ever: signals are asked for regularly anyway.
    /// Nothing is lost by not waiting to the end.
    fn signalled(&self) -> BoxFuture<'_, ()>;

    /// The newest calls first.
    fn calls<'a>(&'a self, query: &'a CallQuery) -> StoreFuture<'a, Vec<CallRow>>;
    fn call(&self, id: Uuid) -> StoreFuture<'_, Option<CallRow>>;

    /// Makes room ahead (partitions), archives and lets go of what is older than policy keeps: in bounded steps, each a transaction that
    /// nobody waits for. Stats are never let go of.
    fn maintain<'a>(&'a self, now: Timestamp, keep: &'a Keep) -> StoreFuture<'a, Maintained> {
        Box::pin(async move {
            let mut done = Maintained::default();
            self.maintain_into(now, keep, &mut done).await?;
            Ok(done)
        })
    }
    /// The same; whenever it ends, or is given up, `done` says what became of the tables that it is done with.
    fn maintain_into<'a>(&'a self, now: Timestamp, keep: &'a Keep, done: &'a mut Maintained) -> StoreFuture<'a, ()>;
    /// How old the tables' rows have grown, and which should be gone by now. A table that is not there is not named.
    fn ages<'a>(&'a self, now: Timestamp, keep: &'a Keep) -> StoreFuture<'a, Vec<TableAge>>;

    fn close(&self) -> BoxFuture<'_, ()>;
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndpointCount {
    pub identifier: String,
    pub endpoint: String,
    pub count: u64,
}

/// As databases have it.
impl From<(String, String, i64)> for EndpointCount {
    fn from((identifier, endpoint, count): (String, String, i64)) -> Self {
        Self { identifier, endpoint, count: u64::try_from(count).unwrap_or(0) }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LimitRow {
    pub identifier: String,
    pub endpoint: String,
    pub count: u64,
    pub window_start: Timestamp,
}

/// A place in the stream of signals; only the store that made it can read it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignalCursor(pub String);

/// A change that somebody made in the database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Signal {
    /// A `rate_limits` row of today was deleted: its count is taken back.
    CountsDeleted {
        identifier: String,
        endpoint: String,
        minute: Timestamp,
        count: u64,
    },
    /// The whole table was emptied.
    AllCountsDeleted,
    KeysChanged,
    FlagsChanged,
    RulingsChanged,
    BlocksChanged,
}

/// A key as it lies in the store: its hash, never itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredKey {
    pub id: KeyId,
    pub name: String,
    pub hash: KeyHash,
    /// Patterns; an empty list means all.
    pub sources: Vec<String>,
    pub targets: Vec<String>,
    pub actions: Vec<String>,
    pub created_at: Timestamp,
    pub not_before: Option<Timestamp>,
    pub expires_at: Option<Timestamp>,
    pub revoked_at: Option<Timestamp>,
    pub last_used_at: Option<Timestamp>,
}

#[derive(Clone, Debug, Default)]
pub struct CallQuery {
    pub source: Option<String>,
    pub target: Option<String>,
    pub activity_type: Option<String>,
    /// Only calls after this one, oldest first: for following along.
    pub after: Option<(Timestamp, Uuid)>,
    pub most: u32,
}

#[derive(Clone, Debug, PartialEq)]
pub struct CallRow {
    pub id: Uuid,
    pub at: Timestamp,
    pub activity_type: String,
    pub status: String,
    pub title: String,
    pub description: String,
    pub metadata: serde_json::Value,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Migration {
    pub version: i64,
    pub name: String,
    pub applied: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PoolState {
    /// Connections that are open, or being opened.
    pub size: u32,
    /// Connections that are kept; the rest up to `most` are overflow.
    pub pool_size: u32,
    pub most: u32,
    pub idle: u32,
}
