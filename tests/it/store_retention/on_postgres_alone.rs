//! Days of the logs move and go as a whole, by the hands of the database itself, and nobody waits for it.

use super::*;

async fn migrated() -> Bench {
    Bench::postgres().await.migrated().await
}

async fn partitions(bench: &Bench, log: &str) -> i64 {
    bench.client_counts(&format!("select count(*) from gatekeeper.partitions('public.{log}')")).await
}

#[tokio::test]
async fn a_day_moves_as_a_whole_and_nothing_of_it_is_written_anew() {
    let bench = migrated().await;
    let instance = Uuid::now_v7();
    let numbered = |seq| CallRecord { origin: Some(Origin { instance, seq }), ..record() };
    bench.store.write(&[numbered(1), numbered(2), CallRecord { at: now().plus(3 * DAY), ..numbered(3) }]).await.unwrap();
    let file = "select sum(relfilenode::bigint)::bigint from pg_class where relname ~ '^eliza_activity_log_[0-9]{8}$'
                and relnamespace = 'gatekeeper'::regnamespace and relname < 'eliza_activity_log_' || to_char(now() + interval '3 days', 'YYYYMMDD')";
    let before = bench.client_counts(file).await;
    bench.client_runs("alter table eliza_activity_log add column tenant text default 'all', add column twice bigint").await;

    let later = now().plus(33 * DAY);
    let done = bench.store.maintain(later, &archiving()).await.unwrap();
    let log = of(&done, "eliza_activity_log");
    assert_eq!((log.partitions_archived, log.rows_archived), (3, 0));
    assert_eq!(bench.client_counts(file).await, before, "they are the same files");
    assert_eq!(bench.here_and_there("eliza_activity_log").await, (1, 2));
    assert_eq!(bench.client_counts("select count(*) from eliza_activity_log_archive where tenant = 'all'").await, 2);
    assert_eq!(partitions(&bench, "eliza_activity_log_archive").await, 3);
    assert_eq!(bench.store.gaps(9).await.unwrap(), []);
    let strangers = "select count(*) from pg_class where relkind in ('r', 'p') and not relrowsecurity
                     and relnamespace in ('public'::regnamespace, 'gatekeeper'::regnamespace)";
    assert_eq!(bench.client_counts(strangers).await, 0, "row security everywhere");

    // What comes late, of a day that has moved already, moves after it.
    bench.store.write(&[numbered(4)]).await.unwrap();
    assert_eq!(bench.here_and_there("eliza_activity_log").await, (2, 2));
    bench.store.maintain(later, &archiving()).await.unwrap();
    assert_eq!(bench.here_and_there("eliza_activity_log").await, (1, 3));

    let done = bench.store.maintain(now().plus(93 * DAY), &archiving()).await.unwrap();
    assert_eq!(of(&done, "eliza_activity_log_archive").partitions_dropped, 3);
}

#[tokio::test]
async fn a_day_of_which_some_came_before_moves_too() {
    let bench = migrated().await;
    // A clock was set back: there is a partition for a day that the archive has already.
    bench.store.write(&[aged(40)]).await.unwrap();
    bench.store.maintain(now(), &archiving()).await.unwrap();
    bench.store.maintain(now().minus(40 * DAY), &archiving()).await.unwrap();
    bench.store.write(&[aged(40)]).await.unwrap();
    assert_eq!(bench.here_and_there("eliza_activity_log").await, (1, 1));
    bench.store.maintain(now(), &archiving()).await.unwrap();
    assert_eq!(bench.here_and_there("eliza_activity_log").await, (0, 2));
}

/// The day of today, as a gatekeeper finds it that comes in a month.
async fn step(bench: &Bench, routine: &str, more: &str) -> String {
    let sql =
        format!("select gatekeeper.{routine}('eliza_activity_log', '-infinity', date_trunc('day', now()) + interval '1 day'{more})::text");
    sqlx::query_scalar(sqlx::AssertSqlSafe(sql)).fetch_one(&PgPool::connect(&bench.url).await.unwrap()).await.unwrap()
}

