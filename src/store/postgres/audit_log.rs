//! The audit log. Rows of one chain follow one another: by turns within this process, and by a lock in the database for the transaction
//! whose end this process never heard of.

use serde_json::Value;
use sqlx::{PgConnection, PgPool, Postgres, Transaction};
use uuid::Uuid;

use super::moment::Moment;
use super::{BEGIN, audit};
use crate::clock::Timestamp;
use crate::seal::walk::{Place, StoredRow};
use crate::seal::{CHAINS, Followed, Head, Item, LAST_ROWS, RowHash, SealedRow, Sealer};
use crate::store::StoreError;
use crate::store::audit_log::{ENTRIES, Logged, PAGE, Table, UNSEALED, UnsealedCall, Witness, of_entries};

/// Commits what was written, and the seals of what must not be changed unseen with it.
pub(super) async fn commit(mut tx: Transaction<'_, Postgres>, sealer: Option<&Sealer>, mut items: Vec<Item>) -> sqlx::Result<()> {
    let Some(sealer) = sealer.filter(|_| !items.is_empty()) else { return tx.commit().await };
    let mut turn = sealer.turn().await;
    sqlx::query("select pg_advisory_xact_lock(hashtextextended('gatekeeper.audit_log ' || $1, 0))")
        .bind(sealer.instance().to_string())
        .execute(&mut *tx)
        .await?;
    while turn.follow(&around(&mut tx, turn.head()).await?) == Followed::Further {}
    let known = known(&mut tx, &items).await?;
    items.retain(|item| !known.contains(&item.id));
    let Some(first) = items.first() else { return tx.commit().await };
    let mut rows = Vec::with_capacity(items.len() + 1);
    if turn.is_first() {
        rows.push(turn.open(first.at, &others(&mut tx, sealer.instance()).await?));
    }
    rows.extend(items.into_iter().map(|item| turn.seal(item)));
    insert(&mut tx, &rows).await?;
    tx.commit().await?;
    turn.committed();
    Ok(())
}

#[derive(sqlx::FromRow)]
struct Row {
    serial: i64,
    instance: Uuid,
    n: i64,
    at: Moment,
    kind: String,
    id: Uuid,
    content: String,
    key: String,
    prev: Vec<u8>,
    hash: Vec<u8>,
}

impl Row {
    fn stored(self) -> StoredRow {
        let place = Place { instance: self.instance.to_string(), n: self.n, serial: self.serial };
        StoredRow { place, id: Some(self.id), row: self.sealed() }
    }

    fn sealed(self) -> Option<SealedRow> {
        Some(SealedRow {
            instance: self.instance,
            n: u64::try_from(self.n).ok()?,
            at: self.at.0,
            kind: self.kind,
            id: self.id,
            content: self.content,
            key: self.key,
            prev: RowHash::from_bytes(&self.prev)?,
            hash: RowHash::from_bytes(&self.hash)?,
        })
    }
}

macro_rules! select_rows {
    ($rest:literal) => {
        concat!("select serial, instance, n, at, kind, id, content, key, prev, hash from gatekeeper.audit_log ", $rest)
    };
}

