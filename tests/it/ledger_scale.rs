//! The tables at scale: what the runbook asks is found by partitions and indexes, statistics never read the logs, and retention over all
//! of it keeps no writer waiting and gives space back at once. 200,000 calls in a test; `make bench-ledger` does the same with 10 million
//! and prints what it measures.
#![allow(clippy::print_stdout, reason = "what is measured is shown to whoever measures")]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use eliza_gatekeeper::retention::{Age, Archive, Keep, Span};
use eliza_gatekeeper::store::{CallRecord, Store, open};
use serde_json::Value;
use sqlx::{AssertSqlSafe, PgPool, SqlitePool};
use tokio::sync::watch;

use crate::ledger_faults::Site;
use crate::ledger_faults::load::Load;
use crate::store_contract::{OPTIONS, keep, now, record};
use crate::support::cores::{keep_all_on, keep_on};
use crate::support::postgres::Cluster;

const DAY: Duration = Duration::from_secs(86_400);
const ROWS: i64 = 200_000;

/// Calls that are made up, and how patient to be: who measures has the machine to themselves, who tests shares it.
struct Scale {
    rows: i64,
    is_measured: bool,
}

fn scale() -> Scale {
    match std::env::var("LEDGER_ROWS").ok().map(|rows| rows.parse().unwrap()) {
        Some(rows) => Scale { rows, is_measured: true },
        None => Scale { rows: ROWS, is_measured: false },
    }
}

/// What somebody asks, in how many of the log's partitions it may look, and how long it may take with 10 million calls.
struct Asked {
    name: &'static str,
    sql: &'static str,
    partitions: usize,
    within: Duration,
}

const fn asked(name: &'static str, sql: &'static str, partitions: usize, millis: u64) -> Asked {
    Asked { name, sql, partitions, within: Duration::from_millis(millis) }
}

/// Statistics are a year old and of forty pairs of source and target.
const NONE: usize = 0;
/// Today's and yesterday's, those made ahead, which are empty, and the one for days that have none.
const LATELY: usize = 11;
const ALL: usize = usize::MAX;

const QUESTIONS: [Asked; 11] = [
    asked("000_01 statistics", include_str!("runbook_sql/000_01_L24.sql"), NONE, 100),
    asked("000_02 errors, newest first", include_str!("runbook_sql/000_02_L30.sql"), ALL, 50),
    asked("000_03 who called much", include_str!("runbook_sql/000_03_L38.sql"), NONE, 50),
    asked("000_08 counts, and of one", include_str!("runbook_sql/000_08_L294.sql"), NONE, 50),
    asked("000_11 health summary", include_str!("runbook_sql/000_11_L413.sql"), 2 * LATELY, 250),
    asked(
        "000_12 calls of the last hour",
        "select count(*) from eliza_activity_log where created_at > now() - interval '1 hour'",
        LATELY,
        100,
    ),
    asked("000_13 errors of a day", include_str!("runbook_sql/000_13_L534.sql"), LATELY, 500),
    asked(
        "calls tail",
        "select id, title from eliza_activity_log
         where activity_type in ('gatekeeper_call', 'gatekeeper_denied', 'schema_protection', 'gatekeeper_error')
         order by created_at desc, id desc limit 20",
        ALL,
        50,
    ),
    asked("bypasses that are open", "select * from eliza_activity_log where activity_type = 'manual_bypass' and status = 'open'", ALL, 50),
    asked("a call by its id", "select * from eliza_activity_log where id = (select id from api_call_logs limit 1)", ALL, 50),
    asked("gaps", "select * from gatekeeper_log_gaps", ALL, 10_000),
];

