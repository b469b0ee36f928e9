//! The audit log. Who writes to it has the database's one place for writers, so the rows of all chains follow one another.

use serde_json::Value;
use sqlx::sqlite::SqliteRow;
use sqlx::{Row as _, Sqlite, SqliteConnection, SqlitePool, Transaction};
use uuid::Uuid;

use super::moment::{parse, text};
use super::{audit, begin};
use crate::clock::Timestamp;
use crate::seal::walk::{Place, StoredRow};
use crate::seal::{CHAINS, Followed, Head, Item, LAST_ROWS, RowHash, SealedRow, Sealer};
use crate::store::StoreError;
use crate::store::audit_log::{ENTRIES, Logged, PAGE, Table, UNSEALED, UnsealedCall, Witness, of_entries};

/// Commits what was written, and the seals of what must not be changed unseen with it.
pub(super) async fn commit(mut tx: Transaction<'_, Sqlite>, sealer: Option<&Sealer>, mut items: Vec<Item>) -> sqlx::Result<()> {
    let Some(sealer) = sealer.filter(|_| !items.is_empty()) else { return tx.commit().await };
    let mut turn = sealer.turn().await;
    while turn.follow(&around(&mut tx, turn.head()).await?) == Followed::Further {}
    let known = known(&mut tx, &items).await?;
    items.retain(|item| !known.contains(&item.id.to_string()));
    let Some(first) = items.first() else { return tx.commit().await };
    if turn.is_first() {
        let opening = turn.open(first.at, &others(&mut tx, sealer.instance()).await?);
        insert(&mut tx, &opening).await?;
    }
    for item in items {
        insert(&mut tx, &turn.seal(item)).await?;
    }
    tx.commit().await?;
    turn.committed();
    Ok(())
}

macro_rules! select_rows {
    ($rest:literal) => {
        concat!(
            "select serial, cast(instance as text) as instance, n, cast(at as text) as at, cast(kind as text) as kind,
                    cast(id as text) as id, cast(content as text) as content, cast(key as text) as key, prev, hash
             from gatekeeper_audit_log as log ",
            $rest
        )
    };
}

/// Whatever somebody made of it: what was never written so is no row.
fn stored(row: &SqliteRow) -> StoredRow {
    let said = |column: &str| row.try_get::<String, _>(column).ok();
    let uuid = |column: &str| {
        let said = said(column)?;
        Uuid::try_parse(&said).ok().filter(|id| id.to_string() == said)
    };
    let hash = |column: &str| RowHash::from_bytes(&row.try_get::<Vec<u8>, _>(column).ok()?);
    let at = || {
        let said = said("at")?;
        parse(&said).ok().filter(|at| text(*at) == said)
    };
    let n: i64 = row.try_get("n").unwrap_or(i64::MIN);
    let sealed = || {
        Some(SealedRow {
            instance: uuid("instance")?,
            n: u64::try_from(n).ok()?,
            at: at()?,
            kind: said("kind")?,
            id: uuid("id")?,
            content: said("content")?,
            key: said("key")?,
            prev: hash("prev")?,
            hash: hash("hash")?,
        })
    };
    let serial = row.try_get("serial").unwrap_or(i64::MAX);
    StoredRow { place: Place { instance: said("instance").unwrap_or_default(), n, serial }, id: uuid("id"), row: sealed() }
}

