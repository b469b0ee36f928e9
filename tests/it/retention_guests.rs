//! Tables that other programs keep are bench: whatever they hold and however they are made, no row goes that policy keeps, none is lost on
//! its way to an archive, and what cannot be done is told.

use eliza_gatekeeper::retention::{Age, Archive, Keep, Span, TableKeep};
use eliza_gatekeeper::store::{CallRecord, TableAge, open};

use crate::store_contract::{Bench, OPTIONS, now, on_both, record};
use crate::store_retention::{DAY, archiving, days, of, others};
use crate::support::postgres::url_as;

on_both!(
    what_is_unique_among_young_rows_is_not_among_archived_ones,
    a_row_that_its_archive_refuses_stays,
    a_column_that_came_later_is_archived_too,
    a_log_has_its_columns_in_the_archive_whenever_they_came,
);

const STEPS: &str = "ops_mission_steps";

fn keeping(table: TableKeep) -> Keep {
    Keep { tables: vec![table], ..archiving() }
}

fn into_archive() -> Keep {
    keeping(others(STEPS, "updated_at", vec![], Span { here: days(30), archive: Archive::Until(Age::Forever) }))
}

/// What one round did not do in a table, and why.
async fn trouble(bench: &Bench, keep: &Keep, table: &str) -> Option<String> {
    let done = bench.store.maintain(now(), keep).await.unwrap();
    done.tables.into_iter().find(|retained| retained.table == table).unwrap().trouble
}

async fn age(bench: &Bench, keep: &Keep, table: &str) -> TableAge {
    bench.store.ages(now(), keep).await.unwrap().into_iter().find(|age| age.table == table).unwrap()
}

async fn what_is_unique_among_young_rows_is_not_among_archived_ones(bench: Bench) {
    let bench = bench.migrated().await;
    bench.client_runs("create table ops_mission_steps (id integer primary key, step integer unique, updated_at timestamp)").await;
    for id in 1..=2 {
        bench.client_runs(&format!("insert into {STEPS} values ({id}, 1, {})", bench.ago(40))).await;
        let done = bench.store.maintain(now(), &into_archive()).await.unwrap();
        assert_eq!(of(&done, STEPS).rows_archived, 1);
    }
    assert_eq!(bench.here_and_there(STEPS).await, (0, 2));
}

async fn a_row_that_its_archive_refuses_stays(bench: Bench) {
    let bench = bench.migrated().await;
    bench.client_runs("create table ops_mission_steps (id integer primary key, note text, updated_at timestamp)").await;
    bench.client_runs("create table ops_mission_steps_archive (id integer primary key, note text not null, updated_at timestamp)").await;
    let old = bench.ago(40);
    bench.client_runs(&format!("insert into {STEPS} values (1, null, {old}), (2, 'b', {old})")).await;
    assert!(trouble(&bench, &into_archive(), STEPS).await.unwrap().to_lowercase().contains("null"));
    assert_eq!(bench.here_and_there(STEPS).await, (2, 0), "neither is counted as archived, nor gone");

    bench.client_runs(&format!("update {STEPS} set note = 'a'; insert into {STEPS}_archive values (2, 'of before', {old})")).await;
    assert!(trouble(&bench, &into_archive(), STEPS).await.unwrap().to_lowercase().contains("unique"));
    assert_eq!(bench.here_and_there(STEPS).await, (2, 1));

    bench.client_runs(&format!("delete from {STEPS}_archive")).await;
    let done = bench.store.maintain(now(), &into_archive()).await.unwrap();
    assert_eq!((of(&done, STEPS).rows_archived, bench.here_and_there(STEPS).await), (2, (0, 2)));
}

async fn a_column_that_came_later_is_archived_too(bench: Bench) {
    let bench = bench.migrated().await;
    bench.client_runs("create table ops_mission_steps (id integer, updated_at timestamp)").await;
    bench.client_runs(&format!("insert into {STEPS} values (1, {})", bench.ago(40))).await;
    bench.store.maintain(now(), &into_archive()).await.unwrap();
    bench.client_runs(&format!("alter table {STEPS} add column \"tenant of it\" text")).await;
    bench.client_runs(&format!("insert into {STEPS} (id, updated_at, \"tenant of it\") values (2, {}, 'acme')", bench.ago(40))).await;
    bench.store.maintain(now(), &into_archive()).await.unwrap();
    assert_eq!(bench.here_and_there(STEPS).await, (0, 2));
    assert_eq!(bench.client_counts(&format!("select count(*) from {STEPS}_archive where \"tenant of it\" = 'acme'")).await, 1);
}

async fn a_log_has_its_columns_in_the_archive_whenever_they_came(bench: Bench) {
    let bench = bench.migrated().await;
    // Of one day, so that the archive has a place for it already when the second comes.
    let aged = || CallRecord { at: now().minus(40 * DAY), ..record() };
    bench.store.write(&[aged()]).await.unwrap();
    bench.store.maintain(now(), &archiving()).await.unwrap();
    bench.client_runs("alter table eliza_activity_log add column tenant text").await;
    bench.store.write(&[aged()]).await.unwrap();
    bench.client_runs("update eliza_activity_log set tenant = 'acme'").await;
    let done = bench.store.maintain(now(), &archiving()).await.unwrap();
    assert_eq!(of(&done, "eliza_activity_log").rows_archived, 1);
    assert_eq!(bench.client_counts("select count(*) from eliza_activity_log_archive where tenant = 'acme'").await, 1);
}