#[tokio::test(flavor = "multi_thread")]
async fn the_tables_stand_their_size() {
    let scale = scale();
    let cluster = Cluster::private();
    let url = cluster.database();
    let store = open(&url, OPTIONS).await.unwrap();
    store.migrate().await.unwrap();
    let client = PgPool::connect(&url).await.unwrap();
    let took = fill(&client, scale.rows).await;
    // Every hour of the year before has had its rounds.
    let nothing_goes = store.maintain(now(), &keep(90, 90, 90)).await.unwrap();
    assert_eq!(nothing_goes.troubles().collect::<Vec<_>>(), []);
    sqlx::raw_sql("vacuum analyze gatekeeper.call_stats").execute(&client).await.unwrap();
    println!("{} calls, {} of rows, made in {took:.0?}", scale.rows, size(&client).await);

    // Asked as on a server that forgets nothing when it fails.
    for setting in ["fsync = on", "full_page_writes = on", "synchronous_commit = on"] {
        cluster.sql("postgres", &format!("alter system set {setting}"));
    }
    cluster.sql("postgres", "select pg_reload_conf()");
    let pages: i64 =
        number(&client, "select sum(relpages)::bigint from pg_class where relname like 'eliza_activity_log_2%' and relkind = 'r'").await;
    for question in &QUESTIONS {
        for statement in statements(question.sql) {
            answer(&client, question, &statement, pages, &scale).await;
        }
    }
    assert_eq!(store.gaps(9).await.unwrap(), [], "nothing of it is missing");
    // As where the database has a machine of its own: what it does with all its power is no call's core.
    let cores = std::thread::available_parallelism().unwrap().get();
    if scale.is_measured && cores > 1 && keep_all_on("0", cluster.process()) {
        assert!(keep_on(&format!("1-{}", cores - 1), std::process::id()));
        println!("the database on the first of {cores} cores, the gatekeeper and its callers on the others");
    }
    let_go(&store, &client, &url, &scale).await;
}

/// The statements of a block that is pasted.
fn statements(block: &str) -> Vec<String> {
    let code: String = block.lines().filter(|line| !line.trim_start().starts_with("--")).map(|line| format!("{line}\n")).collect();
    code.split(';').map(str::trim).filter(|statement| !statement.is_empty()).map(str::to_owned).collect()
}

async fn number(client: &PgPool, sql: &str) -> i64 {
    sqlx::query_scalar(AssertSqlSafe(sql)).fetch_one(client).await.unwrap()
}

async fn size(client: &PgPool) -> String {
    sqlx::query_scalar("select pg_size_pretty(pg_database_size(current_database()))").fetch_one(client).await.unwrap()
}

