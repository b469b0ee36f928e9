//! Keeping house: old rows go in steps, and between two steps records are written.

use sqlx::SqlitePool;

use super::begin;
use super::moment::text;
use crate::clock::Timestamp;
use crate::store::{Cutoffs, Keep, Maintained, StoreError};

/// Rows that one step deletes.
const STEP: u32 = 2_000;
/// Steps for each table in one round; what is left is left to the next.
const STEPS: u32 = 1_000;

pub(super) async fn maintain(writer: &SqlitePool, now: Timestamp, keep: &Keep) -> Result<Maintained, StoreError> {
    let cutoffs = Cutoffs::at(now, keep);
    let old = [
        (
            "delete from eliza_activity_log where rowid in (select rowid from eliza_activity_log where created_at < ? limit ?)",
            cutoffs.activity,
        ),
        ("delete from api_call_logs where rowid in (select rowid from api_call_logs where created_at < ? limit ?)", cutoffs.api_calls),
        ("delete from rate_limits where rowid in (select rowid from rate_limits where window_start < ? limit ?)", cutoffs.rate_limits),
        ("delete from gatekeeper_signals where id in (select id from gatekeeper_signals where at < ? limit ?)", cutoffs.signals),
    ];
    let mut rows_deleted = 0;
    for (delete, before) in old {
        for _ in 0..STEPS {
            let mut tx = begin(writer).await?;
            let deleted = sqlx::query(delete).bind(text(before)).bind(STEP).execute(&mut *tx).await?.rows_affected();
            tx.commit().await?;
            rows_deleted += deleted;
            if deleted < u64::from(STEP) {
                break;
            }
        }
    }
    Ok(Maintained { rows_deleted, ..Maintained::default() })
}
