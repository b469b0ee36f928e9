//! What people look back at: the audit, entries of the activity log that are no calls, security events; and what they change beside.

use serde_json::Value;
use sqlx::{PgConnection, PgPool, Postgres, Transaction};
use uuid::Uuid;

use super::control::begin;
use super::moment::Moment;
use super::{BEGIN, audit_log};
use crate::audit::AuditEntry;
use crate::clock::Timestamp;
use crate::seal::Sealer;
use crate::store::audit_log::{UnsealedEntries, of_entries};
use crate::store::batch::{plain, plain_json};
use crate::store::control::{ActivityEntry, Review, limits_cleared};
use crate::store::ledger::number;
use crate::store::{StoreError, fault};

/// Commits a change with the entries about it, and their seals.
pub(super) async fn commit(mut tx: Transaction<'_, Postgres>, sealer: Option<&Sealer>, entries: &[AuditEntry]) -> sqlx::Result<()> {
    add(&mut tx, entries).await?;
    audit_log::commit(tx, sealer, of_entries(entries)).await
}

/// An adopted table may have no unique key, so what is there is looked for.
async fn add(connection: &mut PgConnection, entries: &[AuditEntry]) -> sqlx::Result<()> {
    let json = |value: &Value| (!value.is_null()).then(|| plain_json(&value.to_string()).into_owned());
    sqlx::query(
        "insert into public.security_audit (id, created_at, actor, action, subject, reason, before, after)
         select distinct on (id) id, at, actor, action, subject, reason, before::jsonb, after::jsonb
         from unnest($1::uuid[], $2::timestamptz[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[])
              as given (id, at, actor, action, subject, reason, before, after)
         where not exists (select from public.security_audit as known where known.id = given.id)
         on conflict do nothing",
    )
    .bind(entries.iter().map(|e| e.id).collect::<Vec<_>>())
    .bind(entries.iter().map(|e| e.at.to_datetime()).collect::<Vec<_>>())
    .bind(entries.iter().map(|e| plain(&e.actor)).collect::<Vec<_>>())
    .bind(entries.iter().map(|e| plain(&e.action)).collect::<Vec<_>>())
    .bind(entries.iter().map(|e| plain(&e.subject)).collect::<Vec<_>>())
    .bind(entries.iter().map(|e| e.reason.as_deref().map(plain)).collect::<Vec<_>>())
    .bind(entries.iter().map(|e| json(&e.before)).collect::<Vec<_>>())
    .bind(entries.iter().map(|e| json(&e.after)).collect::<Vec<_>>())
    .execute(connection)
    .await?;
    Ok(())
}

pub(super) async fn write(pool: &PgPool, sealer: Option<&Sealer>, entries: &[AuditEntry]) -> Result<(), StoreError> {
    if entries.is_empty() {
        return Ok(());
    }
    // As records do, entries wait until somebody has seen to rights and tables: what counted as their own fault would never be sealed.
    let written = async { commit(pool.begin_with(BEGIN).await?, sealer, entries).await };
    written.await.map_err(fault::of_records)
}

#[derive(sqlx::FromRow)]
struct Row {
    id: Uuid,
    at: Moment,
    actor: String,
    action: String,
    subject: String,
    reason: Option<String>,
    before: Option<Value>,
    after: Option<Value>,
}

impl Row {
    fn entry(self) -> AuditEntry {
        AuditEntry {
            id: self.id,
            at: self.at.0,
            actor: self.actor,
            action: self.action,
            subject: self.subject,
            reason: self.reason,
            before: self.before.unwrap_or(Value::Null),
            after: self.after.unwrap_or(Value::Null),
        }
    }
}

pub(super) async fn newest(pool: &PgPool, most: u32) -> Result<Vec<AuditEntry>, StoreError> {
    // Rows of another program may lack what ours have.
    let rows: Vec<Row> = sqlx::query_as(
        "select id, created_at::timestamptz as at, coalesce(actor::text, '') as actor, coalesce(action::text, '') as action,
                coalesce(subject::text, '') as subject, reason::text as reason, to_jsonb(before) as before, to_jsonb(after) as after
         from public.security_audit
         where id is not null and created_at between '0001-01-01' and '9999-12-01'
         order by created_at desc, id desc limit $1",
    )
    .bind(i64::from(most))
    .fetch_all(pool)
    .await?;
    Ok(rows.into_iter().map(Row::entry).collect())
}

/// Entries in our form: rows of another program lack what ours have.
macro_rules! unsealed {
    ($what:literal, $rest:literal) => {
        concat!(
            "select ",
            $what,
            " from public.security_audit as entry
             where id is not null and actor is not null and action is not null and subject is not null
               and created_at between '0001-01-01' and '9999-12-01'
               and not exists (select from gatekeeper.audit_log as log where log.id = entry.id) ",
            $rest
        )
    };
}

/// Those that nobody has sealed, the oldest first, from behind a moment and an id on.
pub(super) async fn unsealed(connection: &mut PgConnection, from: (Timestamp, Uuid), most: usize) -> sqlx::Result<Vec<AuditEntry>> {
    let rows: Vec<Row> = sqlx::query_as(unsealed!(
        "id, created_at::timestamptz as at, actor::text, action::text, subject::text, reason::text, to_jsonb(before) as before,
         to_jsonb(after) as after",
        "and created_at >= $1 and (created_at, id) > ($1, $2) order by created_at, id limit $3"
    ))
    .bind(from.0.to_datetime())
    .bind(from.1)
    .bind(i64::try_from(most).unwrap_or(i64::MAX))
    .fetch_all(connection)
    .await?;
    Ok(rows.into_iter().map(Row::entry).collect())
}

pub(super) async fn count_unsealed(pool: &PgPool) -> Result<UnsealedEntries, StoreError> {
    let (count, oldest): (i64, Option<Moment>) =
        sqlx::query_as(unsealed!("count(*), min(created_at)::timestamptz", "")).fetch_one(pool).await?;
    Ok(UnsealedEntries { count: count.unsigned_abs(), oldest: oldest.map(|oldest| oldest.0) })
}

pub(super) async fn insert(connection: &mut PgConnection, entries: &[ActivityEntry]) -> sqlx::Result<()> {
    if entries.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "insert into public.eliza_activity_log
             (id, created_at, updated_at, activity_type, status, title, description, metadata, instance, seq)
         select id, at, at, activity_type, status, title, description, metadata::jsonb, instance, seq
         from unnest($1::uuid[], $2::timestamptz[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::uuid[], $9::bigint[])
              as given (id, at, activity_type, status, title, description, metadata, instance, seq)
         on conflict (id, created_at) do nothing",
    )
    .bind(entries.iter().map(|e| e.id).collect::<Vec<_>>())
    .bind(entries.iter().map(|e| e.at.to_datetime()).collect::<Vec<_>>())
    .bind(entries.iter().map(|e| e.kind.as_str()).collect::<Vec<_>>())
    .bind(entries.iter().map(|e| e.status.as_str()).collect::<Vec<_>>())
    .bind(entries.iter().map(|e| plain(&e.title)).collect::<Vec<_>>())
    .bind(entries.iter().map(|e| plain(&e.description)).collect::<Vec<_>>())
    .bind(entries.iter().map(|e| plain_json(&e.metadata.to_string()).into_owned()).collect::<Vec<_>>())
    .bind(entries.iter().map(|e| e.origin.map(|origin| origin.instance)).collect::<Vec<_>>())
    .bind(entries.iter().map(|e| e.origin.map(|origin| number(origin.seq))).collect::<Vec<_>>())
    .execute(connection)
    .await?;
    Ok(())
}

pub(super) async fn log_bypass(
    pool: &PgPool,
    sealer: Option<&Sealer>,
    bypass: &ActivityEntry,
    entry: &AuditEntry,
) -> Result<(), StoreError> {
    let mut tx = begin(pool).await?;
    insert(&mut tx, std::slice::from_ref(bypass)).await?;
    Ok(commit(tx, sealer, std::slice::from_ref(entry)).await?)
}

pub(super) async fn clear_limits(pool: &PgPool, sealer: Option<&Sealer>, identifier: &str, entry: &AuditEntry) -> Result<u64, StoreError> {
    let mut tx = begin(pool).await?;
    let cleared = sqlx::query("delete from public.rate_limits where identifier = $1").bind(identifier).execute(&mut *tx).await?;
    let rows = cleared.rows_affected();
    if rows == 0 {
        return Ok(0);
    }
    commit(tx, sealer, &[limits_cleared(entry, rows)]).await?;
    Ok(rows)
}

pub(super) async fn review(
    pool: &PgPool,
    sealer: Option<&Sealer>,
    id: Uuid,
    review: &Review,
    entry: &AuditEntry,
) -> Result<bool, StoreError> {
    let mut tx = pool.begin_with(BEGIN).await?;
    let reviewed = sqlx::query(
        "update public.eliza_activity_log
         set metadata = coalesce(metadata, '{}') || jsonb_build_object('reviewed', $2::jsonb),
             status = case activity_type when 'manual_bypass' then 'reviewed' else status end,
             updated_at = $3
         where id = $1
           and (activity_type = 'manual_bypass' and status = 'open'
                or activity_type = 'auto_fix' and status = 'failed' and metadata -> 'reviewed' is null)",
    )
    .bind(id)
    .bind(review.note())
    .bind(review.at.to_datetime())
    .execute(&mut *tx)
    .await?
    .rows_affected();
    if reviewed == 0 {
        return Ok(false);
    }
    commit(tx, sealer, std::slice::from_ref(entry)).await?;
    Ok(true)
}

/// The database itself gives up on it: asked once a second, a question that waits for a lock would take one connection after the other.
pub(super) async fn security_events(pool: &PgPool, start: Timestamp, risk: u32, most: u32) -> Result<u64, StoreError> {
    let mut tx = pool.begin_with(BEGIN).await?;
    sqlx::query("set local statement_timeout = '1500ms'").execute(&mut *tx).await?;
    let count: i64 = sqlx::query_scalar(
        "select count(*) from (select from public.security_events where created_at >= $1 and risk_score > $2 limit $3) as found",
    )
    .bind(start.to_datetime())
    .bind(i64::from(risk))
    .bind(i64::from(most))
    .fetch_one(&mut *tx)
    .await?;
    tx.commit().await?;
    Ok(count.unsigned_abs())
}