#[tokio::test]
async fn a_day_moves_only_once_it_need_not_be_read_nor_its_indexes_built() {
    let bench = migrated().await;
    bench.store.write(&[record()]).await.unwrap();
    bench.client_runs("create index by_title on eliza_activity_log_archive (title) where status <> 'completed'").await;
    let retire = async || step(&bench, "retire_partition", ", true").await;
    assert!(retire().await.ends_with(",busy)"), "a gatekeeper that has not prepared it moves nothing");
    assert_eq!(step(&bench, "prepare_partition", "").await, "true");
    assert!(retire().await.ends_with(",busy)"), "nor while nobody knows what is in it");
    assert_eq!(step(&bench, "prepare_partition", "").await, "false");
    let built = "select coalesce(sum(indexrelid::bigint), 0)::bigint from pg_index where pg_get_indexdef(indexrelid) like '%(title) WHERE%'
                 and indrelid <> 'public.eliza_activity_log_archive'::regclass";
    let before = bench.client_counts(built).await;
    assert!(before > 0, "the operators' own index is there");
    assert!(retire().await.ends_with(",archived)"));
    assert_eq!(bench.client_counts(built).await, before, "and is the one that the archive has now");
    assert_eq!(bench.here_and_there("eliza_activity_log").await, (0, 1));
}

#[tokio::test]
async fn a_day_that_cannot_be_prepared_keeps_no_other() {
    let bench = migrated().await;
    let of_day = |days| CallRecord { at: now().plus(days * DAY), ..record() };
    // Two titles alike, which an index that operators made of the archive does not take.
    bench.store.write(&[of_day(0), of_day(0), of_day(1)]).await.unwrap();
    bench.client_runs("create unique index on eliza_activity_log_archive (created_at, title)").await;
    bench.client_runs("update eliza_activity_log set created_at = date_trunc('day', created_at)").await;
    let done = bench.store.maintain(now().plus(32 * DAY), &archiving()).await.unwrap();
    let log = done.tables.iter().find(|retained| retained.table == "eliza_activity_log").unwrap();
    assert!(log.trouble.as_ref().unwrap().contains("unique"), "{log:?}");
    assert_eq!((log.partitions_archived, bench.here_and_there("eliza_activity_log").await), (1, (2, 1)));
}

#[tokio::test]
async fn whoever_reads_the_log_for_long_delays_retention_and_no_writer() {
    let bench = migrated().await;
    bench.store.write(&[record()]).await.unwrap();
    let client = PgPool::connect(&bench.url).await.unwrap();
    let mut reading = client.begin().await.unwrap();
    sqlx::query("select count(*) from eliza_activity_log").execute(&mut *reading).await.unwrap();

    let later = now().plus(31 * DAY);
    let retention = tokio::spawn({
        let (store, keep) = (bench.store.clone(), archiving());
        async move { store.maintain(later, &keep).await }
    });
    let mut slowest = Duration::ZERO;
    let since = tokio::time::Instant::now();
    while since.elapsed() < Duration::from_secs(2) {
        let asked = tokio::time::Instant::now();
        bench.store.write(&[CallRecord { at: later, ..record() }]).await.unwrap();
        slowest = slowest.max(asked.elapsed());
    }
    // Behind the reader it would be the time of the whole test, and an error.
    assert!(slowest < Duration::from_secs(5), "a writer waited {slowest:?}");
    assert!(!retention.is_finished(), "it waits for the reader");
    reading.rollback().await.unwrap();
    let done = retention.await.unwrap().unwrap();
    assert_eq!(of(&done, "eliza_activity_log").partitions_archived, 1);
    assert_eq!(of(&done, "api_call_logs").partitions_archived, 1);
}

