//! The original's callers find what they always found: every call site of its clients, sent as they send it and read as they read it,
//! reaches a target that behaves like the real one. And what never worked for them, works.

use serde_json::{Map, Value, json};

use crate::support::client::{Client, Read};
use crate::support::house::{House, KEY, Reply, SERVICE_KEY};
use crate::support::line::Line;
use crate::support::rows::rows;
use crate::support::targets::{Conduct, Gate, Received, SPEECH, Targets};

const SOURCES: [&str; 29] = [
    "lovable-chat",
    "autonomous-code-fixer",
    "code-monitor-daemon",
    "agent-manager",
    "schema-manager",
    "gemini-chat",
    "deepseek-chat",
    "openai-chat",
    "task-orchestrator",
    "python-executor",
    "github-integration",
    "render-api",
    "vercel-manager",
    "ecosystem-monitor",
    "system-diagnostics",
    "xmrt-mcp-server",
    "knowledge-manager",
    "enhanced-learning",
    "predictive-analytics",
    "scenario-modeler",
    "multi-step-orchestrator",
    "nlg-generator",
    "get-embedding",
    "extract-knowledge",
    "summarize-conversation",
    "vectorize-memory",
    "conversation-access",
    "openai-tts",
    "self-optimizing-agent-architecture",
];

/// Targets beside the sources, which all are targets too.
const ONLY_TARGETS: [&str; 4] =
    ["monitor-device-connections", "issue-engagement-command", "validate-pop-event", "aggregate-device-metrics"];

/// One place in a caller's code.
struct Site {
    at: &'static str,
    source: &'static str,
    target: &'static str,
    action: Option<&'static str>,
    payload: Value,
    reads: Reads,
}

/// What the caller has in its hands afterwards.
enum Reads {
    /// The client's `data`.
    Data(Value),
    /// The body itself: it uses no client.
    Body(Value),
}

fn site(at: &'static str, target: &'static str, action: &'static str, payload: Value, reads: Value) -> Site {
    let source = at.split(':').next().unwrap();
    Site { at, source, target, action: (!action.is_empty()).then_some(action), payload, reads: Reads::Data(reads) }
}

