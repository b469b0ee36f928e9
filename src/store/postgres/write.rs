//! Records in: a few statements a batch whatever its size, one transaction.

use std::borrow::Cow;
use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};

use sqlx::pool::PoolConnection;
use sqlx::{Connection, PgConnection, PgPool, Postgres};
use uuid::Uuid;

use super::audit_log;
use super::moment::Moment;
use super::{BEGIN, audit, copy, ledger};
use crate::seal::Sealer;
use crate::store::audit_log::of_calls;
use crate::store::batch::{self, DurationSum, FUNCTION, RecordKey, StatsSum, Sums, plain, plain_json};
use crate::store::ledger::{Batch, number};
use crate::store::{Counted, Record, StoreError, fault};

/// Fewer are as well off with statements that are prepared.
const COPIED_FROM: usize = 64;

/// Whether the logs take COPY. Not where row security is about this role, nor where an adopted table has columns of other types.
#[derive(Debug)]
pub(super) struct Copies(AtomicBool);

impl Default for Copies {
    fn default() -> Self {
        Self(AtomicBool::new(true))
    }
}

/// Those of the records that were not there yet.
pub(super) async fn write<'a>(
    pool: &PgPool,
    copies: &Copies,
    sealer: Option<&Sealer>,
    batch: Batch<'a>,
) -> Result<Vec<&'a Record<'a>>, StoreError> {
    if batch.is_empty() {
        return Ok(Vec::new());
    }
    let records = batch::distinct(batch.calls);
    let copying = records.len() >= COPIED_FROM && copies.0.load(Ordering::Relaxed);
    let refused = match copying {
        false => None,
        true => match copy_all(pool, sealer, batch, &records).await {
            Ok(()) => return Ok(records),
            // It may well be that it was written all the same.
            Err(error) if fault::is_passing(&error) => return Err(fault::of_records(error)),
            Err(error) => Some(error),
        },
    };
    let fresh = insert_new(pool, sealer, batch, records).await.map_err(fault::of_records)?;
    // What COPY does not take and INSERT does: if it is not for rows that were there already, it will always be so.
    if let Some(error) = refused.filter(|error| !fault::is_duplicate(error)) {
        tracing::debug!(%error, "the logs take no COPY: records are inserted");
        copies.0.store(false, Ordering::Relaxed);
    }
    Ok(fresh)
}

/// If all of the records are new.
async fn copy_all(pool: &PgPool, sealer: Option<&Sealer>, batch: Batch<'_>, records: &[&Record<'_>]) -> sqlx::Result<()> {
    let mut connection = OwnConnection(Some(pool.acquire().await?));
    let done = async {
        let Some(connection) = &mut connection.0 else { return Err(sqlx::Error::PoolClosed) };
        let mut tx = connection.begin_with(BEGIN).await?;
        copy::logs(&mut tx, records).await?;
        add_sums(&mut tx, records).await?;
        add_the_rest(&mut tx, batch).await?;
        audit_log::commit(tx, sealer, of_calls(records)).await
    }
    .await;
    drop(connection.0.take());
    done
}

/// One that goes back to the pool only if it was taken out again: one left in the middle of a COPY is no use to anybody.
struct OwnConnection(Option<PoolConnection<Postgres>>);

impl Drop for OwnConnection {
    fn drop(&mut self) {
        if let Some(connection) = &mut self.0 {
            connection.close_on_drop();
        }
    }
}

/// Those of the records that are new.
async fn insert_new<'a>(
    pool: &PgPool,
    sealer: Option<&Sealer>,
    batch: Batch<'a>,
    mut records: Vec<&'a Record<'a>>,
) -> sqlx::Result<Vec<&'a Record<'a>>> {
    let mut tx = pool.begin_with(BEGIN).await?;
    if !records.is_empty() {
        let fresh = add_activity(&mut tx, &records).await?;
        if fresh.len() < records.len() {
            records.retain(|record| fresh.contains(&(record.id, record.at)));
        }
    }
    if !records.is_empty() {
        add_api_calls(&mut tx, &records).await?;
        add_sums(&mut tx, &records).await?;
    }
    add_the_rest(&mut tx, batch).await?;
    audit_log::commit(tx, sealer, of_calls(&records)).await?;
    Ok(records)
}

