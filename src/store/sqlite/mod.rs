//! SQLite, embedded: one file, many readers, one writer at a time.

mod archive;
mod audit;
mod audit_log;
mod control;
mod fold;
mod keys;
mod ledger;
mod logs;
mod maintain;
mod moment;
mod opening;
mod read;
mod signals;
mod statement;
mod write;

use std::sync::Arc;

use futures_util::future::BoxFuture;
use sqlx::migrate::Migrator;
use sqlx::{Sqlite as Driver, SqlitePool, Transaction};
use uuid::Uuid;

use self::logs::Forms;
use super::fault::{ANSWER, CONNECT, GOODBYE, HOUSEWORK, within};
use super::{
    CallQuery, CallRow, EndpointCount, Keep, LimitRow, Maintained, Migration, PoolState, Record, Signal, SignalCursor, Store, StoreError,
    StoreFuture, StoredKey, TableAge,
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

pub(super) struct Sqlite {
    readers: SqlitePool,
    /// A pool of one: writers of this process wait here, in order, and never meet SQLITE_BUSY.
    writer: SqlitePool,
    pool_size: u32,
    sealer: Option<Arc<Sealer>>,
    forms: Forms,
}

/// A transaction that is a writer's from its first word: one that becomes a writer half-way cannot wait for another, only fail.
async fn begin(writer: &SqlitePool) -> sqlx::Result<Transaction<'static, Driver>> {
    writer.begin_with("begin immediate").await
}

fn migrator() -> Migrator {
    let mut migrator = sqlx::migrate!("migrations/sqlite");
    migrator.dangerous_set_table_name("gatekeeper_migrations");
    migrator.set_ignore_missing(true);
    migrator
}

/// In one transaction as a whole: that is the lock which keeps a second process out meanwhile.
async fn migrate(writer: &SqlitePool) -> Result<(), StoreError> {
    let mut tx = begin(writer).await?;
    migrator().run_direct(None, &mut *tx, false).await?;
    Ok(tx.commit().await?)
}

async fn migrations(readers: &SqlitePool) -> Result<Vec<Migration>, StoreError> {
    let known: bool =
        sqlx::query_scalar("select exists (select 1 from sqlite_master where name = 'gatekeeper_migrations')").fetch_one(readers).await?;
    let applied: Vec<i64> = if known {
        sqlx::query_scalar("select version from gatekeeper_migrations where success").fetch_all(readers).await?
    } else {
        Vec::new()
    };
    Ok(migrator()
        .iter()
        .map(|m| Migration { version: m.version, name: m.description.to_string(), applied: applied.contains(&m.version) })
        .collect())
}

async fn ping(readers: &SqlitePool) -> Result<(), StoreError> {
    sqlx::query("select 1").execute(readers).await?;
    Ok(())
}

impl Sqlite {
    fn sealer(&self) -> Option<&Sealer> {
        self.sealer.as_deref()
    }
}

impl AuditLog for Sqlite {
    fn sealer(&self) -> Option<&Arc<Sealer>> {
        self.sealer.as_ref()
    }

    fn seal_entries(&self, since: Timestamp) -> StoreFuture<'_, u64> {
        Box::pin(within(HOUSEWORK, audit_log::seal_entries(&self.readers, &self.writer, self.sealer(), since)))
    }

    fn rows_after<'a>(&'a self, place: Option<&'a Place>) -> StoreFuture<'a, Vec<StoredRow>> {
        Box::pin(within(ANSWER, audit_log::rows_after(&self.readers, place)))
    }

    fn witness<'a>(&'a self, heads: &'a [Head]) -> StoreFuture<'a, Vec<Witness>> {
        Box::pin(within(ANSWER, audit_log::witness(&self.readers, heads)))
    }

    fn logged<'a>(&'a self, table: Table, ids: &'a [Uuid]) -> StoreFuture<'a, Vec<Logged>> {
        Box::pin(within(ANSWER, audit_log::logged(&self.readers, table, ids)))
    }

    fn unsealed_entries(&self) -> StoreFuture<'_, UnsealedEntries> {
        Box::pin(within(HOUSEWORK, audit::count_unsealed(&self.readers)))
    }

    fn unsealed_calls(&self) -> StoreFuture<'_, Vec<UnsealedCall>> {
        Box::pin(within(HOUSEWORK, audit_log::unsealed_calls(&self.readers)))
    }
}

