//! Signals by id. Writers follow one another, so a higher id is a later commit.

use futures_util::TryStreamExt;
use sqlx::SqlitePool;

use super::moment::parse;
use crate::store::{Signal, SignalCursor, StoreError};

pub(super) async fn cursor(readers: &SqlitePool) -> Result<SignalCursor, StoreError> {
    // Not the highest id there is: signals are let go of, and then an emptied table would begin anew.
    let last: i64 = sqlx::query_scalar("select coalesce((select seq from sqlite_sequence where name = 'gatekeeper_signals'), 0)")
        .fetch_one(readers)
        .await?;
    Ok(SignalCursor(last.to_string()))
}

#[derive(sqlx::FromRow)]
struct Row {
    id: i64,
    kind: String,
    identifier: Option<String>,
    endpoint: Option<String>,
    window_start: Option<String>,
    request_count: Option<i64>,
}

pub(super) async fn after(readers: &SqlitePool, cursor: &SignalCursor) -> Result<(Vec<Signal>, SignalCursor), StoreError> {
    let seen: i64 = cursor.0.parse().map_err(|_| StoreError::Refused(format!("{:?} is no cursor of this store", cursor.0)))?;
    let mut rows = sqlx::query_as::<_, Row>(
        "select id, kind, identifier, endpoint, window_start, request_count from gatekeeper_signals where id > ? order by id",
    )
    .bind(seen)
    .fetch(readers);
    // One by one as they come: somebody may have deleted a million counts.
    let (mut signals, mut last) = (Vec::new(), seen);
    while let Some(row) = rows.try_next().await? {
        last = row.id;
        signals.extend(signal(row));
    }
    Ok((signals, SignalCursor(last.to_string())))
}

/// Kinds that only a newer gatekeeper knows are none of our business.
fn signal(row: Row) -> Option<Signal> {
    match row.kind.as_str() {
        "counts_deleted" => Some(Signal::CountsDeleted {
            identifier: row.identifier?,
            endpoint: row.endpoint?,
            minute: parse(&row.window_start?).ok()?,
            count: u64::try_from(row.request_count?).unwrap_or(0),
        }),
        "keys_changed" => Some(Signal::KeysChanged),
        "flags_changed" => Some(Signal::FlagsChanged),
        "enforcement_changed" => Some(Signal::RulingsChanged),
        "blocks_changed" => Some(Signal::BlocksChanged),
        _ => None,
    }
}
