//! Records in: many rows a statement, one transaction a batch.

use std::collections::HashSet;

use sqlx::{Connection, QueryBuilder, Sqlite, SqliteConnection, SqlitePool};
use uuid::Uuid;

use super::moment::{day, parse, text};
use super::{audit, audit_log, begin, ledger};
use crate::seal::Sealer;
use crate::store::audit_log::of_calls;
use crate::store::batch::{self, DurationSum, FUNCTION, RecordKey, StatsSum, plain, plain_json};
use crate::store::ledger::{Batch, number};
use crate::store::{CallRecord, Counted, StoreError, fault};

/// Rows in one statement. Each length is prepared once; beyond the greatest it gets no faster.
const LENGTHS: [usize; 5] = [256, 64, 16, 4, 1];

/// The rows in as few statements as these lengths allow.
fn in_lengths<T>(mut rows: &[T]) -> impl Iterator<Item = &[T]> {
    std::iter::from_fn(move || {
        let length = LENGTHS.into_iter().find(|length| *length <= rows.len())?;
        let (these, rest) = rows.split_at_checked(length)?;
        rows = rest;
        Some(these)
    })
}

/// Those of the records that were not there yet.
pub(super) async fn write<'a>(writer: &SqlitePool, sealer: Option<&Sealer>, batch: Batch<'a>) -> Result<Vec<&'a CallRecord>, StoreError> {
    if batch.is_empty() {
        return Ok(Vec::new());
    }
    let mut records = batch::distinct(batch.calls);
    let mut tx = begin(writer).await.map_err(fault::of_records)?;
    let mut fresh = HashSet::with_capacity(records.len());
    for rows in in_lengths(&records) {
        add_activity(&mut tx, rows, &mut fresh).await?;
    }
    if fresh.len() < records.len() {
        records.retain(|record| fresh.contains(&(record.id, record.at)));
    }
    add_the_rest(&mut tx, batch, &records).await.map_err(fault::of_records)?;
    audit_log::commit(tx, sealer, of_calls(&records)).await.map_err(fault::of_records)?;
    Ok(records)
}

async fn add_the_rest(connection: &mut SqliteConnection, batch: Batch<'_>, records: &[&CallRecord]) -> sqlx::Result<()> {
    for rows in in_lengths(records) {
        add_api_calls(connection, rows).await?;
    }
    for rows in in_lengths(&batch::sum_stats(records)) {
        add_stats(connection, rows).await?;
    }
    for rows in in_lengths(&batch::sum_actions(records)) {
        add_actions(connection, rows).await?;
    }
    for rows in in_lengths(&batch::sum_durations(records)) {
        add_durations(connection, rows).await?;
    }
    for rows in in_lengths(&batch::sum_counts(records)) {
        add_counts(connection, rows).await?;
    }
    audit::insert(connection, batch.entries).await?;
    ledger::add_losses(connection, batch.losses).await?;
    ledger::note_reached(connection, batch).await
}

/// Notes in `fresh` which of the records were not there yet.
async fn add_activity(
    connection: &mut SqliteConnection,
    records: &[&CallRecord],
    fresh: &mut HashSet<RecordKey>,
) -> Result<(), StoreError> {
    let mut mark = connection.begin().await.map_err(fault::of_records)?;
    let added = activity(records).build().execute(&mut *mark).await.map_err(fault::of_records)?.rows_affected();
    if usize::try_from(added) == Ok(records.len()) {
        mark.commit().await.map_err(fault::of_records)?;
        fresh.extend(records.iter().map(|record| (record.id, record.at)));
        return Ok(());
    }
    // Some were there already. Which ones is asked only then: an answer for every row costs more than the row.
    mark.rollback().await.map_err(fault::of_records)?;
    let mut insert = activity(records);
    insert.push(" returning id, created_at");
    let added: Vec<(String, String)> = insert.build_query_as().fetch_all(connection).await.map_err(fault::of_records)?;
    for (id, at) in added {
        let id = Uuid::try_parse(&id).map_err(|_| StoreError::Refused(format!("{id:?} is no UUID")))?;
        fresh.insert((id, parse(&at)?));
    }
    Ok(())
}

fn activity(records: &[&CallRecord]) -> QueryBuilder<Sqlite> {
    let mut insert = QueryBuilder::<Sqlite>::new(
        "insert into eliza_activity_log
             (id, created_at, updated_at, activity_type, status, title, description, metadata, instance, seq) ",
    );
    insert.push_values(records, |mut row, record| {
        let at = text(record.at);
        row.push_bind(record.id.hyphenated())
            .push_bind(at.clone())
            .push_bind(at)
            .push_bind(record.activity_type.as_str())
            .push_bind(record.activity_status.as_str())
            .push_bind(plain(&record.title))
            .push_bind(plain(&record.description))
            .push_bind(plain_json(&record.metadata))
            .push_bind(record.origin.map(|origin| origin.instance.hyphenated()))
            .push_bind(record.origin.map(|origin| number(origin.seq)));
    });
    insert.push(" on conflict (id, created_at) do nothing");
    insert
}

