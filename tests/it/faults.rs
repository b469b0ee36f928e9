//! What goes wrong around the gatekeeper: the database is killed, targets misbehave, callers hang up, dawdle or flood. Calls go on,
//! the caller is told what was wrong within its time, and everything that happened is recorded once.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use eliza_gatekeeper::clock::{Clock, ManualClock};
use eliza_gatekeeper::journal::{Class, Journal};
use eliza_gatekeeper::record::page;
use eliza_gatekeeper::settings::Bounds;
use eliza_gatekeeper::store::CallRow;
use eliza_gatekeeper::store::control::{ActivityEntry, EntryKind, EntryStatus};
use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::support::Database;
use crate::support::house::{House, eventually, midnight, soon};
use crate::support::line::Line;
use crate::support::on_each_database;
use crate::support::operator::{self, Stat};
use crate::support::postgres::Cluster;
use crate::support::targets::{Conduct, Gate, Targets};

const CHAT: &str = "gemini-chat";
/// Whoever stands still does not have long.
const SOON: fn(&mut Bounds) = |bounds| (bounds.head, bounds.idle) = (Duration::from_millis(300), Duration::from_millis(300));

fn chat_envelope() -> Value {
    json!({"target": "gemini-chat", "payload": {"messages": [{"role": "user", "content": "hello"}]}})
}

fn of<'r>(row: &'r CallRow, member: &str) -> &'r Value {
    &row.metadata[member]
}

// The database.

