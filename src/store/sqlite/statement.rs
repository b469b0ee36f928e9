//! Statements of many rows. Their text is the same whenever as many rows come, so each length is prepared once, and it costs next to nothing
//! beside what is bound: `QueryBuilder` puts text and arguments together one by one, which took longer than SQLite takes to write the rows.

use std::sync::Arc;

use sqlx::encode::Encode;
use sqlx::error::BoxDynError;
use sqlx::query::Query;
use sqlx::sqlite::SqliteArguments;
use sqlx::{Arguments as _, AssertSqlSafe, Sqlite, SqliteConnection, Type};

/// Rows in one statement. Each length is prepared once and kept (`opening` says how many are); beyond the greatest it gets slower, for want of room where
/// SQLite has memory at hand. Two or three make up any number.
pub(super) const LENGTHS: [usize; 12] = [64, 48, 32, 24, 16, 12, 8, 6, 4, 3, 2, 1];

/// The rows in as few statements as these lengths allow.
pub(super) fn in_lengths<T>(mut rows: &[T]) -> impl Iterator<Item = &[T]> {
    std::iter::from_fn(move || {
        let length = LENGTHS.into_iter().find(|length| *length <= rows.len())?;
        let (these, rest) = rows.split_at_checked(length)?;
        rows = rest;
        Some(these)
    })
}

/// `head (row), (row), … tail`, for as many rows as come.
pub(super) struct Text {
    head: &'static str,
    row: String,
    tail: &'static str,
    /// Of the lengths that there were: putting one together costs as much as binding some rows.
    known: [Option<Arc<str>>; LENGTHS.len()],
}

impl Text {
    /// A row's text has a `?` for each of its arguments: SQLite finds numbered ones one by one, which takes long where there are many. It is
    /// no caller's to choose.
    pub(super) fn new(head: &'static str, row: String, tail: &'static str) -> Self {
        Self { head, row, tail, known: Default::default() }
    }

    pub(super) fn of(&mut self, rows: usize) -> Statement {
        let known = LENGTHS.iter().position(|length| *length == rows).and_then(|place| self.known.get_mut(place));
        let sql = match known {
            Some(known) => Arc::clone(known.get_or_insert_with(|| text(self.head, &self.row, rows, self.tail))),
            None => text(self.head, &self.row, rows, self.tail),
        };
        let mut arguments = SqliteArguments::default();
        arguments.reserve(rows * self.row.matches('?').count(), 0);
        Statement { sql, arguments, fault: None }
    }
}

fn text(head: &str, row: &str, rows: usize, tail: &str) -> Arc<str> {
    [head, &vec![row; rows].join(", "), tail].concat().into()
}

/// Such a text, and what is bound to its rows.
pub(super) struct Statement {
    sql: Arc<str>,
    arguments: SqliteArguments,
    fault: Option<BoxDynError>,
}

impl Statement {
    /// One that is made once a batch.
    pub(super) fn new(head: &'static str, row: &str, rows: usize, tail: &'static str) -> Self {
        Text::new(head, row.to_owned(), tail).of(rows)
    }

    pub(super) fn bind<'v>(&mut self, value: impl Encode<'v, Sqlite> + Type<Sqlite>) -> &mut Self {
        if let Err(fault) = self.arguments.add(value) {
            self.fault.get_or_insert(fault);
        }
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
        self.sql = format!("{} returning {columns}", self.sql).into();
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
