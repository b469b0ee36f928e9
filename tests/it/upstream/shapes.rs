//! Each target gets the body it was written to read, and values arrive as they were written. The action that is judged is the one that
//! arrives.

use std::collections::BTreeMap;

use bytes::Bytes;
use eliza_gatekeeper::call::Envelope;
use eliza_gatekeeper::identity::Action;
use eliza_gatekeeper::policy::{BodyShape, Credentials, Target};
use eliza_gatekeeper::upstream::shape::{body, executed_action};
use proptest::prelude::*;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::{call, upstream};
use crate::support::targets::Targets;

fn envelope(action: Option<&str>, payload: Option<&str>) -> Envelope {
    let own = members(payload.unwrap_or_default().as_bytes());
    let payload_action = text_of(&own, "action").and_then(|raw| Action::parse(&serde_json::from_str::<String>(raw).ok()?));
    let payload = payload.map(|text| Bytes::copy_from_slice(text.as_bytes()));
    let whole = Bytes::from_static(br#"{ "target":"brain" }"#);
    Envelope { target: "brain".to_owned(), action: action.and_then(Action::parse), payload, whole, payload_action, sql: vec![] }
}

fn reading(shape: BodyShape, defaults: Value) -> Target {
    let mut target = super::target("brain", "http://brain.example/".parse().unwrap());
    target.shape = shape;
    target.defaults = defaults.as_object().unwrap().clone();
    target
}

#[test]
fn a_payload_travels_as_it_came() {
    let target = reading(BodyShape::Payload, json!({"unused": 1}));
    let table = [
        (None, "{}"),
        (Some("null"), "{}"),
        (Some(" null "), "{}"),
        (Some(r#"{ "a" : 1.0e400, "b":[12345678901234567890123] }"#), r#"{ "a" : 1.0e400, "b":[12345678901234567890123] }"#),
        (Some("[]"), "[]"),
        (Some("0"), "0"),
        (Some(r#""text""#), r#""text""#),
    ];
    for (payload, expected) in table {
        let envelope = envelope(Some("dropped"), payload);
        assert_eq!(body(&target, &envelope), expected, "{payload:?}");
    }
    let envelope = envelope(None, Some(r#"{"a":1}"#));
    assert_eq!(body(&target, &envelope).as_ptr(), envelope.payload.as_ref().unwrap().as_ptr(), "nothing is copied");
}

#[test]
fn an_envelope_travels_as_it_came() {
    let envelope = envelope(Some("act"), Some("{}"));
    assert_eq!(body(&reading(BodyShape::Envelope, json!({})), &envelope), envelope.whole);
}

#[test]
fn action_and_data_as_the_targets_read_them() {
    let autonomous = json!({"autonomous": true});
    let none = json!({});
    let table = [
        // action, payload, defaults → body
        (Some("list_agents"), Some("{}"), &autonomous, r#"{"action":"list_agents","data":{},"autonomous":true}"#),
        (Some("list_agents"), None, &autonomous, r#"{"action":"list_agents","data":{},"autonomous":true}"#),
        (Some("list_agents"), Some("null"), &none, r#"{"action":"list_agents","data":{}}"#),
        (
            Some("spawn_agent"),
            Some(r#"{"name":"a","n":1.50}"#),
            &autonomous,
            r#"{"action":"spawn_agent","data":{"name":"a","n":1.50},"autonomous":true}"#,
        ),
        (Some("x"), Some(r#"{"action":"y","data":{"d":1}}"#), &none, r#"{"action":"y","data":{"d":1}}"#),
        (Some("x"), Some(r#"{"action":"","data":[1]}"#), &none, r#"{"action":"x","data":[1]}"#),
        (Some("x"), Some(r#"{"action":5}"#), &none, r#"{"action":"x","data":{"action":5}}"#),
        (Some("x"), Some(r#"{"autonomous":false}"#), &autonomous, r#"{"action":"x","data":{"autonomous":false},"autonomous":false}"#),
        (Some("x"), Some(r#"{"data":{"a":1},"autonomous":"no"}"#), &autonomous, r#"{"action":"x","data":{"a":1},"autonomous":"no"}"#),
        (None, Some(r#"{"a":1}"#), &none, r#"{"data":{"a":1}}"#),
        (None, None, &autonomous, r#"{"data":{},"autonomous":true}"#),
        (Some("say \"hi\"\\"), Some("[1,2]"), &none, r#"{"action":"say \"hi\"\\","data":[1,2]}"#),
        (Some("x"), Some(r#""text""#), &none, r#"{"action":"x","data":"text"}"#),
        (Some("x"), Some(r#"{"data":null}"#), &none, r#"{"action":"x","data":{"data":null}}"#),
        (Some("x"), Some(r#"{"data":false}"#), &none, r#"{"action":"x","data":{"data":false}}"#),
        (Some("x"), Some(r#"{"data":""}"#), &none, r#"{"action":"x","data":{"data":""}}"#),
        (Some("x"), Some(r#"{"data":-0.0e5}"#), &none, r#"{"action":"x","data":{"data":-0.0e5}}"#),
        (Some("x"), Some(r#"{"data":"0"}"#), &none, r#"{"action":"x","data":"0"}"#),
        (Some("x"), Some(r#"{"data":0.1}"#), &none, r#"{"action":"x","data":0.1}"#),
        (Some("x"), Some(r#"{"data":true}"#), &none, r#"{"action":"x","data":true}"#),
        (Some("x"), Some(r#"{"data":{}}"#), &none, r#"{"action":"x","data":{}}"#),
        (Some("x"), Some(r#"{"d\u0061ta":[7]}"#), &none, r#"{"action":"x","data":[7]}"#),
        (Some("x"), Some("{}"), &json!({"action": "evil", "data": 1}), r#"{"action":"x","data":{}}"#),
    ];
    for (action, payload, defaults, expected) in table {
        let target = reading(BodyShape::ActionData, defaults.clone());
        assert_eq!(body(&target, &envelope(action, payload)), expected, "{action:?} {payload:?}");
    }
}

#[test]
fn the_action_that_is_judged_is_the_one_that_is_carried_out() {
    let table = [
        (BodyShape::ActionData, Some("harmless"), Some(r#"{"action":"delete_task"}"#), Some("delete_task")),
        (BodyShape::Payload, Some("harmless"), Some(r#"{"action":"delete_task"}"#), Some("delete_task")),
        (BodyShape::Payload, Some("label"), Some("{}"), Some("label")),
        (BodyShape::Envelope, Some("delete_task"), Some(r#"{"action":"harmless"}"#), Some("delete_task")),
        (BodyShape::Envelope, None, Some(r#"{"action":"inner"}"#), Some("inner")),
        (BodyShape::ActionData, None, None, None),
    ];
    for (shape, action, payload, expected) in table {
        let envelope = envelope(action, payload);
        let judged = executed_action(&reading(shape, json!({})), &envelope).map(Action::as_str);
        assert_eq!(judged, expected, "{shape:?} {action:?} {payload:?}");
    }
}

/// The actions that agent-manager's callers use, against a function that reads them as agent-manager does.
#[tokio::test]
async fn agent_manager_understands_its_callers() {
    let targets = Targets::like_the_platform().start().await;
    let mut target = super::target("agent-manager", targets.url("agent-manager"));
    target.shape = BodyShape::ActionData;
    target.defaults = json!({"autonomous": true}).as_object().unwrap().clone();
    let upstream = upstream();
    let table = [
        ("list_agents", json!({}), json!([])),
        (
            "spawn_agent",
            json!({"name": "Sage", "role": "analyst", "skills": ["sql"]}),
            json!({"id": "agent-1", "name": "Sage", "role": "analyst", "skills": ["sql"], "status": "IDLE"}),
        ),
        (
            "update_agent_status",
            json!({"agent_id": "agent-1", "status": "BUSY"}),
            json!({"id": "agent-1", "name": "Sage", "role": "analyst", "skills": ["sql"], "status": "BUSY"}),
        ),
        (
            "assign_task",
            json!({"title": "t", "assignee_agent_id": "agent-1"}),
            json!({"id": "task-1", "title": "t", "assignee_agent_id": "agent-1", "status": "PENDING"}),
        ),
        (
            "get_agent_workload",
            json!({"agent_id": "agent-1"}),
            json!({"agent_id": "agent-1", "current_workload": 1, "tasks": [
                {"id": "task-1", "title": "t", "assignee_agent_id": "agent-1", "status": "PENDING"}]}),
        ),
        (
            "request_assignment",
            json!({"agent_id": "agent-1"}),
            json!({"id": "task-1", "title": "t", "assignee_agent_id": "agent-1", "status": "PENDING"}),
        ),
        (
            "update_task_status",
            json!({"task_id": "task-1", "status": "DONE", "stage": "review"}),
            json!({"id": "task-1", "title": "t", "assignee_agent_id": "agent-1", "status": "DONE", "stage": "review"}),
        ),
        ("delete_task", json!({"task_id": "task-1", "reason": "done"}), json!({"deleted": "task-1", "reason": "done"})),
        ("log_decision", json!({"agent_id": "agent-1", "decision": "d", "rationale": "r"}), json!({"logged": "d"})),
        ("cleanup_duplicate_agents", json!({}), json!({"removed": 0})),
    ];
    for (action, payload, expected) in table {
        let shaped = body(&target, &envelope(Some(action), Some(&payload.to_string())));
        let answer = call(&target).sending(shaped).through(&upstream).await.unwrap();
        assert_eq!(answer.status, 200, "{action}");
        let answer: Value = serde_json::from_slice(&super::body(answer).await).unwrap();
        assert_eq!(answer, json!({"success": true, "data": expected}), "{action}");
        assert_eq!(targets.received("agent-manager").last().unwrap().json()["autonomous"], true);
    }
}

#[tokio::test]
async fn the_other_functions_understand_theirs() {
    use BodyShape::{ActionData, Payload};
    let targets = Targets::like_the_platform().start().await;
    let upstream = upstream();
    let asking = r#"{"messages":[{"role":"user","content":"hi"}]}"#;
    // target, shape, action, payload → status, where to look in the answer, what stands there
    let table = [
        ("github-integration", ActionData, Some("create_issue"), r#"{"title":"t"}"#, 200, "/data/action", json!("create_issue")),
        ("task-orchestrator", ActionData, Some("assign"), r#"{"id":7}"#, 200, "/data/received/id", json!(7)),
        ("knowledge-manager", ActionData, Some("store"), "{}", 200, "/success", json!(true)),
        ("schema-manager", ActionData, Some("validate"), r#"{"sql":"select 1"}"#, 200, "/valid", json!(true)),
        ("github-integration", Payload, Some("create_issue"), r#"{"title":"t"}"#, 500, "/error", json!("Unknown action: undefined")),
        ("agent-manager", ActionData, Some("dance"), "{}", 500, "/error", json!("Unknown action: dance")),
        ("python-executor", Payload, None, r#"{"code":"print(1)","purpose":"p"}"#, 200, "/exitCode", json!(0)),
        ("python-executor", Payload, None, r#"{"code":"raise X"}"#, 500, "/error", json!("Execution failed: raise X")),
        ("python-executor", Payload, None, "null", 500, "/error", json!("No code provided")),
        ("deepseek-chat", Payload, None, asking, 200, "/response", json!("deepseek-chat heard: hi")),
        ("multi-step-orchestrator", Payload, None, r#"{"workflow":{},"userInput":"x"}"#, 200, "/workflow_id", json!("workflow-1")),
        ("autonomous-code-fixer", Payload, None, r#"{"type":"schema_error"}"#, 200, "/received/type", json!("schema_error")),
    ];
    for (name, shape, action, payload, status, place, expected) in table {
        let case = format!("{name} {shape:?} {payload}");
        let mut target = super::target(name, targets.url(name));
        target.shape = shape;
        let shaped = body(&target, &envelope(action, Some(payload)));
        let answer = call(&target).sending(shaped).through(&upstream).await.unwrap();
        assert_eq!(answer.status, status, "{case}");
        let answer: Value = serde_json::from_slice(&super::body(answer).await).unwrap();
        assert_eq!(answer.pointer(place), Some(&expected), "{case}: {answer}");
    }

    let chat = super::target("gemini-chat", targets.url("gemini-chat"));
    let streaming = json!({"stream": true, "messages": [{"role": "user", "content": "hi"}]});
    let answer = call(&chat).saying(&streaming).through(&upstream).await.unwrap();
    assert_eq!(answer.headers["content-type"], "text/event-stream");
    assert!(super::body(answer).await.ends_with(b"data: [DONE]\n\n"));

    let mut stranger = super::target("brain", targets.url("brain"));
    stranger.credentials = Credentials::None;
    assert_eq!(call(&stranger).through(&upstream).await.unwrap().status, 401, "the platform asks for its key");
}

/// JSON texts, with numbers that no float holds.
fn any_json() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("null".to_owned()),
        Just("true".to_owned()),
        Just("false".to_owned()),
        "-?(0|[1-9][0-9]{0,30})(\\.[0-9]{1,30})?([eE][+-]?[0-9]{1,2})?",
        any::<String>().prop_map(|text| Value::from(text).to_string()),
    ];
    leaf.prop_recursive(3, 24, 4, |inner| {
        prop_oneof![proptest::collection::vec(inner.clone(), 0..4).prop_map(|items| format!("[{}]", items.join(","))), any_object(inner),]
    })
}

fn any_object(value: impl Strategy<Value = String>) -> impl Strategy<Value = String> {
    let name = prop_oneof![Just("action".to_owned()), Just("data".to_owned()), Just("autonomous".to_owned()), any::<String>()];
    proptest::collection::btree_map(name, value, 0..5).prop_map(|members| {
        let members: Vec<_> = members.iter().map(|(name, value)| format!("{} :{value}", Value::from(name.as_str()))).collect();
        format!("{{{}}}", members.join(" , "))
    })
}

fn members(json: &[u8]) -> BTreeMap<String, Box<RawValue>> {
    serde_json::from_slice(json).unwrap_or_default()
}

fn text_of<'a>(members: &'a BTreeMap<String, Box<RawValue>>, name: &str) -> Option<&'a str> {
    members.get(name).map(|raw| raw.get())
}

proptest! {
    #[test]
    fn whatever_is_sent_arrives_as_it_was_written(
        payload in proptest::option::of(prop_oneof![any_json(), any_object(any_json())]),
        action in proptest::option::of("[a-z\"\\\\é]{1,12}"),
    ) {
        let target = reading(BodyShape::ActionData, json!({"autonomous": true}));
        let envelope = envelope(action.as_deref(), payload.as_deref());
        let out = body(&target, &envelope);
        let sent = members(&out);
        prop_assert!(!sent.is_empty(), "not an object: {out:?}");

        let arrived = text_of(&sent, "action").map(|raw| serde_json::from_str::<String>(raw).unwrap());
        prop_assert_eq!(arrived.as_deref(), executed_action(&target, &envelope).map(Action::as_str));

        let given = payload.as_deref().filter(|text| *text != "null").unwrap_or("{}");
        let own = members(given.as_bytes());
        let falsy = |raw: &str| match serde_json::from_str::<Value>(raw).unwrap() {
            Value::Null => true,
            Value::Bool(b) => !b,
            Value::Number(n) => n.as_f64() == Some(0.0),
            Value::String(s) => s.is_empty(),
            Value::Array(_) | Value::Object(_) => false,
        };
        let data = text_of(&own, "data").filter(|raw| !falsy(raw)).unwrap_or(given);
        prop_assert_eq!(text_of(&sent, "data"), Some(data));
        prop_assert_eq!(text_of(&sent, "autonomous"), Some(text_of(&own, "autonomous").unwrap_or("true")));
        prop_assert_eq!(sent.keys().all(|name| matches!(name.as_str(), "action" | "data" | "autonomous")), true);
    }
}
