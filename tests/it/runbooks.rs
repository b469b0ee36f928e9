//! The operators' runbook, block by block as they paste it: after traffic through the door, each finds what it asks about. What old rows
//! are deleted takes nothing else with it, and deleting a source's counts lets it call again within a second.

use std::time::{Duration, Instant};

use eliza_gatekeeper::clock::{Clock, ManualClock};
use eliza_gatekeeper::store::Signal;
use eliza_gatekeeper::switches::Flag;
use futures_util::future::join_all;
use serde_json::{Value, json};
use sqlx::postgres::PgRow;
use sqlx::{Connection, PgConnection, Row};

use crate::store_contract::keep;
use crate::support::house::{House, Reply, eventually, soon};
use crate::support::operator::{self, Stat};
use crate::support::{Database, on_each_database};

const MINUTE: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(86_400);

/// The runbook looks back from the database's own clock, so the house's stands near it: at the next minute, which is today or
/// already tomorrow for both of them.
fn next_minute() -> ManualClock {
    ManualClock::at(Clock::system().now().floor(60).plus(MINUTE))
}

/// What a block finds.
async fn ask(url: &str, block: &'static str) -> Vec<PgRow> {
    sqlx::raw_sql(block).fetch_all(&mut PgConnection::connect(url).await.unwrap()).await.unwrap()
}

async fn list_agents(house: &House, source: &str, times: usize) -> Vec<Reply> {
    join_all((0..times).map(|_| house.call(source).to("agent-manager").action("list_agents").send())).await
}

#[tokio::test(flavor = "multi_thread")]
async fn block_000_03_finds_who_called_more_than_a_hundred_times_an_hour() {
    let clock = next_minute();
    let start = clock.now().minus(40 * MINUTE);
    clock.set(start);
    let house = House::plan().on(Database::Postgres).at(&clock).open().await;
    for _ in 0..3 {
        list_agents(&house, "gemini-chat", 50).await.into_iter().for_each(|reply| drop(reply.expect(200)));
        list_agents(&house, "openai-chat", 33).await;
        clock.advance(20 * MINUTE);
    }
    // Calls of another endpoint, and calls that were refused, count apart.
    clock.set(start.plus(40 * MINUTE));
    for _ in 0..60 {
        house.call("gemini-chat").to("openai-chat").send().await;
    }
    let noisy = list_agents(&house, "superduper-router", 250).await;
    assert_eq!(noisy.iter().filter(|reply| reply.status == 200).count(), 100);
    house.settle().await;

    let rows = ask(&house.database, include_str!("runbook_sql/000_03_L38.sql")).await;
    let found: Vec<_> = rows.iter().map(|row| (row.get::<String, _>(0), row.get::<String, _>(1), row.get::<i64, _>(2))).collect();
    let mut found: Vec<_> = found.iter().map(|(who, what, sum)| (who.as_str(), what.as_str(), *sum)).collect();
    found.sort_unstable();
    assert_eq!(found, [("gemini-chat", "agent-manager:list_agents", 150), ("superduper-router", "*", 150)]);

    let latest = ask(&house.database, include_str!("runbook_sql/000_08_L294.sql")).await;
    let largest = (latest[0].get::<String, _>("identifier"), latest[0].get::<i32, _>("request_count"));
    assert_eq!(largest, ("superduper-router".into(), 150));
}

