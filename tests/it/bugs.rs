//! The bugs of the original, one test for each, by their numbers: what its callers suffered from must not come back. ARCHITECTURE.md
//! lists them all; those missing here (7, 8, 11, 14, 21, 22) have tests of their name where they belong.

use std::time::Duration;

use eliza_gatekeeper::clock::ManualClock;
use futures_util::future::join_all;
use http::Method;
use serde_json::{Value, json};

use crate::support::house::{House, KEY, SERVICE_KEY, eventually, midnight};
use crate::support::line::Line;
use crate::support::operator;
use crate::support::program::Program;
use crate::support::targets::{Conduct, SPEECH, Targets};

/// Policies give it the user's tier: a hundred calls a minute.
const SOURCE: &str = "superduper-router";

fn chat(stream: bool) -> Value {
    json!({"messages": [{"role": "user", "content": "one two three"}], "stream": stream})
}

#[tokio::test]
async fn b01_calls_are_counted_and_the_limit_fires() {
    let house = House::plan().at(&ManualClock::at(midnight())).open().await;
    let replies = join_all((0..150).map(|_| house.call(SOURCE).to("render-api").send())).await;
    assert_eq!(replies.iter().filter(|reply| reply.status == 200).count(), 100);
    house.settle().await;
    let count = async |query: &str| operator::number(&house.database, query).await;
    assert_eq!(count("select sum(request_count) from rate_limits").await, 150);
    assert_eq!(count("select max(request_count) from rate_limits where endpoint = 'render-api:undefined'").await, 100);
}

#[tokio::test]
async fn b02_other_actions_get_a_source_no_further() {
    let house = House::plan().at(&ManualClock::at(midnight())).open().await;
    let replies = join_all((0..150).map(|n| house.call(SOURCE).to("render-api").action(&format!("action-{n}")).send())).await;
    assert_eq!(replies.iter().filter(|reply| reply.status == 200).count(), 100);
    house.settle().await;
    let rows = operator::number(&house.database, "select count(*) from rate_limits").await;
    assert!(rows <= 66, "{rows} rows: 64 endpoints, all others, and those refused before theirs was known");
}

#[tokio::test]
async fn b03_a_targets_failure_is_a_failure() {
    let house = House::open().await;
    let failed = house.call("gemini-chat").to("python-executor").payload(json!({"code": "raise Oops"})).send().await.expect(500);
    assert_eq!(failed.json(), json!({"error": "Execution failed: raise Oops"}));
    assert_eq!(house.record_of(&failed).await.metadata["success"], false);
}

#[tokio::test]
async fn b04_the_action_reaches_targets_that_read_it() {
    let house = House::open().await;
    for target in ["github-integration", "task-orchestrator", "knowledge-manager", "schema-manager", "agent-manager"] {
        house.call("agent-manager").to(target).action("list_agents").payload(json!({"repo": "r"})).send().await.expect(200);
        let body = house.targets.received_once(target).json();
        assert_eq!((&body["action"], &body["data"]), (&json!("list_agents"), &json!({"repo": "r"})), "{target}");
    }
}

#[tokio::test]
async fn b05_false_stays_false_and_no_payload_is_no_error() {
    let house = House::open().await;
    let call = || house.call("gemini-chat").to("agent-manager").action("list_agents");
    call().payload(json!({"autonomous": false})).send().await.expect(200);
    call().send().await.expect(200);
    let bodies: Vec<_> = house.targets.received("agent-manager").iter().map(|received| received.json()).collect();
    assert_eq!((&bodies[0]["autonomous"], &bodies[1]["autonomous"], &bodies[1]["data"]), (&json!(false), &json!(true), &json!({})));
}

#[tokio::test]
async fn b06_the_service_role_key_counts_only_whole() {
    let house = House::open().await;
    let showing = |name: &str, value: String| house.nameless_call().to("render-api").header(name, &value);
    for wrong in
        [format!("Bearer x{SERVICE_KEY}y"), format!("Bearer {SERVICE_KEY}y"), format!("Bearer {}", &SERVICE_KEY[1..]), SERVICE_KEY.into()]
    {
        showing("authorization", wrong).send().await.expect(401);
    }
    showing("apikey", format!("{SERVICE_KEY}{SERVICE_KEY}")).send().await.expect(401);
    showing("authorization", format!("Bearer {SERVICE_KEY}")).send().await.expect(200);
    showing("apikey", SERVICE_KEY.to_owned()).send().await.expect(200);
    assert_eq!(house.targets.received_in_all().len(), 2);
}

#[tokio::test]
async fn b09_the_published_key_and_source_open_nothing() {
    let published = ["eliza", "internal", "key", "2025"].join("-");
    for name in ["INTERNAL_ELIZA_KEY", "INTERNAL_ELIZA_KEY_PREVIOUS"] {
        let ran = Program::new().variable(name, &published).run(&["serve"]).await.expect(78);
        assert!(ran.err.contains(&format!("{name} is the key that was published")) && !ran.err.contains(&published), "{ran:?}");
    }
    let house = House::open().await;
    house.call("gemini-chat").without("x-eliza-key").header("x-eliza-key", &published).to("render-api").send().await.expect(401);
    house.call("edge-function").to("render-api").send().await.expect(401);
}