impl Store for Sqlite {
    fn migrate(&self) -> StoreFuture<'_, ()> {
        Box::pin(within(HOUSEWORK, migrate(&self.writer)))
    }

    fn migrations(&self) -> StoreFuture<'_, Vec<Migration>> {
        Box::pin(within(ANSWER, migrations(&self.readers)))
    }

    fn ping(&self) -> StoreFuture<'_, ()> {
        Box::pin(within(CONNECT, ping(&self.readers)))
    }

    fn pool(&self) -> PoolState {
        // Of the readers: the one writer is a queue, and in use whenever anything is written.
        PoolState {
            size: self.readers.size(),
            pool_size: self.pool_size,
            most: self.readers.options().get_max_connections(),
            idle: u32::try_from(self.readers.num_idle()).unwrap_or(u32::MAX),
        }
    }

    fn write_batch<'a>(&'a self, batch: Batch<'a>) -> StoreFuture<'a, Vec<&'a Record<'a>>> {
        Box::pin(within(ANSWER, write::write(&self.writer, &self.forms, self.sealer(), batch)))
    }

    fn announce(&self, instance: Uuid, started_at: Timestamp) -> StoreFuture<'_, ()> {
        Box::pin(within(ANSWER, ledger::announce(&self.writer, instance, started_at)))
    }

    fn ended(&self, instance: Uuid, last: u64, at: Timestamp) -> StoreFuture<'_, ()> {
        Box::pin(within(ANSWER, ledger::ended(&self.writer, instance, last, at)))
    }

    fn gaps(&self, most: u32) -> StoreFuture<'_, Vec<Gap>> {
        Box::pin(within(HOUSEWORK, ledger::gaps(&self.readers, most)))
    }

    fn counts_since(&self, start: Timestamp) -> StoreFuture<'_, Vec<EndpointCount>> {
        Box::pin(within(ANSWER, read::counts_since(&self.readers, start)))
    }

    fn limit_rows<'a>(&'a self, identifier: Option<&'a str>, start: Timestamp, most: u32) -> StoreFuture<'a, Vec<LimitRow>> {
        Box::pin(within(ANSWER, read::limit_rows(&self.readers, identifier, start, most)))
    }

    fn clear_limits<'a>(&'a self, identifier: &'a str, entry: &'a AuditEntry) -> StoreFuture<'a, u64> {
        Box::pin(within(ANSWER, audit::clear_limits(&self.writer, self.sealer(), identifier, entry)))
    }

    fn signal_cursor(&self) -> StoreFuture<'_, SignalCursor> {
        Box::pin(within(ANSWER, signals::cursor(&self.readers)))
    }

    fn signals_after<'a>(&'a self, cursor: &'a SignalCursor) -> StoreFuture<'a, (Vec<Signal>, SignalCursor)> {
        Box::pin(within(ANSWER, signals::after(&self.readers, cursor)))
    }

    fn keys(&self) -> StoreFuture<'_, Vec<StoredKey>> {
        Box::pin(within(ANSWER, keys::all(&self.readers)))
    }

    fn insert_key<'a>(&'a self, key: &'a StoredKey, entry: &'a AuditEntry) -> StoreFuture<'a, ()> {
        Box::pin(within(ANSWER, keys::insert(&self.writer, self.sealer(), key, entry)))
    }

    fn expire_key<'a>(&'a self, id: &'a KeyId, at: Timestamp, entry: &'a AuditEntry) -> StoreFuture<'a, bool> {
        Box::pin(within(ANSWER, keys::expire(&self.writer, self.sealer(), id, at, entry)))
    }

    fn revoke_key<'a>(&'a self, id: &'a KeyId, at: Timestamp, entry: &'a AuditEntry) -> StoreFuture<'a, bool> {
        Box::pin(within(ANSWER, keys::revoke(&self.writer, self.sealer(), id, at, entry)))
    }

    fn touch_keys<'a>(&'a self, used: &'a [(KeyId, Timestamp)]) -> StoreFuture<'a, ()> {
        Box::pin(within(ANSWER, keys::touch(&self.writer, used)))
    }

    fn flags(&self) -> StoreFuture<'_, Vec<Flag>> {
        Box::pin(within(ANSWER, control::flags(&self.readers)))
    }

    fn set_flag<'a>(&'a self, change: &'a FlagChange, entry: &'a AuditEntry) -> StoreFuture<'a, (Option<Flag>, Flag)> {
        Box::pin(within(ANSWER, control::set_flag(&self.writer, self.sealer(), change, entry)))
    }

    fn seed_flags<'a>(&'a self, names: &'a [String]) -> StoreFuture<'a, ()> {
        Box::pin(within(ANSWER, control::seed_flags(&self.writer, names)))
    }

    fn rulings(&self) -> StoreFuture<'_, Vec<Ruling>> {
        Box::pin(within(ANSWER, control::rulings(&self.readers)))
    }

    fn put_rulings<'a>(&'a self, rulings: &'a [Ruling]) -> StoreFuture<'a, ()> {
        Box::pin(within(ANSWER, control::put_rulings(&self.writer, rulings)))
    }

    fn blocks(&self, now: Timestamp) -> StoreFuture<'_, Vec<StoredBlock>> {
        Box::pin(within(ANSWER, control::blocks(&self.readers, now)))
    }

    fn insert_block<'a>(&'a self, block: &'a StoredBlock, entry: &'a AuditEntry) -> StoreFuture<'a, ()> {
        Box::pin(within(ANSWER, control::insert_block(&self.writer, self.sealer(), block, entry)))
    }

    fn end_block<'a>(&'a self, id: Uuid, at: Timestamp, entry: &'a AuditEntry) -> StoreFuture<'a, bool> {
        Box::pin(within(ANSWER, control::end_block(&self.writer, self.sealer(), id, at, entry)))
    }

    fn audit<'a>(&'a self, entries: &'a [AuditEntry]) -> StoreFuture<'a, ()> {
        Box::pin(within(ANSWER, audit::write(&self.writer, self.sealer(), entries)))
    }

    fn audit_entries(&self, most: u32) -> StoreFuture<'_, Vec<AuditEntry>> {
        Box::pin(within(ANSWER, audit::newest(&self.readers, most)))
    }

    fn log_bypass<'a>(&'a self, bypass: &'a ActivityEntry, entry: &'a AuditEntry) -> StoreFuture<'a, ()> {
        Box::pin(within(ANSWER, audit::log_bypass(&self.writer, self.sealer(), bypass, entry)))
    }

    fn entries(&self, kind: EntryKind, open_only: bool, most: u32) -> StoreFuture<'_, Vec<CallRow>> {
        Box::pin(within(ANSWER, read::entries(&self.readers, kind, open_only, most)))
    }

    fn review<'a>(&'a self, id: Uuid, review: &'a Review, entry: &'a AuditEntry) -> StoreFuture<'a, bool> {
        Box::pin(within(ANSWER, audit::review(&self.writer, self.sealer(), id, review, entry)))
    }

    fn security_events(&self, start: Timestamp, risk: u32, most: u32) -> StoreFuture<'_, u64> {
        Box::pin(within(ANSWER, audit::security_events(&self.readers, start, risk, most)))
    }

    fn signalled(&self) -> BoxFuture<'_, ()> {
        Box::pin(std::future::pending())
    }

    fn calls<'a>(&'a self, query: &'a CallQuery) -> StoreFuture<'a, Vec<CallRow>> {
        Box::pin(within(ANSWER, read::calls(&self.readers, query)))
    }

    fn call(&self, id: Uuid) -> StoreFuture<'_, Option<CallRow>> {
        Box::pin(within(ANSWER, read::call(&self.readers, id)))
    }

    fn maintain_into<'a>(&'a self, now: Timestamp, keep: &'a Keep, done: &'a mut Maintained) -> StoreFuture<'a, ()> {
        Box::pin(within(HOUSEWORK, maintain::maintain(&self.writer, now, keep, done)))
    }

    fn ages<'a>(&'a self, now: Timestamp, keep: &'a Keep) -> StoreFuture<'a, Vec<TableAge>> {
        Box::pin(within(HOUSEWORK, maintain::ages(&self.readers, now, keep)))
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {
            let _ = tokio::time::timeout(GOODBYE, async {
                self.readers.close().await;
                self.writer.close().await;
            })
            .await;
        })
    }
}
