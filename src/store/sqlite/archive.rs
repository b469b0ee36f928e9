//! What rows leave behind when they go: themselves in an archive that has all of their columns, and their numbers.

use std::collections::BTreeMap;

use sqlx::{AssertSqlSafe, SqliteConnection};

use super::maintain::logs_name;

/// How many rows are in the archive that were not, or had come there before.
pub(super) async fn copy(connection: &mut SqliteConnection, table: &str, archive: &str, rows: &str) -> sqlx::Result<u64> {
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
pub(super) async fn note_gone(connection: &mut SqliteConnection, rows: &str) -> sqlx::Result<()> {
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
        // Anybody may have written a row with any number: beyond what is known to have been given, none counts.
        sqlx::query(
            "update gatekeeper_instances set kept_from = min(?2, through) + 1 where instance = ?1 and kept_from <= min(?2, through)",
        )
        .bind(instance)
        .bind(seq)
        .execute(&mut *connection)
        .await?;
    }
    Ok(())
}