/// In the order in which one conversation might make them: `agent-manager` remembers.
fn sites() -> Vec<Site> {
    let ran = |code: &str| json!({"output": format!("ran {} characters", code.len()), "exitCode": 0});
    let agent = json!({"id": "agent-1", "name": "Scout", "role": "research", "skills": ["web", "sql"], "status": "IDLE"});
    let task = json!({
        "title": "Survey", "description": "Who drops tables?", "repo": "suite", "category": "code", "stage": "DISCUSS",
        "assignee_agent_id": "agent-1", "priority": 5,
    });
    let with = |base: &Value, more: Value| {
        let mut members: Map<String, Value> = base.as_object().unwrap().clone();
        members.extend(more.as_object().unwrap().clone());
        Value::Object(members)
    };
    let pending = with(&task, json!({"id": "task-1", "status": "PENDING"}));
    let busy = with(&agent, json!({"status": "BUSY"}));
    let moved = with(&pending, json!({"status": "IN_PROGRESS", "stage": "PLAN"}));
    let (github, autonomous_code) = (json!({"title": "Fix", "labels": ["bug"]}), "print('done')");
    let workflow = |input: &str| json!({"workflow": {"name": "audit", "steps": []}, "userInput": input, "context": {"sessionId": "s-1"}});
    let started = || json!({"success": true, "workflow_id": "workflow-1", "status": "started"});
    let raw = |mut site: Site| {
        site.reads = match site.reads {
            Reads::Data(value) | Reads::Body(value) => Reads::Body(value),
        };
        site
    };
    vec![
        site(
            "lovable-chat:49",
            "deepseek-chat",
            "",
            json!({
                "messages": [{"role": "user", "content": "drop table talk, please"}], "conversationHistory": [],
                "userContext": {"ip": "203.0.113.9", "isFounder": true}, "miningStats": {"hashrate": 7}, "systemVersion": null,
                "session_credentials": {"openai": "sk-of-the-user"},
            }),
            json!({"success": true, "response": "deepseek-chat heard: drop table talk, please"}),
        ),
        site("lovable-chat:235", "multi-step-orchestrator", "", workflow("audit the repo"), started()),
        site("lovable-chat:334", "multi-step-orchestrator", "", workflow("and again"), started()),
        site("multi-step-orchestrator:415", "get-embedding", "", json!({"text": "hello"}), json!({"text": "hello"})),
        site("multi-step-orchestrator:509", "python-executor", "", json!({"code": "1+1", "purpose": "step 2"}), ran("1+1")),
        site(
            "autonomous-code-fixer:264",
            "deepseek-chat",
            "",
            json!({
                "messages": [{"role": "user", "content": "fix it"}], "conversationHistory": [],
                "userContext": {"ip": "system", "isFounder": false}, "miningStats": null, "systemVersion": null,
            }),
            json!({"success": true, "response": "deepseek-chat heard: fix it"}),
        ),
        site("autonomous-code-fixer:349", "python-executor", "", json!({"code": "2+2", "purpose": "retry"}), ran("2+2")),
        site("gemini-chat:788", "python-executor", "", json!({"code": "3", "purpose": "ask"}), ran("3")),
        site("gemini-chat:847", "agent-manager", "list_agents", json!({}), json!([])),
        site(
            "gemini-chat:912",
            "agent-manager",
            "spawn_agent",
            json!({"name": "Scout", "role": "research", "skills": ["web", "sql"]}),
            agent.clone(),
        ),
        site("gemini-chat:931", "agent-manager", "update_agent_status", json!({"agent_id": "agent-1", "status": "BUSY"}), busy),
        site("gemini-chat:949", "agent-manager", "assign_task", task, pending.clone()),
        site("gemini-chat:1208", "agent-manager", "request_assignment", json!({"agent_id": "agent-1"}), pending),
        site(
            "gemini-chat:984",
            "agent-manager",
            "update_task_status",
            json!({"task_id": "task-1", "status": "IN_PROGRESS", "stage": "PLAN"}),
            moved.clone(),
        ),
        site(
            "gemini-chat:1047",
            "agent-manager",
            "get_agent_workload",
            json!({"agent_id": "agent-1"}),
            json!({"agent_id": "agent-1", "current_workload": 1, "tasks": [moved]}),
        ),
        site(
            "gemini-chat:1072",
            "agent-manager",
            "delete_task",
            json!({"task_id": "task-1", "reason": "done"}),
            json!({"deleted": "task-1", "reason": "done"}),
        ),
        site(
            "gemini-chat:1223",
            "agent-manager",
            "log_decision",
            json!({"agent_id": "agent-1", "decision": "rest", "rationale": "nothing left to truncate"}),
            json!({"logged": "rest"}),
        ),
        site("gemini-chat:1276", "agent-manager", "cleanup_duplicate_agents", json!({}), json!({"removed": 0})),
        raw(site(
            "agent-manager:157",
            "python-executor",
            "execute",
            json!({"code": autonomous_code, "source": "autonomous_agent", "agent_id": "agent-1", "task_id": "task-1", "purpose": "work"}),
            ran(autonomous_code),
        )),
        raw(site(
            "agent-manager:168",
            "github-integration",
            "create_issue",
            github.clone(),
            json!({"success": true, "data": {"action": "create_issue", "received": github}}),
        )),
    ]
}

/// The body that a target's own code reads.
fn as_read_by(target: &str, action: Option<&str>, payload: &Value) -> Value {
    match target {
        "agent-manager" => json!({"action": action, "data": payload, "autonomous": true}),
        "github-integration" | "task-orchestrator" | "knowledge-manager" | "schema-manager" => json!({"action": action, "data": payload}),
        _ => payload.clone(),
    }
}

/// How every target is addressed, whoever calls it.
fn arrived_well(at: &str, received: &Received, reply: &Reply) {
    assert_eq!((received.method.as_str(), received.query.as_deref()), ("POST", None), "{at}");
    assert_eq!(received.path, format!("/functions/v1/{}", received.target), "{at}");
    let trace = received.header("traceparent").unwrap();
    assert!(trace.starts_with("00-") && trace.len() == 55, "{at}: {trace}");
    let expected = [
        ("authorization", Some(format!("Bearer {SERVICE_KEY}"))),
        ("apikey", Some(SERVICE_KEY.to_owned())),
        ("content-type", Some("application/json".to_owned())),
        ("x-call-id", Some(reply.call_id().to_owned())),
        ("x-eliza-hops", Some("1".to_owned())),
        ("x-eliza-key", None),
        ("x-eliza-source", None),
    ];
    for (name, value) in expected {
        assert_eq!(received.header(name), value.as_deref(), "{at}: {name}");
    }
    assert!(!format!("{:?} {:?}", received.headers, received.body).contains(KEY), "{at}: the key went on");
}