/// Thirty days of calls up to now, by ten runs of a gatekeeper, in the order in which they would have come.
async fn fill(client: &PgPool, rows: i64) -> Duration {
    let began = Instant::now();
    let run = async |sql: String| sqlx::raw_sql(AssertSqlSafe(sql)).execute(client).await.unwrap();
    run("select gatekeeper.make_partitions(current_date - 31, 39)".into()).await;
    run(format!(
        "create function made(part bigint, parts bigint) returns table (
             n bigint, id uuid, at timestamptz, kind text, source text, target text, ms integer, instance uuid, seq bigint
         ) language sql stable as $$
             select n, (lpad(to_hex((extract(epoch from at) * 1000)::bigint), 12, '0') || '7' || substr(md5(n::text), 1, 3)
                        || '8' || substr(md5(n::text), 4, 15))::uuid,
                    at,
                    case when n % 200 = 0 then 'schema_protection' when n % 200 < 7 then 'gatekeeper_error'
                         when n % 200 < 17 then 'gatekeeper_denied' else 'gatekeeper_call' end,
                    'agent-' || n % 20, 'target-' || n % 8, (n % 400)::integer,
                    md5((n / ({rows} / 10))::text)::uuid, n % ({rows} / 10) + 1
             from generate_series(part * ({rows} / parts), (part + 1) * ({rows} / parts) - 1) as n
             cross join lateral (select now() - interval '30 days' * (1 - n::float8 / {rows}) as at) as moment
         $$"
    ))
    .await;
    for part in 0..40 {
        run(format!(
            "insert into eliza_activity_log (id, created_at, updated_at, activity_type, status, title, description, metadata, instance, seq)
             select id, at, at, kind, case when kind = 'gatekeeper_call' then 'completed' else 'error' end,
                    source || ' → ' || target, 'Action: list_agents',
                    jsonb_build_object('source', source, 'target', target, 'action', 'list_agents', 'execution_time_ms', ms,
                                       'success', kind = 'gatekeeper_call', 'door', 'envelope', 'network', '203.0.113.7/32',
                                       'request_bytes', 496, 'response_bytes', 1832, 'key', 'primary', 'upstream_ms', ms,
                                       'overhead_us', 212, 'status', 200, 'code', 'answered', 'policy', '3f1c9a2b77de'),
                    instance, seq
             from made({part}, 40)"
        ))
        .await;
        run(format!(
            "insert into api_call_logs (id, created_at, called_at, function_name, status, execution_time_ms, error_message,
                                        request_payload, caller_context)
             select id, at, at, 'eliza-gatekeeper', case when kind = 'gatekeeper_call' then 'success' else 'error' end, ms,
                    case when kind <> 'gatekeeper_call' then 'the target answered ' || 400 + n % 100 end,
                    jsonb_build_object('source', source, 'target', target, 'action', 'list_agents'),
                    jsonb_build_object('source', source, 'authenticated', true)
             from made({part}, 40)"
        ))
        .await;
        run(format!(
            "insert into rate_limits (identifier, endpoint, window_start, request_count)
             select source, target || ':list_agents', date_trunc('minute', at), count(*)
             from made({part}, 40) where n % 4 = 0 group by 1, 2, 3 on conflict do nothing"
        ))
        .await;
    }
    run("insert into gatekeeper.instances (instance, started_at, through)
         select instance, min(created_at), max(seq) from eliza_activity_log group by 1;
         insert into gatekeeper.call_stats
             select date_trunc('hour', created_at), 'agent-' || n % 20, 'target-' || n % 8, 900, 30, 50, 180000, created_at, created_at
             from generate_series(now() - interval '1 year', now(), '1 hour') as created_at cross join generate_series(1, 40) as n;
         insert into gatekeeper.call_durations
             select created_at::date, 'agent-' || n % 20, 'target-' || n % 8, up_to_ms, 150
             from generate_series(now() - interval '1 year', now(), '1 day') as created_at cross join generate_series(1, 40) as n
             cross join unnest(array[10, 20, 50, 200, 500, 2000]) as up_to_ms"
        .into())
    .await;
    run("vacuum analyze".into()).await;
    began.elapsed()
}

/// What an answer's plan says.
#[derive(Default)]
struct Plan {
    /// Tables of which something was read.
    read: BTreeSet<String>,
    /// Of those, the ones that were read from end to end.
    scanned: BTreeSet<String>,
}

impl Plan {
    fn take(&mut self, node: &Value) {
        if node["Actual Loops"].as_f64().unwrap_or_default() > 0.0
            && let Some(table) = node["Relation Name"].as_str()
        {
            self.read.insert(table.to_owned());
            if node["Node Type"].as_str().unwrap().contains("Seq Scan") {
                self.scanned.insert(table.to_owned());
            }
        }
        node["Plans"].as_array().into_iter().flatten().for_each(|below| self.take(below));
    }
}

fn is_log(table: &str) -> bool {
    table.starts_with("eliza_activity_log") || table.starts_with("api_call_logs")
}