/// Numbers beyond every sequence are nobody's.
fn number(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

/// What is under this head, and what stands behind it.
async fn around(connection: &mut SqliteConnection, head: Head) -> sqlx::Result<Vec<SealedRow>> {
    let rows = sqlx::query(select_rows!(
        "where instance = ?1 and n between ?2 and ?2 + 1 and (n = ?2 and hash = ?3 or n > ?2 and prev = ?3) order by n, serial limit 100"
    ))
    .bind(head.instance.hyphenated())
    .bind(number(head.n))
    .bind(head.hash.as_bytes().as_slice())
    .fetch_all(connection)
    .await?;
    Ok(rows.iter().filter_map(|row| stored(row).row).collect())
}

/// Ids as one argument, however many there are.
fn ids(ids: impl Iterator<Item = Uuid>) -> String {
    Value::from_iter(ids.map(|id| id.to_string())).to_string()
}

async fn known(connection: &mut SqliteConnection, items: &[Item]) -> sqlx::Result<Vec<String>> {
    sqlx::query_scalar("select distinct id from gatekeeper_audit_log where id in (select value from json_each(?))")
        .bind(ids(items.iter().map(|item| item.id)))
        .fetch_all(connection)
        .await
}

/// The last rows of the newest other chains, one step of the index each.
async fn others(connection: &mut SqliteConnection, instance: Uuid) -> sqlx::Result<Vec<StoredRow>> {
    let rows = sqlx::query(select_rows!(
        "where serial in (
             with recursive chains (instance) as (
                 select max(instance) from gatekeeper_audit_log
                 union all
                 select (select max(older.instance) from gatekeeper_audit_log as older where older.instance < chains.instance)
                 from chains where chains.instance is not null
             ), newest as (
                 select instance from chains where instance is not null and instance <> ?1 limit ?2
             )
             select last.serial from newest cross join gatekeeper_audit_log as last
             where last.serial in (select serial from gatekeeper_audit_log as of
                                   where of.instance = newest.instance order by of.n desc, of.serial desc limit ?3)
         ) order by log.instance desc, log.n desc, log.serial desc"
    ))
    .bind(instance.hyphenated())
    .bind(i64::try_from(CHAINS).unwrap_or(i64::MAX))
    .bind(i64::try_from(LAST_ROWS).unwrap_or(i64::MAX))
    .fetch_all(connection)
    .await?;
    Ok(rows.iter().map(stored).collect())
}

async fn insert(connection: &mut SqliteConnection, row: &SealedRow) -> sqlx::Result<()> {
    sqlx::query(
        "insert into gatekeeper_audit_log (instance, n, at, kind, id, content, key, prev, hash) values (?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(row.instance.hyphenated())
    .bind(number(row.n))
    .bind(text(row.at))
    .bind(&row.kind)
    .bind(row.id.hyphenated())
    .bind(&row.content)
    .bind(&row.key)
    .bind(row.prev.as_bytes().as_slice())
    .bind(row.hash.as_bytes().as_slice())
    .execute(connection)
    .await?;
    Ok(())
}

/// In pages, each a transaction of its own.
pub(super) async fn seal_entries(
    readers: &SqlitePool,
    writer: &SqlitePool,
    sealer: Option<&Sealer>,
    since: Timestamp,
) -> Result<u64, StoreError> {
    if sealer.is_none() {
        return Ok(0);
    }
    let (mut behind, mut sealed) = (i64::MIN, 0);
    loop {
        // Most times there is nothing to do, and nobody else's turn to be taken.
        let found = audit::unsealed(&mut *readers.acquire().await?, since, behind, ENTRIES).await?;
        let Some(last) = found.last else { return Ok(sealed) };
        if !found.entries.is_empty() {
            let mut tx = begin(writer).await?;
            let entries = audit::unsealed(&mut tx, since, behind, ENTRIES).await?.entries;
            sealed += entries.len() as u64;
            commit(tx, sealer, of_entries(&entries)).await?;
        }
        behind = last;
    }
}

pub(super) async fn rows_after(readers: &SqlitePool, place: Option<&Place>) -> Result<Vec<StoredRow>, StoreError> {
    let (instance, n, serial) = place.map_or(("", i64::MIN, i64::MIN), |place| (place.instance.as_str(), place.n, place.serial));
    let rows = sqlx::query(select_rows!("where (instance, n, serial) > (?1, ?2, ?3) order by log.instance, log.n, serial limit ?4"))
        .bind(instance)
        .bind(n)
        .bind(serial)
        .bind(i64::try_from(PAGE).unwrap_or(i64::MAX))
        .fetch_all(readers)
        .await?;
    Ok(rows.iter().map(stored).collect())
}

pub(super) async fn witness(readers: &SqlitePool, heads: &[Head]) -> Result<Vec<Witness>, StoreError> {
    let mut answers = Vec::with_capacity(heads.len());
    for head in heads {
        let (is_there, last): (bool, Option<i64>) = sqlx::query_as(
            "select exists (select 1 from gatekeeper_audit_log where instance = ?1 and n = ?2 and hash = ?3),
                    (select max(n) from gatekeeper_audit_log where instance = ?1)",
        )
        .bind(head.instance.hyphenated())
        .bind(number(head.n))
        .bind(head.hash.as_bytes().as_slice())
        .fetch_one(readers)
        .await?;
        answers.push(Witness { is_there, last });
    }
    Ok(answers)
}

pub(super) async fn unsealed_calls(readers: &SqlitePool) -> Result<Vec<UnsealedCall>, StoreError> {
    let calls = sqlx::query_as(
        "select cast(instance as text) as instance, cast(seq as integer) as seq, cast(id as text) as id from (
             select instance, seq, id, activity_type from eliza_activity_log
             union all
             select instance, seq, id, activity_type from eliza_activity_log_archive
         ) as calls
         where activity_type = 'schema_protection' and instance is not null and seq is not null
           and not exists (select 1 from gatekeeper_audit_log as log where log.id = calls.id)
         order by 1, 2 limit ?",
    );
    Ok(calls.bind(UNSEALED).fetch_all(readers).await?)
}

