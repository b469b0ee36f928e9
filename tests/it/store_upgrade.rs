//! A database that an older gatekeeper made and wrote goes on under a newer one with all its rows, and the older one may go on writing to
//! it and keeping house in it.

use std::borrow::Cow;
use std::path::Path;

use eliza_gatekeeper::identity::Origin;
use eliza_gatekeeper::store::{CallRecord, open};
use sqlx::migrate::Migrator;
use sqlx::{PgPool, SqlitePool};
use uuid::Uuid;

use crate::store_contract::{Bench, OPTIONS, keep, now, record};
use crate::support::house::eventually;

/// The last migration that the older gatekeeper carries.
const POSTGRES: i64 = 4;
const SQLITE: i64 = 3;

async fn older(folder: &str, last: i64) -> Migrator {
    let files = Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations").join(folder);
    let mut migrator = Migrator::new(files).await.unwrap();
    migrator.migrations = Cow::Owned(migrator.iter().filter(|migration| migration.version <= last).cloned().collect());
    migrator
}

/// A database that the older one has made.
async fn older_postgres(url: &str) -> PgPool {
    let client = PgPool::connect(url).await.unwrap();
    let mut migrator = older("postgres", POSTGRES).await;
    migrator.dangerous_set_table_name("gatekeeper.migrations");
    migrator.create_schema("gatekeeper");
    migrator.run(&client).await.unwrap();
    client
}

#[tokio::test]
async fn on_postgres() {
    let bench = Bench::postgres().await;
    older_postgres(&bench.url).await;
    bench.client_runs("select gatekeeper.admit('reporting')").await;
    goes_on(&bench).await;
    // What the older one calls when it keeps house.
    bench.client_runs("select gatekeeper.make_partitions(current_date, 7)").await;
    bench.client_runs("select gatekeeper.drop_partitions(now() - interval '30 days', now() - interval '30 days')").await;
    bench
        .client_runs("select gatekeeper.delete_old_rows(now(), now() - interval '30 days', now() - interval '30 days', now(), 5000)")
        .await;
    assert_eq!(bench.client_counts("select count(*) from eliza_activity_log where created_at < now() - interval '1 day'").await, 0);
    assert_eq!(bench.store.gaps(9).await.unwrap(), [], "and nothing is missed for it");
    let admitted = open(&crate::support::postgres::url_as("reporting", &bench.url), OPTIONS).await.unwrap();
    admitted.write(&[record()]).await.unwrap();
    admitted.maintain(now(), &keep(30, 30, 30)).await.unwrap();
    assert_eq!(admitted.gaps(9).await.unwrap(), []);
}

#[tokio::test]
async fn calls_are_recorded_while_indexes_are_built_on_what_is_over() {
    let bench = Bench::postgres().await;
    let client = older_postgres(&bench.url).await;
    bench.client_runs("select gatekeeper.make_partitions(current_date - 1, 0)").await;

    // As long as building an index takes: somebody holds yesterday of the other log.
    let yesterday: String =
        sqlx::query_scalar("select 'gatekeeper.api_call_logs_' || to_char(current_date - 1, 'YYYYMMDD')").fetch_one(&client).await.unwrap();
    let mut holding = client.begin().await.unwrap();
    let held = format!("lock table {yesterday} in row exclusive mode");
    sqlx::query(sqlx::AssertSqlSafe(held)).execute(&mut *holding).await.unwrap();
    let migrating = tokio::spawn({
        let store = bench.store.clone();
        async move { store.migrate().await }
    });
    let waits = "select count(*) from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()";
    eventually("the migration waits", || async { bench.client_counts(waits).await == 1 }).await;
    for log in ["eliza_activity_log (activity_type, title) values ('t', 't')", "api_call_logs (function_name) values ('f')"] {
        bench.client_runs(&format!("set lock_timeout = '1s'; insert into {log}; reset lock_timeout")).await;
    }
    holding.commit().await.unwrap();
    migrating.await.unwrap().unwrap();
    assert_eq!(bench.client_counts("select count(*) from api_call_logs").await, 1);
}

#[tokio::test]
async fn on_sqlite() {
    let bench = Bench::sqlite().await;
    let client = SqlitePool::connect(&format!("{}?mode=rwc", bench.url)).await.unwrap();
    let mut migrator = older("sqlite", SQLITE).await;
    migrator.dangerous_set_table_name("gatekeeper_migrations");
    migrator.run(&client).await.unwrap();
    goes_on(&bench).await;
}

async fn goes_on(bench: &Bench) {
    let written_before = "insert into eliza_activity_log (activity_type, title, created_at) values
                          ('gatekeeper_call', 'before', '2020-01-01 00:00:00'), ('gatekeeper_call', 'before', current_timestamp)";
    bench.client_runs(written_before).await;
    let counted = format!(
        "insert into {} (hour, source, target, successful, duration_ms_sum, first_call_at, last_call_at)
         values ('2020-01-01 00:00:00', 'a', 'x', 5, 50, '2020-01-01 00:00:00', '2020-01-01 00:00:00')",
        bench.own("call_stats")
    );
    bench.client_runs(&counted).await;

    bench.store.migrate().await.unwrap();
    let instance = Uuid::now_v7();
    let numbered = |seq| CallRecord { origin: Some(Origin { instance, seq }), ..record() };
    bench.store.write(&[numbered(1), numbered(2)]).await.unwrap();
    assert_eq!(bench.client_counts("select count(*) from eliza_activity_log").await, 4);
    assert_eq!(bench.client_counts("select cast(sum(total_calls) as bigint) from eliza_gatekeeper_stats").await, 7);
    let of_before = "select cast(avg_duration_ms as bigint) from eliza_gatekeeper_stats where source = 'a' and p95_duration_ms is null";
    assert_eq!(bench.client_counts(of_before).await, 10);
    assert_eq!(bench.store.gaps(9).await.unwrap(), []);

    // The older one writes on, without a number.
    bench.client_runs(written_before).await;
    bench.client_runs(&counted.replace("'a'", "'b'")).await;
    assert_eq!(bench.client_counts("select cast(sum(total_calls) as bigint) from eliza_gatekeeper_stats").await, 12);
    bench.store.maintain(now(), &keep(30, 30, 30)).await.unwrap();
    assert_eq!(bench.client_counts("select count(*) from eliza_activity_log where title = 'before'").await, 2);
}
