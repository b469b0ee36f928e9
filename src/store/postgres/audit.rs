//! What people look back at: the audit, entries of the activity log that are no calls, security events; and what they change beside.

use serde_json::Value;
use sqlx::{PgConnection, PgPool};
use uuid::Uuid;

use super::control::begin;
use super::moment::Moment;
use crate::audit::AuditEntry;
use crate::clock::Timestamp;
use crate::store::StoreError;
use crate::store::batch::{plain, plain_json};
use crate::store::control::{ActivityEntry, Review, limits_cleared};
use crate::store::ledger::number;

/// Within whatever transaction the change itself is in. An adopted table may have no unique key, so what is there is looked for.
pub(super) async fn add(connection: &mut PgConnection, entries: &[AuditEntry]) -> sqlx::Result<()> {
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

pub(super) async fn write(pool: &PgPool, entries: &[AuditEntry]) -> Result<(), StoreError> {
    if entries.is_empty() {
        return Ok(());
    }
    Ok(add(&mut *pool.acquire().await?, entries).await?)
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
    Ok(rows
        .into_iter()
        .map(|row| AuditEntry {
            id: row.id,
            at: row.at.0,
            actor: row.actor,
            action: row.action,
            subject: row.subject,
            reason: row.reason,
            before: row.before.unwrap_or(Value::Null),
            after: row.after.unwrap_or(Value::Null),
        })
        .collect())
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
    .bind(entries.iter().map(|e| e.status).collect::<Vec<_>>())
    .bind(entries.iter().map(|e| plain(&e.title)).collect::<Vec<_>>())
    .bind(entries.iter().map(|e| plain(&e.description)).collect::<Vec<_>>())
    .bind(entries.iter().map(|e| plain_json(&e.metadata.to_string()).into_owned()).collect::<Vec<_>>())
    .bind(entries.iter().map(|e| e.origin.map(|origin| origin.instance)).collect::<Vec<_>>())
    .bind(entries.iter().map(|e| e.origin.map(|origin| number(origin.seq))).collect::<Vec<_>>())
    .execute(connection)
    .await?;
    Ok(())
}

pub(super) async fn log_bypass(pool: &PgPool, bypass: &ActivityEntry, entry: &AuditEntry) -> Result<(), StoreError> {
    let mut tx = begin(pool).await?;
    insert(&mut tx, std::slice::from_ref(bypass)).await?;
    add(&mut tx, std::slice::from_ref(entry)).await?;
    Ok(tx.commit().await?)
}

pub(super) async fn clear_limits(pool: &PgPool, identifier: &str, entry: &AuditEntry) -> Result<u64, StoreError> {
    let mut tx = begin(pool).await?;
    let cleared = sqlx::query("delete from public.rate_limits where identifier = $1").bind(identifier).execute(&mut *tx).await?;
    let rows = cleared.rows_affected();
    if rows == 0 {
        return Ok(0);
    }
    add(&mut tx, &[limits_cleared(entry, rows)]).await?;
    tx.commit().await?;
    Ok(rows)
}

pub(super) async fn review(pool: &PgPool, id: Uuid, review: &Review, entry: &AuditEntry) -> Result<bool, StoreError> {
    let mut tx = pool.begin().await?;
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
    add(&mut tx, std::slice::from_ref(entry)).await?;
    tx.commit().await?;
    Ok(true)
}

/// The database itself gives up on it: asked once a second, a question that waits for a lock would take one connection after the other.
pub(super) async fn security_events(pool: &PgPool, start: Timestamp, risk: u32, most: u32) -> Result<u64, StoreError> {
    let mut tx = pool.begin().await?;
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