async fn add_sums(connection: &mut PgConnection, records: &[&Record<'_>]) -> sqlx::Result<()> {
    let Sums { stats, actions, durations, counts } = batch::sum(records);
    add_stats(connection, &stats).await?;
    add_actions(connection, &actions).await?;
    add_durations(connection, &durations).await?;
    add_counts(connection, &counts).await
}

async fn add_the_rest(connection: &mut PgConnection, batch: Batch<'_>) -> sqlx::Result<()> {
    audit::insert(connection, batch.entries).await?;
    ledger::add_losses(connection, batch.losses).await?;
    ledger::note_reached(connection, batch).await
}

/// Which of the records were not there yet.
async fn add_activity(connection: &mut PgConnection, records: &[&Record<'_>]) -> sqlx::Result<HashSet<RecordKey>> {
    let added: Vec<(Uuid, Moment)> = sqlx::query_as(
        "insert into public.eliza_activity_log
             (id, created_at, updated_at, activity_type, status, title, description, metadata, instance, seq)
         select id, at, at, activity_type, status, title, description, metadata::jsonb, instance, seq
         from unnest($1::uuid[], $2::timestamptz[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::uuid[], $9::bigint[])
              as given (id, at, activity_type, status, title, description, metadata, instance, seq)
         on conflict (id, created_at) do nothing
         returning id, created_at",
    )
    .bind(column(records, |r| r.id))
    .bind(column(records, |r| r.at.to_datetime()))
    .bind(column(records, |r| r.activity_type.as_str()))
    .bind(column(records, |r| r.activity_status.as_str()))
    .bind(column(records, |r| plain(&r.title)))
    .bind(column(records, |r| plain(&r.description)))
    .bind(column(records, |r| plain_json(&r.metadata)))
    .bind(column(records, |r| r.origin.map(|origin| origin.instance)))
    .bind(column(records, |r| r.origin.map(|origin| number(origin.seq))))
    .fetch_all(connection)
    .await?;
    Ok(added.into_iter().map(|(id, at)| (id, at.0)).collect())
}

async fn add_api_calls(connection: &mut PgConnection, records: &[&Record<'_>]) -> sqlx::Result<()> {
    sqlx::query(
        "insert into public.api_call_logs
             (id, created_at, called_at, function_name, status, execution_time_ms, error_message, request_payload, caller_context)
         select id, at, at, $8, status, ms, error, request::jsonb, context::jsonb
         from unnest($1::uuid[], $2::timestamptz[], $3::text[], $4::integer[], $5::text[], $6::text[], $7::text[])
              as given (id, at, status, ms, error, request, context)
         on conflict (id, created_at) do nothing",
    )
    .bind(column(records, |r| r.id))
    .bind(column(records, |r| r.at.to_datetime()))
    .bind(column(records, |r| r.api_status.as_str()))
    .bind(column(records, |r| r.execution_ms))
    .bind(column(records, |r| r.error_message.as_deref().map(plain)))
    .bind(column(records, |r| plain_json(&r.request)))
    .bind(column(records, |r| plain_json(&r.caller_context)))
    .bind(FUNCTION)
    .execute(connection)
    .await?;
    Ok(())
}

async fn add_stats(connection: &mut PgConnection, sums: &[StatsSum<'_>]) -> sqlx::Result<()> {
    sqlx::query(
        "insert into gatekeeper.call_stats as kept
             (hour, source, target, successful, failed, denied, duration_ms_sum, first_call_at, last_call_at, duration_ms_max)
         select * from unnest($1::timestamptz[], $2::text[], $3::text[], $4::bigint[], $5::bigint[], $6::bigint[], $7::bigint[],
                              $8::timestamptz[], $9::timestamptz[], $10::bigint[])
         on conflict (hour, source, target) do update set
             successful = kept.successful + excluded.successful,
             failed = kept.failed + excluded.failed,
             denied = kept.denied + excluded.denied,
             duration_ms_sum = kept.duration_ms_sum + excluded.duration_ms_sum,
             first_call_at = least(kept.first_call_at, excluded.first_call_at),
             last_call_at = greatest(kept.last_call_at, excluded.last_call_at),
             duration_ms_max = greatest(kept.duration_ms_max, excluded.duration_ms_max)",
    )
    .bind(column(sums, |s| s.hour.to_datetime()))
    .bind(column(sums, |s| s.source))
    .bind(column(sums, |s| s.target))
    .bind(column(sums, |s| s.successful))
    .bind(column(sums, |s| s.failed))
    .bind(column(sums, |s| s.denied))
    .bind(column(sums, |s| s.duration_ms))
    .bind(column(sums, |s| s.first.to_datetime()))
    .bind(column(sums, |s| s.last.to_datetime()))
    .bind(column(sums, |s| s.longest_ms))
    .execute(connection)
    .await?;
    Ok(())
}

async fn add_actions(connection: &mut PgConnection, sums: &[(&str, StatsSum<'_>)]) -> sqlx::Result<()> {
    sqlx::query(
        "insert into gatekeeper.action_stats as kept
             (hour, source, target, action, successful, failed, denied, duration_ms_sum, duration_ms_max)
         select * from unnest($1::timestamptz[], $2::text[], $3::text[], $4::text[], $5::bigint[], $6::bigint[], $7::bigint[],
                              $8::bigint[], $9::bigint[])
         on conflict (hour, source, target, action) do update set
             successful = kept.successful + excluded.successful,
             failed = kept.failed + excluded.failed,
             denied = kept.denied + excluded.denied,
             duration_ms_sum = kept.duration_ms_sum + excluded.duration_ms_sum,
             duration_ms_max = greatest(kept.duration_ms_max, excluded.duration_ms_max)",
    )
    .bind(column(sums, |(_, s)| s.hour.to_datetime()))
    .bind(column(sums, |(_, s)| s.source))
    .bind(column(sums, |(_, s)| s.target))
    .bind(column(sums, |(action, _)| *action))
    .bind(column(sums, |(_, s)| s.successful))
    .bind(column(sums, |(_, s)| s.failed))
    .bind(column(sums, |(_, s)| s.denied))
    .bind(column(sums, |(_, s)| s.duration_ms))
    .bind(column(sums, |(_, s)| s.longest_ms))
    .execute(connection)
    .await?;
    Ok(())
}

async fn add_durations(connection: &mut PgConnection, sums: &[DurationSum<'_>]) -> sqlx::Result<()> {
    if sums.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "insert into gatekeeper.call_durations as kept (day, source, target, up_to_ms, calls)
         select * from unnest($1::date[], $2::text[], $3::text[], $4::integer[], $5::bigint[])
         on conflict (day, source, target, up_to_ms) do update set calls = kept.calls + excluded.calls",
    )
    .bind(column(sums, |s| s.day.to_datetime().date()))
    .bind(column(sums, |s| s.source))
    .bind(column(sums, |s| s.target))
    .bind(column(sums, |s| s.up_to_ms))
    .bind(column(sums, |s| s.calls))
    .execute(connection)
    .await?;
    Ok(())
}

async fn add_counts(connection: &mut PgConnection, sums: &[(&Counted<'_>, i64)]) -> sqlx::Result<()> {
    if sums.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "insert into public.rate_limits as kept (identifier, endpoint, window_start, request_count)
         select identifier, endpoint, minute, least(count, 2147483647)
         from unnest($1::text[], $2::text[], $3::timestamptz[], $4::bigint[]) as given (identifier, endpoint, minute, count)
         on conflict (identifier, endpoint, window_start) do update set
             request_count = least(kept.request_count::bigint + excluded.request_count, 2147483647)",
    )
    .bind(column(sums, |(c, _)| Cow::Borrowed(c.identifier.as_ref())))
    .bind(column(sums, |(c, _)| Cow::Borrowed(c.endpoint.as_ref())))
    .bind(column(sums, |(c, _)| c.minute.to_datetime()))
    .bind(column(sums, |(_, count)| *count))
    .execute(connection)
    .await?;
    Ok(())
}

/// One column of the rows: Postgres takes them as arrays.
fn column<'a, R, T>(rows: &'a [R], of: impl Fn(&'a R) -> T) -> Vec<T> {
    rows.iter().map(of).collect()
}
