//! One store, whichever database it lies in: what is written is there once and whole, stats and counts are right to the call, a
//! change somebody makes in the database is heard of, and letting go of old rows takes nothing else with it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use eliza_gatekeeper::audit::{Actor, AuditAction, AuditEntry};
use eliza_gatekeeper::clock::{Clock, Timestamp};
use eliza_gatekeeper::identity::{KeyHash, KeyId, Origin};
use eliza_gatekeeper::retention::Span;
use eliza_gatekeeper::store::{
    ActivityStatus, ActivityType, ApiStatus, AuditClass, CallQuery, CallRecord, Counted, EndpointCount, Keep, Maintained, OpenOptions,
    Signal, SignalCursor, StatsKey, StatsOutcome, Store, StoreError, StoredKey, open,
};
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, PgPool, SqlitePool};
use tempfile::TempDir;
use uuid::Uuid;

use crate::support::postgres;

macro_rules! on_both {
    ($($promise:ident),+ $(,)?) => {
        mod on_sqlite {
            $(#[tokio::test] async fn $promise() { super::$promise(super::Bench::sqlite().await).await })+
        }
        mod on_postgres {
            $(#[tokio::test] async fn $promise() { super::$promise(super::Bench::postgres().await).await })+
        }
    };
}
pub(crate) use on_both;

on_both!(
    a_call_leaves_its_rows,
    a_record_counts_once_however_often_it_is_written,
    many_at_once_count_once_too,
    two_writers_of_the_same_records_count_them_once,
    a_folded_record_counts_for_all_it_stands_for,
    stats_are_right_to_the_call,
    stats_tell_how_long_calls_take_and_what_they_are_about,
    stats_of_hours_long_past_are_those_of_days,
    what_callers_send_cannot_keep_a_record_out,
    counts_are_kept_and_summed,
    a_count_never_overflows,
    deleting_counts_is_heard_of,
    counts_of_former_days_go_unheard,
    keys_live_and_end,
    changes_of_keys_are_heard_of_but_not_their_use,
    calls_are_found,
    a_call_is_found_by_any_id,
    other_programs_may_log_too,
    old_rows_go_and_stats_stay,
    counts_of_today_are_kept_whatever_policy_says,
    migrations_are_told_before_and_after,
    gatekeepers_may_start_at_once,
);

pub const OPTIONS: OpenOptions = OpenOptions { pool_size: 4, max_overflow: 2 };
const MINUTE: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(86_400);

/// A store, and a way around it: what an operator's own client sees and does.
pub struct Bench {
    pub url: String,
    pub store: Arc<dyn Store>,
    client: Client,
    _folder: Option<TempDir>,
}

enum Client {
    Sqlite(SqlitePool),
    Postgres(PgPool),
}

impl Bench {
    pub async fn sqlite() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}", folder.path().join("deep/down/gatekeeper.db").display());
        let store = open(&url, OPTIONS).await.unwrap();
        Self { client: Client::Sqlite(SqlitePool::connect_lazy(&url).unwrap()), store, url, _folder: Some(folder) }
    }

    pub async fn postgres() -> Self {
        let url = postgres::database();
        let store = open(&url, OPTIONS).await.unwrap();
        Self { client: Client::Postgres(PgPool::connect_lazy(&url).unwrap()), store, url, _folder: None }
    }

    pub async fn migrated(self) -> Self {
        self.store.migrate().await.unwrap();
        self
    }

    pub async fn client_runs(&self, sql: &str) {
        match &self.client {
            Client::Sqlite(pool) => drop(sqlx::raw_sql(AssertSqlSafe(sql)).execute(pool).await.unwrap()),
            Client::Postgres(pool) => drop(sqlx::raw_sql(AssertSqlSafe(sql)).execute(pool).await.unwrap()),
        }
    }

    pub async fn client_counts(&self, sql: &str) -> i64 {
        match &self.client {
            Client::Sqlite(pool) => sqlx::query_scalar(AssertSqlSafe(sql)).fetch_one(pool).await.unwrap(),
            Client::Postgres(pool) => sqlx::query_scalar(AssertSqlSafe(sql)).fetch_one(pool).await.unwrap(),
        }
    }

    /// False if the database refuses.
    pub async fn client_may(&self, sql: &str) -> bool {
        match &self.client {
            Client::Sqlite(pool) => sqlx::raw_sql(AssertSqlSafe(sql)).execute(pool).await.is_ok(),
            Client::Postgres(pool) => sqlx::raw_sql(AssertSqlSafe(sql)).execute(pool).await.is_ok(),
        }
    }

    /// How a table of the gatekeeper's own is called.
    pub fn own(&self, table: &str) -> String {
        if self.url.starts_with("sqlite") { format!("gatekeeper_{table}") } else { format!("gatekeeper.{table}") }
    }

    async fn stats(&self) -> Vec<Stat> {
        let sql = "select source, target, total_calls, successful_calls, failed_calls, denied_calls, \
                   cast(round(avg_duration_ms * 100) as bigint) as hundredths from eliza_gatekeeper_stats order by source, target";
        match &self.client {
            Client::Sqlite(pool) => sqlx::query_as(sql).fetch_all(pool).await.unwrap(),
            Client::Postgres(pool) => sqlx::query_as(sql).fetch_all(pool).await.unwrap(),
        }
    }

    pub async fn heard_since(&self, cursor: &SignalCursor) -> Vec<Signal> {
        self.store.signals_after(cursor).await.unwrap().0
    }
}

