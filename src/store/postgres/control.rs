//! What operators change: flags, rulings, blocks. Triggers of the database tell changes by hand from these by `changed_at`, which is new
//! in everything that is written here, and tell every gatekeeper of both.

use sqlx::{PgConnection, PgPool, Postgres, Transaction};
use uuid::Uuid;

use super::moment::Moment;
use super::{BEGIN, audit};
use crate::audit::AuditEntry;
use crate::clock::Timestamp;
use crate::enforcement::{GateMode, Ruling};
use crate::seal::Sealer;
use crate::store::StoreError;
use crate::store::batch::plain;
use crate::store::control::{BLOCKS_READ, BlockKind, FlagChange, StoredBlock};
use crate::store::rows::readable;
use crate::switches::Flag;
use crate::verdict::GateName;

/// The table may be another program's, with types of its own, and with columns that are null.
macro_rules! select_flags {
    ($rest:literal) => {
        concat!(
            "select name::text, coalesce(enabled, true), coalesce(kill_switch, false),
                    least(greatest(round(coalesce(rollout_percentage, 100)), 0), 100)::integer
             from public.feature_flags ",
            $rest
        )
    };
}

type FlagRow = (String, bool, bool, i32);

fn flag((name, enabled, kill_switch, rollout): FlagRow) -> Flag {
    Flag { name, enabled, kill_switch, rollout_percentage: u8::try_from(rollout).unwrap_or(100) }
}

pub(super) async fn flags(pool: &PgPool) -> Result<Vec<Flag>, StoreError> {
    let rows = sqlx::query(select_flags!("where name is not null order by 1")).fetch_all(pool).await?;
    Ok(readable(&rows, "public.feature_flags").map(flag).collect())
}

/// A transaction of a change that is audited in it or elsewhere: what it changes is not by hand. It waits for no lock that somebody holds
/// in a session left open, for others wait behind it.
pub(super) async fn begin(pool: &PgPool) -> sqlx::Result<Transaction<'static, Postgres>> {
    let mut tx = pool.begin_with(BEGIN).await?;
    sqlx::query("select set_config('gatekeeper.audits', 'true', true), set_config('lock_timeout', '2s', true)").execute(&mut *tx).await?;
    Ok(tx)
}

/// An adopted table may have no unique key on names, so gatekeepers that make flags follow one another.
async fn one_at_a_time(connection: &mut PgConnection) -> sqlx::Result<()> {
    sqlx::query("select pg_advisory_xact_lock(hashtextextended('gatekeeper.flags', 0))").execute(connection).await?;
    Ok(())
}

pub(super) async fn set_flag(
    pool: &PgPool,
    sealer: Option<&Sealer>,
    change: &FlagChange,
    entry: &AuditEntry,
) -> Result<(Option<Flag>, Flag), StoreError> {
    let mut tx = begin(pool).await?;
    one_at_a_time(&mut tx).await?;
    let row: Option<FlagRow> =
        sqlx::query_as(select_flags!("where name = $1 limit 1 for update")).bind(plain(&change.name)).fetch_optional(&mut *tx).await?;
    let before = row.map(flag);
    let after = change.made_to(before.as_ref());
    let write = if before.is_some() {
        sqlx::query(
            "update public.feature_flags
             set enabled = coalesce($2, enabled), kill_switch = coalesce($3, kill_switch),
                 rollout_percentage = coalesce($4, rollout_percentage),
                 changed_at = greatest($5, changed_at + interval '1 microsecond'), changed_by = $6
             where name = $1",
        )
        .bind(plain(&change.name))
        .bind(change.enabled)
        .bind(change.kill_switch)
        .bind(change.rollout_percentage.map(i32::from))
    } else {
        sqlx::query(
            "insert into public.feature_flags (name, enabled, kill_switch, rollout_percentage, changed_at, changed_by)
             values ($1, $2, $3, $4, $5, $6)",
        )
        .bind(plain(&change.name))
        .bind(after.enabled)
        .bind(after.kill_switch)
        .bind(i32::from(after.rollout_percentage))
    };
    write.bind(entry.at.to_datetime()).bind(plain(&entry.actor)).execute(&mut *tx).await?;
    audit::commit(tx, sealer, &[FlagChange::audited(entry, before.as_ref(), &after)]).await?;
    Ok((before, after))
}

pub(super) async fn seed_flags(pool: &PgPool, names: &[String]) -> Result<(), StoreError> {
    let mut tx = begin(pool).await?;
    one_at_a_time(&mut tx).await?;
    sqlx::query(
        "insert into public.feature_flags (name, enabled, kill_switch, rollout_percentage, changed_at, changed_by)
         select distinct name, true, false, 100, clock_timestamp(), 'gatekeeper' from unnest($1::text[]) as given (name)
         where not exists (select from public.feature_flags as known where known.name = given.name)
         on conflict do nothing",
    )
    .bind(names.iter().map(|name| plain(name)).collect::<Vec<_>>())
    .execute(&mut *tx)
    .await?;
    Ok(tx.commit().await?)
}

#[derive(sqlx::FromRow)]
struct RulingRow {
    gate: String,
    mode: Option<String>,
    until: Option<Moment>,
    afterwards: Option<String>,
    reason: Option<String>,
    actor: Option<String>,
    changed_at: Moment,
}

