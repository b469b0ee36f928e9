//! Records in: many rows a statement, one transaction a batch.

use std::collections::HashSet;

use sqlx::{SqliteConnection, SqlitePool};
use uuid::Uuid;

use super::logs::Forms;
use super::moment::{Texts, day, parse};
use super::statement::{Statement, in_lengths};
use super::{audit, audit_log, begin, ledger, logs};
use crate::seal::Sealer;
use crate::store::audit_log::of_calls;
use crate::store::batch::{self, DurationSum, RecordKey, StatsSum, Sums};
use crate::store::ledger::Batch;
use crate::store::{Counted, Record, StoreError, fault};

/// Those of the records that were not there yet.
pub(super) async fn write<'a>(
    writer: &SqlitePool,
    forms: &Forms,
    sealer: Option<&Sealer>,
    batch: Batch<'a>,
) -> Result<Vec<&'a Record<'a>>, StoreError> {
    if batch.is_empty() {
        return Ok(Vec::new());
    }
    let mut records: Vec<_> = batch.calls.iter().collect();
    let mut tx = begin(writer).await.map_err(fault::of_records)?;
    if !add_new(&mut tx, forms, &records).await.map_err(fault::of_records)? {
        // Some were there already. Which ones is asked only then, and of all: an answer for every row costs more than the row.
        tx.rollback().await.map_err(fault::of_records)?;
        tx = begin(writer).await.map_err(fault::of_records)?;
        records = add_unknown(&mut tx, forms, batch::distinct(batch.calls)).await?;
    }
    add_the_rest(&mut tx, batch, &records).await.map_err(fault::of_records)?;
    audit_log::commit(tx, sealer, of_calls(&records)).await.map_err(fault::of_records)?;
    Ok(records)
}

/// Rows of both logs. False, and only some of them written, if not all of the records are new.
async fn add_new(connection: &mut SqliteConnection, forms: &Forms, records: &[&Record<'_>]) -> sqlx::Result<bool> {
    let mut moments = Texts::default();
    for (mut form, records) in forms.runs(records) {
        for records in in_lengths(&records) {
            let (activity, api_calls) = logs::rows(&mut form, records, &mut moments);
            if usize::try_from(activity.execute(connection).await?) != Ok(records.len()) {
                return Ok(false);
            }
            api_calls.execute(connection).await?;
        }
        forms.put_back(form);
    }
    Ok(true)
}

/// Rows of both logs for those of the records that were not there yet, which it tells.
async fn add_unknown<'a>(
    connection: &mut SqliteConnection,
    forms: &Forms,
    mut records: Vec<&'a Record<'a>>,
) -> Result<Vec<&'a Record<'a>>, StoreError> {
    let (mut moments, mut fresh) = (Texts::default(), HashSet::<RecordKey>::with_capacity(records.len()));
    for (mut form, records) in forms.runs(&records) {
        for records in in_lengths(&records) {
            let (activity, _) = logs::rows(&mut form, records, &mut moments);
            let added: Vec<(String, String)> = activity.returning("id, created_at", connection).await.map_err(fault::of_records)?;
            for (id, at) in added {
                let id = Uuid::try_parse(&id).map_err(|_| StoreError::Refused(format!("{id:?} is no UUID")))?;
                fresh.insert((id, parse(&at)?));
            }
        }
    }
    records.retain(|record| fresh.contains(&(record.id, record.at)));
    for (mut form, records) in forms.runs(&records) {
        for records in in_lengths(&records) {
            let (_, api_calls) = logs::rows(&mut form, records, &mut moments);
            api_calls.execute(connection).await.map_err(fault::of_records)?;
        }
    }
    Ok(records)
}

async fn add_the_rest(connection: &mut SqliteConnection, batch: Batch<'_>, records: &[&Record<'_>]) -> sqlx::Result<()> {
    let Sums { stats, actions, durations, counts } = batch::sum(records);
    for rows in in_lengths(&stats) {
        add_stats(connection, rows).await?;
    }
    for rows in in_lengths(&actions) {
        add_actions(connection, rows).await?;
    }
    for rows in in_lengths(&durations) {
        add_durations(connection, rows).await?;
    }
    for rows in in_lengths(&counts) {
        add_counts(connection, rows).await?;
    }
    audit::insert(connection, batch.entries).await?;
    ledger::add_losses(connection, batch.losses).await?;
    ledger::note_reached(connection, batch).await
}