/// Numbers beyond every sequence are nobody's.
fn number(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

/// What is under this head, and what stands behind it.
async fn around(connection: &mut PgConnection, head: Head) -> sqlx::Result<Vec<SealedRow>> {
    let rows: Vec<Row> = sqlx::query_as(select_rows!(
        "where instance = $1 and n between $2 and $2 + 1 and (n = $2 and hash = $3 or n > $2 and prev = $3) order by n, serial limit 100"
    ))
    .bind(head.instance)
    .bind(number(head.n))
    .bind(head.hash.as_bytes().as_slice())
    .fetch_all(connection)
    .await?;
    Ok(rows.into_iter().filter_map(Row::sealed).collect())
}

async fn known(connection: &mut PgConnection, items: &[Item]) -> sqlx::Result<Vec<Uuid>> {
    let ids: Vec<Uuid> = items.iter().map(|item| item.id).collect();
    sqlx::query_scalar("select distinct id from gatekeeper.audit_log where id = any ($1)").bind(ids).fetch_all(connection).await
}

/// The last rows of the newest other chains, one step of the index each.
async fn others(connection: &mut PgConnection, instance: Uuid) -> sqlx::Result<Vec<StoredRow>> {
    let rows: Vec<Row> = sqlx::query_as(
        "with recursive chains as (
             (select instance from gatekeeper.audit_log order by instance desc limit 1)
             union all
             select (select older.instance from gatekeeper.audit_log as older
                     where older.instance < chains.instance order by older.instance desc limit 1)
             from chains where chains.instance is not null
         ), newest as (
             select instance from chains where instance is not null and instance <> $1 limit $2
         )
         select last.* from newest cross join lateral (
             select serial, instance, n, at, kind, id, content, key, prev, hash from gatekeeper.audit_log as log
             where log.instance = newest.instance order by n desc, serial desc limit $3
         ) as last order by last.instance desc, last.n desc, last.serial desc",
    )
    .bind(instance)
    .bind(i64::try_from(CHAINS).unwrap_or(i64::MAX))
    .bind(i64::try_from(LAST_ROWS).unwrap_or(i64::MAX))
    .fetch_all(connection)
    .await?;
    Ok(rows.into_iter().map(Row::stored).collect())
}

async fn insert(connection: &mut PgConnection, rows: &[SealedRow]) -> sqlx::Result<()> {
    sqlx::query(
        "insert into gatekeeper.audit_log (instance, n, at, kind, id, content, key, prev, hash)
         select * from unnest($1::uuid[], $2::bigint[], $3::timestamptz[], $4::text[], $5::uuid[], $6::text[], $7::text[], $8::bytea[],
                              $9::bytea[])",
    )
    .bind(rows.iter().map(|row| row.instance).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| number(row.n)).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.at.to_datetime()).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.kind.as_str()).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.id).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.content.as_str()).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.key.as_str()).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.prev.as_bytes().as_slice()).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.hash.as_bytes().as_slice()).collect::<Vec<_>>())
    .execute(connection)
    .await?;
    Ok(())
}

/// In pages, each a transaction of its own. One gatekeeper at a time: what one has sealed the next one no longer finds.
pub(super) async fn seal_entries(pool: &PgPool, sealer: Option<&Sealer>, since: Timestamp) -> Result<u64, StoreError> {
    let (mut from, mut sealed) = ((since, Uuid::nil()), 0);
    // Most times there is nothing to do.
    if sealer.is_none() || audit::unsealed(&mut *pool.acquire().await?, from, 1).await?.is_empty() {
        return Ok(0);
    }
    loop {
        let mut tx = pool.begin_with(BEGIN).await?;
        sqlx::query("select pg_advisory_xact_lock(hashtextextended('gatekeeper.audit_log', 0))").execute(&mut *tx).await?;
        let entries = audit::unsealed(&mut tx, from, ENTRIES).await?;
        let Some(last) = entries.last() else { return Ok(sealed) };
        from = (last.at, last.id);
        sealed += entries.len() as u64;
        commit(tx, sealer, of_entries(&entries)).await?;
    }
}

pub(super) async fn rows_after(pool: &PgPool, place: Option<&Place>) -> Result<Vec<StoredRow>, StoreError> {
    let (instance, n, serial) = match place {
        Some(place) => (Uuid::try_parse(&place.instance).unwrap_or(Uuid::max()), place.n, place.serial),
        None => (Uuid::nil(), i64::MIN, i64::MIN),
    };
    let rows: Vec<Row> = sqlx::query_as(select_rows!("where (instance, n, serial) > ($1, $2, $3) order by instance, n, serial limit $4"))
        .bind(instance)
        .bind(n)
        .bind(serial)
        .bind(i64::try_from(PAGE).unwrap_or(i64::MAX))
        .fetch_all(pool)
        .await?;
    Ok(rows.into_iter().map(Row::stored).collect())
}

