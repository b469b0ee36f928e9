//! Signals by transaction. The cursor is a snapshot: what was not visible in it and is now, is new, however late it was committed.

use futures_util::TryStreamExt;
use sqlx::PgPool;

use super::moment::Moment;
use crate::store::{Signal, SignalCursor, StoreError};

pub(super) async fn cursor(pool: &PgPool) -> Result<SignalCursor, StoreError> {
    Ok(SignalCursor(sqlx::query_scalar("select pg_current_snapshot()::text").fetch_one(pool).await?))
}

#[derive(sqlx::FromRow)]
struct Row {
    next: String,
    rewound: bool,
    kind: Option<String>,
    identifier: Option<String>,
    endpoint: Option<String>,
    window_start: Option<Moment>,
    request_count: Option<i64>,
}

pub(super) async fn after(pool: &PgPool, cursor: &SignalCursor) -> Result<(Vec<Signal>, SignalCursor), StoreError> {
    // Snapshot and rows in one statement, so that nothing can be committed between the two. The first comparison is for the index.
    let mut rows = sqlx::query_as::<_, Row>(
        "with here as (select pg_current_snapshot() as snapshot)
         select snapshot::text as next,
                pg_snapshot_xmax($1::text::pg_snapshot) > pg_snapshot_xmax(snapshot) as rewound,
                kind, identifier, endpoint, window_start, request_count
         from here
         left join gatekeeper.signals
             on xid >= pg_snapshot_xmin($1::text::pg_snapshot) and not pg_visible_in_snapshot(xid, $1::text::pg_snapshot)
         order by id",
    )
    .bind(&cursor.0)
    .fetch(pool);
    let Some(first) = rows.try_next().await? else {
        return Err(StoreError::Away("the signals cannot be read".into()));
    };
    let next = SignalCursor(first.next.clone());
    if first.rewound {
        // Transactions are counted from an earlier point: this is another server than the one that gave the cursor, a restored
        // one perhaps. What changed cannot be told apart, so whoever follows reads everything afresh.
        let all = vec![Signal::KeysChanged, Signal::FlagsChanged, Signal::RulingsChanged, Signal::BlocksChanged];
        return Ok((all, next));
    }
    // One by one as they come: somebody may have deleted a million counts.
    let mut signals: Vec<_> = signal(first).into_iter().collect();
    while let Some(row) = rows.try_next().await? {
        signals.extend(signal(row));
    }
    Ok((signals, next))
}

/// Kinds that only a newer gatekeeper knows are none of our business.
fn signal(row: Row) -> Option<Signal> {
    match row.kind?.as_str() {
        "counts_deleted" => Some(Signal::CountsDeleted {
            identifier: row.identifier?,
            endpoint: row.endpoint?,
            minute: row.window_start?.0,
            count: u64::try_from(row.request_count?).unwrap_or(0),
        }),
        "all_counts_deleted" => Some(Signal::AllCountsDeleted),
        "keys_changed" => Some(Signal::KeysChanged),
        "flags_changed" => Some(Signal::FlagsChanged),
        "enforcement_changed" => Some(Signal::RulingsChanged),
        "blocks_changed" => Some(Signal::BlocksChanged),
        _ => None,
    }
}