async fn answer(client: &PgPool, question: &Asked, sql: &str, pages: i64, scale: &Scale) {
    let Asked { name, partitions, within, .. } = question;
    let explain = format!("explain (analyze, buffers, format json) {sql}");
    // Twice: the first finds the server cold.
    let mut explained = Value::Null;
    for _ in 0..2 {
        explained = sqlx::query_scalar(AssertSqlSafe(explain.as_str())).fetch_one(client).await.unwrap();
    }
    let (root, mut plan) = (&explained[0]["Plan"], Plan::default());
    plan.take(root);
    let read = ["Shared Hit Blocks", "Shared Read Blocks"].iter().map(|blocks| root[*blocks].as_i64().unwrap()).sum::<i64>();
    let millis = explained[0]["Execution Time"].as_f64().unwrap();
    let logs: Vec<_> = plan.read.iter().filter(|table| is_log(table)).collect();
    println!("{name:<30} {millis:>9.2} ms {read:>8} pages of {pages}, {} partitions", logs.len());

    assert!(logs.len() <= *partitions, "{name} looks into {logs:?}");
    let small = "select relname::text from pg_class where relpages < 500";
    let small: Vec<String> = sqlx::query_scalar(small).fetch_all(client).await.unwrap();
    let large: Vec<_> = plan.scanned.iter().filter(|table| is_log(table) && !small.contains(table)).collect();
    assert!(large.is_empty(), "{name} reads all of {large:?}");
    if *partitions > 0 && *name != "gaps" {
        // A day of thirty-one, and what finds it.
        assert!(read < pages / 10 + 2_000, "{name} reads {read} of {pages} pages");
    }
    let patience = if scale.is_measured { *within } else { *within * 5 + Duration::from_millis(500) };
    assert!(millis < patience.as_secs_f64() * 1000.0, "{name} takes {millis} ms");
}

/// Ten days stay, ten go to the archive, and ten for good.
async fn let_go(store: &Arc<dyn Store>, client: &PgPool, url: &str, scale: &Scale) {
    let log = Span { here: Age::Days(10 * DAY), archive: Archive::Until(Age::Days(20 * DAY)) };
    let ten_days = Keep { activity: log, api_calls: log, ..keep(30, 30, 30) };
    let calm = Duration::from_secs(if scale.is_measured { 20 } else { 3 });

    let (stop, _) = watch::channel(false);
    // Calls, through a gatekeeper that itself lets nothing go, and batches beside them.
    let site = Site::with(Some(url.to_owned()), &[("activity", "80d"), ("api_calls", "80d"), ("rate_limits", "80d")]).await;
    let serving = site.serve().await;
    let (calling, load) = (Instant::now(), Load::steady(serving.data, 16, 200));
    let writers: Vec<_> = (0..2).map(|_| tokio::spawn(write_until(Arc::clone(store), stop.subscribe()))).collect();
    tokio::time::sleep(calm).await;
    // What the disk holds of both logs and their archives.
    let space =
        "select sum(pg_total_relation_size(oid))::bigint from pg_class where relkind = 'r' and relname ~ '^(eliza_activity|api_call)_log'";
    let before = number(client, space).await;
    let began = Instant::now();
    let done = store.maintain(now(), &ten_days).await.unwrap();
    let ended = Instant::now();
    let after = number(client, space).await;
    tokio::time::sleep(calm).await;
    stop.send(true).unwrap();
    let mut waits = Vec::new();
    for writer in writers {
        waits.extend(writer.await.unwrap());
    }
    let calls = load.end().await.all(200).whole.into_iter().map(|call| (calling + call.due, call.took)).collect();
    serving.stop().await.expect(0);
    assert_eq!(done.troubles().collect::<Vec<_>>(), []);
    let days = |table: &str| done.tables.iter().find(|retained| retained.table == table).unwrap();
    for log in ["eliza_activity_log", "api_call_logs"] {
        let (archived, dropped) = (days(log).partitions_archived, days(log).partitions_dropped);
        // Empty ones, of the days before the first call, go too.
        assert!((9..=11).contains(&archived) && (10..=13).contains(&dropped), "{log}: {archived} archived, {dropped} dropped");
    }

    println!("retention: {:.1?}; {} MB before, {} MB after", ended - began, before >> 20, after >> 20);
    assert!(after < before / 4 * 3, "a third of the rows is gone, and its space: {before} before, {after} after");
    for (what, waits) in [("a call", calls), ("a batch written", waits)] {
        let (during, calm): (Vec<_>, Vec<_>) = waits.into_iter().partition(|(at, took)| *at + *took >= began && *at <= ended);
        let parts = calm_parts(&calm, ended - began);
        let (during, calm) = (Waits::of(during), Waits::of(calm));
        println!("{what}: {calm:?} otherwise, {during:?} meanwhile; p99 of as short a time otherwise: {parts:?}");
        // What is measured is noise and a lock that nobody waits longer for than a tenth of a second.
        let most = if scale.is_measured { calm.p99 * 2 + Duration::from_millis(20) } else { KEPT_WAITING };
        assert!(during.p99 <= most, "{what}: {during:?} during retention, {calm:?} otherwise");
    }
    assert_eq!(store.gaps(9).await.unwrap(), [], "what went is no gap");
}

