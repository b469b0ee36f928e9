//! A schema operation passes if its validator lets it, and not otherwise: what becomes of it for every way in which a validator may
//! answer, or not. A rejection is told with its reason, recorded, and sets the fixer off once, which keeps no caller waiting.

mod fixer;
mod outcomes;

use eliza_gatekeeper::audit::Actor;
use eliza_gatekeeper::enforcement::GateMode;
use eliza_gatekeeper::gates::authenticate::Assumed;
use eliza_gatekeeper::identity::KeyId;
use eliza_gatekeeper::pipeline::{Asked, Decision, Question};
use eliza_gatekeeper::store::control::FlagChange;
use eliza_gatekeeper::verdict::GateName;
use serde_json::{Value, json};

use crate::support::house::{House, Reply, SERVICE_KEY};
use crate::support::rows::everything;
use crate::support::targets::{Conduct, Gate, Targets};

const DDL: &str = "ALTER TABLE pets ADD COLUMN age int";
const QUICK: &str = "[schema]\ntimeout = \"300ms\"\n";

fn rejecting(reason: &str) -> Conduct {
    Conduct::json(200, &json!({ "valid": false, "reason": reason }))
}

async fn alter(house: &House) -> Reply {
    house.call("gemini-chat").to("get-embedding").payload(json!({ "sql": DDL })).send().await
}

/// As an operator does: what is only in memory goes when the database is read again.
async fn switch_off(house: &House, name: &str) {
    let kill = FlagChange { name: name.to_owned(), kill_switch: Some(true), ..FlagChange::default() };
    house.gatekeeper.control.set_flag(&kill, None, &Actor::named("alice")).await.unwrap();
}

#[tokio::test]
async fn only_schema_operations_are_asked_about() {
    let house = House::open().await;
    let table = [
        (json!({ "target": "get-embedding" }), false),
        (json!({ "target": "get-embedding", "payload": { "text": DDL } }), false),
        (json!({ "target": "get-embedding", "payload": { "sql": "SELECT * FROM pets" } }), false),
        (json!({ "target": "get-embedding", "payload": { "query": "create a table of contents, please" } }), false),
        (json!({ "target": "get-embedding", "operation": "  " }), false),
        (json!({ "target": "get-embedding", "action": "validate_schema" }), false),
        (json!({ "target": "schema-manager", "action": "validate_schema", "operation": DDL }), false),
        (json!({ "target": "get-embedding", "operation": "SELECT * FROM pets" }), true),
        (json!({ "target": "get-embedding", "action": "validate_schema", "payload": { "sql": "SELECT 1" } }), true),
        (json!({ "target": "agent-manager", "payload": { "action": "validate_schema", "query": "SELECT 1" } }), true),
        (json!({ "target": "get-embedding", "payload": { "sql": DDL } }), true),
        (json!({ "target": "get-embedding", "payload": { "steps": [{ "Query": "/* x */ create\nview v as select 1" }] } }), true),
        (json!({ "target": "get-embedding", "payload": { "sql": ["ALTER", "TABLE pets ADD COLUMN age int"] } }), true),
        (json!({ "target": "get-embedding", "payload": { "sql": "DO $$ BEGIN EXECUTE 'create index on pets (a)'; END $$" } }), true),
        (json!({ "target": "autonomous-code-fixer", "payload": { "sql": DDL } }), true),
    ];
    for (envelope, expected) in table {
        let before = house.targets.received("schema-manager").len();
        let reply = house.call("gemini-chat").raw(envelope.to_string()).send().await;
        let to_itself = envelope["target"] == "schema-manager";
        let asked = house.targets.received("schema-manager").len() - before - usize::from(to_itself);
        assert_eq!(asked == 1, expected, "{envelope}");
        let record = house.record_of(&reply).await;
        assert_eq!(record.metadata["schema_check"], if expected { json!("valid") } else { Value::Null }, "{envelope}");
    }
}

#[tokio::test]
async fn the_validator_is_shown_the_sql_and_nothing_of_the_callers() {
    let house = House::open().await;
    let call = house.call("gemini-chat").to("agent-manager").action("list_agents").operation("SELECT 1 -- first");
    let call = call.payload(json!({ "sql": DDL, "token": "sk-other" })).header("cookie", "session=1").header("if-none-match", "*");
    let reply = call.header("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01").send().await.expect(200);

    let asked = house.targets.received_once("schema-manager");
    let sql = format!("SELECT 1 -- first\n;\n{DDL}");
    let data = json!({ "sql": sql, "source": "gemini-chat", "target": "agent-manager" });
    assert_eq!(asked.json(), json!({ "action": "validate", "sql": sql, "data": data }));
    assert_eq!((asked.method.as_str(), asked.header("content-type")), ("POST", Some("application/json")));
    assert_eq!(asked.header("authorization"), Some(format!("Bearer {SERVICE_KEY}").as_str()));
    assert_eq!((asked.header("x-call-id"), asked.header("x-eliza-hops")), (Some(reply.call_id()), Some("1")));
    assert!(asked.header("traceparent").unwrap().starts_with("00-0af7651916cd43dd8448eb211c80319c-"));
    for name in ["cookie", "if-none-match", "x-eliza-key", "x-eliza-source"] {
        assert_eq!(asked.header(name), None, "{name}");
    }
    let record = house.record_of(&reply).await;
    assert!(record.metadata["validator_ms"].is_u64(), "{}", record.metadata);
}

