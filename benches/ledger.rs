//! Writing a batch of records down: the ways there are on PostgreSQL, side by side, and the stores' own; with what each costs the machine
//! in CPU time, ours and the server's, because that does not change with who else is at work.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, reason = "a benchmark stops and speaks for itself")]
#![allow(clippy::indexing_slicing, clippy::cast_possible_truncation, clippy::cast_possible_wrap, reason = "of numbers it made itself")]

#[path = "../tests/it/support/postgres.rs"]
#[allow(dead_code, unreachable_pub, reason = "the tests use all of it")]
mod postgres;

use std::fmt::Write as _;
use std::fs;
use std::sync::Arc;
use std::time::{Duration, Instant};

use eliza_gatekeeper::clock::{Clock, Timestamp};
use eliza_gatekeeper::identity::Origin;
use eliza_gatekeeper::store::{
    ActivityStatus, ActivityType, ApiStatus, AuditClass, CallRecord, Counted, OpenOptions, StatsKey, StatsOutcome, Store, open,
};
use sqlx::{AssertSqlSafe, PgPool, Postgres, QueryBuilder};
use uuid::Uuid;

const OPTIONS: OpenOptions = OpenOptions { pool_size: 2, max_overflow: 0 };
const ROWS: usize = 60_000;

fn main() {
    let rows = std::env::var("ROWS").ok().and_then(|rows| rows.parse().ok()).unwrap_or(ROWS);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(run(rows));
}

async fn run(rows: usize) {
    println!("{:<34} {:>6} {:>10} {:>12} {:>12} {:>9}", "way", "batch", "records/s", "ours µs/rec", "server µs/rec", "together");
    let cluster = postgres::Cluster::private();
    // As servers are: the tests' own forgets everything.
    for setting in ["fsync = on", "full_page_writes = on", "synchronous_commit = on", "max_wal_size = '4GB'"] {
        cluster.sql("postgres", &format!("alter system set {setting}"));
    }
    cluster.sql("postgres", "select pg_reload_conf()");
    for batch in [64, 512, 2048] {
        for way in ["rows of values", "unnest", "copy to a staging table", "copy into the logs", "the store"] {
            let url = cluster.database();
            let store = open(&url, OPTIONS).await.unwrap();
            store.migrate().await.unwrap();
            let pool = PgPool::connect(&url).await.unwrap();
            let server = Server::of(&pool).await;
            let written = Writing { store: &store, pool: &pool, way };
            measure(&format!("PostgreSQL, {way}"), batch, rows, Some(&server), async |records| written.write(records).await).await;
            store.close().await;
            pool.close().await;
        }
    }
    let folder = tempfile::tempdir_in(".").unwrap();
    for batch in [64, 512, 2048] {
        let url = format!("sqlite://{}", folder.path().join(format!("{batch}.db")).display());
        let store = open(&url, OPTIONS).await.unwrap();
        store.migrate().await.unwrap();
        measure("SQLite, the store", batch, rows, None, async |records| store.write(records).await.unwrap()).await;
        store.close().await;
    }
}

async fn measure(name: &str, batch: usize, rows: usize, server: Option<&Server>, write: impl AsyncFn(&[CallRecord])) {
    let instance = Uuid::now_v7();
    let batches: Vec<Vec<CallRecord>> =
        (0..rows / batch).map(|n| (0..batch).map(|k| record(instance, (n * batch + k) as u64 + 1)).collect()).collect();
    for records in &batches[..2.min(batches.len())] {
        let again: Vec<_> = records.iter().map(|known| CallRecord { id: Uuid::now_v7(), ..known.clone() }).collect();
        write(&again).await;
    }
    let (began, ours, theirs) = (Instant::now(), cpu("self"), server.map(Server::cpu));
    for records in &batches {
        write(records).await;
    }
    let records = (batches.len() * batch) as f64;
    let took = began.elapsed().as_secs_f64();
    let per = |time: Duration| time.as_secs_f64() * 1e6 / records;
    let ours = per(cpu("self") - ours);
    let theirs = server.map(|server| per(server.cpu() - theirs.unwrap_or_default())).unwrap_or_default();
    println!("{name:<34} {batch:>6} {:>10.0} {ours:>12.1} {theirs:>12.1} {:>9.1}", records / took, ours + theirs);
}