#[tokio::test(flavor = "multi_thread")]
async fn b14_a_database_that_is_killed_costs_no_call_and_no_record() {
    let server = Cluster::private();
    let url = server.database();
    // What the server said was committed must be there after a kill.
    server.sql("postgres", "alter database test_0 set synchronous_commit = on");
    let house = Arc::new(House::plan().variable("DATABASE_URL", &url).open().await);

    let calling = Arc::new(AtomicBool::new(true));
    let callers: Vec<_> = ["gemini-chat", "openai-chat", "deepseek-chat"]
        .map(|source| {
            let (house, calling) = (Arc::clone(&house), Arc::clone(&calling));
            tokio::spawn(async move {
                let mut ids = BTreeSet::new();
                while calling.load(Ordering::Relaxed) && ids.len() < 450 {
                    let reply = house.call(source).to("agent-manager").action("list_agents").send().await.expect(200);
                    assert!(ids.insert(reply.call_id().to_owned()));
                    assert_eq!(house.get("/readyz").await.status, 200);
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
                ids
            })
        })
        .into();
    eventually("records are written", || async { house.gatekeeper.metrics.records_written.get() > 50 }).await;

    server.kill();
    let seconds = Duration::from_secs(5);
    soon("health says degraded", seconds, Duration::from_millis(50), || async { house.get("/health").await.status == 503 }).await;
    assert_eq!(house.get("/health").await.json()["status"], "degraded");
    assert_eq!(house.get("/api/health").await.expect(503).json()["database"], "disconnected");
    eventually("calls go on meanwhile", || async { house.gatekeeper.pipeline.recorder.journal().standing().waiting > 50 }).await;

    tokio::task::block_in_place(|| server.start());
    eventually("health recovers by itself", || async { house.get("/health").await.status == 200 }).await;
    calling.store(false, Ordering::Relaxed);
    let mut ids = BTreeSet::new();
    for caller in callers {
        ids.extend(caller.await.unwrap());
    }
    let recorded: Vec<_> = house.records().await.iter().map(|row| row.id.to_string()).collect();
    assert_eq!(recorded.len(), ids.len(), "each call once");
    assert_eq!(recorded.into_iter().collect::<BTreeSet<_>>(), ids);
    let calls = i64::try_from(ids.len()).unwrap();
    assert_eq!(operator::number(&url, "select count(*) from api_call_logs").await, calls);
    assert_eq!(operator::number(&url, "select sum(successful_calls)::bigint from eliza_gatekeeper_stats").await, calls);
    assert_eq!(operator::number(&url, "select sum(request_count) from rate_limits").await, calls);
    assert_eq!(house.gatekeeper.metrics.records_dropped.get(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gatekeeper_that_starts_before_its_database_brings_itself_up() {
    let server = Cluster::private();
    let clock = ManualClock::at(Clock::system().now());
    let limits = include_str!("../../policies/limits.toml").replace(r#"limit = ["100/1m"]"#, r#"limit = ["5/1m"]"#);
    let plan = || House::plan().at(&clock).policy("limits.toml", &limits);
    let first = plan().variable("DATABASE_URL", &server.database()).open().await;
    for _ in 0..3 {
        first.call("superduper-a").to("gemini-chat").send().await;
    }
    let made = crate::support::program::Program::beside(&first.database);
    let closed = first.close().await;
    let key = made.run(&["keys", "new", "--name", "k", "--json"]).await.expect(0).value()["key"].as_str().unwrap().to_owned();

    tokio::task::block_in_place(|| server.stop());
    let house = plan().in_place_of(&closed).open().await;
    let with_stored_key =
        || house.call("gemini-chat").without("x-eliza-key").header("x-eliza-key", &key).to("agent-manager").action("list_agents");
    assert_eq!(house.get("/health").await.status, 503);
    assert_eq!(house.get("/readyz").await.status, 200);
    let meanwhile = house.call("superduper-a").to("agent-manager").action("list_agents").send().await.expect(200);
    with_stored_key().send().await.expect(401);

    tokio::task::block_in_place(|| server.start());
    eventually("the stored key is loaded", || async { with_stored_key().send().await.status == 200 }).await;
    eventually("health recovers by itself", || async { house.get("/health").await.status == 200 }).await;
    // Three before, one while it was away, one now: the limit of five is used up.
    house.call("superduper-a").to("agent-manager").action("list_agents").send().await.expect(200);
    house.call("superduper-a").to("agent-manager").action("list_agents").send().await.expect(429);
    assert_eq!(house.record_of(&meanwhile).await.activity_type, "gatekeeper_call");

    // The same where there is not even a schema yet.
    let empty = server.database();
    tokio::task::block_in_place(|| server.stop());
    let house = House::plan().variable("DATABASE_URL", &empty).open().await;
    let meanwhile = house.call(CHAT).to("agent-manager").action("list_agents").send().await.expect(200);
    tokio::task::block_in_place(|| server.start());
    assert_eq!(house.record_of(&meanwhile).await.status, "completed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_locked_sqlite_file_costs_no_call_and_no_record() {
    let house = House::open().await;
    let mut writer = <sqlx::SqliteConnection as sqlx::Connection>::connect(&house.database).await.unwrap();
    sqlx::raw_sql("begin exclusive").execute(&mut writer).await.unwrap();
    for _ in 0..20 {
        house.call(CHAT).to("agent-manager").action("list_agents").send().await.expect(200);
    }
    eventually("records wait", || async { house.gatekeeper.pipeline.recorder.journal().standing().waiting > 0 }).await;
    sqlx::raw_sql("rollback").execute(&mut writer).await.unwrap();
    assert_eq!(house.records().await.len(), 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_let_through_unknown_is_refused_where_its_record_could_not_be_kept() {
    let service = include_str!("../../policies/service.toml");
    let service = service.replace("size = \"1024MiB\"", "size = \"1MiB\"").replace("when_full = \"shed\"", "when_full = \"refuse\"");
    let plan = House::plan().policy("service.toml", &service).variable("GATEKEEPER_ENFORCE", "false");
    let house = plan.open().await;
    let mut writer = <sqlx::SqliteConnection as sqlx::Connection>::connect(&house.database).await.unwrap();
    sqlx::raw_sql("begin exclusive").execute(&mut writer).await.unwrap();
    let journal = house.gatekeeper.pipeline.recorder.journal();
    fill(journal);
    let stranger = || house.nameless_call().to("agent-manager").action("list_agents").send();
    assert_eq!(stranger().await.expect(503).code(), "not_recordable");
    // There is room for whoever is known.
    house.call(CHAT).to("agent-manager").action("list_agents").send().await.expect(200);
    sqlx::raw_sql("rollback").execute(&mut writer).await.unwrap();
    // It is sent on then, and the target knows it as little.
    eventually("there is room again", || async { stranger().await.code() == "target_error" }).await;
}

/// To where strangers find no more room, with entries that can be read.
fn fill(journal: &Journal) {
    let filling = page::of_entry(&ActivityEntry {
        id: uuid::Uuid::now_v7(),
        origin: None,
        at: midnight(),
        kind: EntryKind::AutoFix,
        status: EntryStatus::Triggered,
        title: "fills the journal".into(),
        description: "x".repeat(1000),
        metadata: json!({}),
    });
    while journal.append(Class::Stranger, &filling).is_ok() {}
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_beyond_a_limit_never_take_the_room_of_the_others() {
    let service = include_str!("../../policies/service.toml").replace("size = \"1024MiB\"", "size = \"1MiB\"");
    let limits = include_str!("../../policies/limits.toml").replace(r#"limit = ["100/1m"]"#, r#"limit = ["1/1m"]"#);
    let house = House::plan().at(&ManualClock::at(midnight())).policy("service.toml", &service).policy("limits.toml", &limits).open().await;
    let mut writer = <sqlx::SqliteConnection as sqlx::Connection>::connect(&house.database).await.unwrap();
    sqlx::raw_sql("begin exclusive").execute(&mut writer).await.unwrap();
    let call = |source: &'static str| house.call(source).to("agent-manager").action("list_agents").send();
    let dropped = || house.gatekeeper.metrics.records_dropped.get();
    call("superduper-a").await.expect(200);
    call("superduper-a").await.expect(429);
    let journal = house.gatekeeper.pipeline.recorder.journal();
    fill(journal);
    assert_eq!(dropped(), 0);
    call(CHAT).await.expect(200);
    assert_eq!(dropped(), 0, "there is room for it");
    call("superduper-a").await.expect(429);
    assert_eq!(dropped(), 1, "and none for this one");
    sqlx::raw_sql("rollback").execute(&mut writer).await.unwrap();
}

// Targets.

/// How a target misbehaves, and what its caller and its operator are told.
struct Mishap {
    target: &'static str,
    conduct: Option<Conduct>,
    status: u16,
    code: &'static str,
}

on_each_database!(b11_a_target_at_fault_is_told_and_recorded, a_flood_of_strangers_is_bounded_and_harms_nobody);

async fn b11_a_target_at_fault_is_told_and_recorded(database: Database) {
    let closed_port = tokio::net::TcpSocket::new_v4().unwrap();
    closed_port.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let gate = Gate::shut();
    let mishap = |target, conduct, status, code| Mishap { target, conduct, status, code };
    let mishaps = [
        mishap("refused", None, 502, "upstream_unreachable"),
        mishap("hung", Some(Conduct::Hang(gate.clone())), 504, "upstream_timeout"),
        mishap("closed", Some(Conduct::close()), 502, "upstream_reset"),
        mishap("reset", Some(Conduct::reset()), 502, "upstream_reset"),
        mishap("reset-in-head", Some(Conduct::reset_mid_head()), 502, "upstream_reset"),
        mishap("rubbish", Some(Conduct::garbage()), 502, "upstream_invalid_response"),
        mishap("endless-head", Some(Conduct::huge_head()), 502, "upstream_invalid_response"),
        mishap("failing", Some(Conduct::html_500()), 500, "target_error"),
        mishap("failing-silently", Some(Conduct::empty_502()), 502, "target_error"),
    ];
    let names = mishaps[1..].iter().map(|mishap| format!("\"{}\"", mishap.target)).collect::<Vec<_>>().join(", ");
    let policy = format!(
        "[[target]]\nnames = [{names}]\ntimeout = \"400ms\"\n\
         [[target]]\nnames = [\"refused\"]\nurl = \"http://{}/secret-path\"\ncredentials = \"none\"\ntimeout = \"400ms\"\n",
        closed_port.local_addr().unwrap()
    );
    let conducts = mishaps.iter().filter_map(|mishap| Some((mishap.target, mishap.conduct.clone()?)));
    let targets = conducts.fold(Targets::like_the_platform(), |targets, (name, conduct)| targets.but(name, conduct));
    let house = House::plan().on(database).targets(targets).policy("mishaps.toml", &policy).open().await;

    for Mishap { target, status, code, .. } in &mishaps {
        let asked = Instant::now();
        let reply = house.call(CHAT).to(target).action("try").send().await.expect(*status);
        assert!(asked.elapsed() < Duration::from_secs(3), "{target}: {:?}", asked.elapsed());
        let body = reply.json();
        assert_eq!(body["code"], *code, "{target}");
        assert!(body["error"].is_string() && body["message"].is_string() && body["call_id"] == reply.call_id(), "{target}: {body}");
        let told = body.to_string();
        for inside in ["127.0.0.1", "secret-path", "index.ts", "/srv"] {
            assert!(!told.contains(inside), "{target}: {told}");
        }

        let row = house.record_of(&reply).await;
        let answered = *code == "target_error";
        assert_eq!(row.activity_type, if answered { "gatekeeper_call" } else { "gatekeeper_error" }, "{target}");
        assert_eq!(row.status, "error", "{target}");
        let known = ["source", "target", "action", "status", "code", "success"].map(|member| of(&row, member).clone());
        assert_eq!(known, [json!(CHAT), json!(target), json!("try"), json!(status), json!(code), json!(false)], "{target}");
        let api = format!("select count(*) from api_call_logs where id = '{}' and status = ", reply.call_id());
        let word = if *status == 504 { "'timeout'" } else { "'error'" };
        assert_eq!(operator::number(&house.database, &(api + word)).await, 1, "{target}");
    }
    let failed: Vec<_> = operator::stats(&house.database).await.into_iter().map(|stat| (stat.failed_calls, stat.total_calls)).collect();
    assert_eq!(failed, vec![(1, 1); mishaps.len()]);
    gate.open();
}

#[tokio::test]
async fn a_caller_that_hangs_up_is_recorded_once() {
    let gate = Gate::shut();
    let house = House::plan().targets(Targets::like_the_platform().but(CHAT, Conduct::Hang(gate))).open().await;
    let mut line = Line::to(house.data).await;
    line.call(CHAT, &chat_envelope()).await;
    house.targets.arrival(CHAT, 1).await;
    drop(line);

    eventually("the call is recorded", || async { house.records().await.len() == 1 }).await;
    let row = house.records().await.remove(0);
    assert_eq!((row.activity_type.as_str(), row.status.as_str()), ("gatekeeper_error", "error"));
    assert_eq!((of(&row, "code"), of(&row, "source"), of(&row, "target")), (&json!("abandoned"), &json!(CHAT), &json!(CHAT)));
    assert_eq!(operator::stats(&house.database).await, [Stat::of(CHAT, CHAT, [0, 1, 0])]);
}

#[tokio::test]
async fn a_caller_that_hangs_up_in_mid_stream_is_recorded_once() {
    let gate = Gate::shut();
    let stream = Conduct::Drip { gate: gate.clone(), content_type: "text/event-stream", pieces: vec!["data: one\n\n", "data: two\n\n"] };
    let house = House::plan().targets(Targets::like_the_platform().but(CHAT, stream)).open().await;
    let mut line = Line::to(house.data).await;
    line.call(CHAT, &chat_envelope()).await;
    gate.let_one();
    line.hear("data: one").await;
    assert_eq!(house.gatekeeper.metrics.in_flight.get(), 1, "the call goes on until its stream ends");
    drop(line);

    eventually("the call is recorded", || async { house.records().await.len() == 1 }).await;
    let row = house.records().await.remove(0);
    assert_eq!((row.activity_type.as_str(), row.status.as_str()), ("gatekeeper_call", "completed"), "the target did its part");
    assert_eq!((of(&row, "code"), of(&row, "status")), (&json!("abandoned"), &json!(200)));
    assert_eq!(of(&row, "response_bytes"), &json!("data: one\n\n".len()));
}

#[tokio::test]
async fn a_stream_that_breaks_is_recorded_as_broken() {
    let gate = Gate::shut();
    let house = House::plan().targets(Targets::like_the_platform().but(CHAT, Conduct::reset_mid_body(&gate))).open().await;
    let mut line = Line::to(house.data).await;
    line.call(CHAT, &chat_envelope()).await;
    line.hear("half.").await;
    gate.open();
    line.hear_the_end().await;

    eventually("the call is recorded", || async { house.records().await.len() == 1 }).await;
    let row = house.records().await.remove(0);
    assert_eq!((row.activity_type.as_str(), row.status.as_str()), ("gatekeeper_call", "error"));
    assert_eq!((of(&row, "code"), of(&row, "status")), (&json!("answer_broken"), &json!(200)));
}

// Callers.

async fn a_flood_of_strangers_is_bounded_and_harms_nobody(database: Database) {
    const FLOOD: usize = 5_000;
    let clock = ManualClock::at(midnight());
    let house = House::plan().on(database).at(&clock).open().await;
    let remaining = |reply: &crate::support::house::Reply| reply.header("x-ratelimit-remaining").unwrap().parse::<u32>().unwrap();
    let good = || house.call(CHAT).to("agent-manager").action("list_agents");
    let before = remaining(&good().send().await.expect(200));

    // They claim to be the good caller.
    let stranger = || house.nameless_call().header("x-eliza-key", "wrong").header("x-eliza-source", CHAT).to("agent-manager");
    for _ in 0..FLOOD / 100 {
        let crowd = join_all((0..100).map(|_| stranger().send()));
        let (crowd, beside) = tokio::join!(crowd, good().send());
        assert!(crowd.iter().all(|reply| reply.status == 401));
        beside.expect(200);
    }
    let calls = 1 + FLOOD / 100 + 1;
    assert_eq!(remaining(&good().send().await.expect(200)), before + 1 - u32::try_from(calls).unwrap(), "no limit but by its own calls");

    let closed = house.close().await;
    let count = async |of: &str| operator::number(&closed.database, &format!("select count(*) from {of}")).await;
    let calls = i64::try_from(calls).unwrap();
    assert_eq!(count("eliza_activity_log where activity_type = 'gatekeeper_call'").await, calls);
    assert_eq!(
        count("eliza_activity_log where activity_type = 'gatekeeper_denied'").await,
        101,
        "as many as policy says, and one for all others"
    );
    assert_eq!(count("eliza_activity_log where title like '%4900 unauthenticated calls'").await, 1);
    assert_eq!(count("rate_limits where identifier <> 'gemini-chat'").await, 0, "strangers count against nobody");
    let strangers = Stat::of("unauthenticated", "", [0, 0, i64::try_from(FLOOD).unwrap()]);
    assert_eq!(operator::stats(&closed.database).await, [Stat::of(CHAT, "agent-manager", [calls, 0, 0]), strangers]);
}

#[tokio::test]
async fn whoever_never_finishes_a_head_is_cut_off() {
    let house = House::plan().bounds(SOON).open().await;
    let heads = [
        "",
        "P",
        "PRI * HTTP/2.0\r\n",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        "POST / HTTP/1.1\r\nhost: gatekeeper\r\nx-eliza-key: ",
        // A call that was answered, and then nothing, or half of the next.
        "GET /livez HTTP/1.1\r\nhost: gatekeeper\r\n\r\n",
        "GET /livez HTTP/1.1\r\nhost: gatekeeper\r\n\r\nGET /livez HT",
    ];
    let held = join_all(heads.map(|head| async move {
        let mut line = Line::to(house.data).await;
        line.say(head).await;
        let begun = Instant::now();
        line.hear_the_end().await;
        (head, begun.elapsed())
    }))
    .await;
    for (head, held) in held {
        assert!(held < Duration::from_secs(5), "{head:?} held its connection for {held:?}");
    }
}

#[tokio::test]
async fn a_head_that_drips_is_cut_off_too() {
    let house = House::plan().bounds(SOON).open().await;
    let mut line = Line::to(house.data).await;
    let dripping = async {
        line.say("POST / HTTP/1.1\r\n").await;
        for n in 0..200 {
            tokio::time::sleep(Duration::from_millis(50)).await;
            if !line.try_say(&format!("x-{n}: y\r\n")).await {
                return n;
            }
        }
        panic!("nobody minds");
    };
    assert!(dripping.await < 100);
}

#[tokio::test]
async fn a_slow_body_is_answered_408() {
    let service = include_str!("../../policies/service.toml").replace(r#"read_timeout = "30s""#, r#"read_timeout = "300ms""#);
    let house = House::plan().policy("service.toml", &service).open().await;
    let mut line = Line::to(house.data).await;
    line.begin_call(CHAT, 1000).await;
    line.say(r#"{"target":"#).await;
    let answer = line.hear_the_end().await;
    assert!(answer.starts_with("HTTP/1.1 408 ") && answer.contains(r#""code":"body_too_slow""#), "{answer}");
    let row = house.records().await.remove(0);
    assert_eq!((row.activity_type.as_str(), row.status.as_str()), ("gatekeeper_denied", "blocked"));
    assert_eq!((of(&row, "source"), of(&row, "status"), of(&row, "code")), (&json!(CHAT), &json!(408), &json!("body_too_slow")));
}
