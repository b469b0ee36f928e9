//! What operators do with the database by a client of their own, whichever database it is.

use sqlx::{AssertSqlSafe, Connection, PgConnection, SqliteConnection};

/// Runs statements; returns how many rows they changed.
pub async fn run(url: &str, statements: &str) -> u64 {
    let statements = sqlx::raw_sql(AssertSqlSafe(statements));
    if url.starts_with("sqlite") {
        statements.execute(&mut sqlite(url).await).await.unwrap().rows_affected()
    } else {
        statements.execute(&mut postgres(url).await).await.unwrap().rows_affected()
    }
}

pub async fn number(url: &str, query: &str) -> i64 {
    if url.starts_with("sqlite") {
        sqlx::query_scalar(AssertSqlSafe(query)).fetch_one(&mut sqlite(url).await).await.unwrap()
    } else {
        sqlx::query_scalar(AssertSqlSafe(query)).fetch_one(&mut postgres(url).await).await.unwrap()
    }
}

/// A column of text, whole.
pub async fn texts(url: &str, query: &str) -> Vec<String> {
    if url.starts_with("sqlite") {
        sqlx::query_scalar(AssertSqlSafe(query)).fetch_all(&mut sqlite(url).await).await.unwrap()
    } else {
        sqlx::query_scalar(AssertSqlSafe(query)).fetch_all(&mut postgres(url).await).await.unwrap()
    }
}

/// A row of `eliza_gatekeeper_stats`.
#[derive(Clone, Debug, PartialEq, sqlx::FromRow)]
pub struct Stat {
    pub source: String,
    pub target: String,
    pub total_calls: i64,
    pub successful_calls: i64,
    pub failed_calls: i64,
    pub denied_calls: i64,
}

impl Stat {
    pub fn of(source: &str, target: &str, [successful_calls, failed_calls, denied_calls]: [i64; 3]) -> Self {
        let total_calls = successful_calls + failed_calls + denied_calls;
        Self { source: source.into(), target: target.into(), total_calls, successful_calls, failed_calls, denied_calls }
    }
}

/// The statistics, by source and target.
pub async fn stats(url: &str) -> Vec<Stat> {
    let query = "select source, target, total_calls, successful_calls, failed_calls, denied_calls from eliza_gatekeeper_stats";
    let mut stats: Vec<Stat> = if url.starts_with("sqlite") {
        sqlx::query_as(query).fetch_all(&mut sqlite(url).await).await.unwrap()
    } else {
        sqlx::query_as(query).fetch_all(&mut postgres(url).await).await.unwrap()
    };
    stats.sort_by_key(|stat| (stat.source.clone(), stat.target.clone()));
    stats
}

/// Every row of every table there is, as text in lower case, bytes as hexadecimal digits.
pub async fn everything(url: &str) -> String {
    if let Some(path) = url.strip_prefix("sqlite://") {
        let files = ["", "-wal"].map(|suffix| std::fs::read(format!("{path}{suffix}")).unwrap_or_default());
        return files.iter().map(|bytes| String::from_utf8_lossy(bytes).to_lowercase()).collect();
    }
    let mut client = postgres(url).await;
    sqlx::raw_sql("set xmlbinary to hex").execute(&mut client).await.unwrap();
    let dump = "select lower(string_agg(query_to_xml(format('table %I.%I', table_schema, table_name), true, false, '')::text, ''))
                from information_schema.tables where table_schema in ('public', 'gatekeeper')";
    sqlx::query_scalar(dump).fetch_one(&mut client).await.unwrap()
}

async fn sqlite(url: &str) -> SqliteConnection {
    SqliteConnection::connect(url).await.unwrap()
}

async fn postgres(url: &str) -> PgConnection {
    PgConnection::connect(url).await.unwrap()
}