async fn add_stats(connection: &mut SqliteConnection, sums: &[StatsSum<'_>]) -> sqlx::Result<()> {
    let mut insert = Statement::new(
        "insert into gatekeeper_call_stats (hour, source, target, successful, failed, denied, duration_ms_sum, first_call_at, \
         last_call_at, duration_ms_max) values ",
        "(?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        sums.len(),
        " on conflict (hour, source, target) do update set successful = successful + excluded.successful, \
         failed = failed + excluded.failed, denied = denied + excluded.denied, \
         duration_ms_sum = duration_ms_sum + excluded.duration_ms_sum, \
         first_call_at = min(first_call_at, excluded.first_call_at), last_call_at = max(last_call_at, excluded.last_call_at), \
         duration_ms_max = max(duration_ms_max, excluded.duration_ms_max)",
    );
    let (mut hours, mut moments) = (Texts::default(), Texts::default());
    for sum in sums {
        insert.text(hours.of(sum.hour)).text(sum.source).text(sum.target);
        insert.bind(sum.successful).bind(sum.failed).bind(sum.denied).bind(sum.duration_ms);
        insert.text(moments.of(sum.first)).text(moments.of(sum.last)).bind(sum.longest_ms);
    }
    insert.execute(connection).await?;
    Ok(())
}

async fn add_actions(connection: &mut SqliteConnection, sums: &[(&str, StatsSum<'_>)]) -> sqlx::Result<()> {
    let mut insert = Statement::new(
        "insert into gatekeeper_action_stats (hour, source, target, action, successful, failed, denied, duration_ms_sum, \
         duration_ms_max) values ",
        "(?, ?, ?, ?, ?, ?, ?, ?, ?)",
        sums.len(),
        " on conflict (hour, source, target, action) do update set successful = successful + excluded.successful, \
         failed = failed + excluded.failed, denied = denied + excluded.denied, \
         duration_ms_sum = duration_ms_sum + excluded.duration_ms_sum, duration_ms_max = max(duration_ms_max, excluded.duration_ms_max)",
    );
    let mut hours = Texts::default();
    for (action, sum) in sums {
        insert.text(hours.of(sum.hour)).text(sum.source).text(sum.target).text(action);
        insert.bind(sum.successful).bind(sum.failed).bind(sum.denied).bind(sum.duration_ms).bind(sum.longest_ms);
    }
    insert.execute(connection).await?;
    Ok(())
}

async fn add_durations(connection: &mut SqliteConnection, sums: &[DurationSum<'_>]) -> sqlx::Result<()> {
    let mut insert = Statement::new(
        "insert into gatekeeper_call_durations (day, source, target, up_to_ms, calls) values ",
        "(?, ?, ?, ?, ?)",
        sums.len(),
        " on conflict (day, source, target, up_to_ms) do update set calls = calls + excluded.calls",
    );
    for sum in sums {
        insert.text(&day(sum.day)).text(sum.source).text(sum.target).bind(sum.up_to_ms).bind(sum.calls);
    }
    insert.execute(connection).await?;
    Ok(())
}

async fn add_counts(connection: &mut SqliteConnection, sums: &[(&Counted<'_>, i64)]) -> sqlx::Result<()> {
    let mut insert = Statement::new(
        "insert into rate_limits (identifier, endpoint, window_start, request_count) values ",
        "(?, ?, ?, ?)",
        sums.len(),
        " on conflict (identifier, endpoint, window_start) do update set \
         request_count = min(request_count + excluded.request_count, 2147483647)",
    );
    let mut minutes = Texts::default();
    for (counted, count) in sums {
        insert.text(&counted.identifier).text(&counted.endpoint).text(minutes.of(counted.minute)).bind(*count);
    }
    insert.execute(connection).await?;
    Ok(())
}
