//! PostgreSQL 13 or newer: the logs in daily partitions, signals by transaction.

mod audit;
mod audit_log;
mod control;
mod copy;
mod fold;
mod keys;
mod ledger;
mod listen;
mod maintain;
mod moment;
mod read;
mod signals;
mod tables;
mod write;

use std::sync::Arc;

use futures_util::future::BoxFuture;
use sqlx::migrate::Migrator;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{Connection, PgPool};
use uuid::Uuid;

use super::fault::{ANSWER, CONNECT, GOODBYE, HOUSEWORK, within};
use super::{
    CallQuery, CallRow, EndpointCount, Keep, LimitRow, Maintained, Migration, OpenOptions, PoolState, Record, Signal, SignalCursor, Store,
    StoreError, StoreFuture, StoredKey, TableAge,
};
use crate::audit::AuditEntry;
use crate::clock::Timestamp;
use crate::enforcement::Ruling;
use crate::identity::KeyId;
use crate::seal::walk::{Place, StoredRow};
use crate::seal::{Head, Sealer};
use crate::store::audit_log::{AuditLog, Logged, Table, UnsealedCall, UnsealedEntries, Witness};
use crate::store::control::{ActivityEntry, EntryKind, FlagChange, Review, StoredBlock};
use crate::store::ledger::{Batch, Gap};
use crate::switches::Flag;
use listen::Ear;
use write::Copies;

pub(super) struct Postgres {
    pool: PgPool,
    pool_size: u32,
    ear: Ear,
    sealer: Option<Arc<Sealer>>,
    copies: Copies,
}

impl Postgres {
    pub(super) fn open(url: &str, options: OpenOptions, sealer: Option<Arc<Sealer>>) -> Result<Self, StoreError> {
        // The parser's own words may quote the URL, and with it a password.
        let connect: PgConnectOptions = url.parse().map_err(|_| {
            StoreError::Refused("DATABASE_URL is no postgres:// URL that can be read (is the password percent-encoded?)".into())
        })?;
        let connect = connect.application_name("gatekeeper");
        let pool = PgPoolOptions::new()
            .max_connections(options.pool_size.saturating_add(options.max_overflow).max(1))
            .acquire_timeout(CONNECT)
            .connect_lazy_with(connect.clone());
        Ok(Self { pool, pool_size: options.pool_size, ear: Ear::new(connect), copies: Copies::default(), sealer })
    }
}

/// Who has waited for a lock must see what was committed meanwhile, whatever the database's own default is.
const BEGIN: &str = "begin isolation level read committed";

/// What this binary carries. An older binary may run on a newer schema: migrations only add before they take away.
fn migrator() -> Migrator {
    let mut migrator = sqlx::migrate!("migrations/postgres");
    migrator.dangerous_set_table_name("gatekeeper.migrations");
    migrator.create_schema("gatekeeper");
    migrator.set_ignore_missing(true);
    migrator
}

async fn migrate(pool: &PgPool) -> Result<(), StoreError> {
    let mut connection = pool.acquire().await?;
    let migrated = within(HOUSEWORK, async { Ok(migrator().run_direct(None, &mut *connection, false).await?) }).await;
    if migrated.is_err() {
        // The migrator's lock lives as long as the connection, and after an error it is still held.
        let _ = connection.detach().close().await;
    }
    migrated
}

async fn migrations(pool: &PgPool) -> Result<Vec<Migration>, StoreError> {
    let known: bool = sqlx::query_scalar("select to_regclass('gatekeeper.migrations') is not null").fetch_one(pool).await?;
    let applied: Vec<i64> = if known {
        sqlx::query_scalar("select version from gatekeeper.migrations where success").fetch_all(pool).await?
    } else {
        Vec::new()
    };
    Ok(migrator()
        .iter()
        .map(|m| Migration { version: m.version, name: m.description.to_string(), applied: applied.contains(&m.version) })
        .collect())
}

async fn ping(pool: &PgPool) -> Result<(), StoreError> {
    sqlx::query("select 1").execute(pool).await?;
    Ok(())
}

impl Postgres {
    fn sealer(&self) -> Option<&Sealer> {
        self.sealer.as_deref()
    }
}

impl AuditLog for Postgres {
    fn sealer(&self) -> Option<&Arc<Sealer>> {
        self.sealer.as_ref()
    }

