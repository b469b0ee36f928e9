//! What operators change: flags, rulings, blocks. Triggers of the database tell changes by hand from these by `changed_at`, which is new
//! in everything that is written here, and tell every gatekeeper of both.

use std::time::Duration;

use sqlx::SqlitePool;
use uuid::Uuid;

use super::moment::{parse, parse_optional, text};
use super::{audit, begin};
use crate::audit::AuditEntry;
use crate::clock::Timestamp;
use crate::enforcement::{GateMode, Ruling};
use crate::seal::Sealer;
use crate::store::StoreError;
use crate::store::batch::plain;
use crate::store::control::{BLOCKS_READ, BlockKind, FlagChange, StoredBlock};
use crate::store::rows::{or_pass_over, readable};
use crate::switches::Flag;
use crate::verdict::GateName;

type FlagRow = (String, bool, bool, i64);

fn flag((name, enabled, kill_switch, rollout): FlagRow) -> Flag {
    Flag { name, enabled, kill_switch, rollout_percentage: u8::try_from(rollout).unwrap_or(100) }
}

pub(super) async fn flags(readers: &SqlitePool) -> Result<Vec<Flag>, StoreError> {
    let rows =
        sqlx::query("select name, enabled, kill_switch, rollout_percentage from feature_flags order by name").fetch_all(readers).await?;
    Ok(readable(&rows, "feature_flags").map(flag).collect())
}

pub(super) async fn set_flag(
    writer: &SqlitePool,
    sealer: Option<&Sealer>,
    change: &FlagChange,
    entry: &AuditEntry,
) -> Result<(Option<Flag>, Flag), StoreError> {
    let mut tx = begin(writer).await?;
    let row: Option<(String, bool, bool, i64, Option<String>)> =
        sqlx::query_as("select name, enabled, kill_switch, rollout_percentage, changed_at from feature_flags where name = ?")
            .bind(plain(&change.name))
            .fetch_optional(&mut *tx)
            .await?;
    let mut at = entry.at;
    let mut before = None;
    if let Some((name, enabled, kill_switch, rollout, changed_at)) = row {
        at = later(at, changed_at)?;
        before = Some(flag((name, enabled, kill_switch, rollout)));
    }
    let after = change.made_to(before.as_ref());
    sqlx::query(
        "insert into feature_flags (name, enabled, kill_switch, rollout_percentage, changed_at, changed_by) values (?, ?, ?, ?, ?, ?)
         on conflict (name) do update set enabled = excluded.enabled, kill_switch = excluded.kill_switch,
             rollout_percentage = excluded.rollout_percentage, changed_at = excluded.changed_at, changed_by = excluded.changed_by",
    )
    .bind(plain(&after.name))
    .bind(after.enabled)
    .bind(after.kill_switch)
    .bind(i64::from(after.rollout_percentage))
    .bind(text(at))
    .bind(plain(&entry.actor))
    .execute(&mut *tx)
    .await?;
    audit::commit(tx, sealer, &[FlagChange::audited(entry, before.as_ref(), &after)]).await?;
    Ok((before, after))
}

/// What is written again at the same moment would look like a change by hand.
pub(super) fn later(at: Timestamp, known: Option<String>) -> Result<Timestamp, StoreError> {
    Ok(parse_optional(known)?.map_or(at, |known| at.max(known.plus(Duration::from_micros(1)))))
}

pub(super) async fn seed_flags(writer: &SqlitePool, names: &[String]) -> Result<(), StoreError> {
    let mut tx = begin(writer).await?;
    for name in names {
        sqlx::query(
            "insert into feature_flags (name, changed_at, changed_by)
             values (?, strftime('%Y-%m-%d %H:%M:%f', 'now') || '000', 'gatekeeper') on conflict (name) do nothing",
        )
        .bind(plain(name))
        .execute(&mut *tx)
        .await?;
    }
    Ok(tx.commit().await?)
}

#[derive(sqlx::FromRow)]
struct RulingRow {
    gate: String,
    mode: Option<String>,
    until: Option<String>,
    afterwards: Option<String>,
    reason: Option<String>,
    actor: Option<String>,
    changed_at: String,
}

pub(super) async fn rulings(readers: &SqlitePool) -> Result<Vec<Ruling>, StoreError> {
    let rows = sqlx::query(
        "select gate, mode, until, afterwards, reason, actor, changed_at from gatekeeper_enforcement
         where changed_at is not null order by gate",
    )
    .fetch_all(readers)
    .await?;
    let table = "gatekeeper_enforcement";
    Ok(readable(&rows, table).filter_map(|row| or_pass_over(ruling(row), table)?).collect())
}

