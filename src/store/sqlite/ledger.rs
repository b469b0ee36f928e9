//! Which numbers there are, and which of them will never have a row.

use sqlx::{SqliteConnection, SqlitePool};
use uuid::Uuid;

use super::begin;
use super::moment::text;
use crate::clock::Timestamp;
use crate::store::StoreError;
use crate::store::ledger::{Batch, Gap, Loss, began, number};

pub(super) async fn announce(writer: &SqlitePool, instance: Uuid, started_at: Timestamp) -> Result<(), StoreError> {
    let mut tx = begin(writer).await?;
    sqlx::query(
        "insert into gatekeeper_instances (instance, started_at) values (?, ?)
         on conflict (instance) do update set started_at = excluded.started_at",
    )
    .bind(instance.hyphenated())
    .bind(text(started_at))
    .execute(&mut *tx)
    .await?;
    Ok(tx.commit().await?)
}

pub(super) async fn ended(writer: &SqlitePool, instance: Uuid, last: u64, at: Timestamp) -> Result<(), StoreError> {
    let mut tx = begin(writer).await?;
    // Of one that nobody knows and that gave no number there is nothing to tell.
    sqlx::query(
        "insert into gatekeeper_instances (instance, started_at, through, ended_at)
         select ?1, ?2, ?3, ?4 where ?3 > 0 or exists (select 1 from gatekeeper_instances where instance = ?1)
         on conflict (instance) do update set through = max(through, excluded.through), ended_at = coalesce(ended_at, excluded.ended_at)",
    )
    .bind(instance.hyphenated())
    .bind(text(began(instance)))
    .bind(number(last))
    .bind(text(at))
    .execute(&mut *tx)
    .await?;
    Ok(tx.commit().await?)
}

/// How far each instance has come, within the transaction that brings it there.
pub(super) async fn note_reached(connection: &mut SqliteConnection, batch: Batch<'_>) -> sqlx::Result<()> {
    for (instance, seq) in batch.reached() {
        sqlx::query(
            "insert into gatekeeper_instances (instance, started_at, through) values (?, ?, ?)
             on conflict (instance) do update set through = max(through, excluded.through)",
        )
        .bind(instance.hyphenated())
        .bind(text(began(instance)))
        .bind(number(seq))
        .execute(&mut *connection)
        .await?;
    }
    Ok(())
}

pub(super) async fn add_losses(connection: &mut SqliteConnection, losses: &[Loss]) -> sqlx::Result<()> {
    for loss in losses {
        sqlx::query(
            "insert into gatekeeper_losses (instance, first_seq, last_seq, reason, at) values (?, ?, ?, ?, ?)
             on conflict (instance, first_seq, last_seq) do nothing",
        )
        .bind(loss.instance.hyphenated())
        .bind(number(loss.first))
        .bind(number(loss.last))
        .bind(loss.reason.as_str())
        .bind(text(loss.at))
        .execute(&mut *connection)
        .await?;
    }
    Ok(())
}

pub(super) async fn gaps(readers: &SqlitePool, most: u32) -> Result<Vec<Gap>, StoreError> {
    let rows: Vec<(String, i64, i64, Option<String>)> = sqlx::query_as(
        "select instance, first_seq, last_seq, reason from gatekeeper_log_gaps order by started_at desc, instance, first_seq limit ?",
    )
    .bind(most)
    .fetch_all(readers)
    .await?;
    rows.into_iter()
        .map(|(instance, first, last, reason)| {
            let instance = Uuid::try_parse(&instance).map_err(|_| StoreError::Refused(format!("{instance:?} is no UUID")))?;
            Ok(Gap { instance, first: first.unsigned_abs(), last: last.unsigned_abs(), reason })
        })
        .collect()
}