pub(super) async fn rulings(pool: &PgPool) -> Result<Vec<Ruling>, StoreError> {
    let rows = sqlx::query(
        "select gate, mode, until, afterwards, reason, actor, changed_at from gatekeeper.enforcement
         where changed_at is not null order by gate",
    )
    .fetch_all(pool)
    .await?;
    Ok(readable(&rows, "gatekeeper.enforcement").filter_map(ruling).collect())
}

/// Gates that only a newer gatekeeper has are none of our business.
fn ruling(row: RulingRow) -> Option<Ruling> {
    Some(Ruling {
        gate: GateName::parse(&row.gate)?,
        mode: row.mode.as_deref().and_then(GateMode::parse),
        until: row.until.map(|at| at.0),
        afterwards: row.afterwards.as_deref().and_then(GateMode::parse),
        reason: row.reason.unwrap_or_default(),
        actor: row.actor.unwrap_or_default(),
        at: row.changed_at.0,
    })
}

pub(super) async fn put_rulings(pool: &PgPool, rulings: &[Ruling]) -> Result<(), StoreError> {
    if rulings.is_empty() {
        return Ok(());
    }
    let mut tx = begin(pool).await?;
    // Every gate has its row, and two that write several rows in different orders would wait for each other.
    sqlx::query("lock table gatekeeper.enforcement in share row exclusive mode").execute(&mut *tx).await?;
    sqlx::query(
        "update gatekeeper.enforcement as kept
         set mode = given.mode, until = given.until, afterwards = given.afterwards, reason = given.reason, actor = given.actor,
             changed_at = given.at
         from unnest($1::text[], $2::text[], $3::timestamptz[], $4::text[], $5::text[], $6::text[], $7::timestamptz[])
              as given (gate, mode, until, afterwards, reason, actor, at)
         where kept.gate = given.gate and (kept.changed_at is null or kept.changed_at < given.at)",
    )
    .bind(rulings.iter().map(|r| r.gate.as_str()).collect::<Vec<_>>())
    .bind(rulings.iter().map(|r| r.mode.map(GateMode::as_str)).collect::<Vec<_>>())
    .bind(rulings.iter().map(|r| r.until.map(Timestamp::to_datetime)).collect::<Vec<_>>())
    .bind(rulings.iter().map(|r| r.afterwards.map(GateMode::as_str)).collect::<Vec<_>>())
    .bind(rulings.iter().map(|r| plain(&r.reason)).collect::<Vec<_>>())
    .bind(rulings.iter().map(|r| plain(&r.actor)).collect::<Vec<_>>())
    .bind(rulings.iter().map(|r| r.at.to_datetime()).collect::<Vec<_>>())
    .execute(&mut *tx)
    .await?;
    Ok(tx.commit().await?)
}

#[derive(sqlx::FromRow)]
struct BlockRow {
    id: Uuid,
    kind: String,
    subject: String,
    reason: String,
    actor: Option<String>,
    created_at: Moment,
    until: Option<Moment>,
}

pub(super) async fn blocks(pool: &PgPool, now: Timestamp) -> Result<Vec<StoredBlock>, StoreError> {
    let rows = sqlx::query(
        "select id, kind, subject, reason, actor, created_at, until from gatekeeper.blocks
         where until is null or until > $1 order by created_at, id limit $2",
    )
    .bind(now.to_datetime())
    .bind(BLOCKS_READ)
    .fetch_all(pool)
    .await?;
    Ok(readable(&rows, "gatekeeper.blocks").filter_map(block).collect())
}

fn block(row: BlockRow) -> Option<StoredBlock> {
    Some(StoredBlock {
        id: row.id,
        kind: BlockKind::parse(&row.kind)?,
        subject: row.subject,
        reason: row.reason,
        actor: row.actor.unwrap_or_default(),
        at: row.created_at.0,
        until: row.until.map(|at| at.0),
    })
}

pub(super) async fn insert_block(
    pool: &PgPool,
    sealer: Option<&Sealer>,
    block: &StoredBlock,
    entry: &AuditEntry,
) -> Result<(), StoreError> {
    let mut tx = begin(pool).await?;
    sqlx::query(
        "insert into gatekeeper.blocks (id, kind, subject, reason, actor, created_at, until, changed_at)
         values ($1, $2, $3, $4, $5, $6, $7, $6) on conflict (id) do nothing",
    )
    .bind(block.id)
    .bind(block.kind.as_str())
    .bind(plain(&block.subject))
    .bind(plain(&block.reason))
    .bind(plain(&block.actor))
    .bind(block.at.to_datetime())
    .bind(block.until.map(Timestamp::to_datetime))
    .execute(&mut *tx)
    .await?;
    Ok(audit::commit(tx, sealer, std::slice::from_ref(entry)).await?)
}

pub(super) async fn end_block(
    pool: &PgPool,
    sealer: Option<&Sealer>,
    id: Uuid,
    at: Timestamp,
    entry: &AuditEntry,
) -> Result<bool, StoreError> {
    let mut tx = begin(pool).await?;
    let ended = sqlx::query(
        "update gatekeeper.blocks set until = $2, changed_at = greatest($2, changed_at + interval '1 microsecond')
         where id = $1 and (until is null or until > $2)",
    )
    .bind(id)
    .bind(at.to_datetime())
    .execute(&mut *tx)
    .await?
    .rows_affected();
    if ended == 0 {
        return Ok(false);
    }
    audit::commit(tx, sealer, std::slice::from_ref(entry)).await?;
    Ok(true)
}