pub(super) async fn witness(pool: &PgPool, heads: &[Head]) -> Result<Vec<Witness>, StoreError> {
    let answers: Vec<(bool, Option<i64>)> = sqlx::query_as(
        "select exists (select from gatekeeper.audit_log as log where log.instance = head.instance and log.n = head.n and log.hash = head.hash),
                (select max(n) from gatekeeper.audit_log as log where log.instance = head.instance)
         from unnest($1::uuid[], $2::bigint[], $3::bytea[]) with ordinality as head (instance, n, hash, place) order by place",
    )
    .bind(heads.iter().map(|head| head.instance).collect::<Vec<_>>())
    .bind(heads.iter().map(|head| number(head.n)).collect::<Vec<_>>())
    .bind(heads.iter().map(|head| head.hash.as_bytes().as_slice()).collect::<Vec<_>>())
    .fetch_all(pool)
    .await?;
    Ok(answers.into_iter().map(|(is_there, last)| Witness { is_there, last }).collect())
}

pub(super) async fn logged(pool: &PgPool, table: Table, ids: &[Uuid]) -> Result<Vec<Logged>, StoreError> {
    match table {
        Table::Activity => calls(pool, ids).await,
        Table::SecurityAudit => entries(pool, ids).await,
    }
}

pub(super) async fn unsealed_calls(pool: &PgPool) -> Result<Vec<UnsealedCall>, StoreError> {
    let calls = sqlx::query_as(
        "select instance::text, seq, id::text from (
             select instance, seq, id, activity_type from public.eliza_activity_log
             union all
             select instance, seq, id, activity_type from public.eliza_activity_log_archive
         ) as calls
         where activity_type = 'schema_protection' and instance is not null and seq is not null
           and not exists (select from gatekeeper.audit_log as log where log.id = calls.id)
         order by calls.instance, seq limit $1",
    );
    Ok(calls.bind(UNSEALED).fetch_all(pool).await?)
}

type CallRow = (Uuid, Moment, Option<String>, Option<String>, Option<String>, Option<String>, Option<Value>);

async fn calls(pool: &PgPool, ids: &[Uuid]) -> Result<Vec<Logged>, StoreError> {
    let rows: Vec<CallRow> = sqlx::query_as(
        "select id, created_at, activity_type::text, status::text, title::text, description::text, to_jsonb(metadata)
         from public.eliza_activity_log where id = any ($1)
         union all
         select id, created_at, activity_type::text, status::text, title::text, description::text, to_jsonb(metadata)
         from public.eliza_activity_log_archive where id = any ($1)",
    )
    .bind(ids)
    .fetch_all(pool)
    .await?;
    let logged = |(id, at, activity_type, status, title, description, metadata): CallRow| Logged {
        id,
        at: Some(at.0),
        says: vec![
            ("activity_type", activity_type.into()),
            ("status", status.into()),
            ("title", title.into()),
            ("description", description.into()),
            ("metadata", metadata.unwrap_or(Value::Null)),
        ],
    };
    Ok(rows.into_iter().map(logged).collect())
}

type EntryRow = (Uuid, Option<String>, Option<String>, Option<String>, Option<String>, Option<Value>, Option<Value>);

async fn entries(pool: &PgPool, ids: &[Uuid]) -> Result<Vec<Logged>, StoreError> {
    let rows: Vec<EntryRow> = sqlx::query_as(
        "select id, actor::text, action::text, subject::text, reason::text, to_jsonb(before), to_jsonb(after)
         from public.security_audit where id = any ($1)",
    )
    .bind(ids)
    .fetch_all(pool)
    .await?;
    let logged = |(id, actor, action, subject, reason, before, after): EntryRow| Logged {
        id,
        at: None,
        says: vec![
            ("actor", actor.into()),
            ("action", action.into()),
            ("subject", subject.into()),
            ("reason", reason.into()),
            ("before", before.unwrap_or(Value::Null)),
            ("after", after.unwrap_or(Value::Null)),
        ],
    };
    Ok(rows.into_iter().map(logged).collect())
}