#[tokio::test(flavor = "multi_thread")]
async fn block_000_02_finds_what_was_blocked_and_what_failed() {
    let house = House::plan().on(Database::Postgres).variable("SUPABASE_URL", "http://127.0.0.1:9").open().await;
    house.call("openai-chat").to("schema-manager").operation("DROP TABLE users -- 'gone'").send().await.expect(403);
    let sql = json!({"sql": "delete from accounts where owner = 'secret'; truncate accounts"});
    house.call("gemini-chat").to("agent-manager").action("run").payload(sql).send().await.expect(403);
    house.call("gemini-chat").to("openai-chat").send().await.expect(502);
    house.settle().await;

    let rows = ask(&house.database, include_str!("runbook_sql/000_02_L30.sql")).await;
    let seen: Vec<_> = rows
        .iter()
        .map(|row| {
            let metadata: Value = row.get("metadata");
            let of = |name: &str| metadata[name].as_str().unwrap_or_default().to_owned();
            (row.get::<String, _>("activity_type"), row.get::<String, _>("status"), of("source"), of("pattern"), of("sql"))
        })
        .collect();
    let row = |kind: &str, status: &str, source: &str, pattern: &str, sql: &str| {
        (kind.to_owned(), status.to_owned(), source.to_owned(), pattern.to_owned(), sql.to_owned())
    };
    assert_eq!(
        seen,
        [
            row("gatekeeper_error", "error", "gemini-chat", "", ""),
            row("schema_protection", "blocked", "gemini-chat", "/TRUNCATE/i", "truncate accounts"),
            row("schema_protection", "blocked", "openai-chat", r"/DROP\s+TABLE/i", "DROP TABLE users"),
        ]
    );
    assert_eq!(rows[2].get::<String, _>("description"), r"Blocked /DROP\s+TABLE/i from openai-chat");

    let errors = ask(&house.database, include_str!("runbook_sql/000_13_L534.sql")).await;
    let told: Vec<_> = errors.iter().map(|row| (row.get::<i64, _>("error_count"), row.get::<String, _>("error_message"))).collect();
    assert_eq!(told.len(), 3);
    assert!(told.contains(&(1, "Target 'openai-chat' could not be reached".into())), "{told:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn block_000_01_is_right_to_the_call() {
    let limits = include_str!("../../policies/limits.toml").replace("stranger_records_per_minute = 100", "stranger_records_per_minute = 5");
    let house = House::plan().on(Database::Postgres).at(&next_minute()).policy("limits.toml", &limits).open().await;
    for n in 0..40_usize {
        let call = house.call("gemini-chat");
        match n % 8 {
            0..5 => call.to("agent-manager").action("list_agents").send().await.expect(200),
            5 | 6 => call.to("python-executor").payload(json!({"code": "raise Oops"})).send().await.expect(500),
            _ => call.to("agent-manager").operation("truncate users").send().await.expect(403),
        };
    }
    for _ in 0..3 {
        house.call("gemini-chat").to("nobody").send().await.expect(404);
    }
    list_agents(&house, "superduper-router", 130).await;
    for _ in 0..20 {
        house.call("gemini-chat").without("x-eliza-key").to("agent-manager").send().await.expect(401);
    }
    let closed = house.close().await;

    let rows = ask(&closed.database, include_str!("runbook_sql/000_01_L24.sql")).await;
    let of = |row: &PgRow, name: &str| row.get::<i64, _>(name);
    let totals: Vec<_> = rows.iter().map(|row| of(row, "total_calls")).collect();
    assert_eq!(totals, [100, 30, 30, 20, 10, 3], "the busiest first");
    assert!(
        rows.iter().all(|row| of(row, "total_calls") == of(row, "successful_calls") + of(row, "failed_calls") + of(row, "denied_calls"))
    );
    let expected = [
        Stat::of("gemini-chat", "", [0, 0, 3]),
        Stat::of("gemini-chat", "agent-manager", [25, 0, 5]),
        Stat::of("gemini-chat", "python-executor", [0, 10, 0]),
        Stat::of("superduper-router", "", [0, 0, 30]),
        Stat::of("superduper-router", "agent-manager", [100, 0, 0]),
        Stat::of("unauthenticated", "", [0, 0, 20]),
    ];
    assert_eq!(operator::stats(&closed.database).await, expected);
    let folded = "select count(*) from eliza_activity_log where metadata->>'source' = 'unauthenticated'";
    assert_eq!(operator::number(&closed.database, folded).await, 6, "five one by one, fifteen in one");
}

on_each_database!(block_000_09_unblocks_a_source_within_a_second, old_rows_go_and_neither_stats_nor_limits_change);

async fn block_000_09_unblocks_a_source_within_a_second(database: Database) {
    let house = House::plan().on(database).at(&next_minute()).open().await;
    let call = || house.call("superduper-router").to("agent-manager").action("list_agents").send();
    list_agents(&house, "superduper-router", 120).await;
    list_agents(&house, "superduper-other", 100).await;
    call().await.expect(429);
    house.settle().await;

    let block = include_str!("runbook_sql/000_09_L319.sql").replace("trusted-ip-address", "superduper-router");
    let deleting = Instant::now();
    assert_eq!(operator::run(&house.database, &block).await, 2, "the calls that passed, and those that were refused");
    // What is refused meanwhile counts, so it is asked less often than the limit is large.
    let second = Duration::from_secs(1).saturating_sub(deleting.elapsed());
    soon("the source may call again", second, Duration::from_millis(50), || async { call().await.status == 200 }).await;
    house.call("superduper-other").to("agent-manager").send().await.expect(429);
}

async fn old_rows_go_and_neither_stats_nor_limits_change(database: Database) {
    let clock = next_minute();
    let today = clock.now();
    let house = House::plan().on(database).at(&clock).open().await;
    // The first round is before there is anything old.
    let rounds = async || house.metrics().await.contains("gatekeeper_retention_rounds_total{outcome=\"done\"} 1");
    eventually("house is kept", || async { rounds().await }).await;
    for days_ago in [50, 40, 0] {
        clock.set(today.minus(days_ago * DAY));
        list_agents(&house, "superduper-router", 60).await;
    }
    list_agents(&house, "superduper-router", 41).await;
    house.settle().await;
    let stats = operator::stats(&house.database).await;
    assert_eq!(stats, [Stat::of("superduper-router", "", [0, 0, 1]), Stat::of("superduper-router", "agent-manager", [220, 0, 0])]);
    let left = async |table: &str| operator::number(&house.database, &format!("select count(*) from {table}")).await;
    assert_eq!((left("eliza_activity_log").await, left("api_call_logs").await, left("rate_limits").await), (221, 221, 4));
    let cursor = house.store.signal_cursor().await.unwrap();

    // By hand, as the runbook's "clean up old logs" says; then by policy.
    let forty_five_days_ago = today.minus(45 * DAY).to_string().replace('T', " ").replace('Z', "");
    for (table, column) in [("eliza_activity_log", "created_at"), ("api_call_logs", "created_at"), ("rate_limits", "window_start")] {
        let deleted = operator::run(&house.database, &format!("delete from {table} where {column} < '{forty_five_days_ago}'")).await;
        assert_eq!(deleted, if table == "rate_limits" { 1 } else { 60 });
    }
    house.store.maintain(today, &keep(30, 30, 30)).await.unwrap();
    assert_eq!((left("eliza_activity_log").await, left("api_call_logs").await, left("rate_limits").await), (101, 101, 2));
    assert_eq!(operator::stats(&house.database).await, stats);
    assert_eq!(house.store.signals_after(&cursor).await.unwrap().0, [], "nothing that a limit would hear of");
    house.call("superduper-router").to("agent-manager").send().await.expect(429);

    // Nor does a restart find other limits than before.
    let house = House::plan().at(&clock).in_place_of(&house.close().await).open().await;
    house.call("superduper-router").to("agent-manager").send().await.expect(429);
    house.call("superduper-b").to("agent-manager").action("list_agents").send().await.expect(200);
}

/// The column of a table as texts, in the order of its rows' making.
fn texts(rows: &[PgRow], column: &str) -> Vec<String> {
    rows.iter().map(|row| row.get(column)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn block_000_10_asks_about_conversations_and_finds_none() {
    let house = House::plan().on(Database::Postgres).open().await;
    let block = include_str!("runbook_sql/000_10_L339.sql");
    let rows = ask(&house.database, block).await;
    assert_eq!((rows[0].get::<i64, _>(0), rows[0].len()), (0, 2));
    operator::run(&house.database, "insert into conversation_messages (content) values ('hello')").await;
    assert_eq!(ask(&house.database, block).await[0].get::<i64, _>(0), 1);
    assert!(texts(&ask(&house.database, block).await[1..], "policyname").iter().all(|policy| policy.starts_with("gatekeeper admits")));
}

#[tokio::test(flavor = "multi_thread")]
async fn block_000_11_sums_up_how_the_system_is() {
    let house = House::plan().on(Database::Postgres).variable("SUPABASE_URL", "http://127.0.0.1:9").open().await;
    house.call("gemini-chat").to("openai-chat").send().await.expect(502);
    for _ in 0..3 {
        house.call("gemini-chat").to("agent-manager").operation("DROP TABLE users").send().await.expect(403);
    }
    house.settle().await;
    operator::run(&house.database, "insert into conversation_sessions (is_active) values (true), (false)").await;
    let rows = ask(&house.database, include_str!("runbook_sql/000_11_L413.sql")).await;
    let names: Vec<_> = rows[0].columns().iter().map(sqlx::Column::name).collect();
    let expected =
        ["frontend_uptime_checks", "recent_function_errors", "messages_last_hour", "active_sessions", "database_size", "checked_at"];
    assert_eq!(names, expected);
    let number = |name: &str| rows[0].get::<Option<i64>, _>(name);
    assert_eq!(number("recent_function_errors"), Some(1), "a denial is no error of the function that was not called");
    assert_eq!((number("frontend_uptime_checks"), number("messages_last_hour"), number("active_sessions")), (None, Some(0), Some(1)));
    // It is about 10 MB, where PostgreSQL changes from one unit to the other.
    let size = rows[0].get::<String, _>("database_size");
    assert!(size.ends_with(" kB") || size.ends_with(" MB"), "{size}");
}

#[tokio::test(flavor = "multi_thread")]
async fn blocks_002_05_and_002_06_switch_flags_and_002_02_shows_who_did() {
    let house = House::plan().on(Database::Postgres).open().await;
    operator::run(&house.database, "insert into feature_flags (name) values ('feature_name'), ('affected_feature')").await;
    let cursor = house.store.signal_cursor().await.unwrap();
    ask(&house.database, include_str!("runbook_sql/002_05_L368.sql")).await;
    ask(&house.database, include_str!("runbook_sql/002_06_L389.sql")).await;
    // Its first line is a comment in another language.
    let block = include_str!("runbook_sql/002_01_L179.sql");
    let (comment, update) = block.split_once('\n').unwrap();
    assert!(comment.starts_with('#'));
    assert_eq!(operator::run(&house.database, update).await, 1);

    let flags: Vec<_> = house.store.flags().await.unwrap().into_iter().filter(|flag| !flag.name.contains(':')).collect();
    let flag = |name: &str, enabled, rollout_percentage| Flag { name: name.into(), enabled, kill_switch: true, rollout_percentage };
    assert_eq!(flags, [flag("affected_feature", true, 100), flag("feature_name", false, 25)]);
    let heard = house.store.signals_after(&cursor).await.unwrap().0;
    assert_eq!(heard, [Signal::FlagsChanged, Signal::FlagsChanged, Signal::FlagsChanged, Signal::FlagsChanged]);

    let rows = ask(&house.database, include_str!("runbook_sql/002_02_L205.sql")).await;
    let names: Vec<_> = rows[0].columns().iter().map(sqlx::Column::name).collect();
    assert_eq!(names, ["id", "created_at", "actor", "action", "subject", "reason", "before", "after"]);
    assert_eq!(texts(&rows[..4], "subject"), ["affected_feature", "feature_name", "feature_name", "feature_name"], "the newest first");
    assert!(rows.iter().all(|row| row.get::<String, _>("actor") == "postgres"));
    assert_eq!(rows[1].get::<Value, _>("after")["rollout_percentage"], 25);
}
