//! Keeping house. The routines themselves are in the database (migrations), where they run with their owner's rights.

use sqlx::PgPool;
use sqlx::types::time::OffsetDateTime;

use crate::clock::Timestamp;
use crate::store::{Cutoffs, Keep, Maintained, StoreError};

/// Days ahead that always have their partition: a week in which nobody needs to keep house.
const DAYS_AHEAD: i32 = 7;
/// Rows of each table that one step deletes, and so the time that others wait for their locks.
const STEP: i32 = 5_000;
/// Steps in one round; what is left is left to the next.
const STEPS: u32 = 400;

pub(super) async fn maintain(pool: &PgPool, now: Timestamp, keep: &Keep) -> Result<Maintained, StoreError> {
    let cutoffs = Cutoffs::at(now, keep);
    let [activity, api_calls, rate_limits, signals]: [OffsetDateTime; 4] =
        [cutoffs.activity, cutoffs.api_calls, cutoffs.rate_limits, cutoffs.signals].map(Timestamp::to_datetime);

    // Each step is done whatever becomes of the others; the first trouble is told at the end.
    let made: Result<i32, sqlx::Error> = sqlx::query_scalar("select gatekeeper.make_partitions($1, $2)")
        .bind(now.to_datetime().date())
        .bind(DAYS_AHEAD)
        .fetch_one(pool)
        .await;
    let dropped: Result<i32, sqlx::Error> =
        sqlx::query_scalar("select gatekeeper.drop_partitions($1, $2)").bind(activity).bind(api_calls).fetch_one(pool).await;

    let mut rows_deleted = 0;
    for _ in 0..STEPS {
        let deleted: i64 = sqlx::query_scalar("select gatekeeper.delete_old_rows($1, $2, $3, $4, $5)")
            .bind(activity)
            .bind(api_calls)
            .bind(rate_limits)
            .bind(signals)
            .bind(STEP)
            .fetch_one(pool)
            .await?;
        if deleted <= 0 {
            break;
        }
        rows_deleted += deleted.unsigned_abs();
    }
    Ok(Maintained { partitions_made: made?.unsigned_abs(), partitions_dropped: dropped?.unsigned_abs(), rows_deleted })
}