async fn add_api_calls(connection: &mut SqliteConnection, records: &[&CallRecord]) -> sqlx::Result<()> {
    let mut insert = QueryBuilder::<Sqlite>::new(
        "insert into api_call_logs (id, created_at, called_at, function_name, status, execution_time_ms, error_message, \
         request_payload, caller_context) ",
    );
    insert.push_values(records, |mut row, record| {
        let at = text(record.at);
        row.push_bind(record.id.hyphenated())
            .push_bind(at.clone())
            .push_bind(at)
            .push_bind(FUNCTION)
            .push_bind(record.api_status.as_str())
            .push_bind(record.execution_ms)
            .push_bind(record.error_message.as_deref().map(plain))
            .push_bind(plain_json(&record.request))
            .push_bind(plain_json(&record.caller_context));
    });
    insert.push(" on conflict (id, created_at) do nothing");
    insert.build().execute(connection).await?;
    Ok(())
}

async fn add_stats(connection: &mut SqliteConnection, sums: &[StatsSum<'_>]) -> sqlx::Result<()> {
    let mut insert = QueryBuilder::<Sqlite>::new(
        "insert into gatekeeper_call_stats (hour, source, target, successful, failed, denied, duration_ms_sum, first_call_at, \
         last_call_at, duration_ms_max) ",
    );
    insert.push_values(sums, |mut row, sum| {
        row.push_bind(text(sum.hour))
            .push_bind(sum.source)
            .push_bind(sum.target)
            .push_bind(sum.successful)
            .push_bind(sum.failed)
            .push_bind(sum.denied)
            .push_bind(sum.duration_ms)
            .push_bind(text(sum.first))
            .push_bind(text(sum.last))
            .push_bind(sum.longest_ms);
    });
    insert.push(
        " on conflict (hour, source, target) do update set successful = successful + excluded.successful, \
         failed = failed + excluded.failed, denied = denied + excluded.denied, \
         duration_ms_sum = duration_ms_sum + excluded.duration_ms_sum, \
         first_call_at = min(first_call_at, excluded.first_call_at), last_call_at = max(last_call_at, excluded.last_call_at), \
         duration_ms_max = max(duration_ms_max, excluded.duration_ms_max)",
    );
    insert.build().execute(connection).await?;
    Ok(())
}

async fn add_actions(connection: &mut SqliteConnection, sums: &[(&str, StatsSum<'_>)]) -> sqlx::Result<()> {
    let mut insert = QueryBuilder::<Sqlite>::new(
        "insert into gatekeeper_action_stats (hour, source, target, action, successful, failed, denied, duration_ms_sum, duration_ms_max) ",
    );
    insert.push_values(sums, |mut row, (action, sum)| {
        row.push_bind(text(sum.hour))
            .push_bind(sum.source)
            .push_bind(sum.target)
            .push_bind(*action)
            .push_bind(sum.successful)
            .push_bind(sum.failed)
            .push_bind(sum.denied)
            .push_bind(sum.duration_ms)
            .push_bind(sum.longest_ms);
    });
    insert.push(
        " on conflict (hour, source, target, action) do update set successful = successful + excluded.successful, \
         failed = failed + excluded.failed, denied = denied + excluded.denied, \
         duration_ms_sum = duration_ms_sum + excluded.duration_ms_sum, duration_ms_max = max(duration_ms_max, excluded.duration_ms_max)",
    );
    insert.build().execute(connection).await?;
    Ok(())
}

async fn add_durations(connection: &mut SqliteConnection, sums: &[DurationSum<'_>]) -> sqlx::Result<()> {
    let mut insert = QueryBuilder::<Sqlite>::new("insert into gatekeeper_call_durations (day, source, target, up_to_ms, calls) ");
    insert.push_values(sums, |mut row, sum| {
        row.push_bind(day(sum.day)).push_bind(sum.source).push_bind(sum.target).push_bind(sum.up_to_ms).push_bind(sum.calls);
    });
    insert.push(" on conflict (day, source, target, up_to_ms) do update set calls = calls + excluded.calls");
    insert.build().execute(connection).await?;
    Ok(())
}

async fn add_counts(connection: &mut SqliteConnection, sums: &[(&Counted, i64)]) -> sqlx::Result<()> {
    let mut insert = QueryBuilder::<Sqlite>::new("insert into rate_limits (identifier, endpoint, window_start, request_count) ");
    insert.push_values(sums, |mut row, (counted, count)| {
        row.push_bind(counted.identifier.as_ref()).push_bind(counted.endpoint.as_ref()).push_bind(text(counted.minute)).push_bind(*count);
    });
    insert.push(
        " on conflict (identifier, endpoint, window_start) do update set \
         request_count = min(request_count + excluded.request_count, 2147483647)",
    );
    insert.build().execute(connection).await?;
    Ok(())
}