/// A row of `eliza_gatekeeper_stats`, its average in hundredths of a millisecond.
#[derive(Clone, Debug, PartialEq, sqlx::FromRow)]
struct Stat {
    source: String,
    target: String,
    total_calls: i64,
    successful_calls: i64,
    failed_calls: i64,
    denied_calls: i64,
    hundredths: Option<i64>,
}

fn stat(source: &str, target: &str, [successful, failed, denied]: [i64; 3], hundredths: Option<i64>) -> Stat {
    Stat {
        source: source.into(),
        target: target.into(),
        total_calls: successful + failed + denied,
        successful_calls: successful,
        failed_calls: failed,
        denied_calls: denied,
        hundredths,
    }
}

pub fn now() -> Timestamp {
    Clock::system().now()
}

/// A call that went well, now; tests change what they are about.
pub fn record() -> CallRecord {
    let at = now();
    CallRecord {
        id: Uuid::now_v7(),
        origin: None,
        at,
        activity_type: ActivityType::Call,
        activity_status: ActivityStatus::Completed,
        title: "gemini-chat → python-executor".into(),
        description: "Action: run".into(),
        metadata: json!({ "source": "gemini-chat", "target": "python-executor", "action": "run", "success": true }).to_string().into(),
        api_status: ApiStatus::Success,
        error_message: None,
        request: json!({ "target": "python-executor", "action": "run", "source": "gemini-chat" }).to_string().into(),
        caller_context: json!({ "source": "gemini-chat", "authenticated": true }).to_string().into(),
        execution_ms: 120,
        times: 1,
        stats: StatsKey { source: "gemini-chat".into(), target: "python-executor".into(), outcome: StatsOutcome::Successful },
        counted: Some(counted(at, "gemini-chat", "python-executor:run")),
        audit: AuditClass::Ordinary,
    }
}

/// So many days of each, and no archive.
pub const fn keep(activity: u32, api_calls: u32, rate_limits: u32) -> Keep {
    const fn days(days: u32) -> Duration {
        Duration::from_secs(86_400 * days as u64)
    }
    Keep { activity: Span::of(days(activity)), api_calls: Span::of(days(api_calls)), rate_limits: days(rate_limits), tables: Vec::new() }
}

/// Single rows that are gone for good, of all tables.
pub fn deleted(done: &Maintained) -> u64 {
    assert_eq!(done.troubles().collect::<Vec<_>>(), []);
    done.tables.iter().map(|retained| retained.rows_deleted).sum()
}

/// Days that are gone for good, of both logs.
pub fn dropped(done: &Maintained) -> u32 {
    assert_eq!(done.troubles().collect::<Vec<_>>(), []);
    done.tables.iter().map(|retained| retained.partitions_dropped).sum()
}

pub fn counted(at: Timestamp, identifier: &str, endpoint: &str) -> Counted<'static> {
    Counted { identifier: identifier.to_owned().into(), endpoint: endpoint.to_owned().into(), minute: at.floor(60) }
}

/// An entry about whatever is changed.
pub fn audited() -> AuditEntry {
    AuditEntry::new(now(), &Actor::named("alice"), AuditAction::KeyMade, "k")
}

fn key(name: &str) -> StoredKey {
    StoredKey {
        id: KeyId::new(name),
        name: format!("key of {name}"),
        hash: KeyHash::of(name.as_bytes()),
        sources: vec!["gemini-*".into(), "with \"quotes\", and {braces}".into()],
        targets: vec![],
        actions: vec!["run".into()],
        created_at: Timestamp::from_secs(1_700_000_000),
        not_before: Some(Timestamp::from_micros(1_700_000_000_000_001)),
        expires_at: None,
        revoked_at: None,
        last_used_at: None,
    }
}

async fn a_call_leaves_its_rows(bench: Bench) {
    let bench = bench.migrated().await;
    let call = record();
    let refused = CallRecord {
        id: Uuid::now_v7(),
        activity_type: ActivityType::SchemaProtection,
        activity_status: ActivityStatus::Blocked,
        api_status: ApiStatus::Error,
        error_message: Some("Dangerous operation blocked".into()),
        metadata: json!({ "source": "gemini-chat", "pattern": "/TRUNCATE/i", "sql": "TRUNCATE users" }).to_string().into(),
        stats: StatsKey { outcome: StatsOutcome::Denied, ..record().stats },
        ..record()
    };
    bench.store.write(&[call.clone(), refused.clone()]).await.unwrap();

    let row = bench.store.call(call.id).await.unwrap().unwrap();
    assert_eq!((row.id, row.at), (call.id, call.at));
    assert_eq!((row.activity_type.as_str(), row.status.as_str()), ("gatekeeper_call", "completed"));
    assert_eq!((row.title.as_str(), row.description.as_str()), (&*call.title, &*call.description));
    assert_eq!(row.metadata, serde_json::from_str::<Value>(&call.metadata).unwrap());
    assert_eq!(bench.store.call(refused.id).await.unwrap().unwrap().activity_type, "schema_protection");

    let api = |condition: &str| format!("select count(*) from api_call_logs where function_name = 'eliza-gatekeeper' and {condition}");
    let by_id = format!("id = '{}' and status = 'success' and execution_time_ms = 120 and error_message is null", call.id);
    assert_eq!(bench.client_counts(&api(&by_id)).await, 1);
    assert_eq!(bench.client_counts(&api("status = 'error' and error_message = 'Dangerous operation blocked'")).await, 1);
    assert_eq!(bench.client_counts(&api("response_data is null and called_at = created_at")).await, 2);
    assert_eq!(bench.client_counts("select count(*) from eliza_activity_log where not mentioned_to_user").await, 2);
    assert_eq!(bench.stats().await, [stat("gemini-chat", "python-executor", [1, 0, 1], Some(12_000))]);
}

