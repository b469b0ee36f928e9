//! Keeping house: old rows go in steps of a few milliseconds, and between two steps records are written.

use std::collections::BTreeMap;

use sqlx::{AssertSqlSafe, SqliteConnection, SqlitePool};

use super::moment::{parse, text};
use super::{begin, fold};
use crate::clock::Timestamp;
use crate::retention::{Archive, Keep, Only, OnlyValue, Span, TableKeep};
use crate::store::StoreError;
use crate::store::maintain::{GRACE, Halt, Maintained, Retained, SIGNALS_KEPT, TableAge, counts_before};

/// Rows that one step moves or deletes.
const STEP: u32 = 500;
/// Steps for each table in one round; what is left is left to the next.
const STEPS: u32 = 4_000;

/// A table, which of its rows are old, and where they go. Names come from here and from policy, which allows nothing in them that
/// would have to be quoted.
struct Old<'a> {
    table: &'a str,
    moment: &'a str,
    only: &'a [Only],
    span: Span,
}

impl Old<'_> {
    fn archive(&self) -> String {
        format!("{}_archive", self.table)
    }

    /// Numbers stand before all texts, whatever moment they mean.
    fn condition(&self) -> String {
        format!("{} < ? and {} {}", self.moment, self.is_moment(), self.only())
    }

    fn is_moment(&self) -> String {
        format!("typeof({0}) = 'text' and {0} glob '[0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9]*'", self.moment)
    }

    fn only(&self) -> String {
        let only = self.only.iter().map(|only| {
            let places = vec!["?"; only.values.len()].join(", ");
            format!(" and cast({} as text) in ({places})", only.column)
        });
        only.collect()
    }

    /// What the places of the condition hold.
    fn values(&self, before: Timestamp) -> Vec<String> {
        // A date alone stands before every time of its day.
        let before = text(before);
        let before = before.strip_suffix(" 00:00:00.000000").unwrap_or(&before);
        std::iter::once(before.to_owned()).chain(self.only_values()).collect()
    }

    fn only_values(&self) -> impl Iterator<Item = String> {
        let value = |value: &OnlyValue| match value {
            OnlyValue::Is(is) => u8::from(*is).to_string(),
            OnlyValue::Number(number) => number.to_string(),
            OnlyValue::Text(text) => text.clone(),
        };
        self.only.iter().flat_map(|only| &only.values).map(value)
    }
}

fn logs(keep: &Keep) -> [Old<'static>; 2] {
    [("eliza_activity_log", keep.activity), ("api_call_logs", keep.api_calls)].map(|(table, span)| Old {
        table,
        moment: "created_at",
        only: &[],
        span,
    })
}

fn of_others(kept: &TableKeep) -> Old<'_> {
    Old { table: &kept.table, moment: &kept.by, only: &kept.only, span: kept.span }
}

