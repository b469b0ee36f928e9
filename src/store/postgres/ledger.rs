//! Which numbers there are, and which of them will never have a row.

use sqlx::{PgConnection, PgPool};
use uuid::Uuid;

use crate::clock::Timestamp;
use crate::store::StoreError;
use crate::store::ledger::{Batch, Gap, Loss, began, number};

pub(super) async fn announce(pool: &PgPool, instance: Uuid, started_at: Timestamp) -> Result<(), StoreError> {
    sqlx::query(
        "insert into gatekeeper.instances (instance, started_at) values ($1, $2)
         on conflict (instance) do update set started_at = excluded.started_at",
    )
    .bind(instance)
    .bind(started_at.to_datetime())
    .execute(pool)
    .await?;
    Ok(())
}

pub(super) async fn ended(pool: &PgPool, instance: Uuid, last: u64, at: Timestamp) -> Result<(), StoreError> {
    // Of one that nobody knows and that gave no number there is nothing to tell.
    sqlx::query(
        "insert into gatekeeper.instances as known (instance, started_at, through, ended_at)
         select $1, $2, $3, $4 where $3 > 0 or exists (select 1 from gatekeeper.instances where instance = $1)
         on conflict (instance) do update
         set through = greatest(known.through, excluded.through), ended_at = coalesce(known.ended_at, excluded.ended_at)",
    )
    .bind(instance)
    .bind(began(instance).to_datetime())
    .bind(number(last))
    .bind(at.to_datetime())
    .execute(pool)
    .await?;
    Ok(())
}

/// How far each instance has come, within the transaction that brings it there.
pub(super) async fn note_reached(connection: &mut PgConnection, batch: Batch<'_>) -> sqlx::Result<()> {
    let reached = batch.reached();
    if reached.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "insert into gatekeeper.instances as known (instance, started_at, through)
         select * from unnest($1::uuid[], $2::timestamptz[], $3::bigint[])
         on conflict (instance) do update set through = excluded.through where excluded.through > known.through",
    )
    .bind(reached.keys().copied().collect::<Vec<_>>())
    .bind(reached.keys().map(|instance| began(*instance).to_datetime()).collect::<Vec<_>>())
    .bind(reached.values().map(|seq| number(*seq)).collect::<Vec<_>>())
    .execute(connection)
    .await?;
    Ok(())
}

pub(super) async fn add_losses(connection: &mut PgConnection, losses: &[Loss]) -> sqlx::Result<()> {
    if losses.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "insert into gatekeeper.losses (instance, first_seq, last_seq, reason, at)
         select * from unnest($1::uuid[], $2::bigint[], $3::bigint[], $4::text[], $5::timestamptz[])
         on conflict (instance, first_seq, last_seq) do nothing",
    )
    .bind(losses.iter().map(|loss| loss.instance).collect::<Vec<_>>())
    .bind(losses.iter().map(|loss| number(loss.first)).collect::<Vec<_>>())
    .bind(losses.iter().map(|loss| number(loss.last)).collect::<Vec<_>>())
    .bind(losses.iter().map(|loss| loss.reason.as_str()).collect::<Vec<_>>())
    .bind(losses.iter().map(|loss| loss.at.to_datetime()).collect::<Vec<_>>())
    .execute(connection)
    .await?;
    Ok(())
}

pub(super) async fn gaps(pool: &PgPool, most: u32) -> Result<Vec<Gap>, StoreError> {
    let rows: Vec<(Uuid, i64, i64, Option<String>)> = sqlx::query_as(
        "select instance, first_seq, last_seq, reason from public.gatekeeper_log_gaps
         order by started_at desc, instance, first_seq limit $1",
    )
    .bind(i64::from(most))
    .fetch_all(pool)
    .await?;
    Ok(rows
        .into_iter()
        .map(|(instance, first, last, reason)| Gap { instance, first: first.unsigned_abs(), last: last.unsigned_abs(), reason })
        .collect())
}