#[tokio::test]
async fn every_call_site_works_as_it_did() {
    let house = House::open().await;
    let mut expected_stats = std::collections::BTreeMap::new();
    for Site { at, source, target, action, payload, reads } in sites() {
        let read = Client::of(&house, source).invoke(target, action, Some(&payload)).await;
        assert_eq!((read.reply.status, &read.error), (200, &None), "{at}");
        match reads {
            Reads::Data(data) => assert_eq!(read.data, data, "{at}"),
            Reads::Body(body) => assert_eq!(read.reply.json(), body, "{at}"),
        }

        let received = house.targets.received(target).pop().unwrap();
        assert_eq!(received.json(), as_read_by(target, action, &payload), "{at}");
        arrived_well(at, &received, &read.reply);

        let record = house.record_of(&read.reply).await;
        assert_eq!((record.activity_type.as_str(), record.status.as_str()), ("gatekeeper_call", "completed"), "{at}");
        assert_eq!(record.title, format!("\u{1f6e1}\u{fe0f} {source} \u{2192} {target}"), "{at}");
        assert_eq!(record.description, format!("Action: {}", action.unwrap_or("undefined")), "{at}");
        let told = |name: &str| record.metadata[name].clone();
        assert_eq!(
            [told("source"), told("target"), told("action"), told("success"), told("status")],
            [json!(source), json!(target), json!(action), json!(true), json!(200)],
            "{at}"
        );
        assert!(told("execution_time_ms").is_u64(), "{at}");

        let columns = "function_name, status, error_message, request_payload, response_data, caller_context";
        let logged = rows(&house.database, &format!("select {columns} from api_call_logs where id = '{}'", record.id)).await;
        let [logged] = logged.try_into().unwrap();
        assert_eq!(logged[..3], ["eliza-gatekeeper", "success", ""], "{at}");
        let parsed = |text: &str| serde_json::from_str::<Value>(text).unwrap();
        assert_eq!(parsed(&logged[3]), json!({"target": target, "action": action, "source": source}), "{at}");
        assert_eq!((logged[4].as_str(), parsed(&logged[5])), ("", json!({"source": source, "authenticated": true})), "{at}");
        *expected_stats.entry(vec![source.to_owned(), target.to_owned()]).or_insert(0) += 1;
    }
    let stats = rows(&house.database, "select source, target, total_calls, successful_calls from eliza_gatekeeper_stats").await;
    let stats: std::collections::BTreeMap<_, _> = stats
        .into_iter()
        .map(|row| {
            assert_eq!(row[2], row[3]);
            (row[..2].to_vec(), row[2].parse::<i32>().unwrap())
        })
        .collect();
    assert_eq!(stats, expected_stats);
}

#[tokio::test]
async fn the_examples_of_the_system_prompt_and_the_helpers_work() {
    let house = House::open().await;
    let chat = Client::of(&house, "lovable-chat");

    let agent = json!({"name": "Quill", "role": "writer", "skills": []});
    let read = chat.invoke("agent-manager", Some("spawn_agent"), Some(&agent)).await;
    assert_eq!((read.success, &read.data["id"]), (true, &json!("agent-1")));

    let broken = json!({"execution_id": "e-1", "code": "prnt(1)", "error": "NameError"});
    let read = chat.invoke("autonomous-code-fixer", Some("fix_code"), Some(&broken)).await;
    assert_eq!((read.success, house.targets.received_once("autonomous-code-fixer").json()), (true, broken));

    let operation = "CREATE TABLE pets (id uuid primary key); DELETE FROM pets WHERE id IS NULL;";
    let reply = house.call("lovable-chat").to("schema-manager").action("validate_schema").operation(operation).send().await;
    assert_eq!(Read::of(reply).data, json!({"valid": true}));
    assert_eq!(house.targets.received_once("schema-manager").json(), json!({"action": "validate_schema", "data": {}}));

    let data = json!({"owner": "o", "repo": "r"});
    let read = Client::of(&house, "gemini-chat").invoke("github-integration", Some("list_issues"), Some(&data)).await;
    assert_eq!(read.data, json!({"action": "list_issues", "received": data}));
}