pub(super) async fn maintain(writer: &SqlitePool, now: Timestamp, keep: &Keep) -> Result<Maintained, StoreError> {
    let mut done = Maintained::default();
    for old in logs(keep) {
        done.tables.extend(retain(writer, &old, now).await);
    }
    for (name, table, moment, before) in [
        ("rate_limits", "rate_limits", "window_start", counts_before(now, keep)),
        ("signals", "gatekeeper_signals", "at", now.minus(SIGNALS_KEPT)),
    ] {
        let old = Old { table, moment, only: &[], span: Span::of(SIGNALS_KEPT) };
        let mut retained = Retained::of(name);
        retained.rows_deleted = steps(writer, &old, table, before, None, &mut retained).await;
        done.tables.push(retained);
    }
    done.tables.push(fold::fold(writer, now).await);
    if let Some(before) = keep.activity.here_until(now) {
        done.tables.push(forget_instances(writer, before).await);
    }
    for kept in &keep.tables {
        match is_there(writer, &kept.table).await {
            Ok(false) => {}
            Ok(true) => {
                let old = of_others(kept);
                let mut retained = retain(writer, &old, now).await;
                if let Some(here) = retained.first_mut()
                    && let Some(Some(why)) = here.note(ageless(writer, &old).await)
                {
                    here.troubled(why);
                }
                done.tables.extend(retained);
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(done)
}

async fn is_there(pool: &SqlitePool, table: &str) -> sqlx::Result<bool> {
    sqlx::query_scalar("select exists (select 1 from sqlite_master where type = 'table' and name = ?)").bind(table).fetch_one(pool).await
}

/// The table, and its archive.
async fn retain(writer: &SqlitePool, old: &Old<'_>, now: Timestamp) -> Vec<Retained> {
    let name = old.archive();
    let (mut here, mut archive) = (Retained::of(old.table), Retained::of(&name));
    let has_archive = match (old.span.archive, is_there(writer, &name).await) {
        (_, Ok(true)) => true,
        (Archive::Until(_), Ok(false)) => {
            // Only its columns: whatever else the table says of new rows is said of these no more.
            let make = format!("create table if not exists {name} as select * from {} where 0", old.table);
            here.note(sqlx::query(AssertSqlSafe(make)).execute(writer).await).is_some()
        }
        (Archive::None, Ok(false)) => false,
        (_, Err(error)) => {
            here.troubled(StoreError::from(error).to_string());
            false
        }
    };
    if let Some(before) = old.span.gone_before(now) {
        // An archive that policy knows nothing of may be somebody else's.
        if has_archive && (old.span.archive != Archive::None || old.only.is_empty() && logs_name(old.table)) {
            archive.rows_deleted = steps(writer, old, &name, before, None, &mut archive).await;
        }
        here.rows_deleted = steps(writer, old, old.table, before, None, &mut here).await;
    }
    if let (Archive::Until(_), Some(before), true) = (old.span.archive, old.span.here_until(now), has_archive) {
        here.rows_archived = steps(writer, old, old.table, before, Some(&name), &mut here).await;
    }
    if has_archive { vec![here, archive] } else { vec![here] }
}

fn logs_name(table: &str) -> bool {
    matches!(table, "eliza_activity_log" | "api_call_logs")
}

async fn steps(writer: &SqlitePool, old: &Old<'_>, table: &str, before: Timestamp, archive: Option<&str>, retained: &mut Retained) -> u64 {
    let mut gone = 0;
    for _ in 0..STEPS {
        let Some(step) = retained.note(step(writer, old, table, before, archive).await) else { break };
        gone += step;
        if step < u64::from(STEP) {
            break;
        }
    }
    gone
}

/// One transaction: what is deleted in one place is in the other, and its numbers are no gaps.
async fn step(writer: &SqlitePool, old: &Old<'_>, table: &str, before: Timestamp, archive: Option<&str>) -> Result<u64, Halt> {
    let mut tx = begin(writer).await?;
    let find = format!("select rowid from {table} where {} limit {STEP}", old.condition());
    let mut find = sqlx::query_scalar(AssertSqlSafe(find));
    for value in old.values(before) {
        find = find.bind(value);
    }
    let rows: Vec<i64> = find.fetch_all(&mut *tx).await?;
    if rows.is_empty() {
        return Ok(0);
    }
    let these = format!("[{}]", rows.iter().map(i64::to_string).collect::<Vec<_>>().join(","));
    let copied = match archive {
        Some(archive) => Some(copy(&mut tx, table, archive, &these).await?),
        None => None,
    };
    if table == "eliza_activity_log" {
        note_gone(&mut tx, &these).await?;
    }
    let delete = format!("delete from {table} where rowid in (select value from json_each(?))");
    let deleted = sqlx::query(AssertSqlSafe(delete)).bind(&these).execute(&mut *tx).await?.rows_affected();
    let found = rows.len() as u64;
    if let Some(copied) = copied
        && (copied, deleted) != (found, found)
    {
        return Err(Halt::unequal(found, copied, deleted));
    }
    tx.commit().await?;
    Ok(deleted)
}

/// How many rows are in the archive that were not, or had come there before.
async fn copy(connection: &mut SqliteConnection, table: &str, archive: &str, rows: &str) -> sqlx::Result<u64> {
    let columns = fitting_columns(connection, table, archive).await?;
    let these = "rowid in (select value from json_each(?))";
    // A record is written again where a journal comes late. Rows of other programs are told apart by nothing we know.
    let again = match logs_name(table) {
        true => format!("exists (select 1 from {archive} as there where there.id = here.id and there.created_at = here.created_at)"),
        false => "false".to_owned(),
    };
    let there = format!("select count(*) from {table} as here where {these} and {again}");
    let there: i64 = sqlx::query_scalar(AssertSqlSafe(there)).bind(rows).fetch_one(&mut *connection).await?;
    let copy = format!("insert into {archive} ({columns}) select {columns} from {table} as here where {these} and not {again}");
    let copied = sqlx::query(AssertSqlSafe(copy)).bind(rows).execute(connection).await?.rows_affected();
    Ok(copied + there.unsigned_abs())
}

/// The columns of a table, all of which its archive has from now on. What either works out by itself is not given.
async fn fitting_columns(connection: &mut SqliteConnection, table: &str, archive: &str) -> sqlx::Result<String> {
    let of = "select '\"' || replace(name, '\"', '\"\"') || '\"', type, hidden from pragma_table_xinfo(?) where hidden <> 1";
    let here: Vec<(String, String, i64)> = sqlx::query_as(of).bind(table).fetch_all(&mut *connection).await?;
    let there: Vec<(String, String, i64)> = sqlx::query_as(of).bind(archive).fetch_all(&mut *connection).await?;
    let mut given = Vec::new();
    for (name, kind, _) in here {
        match there.iter().find(|(there, ..)| there.eq_ignore_ascii_case(&name)) {
            Some((_, _, 0)) => {}
            Some(_) => continue,
            None => {
                let add = format!("alter table {archive} add column {name} {kind}");
                sqlx::query(AssertSqlSafe(add)).execute(&mut *connection).await?;
            }
        }
        given.push(name);
    }
    Ok(given.join(", "))
}

/// Numbers that go are no gaps.
async fn note_gone(connection: &mut SqliteConnection, rows: &str) -> sqlx::Result<()> {
    let highest: BTreeMap<String, i64> = sqlx::query_as::<_, (String, i64)>(
        "select instance, max(seq) from eliza_activity_log
         where rowid in (select value from json_each(?)) and instance is not null and seq is not null group by 1",
    )
    .bind(rows)
    .fetch_all(&mut *connection)
    .await?
    .into_iter()
    .collect();
    for (instance, seq) in highest {
        sqlx::query("update gatekeeper_instances set kept_from = ?2 + 1 where instance = ?1 and kept_from <= ?2")
            .bind(instance)
            .bind(seq)
            .execute(&mut *connection)
            .await?;
    }
    Ok(())
}

/// Runs that ended so long ago that nothing is left of them.
async fn forget_instances(writer: &SqlitePool, before: Timestamp) -> Retained {
    let mut retained = Retained::of("instances");
    let forgotten = async {
        let mut tx = begin(writer).await?;
        let over = "select instance from gatekeeper_instances as known
                    where ended_at < ?1 and not exists (select 1 from eliza_activity_log where instance = known.instance)";
        sqlx::query(AssertSqlSafe(format!("delete from gatekeeper_losses where instance in ({over})")))
            .bind(text(before))
            .execute(&mut *tx)
            .await?;
        let forgotten = sqlx::query(AssertSqlSafe(format!("delete from gatekeeper_instances where instance in ({over})")))
            .bind(text(before))
            .execute(&mut *tx)
            .await?;
        tx.commit().await?;
        Ok::<_, sqlx::Error>(forgotten.rows_affected())
    };
    retained.rows_deleted = retained.note(forgotten.await).unwrap_or(0);
    retained
}

pub(super) async fn ages(readers: &SqlitePool, now: Timestamp, keep: &Keep) -> Result<Vec<TableAge>, StoreError> {
    let lately = now.minus(GRACE);
    let mut ages = Vec::new();
    for old in logs(keep).into_iter().chain(keep.tables.iter().map(of_others)) {
        let archived = (old.span.archive != Archive::None || logs_name(old.table)).then(|| (old.archive(), old.span.gone_before(lately)));
        for (table, due) in std::iter::once((old.table.to_owned(), old.span.here_until(lately))).chain(archived) {
            if is_there(readers, &table).await? {
                let mut age = age(readers, &old, table, due).await;
                if age.trouble.is_none() && age.table == old.table && !logs_name(old.table) {
                    age.trouble = ageless(readers, &old).await.unwrap_or_else(|error| Some(StoreError::from(error).to_string()));
                }
                ages.push(age);
            }
        }
    }
    let counts = Old { table: "rate_limits", moment: "window_start", only: &[], span: Span::of(keep.rate_limits) };
    ages.push(age(readers, &counts, counts.table.to_owned(), Some(counts_before(lately, keep))).await);
    Ok(ages)
}

/// Rows whose age cannot be told stay for ever, and that is told.
async fn ageless(pool: &SqlitePool, old: &Old<'_>) -> sqlx::Result<Option<String>> {
    let (table, moment) = (old.table, old.moment);
    let sql = format!("select exists (select 1 from {table} where {moment} is not null and not ({}){})", old.is_moment(), old.only());
    let mut asked = sqlx::query_scalar(AssertSqlSafe(sql));
    for value in old.only_values() {
        asked = asked.bind(value);
    }
    let some: bool = asked.fetch_one(pool).await?;
    Ok(some.then(|| format!("{moment} is no moment as text (2026-01-31 23:59:59) in some rows: these stay")))
}

async fn age(readers: &SqlitePool, old: &Old<'_>, table: String, due: Option<Timestamp>) -> TableAge {
    // All that may ever go: before the end of time.
    let ever = Timestamp::from_secs(253_402_300_799);
    let sql = format!("select min({}) from {table} where {}", old.moment, old.condition());
    let mut asked = sqlx::query_scalar(AssertSqlSafe(sql));
    for value in old.values(ever) {
        asked = asked.bind(value);
    }
    let oldest: sqlx::Result<Option<String>> = asked.fetch_one(readers).await;
    let oldest = oldest.map_err(StoreError::from).and_then(|oldest| oldest.as_deref().map(parse).transpose());
    match oldest {
        Ok(oldest) => TableAge { table, oldest, due, trouble: None },
        Err(error) => TableAge { table, oldest: None, due, trouble: Some(error.to_string()) },
    }
}