async fn a_record_counts_once_however_often_it_is_written(bench: Bench) {
    let bench = bench.migrated().await;
    let (first, second, third) = (record(), record(), record());
    bench.store.write(&[first.clone(), second.clone(), first.clone()]).await.unwrap();
    bench.store.write(&[first.clone(), second.clone()]).await.unwrap();
    bench.store.write(&[second.clone(), third.clone(), third.clone(), first.clone()]).await.unwrap();
    bench.store.write(&[]).await.unwrap();

    assert_eq!(bench.stats().await, [stat("gemini-chat", "python-executor", [3, 0, 0], Some(12_000))]);
    assert_eq!(bench.client_counts("select count(*) from eliza_activity_log").await, 3);
    assert_eq!(bench.client_counts("select count(*) from api_call_logs").await, 3);
    assert_eq!(bench.store.counts_since(first.at.minus(MINUTE)).await.unwrap()[0].count, 3);
}

async fn many_at_once_count_once_too(bench: Bench) {
    let bench = bench.migrated().await;
    let mut records: Vec<_> = (0..300)
        .map(|n: u64| CallRecord {
            title: format!("{n}: nul \0 and ⚔").into(),
            error_message: n.is_multiple_of(3).then(|| "\0".into()),
            metadata: format!(r#"{{"n":{n},"nul":"\u0000"}}"#).into(),
            origin: n.is_multiple_of(2).then_some(Origin { instance: Uuid::from_u128(7), seq: n + 1 }),
            ..record()
        })
        .collect();
    bench.store.write(&records[..200]).await.unwrap();
    bench.store.write(&records[100..]).await.unwrap();
    bench.store.write(&records).await.unwrap();
    assert_eq!(bench.stats().await, [stat("gemini-chat", "python-executor", [300, 0, 0], Some(12_000))]);
    assert_eq!(bench.client_counts("select count(*) from eliza_activity_log").await, 300);
    assert_eq!(bench.client_counts("select count(*) from api_call_logs where error_message is not null").await, 100);
    assert_eq!(bench.client_counts("select count(*) from eliza_activity_log where instance is not null and seq is not null").await, 150);
    let row = bench.store.call(records[299].id).await.unwrap().unwrap();
    assert_eq!((row.at, row.title.as_str(), &row.metadata["nul"]), (records[299].at, "299: nul \u{fffd} and ⚔", &json!("\u{fffd}")));

    // One that does not fit keeps all of them out, as ever: whoever writes then looks for it.
    records.iter_mut().for_each(|record| record.id = Uuid::now_v7());
    records[150].request = "{".into();
    if !bench.url.starts_with("sqlite") {
        assert!(matches!(bench.store.write(&records).await, Err(StoreError::Refused(_))));
        assert_eq!(bench.client_counts("select count(*) from eliza_activity_log").await, 300);
    }
    records.remove(150);
    bench.store.write(&records).await.unwrap();
    assert_eq!(bench.client_counts("select count(*) from api_call_logs").await, 599);
}

async fn two_writers_of_the_same_records_count_them_once(bench: Bench) {
    let bench = bench.migrated().await;
    let other = open(&bench.url, OPTIONS).await.unwrap();
    for _ in 0..10 {
        let batch: Vec<_> = (0..20).map(|_| record()).collect();
        let reversed: Vec<_> = batch.iter().rev().cloned().collect();
        // Two journals replayed at once may meet head-on; then one of them is told to come again.
        let (one, two) = tokio::join!(bench.store.write(&batch), other.write(&reversed));
        if one.is_err() {
            bench.store.write(&batch).await.unwrap();
        }
        if two.is_err() {
            other.write(&reversed).await.unwrap();
        }
    }
    assert_eq!(bench.stats().await, [stat("gemini-chat", "python-executor", [200, 0, 0], Some(12_000))]);
    assert_eq!(bench.client_counts("select count(*) from api_call_logs").await, 200);
}

async fn a_folded_record_counts_for_all_it_stands_for(bench: Bench) {
    let bench = bench.migrated().await;
    let at = now();
    let strangers = CallRecord {
        at,
        activity_type: ActivityType::Denied,
        execution_ms: 0,
        times: 4711,
        stats: StatsKey { source: "unauthenticated".into(), target: "".into(), outcome: StatsOutcome::Denied },
        counted: None,
        ..record()
    };
    let counted = CallRecord { at, times: 3, counted: Some(counted(at, "agent", "t:a")), ..record() };
    bench.store.write(&[strangers, counted]).await.unwrap();

    let expected = [stat("gemini-chat", "python-executor", [3, 0, 0], Some(12_000)), stat("unauthenticated", "", [0, 0, 4711], None)];
    assert_eq!(bench.stats().await, expected);
    let counts = bench.store.counts_since(at.floor(60)).await.unwrap();
    assert_eq!(counts, [EndpointCount { identifier: "agent".into(), endpoint: "t:a".into(), count: 3 }]);
}

async fn stats_are_right_to_the_call(bench: Bench) {
    let bench = bench.migrated().await;
    let start = now().minus(3 * DAY);
    let mut sums: BTreeMap<(String, String), ([i64; 3], i64)> = BTreeMap::new();
    let records: Vec<_> = (0..700)
        .map(|n: i32| {
            let (source, target) = (format!("agent-{}", n % 3), format!("target-{}", n % 2));
            let (counts, duration) = sums.entry((source.clone(), target.clone())).or_default();
            let outcome = match n % 7 {
                0 => StatsOutcome::Denied,
                1 | 2 => StatsOutcome::Failed,
                _ => StatsOutcome::Successful,
            };
            match outcome {
                StatsOutcome::Successful => counts[0] += 1,
                StatsOutcome::Failed => counts[1] += 1,
                StatsOutcome::Denied => counts[2] += 1,
            }
            *duration += if outcome == StatsOutcome::Denied { 0 } else { i64::from(n) };
            CallRecord {
                at: start.plus(Duration::from_secs(u64::from(n.unsigned_abs()) * 300)),
                execution_ms: n,
                stats: StatsKey { source: source.into(), target: target.into(), outcome },
                ..record()
            }
        })
        .collect();
    for batch in records.chunks(300) {
        bench.store.write(batch).await.unwrap();
    }

    let expected: Vec<_> = sums
        .into_iter()
        .map(|((source, target), (counts, duration))| {
            let timed = counts[0] + counts[1];
            stat(&source, &target, counts, Some((duration * 100 + timed / 2) / timed))
        })
        .collect();
    assert_eq!(bench.stats().await, expected);
    bench.client_runs("delete from eliza_activity_log where true").await;
    assert_eq!(bench.stats().await, expected, "stats do not hang on the log");
}

async fn stats_tell_how_long_calls_take_and_what_they_are_about(bench: Bench) {
    let bench = bench.migrated().await;
    let at = now().floor(3600);
    let call = |ms: i32, target: &str, action: &str, outcome: StatsOutcome| CallRecord {
        at,
        execution_ms: ms,
        stats: StatsKey { source: "a".into(), target: target.to_owned().into(), outcome },
        counted: Some(counted(at, "a", &format!("{target}:{action}"))),
        ..record()
    };
    // Of a hundred calls 94 take 12 ms, one 101 ms, five an hour; denials do not count.
    let mut calls: Vec<_> = (0..94).map(|_| call(12, "x", "run", StatsOutcome::Successful)).collect();
    calls.push(call(101, "x", "list", StatsOutcome::Failed));
    calls.extend((0..5).map(|_| call(3_600_000, "x", "list", StatsOutcome::Successful)));
    calls.extend((0..90).map(|_| call(0, "x", "run", StatsOutcome::Denied)));
    calls.push(CallRecord { counted: None, ..call(0, "y", "", StatsOutcome::Denied) });
    for batch in calls.chunks(70) {
        bench.store.write(batch).await.unwrap();
        bench.store.write(batch).await.unwrap();
    }
    let of = |what: &str, target: &str| format!("select coalesce({what}, -1) from eliza_gatekeeper_stats where target = '{target}'");
    assert_eq!(bench.client_counts(&of("cast(p95_duration_ms as bigint)", "x")).await, 150);
    assert_eq!(bench.client_counts(&of("max_duration_ms", "x")).await, 3_600_000);
    assert_eq!(bench.client_counts(&of("cast(p95_duration_ms as bigint)", "y")).await, -1);
    assert_eq!(bench.client_counts(&of("total_calls", "x")).await, 190);

    let actions = bench.own("action_stats");
    let counts = |action: &str, what: &str| format!("select cast(sum({what}) as bigint) from {actions} where action = '{action}'");
    assert_eq!(bench.client_counts(&counts("run", "successful * 1000 + denied")).await, 94_090);
    assert_eq!(bench.client_counts(&counts("list", "successful * 1000 + failed")).await, 5_001);
    assert_eq!(bench.client_counts(&counts("list", "duration_ms_max")).await, 3_600_000);
    assert_eq!(bench.client_counts(&counts("", "denied")).await, 1);
}

async fn stats_of_hours_long_past_are_those_of_days(bench: Bench) {
    let bench = bench.migrated().await;
    let midnight = now().minus(50 * DAY).floor(86_400);
    let records: Vec<_> = (0..100)
        .map(|n: u32| {
            let at = midnight.plus(n * 31 * MINUTE);
            CallRecord { at, execution_ms: i32::try_from(n).unwrap(), counted: Some(counted(at, "a", "x:run")), ..record() }
        })
        .chain([record()])
        .collect();
    bench.store.write(&records).await.unwrap();
    let view = "select cast(sum(total_calls * 1000000 + max_duration_ms * 1000 + p95_duration_ms) as bigint) from eliza_gatekeeper_stats";
    let (stats, all) = (bench.stats().await, bench.client_counts(view).await);
    let first = "select count(*) from eliza_gatekeeper_stats where first_call_at < '2001-01-01'";
    assert_eq!(bench.client_counts(first).await, 0);
    let hours = async |table: &str| bench.client_counts(&format!("select count(*) from {}", bench.own(table))).await;
    assert!(hours("call_stats").await > 40 && hours("action_stats").await > 40);

    bench.store.maintain(now(), &keep(90, 90, 90)).await.unwrap();
    assert_eq!((hours("call_stats").await, hours("action_stats").await), (3 + 1, 3 + 1), "three days, and this hour");
    assert_eq!((bench.stats().await, bench.client_counts(view).await), (stats.clone(), all), "and nobody sees a difference");

    // What comes late finds its place, once in an hour of its own, once in the one that stands for the day.
    let late = [midnight, midnight.plus(5 * 60 * MINUTE)].map(|at| CallRecord { at, execution_ms: 120, ..record() });
    bench.store.write(&late).await.unwrap();
    bench.store.maintain(now(), &keep(90, 90, 90)).await.unwrap();
    assert_eq!(hours("call_stats").await, 3 + 1);
    assert_eq!(bench.stats().await[0].total_calls, stats[0].total_calls + 2);
}

async fn what_callers_send_cannot_keep_a_record_out(bench: Bench) {
    let bench = bench.migrated().await;
    let odd = CallRecord {
        title: "nul \0 and 🛡️ and '; drop table keys; --".into(),
        description: "\0".repeat(3).into(),
        metadata: r#"{"source":"a\u0000b","literal":"\\u0000","deep":[{"x":"\u0000"}],"big":123456789012345678901234567890}"#.into(),
        error_message: Some("\0".into()),
        request: r#"{"action":"\u0000"}"#.into(),
        caller_context: "{}".into(),
        execution_ms: i32::MAX,
        ..record()
    };
    bench.store.write(&[record(), odd.clone(), record()]).await.unwrap();

    let row = bench.store.call(odd.id).await.unwrap().unwrap();
    assert_eq!(row.title, "nul \u{fffd} and 🛡️ and '; drop table keys; --");
    assert_eq!(row.metadata["source"], "a\u{fffd}b");
    assert_eq!(row.metadata["literal"], "\\u0000");
    assert_eq!(row.metadata["deep"][0]["x"], "\u{fffd}");
    assert_eq!(bench.client_counts("select count(*) from eliza_activity_log").await, 3);
}

async fn counts_are_kept_and_summed(bench: Bench) {
    let bench = bench.migrated().await;
    let minute = now().floor(60);
    let at = |minutes_ago: u32, identifier: &str, endpoint: &str| {
        let at = minute.minus(minutes_ago * MINUTE);
        CallRecord { at, counted: Some(counted(at, identifier, endpoint)), ..record() }
    };
    let records: Vec<_> = [(0, "a", "t:x"), (0, "a", "t:x"), (1, "a", "t:x"), (5, "a", "t:x"), (1, "a", "t:y"), (0, "b", "t:x")]
        .iter()
        .map(|(ago, identifier, endpoint)| at(*ago, identifier, endpoint))
        .collect();
    bench.store.write(&records[..2]).await.unwrap();
    bench.store.write(&records[2..]).await.unwrap();

    let of_two_minutes = counts_of(&bench.store, minute.minus(MINUTE)).await;
    assert_eq!(of_two_minutes, [("a t:x".into(), 3), ("a t:y".into(), 1), ("b t:x".into(), 1)]);
    assert_eq!(counts_of(&bench.store, minute.minus(5 * MINUTE)).await[0], ("a t:x".into(), 4));
    assert_eq!(counts_of(&bench.store, minute.plus(MINUTE)).await, []);

    let rows = bench.store.limit_rows(Some("a"), minute.minus(MINUTE), 10).await.unwrap();
    let seen: Vec<_> = rows.iter().map(|row| (row.endpoint.as_str(), row.count, row.window_start)).collect();
    assert_eq!(seen, [("t:x", 2, minute), ("t:x", 1, minute.minus(MINUTE)), ("t:y", 1, minute.minus(MINUTE))]);
    assert_eq!(bench.store.limit_rows(None, minute.minus(DAY), 2).await.unwrap().len(), 2);

    assert_eq!(bench.store.clear_limits("a", &cleared("a")).await.unwrap(), 4);
    assert_eq!(bench.store.clear_limits("a", &cleared("a")).await.unwrap(), 0);
    assert_eq!(counts_of(&bench.store, minute.minus(DAY)).await, [("b t:x".into(), 1)]);
}

pub fn cleared(identifier: &str) -> AuditEntry {
    AuditEntry::new(now(), &Actor::named("alice"), AuditAction::LimitsCleared, identifier)
}

async fn counts_of(store: &Arc<dyn Store>, since: Timestamp) -> Vec<(String, u64)> {
    let mut counts: Vec<_> =
        store.counts_since(since).await.unwrap().into_iter().map(|c| (format!("{} {}", c.identifier, c.endpoint), c.count)).collect();
    counts.sort();
    counts
}

async fn a_count_never_overflows(bench: Bench) {
    let bench = bench.migrated().await;
    let first = record();
    let flood = || CallRecord { times: u32::MAX, counted: first.counted.clone(), ..record() };
    bench.store.write(&[flood(), flood()]).await.unwrap();
    bench.store.write(&[flood()]).await.unwrap();
    assert_eq!(bench.store.counts_since(now().floor(86_400)).await.unwrap()[0].count, 2_147_483_647);
}

async fn deleting_counts_is_heard_of(bench: Bench) {
    let bench = bench.migrated().await;
    let at = now();
    let of = |identifier: &str, times| CallRecord { at, times, counted: Some(counted(at, identifier, "t:x")), ..record() };
    bench.store.write(&[of("123.456.789.0", 7), of("trusted", 2), of("third", 1)]).await.unwrap();
    let deleted = |identifier: &str, count| Signal::CountsDeleted {
        identifier: identifier.into(),
        endpoint: "t:x".into(),
        minute: at.floor(60),
        count,
    };

    let start = bench.store.signal_cursor().await.unwrap();
    bench.client_runs("delete from rate_limits where identifier = '123.456.789.0'").await;
    let (heard, next) = bench.store.signals_after(&start).await.unwrap();
    assert_eq!(heard, [deleted("123.456.789.0", 7)]);
    assert_eq!(bench.heard_since(&next).await, [], "everything is heard once");

    bench.store.clear_limits("trusted", &cleared("trusted")).await.unwrap();
    bench.client_runs("delete from rate_limits where identifier = 'nobody'").await;
    bench.client_runs("delete from rate_limits where true").await;
    assert_eq!(bench.heard_since(&next).await, [deleted("trusted", 2), deleted("third", 1)]);
    assert_eq!(bench.heard_since(&start).await.len(), 3, "an older cursor hears it all");
}

async fn counts_of_former_days_go_unheard(bench: Bench) {
    let bench = bench.migrated().await;
    let today = now().floor(86_400);
    let at = |at: Timestamp| CallRecord { at, counted: Some(counted(at, "a", "t:x")), ..record() };
    bench.store.write(&[at(today.minus(MINUTE)), at(today.minus(9 * DAY)), at(today)]).await.unwrap();
    let cursor = bench.store.signal_cursor().await.unwrap();
    bench.client_runs("delete from rate_limits where true").await;
    let expected = Signal::CountsDeleted { identifier: "a".into(), endpoint: "t:x".into(), minute: today, count: 1 };
    assert_eq!(bench.heard_since(&cursor).await, [expected]);
}

async fn keys_live_and_end(bench: Bench) {
    let bench = bench.migrated().await;
    let (first, second) = (key("first"), StoredKey { created_at: now(), ..key("second") });
    bench.store.insert_key(&first, &audited()).await.unwrap();
    bench.store.insert_key(&second, &audited()).await.unwrap();
    assert_eq!(bench.store.keys().await.unwrap(), [first.clone(), second.clone()]);
    assert!(bench.store.insert_key(&first, &audited()).await.is_err(), "an id is given once");
    assert!(bench.store.insert_key(&StoredKey { id: KeyId::new("copy"), ..first.clone() }, &audited()).await.is_err(), "and so is a key");

    let (soon, later) = (now().plus(MINUTE), now().plus(DAY));
    assert!(bench.store.expire_key(&first.id, soon, &audited()).await.unwrap());
    assert!(bench.store.expire_key(&first.id, later, &audited()).await.unwrap());
    assert!(bench.store.revoke_key(&second.id, soon, &audited()).await.unwrap());
    assert!(bench.store.revoke_key(&second.id, later, &audited()).await.unwrap());
    assert!(!bench.store.expire_key(&KeyId::new("none"), soon, &audited()).await.unwrap());
    assert!(!bench.store.revoke_key(&KeyId::new("none"), soon, &audited()).await.unwrap());

    bench.store.touch_keys(&[(first.id.clone(), later), (first.id.clone(), soon), (KeyId::new("none"), soon)]).await.unwrap();
    bench.store.touch_keys(&[(first.id.clone(), soon)]).await.unwrap();
    bench.store.touch_keys(&[]).await.unwrap();
    let keys = bench.store.keys().await.unwrap();
    assert_eq!((keys[0].expires_at, keys[0].last_used_at), (Some(soon), Some(later)), "an end comes no later, a use no earlier");
    assert_eq!(keys[1], StoredKey { revoked_at: Some(soon), ..second });
}

async fn changes_of_keys_are_heard_of_but_not_their_use(bench: Bench) {
    let bench = bench.migrated().await;
    let first = key("first");
    let mut cursor = bench.store.signal_cursor().await.unwrap();
    let mut heard = async |store: &Arc<dyn Store>| {
        let (signals, next) = store.signals_after(&cursor).await.unwrap();
        cursor = next;
        signals
    };
    bench.store.insert_key(&first, &audited()).await.unwrap();
    assert_eq!(heard(&bench.store).await, [Signal::KeysChanged]);
    bench.store.touch_keys(&[(first.id.clone(), now())]).await.unwrap();
    assert_eq!(heard(&bench.store).await, []);
    bench.store.expire_key(&first.id, now(), &audited()).await.unwrap();
    assert_eq!(heard(&bench.store).await, [Signal::KeysChanged]);
    bench.store.expire_key(&first.id, now().plus(DAY), &audited()).await.unwrap();
    assert_eq!(heard(&bench.store).await, [], "what changes nothing is no change");
    bench.store.revoke_key(&first.id, now(), &audited()).await.unwrap();
    assert_eq!(heard(&bench.store).await, [Signal::KeysChanged]);
    bench.client_runs(&format!("delete from {} where id = 'first'", bench.own("keys"))).await;
    assert_eq!(heard(&bench.store).await, [Signal::KeysChanged]);
}

async fn calls_are_found(bench: Bench) {
    let bench = bench.migrated().await;
    let start = now().minus(10 * MINUTE);
    let call = |n: u32, source: &str, target: &str, activity_type| CallRecord {
        at: start.plus(n * MINUTE),
        title: n.to_string().into(),
        activity_type,
        metadata: json!({ "source": source, "target": target }).to_string().into(),
        ..record()
    };
    let records = [
        call(0, "a", "x", ActivityType::Call),
        call(1, "a", "y", ActivityType::Call),
        call(2, "b", "x", ActivityType::Denied),
        call(3, "a", "x", ActivityType::SchemaProtection),
        call(4, "b", "y", ActivityType::Error),
    ];
    bench.store.write(&records).await.unwrap();
    let titles =
        async |query: CallQuery| -> Vec<String> { bench.store.calls(&query).await.unwrap().into_iter().map(|row| row.title).collect() };
    let all = CallQuery { most: 100, ..CallQuery::default() };
    let of = |text: &str| Some(text.to_owned());
    assert_eq!(titles(all.clone()).await, ["4", "3", "2", "1", "0"]);
    assert_eq!(titles(CallQuery { most: 2, ..all.clone() }).await, ["4", "3"]);
    assert_eq!(titles(CallQuery { source: of("a"), ..all.clone() }).await, ["3", "1", "0"]);
    assert_eq!(titles(CallQuery { source: of("a"), target: of("x"), ..all.clone() }).await, ["3", "0"]);
    assert_eq!(titles(CallQuery { activity_type: of("gatekeeper_denied"), ..all.clone() }).await, ["2"]);
    assert_eq!(titles(CallQuery { source: of("nobody"), ..all.clone() }).await, [""; 0]);

    let after = |n: usize| Some((records[n].at, records[n].id));
    assert_eq!(titles(CallQuery { after: after(1), ..all.clone() }).await, ["2", "3", "4"], "following along goes forward");
    assert_eq!(titles(CallQuery { after: after(1), source: of("b"), most: 1, ..all.clone() }).await, ["2"]);
    assert_eq!(titles(CallQuery { after: after(4), ..all }).await, [""; 0]);
}

async fn a_call_is_found_by_any_id(bench: Bench) {
    let bench = bench.migrated().await;
    let timely = record();
    let random = CallRecord { id: Uuid::new_v4(), ..record() };
    // A clock that was set, or a record that waited for days: the id's time is not the row's.
    let untimely = CallRecord { at: now().minus(20 * DAY), ..record() };
    bench.store.write(&[timely.clone(), random.clone(), untimely.clone()]).await.unwrap();
    for call in [timely, random, untimely] {
        let row = bench.store.call(call.id).await.unwrap().unwrap();
        assert_eq!((row.id, row.at), (call.id, call.at));
    }
    assert_eq!(bench.store.call(Uuid::now_v7()).await.unwrap(), None);
    assert_eq!(bench.store.call(Uuid::new_v4()).await.unwrap(), None);
}

async fn other_programs_may_log_too(bench: Bench) {
    let bench = bench.migrated().await;
    bench.client_runs("insert into eliza_activity_log (activity_type, title) values ('python_execution', 'theirs')").await;
    bench.client_runs("insert into eliza_activity_log (activity_type, title, status) values ('x', 'of any status', 'in_progress')").await;
    bench.client_runs("insert into api_call_logs (function_name, status) values ('their-function', 'pending')").await;
    bench.client_runs("insert into rate_limits (identifier, endpoint) values ('123.456.789.0', '/api/mining-proxy')").await;
    bench.store.write(&[record()]).await.unwrap();

    let calls = bench.store.calls(&CallQuery { most: 10, ..CallQuery::default() }).await.unwrap();
    assert_eq!(calls.iter().map(|row| row.activity_type.as_str()).collect::<Vec<_>>(), ["gatekeeper_call"]);
    let query = CallQuery { most: 10, activity_type: Some("python_execution".into()), ..CallQuery::default() };
    let theirs = bench.store.calls(&query).await.unwrap();
    assert_eq!((theirs[0].title.as_str(), theirs[0].status.as_str()), ("theirs", "completed"));
    assert!(now().since(theirs[0].at) < MINUTE && theirs[0].at <= now(), "{}", theirs[0].at);
    assert_eq!(bench.store.call(theirs[0].id).await.unwrap().unwrap(), theirs[0]);
    let rows = bench.store.limit_rows(Some("123.456.789.0"), now().minus(MINUTE), 10).await.unwrap();
    assert_eq!((rows[0].endpoint.as_str(), rows[0].count), ("/api/mining-proxy", 1));
    assert_eq!(bench.stats().await.len(), 1, "stats are of the gatekeeper's calls alone");
}

async fn old_rows_go_and_stats_stay(bench: Bench) {
    let bench = bench.migrated().await;
    let at = |days: u32| {
        let at = now().minus(days * DAY);
        CallRecord { at, counted: Some(counted(at, "a", "t:x")), title: days.to_string().into(), ..record() }
    };
    bench.store.write(&[at(0), at(2), at(5), at(40), at(41), at(400)]).await.unwrap();
    let stats = bench.stats().await;
    let cursor = bench.store.signal_cursor().await.unwrap();

    let keep = keep(30, 4, 3);
    let done = bench.store.maintain(now(), &keep).await.unwrap();
    assert_eq!(deleted(&done), 3 + 4 + 4);
    assert_eq!(bench.client_counts("select count(*) from eliza_activity_log").await, 3);
    assert_eq!(bench.client_counts("select count(*) from api_call_logs").await, 2);
    assert_eq!(bench.client_counts("select count(*) from rate_limits").await, 2);
    assert_eq!(bench.stats().await, stats);
    assert_eq!(bench.heard_since(&cursor).await, [], "retention is no operator");

    let again = bench.store.maintain(now(), &keep).await.unwrap();
    assert_eq!(deleted(&again), 0);

    bench.client_runs("delete from rate_limits where true").await;
    assert_eq!(bench.heard_since(&cursor).await.len(), 1);
    bench.store.maintain(now().plus(2 * DAY), &keep).await.unwrap();
    assert_eq!(bench.heard_since(&cursor).await, [], "signals of former days are let go of");
    let cursor = bench.store.signal_cursor().await.unwrap();
    bench.store.insert_key(&key("late"), &audited()).await.unwrap();
    assert_eq!(bench.heard_since(&cursor).await, [Signal::KeysChanged], "and later ones still follow");
}

async fn counts_of_today_are_kept_whatever_policy_says(bench: Bench) {
    let bench = bench.migrated().await;
    let today = now().floor(86_400);
    let at = |at: Timestamp| CallRecord { at, counted: Some(counted(at, "a", "t:x")), ..record() };
    bench.store.write(&[at(today), at(today.minus(MINUTE))]).await.unwrap();
    bench.store.maintain(now(), &keep(1, 1, 0)).await.unwrap();
    assert_eq!(counts_of(&bench.store, today.minus(DAY)).await, [("a t:x".into(), 1)]);
}

async fn migrations_are_told_before_and_after(bench: Bench) {
    let folder = if bench.url.starts_with("sqlite") { "sqlite" } else { "postgres" };
    let files = std::fs::read_dir(format!("{}/migrations/{folder}", env!("CARGO_MANIFEST_DIR"))).unwrap().count();

    bench.store.ping().await.unwrap();
    let before = bench.store.migrations().await.unwrap();
    assert_eq!(before.len(), files, "every file is embedded");
    assert!(before.iter().all(|migration| !migration.applied && !migration.name.is_empty()), "{before:?}");
    let error = bench.store.write(&[record()]).await.unwrap_err();
    assert!(matches!(error, StoreError::Away(_)), "records wait for their tables: {error}");

    bench.store.migrate().await.unwrap();
    assert!(bench.store.migrations().await.unwrap().iter().all(|migration| migration.applied));
    bench.store.write(&[record()]).await.unwrap();
    bench.store.migrate().await.unwrap();
    assert_eq!(bench.client_counts("select count(*) from eliza_activity_log").await, 1);
    let pool = bench.store.pool();
    assert!(pool.size > 0 && pool.size <= pool.most && pool.idle <= pool.size, "{pool:?}");
    bench.store.close().await;
    assert!(bench.store.ping().await.is_err());
}

async fn gatekeepers_may_start_at_once(bench: Bench) {
    let others: Vec<_> = futures_util::future::join_all((0..4).map(|_| open(&bench.url, OPTIONS))).await;
    let stores: Vec<_> = others.into_iter().map(Result::unwrap).collect();
    for migrated in futures_util::future::join_all(stores.iter().map(|store| store.migrate())).await {
        migrated.unwrap();
    }
    let batches: Vec<_> = stores.iter().map(|_| vec![record(), record()]).collect();
    for written in futures_util::future::join_all(stores.iter().zip(&batches).map(|(store, batch)| store.write(batch))).await {
        written.unwrap();
    }
    let keep = keep(30, 30, 3);
    for maintained in futures_util::future::join_all(stores.iter().map(|store| store.maintain(now(), &keep))).await {
        maintained.unwrap();
    }
    assert_eq!(bench.stats().await, [stat("gemini-chat", "python-executor", [8, 0, 0], Some(12_000))]);
}

#[tokio::test]
async fn a_url_is_never_repeated() {
    for url in ["postgres://u:s3cret@127.0.0.1:99999/db", "postgres://u:s3cret@[::1/db", "mysql://u:s3cret@h/db", "s3cret"] {
        let error = open(url, OPTIONS).await.err().expect(url).to_string();
        assert!(!error.contains("s3cret") && error.contains("DATABASE_URL"), "{error}");
    }
    // Nobody listens on port 1; that the database is away is no reason not to open it.
    let away = open("postgres://u:s3cret@127.0.0.1:1/db", OPTIONS).await.unwrap();
    let error = away.ping().await.unwrap_err();
    assert!(matches!(error, StoreError::Away(_)) && !error.to_string().contains("s3cret"), "{error}");
}

#[tokio::test]
async fn a_file_that_cannot_be_opened_is_away() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&format!("sqlite://{}", folder.path().display()), OPTIONS).await.unwrap();
    assert!(matches!(store.ping().await, Err(StoreError::Away(_))));
}
