//! Keeping house. What needs its owner's rights is done by routines in the database (migrations).

use std::time::Duration;

use sqlx::PgPool;
use sqlx::types::time::OffsetDateTime;
use tokio::time::sleep;

use super::moment::Moment;
use super::{BEGIN, fold, tables};
use crate::clock::Timestamp;
use crate::retention::{Archive, Keep, Span};
use crate::store::maintain::{GRACE, Maintained, Retained, SIGNALS_KEPT, TableAge, counts_before};
use crate::store::{StoreError, fault};

/// Days ahead that always have their partition: a week in which nobody needs to keep house.
const DAYS_AHEAD: u32 = 7;
/// Rows that one step moves or deletes, and so the time that others wait for their locks.
pub(super) const STEP: i32 = 5_000;
/// Steps for each table in one round; what is left is left to the next.
pub(super) const STEPS: u32 = 400;
/// Days of one log in one round.
const PARTITIONS: u32 = 1_000;
/// How often a day is tried that somebody reads, and how long is waited between. Each try keeps writers waiting for a tenth of a second.
const TRIES: u32 = 20;
const PAUSE: Duration = Duration::from_millis(500);

const LOGS: [&str; 2] = ["eliza_activity_log", "api_call_logs"];

fn spans(keep: &Keep) -> [(&'static str, Span); 2] {
    let [activity, api_calls] = LOGS;
    [(activity, keep.activity), (api_calls, keep.api_calls)]
}

fn archive_of(table: &str) -> String {
    format!("{table}_archive")
}

pub(super) async fn maintain(pool: &PgPool, now: Timestamp, keep: &Keep, done: &mut Maintained) -> Result<(), StoreError> {
    let mut ahead = Retained::of("partitions ahead");
    match make_room(pool, now, &mut ahead).await {
        Ok(made) => done.partitions_made = made,
        Err(StoreError::Away(why)) => return Err(StoreError::Away(why)),
        // The rest is done all the same.
        Err(StoreError::Refused(why)) => ahead.troubled(why),
    }
    if ahead.busy || ahead.trouble.is_some() {
        done.tables.push(ahead);
    }
    for (log, span) in spans(keep) {
        done.tables.extend(retain_log(pool, log, span, now).await);
    }
    let before = [
        ("rate_limits", "public.rate_limits", "window_start", counts_before(now, keep)),
        ("signals", "gatekeeper.signals", "at", now.minus(SIGNALS_KEPT)),
    ];
    for (name, place, moment, before) in before {
        let mut retained = Retained::of(name);
        let delete = format!(
            "delete from {place} where ctid = any (array(select ctid from {place} where {moment} < $1 limit $2 for update skip locked))"
        );
        for _ in 0..STEPS {
            let step = sqlx::query(sqlx::AssertSqlSafe(delete.as_str())).bind(before.to_datetime()).bind(STEP).execute(pool).await;
            let Some(gone) = retained.note(step).map(|step| step.rows_affected()).filter(|gone| *gone > 0) else { break };
            retained.rows_deleted += gone;
        }
        done.tables.push(retained);
    }
    done.tables.push(fold::fold(pool, now).await);
    if let Some(before) = keep.activity.here_until(now) {
        done.tables.push(forget_instances(pool, before).await);
    }
    for kept in &keep.tables {
        done.tables.extend(tables::retain(pool, kept, now).await);
    }
    Ok(())
}

/// A transaction a day, so that none holds its locks for long.
async fn make_room(pool: &PgPool, now: Timestamp, ahead: &mut Retained) -> Result<u32, StoreError> {
    let (mut made, mut tries) = (0, 0);
    let mut days = 0..=DAYS_AHEAD;
    let mut next = days.next();
    while let Some(day) = next {
        let day = now.plus(Duration::from_secs(u64::from(day) * 86_400)).to_datetime().date();
        let of_day: sqlx::Result<i32> = sqlx::query_scalar("select gatekeeper.make_partitions($1, 0)").bind(day).fetch_one(pool).await;
        match of_day {
            Ok(of_day) => made += of_day.unsigned_abs(),
            Err(error) if fault::is_lock_missed(&error) && tries < TRIES => {
                tries += 1;
                sleep(PAUSE).await;
                continue;
            }
            Err(error) if fault::is_lock_missed(&error) => {
                ahead.busy = true;
                break;
            }
            Err(error) => return Err(error.into()),
        }
        next = days.next();
    }
    Ok(made)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Goes {
    ToArchive,
    ForGood,
}

/// The log, and its archive.
async fn retain_log(pool: &PgPool, log: &str, span: Span, now: Timestamp) -> [Retained; 2] {
    let (mut here, mut archive) = (Retained::of(log), Retained::of(&archive_of(log)));
    let (here_until, gone_before) = (span.here_until(now), span.gone_before(now));
    if let Some(before) = gone_before {
        retire_days(pool, &archive.table.clone(), before, Goes::ForGood, &mut archive).await;
        retire_days(pool, log, before, Goes::ForGood, &mut here).await;
        retire_rows(pool, log, None, before, Goes::ForGood, &mut here).await;
    }
    if let (Some(before), Archive::Until(_)) = (here_until, span.archive) {
        retire_rows(pool, log, gone_before, before, Goes::ToArchive, &mut here).await;
        retire_days(pool, log, before, Goes::ToArchive, &mut here).await;
    }
    [here, archive]
}

/// Whole days, the oldest first.
async fn retire_days(pool: &PgPool, log: &str, before: Timestamp, goes: Goes, retained: &mut Retained) {
    let before = before.to_datetime();
    let (mut after, mut tries) = (None, 0);
    for _ in 0..PARTITIONS {
        let step = match retire_day(pool, log, after, before, goes).await {
            Ok(None) => return,
            Ok(Some(step)) => step,
            // Of a partition that somebody keeps from everybody not even its bounds can be read.
            Err(error) if fault::is_lock_missed(&error) && tries < TRIES => {
                tries += 1;
                sleep(PAUSE).await;
                continue;
            }
            Err(error) => {
                retained.note::<()>(Err(error));
                return;
            }
        };
        match step.outcome.as_str() {
            "archived" => retained.partitions_archived += 1,
            "dropped" => retained.partitions_dropped += 1,
            // What was adopted goes row by row.
            "empty" | "rows" => {}
            "busy" if tries < TRIES => {
                tries += 1;
                sleep(PAUSE).await;
                continue;
            }
            "busy" => retained.busy = true,
            why => retained.troubled(format!("{}: {why}", step.place)),
        }
        after = Some(step.ended.0.to_datetime());
    }
}

#[derive(sqlx::FromRow)]
struct Step {
    place: String,
    ended: Moment,
    outcome: String,
}

async fn retire_day(
    pool: &PgPool,
    log: &str,
    after: Option<OffsetDateTime>,
    before: OffsetDateTime,
    goes: Goes,
) -> sqlx::Result<Option<Step>> {
    let mut unprepared = None;
    if goes == Goes::ToArchive {
        // Two steps at most. Missing a lock in one of them is no trouble: a day that is not prepared is busy.
        for _ in 0..2 {
            match prepare_day(pool, log, after, before).await {
                Ok(true) => {}
                Ok(false) => break,
                Err(error) if fault::is_lock_missed(&error) => break,
                Err(error) if fault::is_passing(&error) => return Err(error),
                Err(error) => {
                    unprepared = Some(error);
                    break;
                }
            }
        }
    }
    let retire = "select place, ended, outcome from gatekeeper.retire_partition($1, coalesce($2, '-infinity'), $3, $4)";
    let step: Option<Step> =
        sqlx::query_as(retire).bind(log).bind(after).bind(before).bind(goes == Goes::ToArchive).fetch_optional(pool).await?;
    // One that cannot be prepared will not be by waiting, and keeps no other.
    Ok(step.map(|step| match unprepared {
        Some(why) if step.outcome == "busy" => Step { outcome: StoreError::from(why).to_string(), ..step },
        _ => step,
    }))
}

/// It may read a whole day, for which a server's patience with ordinary statements is not made.
async fn prepare_day(pool: &PgPool, log: &str, after: Option<OffsetDateTime>, before: OffsetDateTime) -> sqlx::Result<bool> {
    let mut tx = pool.begin_with(BEGIN).await?;
    sqlx::query("set local statement_timeout = 0").execute(&mut *tx).await?;
    let prepared = sqlx::query_scalar("select gatekeeper.prepare_partition($1, coalesce($2, '-infinity'), $3)")
        .bind(log)
        .bind(after)
        .bind(before)
        .fetch_one(&mut *tx)
        .await?;
    tx.commit().await?;
    Ok(prepared)
}

/// Rows that lie in no day of their own.
async fn retire_rows(pool: &PgPool, log: &str, after: Option<Timestamp>, before: Timestamp, goes: Goes, retained: &mut Retained) {
    for _ in 0..STEPS {
        let step: sqlx::Result<i64> = sqlx::query_scalar("select gatekeeper.retire_rows($1, coalesce($2, '-infinity'), $3, $4, $5)")
            .bind(log)
            .bind(after.map(Timestamp::to_datetime))
            .bind(before.to_datetime())
            .bind(goes == Goes::ToArchive)
            .bind(STEP)
            .fetch_one(pool)
            .await;
        let Some(gone) = retained.note(step).map(i64::unsigned_abs).filter(|gone| *gone > 0) else { return };
        match goes {
            Goes::ToArchive => retained.rows_archived += gone,
            Goes::ForGood => retained.rows_deleted += gone,
        }
    }
}

/// Runs that ended so long ago that nothing is left of them.
async fn forget_instances(pool: &PgPool, before: Timestamp) -> Retained {
    let mut retained = Retained::of("instances");
    let forgotten = sqlx::query(
        "with over as (
             delete from gatekeeper.instances as known
             where ended_at < $1
               and not exists (select from public.eliza_activity_log as row where row.instance = known.instance)
             returning instance
         ), explained as (
             delete from gatekeeper.losses where instance in (select instance from over)
         )
         select from over",
    )
    .bind(before.to_datetime())
    .execute(pool)
    .await;
    retained.rows_deleted = retained.note(forgotten).map_or(0, |forgotten| forgotten.rows_affected());
    retained
}

pub(super) async fn ages(pool: &PgPool, now: Timestamp, keep: &Keep) -> Result<Vec<TableAge>, StoreError> {
    let lately = now.minus(GRACE);
    let mut ages = Vec::new();
    for (log, span) in spans(keep) {
        ages.push(age(pool, log, "created_at", span.here_until(lately)).await?);
        ages.push(age(pool, &archive_of(log), "created_at", span.gone_before(lately)).await?);
    }
    ages.push(age(pool, "rate_limits", "window_start", Some(counts_before(lately, keep))).await?);
    for kept in &keep.tables {
        ages.extend(tables::ages(pool, kept, lately).await);
    }
    Ok(ages)
}

async fn age(pool: &PgPool, table: &str, moment: &str, due: Option<Timestamp>) -> Result<TableAge, StoreError> {
    let oldest: Option<Moment> =
        sqlx::query_scalar(sqlx::AssertSqlSafe(format!("select min({moment}) from public.{table}"))).fetch_one(pool).await?;
    Ok(TableAge { table: table.to_owned(), oldest: oldest.map(|oldest| oldest.0), due, trouble: None })
}