#[tokio::test]
async fn rows_that_somebody_holds_are_no_trouble() {
    let bench = migrated().await;
    bench.store.write(&[aged(40)]).await.unwrap();
    let client = PgPool::connect(&bench.url).await.unwrap();
    let mut holding = client.begin().await.unwrap();
    sqlx::query("lock table gatekeeper.api_call_logs_default in share mode").execute(&mut *holding).await.unwrap();
    let done = bench.store.maintain(now(), &archiving()).await.unwrap();
    assert!(of(&done, "api_call_logs").busy && !of(&done, "eliza_activity_log").busy && !done.is_done());
    holding.rollback().await.unwrap();
    assert!(bench.store.maintain(now(), &archiving()).await.unwrap().is_done());
}

#[tokio::test]
async fn gatekeepers_before_may_keep_house_too() {
    let bench = migrated().await;
    let instance = Uuid::now_v7();
    let numbered = |seq, at| CallRecord { origin: Some(Origin { instance, seq }), at, ..record() };
    bench.store.write(&[numbered(1, now().minus(40 * DAY)), numbered(2, now()), numbered(3, now().plus(DAY))]).await.unwrap();
    let dropped = "select gatekeeper.drop_partitions(now() + interval '1 day', now())::bigint";
    assert_eq!((bench.client_counts(dropped).await, bench.client_counts(dropped).await), (0, 1), "prepared, then moved");
    let deleted = "select gatekeeper.delete_old_rows(now() - interval '30 days', now() - interval '30 days', now(), now(), 10)";
    assert_eq!(bench.client_counts(deleted).await, 3, "of each log, and a count");
    assert_eq!(bench.here_and_there("eliza_activity_log").await, (1, 2), "they know nothing of archives, and lose nothing for that");
    assert_eq!(bench.store.gaps(9).await.unwrap(), []);
}

#[tokio::test]
async fn archives_are_for_nobody_but_their_keepers() {
    let bench = Bench::postgres().await;
    bench.client_runs("alter default privileges in schema public grant all on tables to anon, authenticated").await;
    let bench = bench.migrated().await;
    bench.client_runs("create table ops_mission_steps (id integer, status text, updated_at timestamptz)").await;
    bench.client_runs("insert into ops_mission_steps values (1, 'failed', '2020-01-01')").await;
    bench.store.write(&[aged(40)]).await.unwrap();
    bench.store.maintain(now(), &runbook()).await.unwrap();
    assert_eq!(bench.client_counts("select count(*) from ops_mission_steps_archive").await, 1);
    for role in ["anon", "authenticated"] {
        let client = PgPool::connect(&url_as(role, &bench.url)).await.unwrap();
        for table in ["eliza_activity_log_archive", "api_call_logs_archive", "ops_mission_steps_archive"] {
            let seen = sqlx::query(sqlx::AssertSqlSafe(format!("select * from {table}"))).fetch_all(&client).await;
            assert!(seen.is_err(), "{role} reads {table}");
        }
        for routine in ["retire_partition('api_call_logs', '-infinity', 'infinity', false)", "highest_numbers('api_call_logs')"] {
            let run = sqlx::query(sqlx::AssertSqlSafe(format!("select gatekeeper.{routine}"))).fetch_all(&client).await;
            assert!(run.is_err(), "{role} runs {routine}");
        }
    }
    // Who is admitted keeps house without owning anything, and only among the logs.
    bench.client_runs("select gatekeeper.admit('reporting')").await;
    let keeper = eliza_gatekeeper::store::open(&url_as("reporting", &bench.url), crate::store_contract::OPTIONS).await.unwrap();
    let done = keeper.maintain(now().plus(33 * DAY), &archiving()).await.unwrap();
    assert_eq!(of(&done, "api_call_logs").partitions_archived, 3);
    assert!(keeper.ages(now(), &archiving()).await.unwrap().iter().all(|age| age.trouble.is_none()));
    let reporting = PgPool::connect(&url_as("reporting", &bench.url)).await.unwrap();
    let other = sqlx::query("select gatekeeper.retire_partition('security_audit', '-infinity', 'infinity', false)");
    assert!(other.execute(&reporting).await.unwrap_err().to_string().contains("no log of the gatekeeper's"));
}
