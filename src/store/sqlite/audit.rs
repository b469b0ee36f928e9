//! What people look back at: the audit, entries of the activity log that are no calls, security events; and what they change beside.

use serde_json::Value;
use sqlx::{FromRow as _, Row as _, Sqlite, SqliteConnection, SqlitePool, Transaction};
use uuid::Uuid;

use super::moment::{parse, text};
use super::{audit_log, begin};
use crate::audit::AuditEntry;
use crate::clock::Timestamp;
use crate::seal::Sealer;
use crate::store::audit_log::{UnsealedEntries, of_entries};
use crate::store::batch::{plain, plain_json};
use crate::store::control::{ActivityEntry, Review, limits_cleared};
use crate::store::ledger::number;
use crate::store::rows::{or_pass_over, readable};
use crate::store::{StoreError, fault};

const TABLE: &str = "security_audit";
/// What other programs wrote and cannot be read is no entry: so many rows of it hide none that is.
const UNREADABLE: i64 = 1000;

/// Commits a change with the entries about it, and their seals.
pub(super) async fn commit(mut tx: Transaction<'_, Sqlite>, sealer: Option<&Sealer>, entries: &[AuditEntry]) -> sqlx::Result<()> {
    add(&mut tx, entries).await?;
    audit_log::commit(tx, sealer, of_entries(entries)).await
}

async fn add(connection: &mut SqliteConnection, entries: &[AuditEntry]) -> sqlx::Result<()> {
    let json = |value: &Value| (!value.is_null()).then(|| plain_json(&value.to_string()).into_owned());
    for entry in entries {
        sqlx::query(
            "insert into security_audit (id, created_at, actor, action, subject, reason, before, after)
             values (?, ?, ?, ?, ?, ?, ?, ?) on conflict (id) do nothing",
        )
        .bind(entry.id.hyphenated())
        .bind(text(entry.at))
        .bind(plain(&entry.actor))
        .bind(plain(&entry.action))
        .bind(plain(&entry.subject))
        .bind(entry.reason.as_deref().map(plain))
        .bind(json(&entry.before))
        .bind(json(&entry.after))
        .execute(&mut *connection)
        .await?;
    }
    Ok(())
}

pub(super) async fn write(writer: &SqlitePool, sealer: Option<&Sealer>, entries: &[AuditEntry]) -> Result<(), StoreError> {
    if entries.is_empty() {
        return Ok(());
    }
    // As records do, entries wait until somebody has seen to rights and tables: what counted as their own fault would never be sealed.
    let written = async { commit(begin(writer).await?, sealer, entries).await };
    written.await.map_err(fault::of_records)
}

#[derive(sqlx::FromRow)]
struct Row {
    id: String,
    created_at: String,
    actor: String,
    action: String,
    subject: String,
    reason: Option<String>,
    before: Option<String>,
    after: Option<String>,
}

/// Of one millisecond, what was written later is the newer.
pub(super) async fn newest(readers: &SqlitePool, most: u32) -> Result<Vec<AuditEntry>, StoreError> {
    let rows = sqlx::query(
        "select id, created_at, actor, action, subject, reason, before, after from security_audit
         order by created_at desc, rowid desc limit ?",
    )
    .bind(i64::from(most) + UNREADABLE)
    .fetch_all(readers)
    .await?;
    let entries = readable(&rows, TABLE).filter_map(|row| or_pass_over(entry(row), TABLE));
    Ok(entries.take(usize::try_from(most).unwrap_or(usize::MAX)).collect())
}

fn entry(row: Row) -> Result<AuditEntry, StoreError> {
    // Another program may have written anything here.
    let json = |text: Option<String>| text.map_or(Value::Null, |json| serde_json::from_str(&json).unwrap_or(Value::String(json)));
    Ok(AuditEntry {
        id: Uuid::try_parse(&row.id).map_err(|_| StoreError::Refused(format!("{:?} is no UUID", row.id)))?,
        at: parse(&row.created_at)?,
        actor: row.actor,
        action: row.action,
        subject: row.subject,
        reason: row.reason,
        before: json(row.before),
        after: json(row.after),
    })
}

/// Entries in our form: what another program put there may be of any.
macro_rules! unsealed {
    ($what:literal, $rest:literal) => {
        concat!(
            "select ",
            $what,
            " from security_audit as entry
             where typeof(id) = 'text' and id glob '????????-????-????-????-????????????'
               and typeof(created_at) = 'text' and created_at glob '[0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9] *'
               and typeof(actor) = 'text' and typeof(action) = 'text' and typeof(subject) = 'text'
               and typeof(reason) <> 'blob' and typeof(before) <> 'blob' and typeof(after) <> 'blob'
               and not exists (select 1 from gatekeeper_audit_log as log where log.id = entry.id) ",
            $rest
        )
    };
}

/// Entries that nobody has sealed, as they were written.
pub(super) struct Unsealed {
    pub entries: Vec<AuditEntry>,
    /// The last row that was looked at, if there was any: what cannot be read is no entry, and not the end.
    pub last: Option<i64>,
}