    fn seal_entries(&self, since: Timestamp) -> StoreFuture<'_, u64> {
        Box::pin(within(HOUSEWORK, audit_log::seal_entries(&self.pool, self.sealer(), since)))
    }

    fn rows_after<'a>(&'a self, place: Option<&'a Place>) -> StoreFuture<'a, Vec<StoredRow>> {
        Box::pin(within(ANSWER, audit_log::rows_after(&self.pool, place)))
    }

    fn witness<'a>(&'a self, heads: &'a [Head]) -> StoreFuture<'a, Vec<Witness>> {
        Box::pin(within(ANSWER, audit_log::witness(&self.pool, heads)))
    }

    fn logged<'a>(&'a self, table: Table, ids: &'a [Uuid]) -> StoreFuture<'a, Vec<Logged>> {
        Box::pin(within(ANSWER, audit_log::logged(&self.pool, table, ids)))
    }

    fn unsealed_entries(&self) -> StoreFuture<'_, UnsealedEntries> {
        Box::pin(within(HOUSEWORK, audit::count_unsealed(&self.pool)))
    }

    fn unsealed_calls(&self) -> StoreFuture<'_, Vec<UnsealedCall>> {
        Box::pin(within(HOUSEWORK, audit_log::unsealed_calls(&self.pool)))
    }
}