/// Gates that only a newer gatekeeper has are none of our business.
fn ruling(row: RulingRow) -> Result<Option<Ruling>, StoreError> {
    let Some(gate) = GateName::parse(&row.gate) else { return Ok(None) };
    Ok(Some(Ruling {
        gate,
        mode: row.mode.as_deref().and_then(GateMode::parse),
        until: parse_optional(row.until)?,
        afterwards: row.afterwards.as_deref().and_then(GateMode::parse),
        reason: row.reason.unwrap_or_default(),
        actor: row.actor.unwrap_or_default(),
        at: parse(&row.changed_at)?,
    }))
}

pub(super) async fn put_rulings(writer: &SqlitePool, rulings: &[Ruling]) -> Result<(), StoreError> {
    if rulings.is_empty() {
        return Ok(());
    }
    let mut tx = begin(writer).await?;
    for ruling in rulings {
        sqlx::query(
            "update gatekeeper_enforcement
             set mode = ?2, until = ?3, afterwards = ?4, reason = ?5, actor = ?6, changed_at = ?7
             where gate = ?1 and (changed_at is null or changed_at < ?7)",
        )
        .bind(ruling.gate.as_str())
        .bind(ruling.mode.map(GateMode::as_str))
        .bind(ruling.until.map(text))
        .bind(ruling.afterwards.map(GateMode::as_str))
        .bind(plain(&ruling.reason))
        .bind(plain(&ruling.actor))
        .bind(text(ruling.at))
        .execute(&mut *tx)
        .await?;
    }
    Ok(tx.commit().await?)
}

#[derive(sqlx::FromRow)]
struct BlockRow {
    id: String,
    kind: String,
    subject: String,
    reason: String,
    actor: Option<String>,
    created_at: String,
    until: Option<String>,
}

pub(super) async fn blocks(readers: &SqlitePool, now: Timestamp) -> Result<Vec<StoredBlock>, StoreError> {
    let rows = sqlx::query(
        "select id, kind, subject, reason, actor, created_at, until from gatekeeper_blocks
         where until is null or until > ? order by created_at, id limit ?",
    )
    .bind(text(now))
    .bind(BLOCKS_READ)
    .fetch_all(readers)
    .await?;
    let table = "gatekeeper_blocks";
    Ok(readable(&rows, table).filter_map(|row| or_pass_over(block(row), table)).collect())
}

fn block(row: BlockRow) -> Result<StoredBlock, StoreError> {
    let odd = |what: &str| StoreError::Refused(format!("{what:?} is neither an id nor a kind"));
    Ok(StoredBlock {
        id: Uuid::try_parse(&row.id).map_err(|_| odd(&row.id))?,
        kind: BlockKind::parse(&row.kind).ok_or_else(|| odd(&row.kind))?,
        subject: row.subject,
        reason: row.reason,
        actor: row.actor.unwrap_or_default(),
        at: parse(&row.created_at)?,
        until: parse_optional(row.until)?,
    })
}

pub(super) async fn insert_block(
    writer: &SqlitePool,
    sealer: Option<&Sealer>,
    block: &StoredBlock,
    entry: &AuditEntry,
) -> Result<(), StoreError> {
    let mut tx = begin(writer).await?;
    sqlx::query(
        "insert into gatekeeper_blocks (id, kind, subject, reason, actor, created_at, until, changed_at)
         values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?6) on conflict (id) do nothing",
    )
    .bind(block.id.hyphenated())
    .bind(block.kind.as_str())
    .bind(plain(&block.subject))
    .bind(plain(&block.reason))
    .bind(plain(&block.actor))
    .bind(text(block.at))
    .bind(block.until.map(text))
    .execute(&mut *tx)
    .await?;
    Ok(audit::commit(tx, sealer, std::slice::from_ref(entry)).await?)
}

pub(super) async fn end_block(
    writer: &SqlitePool,
    sealer: Option<&Sealer>,
    id: Uuid,
    at: Timestamp,
    entry: &AuditEntry,
) -> Result<bool, StoreError> {
    let mut tx = begin(writer).await?;
    let changed_at: Option<Option<String>> =
        sqlx::query_scalar("select changed_at from gatekeeper_blocks where id = ?1 and (until is null or until > ?2)")
            .bind(id.hyphenated())
            .bind(text(at))
            .fetch_optional(&mut *tx)
            .await?;
    let Some(changed_at) = changed_at else { return Ok(false) };
    sqlx::query("update gatekeeper_blocks set until = ?2, changed_at = ?3 where id = ?1")
        .bind(id.hyphenated())
        .bind(text(at))
        .bind(text(later(at, changed_at)?))
        .execute(&mut *tx)
        .await?;
    audit::commit(tx, sealer, std::slice::from_ref(entry)).await?;
    Ok(true)
}