mod on_sqlite_alone {
    use super::*;

    #[tokio::test]
    async fn rows_whose_moment_is_a_number_stay_and_are_told() {
        let bench = Bench::sqlite().await.migrated().await;
        bench.client_runs("create table webhook_logs (id integer primary key, created_at integer default (unixepoch()))").await;
        bench.client_runs("insert into webhook_logs (id) values (1), (2)").await;
        bench.client_runs("insert into webhook_logs values (3, '2020-01-01'), (4, 2.5), (5, 'long ago'), (6, null), (7, x'00')").await;
        let keep = keeping(others("webhook_logs", "created_at", vec![], Span::of(30 * DAY)));
        let told = trouble(&bench, &keep, "webhook_logs").await.unwrap();
        assert!(told.contains("created_at is no moment"), "{told}");
        assert_eq!(bench.client_counts("select sum(id) from webhook_logs").await, 1 + 2 + 4 + 5 + 6 + 7);
        let age = age(&bench, &keep, "webhook_logs").await;
        assert_eq!((age.oldest, age.trouble), (None, Some(told)));

        bench.client_runs("delete from webhook_logs where created_at is not null").await;
        assert_eq!(trouble(&bench, &keep, "webhook_logs").await, None, "no moment at all is nothing to tell of");
    }

    #[tokio::test]
    async fn a_date_alone_goes_with_its_day() {
        let bench = Bench::sqlite().await.migrated().await;
        bench.client_runs("create table webhook_logs (created_at text)").await;
        bench.client_runs("insert into webhook_logs values (date('now', '-30 days')), (date('now', '-31 days'))").await;
        let keep = keeping(others("webhook_logs", "created_at", vec![], Span::of(30 * DAY)));
        assert_eq!(trouble(&bench, &keep, "webhook_logs").await, None);
        assert_eq!(bench.client_counts("select count(*) from webhook_logs where created_at = date('now', '-30 days')").await, 1);
        assert_eq!(bench.client_counts("select count(*) from webhook_logs").await, 1);
    }
}

mod on_postgres_alone {
    use super::*;

    #[tokio::test]
    async fn what_a_trigger_keeps_out_of_the_archive_stays() {
        let bench = Bench::postgres().await.migrated().await;
        bench.client_runs("create table ops_mission_steps (id integer, updated_at timestamptz)").await;
        bench.client_runs("create table ops_mission_steps_archive (like ops_mission_steps)").await;
        bench
            .client_runs(
                "create function keep_out() returns trigger language plpgsql as 'begin return null; end';
                 create trigger keep_out before insert on ops_mission_steps_archive for each row execute function keep_out();
                 insert into ops_mission_steps values (1, '2020-01-01')",
            )
            .await;
        assert!(trouble(&bench, &into_archive(), STEPS).await.unwrap().contains("of 1 rows 0 came to the archive"));
        assert_eq!(bench.here_and_there(STEPS).await, (1, 0));
    }

    #[tokio::test]
    async fn rows_that_this_role_cannot_see_are_no_rows_that_are_young() {
        let mut bench = Bench::postgres().await.migrated().await;
        bench
            .client_runs(
                "create table webhook_logs (created_at timestamptz);
                 insert into webhook_logs values ('2020-01-01');
                 alter table webhook_logs enable row level security;
                 select gatekeeper.admit('reporting');
                 grant select, update, delete on webhook_logs to reporting",
            )
            .await;
        let keep = keeping(others("webhook_logs", "created_at", vec![], Span::of(30 * DAY)));
        bench.store = open(&url_as("reporting", &bench.url), OPTIONS).await.unwrap();
        let hidden = |told: Option<String>| told.is_some_and(|told| told.contains("row security may hide rows"));
        assert!(hidden(age(&bench, &keep, "webhook_logs").await.trouble));
        assert!(hidden(trouble(&bench, &keep, "webhook_logs").await));
        bench.client_runs("create policy everybody on webhook_logs using (current_user = 'anon')").await;
        assert!(hidden(age(&bench, &keep, "webhook_logs").await.trouble), "a policy about others is none for this role");

        bench.client_runs("create policy retention on webhook_logs to reporting using (true)").await;
        let seen = age(&bench, &keep, "webhook_logs").await;
        assert_eq!((seen.is_overdue(), seen.trouble), (true, None));
        let done = bench.store.maintain(now(), &keep).await.unwrap();
        assert_eq!(of(&done, "webhook_logs").rows_deleted, 1, "select, update and delete are all it needs");
    }

    #[tokio::test]
    async fn an_archive_has_the_key_of_its_table_and_no_rule_about_new_rows() {
        let bench = Bench::postgres().await.migrated().await;
        bench
            .client_runs(
                "create table ops_mission_steps (mission text, step integer check (step > 0), updated_at timestamptz, primary key (mission, step));
                 insert into ops_mission_steps values ('m', 1, '2020-01-01')",
            )
            .await;
        bench.store.maintain(now(), &into_archive()).await.unwrap();
        let keys = "select count(*) from pg_constraint where conrelid = 'ops_mission_steps_archive'::regclass";
        assert_eq!(bench.client_counts(keys).await, 1);
        assert_eq!(bench.client_counts(&format!("{keys} and pg_get_constraintdef(oid) = 'PRIMARY KEY (mission, step)'")).await, 1);
    }
}
