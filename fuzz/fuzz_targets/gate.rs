//! Any bytes as the body of a call, through decoding and the SQL filter as shipped: it ends, it says the same twice, and nothing else in an
//! envelope hides a statement in it.
#![no_main]

use std::sync::LazyLock;

use bytes::Bytes;
use eliza_gatekeeper::call::Envelope;
use eliza_gatekeeper::clock::Timestamp;
use eliza_gatekeeper::gates::sql_filter::sql_filter;
use eliza_gatekeeper::identity::{Caller, KeyId, Proof, SourceName, TargetName};
use eliza_gatekeeper::policy::Policy;
use eliza_gatekeeper::policy::load::{CredentialInputs, Origin, load};
use serde_json::Value;

static POLICY: LazyLock<Policy> = LazyLock::new(|| {
    let variables = |name: &str| (name == "SUPABASE_URL").then(|| "https://project.example.org".to_owned());
    load(&Origin::Shipped, &variables, &CredentialInputs::default()).expect("the shipped policy compiles")
});

libfuzzer_sys::fuzz_target!(|body: &[u8]| {
    assert_eq!(is_denied(body), is_denied(body));
    for hidden in ["DROP TABLE users", "SELECT 1;\nDELETE FROM users -- WHERE id = 1"] {
        for body in with_sql(body, hidden) {
            // What is no envelope goes nowhere.
            assert_ne!(is_denied(&body), Some(false), "{} passes", String::from_utf8_lossy(&body));
        }
    }
});

/// None, if it is refused before it is judged.
fn is_denied(body: &[u8]) -> Option<bool> {
    let envelope = Envelope::parse(Bytes::copy_from_slice(body), &POLICY.sql.fields).ok()?;
    let target = TargetName::parse(&envelope.target)?;
    let caller = Caller::Source { name: SourceName::parse("gemini-chat")?, proof: Proof::Key(KeyId::new("fuzz")) };
    Some(sql_filter(&caller, &target, &envelope.sql, &POLICY.sql, Timestamp::default()).denial().is_some())
}

/// The same envelope with a statement in it besides: where SQL is expected, and where the tools of models put it.
fn with_sql(body: &[u8], statement: &str) -> Vec<Vec<u8>> {
    let Ok(Value::Object(members)) = serde_json::from_slice::<Value>(body) else { return Vec::new() };
    let mut bodies = Vec::new();
    let mut add = |change: &dyn Fn(&mut serde_json::Map<String, Value>)| {
        let mut changed = members.clone();
        changed.entry("target").or_insert_with(|| "brain".into());
        change(&mut changed);
        bodies.extend(serde_json::to_vec(&changed));
    };
    let in_payload = |members: &mut serde_json::Map<String, Value>, name: &str, value: Value| {
        let payload = members.entry("payload").or_insert_with(|| Value::Object(serde_json::Map::new()));
        match payload {
            Value::Object(payload) => {
                payload.insert(name.to_owned(), value);
            }
            other => *other = serde_json::json!({ name: value }),
        }
    };
    add(&|members| in_payload(members, "sql", statement.into()));
    add(&|members| in_payload(members, "Query", statement.into()));
    add(&|members| in_payload(members, "steps", serde_json::json!([{ "sql": [statement] }])));
    add(&|members| in_payload(members, "arguments", serde_json::json!({ "sql": statement }).to_string().into()));
    add(&|members| {
        members.insert("operation".to_owned(), statement.into());
    });
    bodies
}
