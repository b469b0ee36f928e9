//! Keys, by their hashes.

use sqlx::SqlitePool;
use sqlx::types::Json;

use super::control::later;
use super::moment::{parse, parse_optional, text};
use super::{audit, begin};
use crate::audit::AuditEntry;
use crate::clock::Timestamp;
use crate::identity::{KeyHash, KeyId};
use crate::seal::Sealer;
use crate::store::rows::{or_pass_over, readable};
use crate::store::{StoreError, StoredKey};

#[derive(sqlx::FromRow)]
struct Row {
    id: String,
    name: String,
    hash: Vec<u8>,
    sources: Json<Vec<String>>,
    targets: Json<Vec<String>>,
    actions: Json<Vec<String>>,
    created_at: String,
    not_before: Option<String>,
    expires_at: Option<String>,
    revoked_at: Option<String>,
    last_used_at: Option<String>,
}

pub(super) async fn all(readers: &SqlitePool) -> Result<Vec<StoredKey>, StoreError> {
    let rows = sqlx::query(
        "select id, name, hash, sources, targets, actions, created_at, not_before, expires_at, revoked_at, last_used_at
         from gatekeeper_keys order by created_at, id",
    )
    .fetch_all(readers)
    .await?;
    // Whose key is passed over is not let in.
    let table = "gatekeeper_keys";
    Ok(readable(&rows, table).filter_map(|row| or_pass_over(stored_key(row), table)).collect())
}

fn stored_key(row: Row) -> Result<StoredKey, StoreError> {
    let Some(hash) = KeyHash::from_bytes(&row.hash) else {
        return Err(StoreError::Refused(format!("key {} has no SHA-256 hash", row.id)));
    };
    Ok(StoredKey {
        id: KeyId::new(&row.id),
        name: row.name,
        hash,
        sources: row.sources.0,
        targets: row.targets.0,
        actions: row.actions.0,
        created_at: parse(&row.created_at)?,
        not_before: parse_optional(row.not_before)?,
        expires_at: parse_optional(row.expires_at)?,
        revoked_at: parse_optional(row.revoked_at)?,
        last_used_at: parse_optional(row.last_used_at)?,
    })
}

pub(super) async fn insert(writer: &SqlitePool, sealer: Option<&Sealer>, key: &StoredKey, entry: &AuditEntry) -> Result<(), StoreError> {
    let mut tx = begin(writer).await?;
    sqlx::query(
        "insert into gatekeeper_keys
             (id, name, hash, sources, targets, actions, created_at, not_before, expires_at, revoked_at, last_used_at, changed_at)
         values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(key.id.as_str())
    .bind(&key.name)
    .bind(key.hash.as_bytes().as_slice())
    .bind(Json(&key.sources))
    .bind(Json(&key.targets))
    .bind(Json(&key.actions))
    .bind(text(key.created_at))
    .bind(key.not_before.map(text))
    .bind(key.expires_at.map(text))
    .bind(key.revoked_at.map(text))
    .bind(key.last_used_at.map(text))
    .bind(text(entry.at))
    .execute(&mut *tx)
    .await?;
    Ok(audit::commit(tx, sealer, std::slice::from_ref(entry)).await?)
}

pub(super) async fn expire(
    writer: &SqlitePool,
    sealer: Option<&Sealer>,
    id: &KeyId,
    at: Timestamp,
    entry: &AuditEntry,
) -> Result<bool, StoreError> {
    let how = "update gatekeeper_keys set expires_at = min(coalesce(expires_at, ?2), ?2), changed_at = ?3 where id = ?1";
    end(writer, sealer, how, (id, at), entry).await
}

pub(super) async fn revoke(
    writer: &SqlitePool,
    sealer: Option<&Sealer>,
    id: &KeyId,
    at: Timestamp,
    entry: &AuditEntry,
) -> Result<bool, StoreError> {
    let how = "update gatekeeper_keys set revoked_at = min(coalesce(revoked_at, ?2), ?2), changed_at = ?3 where id = ?1";
    end(writer, sealer, how, (id, at), entry).await
}

async fn end(
    writer: &SqlitePool,
    sealer: Option<&Sealer>,
    how: &'static str,
    (id, at): (&KeyId, Timestamp),
    entry: &AuditEntry,
) -> Result<bool, StoreError> {
    let mut tx = begin(writer).await?;
    let changed_at: Option<Option<String>> =
        sqlx::query_scalar("select changed_at from gatekeeper_keys where id = ?").bind(id.as_str()).fetch_optional(&mut *tx).await?;
    let Some(changed_at) = changed_at else { return Ok(false) };
    sqlx::query(how).bind(id.as_str()).bind(text(at)).bind(text(later(entry.at, changed_at)?)).execute(&mut *tx).await?;
    audit::commit(tx, sealer, std::slice::from_ref(entry)).await?;
    Ok(true)
}

pub(super) async fn touch(writer: &SqlitePool, used: &[(KeyId, Timestamp)]) -> Result<(), StoreError> {
    if used.is_empty() {
        return Ok(());
    }
    let mut tx = begin(writer).await?;
    for (id, at) in used {
        sqlx::query("update gatekeeper_keys set last_used_at = max(coalesce(last_used_at, ?2), ?2) where id = ?1")
            .bind(id.as_str())
            .bind(text(*at))
            .execute(&mut *tx)
            .await?;
    }
    Ok(tx.commit().await?)
}
