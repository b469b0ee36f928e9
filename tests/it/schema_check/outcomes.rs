//! The table of outcomes: every way in which a validator may answer, the kinds of schema operation, and what policy says of silence.

use eliza_gatekeeper::clock::ManualClock;
use serde_json::json;
use tokio::net::TcpSocket;

use super::{DDL, QUICK, alter, rejecting, switch_off};
use crate::support::house::{House, Reply, midnight};
use crate::support::targets::{Conduct, Gate};

/// What a validator says.
#[derive(Clone, Copy, Debug)]
enum Says {
    Valid,
    Rejected(&'static str),
    /// Nothing, for this reason.
    Nothing(&'static str),
}
use Says::{Nothing, Rejected, Valid};

const MODES: [&str; 3] = ["", "fail = \"open\"\n", "fail = \"closed\"\n"];

fn conducts(gate: &Gate) -> Vec<(&'static str, Conduct, Says)> {
    let json = |body: &str| Conduct::status(200, "application/json", body.to_owned());
    vec![
        ("accepts", json(r#"{"valid":true}"#), Valid),
        ("accepts in data", json(r#"{"success":true,"data":{"valid":true}}"#), Valid),
        ("rejects", rejecting("column age exists"), Rejected("column age exists")),
        ("rejects in data", json(r#"{"data":{"valid":false,"reason":"no"}}"#), Rejected("no")),
        ("rejects without a word", json(r#"{"valid":false}"#), Rejected("The validator rejected this schema operation and gave no reason")),
        ("hangs", Conduct::Hang(gate.clone()), Nothing("timeout")),
        (
            "hangs in the middle",
            Conduct::Drip { gate: gate.clone(), content_type: "application/json", pieces: vec!["{}"] },
            Nothing("timeout"),
        ),
        ("knows no such action", Conduct::json(500, &json!({ "error": "Unknown action: validate" })), Nothing("status_500")),
        ("breaks", Conduct::html_500(), Nothing("status_500")),
        ("is gone", Conduct::json(404, &json!({ "valid": true })), Nothing("status_404")),
        ("asks who we are", Conduct::json(401, &json!({ "valid": false })), Nothing("status_401")),
        ("points elsewhere", Conduct::redirect("/functions/v1/brain"), Nothing("status_302")),
        ("is mute", Conduct::no_content(), Nothing("not_json")),
        ("shows a page", Conduct::status(200, "text/html", "<p>valid"), Nothing("not_json")),
        ("breaks off its JSON", json(r#"{"valid":true"#), Nothing("not_json")),
        ("answers in code", json(r#"{"valid":true}"#).with("content-encoding", "gzip"), Nothing("not_json")),
        ("says yes and no", json(r#"{"valid":false,"valid":true}"#), Nothing("not_json")),
        ("says yes and no in two places", json(r#"{"valid":true,"data":{"valid":false}}"#), Nothing("unclear")),
        ("says it as a word", json(r#"{"valid":"true"}"#), Nothing("unclear")),
        ("says something else", json(r#"{"success":true}"#), Nothing("unclear")),
        ("says too much", Conduct::Large(65 * 1024), Nothing("too_large")),
        ("is cut off", Conduct::close_mid_body(), Nothing("broken_off")),
        ("hangs up", Conduct::close(), Nothing("reset")),
        ("babbles", Conduct::garbage(), Nothing("not_http")),
    ]
}

async fn select(house: &House) -> Reply {
    house.call("gemini-chat").to("get-embedding").operation("SELECT age FROM pets").send().await
}

/// Makes a call of each kind and holds its outcome to what the validator said and policy says.
async fn hold(house: &House, name: &str, says: Says, mode: &str) {
    for is_ddl in [true, false] {
        let name = format!("{name}, {mode:?}, DDL: {is_ddl}");
        let count = || ["get-embedding", "autonomous-code-fixer"].map(|target| house.targets.received(target).len());
        let [passed, _] = count();
        let reply = if is_ddl { alter(house).await } else { select(house).await };
        let refuses_silence = mode.contains("closed") || (mode.is_empty() && is_ddl);
        let (status, code, check) = match says {
            Valid => (200, None, "valid"),
            Rejected(_) => (400, Some("schema_rejected"), "rejected"),
            Nothing(_) if refuses_silence => (503, Some("validator_unavailable"), "unavailable"),
            Nothing(_) => (200, None, "unavailable"),
        };
        assert_eq!(reply.status, status, "{name}: {:?}", reply.body);
        assert_eq!(count()[0] - passed, usize::from(status == 200), "{name}: whether the target was called");

        let record = house.record_of(&reply).await;
        let told = &record.metadata;
        assert_eq!(told["schema_check"], check, "{name}: {told}");
        let kind = if status == 200 { ("gatekeeper_call", "completed") } else { ("schema_protection", "blocked") };
        assert_eq!((record.activity_type.as_str(), record.status.as_str()), kind, "{name}");
        let Some(code) = code else { continue };
        let body = reply.json();
        assert_eq!((&body["code"], &told["code"]), (&json!(code), &json!(code)), "{name}");
        let line = told["policy_line"].as_str().unwrap();
        assert!(line.starts_with("schema.toml:") || line.starts_with("shipped schema.toml:"), "{name}: {line}");
        match says {
            Rejected(reason) => {
                assert_eq!((&body["message"], &told["reason"]), (&json!(reason), &json!(reason)), "{name}");
                assert_eq!((&body["fingerprint"], &body["auto_fix_triggered"]), (&told["fingerprint"], &json!(true)), "{name}");
                assert_eq!(record.title, "\u{1f6ab} Schema Operation Rejected", "{name}");
            }
            Nothing(why) => {
                assert_eq!((&told["validator"], &told["schema_check_fault"]), (&json!("schema-manager"), &json!(why)), "{name}");
                assert!(reply.header("retry-after").unwrap().parse::<u32>().unwrap() > 0, "{name}");
            }
            Valid => panic!("{name}: refused"),
        }
    }
}

#[tokio::test]
async fn what_becomes_of_a_schema_operation_for_every_answer() {
    for mode in MODES {
        let clock = ManualClock::at(midnight());
        let house = House::plan().at(&clock).policy("schema.toml", &format!("{QUICK}{mode}")).open().await;
        for (name, conduct, says) in conducts(&Gate::shut()) {
            house.targets.let_be("schema-manager", conduct);
            hold(&house, name, says, mode).await;
        }
        // Two statements were rejected, and nothing else ever sets the fixer off.
        assert_eq!(house.targets.arrival("autonomous-code-fixer", 2).await.len(), 2);

        house.targets.let_be("schema-manager", Conduct::close());
        while house.record_of(&select(&house).await).await.metadata["schema_check_fault"] != "breaker_open" {}
        let asked = house.targets.received("schema-manager").len();
        hold(&house, "is left alone by its breaker", Nothing("breaker_open"), mode).await;
        switch_off(&house, "target:schema-manager").await;
        hold(&house, "is switched off", Nothing("switched_off"), mode).await;
        assert_eq!(house.targets.received("schema-manager").len(), asked, "it was not asked");
        assert_eq!(house.targets.received("autonomous-code-fixer").len(), 2);
    }
}

/// No test can let a connection be refused by targets that are there.
#[tokio::test]
async fn what_becomes_of_a_schema_operation_without_a_validator() {
    let closed = TcpSocket::new_v4().unwrap();
    closed.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let targets = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/policies/targets.toml")).unwrap();
    let targets = targets.replace("  \"schema-manager\",\n", "");
    let refusing = format!("http://{}/", closed.local_addr().unwrap());
    for (url, why) in [(refusing.as_str(), "unreachable"), ("${NEVER_SET_ANYWHERE}/f", "not_configured")] {
        for mode in MODES {
            let targets = format!("{targets}\n[[target]]\nnames = [\"schema-manager\"]\nurl = \"{url}\"\ncredentials = \"none\"\n");
            let plan = House::plan().policy("targets.toml", &targets).policy("schema.toml", &format!("{QUICK}{mode}"));
            hold(&plan.open().await, why, Nothing(why), mode).await;
        }
    }
}

#[tokio::test]
async fn a_validator_that_is_off_is_not_asked() {
    let house = House::plan().policy("schema.toml", "[schema]\nvalidator = \"off\"\n").open().await;
    let reply = alter(&house).await.expect(200);
    assert_eq!(house.record_of(&reply).await.metadata.get("schema_check"), None);
    assert_eq!(house.targets.received("schema-manager").len(), 0);
    assert_eq!(house.targets.received_once("get-embedding").json(), json!({ "sql": DDL }));
}

#[tokio::test]
async fn policy_says_which_calls_are_schema_operations() {
    let own = "[schema]\noperations = false\nactions = [\"plan\"]\n";
    let house = House::plan().policy("schema.toml", own).open().await;
    let call = || house.call("gemini-chat").to("get-embedding");
    call().operation("VACUUM FULL pets").send().await.expect(200);
    call().action("validate_schema").operation("SELECT 1").send().await.expect(200);
    assert_eq!(house.targets.received("schema-manager").len(), 0);
    call().operation("alter table pets add column age int").send().await.expect(200);
    call().action("plan").payload(json!({ "sql": "SELECT 1" })).send().await.expect(200);
    assert_eq!(house.targets.received("schema-manager").len(), 2);
}