pub(super) async fn logged(readers: &SqlitePool, table: Table, asked: &[Uuid]) -> Result<Vec<Logged>, StoreError> {
    let rows = sqlx::query(match table {
        Table::Activity => {
            "select cast(id as text) as id, cast(created_at as text) as created_at, cast(activity_type as text) as activity_type,
                    cast(status as text) as status, cast(title as text) as title, cast(description as text) as description,
                    cast(metadata as text) as metadata
             from (
                 select id, created_at, activity_type, status, title, description, metadata from eliza_activity_log
                 union all
                 select id, created_at, activity_type, status, title, description, metadata from eliza_activity_log_archive
             ) where id in (select value from json_each(?))"
        }
        Table::SecurityAudit => {
            "select cast(id as text) as id, cast(actor as text) as actor, cast(action as text) as action, cast(subject as text) as subject,
                    cast(reason as text) as reason, cast(before as text) as before, cast(after as text) as after
             from security_audit where id in (select value from json_each(?))"
        }
    })
    .bind(ids(asked.iter().copied()))
    .fetch_all(readers)
    .await?;
    let said = |row: &SqliteRow, column: &str| row.try_get::<Option<String>, _>(column).ok().flatten();
    // What is no JSON is nothing that was written.
    let json = |text: String| serde_json::from_str(&text).unwrap_or(Value::String(text));
    let logged = |row: &SqliteRow| {
        let id = Uuid::try_parse(&said(row, "id")?).ok()?;
        let (texts, jsons): (&[_], &[_]) = match table {
            Table::Activity => (&["activity_type", "status", "title", "description"], &["metadata"]),
            Table::SecurityAudit => (&["actor", "action", "subject", "reason"], &["before", "after"]),
        };
        let texts = texts.iter().map(|column| (*column, said(row, column).into()));
        let jsons = jsons.iter().map(|column| (*column, said(row, column).map_or(Value::Null, json)));
        let at = match table {
            // A moment that cannot be read is not the one that was sealed.
            Table::Activity => Some(said(row, "created_at").and_then(|at| parse(&at).ok()).unwrap_or_default()),
            Table::SecurityAudit => None,
        };
        Some(Logged { id, at, says: texts.chain(jsons).collect() })
    };
    Ok(rows.iter().filter_map(logged).collect())
}