#[tokio::test]
async fn b10_nothing_of_a_body_is_read_before_its_caller_is_known() {
    let house = House::open().await;
    // Bodies that are announced and never come: the answer is there all the same.
    let mut stranger = Line::to(house.data).await;
    stranger
        .say("POST / HTTP/1.1\r\nhost: h\r\nx-eliza-key: wrong\r\nx-eliza-source: gemini-chat\r\ncontent-length: 1000000000\r\n\r\n")
        .await;
    stranger.hear("HTTP/1.1 401 ").await;
    let mut known = Line::to(house.data).await;
    known.begin_call("gemini-chat", 11 << 20).await;
    known.hear("HTTP/1.1 413 ").await;

    house.nameless_call().raw("{oops").send().await.expect(401);
    assert_eq!(house.call("gemini-chat").raw("{oops").send().await.expect(400).code(), "invalid_json");
}

#[tokio::test]
async fn b12_errors_say_nothing_of_the_inside() {
    let house = House::plan().targets(Targets::like_the_platform().but("render-api", Conduct::html_500())).open().await;
    let target = house.call("gemini-chat").to("render-api").send().await.expect(500);
    let syntax = house.call("gemini-chat").raw(r#"{"target": "render-api", "payload": {"password": hunter2}}"#).send().await.expect(400);
    for reply in [target, syntax] {
        let row = house.record_of(&reply).await;
        for text in [String::from_utf8_lossy(&reply.body).into_owned(), row.metadata.to_string(), row.description] {
            for inside in ["index.ts", "/srv", "<html", "hunter2", "stack", "src/"] {
                assert!(!text.contains(inside), "{inside}: {text}");
            }
        }
    }
}

#[tokio::test]
async fn b13_no_body_and_no_secret_is_kept() {
    let house = House::open().await;
    let mut payload = chat(false);
    payload["session_credentials"] = json!({"openai": "sk-secret-of-a-user"});
    payload["messages"][0]["content"] = json!("words-of-a-user");
    let reply = house.call("lovable-chat").to("deepseek-chat").payload(payload).send().await.expect(200);
    assert!(String::from_utf8_lossy(&reply.body).contains("words-of-a-user"), "the answer says it again");
    let sql = "delete from accounts where 'value-of-a-user' = 'value-of-a-user'";
    house.call("gemini-chat").to("schema-manager").operation(sql).send().await.expect(403);
    house.nameless_call().header("x-eliza-key", "guess-of-a-stranger").send().await.expect(401);
    house.settle().await;
    let kept = operator::everything(&house.database).await;
    assert!(kept.contains("deepseek-chat") && kept.contains("delete from accounts"));
    for secret in ["sk-secret-of-a-user", "words-of-a-user", "value-of-a-user", "guess-of-a-stranger", KEY, SERVICE_KEY] {
        assert!(!kept.contains(secret), "{secret} is in the database");
    }
}

#[tokio::test]
async fn b15_refusals_are_recorded_and_the_service_role_has_a_name() {
    let house = House::plan().at(&ManualClock::at(midnight())).open().await;
    join_all((0..100).map(|_| house.call(SOURCE).to("render-api").send())).await;
    let refusals = [
        (house.nameless_call().to("render-api").send().await, 401, "unauthenticated", "unauthorized"),
        (house.call("gemini-chat").to("nobody").send().await, 404, "gemini-chat", "unknown_target"),
        (house.call(SOURCE).to("render-api").send().await, 429, SOURCE, "rate_limited"),
        (house.call("gemini-chat").raw("").send().await, 400, "gemini-chat", "invalid_json"),
        (
            house.call("gemini-chat").to("render-api").operation("drop schema public").send().await,
            403,
            "gemini-chat",
            "dangerous_operation",
        ),
    ];
    for (reply, status, source, code) in refusals {
        let row = house.record_of(&reply.expect(status)).await;
        let kept = ["source", "status", "code"].map(|member| row.metadata[member].clone());
        assert_eq!((kept, row.status.as_str()), ([json!(source), json!(status), json!(code)], "blocked"));
    }
    let service = house.nameless_call().header("apikey", SERVICE_KEY).to("render-api").send().await.expect(200);
    let row = house.record_of(&service).await;
    assert_eq!((&row.metadata["source"], row.title.contains("null")), (&json!("service_role"), false));
    let stats = operator::stats(&house.database).await;
    let denied: Vec<_> = stats.iter().filter(|stat| stat.denied_calls > 0).map(|stat| (stat.source.as_str(), stat.denied_calls)).collect();
    assert_eq!(denied, [("gemini-chat", 2), ("gemini-chat", 1), (SOURCE, 1), ("unauthenticated", 1)]);
}

#[tokio::test]
async fn b17_sql_is_judged_whatever_target_it_is_for() {
    let house = House::open().await;
    let buried = json!({"steps": [{"kind": "db", "params": {"SQL": "drop table users"}}]});
    for (target, payload) in [("python-executor", json!({"query": "TRUNCATE users"})), ("gemini-chat", buried)] {
        let refused = house.call("lovable-chat").to(target).payload(payload).send().await.expect(403);
        assert_eq!(refused.code(), "dangerous_operation", "{target}");
        assert!(house.targets.received(target).is_empty(), "{target} was called");
    }
}

#[tokio::test]
async fn b18_calls_are_posts() {
    let house = House::open().await;
    for method in [Method::GET, Method::PUT, Method::PATCH, Method::DELETE] {
        let reply = house.call("gemini-chat").to("render-api").method(method).send().await.expect(405);
        assert_eq!((reply.header("allow"), reply.code().as_str()), (Some("POST, OPTIONS"), "method_not_allowed"));
    }
    assert_eq!(house.targets.received_in_all().len(), 0);
}

#[tokio::test]
async fn b19_one_id_and_one_trace_go_with_a_call_from_end_to_end() {
    let house = House::open().await;
    let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let reply = house.call("gemini-chat").header("traceparent", trace).to("agent-manager").action("list_agents").send().await.expect(200);
    let received = house.targets.received_once("agent-manager");
    assert_eq!(received.header("x-call-id"), Some(reply.call_id()));
    assert!(received.header("traceparent").unwrap().starts_with("00-4bf92f3577b34da6a3ce929d0e0e4736-"));
    let record = house.record_of(&reply).await;
    assert_eq!(record.id.to_string(), reply.call_id());
    assert_eq!(record.metadata["trace_id"], "4bf92f3577b34da6a3ce929d0e0e4736");
    let in_api_log = format!("select count(*) from api_call_logs where id = '{}'", reply.call_id());
    assert_eq!(operator::number(&house.database, &in_api_log).await, 1);
}

#[tokio::test]
async fn b20_policy_says_which_pages_may_call() {
    let service = include_str!("../../policies/service.toml").replace(r#"origins = ["*"]"#, r#"origins = ["https://app.example"]"#);
    let house = House::plan().policy("service.toml", &service).open().await;
    let from = async |origin: &str| house.call("gemini-chat").to("render-api").header("origin", origin).send().await.expect(200);
    let (ours, theirs) = (from("https://app.example").await, from("https://elsewhere.example").await);
    assert_eq!((ours.header("access-control-allow-origin"), ours.header("vary")), (Some("https://app.example"), Some("origin")));
    assert_eq!((theirs.header("access-control-allow-origin"), theirs.header("access-control-allow-headers")), (None, None));
}

#[tokio::test]
async fn b23_health_is_told_and_costs_nothing() {
    let house = House::open().await;
    for path in ["/livez", "/readyz", "/healthz", "/health", "/api/health", "/api/monitoring/health"] {
        eventually(path, || async { house.get(path).await.status == 200 }).await;
    }
    assert_eq!(house.get("/health").await.json()["database"]["connected"], true);
    assert_eq!(house.records().await, []);
}

#[tokio::test]
async fn b24_a_429_says_when_to_come_back() {
    let clock = ManualClock::at(midnight().plus(Duration::from_secs(47)));
    let house = House::plan().at(&clock).open().await;
    join_all((0..100).map(|_| house.call(SOURCE).to("render-api").send())).await;
    let refused = house.call(SOURCE).to("render-api").send().await.expect(429);
    let wait: u64 = refused.header("retry-after").unwrap().parse().unwrap();
    assert_eq!(wait, 13, "until the minute ends");
    clock.advance(Duration::from_secs(wait));
    house.call(SOURCE).to("render-api").send().await.expect(200);
}

#[tokio::test]
async fn b25_bytes_and_streams_come_through_as_they_are() {
    let house = House::open().await;
    let speech = house.call("lovable-chat").to("openai-tts").payload(json!({"text": "hello"})).send().await.expect(200);
    assert_eq!((speech.header("content-type"), speech.body.as_ref()), (Some("audio/mpeg"), &SPEECH[..]));
    let stream = house.call("lovable-chat").to("gemini-chat").payload(chat(true)).send().await.expect(200);
    assert_eq!(stream.header("content-type"), Some("text/event-stream"));
    assert!(stream.body.starts_with(b"data: {\"delta\":") && stream.body.ends_with(b"data: [DONE]\n\n"), "{:?}", stream.body);
}

#[tokio::test]
async fn b26_policy_says_who_may_call_whom() {
    let policy = "[[target]]\nnames = [\"deployments\"]\ncallers = [\"vercel-manager\"]\n";
    let house = House::plan().policy("deployments.toml", policy).open().await;
    house.call("vercel-manager").to("deployments").send().await.expect(200);
    assert_eq!(house.call("openai-tts").to("deployments").send().await.expect(403).code(), "caller_not_allowed");
    assert_eq!(house.targets.received("deployments").len(), 1);
}