/// Of calls that take their time.
const fn took(seq: u64) -> u64 {
    80 + seq * 37 % 170
}

/// A good call as it is recorded.
fn record(instance: Uuid, seq: u64) -> CallRecord {
    let at = Clock::system().now();
    let (source, target) = (format!("agent-{}", seq % 20), format!("target-{}", seq % 8));
    let mut metadata = String::new();
    write!(
        metadata,
        r#"{{"source":"{source}","target":"{target}","action":"list_agents","execution_time_ms":{ms},"success":true,"door":"envelope","network":"203.0.113.{host}/32","request_bytes":496,"response_bytes":1832,"key":"primary","upstream_ms":{ms},"overhead_us":212,"status":200,"code":"answered","policy":"3f1c9a2b77de","trace_id":"4bf92f3577b34da6a3ce929d0e0e4736"}}"#,
        ms = took(seq),
        host = seq % 250,
    )
    .unwrap();
    CallRecord {
        id: Uuid::now_v7(),
        origin: Some(Origin { instance, seq }),
        at,
        activity_type: ActivityType::Call,
        activity_status: ActivityStatus::Completed,
        title: format!("{source} \u{2192} {target}").into(),
        description: "Action: list_agents".into(),
        metadata: metadata.into(),
        api_status: ApiStatus::Success,
        error_message: None,
        request: format!(r#"{{"target":"{target}","action":"list_agents","source":"{source}"}}"#).into(),
        caller_context: format!(r#"{{"source":"{source}","authenticated":true}}"#).into(),
        execution_ms: took(seq) as i32,
        times: 1,
        stats: StatsKey { source: source.clone().into(), target: target.clone().into(), outcome: StatsOutcome::Successful },
        counted: Some(Counted { identifier: source.into(), endpoint: format!("{target}:list_agents").into(), minute: at.floor(60) }),
        audit: AuditClass::Ordinary,
    }
}

struct Writing<'a> {
    store: &'a Arc<dyn Store>,
    pool: &'a PgPool,
    way: &'static str,
}

const LOG: &str = "id, created_at, updated_at, activity_type, status, title, description, metadata, instance, seq";
const CALLS: &str = "id, created_at, called_at, function_name, status, execution_time_ms, request_payload, caller_context";

/// The two logs alone: what beside is the same whichever way, a row or two for each batch.
impl Writing<'_> {
    async fn write(&self, records: &[CallRecord]) {
        match self.way {
            "rows of values" => self.values(records).await,
            "unnest" => self.unnest(records).await,
            "copy to a staging table" => self.staged(records).await,
            "copy into the logs" => self.copied(records).await,
            _ => self.store.write(records).await.unwrap(),
        }
    }

    async fn values(&self, records: &[CallRecord]) {
        let mut tx = self.pool.begin().await.unwrap();
        let mut insert = QueryBuilder::<Postgres>::new(format!("insert into public.eliza_activity_log ({LOG}) "));
        insert.push_values(records, |mut row, r| {
            let at = r.at.to_datetime();
            row.push_bind(r.id).push_bind(at).push_bind(at).push_bind(r.activity_type.as_str()).push_bind(r.activity_status.as_str());
            row.push_bind(&r.title).push_bind(&r.description).push_bind(&r.metadata).push_unseparated("::jsonb");
            row.push_bind(r.origin.map(|origin| origin.instance)).push_bind(r.origin.map(|origin| origin.seq as i64));
        });
        insert.push(" on conflict (id, created_at) do nothing returning id, created_at");
        insert.build().fetch_all(&mut *tx).await.unwrap();
        let mut insert = QueryBuilder::<Postgres>::new(format!("insert into public.api_call_logs ({CALLS}) "));
        insert.push_values(records, |mut row, r| {
            let at = r.at.to_datetime();
            row.push_bind(r.id).push_bind(at).push_bind(at).push_bind("eliza-gatekeeper").push_bind(r.api_status.as_str());
            row.push_bind(r.execution_ms).push_bind(&r.request).push_unseparated("::jsonb");
            row.push_bind(&r.caller_context).push_unseparated("::jsonb");
        });
        insert.push(" on conflict (id, created_at) do nothing");
        insert.build().execute(&mut *tx).await.unwrap();
        tx.commit().await.unwrap();
    }

    async fn unnest(&self, records: &[CallRecord]) {
        let mut tx = self.pool.begin().await.unwrap();
        sqlx::query(
            "insert into public.eliza_activity_log (id, created_at, updated_at, activity_type, status, title, description, metadata, instance, seq)
             select id, at, at, kind, status, title, description, metadata::jsonb, instance, seq
             from unnest($1::uuid[], $2::timestamptz[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::uuid[], $9::bigint[])
                  as given (id, at, kind, status, title, description, metadata, instance, seq)
             on conflict (id, created_at) do nothing returning id, created_at",
        )
        .bind(records.iter().map(|r| r.id).collect::<Vec<_>>())
        .bind(records.iter().map(|r| r.at.to_datetime()).collect::<Vec<_>>())
        .bind(records.iter().map(|r| r.activity_type.as_str()).collect::<Vec<_>>())
        .bind(records.iter().map(|r| r.activity_status.as_str()).collect::<Vec<_>>())
        .bind(records.iter().map(|r| &*r.title).collect::<Vec<_>>())
        .bind(records.iter().map(|r| &*r.description).collect::<Vec<_>>())
        .bind(records.iter().map(|r| &*r.metadata).collect::<Vec<_>>())
        .bind(records.iter().map(|r| r.origin.map(|origin| origin.instance)).collect::<Vec<_>>())
        .bind(records.iter().map(|r| r.origin.map(|origin| origin.seq as i64)).collect::<Vec<_>>())
        .fetch_all(&mut *tx)
        .await
        .unwrap();
        sqlx::query(
            "insert into public.api_call_logs (id, created_at, called_at, function_name, status, execution_time_ms, request_payload, caller_context)
             select id, at, at, 'eliza-gatekeeper', status, ms, request::jsonb, context::jsonb
             from unnest($1::uuid[], $2::timestamptz[], $3::text[], $4::integer[], $5::text[], $6::text[])
                  as given (id, at, status, ms, request, context)
             on conflict (id, created_at) do nothing",
        )
        .bind(records.iter().map(|r| r.id).collect::<Vec<_>>())
        .bind(records.iter().map(|r| r.at.to_datetime()).collect::<Vec<_>>())
        .bind(records.iter().map(|r| r.api_status.as_str()).collect::<Vec<_>>())
        .bind(records.iter().map(|r| r.execution_ms).collect::<Vec<_>>())
        .bind(records.iter().map(|r| &*r.request).collect::<Vec<_>>())
        .bind(records.iter().map(|r| &*r.caller_context).collect::<Vec<_>>())
        .execute(&mut *tx)
        .await
        .unwrap();
        tx.commit().await.unwrap();
    }

    async fn staged(&self, records: &[CallRecord]) {
        let mut tx = self.pool.begin().await.unwrap();
        for (log, columns, rows) in [("eliza_activity_log", LOG, log_rows(records)), ("api_call_logs", CALLS, call_rows(records))] {
            let made = format!(
                "create temp table if not exists staged_{log} on commit delete rows as select {columns} from public.{log} where false"
            );
            sqlx::raw_sql(AssertSqlSafe(made)).execute(&mut *tx).await.unwrap();
            let mut copy = tx.copy_in_raw(&format!("copy staged_{log} ({columns}) from stdin (format binary)")).await.unwrap();
            copy.send(rows).await.unwrap();
            copy.finish().await.unwrap();
            let moved = format!(
                "insert into public.{log} ({columns}) select {columns} from staged_{log} on conflict (id, created_at) do nothing returning id, created_at"
            );
            sqlx::query(AssertSqlSafe(moved)).fetch_all(&mut *tx).await.unwrap();
        }
        tx.commit().await.unwrap();
    }

    async fn copied(&self, records: &[CallRecord]) {
        let mut tx = self.pool.begin().await.unwrap();
        for (log, columns, rows) in [("eliza_activity_log", LOG, log_rows(records)), ("api_call_logs", CALLS, call_rows(records))] {
            let mut copy = tx.copy_in_raw(&format!("copy public.{log} ({columns}) from stdin (format binary)")).await.unwrap();
            copy.send(rows).await.unwrap();
            copy.finish().await.unwrap();
        }
        tx.commit().await.unwrap();
    }
}

fn log_rows(records: &[CallRecord]) -> Vec<u8> {
    let mut rows = Rows::new();
    for r in records {
        rows.row(10);
        rows.field(r.id.as_bytes());
        rows.moment(r.at);
        rows.moment(r.at);
        for text in [r.activity_type.as_str(), r.activity_status.as_str(), &r.title, &r.description] {
            rows.field(text.as_bytes());
        }
        rows.json(&r.metadata);
        let origin = r.origin.unwrap();
        rows.field(origin.instance.as_bytes());
        rows.field(&(origin.seq as i64).to_be_bytes());
    }
    rows.end()
}

fn call_rows(records: &[CallRecord]) -> Vec<u8> {
    let mut rows = Rows::new();
    for r in records {
        rows.row(8);
        rows.field(r.id.as_bytes());
        rows.moment(r.at);
        rows.moment(r.at);
        rows.field(b"eliza-gatekeeper");
        rows.field(r.api_status.as_str().as_bytes());
        rows.field(&r.execution_ms.to_be_bytes());
        rows.json(&r.request);
        rows.json(&r.caller_context);
    }
    rows.end()
}

/// PostgreSQL's binary form of rows for COPY.
struct Rows(Vec<u8>);

impl Rows {
    fn new() -> Self {
        let mut bytes = b"PGCOPY\n\xff\r\n\0".to_vec();
        bytes.extend([0; 8]);
        Self(bytes)
    }

    fn row(&mut self, fields: i16) {
        self.0.extend(fields.to_be_bytes());
    }

    fn field(&mut self, bytes: &[u8]) {
        self.0.extend((bytes.len() as i32).to_be_bytes());
        self.0.extend(bytes);
    }

    fn moment(&mut self, at: Timestamp) {
        self.field(&(at.as_micros() - 946_684_800_000_000).to_be_bytes());
    }

    fn json(&mut self, json: &str) {
        self.0.extend((json.len() as i32 + 1).to_be_bytes());
        self.0.push(1);
        self.0.extend(json.as_bytes());
    }

    fn end(mut self) -> Vec<u8> {
        self.0.extend((-1_i16).to_be_bytes());
        self.0
    }
}

/// All processes of a server.
struct Server {
    postmaster: String,
}

impl Server {
    async fn of(pool: &PgPool) -> Self {
        let folder: String = sqlx::query_scalar("show data_directory").fetch_one(pool).await.unwrap();
        let pid = fs::read_to_string(format!("{folder}/postmaster.pid")).unwrap();
        Self { postmaster: pid.lines().next().unwrap().to_owned() }
    }

    fn cpu(&self) -> Duration {
        let processes = fs::read_dir("/proc").unwrap().flatten().map(|entry| entry.file_name().to_string_lossy().into_owned());
        let children = processes.filter(|name| fields(name).is_some_and(|fields| fields[1] == self.postmaster));
        children.map(|name| cpu(&name)).sum()
    }
}

/// What stands behind the name in `/proc/…/stat`.
fn fields(process: &str) -> Option<Vec<String>> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    Some(stat.rsplit_once(") ")?.1.split(' ').map(str::to_owned).collect())
}

/// The CPU time of a process; ticks are hundredths of a second.
fn cpu(process: &str) -> Duration {
    let Some(fields) = fields(process) else { return Duration::ZERO };
    let ticks: u64 = fields[11..13].iter().map(|ticks| ticks.parse::<u64>().unwrap()).sum();
    Duration::from_millis(ticks * 10)
}