/// Those since a moment, behind a row.
pub(super) async fn unsealed(connection: &mut SqliteConnection, since: Timestamp, behind: i64, most: usize) -> sqlx::Result<Unsealed> {
    // Found by their moments (what has a sign is found by no index), for most times there are few to look at.
    let rows = sqlx::query(unsealed!(
        "rowid, id, created_at, actor, action, subject, reason, before, after",
        "and created_at >= ?1 and +rowid > ?2 order by +rowid limit ?3"
    ))
    .bind(text(since))
    .bind(behind)
    .bind(i64::try_from(most).unwrap_or(i64::MAX))
    .fetch_all(connection)
    .await?;
    let last = rows.last().map(|row| row.try_get("rowid")).transpose()?;
    // Told by `verify`, which counts them, and not every few seconds.
    let entries = rows.iter().filter_map(|row| Row::from_row(row).ok().and_then(|row| entry(row).ok())).collect();
    Ok(Unsealed { entries, last })
}

pub(super) async fn count_unsealed(readers: &SqlitePool) -> Result<UnsealedEntries, StoreError> {
    let (count, oldest): (i64, Option<String>) = sqlx::query_as(unsealed!("count(*), min(created_at)", "")).fetch_one(readers).await?;
    Ok(UnsealedEntries { count: count.unsigned_abs(), oldest: oldest.and_then(|oldest| parse(&oldest).ok()) })
}

pub(super) async fn insert(connection: &mut SqliteConnection, entries: &[ActivityEntry]) -> sqlx::Result<()> {
    for entry in entries {
        sqlx::query(
            "insert into eliza_activity_log
                 (id, created_at, updated_at, activity_type, status, title, description, metadata, instance, seq)
             values (?1, ?2, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9) on conflict (id, created_at) do nothing",
        )
        .bind(entry.id.hyphenated())
        .bind(text(entry.at))
        .bind(entry.kind.as_str())
        .bind(entry.status.as_str())
        .bind(plain(&entry.title))
        .bind(plain(&entry.description))
        .bind(plain_json(&entry.metadata.to_string()).into_owned())
        .bind(entry.origin.map(|origin| origin.instance.hyphenated()))
        .bind(entry.origin.map(|origin| number(origin.seq)))
        .execute(&mut *connection)
        .await?;
    }
    Ok(())
}

pub(super) async fn log_bypass(
    writer: &SqlitePool,
    sealer: Option<&Sealer>,
    bypass: &ActivityEntry,
    entry: &AuditEntry,
) -> Result<(), StoreError> {
    let mut tx = begin(writer).await?;
    insert(&mut tx, std::slice::from_ref(bypass)).await?;
    Ok(commit(tx, sealer, std::slice::from_ref(entry)).await?)
}

pub(super) async fn clear_limits(
    writer: &SqlitePool,
    sealer: Option<&Sealer>,
    identifier: &str,
    entry: &AuditEntry,
) -> Result<u64, StoreError> {
    let mut tx = begin(writer).await?;
    let cleared = sqlx::query("delete from rate_limits where identifier = ?").bind(identifier).execute(&mut *tx).await?;
    let rows = cleared.rows_affected();
    if rows == 0 {
        return Ok(0);
    }
    commit(tx, sealer, &[limits_cleared(entry, rows)]).await?;
    Ok(rows)
}

pub(super) async fn review(
    writer: &SqlitePool,
    sealer: Option<&Sealer>,
    id: Uuid,
    review: &Review,
    entry: &AuditEntry,
) -> Result<bool, StoreError> {
    let mut tx = begin(writer).await?;
    let reviewed = sqlx::query(
        "update eliza_activity_log
         set metadata = json_set(iif(json_valid(metadata), metadata, '{}'), '$.reviewed', json(?2)),
             status = case activity_type when 'manual_bypass' then 'reviewed' else status end,
             updated_at = ?3
         where id = ?1
           and (activity_type = 'manual_bypass' and status = 'open'
                or activity_type = 'auto_fix' and status = 'failed'
                   and iif(json_valid(metadata), metadata -> '$.reviewed', null) is null)",
    )
    .bind(id.hyphenated())
    .bind(review.note())
    .bind(text(review.at))
    .execute(&mut *tx)
    .await?
    .rows_affected();
    if reviewed == 0 {
        return Ok(false);
    }
    commit(tx, sealer, std::slice::from_ref(entry)).await?;
    Ok(true)
}

pub(super) async fn security_events(readers: &SqlitePool, start: Timestamp, risk: u32, most: u32) -> Result<u64, StoreError> {
    let count: i64 =
        sqlx::query_scalar("select count(*) from (select 1 from security_events where created_at >= ? and risk_score > ? limit ?)")
            .bind(text(start))
            .bind(i64::from(risk))
            .bind(i64::from(most))
            .fetch_one(readers)
            .await?;
    Ok(count.unsigned_abs())
}