/// B3: the original said 200, and its client `success: true`.
#[tokio::test]
async fn a_caller_hears_of_its_targets_failure() {
    let house = House::open().await;
    for source in ["multi-step-orchestrator", "autonomous-code-fixer", "gemini-chat", "agent-manager"] {
        let read = Client::of(&house, source).invoke("python-executor", None, Some(&json!({"code": "raise Oh", "purpose": ""}))).await;
        assert_eq!((read.success, read.reply.status, read.error.as_deref()), (false, 500, Some("Execution failed: raise Oh")), "{source}");
        let record = house.record_of(&read.reply).await;
        assert_eq!((record.activity_type.as_str(), record.status.as_str()), ("gatekeeper_call", "error"), "{source}");
        assert_eq!((&record.metadata["success"], &record.metadata["status"]), (&json!(false), &json!(500)), "{source}");
    }
    house.targets.let_be("python-executor", Conduct::html_500());
    let read = Client::of(&house, "gemini-chat").invoke("python-executor", None, Some(&json!({"code": "1"}))).await;
    assert_eq!((read.reply.status, read.error.as_deref()), (500, Some("Target error")));
}

/// B5: the original's `|| true` could not be told `false`, and an absent payload was a 500.
#[tokio::test]
async fn agent_manager_is_told_whether_it_may_act_alone() {
    let house = House::open().await;
    let nothing = json!({});
    let table = [
        (None, json!({"action": "list_agents", "data": {}, "autonomous": true})),
        (Some(json!(null)), json!({"action": "list_agents", "data": {}, "autonomous": true})),
        (Some(nothing), json!({"action": "list_agents", "data": {}, "autonomous": true})),
        (Some(json!({"autonomous": false})), json!({"action": "list_agents", "data": {"autonomous": false}, "autonomous": false})),
        (Some(json!({"data": {"a": 1}, "autonomous": false})), json!({"action": "list_agents", "data": {"a": 1}, "autonomous": false})),
        (Some(json!({"action": "list_agents", "data": {}})), json!({"action": "list_agents", "data": {}, "autonomous": true})),
    ];
    for (payload, expected) in table {
        let read = Client::of(&house, "gemini-chat").invoke("agent-manager", Some("list_agents"), payload.as_ref()).await;
        assert_eq!(read.reply.status, 200, "{payload:?}");
        assert_eq!(house.targets.received("agent-manager").pop().unwrap().json(), expected, "{payload:?}");
    }
    for target in ["python-executor", "multi-step-orchestrator", "get-embedding"] {
        Client::of(&house, "gemini-chat").invoke(target, None, None).await;
        assert_eq!(house.targets.received_once(target).json(), json!({}), "{target}");
    }
}

/// `multi-step-orchestrator:415` calls whatever its workflow names.
#[tokio::test]
async fn a_step_that_names_no_function_is_told_so() {
    let house = House::open().await;
    let read = Client::of(&house, "multi-step-orchestrator").invoke("no-such-function", None, Some(&json!({"x": 1}))).await;
    assert_eq!((read.reply.status, read.error.as_deref()), (404, Some("Unknown target")));
    assert_eq!(read.reply.json()["message"], "Target 'no-such-function' is not recognized by the gatekeeper");
    assert!(house.targets.received_in_all().is_empty());
    let record = house.record_of(&read.reply).await;
    assert_eq!((&record.metadata["target"], &record.metadata["code"]), (&json!("no-such-function"), &json!("unknown_target")));
}

/// B25: the original put every answer through JSON.
#[tokio::test]
async fn sound_and_streams_come_through_as_they_are() {
    let gate = Gate::shut();
    let pieces = vec!["data: one\n\n", "data: two\n\n"];
    let drip = Conduct::Drip { gate: gate.clone(), content_type: "text/event-stream", pieces };
    let house = House::plan().targets(Targets::like_the_platform().but("gemini-chat", drip)).open().await;

    let sound = house.call("lovable-chat").to("openai-tts").payload(json!({"text": "hello"})).send().await.expect(200);
    assert_eq!((sound.header("content-type"), &sound.body[..]), (Some("audio/mpeg"), &SPEECH[..]));

    let asked = json!({"messages": [{"role": "user", "content": "hi"}], "stream": true});
    let events = house.call("lovable-chat").to("openai-chat").payload(asked).send().await.expect(200);
    assert_eq!(events.header("content-type"), Some("text/event-stream"));
    assert_eq!(events.body.iter().filter(|byte| **byte == b'\n').count(), 8, "{:?}", events.body);
    assert!(events.body.starts_with(b"data: {\"delta\":\"openai-chat\"}\n\n") && events.body.ends_with(b"data: [DONE]\n\n"));

    // Each event is there as soon as the target has said it.
    let body = r#"{"target":"gemini-chat"}"#;
    let head =
        format!("POST / HTTP/1.1\r\nhost: h\r\nx-eliza-key: {KEY}\r\nx-eliza-source: lovable-chat\r\ncontent-length: {}", body.len());
    let mut wire = Line::to(house.data).await;
    wire.say(format!("{head}\r\n\r\n{body}")).await;
    assert!(!wire.hear("text/event-stream").await.contains("data:"));
    gate.let_one();
    assert!(!wire.hear("data: one\n\n").await.contains("two"));
    gate.let_one();
    wire.hear("data: two\n\n").await;
}

