//! What an operator's own SQL sees in the database of a house, as text.

use sqlx::sqlite::{SqliteConnectOptions, SqliteRow};
use sqlx::{AssertSqlSafe, Connection, Row, SqliteConnection};

/// The rows of a query, null as nothing.
pub async fn rows(url: &str, sql: &str) -> Vec<Vec<String>> {
    let options = url.parse::<SqliteConnectOptions>().unwrap().read_only(true);
    let mut connection = SqliteConnection::connect_with(&options).await.unwrap();
    let rows = sqlx::query(AssertSqlSafe(sql.to_owned())).fetch_all(&mut connection).await.unwrap();
    rows.iter().map(texts).collect()
}

/// Every row of every table and view, with the table's name.
pub async fn everything(url: &str) -> Vec<(String, String)> {
    let mut all = Vec::new();
    for table in rows(url, "select name from sqlite_schema where type in ('table', 'view') order by name").await {
        for row in rows(url, &format!("select * from \"{}\"", table[0])).await {
            all.push((table[0].clone(), row.join(" | ")));
        }
    }
    all
}

fn texts(row: &SqliteRow) -> Vec<String> {
    let text = |at| row.get_unchecked::<Option<Vec<u8>>, _>(at).map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    (0..row.len()).map(|at| text(at).unwrap_or_default()).collect()
}
