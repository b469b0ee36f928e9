//! Old rows are found and let go of from a terminal, with an exit code that an alert can use, and by a running gatekeeper of itself; either
//! way the audit tells what went.

use std::time::Duration;

use eliza_gatekeeper::store::{CallRecord, OpenOptions, open};
use serde_json::{Value, json};
use sqlx::PgPool;

use crate::store_contract::{now, record};
use crate::support::house::eventually;
use crate::support::program::Program;
use crate::support::{Database, on_each_database, operator, postgres};

on_each_database!(
    what_is_too_old_fails_the_check_until_it_is_run,
    tables_of_the_runbook_are_cleaned_when_somebody_says_so,
    a_running_gatekeeper_lets_go_of_old_rows,
);

const OLD: Duration = Duration::from_secs(40 * 86_400);

fn beside(database: Database) -> (Program, String) {
    let program = Program::new();
    let url = match database {
        Database::Sqlite => format!("sqlite://{}", program.folder().join("calls.db").display()),
        Database::Postgres => postgres::database(),
    };
    (program.variable("DATABASE_URL", &url).variable("USER", "alice"), url)
}

async fn write_old(url: &str) {
    let store = open(url, OpenOptions { pool_size: 1, max_overflow: 0 }).await.unwrap();
    store.migrate().await.unwrap();
    store.write(&[record(), CallRecord { at: now().minus(OLD), ..record() }]).await.unwrap();
    store.close().await;
}

async fn what_is_too_old_fails_the_check_until_it_is_run(database: Database) {
    let (program, url) = beside(database);
    program.run(&["retention", "check"]).await.expect(1);
    write_old(&url).await;

    let told = program.run(&["retention", "check"]).await.expect(1);
    assert!(told.out.contains("OVERDUE"), "{told:?}");
    assert!(told.err.contains("eliza_activity_log, api_call_logs;") && told.err.contains("retention run"), "{told:?}");
    let value = program.run(&["retention", "check", "--json"]).await.expect(1).value();
    assert_eq!((&value["ok"], &value["tables"][0]["table"]), (&json!(false), &json!("eliza_activity_log")));
    assert_eq!((&value["tables"][0]["overdue"], &value["tables"][1]["overdue"]), (&json!(true), &json!(false)));

    let table = program.run(&["retention", "run"]).await.expect(0).out;
    assert!(table.contains("ROWS ARCHIVED"), "{table}");
    let value = program.run(&["retention", "run", "--json"]).await.expect(0).value();
    assert_eq!(
        value["tables"][0],
        json!({
            "table": "eliza_activity_log", "days_archived": 0, "days_dropped": 0, "rows_archived": 0, "rows_deleted": 0, "busy": false,
            "trouble": null,
        })
    );
    assert!(program.run(&["retention", "check"]).await.expect(0).out.contains("no row is older"));
    assert_eq!(operator::number(&url, "select count(*) from eliza_activity_log_archive").await, 1);

    let audited = program.run(&["audit", "--json"]).await.expect(0).value();
    let entry = &audited["entries"][0];
    assert_eq!(entry["action"], "retention_run", "{audited}");
    assert!(entry["actor"].as_str().unwrap().starts_with("alice@"), "{entry}");
    assert_eq!(entry["after"]["api_call_logs"]["rows_archived"], 1, "{entry}");
    assert_eq!(audited["entries"].as_array().unwrap().len(), 1, "a round that moves nothing is no news");
}

async fn tables_of_the_runbook_are_cleaned_when_somebody_says_so(database: Database) {
    let (program, url) = beside(database);
    write_old(&url).await;
    let make = "create table webhook_logs (id integer primary key, created_at timestamp)";
    operator::run(&url, make).await;
    let old = now().minus(OLD).to_string().replace('T', " ").replace('Z', "");
    operator::run(&url, &format!("insert into webhook_logs values (1, '{old}'), (2, current_timestamp)")).await;
    program.run(&["retention", "check"]).await.expect(1);
    program.run(&["retention", "run"]).await.expect(0);
    assert_eq!(operator::number(&url, "select count(*) from webhook_logs where id = 2").await, 1);
    assert_eq!(operator::number(&url, "select count(*) from webhook_logs").await, 1);

    // What cannot be done is said, with an exit code of its own.
    operator::run(&url, "drop table webhook_logs").await;
    operator::run(&url, "create table webhook_logs (id integer primary key)").await;
    let refused = program.run(&["retention", "run"]).await.expect(1);
    assert!(refused.err.contains("webhook_logs: ") && refused.err.contains("created_at"), "{refused:?}");
    let unseen = program.run(&["retention", "check"]).await.expect(1);
    assert!(unseen.err.contains("cannot be looked at: webhook_logs"), "{unseen:?}");
}

#[tokio::test]
async fn whoever_comes_second_says_so() {
    let (program, url) = beside(Database::Postgres);
    write_old(&url).await;
    let client = PgPool::connect(&url).await.unwrap();
    let mut first = client.begin().await.unwrap();
    let lock = "select pg_advisory_xact_lock(hashtextextended('gatekeeper.maintenance', 0))";
    sqlx::query(lock).execute(&mut *first).await.unwrap();
    let value = program.run(&["retention", "run", "--json"]).await.expect(1).value();
    assert_eq!((&value["ok"], &value["tables"][0]["busy"], &value["tables"][0]["trouble"]), (&json!(false), &json!(true), &Value::Null));
    assert_eq!(operator::number(&url, "select count(*) from eliza_activity_log_archive").await, 0);
    let day = "select count(*) from gatekeeper.retire_partition('api_call_logs', '-infinity', 'infinity', false) where outcome = 'busy'";
    assert_eq!(operator::number(&url, day).await, 1);
    first.commit().await.unwrap();
    assert_eq!(program.run(&["retention", "run", "--json"]).await.expect(0).value()["ok"], true);
}

async fn a_running_gatekeeper_lets_go_of_old_rows(database: Database) {
    let (program, url) = beside(database);
    write_old(&url).await;
    operator::run(&url, "create table webhook_logs (id integer primary key, created_at timestamp)").await;
    operator::run(&url, "insert into webhook_logs values (1, '2020-01-01 00:00:00')").await;
    let serving = program.serve().await;
    let audited = async || program.run(&["audit", "--json"]).await.out.contains("retention_run");
    eventually("a round is audited", || async { audited().await }).await;
    assert_eq!(operator::number(&url, "select count(*) from eliza_activity_log_archive").await, 1);
    assert_eq!(operator::number(&url, "select count(*) from webhook_logs").await, 1, "nobody has said so");
    serving.stop().await.expect(0);
}