impl Store for Postgres {
    fn migrate(&self) -> StoreFuture<'_, ()> {
        Box::pin(migrate(&self.pool))
    }

    fn migrations(&self) -> StoreFuture<'_, Vec<Migration>> {
        Box::pin(within(ANSWER, migrations(&self.pool)))
    }

    fn ping(&self) -> StoreFuture<'_, ()> {
        Box::pin(within(CONNECT, ping(&self.pool)))
    }

    fn pool(&self) -> PoolState {
        let idle = u32::try_from(self.pool.num_idle()).unwrap_or(u32::MAX);
        PoolState { size: self.pool.size(), pool_size: self.pool_size, most: self.pool.options().get_max_connections(), idle }
    }

    fn write_batch<'a>(&'a self, batch: Batch<'a>) -> StoreFuture<'a, Vec<&'a Record<'a>>> {
        Box::pin(within(ANSWER, write::write(&self.pool, &self.copies, self.sealer(), batch)))
    }

    fn announce(&self, instance: Uuid, started_at: Timestamp) -> StoreFuture<'_, ()> {
        Box::pin(within(ANSWER, ledger::announce(&self.pool, instance, started_at)))
    }

    fn ended(&self, instance: Uuid, last: u64, at: Timestamp) -> StoreFuture<'_, ()> {
        Box::pin(within(ANSWER, ledger::ended(&self.pool, instance, last, at)))
    }

    fn gaps(&self, most: u32) -> StoreFuture<'_, Vec<Gap>> {
        Box::pin(within(HOUSEWORK, ledger::gaps(&self.pool, most)))
    }

    fn counts_since(&self, start: Timestamp) -> StoreFuture<'_, Vec<EndpointCount>> {
        Box::pin(within(ANSWER, read::counts_since(&self.pool, start)))
    }

    fn limit_rows<'a>(&'a self, identifier: Option<&'a str>, start: Timestamp, most: u32) -> StoreFuture<'a, Vec<LimitRow>> {
        Box::pin(within(ANSWER, read::limit_rows(&self.pool, identifier, start, most)))
    }

    fn clear_limits<'a>(&'a self, identifier: &'a str, entry: &'a AuditEntry) -> StoreFuture<'a, u64> {
        Box::pin(within(ANSWER, audit::clear_limits(&self.pool, self.sealer(), identifier, entry)))
    }

    fn signal_cursor(&self) -> StoreFuture<'_, SignalCursor> {
        Box::pin(within(ANSWER, signals::cursor(&self.pool)))
    }

    fn signals_after<'a>(&'a self, cursor: &'a SignalCursor) -> StoreFuture<'a, (Vec<Signal>, SignalCursor)> {
        Box::pin(within(ANSWER, signals::after(&self.pool, cursor)))
    }

    fn keys(&self) -> StoreFuture<'_, Vec<StoredKey>> {
        Box::pin(within(ANSWER, keys::all(&self.pool)))
    }

    fn insert_key<'a>(&'a self, key: &'a StoredKey, entry: &'a AuditEntry) -> StoreFuture<'a, ()> {
        Box::pin(within(ANSWER, keys::insert(&self.pool, self.sealer(), key, entry)))
    }

    fn expire_key<'a>(&'a self, id: &'a KeyId, at: Timestamp, entry: &'a AuditEntry) -> StoreFuture<'a, bool> {
        Box::pin(within(ANSWER, keys::expire(&self.pool, self.sealer(), id, at, entry)))
    }

    fn revoke_key<'a>(&'a self, id: &'a KeyId, at: Timestamp, entry: &'a AuditEntry) -> StoreFuture<'a, bool> {
        Box::pin(within(ANSWER, keys::revoke(&self.pool, self.sealer(), id, at, entry)))
    }

    fn touch_keys<'a>(&'a self, used: &'a [(KeyId, Timestamp)]) -> StoreFuture<'a, ()> {
        Box::pin(within(ANSWER, keys::touch(&self.pool, used)))
    }

    fn flags(&self) -> StoreFuture<'_, Vec<Flag>> {
        Box::pin(within(ANSWER, control::flags(&self.pool)))
    }

    fn set_flag<'a>(&'a self, change: &'a FlagChange, entry: &'a AuditEntry) -> StoreFuture<'a, (Option<Flag>, Flag)> {
        Box::pin(within(ANSWER, control::set_flag(&self.pool, self.sealer(), change, entry)))
    }

    fn seed_flags<'a>(&'a self, names: &'a [String]) -> StoreFuture<'a, ()> {
        Box::pin(within(ANSWER, control::seed_flags(&self.pool, names)))
    }

    fn rulings(&self) -> StoreFuture<'_, Vec<Ruling>> {
        Box::pin(within(ANSWER, control::rulings(&self.pool)))
    }

    fn put_rulings<'a>(&'a self, rulings: &'a [Ruling]) -> StoreFuture<'a, ()> {
        Box::pin(within(ANSWER, control::put_rulings(&self.pool, rulings)))
    }

    fn blocks(&self, now: Timestamp) -> StoreFuture<'_, Vec<StoredBlock>> {
        Box::pin(within(ANSWER, control::blocks(&self.pool, now)))
    }

    fn insert_block<'a>(&'a self, block: &'a StoredBlock, entry: &'a AuditEntry) -> StoreFuture<'a, ()> {
        Box::pin(within(ANSWER, control::insert_block(&self.pool, self.sealer(), block, entry)))
    }

    fn end_block<'a>(&'a self, id: Uuid, at: Timestamp, entry: &'a AuditEntry) -> StoreFuture<'a, bool> {
        Box::pin(within(ANSWER, control::end_block(&self.pool, self.sealer(), id, at, entry)))
    }

    fn audit<'a>(&'a self, entries: &'a [AuditEntry]) -> StoreFuture<'a, ()> {
        Box::pin(within(ANSWER, audit::write(&self.pool, self.sealer(), entries)))
    }

    fn audit_entries(&self, most: u32) -> StoreFuture<'_, Vec<AuditEntry>> {
        Box::pin(within(ANSWER, audit::newest(&self.pool, most)))
    }

    fn log_bypass<'a>(&'a self, bypass: &'a ActivityEntry, entry: &'a AuditEntry) -> StoreFuture<'a, ()> {
        Box::pin(within(ANSWER, audit::log_bypass(&self.pool, self.sealer(), bypass, entry)))
    }

    fn entries(&self, kind: EntryKind, open_only: bool, most: u32) -> StoreFuture<'_, Vec<CallRow>> {
        Box::pin(within(ANSWER, read::entries(&self.pool, kind, open_only, most)))
    }

    fn review<'a>(&'a self, id: Uuid, review: &'a Review, entry: &'a AuditEntry) -> StoreFuture<'a, bool> {
        Box::pin(within(ANSWER, audit::review(&self.pool, self.sealer(), id, review, entry)))
    }

    fn security_events(&self, start: Timestamp, risk: u32, most: u32) -> StoreFuture<'_, u64> {
        Box::pin(within(ANSWER, audit::security_events(&self.pool, start, risk, most)))
    }

    fn signalled(&self) -> BoxFuture<'_, ()> {
        Box::pin(self.ear.hears())
    }

    fn calls<'a>(&'a self, query: &'a CallQuery) -> StoreFuture<'a, Vec<CallRow>> {
        Box::pin(within(ANSWER, read::calls(&self.pool, query)))
    }

    fn call(&self, id: Uuid) -> StoreFuture<'_, Option<CallRow>> {
        Box::pin(within(ANSWER, read::call(&self.pool, id)))
    }

    fn maintain_into<'a>(&'a self, now: Timestamp, keep: &'a Keep, done: &'a mut Maintained) -> StoreFuture<'a, ()> {
        Box::pin(within(HOUSEWORK, maintain::maintain(&self.pool, now, keep, done)))
    }

    fn ages<'a>(&'a self, now: Timestamp, keep: &'a Keep) -> StoreFuture<'a, Vec<TableAge>> {
        Box::pin(within(HOUSEWORK, maintain::ages(&self.pool, now, keep)))
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {
            self.ear.close();
            let _ = tokio::time::timeout(GOODBYE, self.pool.close()).await;
        })
    }
}