/// B27: the client takes an empty `data` for no data and reads the whole body. The gatekeeper's part is not to change the body.
#[tokio::test]
async fn bodies_are_passed_on_as_the_target_wrote_them() {
    let house = House::open().await;
    for (body, reads) in [
        (json!({"success": true, "data": []}), json!([])),
        (json!({"success": true, "data": false}), json!({"success": true, "data": false})),
        (json!({"success": true, "data": null}), json!({"success": true, "data": null})),
        (json!({"data": 0, "big": 12_345_678_901_234_567_890_u64}), json!({"data": 0, "big": 12_345_678_901_234_567_890_u64})),
        (json!([1, 2]), json!([1, 2])),
        (json!("text"), json!("text")),
    ] {
        house.targets.let_be("get-embedding", Conduct::json(200, &body));
        let read = Client::of(&house, "gemini-chat").invoke("get-embedding", None, None).await;
        assert_eq!((read.reply.body, read.data), (body.to_string().into(), reads), "{body}");
    }
}

#[tokio::test]
async fn every_listed_source_may_call_with_its_tiers_limit() {
    let house = House::open().await;
    for source in SOURCES {
        let read = Client::of(&house, source).invoke("get-embedding", None, Some(&json!({"from": source}))).await;
        assert_eq!(read.data, json!({"from": source}), "{source}");
        let tier = if ["autonomous-code-fixer", "code-monitor-daemon", "ecosystem-monitor"].contains(&source) { "1000" } else { "500" };
        assert_eq!(read.reply.header("x-ratelimit-limit"), Some(tier), "{source}");
    }
}

/// And each with the body that it reads: the original dropped the action on the way to those that read `{action, data}` (B4).
#[tokio::test]
async fn every_target_is_routed() {
    let house = House::open().await;
    let targets: Vec<&str> = SOURCES.into_iter().chain(ONLY_TARGETS).collect();
    assert_eq!(targets.len(), 33);
    for target in targets {
        let reply = house.call("gemini-chat").to(target).action("list").payload(json!({"a": 1})).send().await;
        assert_ne!(reply.status, 404, "{target}");
        let received = house.targets.received_once(target);
        assert_eq!(received.json(), as_read_by(target, Some("list"), &json!({"a": 1})), "{target}");
        arrived_well(target, &received, &reply);
    }
}

/// B9: what the original's client fell back to must not work, and a caller that says nothing of itself is nobody.
#[tokio::test]
async fn the_originals_defaults_let_nobody_in() {
    let house = House::open().await;
    let published = concat!("eliza-internal", "-key-2025");
    let table = [
        ("unlisted source", Some("edge-function"), KEY, "unknown_source"),
        ("published key", Some("gemini-chat"), published, "wrong_key"),
        ("both", Some("edge-function"), published, "wrong_key"),
        ("legacy router, which names no source", None, KEY, "source_missing"),
    ];
    for (name, source, key, fault) in table {
        let payload = json!({"action": "route", "params": {}, "context": {}});
        let read = Client { house: &house, source, key }.invoke("superduper-router", None, Some(&payload)).await;
        assert_eq!((read.reply.status, read.error.as_deref()), (401, Some("Unauthorized")), "{name}");
        assert_eq!(read.reply.json()["message"], "Invalid Eliza credentials or untrusted source", "{name}");
        assert_eq!(house.record_of(&read.reply).await.metadata["fault"], fault, "{name}");
    }
    assert!(house.targets.received_in_all().is_empty());
}

#[tokio::test]
async fn the_legacy_router_works_under_its_name() {
    let house = House::open().await;
    let payload = json!({"action": "route", "params": {"to": "somebody"}, "context": {"depth": 1}});
    let read = Client::of(&house, "lovable-chat").invoke("superduper-router", None, Some(&payload)).await;
    assert_eq!((read.success, house.targets.received_once("superduper-router").json()), (true, payload.clone()));
    for source in ["superduper-router", "superduper-code-architect"] {
        let read = Client::of(&house, source).invoke("get-embedding", None, Some(&payload)).await;
        assert_eq!((read.success, read.reply.header("x-ratelimit-limit")), (true, Some("100")), "{source}");
    }
}