/// The p99 of every part of the calm time that is as long as this, from the least to the greatest: what is noise.
fn calm_parts(calm: &[(Instant, Duration)], long: Duration) -> Vec<Duration> {
    let Some(begun) = calm.iter().map(|(at, _)| *at).min() else { return Vec::new() };
    let mut parts = BTreeMap::<u128, Vec<(Instant, Duration)>>::new();
    for one in calm {
        parts.entry((one.0 - begun).as_nanos() / long.as_nanos()).or_default().push(*one);
    }
    let mut all: Vec<Duration> = parts.into_values().map(|part| Waits::of(part).p99).collect();
    all.sort_unstable();
    all
}

async fn write_until(store: Arc<dyn Store>, stop: watch::Receiver<bool>) -> Vec<(Instant, Duration)> {
    let mut waits = Vec::new();
    while !*stop.borrow() {
        let batch: Vec<CallRecord> = (0..64).map(|_| record()).collect();
        let asked = Instant::now();
        store.write(&batch).await.unwrap();
        waits.push((asked, asked.elapsed()));
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    waits
}

#[derive(Debug)]
#[allow(dead_code, reason = "all of it is printed")]
struct Waits {
    number: usize,
    p50: Duration,
    p99: Duration,
    slowest: Duration,
}

impl Waits {
    fn of(waits: Vec<(Instant, Duration)>) -> Self {
        let mut waits: Vec<Duration> = waits.into_iter().map(|(_, took)| took).collect();
        waits.sort_unstable();
        let at = |share: usize| waits[(waits.len() - 1) * share / 100];
        Self { number: waits.len(), p50: at(50), p99: at(99), slowest: at(100) }
    }
}

/// Whoever had to wait for retention itself would wait longer, however busy the machine is that runs the tests.
const KEPT_WAITING: Duration = Duration::from_secs(5);

#[tokio::test]
async fn on_sqlite_no_question_reads_a_whole_log() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}", folder.path().join("gatekeeper.db").display());
    open(&url, OPTIONS).await.unwrap().migrate().await.unwrap();
    let client = SqlitePool::connect(&url).await.unwrap();
    for question in [
        "select * from eliza_activity_log where id = 'a'",
        "select * from api_call_logs where id = 'a'",
        "select * from eliza_activity_log join api_call_logs using (id, created_at) where id = 'a'",
        "select count(*) from eliza_activity_log where created_at > datetime('now', '-1 hour')",
        "select * from eliza_activity_log where activity_type in ('gatekeeper_error', 'schema_protection') order by created_at desc limit 20",
        "select * from eliza_activity_log order by created_at desc, id desc limit 20",
        "select error_message, count(*) from api_call_logs where status = 'error' and created_at > datetime('now', '-1 day') group by 1",
        "select * from api_call_logs order by created_at desc limit 20",
        "select min(created_at) from api_call_logs where created_at < datetime('now', '-30 days')",
        "select * from eliza_activity_log_archive join api_call_logs_archive using (id) where id = 'a'",
        "select * from api_call_logs_archive where created_at > datetime('now', '-60 days') order by created_at desc",
    ] {
        let plan: Vec<(i64, i64, i64, String)> =
            sqlx::query_as(AssertSqlSafe(format!("explain query plan {question}"))).fetch_all(&client).await.unwrap();
        let steps: Vec<_> = plan.iter().map(|(.., step)| step.as_str()).collect();
        let by_index = |step: &&str| !step.starts_with("SCAN") || step.contains("INDEX");
        assert!(steps.iter().any(|step| step.contains("INDEX")) && steps.iter().all(by_index), "{question}: {steps:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn on_sqlite_old_rows_go_between_two_batches() {
    let scale = scale();
    let (rows, calm) = if scale.is_measured { (scale.rows / 10, 10) } else { (50_000, 2) };
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let url = format!("sqlite://{}", folder.path().join("gatekeeper.db").display());
    let store = open(&url, OPTIONS).await.unwrap();
    store.migrate().await.unwrap();
    let client = SqlitePool::connect(&url).await.unwrap();
    let made = |log: &str, columns: &str, values: &str| {
        format!(
            "with recursive made (n) as (select 0 union all select n + 1 from made where n + 1 < {rows})
             insert into {log} (id, created_at, {columns})
             select printf('%08x-0000-7000-8000-%012x', n, n),
                    strftime('%Y-%m-%d %H:%M:%f', 'now', printf('-%d seconds', 30 * 86400 - cast(n * (30 * 86400.0 / {rows}) as integer))) || '000',
                    {values}
             from made"
        )
    };
    let metadata = "json_object('source', 'agent', 'target', 'target', 'action', 'list_agents', 'success', 1, 'network', '203.0.113.7/32')";
    for sql in [
        made("eliza_activity_log", "activity_type, title, metadata", &format!("'gatekeeper_call', 'agent → target', {metadata}")),
        made("api_call_logs", "function_name, status, request_payload", &format!("'eliza-gatekeeper', 'success', {metadata}")),
    ] {
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(&client).await.unwrap();
    }
    client.close().await;

    let log = Span { here: Age::Days(10 * DAY), archive: Archive::Until(Age::Days(20 * DAY)) };
    let ten_days = Keep { activity: log, api_calls: log, ..keep(30, 30, 30) };
    let (stop, stopped) = watch::channel(false);
    let writer = tokio::spawn(write_until(Arc::clone(&store), stopped));
    tokio::time::sleep(Duration::from_secs(calm)).await;
    let began = Instant::now();
    let done = store.maintain(now(), &ten_days).await.unwrap();
    let ended = Instant::now();
    tokio::time::sleep(Duration::from_secs(calm)).await;
    stop.send(true).unwrap();
    let (during, calm): (Vec<_>, Vec<_>) = writer.await.unwrap().into_iter().partition(|(at, took)| *at + *took >= began && *at <= ended);
    let (during, calm) = (Waits::of(during), Waits::of(calm));
    println!("SQLite, {rows} calls; retention: {:.1?}", ended - began);
    println!("a batch written: {calm:?} otherwise, {during:?} meanwhile");
    assert_eq!(done.troubles().collect::<Vec<_>>(), []);
    let third = u64::try_from(rows / 3).unwrap();
    let gone = &done.tables[0];
    assert!(gone.rows_archived.abs_diff(third) < third / 10 && gone.rows_deleted.abs_diff(third) < third / 10, "{gone:?}");
    // A step and a batch take turns.
    let most = if scale.is_measured { calm.p99 * 5 + Duration::from_millis(300) } else { KEPT_WAITING };
    assert!(during.p99 < most, "{during:?} during retention, {calm:?} otherwise");
}