/// B16: the original asked a validator that knew no such question, and took every answer for consent.
#[tokio::test]
async fn b16_what_is_not_validated_does_not_pass() {
    let real = Conduct::json(500, &json!({ "error": "Unknown action: validate" }));
    let house = House::plan().targets(Targets::like_the_platform().but("schema-manager", real)).open().await;
    let refused = alter(&house).await.expect(503);
    assert_eq!((refused.code().as_str(), refused.header("retry-after")), ("validator_unavailable", Some("5")));
    house.targets.let_be("schema-manager", rejecting("no such table"));
    let rejected = alter(&house).await.expect(400);
    assert_eq!(
        (rejected.json()["error"].as_str(), rejected.json()["message"].as_str()),
        (Some("Schema validation failed"), Some("no such table"))
    );
    assert_eq!(house.targets.received("get-embedding").len(), 0, "nothing passed");
    house.targets.mend("schema-manager");
    alter(&house).await.expect(200);
    assert_eq!(house.targets.received("get-embedding").len(), 1, "mended and sent again, it passes");
}

#[tokio::test]
async fn while_the_gate_only_observes_nobody_is_asked_and_no_call_waits() {
    for (start, flag) in [("false", None), ("true", Some("stage:schema_check"))] {
        let gate = Gate::shut();
        let targets = Targets::like_the_platform().but("schema-manager", Conduct::Hang(gate.clone()));
        let house = House::plan().targets(targets).variable("GATEKEEPER_ENFORCE", start).open().await;
        if let Some(flag) = flag {
            switch_off(&house, flag).await;
        }
        let modes = house.gatekeeper.pipeline.live.current().modes(house.gatekeeper.pipeline.clock.now());
        assert_eq!(modes.of(GateName::SchemaCheck), GateMode::Observe);
        let record = house.record_of(&alter(&house).await.expect(200)).await;
        assert_eq!((&record.metadata["schema_check"], &record.metadata["would_deny"]), (&json!("not_asked"), &Value::Null));
        for silent in ["schema-manager", "autonomous-code-fixer"] {
            assert_eq!(house.targets.received(silent).len(), 0, "{silent}");
        }
        gate.open();
    }
}

#[tokio::test]
async fn explain_says_who_would_be_asked() {
    let house = House::open().await;
    let body = json!({ "target": "get-embedding", "payload": { "sql": DDL } }).to_string().into();
    let assumed = Assumed::Key(KeyId::new("env:current"));
    let question = Question {
        source: Some("gemini-chat".into()),
        assumed,
        certificate: None,
        peer: [127, 0, 0, 1].into(),
        call: Asked::Envelope(body),
    };
    let said = house.gatekeeper.pipeline.explain(question).await;
    let step = said.steps.last().unwrap();
    assert_eq!((step.gate, step.decision, step.saw.as_str()), (GateName::SchemaCheck, Decision::NotAsked, "SQL at /payload/sql"));
    assert!(step.why.contains("schema-manager") && step.place.as_ref().unwrap().as_str().starts_with("schema.toml:"), "{step:?}");
    assert_eq!(house.targets.received_in_all().len(), 0);
}

#[tokio::test]
async fn no_literal_of_the_sql_is_kept() {
    let targets = Targets::like_the_platform().but("schema-manager", rejecting("not so"));
    let lax = "[sql.rules]\nrole-privilege = 'off'\nunreadable = 'off'\n";
    let house = House::plan().targets(targets).policy("sql.toml", lax).open().await;
    for sql in ["ALTER ROLE app PASSWORD 'hunter2-a'", "COMMENT ON TABLE pets IS $$hunter2-b$$", "ALTER ROLE other PASSWORD 'hunter2-c"] {
        house.call("gemini-chat").to("get-embedding").payload(json!({ "sql": sql })).send().await.expect(400);
    }
    house.targets.arrival("autonomous-code-fixer", 3).await;
    house.settle().await;
    let closed = house.close().await;
    let kept = everything(&closed.database).await;
    assert!(kept.iter().any(|(_, row)| row.contains("ALTER ROLE app PASSWORD ?")), "what can be shown is");
    for (table, row) in kept {
        assert!(!row.contains("hunter2"), "{table}: {row}");
    }
}
