//! Statistics of hours long past, made into those of their days: whoever asks for all of them reads a few thousand rows and not a million.

use sqlx::PgPool;

use crate::clock::Timestamp;
use crate::store::maintain::{HOURS_KEPT, Retained};

/// Days in one round; what is left is left to the next.
const DAYS: u32 = 400;

/// One day at a time: its hours after the first go into the first, in which whatever comes late for that hour has its place too.
macro_rules! fold {
    ($table:literal, $keys:literal, $columns:literal, $sums:literal, $set:literal) => {
        concat!(
            "with day as (
                 select date_trunc('day', min(hour), 'UTC') as begins from gatekeeper.",
            $table,
            " where hour < $1 and hour <> date_trunc('day', hour, 'UTC')
             ), gone as (
                 delete from gatekeeper.",
            $table,
            " as old using day where hour > begins and hour < begins + interval '1 day' returning old.*, begins
             )
             insert into gatekeeper.",
            $table,
            " as kept (hour, ",
            $keys,
            ", successful, failed, denied, duration_ms_sum, duration_ms_max",
            $columns,
            ") select begins, ",
            $keys,
            ", sum(successful), sum(failed), sum(denied), sum(duration_ms_sum), max(duration_ms_max)",
            $sums,
            " from gone group by begins, ",
            $keys,
            " on conflict (hour, ",
            $keys,
            ") do update set
                 successful = kept.successful + excluded.successful,
                 failed = kept.failed + excluded.failed,
                 denied = kept.denied + excluded.denied,
                 duration_ms_sum = kept.duration_ms_sum + excluded.duration_ms_sum,
                 duration_ms_max = greatest(kept.duration_ms_max, excluded.duration_ms_max)",
            $set
        )
    };
}

const FOLDS: [&str; 2] = [
    fold!(
        "call_stats",
        "source, target",
        ", first_call_at, last_call_at",
        ", min(first_call_at), max(last_call_at)",
        ", first_call_at = least(kept.first_call_at, excluded.first_call_at),
           last_call_at = greatest(kept.last_call_at, excluded.last_call_at)"
    ),
    fold!("action_stats", "source, target, action", "", "", ""),
];

pub(super) async fn fold(pool: &PgPool, now: Timestamp) -> Retained {
    let mut retained = Retained::of("statistics");
    let before = now.minus(HOURS_KEPT).floor(86_400).to_datetime();
    for fold in FOLDS {
        for _ in 0..DAYS {
            let folded = sqlx::query(fold).bind(before).execute(pool).await;
            if retained.note(folded).is_none_or(|folded| folded.rows_affected() == 0) {
                break;
            }
        }
    }
    retained
}
