//! Statistics of hours long past, made into those of their days: whoever asks for all of them reads a few thousand rows and not a million.

use sqlx::{AssertSqlSafe, SqlitePool};

use super::begin;
use super::moment::text;
use crate::clock::Timestamp;
use crate::store::maintain::{HOURS_KEPT, Retained};

/// Days in one round; what is left is left to the next.
const DAYS: u32 = 400;

struct Table {
    name: &'static str,
    keys: &'static str,
    /// What one table has and the other has not: columns, what they become together, and beside what is there.
    more: [&'static str; 3],
}

const TABLES: [Table; 2] = [
    Table {
        name: "gatekeeper_call_stats",
        keys: "source, target",
        more: [
            ", first_call_at, last_call_at",
            ", min(first_call_at), max(last_call_at)",
            ", first_call_at = min(first_call_at, excluded.first_call_at), last_call_at = max(last_call_at, excluded.last_call_at)",
        ],
    },
    Table { name: "gatekeeper_action_stats", keys: "source, target, action", more: ["", "", ""] },
];

pub(super) async fn fold(writer: &SqlitePool, now: Timestamp) -> Retained {
    let mut retained = Retained::of("statistics");
    let before = text(now.minus(HOURS_KEPT).floor(86_400));
    for table in &TABLES {
        for _ in 0..DAYS {
            if retained.note(fold_day(writer, table, &before).await) != Some(true) {
                break;
            }
        }
    }
    retained
}

/// The day's hours after the first go into the first, in which whatever comes late for that hour has its place too. False if there is no
/// such day.
async fn fold_day(writer: &SqlitePool, Table { name, keys, more: [columns, sums, set] }: &Table, before: &str) -> sqlx::Result<bool> {
    let mut tx = begin(writer).await?;
    let oldest = format!("select min(substr(hour, 1, 10)) from {name} where hour < ? and substr(hour, 12) <> '00:00:00.000000'");
    let day: Option<String> = sqlx::query_scalar(AssertSqlSafe(oldest)).bind(before).fetch_one(&mut *tx).await?;
    let Some(day) = day else { return Ok(false) };
    let (first, last) = (format!("{day} 00:00:00.000000"), format!("{day} 24"));
    let fold = format!(
        "insert into {name} (hour, {keys}, successful, failed, denied, duration_ms_sum, duration_ms_max{columns})
         select ?1, {keys}, sum(successful), sum(failed), sum(denied), sum(duration_ms_sum), max(duration_ms_max){sums}
         from {name} where hour > ?1 and hour < ?2 group by {keys}
         on conflict (hour, {keys}) do update set
             successful = successful + excluded.successful, failed = failed + excluded.failed, denied = denied + excluded.denied,
             duration_ms_sum = duration_ms_sum + excluded.duration_ms_sum,
             duration_ms_max = max(duration_ms_max, excluded.duration_ms_max){set}"
    );
    sqlx::query(AssertSqlSafe(fold)).bind(&first).bind(&last).execute(&mut *tx).await?;
    let delete = format!("delete from {name} where hour > ?1 and hour < ?2");
    let gone = sqlx::query(AssertSqlSafe(delete)).bind(&first).bind(&last).execute(&mut *tx).await?;
    tx.commit().await?;
    Ok(gone.rows_affected() > 0)
}
