//! Keys, by their hashes.

use sqlx::PgPool;

use super::audit;
use super::control::begin;
use super::moment::Moment;
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
    sources: Vec<String>,
    targets: Vec<String>,
    actions: Vec<String>,
    created_at: Moment,
    not_before: Option<Moment>,
    expires_at: Option<Moment>,
    revoked_at: Option<Moment>,
    last_used_at: Option<Moment>,
}

pub(super) async fn all(pool: &PgPool) -> Result<Vec<StoredKey>, StoreError> {
    let rows = sqlx::query(
        "select id, name, hash, sources, targets, actions, created_at, not_before, expires_at, revoked_at, last_used_at
         from gatekeeper.keys order by created_at, id",
    )
    .fetch_all(pool)
    .await?;
    // Whose key is passed over is not let in.
    let table = "gatekeeper.keys";
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
        sources: row.sources,
        targets: row.targets,
        actions: row.actions,
        created_at: row.created_at.0,
        not_before: row.not_before.map(|at| at.0),
        expires_at: row.expires_at.map(|at| at.0),
        revoked_at: row.revoked_at.map(|at| at.0),
        last_used_at: row.last_used_at.map(|at| at.0),
    })
}

pub(super) async fn insert(pool: &PgPool, sealer: Option<&Sealer>, key: &StoredKey, entry: &AuditEntry) -> Result<(), StoreError> {
    let mut tx = begin(pool).await?;
    sqlx::query(
        "insert into gatekeeper.keys
             (id, name, hash, sources, targets, actions, created_at, not_before, expires_at, revoked_at, last_used_at)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
    )
    .bind(key.id.as_str())
    .bind(&key.name)
    .bind(key.hash.as_bytes().as_slice())
    .bind(&key.sources)
    .bind(&key.targets)
    .bind(&key.actions)
    .bind(key.created_at.to_datetime())
    .bind(key.not_before.map(Timestamp::to_datetime))
    .bind(key.expires_at.map(Timestamp::to_datetime))
    .bind(key.revoked_at.map(Timestamp::to_datetime))
    .bind(key.last_used_at.map(Timestamp::to_datetime))
    .execute(&mut *tx)
    .await?;
    Ok(audit::commit(tx, sealer, std::slice::from_ref(entry)).await?)
}

pub(super) async fn expire(
    pool: &PgPool,
    sealer: Option<&Sealer>,
    id: &KeyId,
    at: Timestamp,
    entry: &AuditEntry,
) -> Result<bool, StoreError> {
    end(pool, sealer, "update gatekeeper.keys set expires_at = least(expires_at, $2) where id = $1", (id, at), entry).await
}

pub(super) async fn revoke(
    pool: &PgPool,
    sealer: Option<&Sealer>,
    id: &KeyId,
    at: Timestamp,
    entry: &AuditEntry,
) -> Result<bool, StoreError> {
    end(pool, sealer, "update gatekeeper.keys set revoked_at = least(revoked_at, $2) where id = $1", (id, at), entry).await
}

async fn end(
    pool: &PgPool,
    sealer: Option<&Sealer>,
    how: &'static str,
    (id, at): (&KeyId, Timestamp),
    entry: &AuditEntry,
) -> Result<bool, StoreError> {
    let mut tx = begin(pool).await?;
    let updated = sqlx::query(how).bind(id.as_str()).bind(at.to_datetime()).execute(&mut *tx).await?;
    if updated.rows_affected() == 0 {
        return Ok(false);
    }
    audit::commit(tx, sealer, std::slice::from_ref(entry)).await?;
    Ok(true)
}

pub(super) async fn touch(pool: &PgPool, used: &[(KeyId, Timestamp)]) -> Result<(), StoreError> {
    if used.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "update gatekeeper.keys set last_used_at = latest.at
         from (select id, max(at) as at from unnest($1::text[], $2::timestamptz[]) as given (id, at) group by id) as latest
         where keys.id = latest.id and (last_used_at is null or last_used_at < latest.at)",
    )
    .bind(used.iter().map(|(id, _)| id.as_str()).collect::<Vec<_>>())
    .bind(used.iter().map(|(_, at)| at.to_datetime()).collect::<Vec<_>>())
    .execute(pool)
    .await?;
    Ok(())
}
