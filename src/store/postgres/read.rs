//! What was counted and what was called.

use std::time::Duration;

use futures_util::TryStreamExt;
use serde_json::Value;
use sqlx::PgPool;
use uuid::Uuid;

use super::moment::Moment;
use crate::clock::Timestamp;
use crate::store::control::EntryKind;
use crate::store::{CallQuery, CallRow, EndpointCount, LimitRow, StoreError};

pub(super) async fn counts_since(pool: &PgPool, start: Timestamp) -> Result<Vec<EndpointCount>, StoreError> {
    let rows = sqlx::query_as::<_, (String, String, i64)>(
        "select identifier, endpoint, sum(request_count)::bigint from public.rate_limits where window_start >= $1 group by 1, 2",
    )
    .bind(start.to_datetime())
    .fetch(pool);
    // One by one as they come: there may be a million.
    Ok(rows.map_ok(EndpointCount::from).try_collect().await?)
}

pub(super) async fn limit_rows(pool: &PgPool, identifier: Option<&str>, start: Timestamp, most: u32) -> Result<Vec<LimitRow>, StoreError> {
    let rows: Vec<(String, String, i32, Moment)> = sqlx::query_as(
        "select identifier, endpoint, request_count, window_start from public.rate_limits
         where window_start >= $1 and ($2::text is null or identifier = $2)
         order by window_start desc, identifier, endpoint limit $3",
    )
    .bind(start.to_datetime())
    .bind(identifier)
    .bind(i64::from(most))
    .fetch_all(pool)
    .await?;
    Ok(rows
        .into_iter()
        .map(|(identifier, endpoint, count, window_start)| LimitRow {
            identifier,
            endpoint,
            count: u64::try_from(count).unwrap_or(0),
            window_start: window_start.0,
        })
        .collect())
}

type Row = (Uuid, Moment, String, String, String, String, Option<Value>);

fn call_row((id, at, activity_type, status, title, description, metadata): Row) -> CallRow {
    CallRow { id, at: at.0, activity_type, status, title, description, metadata: metadata.unwrap_or(Value::Null) }
}

macro_rules! select_calls {
    ($($rest:literal),+) => {
        concat!(
            "select id, created_at, activity_type, coalesce(status, ''), title, coalesce(description, ''), metadata
             from public.eliza_activity_log ",
            $($rest),+
        )
    };
}

/// Other programs log here too: unless a type is asked for, calls are the gatekeeper's own.
macro_rules! asked_for {
    ($order:literal) => {
        select_calls!(
            "where ($2::text is null or metadata ->> 'source' = $2)
               and ($3::text is null or metadata ->> 'target' = $3)
               and (activity_type = $4 or $4 is null
                    and activity_type in ('gatekeeper_call', 'gatekeeper_denied', 'schema_protection', 'gatekeeper_error')) ",
            $order,
            " limit $1"
        )
    };
}

pub(super) async fn entries(pool: &PgPool, kind: EntryKind, open_only: bool, most: u32) -> Result<Vec<CallRow>, StoreError> {
    let sql = match (kind, open_only) {
        (_, false) => select_calls!("where activity_type = $1 order by created_at desc, id desc limit $2"),
        (EntryKind::ManualBypass, true) => {
            select_calls!("where activity_type = $1 and status = 'open' order by created_at desc, id desc limit $2")
        }
        (EntryKind::AutoFix, true) => select_calls!(
            "where activity_type = $1 and status = 'failed' and metadata -> 'reviewed' is null
             order by created_at desc, id desc limit $2"
        ),
    };
    let rows: Vec<Row> = sqlx::query_as(sql).bind(kind.as_str()).bind(i64::from(most)).fetch_all(pool).await?;
    Ok(rows.into_iter().map(call_row).collect())
}

pub(super) async fn calls(pool: &PgPool, query: &CallQuery) -> Result<Vec<CallRow>, StoreError> {
    let sql = match query.after {
        None => asked_for!("order by created_at desc, id desc"),
        // The bare bound is there for the planner, which leaves out partitions by it.
        Some(_) => asked_for!("and created_at >= $5 and (created_at, id) > ($5, $6) order by created_at, id"),
    };
    let mut asked = sqlx::query_as(sql).bind(i64::from(query.most)).bind(&query.source).bind(&query.target).bind(&query.activity_type);
    if let Some((at, id)) = query.after {
        asked = asked.bind(at.to_datetime()).bind(id);
    }
    let rows: Vec<Row> = asked.fetch_all(pool).await?;
    Ok(rows.into_iter().map(call_row).collect())
}

/// How far `created_at` may lie from the time in the id.
const NEAR: Duration = Duration::from_secs(24 * 3600);

pub(super) async fn call(pool: &PgPool, id: Uuid) -> Result<Option<CallRow>, StoreError> {
    if let Some(made) = id.get_timestamp() {
        let made = Timestamp::from_secs(i64::try_from(made.to_unix().0).unwrap_or(0));
        if let Some(row) = call_between(pool, id, Some((made.minus(NEAR), made.plus(NEAR)))).await? {
            return Ok(Some(row));
        }
    }
    call_between(pool, id, None).await
}

async fn call_between(pool: &PgPool, id: Uuid, between: Option<(Timestamp, Timestamp)>) -> Result<Option<CallRow>, StoreError> {
    let sql = match between {
        Some(_) => select_calls!("where id = $1 and created_at between $2 and $3 limit 1"),
        None => select_calls!("where id = $1 order by created_at limit 1"),
    };
    let mut asked = sqlx::query_as(sql).bind(id);
    if let Some((from, to)) = between {
        asked = asked.bind(from.to_datetime()).bind(to.to_datetime());
    }
    let row: Option<Row> = asked.fetch_optional(pool).await?;
    Ok(row.map(call_row))
}
