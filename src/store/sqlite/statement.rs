//! Statements of many rows. Their text is the same whenever as many rows come, so each length is prepared once, and it costs next to nothing
//! beside what is bound: `QueryBuilder` puts text and arguments together one by one, which took longer than SQLite takes to write the rows.

use std::sync::Arc;

use sqlx::encode::Encode;
use sqlx::error::BoxDynError;
use sqlx::query::Query;
use sqlx::sqlite::SqliteArguments;
use sqlx::{Arguments as _, AssertSqlSafe, Sqlite, SqliteConnection, Type};

/// Rows in one statement. Each length is prepared once and kept (`opening` says how many are); beyond the greatest it gets slower, for want of room where
/// SQLite has memory at hand.
pub(super) const LENGTHS: [usize; 7] = [64, 32, 16, 8, 4, 2, 1];

/// The rows in as few statements as these lengths allow.
pub(super) fn in_lengths<T>(mut rows: &[T]) -> impl Iterator<Item = &[T]> {
    std::iter::from_fn(move || {
        let length = LENGTHS.into_iter().find(|length| *length <= rows.len())?;
        let (these, rest) = rows.split_at_checked(length)?;
        rows = rest;
        Some(these)
    })
}

/// `head (row), (row), … tail`, and what is bound to the rows.
pub(super) struct Statement {
    sql: String,
    arguments: SqliteArguments,
    fault: Option<BoxDynError>,
}

impl Statement {
    /// A row's text has a `?` for each of its arguments: SQLite finds numbered ones one by one, which takes long where there are many. It is
    /// no caller's to choose.
    pub(super) fn new(head: &str, row: &str, rows: usize, tail: &str) -> Self {
        let mut sql = String::with_capacity(head.len() + rows * (row.len() + 2) + tail.len() + RETURNING);
        sql.push_str(head);
        for n in 0..rows {
            sql.push_str(if n == 0 { "" } else { ", " });
            sql.push_str(row);
        }
        sql.push_str(tail);
        let mut arguments = SqliteArguments::default();
        arguments.reserve(rows * row.matches('?').count(), 0);
        Self { sql, arguments, fault: None }
    }

    pub(super) fn bind<'v>(&mut self, value: impl Encode<'v, Sqlite> + Type<Sqlite>) -> &mut Self {
        self.fault = self.fault.take().or(self.arguments.add(value).err());
        self
    }

    /// The one copy of it that there is: every other way of binding a text makes two.
    pub(super) fn text(&mut self, text: &str) -> &mut Self {
        self.bind(Arc::<str>::from(text))
    }

    /// How many rows were written.
    pub(super) async fn execute(self, connection: &mut SqliteConnection) -> sqlx::Result<u64> {
        Ok(self.query()?.execute(connection).await?.rows_affected())
    }

    /// What the rows say that were written.
    pub(super) async fn returning<R>(mut self, columns: &str, connection: &mut SqliteConnection) -> sqlx::Result<Vec<R>>
    where
        R: for<'r> sqlx::FromRow<'r, sqlx::sqlite::SqliteRow> + Send + Unpin,
    {
        self.sql.push_str(" returning ");
        self.sql.push_str(columns);
        let rows = self.query()?.fetch_all(connection).await?;
        rows.iter().map(R::from_row).collect()
    }

    fn query(self) -> sqlx::Result<Query<'static, Sqlite, SqliteArguments>> {
        match self.fault {
            None => Ok(sqlx::query_with(AssertSqlSafe(self.sql), self.arguments)),
            Some(fault) => Err(sqlx::Error::Encode(fault)),
        }
    }
}

/// More than ` returning …` takes.
const RETURNING: usize = 64;
