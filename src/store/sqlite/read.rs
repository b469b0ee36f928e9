//! What was counted and what was called.

use futures_util::TryStreamExt;
use serde_json::Value;
use sqlx::SqlitePool;
use sqlx::sqlite::SqliteRow;
use uuid::Uuid;

use super::moment::{parse, text};
use crate::clock::Timestamp;
use crate::store::control::EntryKind;
use crate::store::rows::{or_pass_over, readable};
use crate::store::{CallQuery, CallRow, EndpointCount, LimitRow, StoreError};

pub(super) async fn counts_since(readers: &SqlitePool, start: Timestamp) -> Result<Vec<EndpointCount>, StoreError> {
    let rows = sqlx::query_as::<_, (String, String, i64)>(
        "select identifier, endpoint, sum(request_count) from rate_limits where window_start >= ? group by identifier, endpoint",
    )
    .bind(text(start))
    .fetch(readers);
    // One by one as they come: there may be a million.
    Ok(rows.map_ok(EndpointCount::from).try_collect().await?)
}

pub(super) async fn limit_rows(
    readers: &SqlitePool,
    identifier: Option<&str>,
    start: Timestamp,
    most: u32,
) -> Result<Vec<LimitRow>, StoreError> {
    let rows = sqlx::query(
        "select identifier, endpoint, request_count, window_start from rate_limits
         where window_start >= ?1 and (?2 is null or identifier = ?2)
         order by window_start desc, identifier, endpoint limit ?3",
    )
    .bind(text(start))
    .bind(identifier)
    .bind(i64::from(most))
    .fetch_all(readers)
    .await?;
    let table = "rate_limits";
    Ok(readable(&rows, table).filter_map(|row| or_pass_over(limit_row(row), table)).collect())
}

fn limit_row((identifier, endpoint, count, window_start): (String, String, i64, String)) -> Result<LimitRow, StoreError> {
    Ok(LimitRow { identifier, endpoint, count: u64::try_from(count).unwrap_or(0), window_start: parse(&window_start)? })
}

type Row = (String, String, String, String, String, String, Option<String>);

fn call_rows(rows: &[SqliteRow]) -> Vec<CallRow> {
    let table = "eliza_activity_log";
    readable(rows, table).filter_map(|row| or_pass_over(call_row(row), table)).collect()
}

fn call_row((id, at, activity_type, status, title, description, metadata): Row) -> Result<CallRow, StoreError> {
    Ok(CallRow {
        id: Uuid::try_parse(&id).map_err(|_| StoreError::Refused(format!("{id:?} is no UUID")))?,
        at: parse(&at)?,
        activity_type,
        status,
        title,
        description,
        // Another program may have written anything here.
        metadata: metadata.map_or(Value::Null, |json| serde_json::from_str(&json).unwrap_or(Value::String(json))),
    })
}

macro_rules! select_calls {
    ($($rest:literal),+) => {
        concat!(
            "select id, created_at, activity_type, coalesce(status, ''), title, coalesce(description, ''), metadata
             from eliza_activity_log ",
            $($rest),+
        )
    };
}

/// Other programs log here too: unless a type is asked for, calls are the gatekeeper's own.
macro_rules! asked_for {
    ($order:literal) => {
        select_calls!(
            "where (?2 is null or case when json_valid(metadata) then metadata ->> 'source' end = ?2)
               and (?3 is null or case when json_valid(metadata) then metadata ->> 'target' end = ?3)
               and (activity_type = ?4 or ?4 is null
                    and activity_type in ('gatekeeper_call', 'gatekeeper_denied', 'schema_protection', 'gatekeeper_error')) ",
            $order,
            " limit ?1"
        )
    };
}

pub(super) async fn entries(readers: &SqlitePool, kind: EntryKind, open_only: bool, most: u32) -> Result<Vec<CallRow>, StoreError> {
    let sql = match (kind, open_only) {
        (_, false) => select_calls!("where activity_type = ? order by created_at desc, id desc limit ?"),
        (EntryKind::ManualBypass, true) => {
            select_calls!("where activity_type = ? and status = 'open' order by created_at desc, id desc limit ?")
        }
        (EntryKind::AutoFix, true) => select_calls!(
            "where activity_type = ? and status = 'failed' and iif(json_valid(metadata), metadata -> '$.reviewed', null) is null
             order by created_at desc, id desc limit ?"
        ),
    };
    let rows = sqlx::query(sql).bind(kind.as_str()).bind(i64::from(most)).fetch_all(readers).await?;
    Ok(call_rows(&rows))
}

pub(super) async fn calls(readers: &SqlitePool, query: &CallQuery) -> Result<Vec<CallRow>, StoreError> {
    let sql = match query.after {
        None => asked_for!("order by created_at desc, id desc"),
        Some(_) => asked_for!("and created_at >= ?5 and (created_at, id) > (?5, ?6) order by created_at, id"),
    };
    let mut asked = sqlx::query(sql).bind(i64::from(query.most)).bind(&query.source).bind(&query.target).bind(&query.activity_type);
    if let Some((at, id)) = query.after {
        asked = asked.bind(text(at)).bind(id.hyphenated());
    }
    Ok(call_rows(&asked.fetch_all(readers).await?))
}

pub(super) async fn call(readers: &SqlitePool, id: Uuid) -> Result<Option<CallRow>, StoreError> {
    let row: Option<Row> =
        sqlx::query_as(select_calls!("where id = ?1 order by created_at limit 1")).bind(id.hyphenated()).fetch_optional(readers).await?;
    row.map(call_row).transpose()
}
