//! `GATEKEEPER_ENFORCE=false`: every gate still judges and the record says what it would have done, but no judgement stops a call. What
//! is no judgement stays as it is: unknown targets, sizes, times. And whoever failed authentication goes on with nothing of ours.

use eliza_gatekeeper::clock::ManualClock;
use eliza_gatekeeper::verdict::GateName;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::refusals::table::{self, PASSES, Row};
use crate::refusals::world::World;
use crate::refusals::{is_well_formed, send};
use crate::support::house::{House, SERVICE_KEY, midnight};
use crate::support::program::Program;
use crate::support::targets::{Conduct, Received, Targets};

/// The gate whose judgement a refusal is, if it is one.
fn gate_of(row: &Row) -> Option<&'static str> {
    let scope = row.record.as_ref().and_then(|record| record["scope"].as_str());
    match (row.code, scope) {
        ("unauthorized", _) => Some("authenticate"),
        ("key_not_scoped" | "caller_not_allowed", _) => Some("authorize"),
        ("dangerous_operation", _) => Some("sql_filter"),
        ("network_blocked" | "source_disabled", _) => Some("blocklist"),
        ("rate_limited" | "burst_exceeded", Some("source")) => Some("source_limit"),
        ("rate_limited" | "burst_exceeded", Some("endpoint")) => Some("endpoint_limit"),
        _ => None,
    }
}

#[tokio::test]
async fn while_it_is_off_every_gate_judges_and_none_stops_a_call() {
    let directory = TempDir::new().unwrap();
    let world = World::in_directory(directory.path()).await;
    // Strangers come without the platform's key.
    let targets = world.targets.but("get-embedding", Conduct::json(200, &json!({"done": true})));
    let mut plan = House::plan().targets(targets).at(&ManualClock::at(midnight())).variable("DATABASE_URL", &world.database);
    for (file, text) in &world.policies {
        plan = plan.policy(file, text);
    }
    for (name, value) in world.variables {
        plan = plan.variable(name, value);
    }
    let house = plan.variable("GATEKEEPER_ENFORCE", "false").open().await;

    let mut passed = Vec::new();
    for row in table::all() {
        let before = house.targets.received_in_all().len();
        let reply = send(house.data, &row).await;
        if ["schema_rejected", "validator_unavailable"].contains(&row.code) {
            // Nobody is asked, so nobody knows.
            let asked: Vec<_> = house.targets.received_in_all()[before..].iter().map(|received| received.target.clone()).collect();
            assert_eq!((reply.status, asked), (PASSES, vec!["get-embedding".to_owned()]), "{}", row.name);
            continue;
        }
        let Some(gate) = gate_of(&row) else {
            if row.status != PASSES {
                is_well_formed(&row, &reply, &[]);
            }
            continue;
        };
        assert_eq!(house.targets.received_in_all().len(), before + 1, "{} did not go on", row.name);
        passed.push((row, gate, reply));
    }
    house.settle().await;
    for (row, gate, reply) in &passed {
        let Row { name, code, status, .. } = row;
        let record = house.store.call(reply.call_id().parse().unwrap()).await.unwrap().unwrap();
        let told = record.metadata;
        assert_eq!((&told["status"], &told["enforced"]), (&json!(reply.status), &json!(false)), "{name}");
        assert_eq!(record.activity_type, "gatekeeper_call", "{name}");
        let [would] = &told["would_deny"].as_array().unwrap()[..] else { panic!("{name}: {told}") };
        assert_eq!((&would["gate"], &would["code"], &would["status"]), (&json!(gate), &json!(code), &json!(status)), "{name}");
        // And why, as the record of the refusal would have it.
        for (member, value) in row.record.as_ref().unwrap().as_object().unwrap() {
            if !["source", "claimed_source", "target"].contains(&member.as_str()) {
                assert_eq!(&would[member], value, "{name}: {member}");
            }
        }
    }
    let gates: std::collections::BTreeSet<_> = passed.iter().map(|(_, gate, _)| *gate).collect();
    // The schema check's refusals are no rows of the table: a validator is not asked.
    let local: std::collections::BTreeSet<_> =
        GateName::ALL.into_iter().filter(|gate| *gate != GateName::SchemaCheck).map(GateName::as_str).collect();
    assert!(gates.is_superset(&local), "every gate was asked: {gates:?}");

    let metrics = String::from_utf8(house.get_ops("/metrics", &[]).await.body.to_vec()).unwrap();
    assert!(metrics.contains("gatekeeper_enforcing 0\n"), "{metrics}");
    for gate in gates {
        let count = passed.iter().filter(|(_, own, _)| *own == gate).count();
        assert!(metrics.contains(&format!("gatekeeper_would_deny_total{{gate=\"{gate}\"}} {count}\n")), "{gate} {count}: {metrics}");
    }
}

#[tokio::test]
async fn each_gate_that_would_have_denied_is_named() {
    let targets = Targets::like_the_platform().but("brain", Conduct::json(200, &json!({})));
    let policy = "[[target]]\nnames = [\"brain\"]\ncallers = [\"gemini-chat\"]";
    let house = House::plan().targets(targets).policy("own.toml", policy).variable("GATEKEEPER_ENFORCE", "false").open().await;
    let reply = house.nameless_call().to("brain").operation("DROP TABLE users").send().await.expect(200);
    let record = house.record_of(&reply).await;
    let gates: Vec<_> = record.metadata["would_deny"].as_array().unwrap().iter().map(|would| would["gate"].as_str().unwrap()).collect();
    assert_eq!(gates, ["authenticate", "authorize", "sql_filter"]);
    assert_eq!(record.metadata["source"], "unauthenticated");

    let fine = house.call("gemini-chat").to("brain").send().await.expect(200);
    let record = house.record_of(&fine).await;
    assert_eq!((&record.metadata["would_deny"], &record.metadata["enforced"]), (&Value::Null, &json!(false)));
}

#[tokio::test]
async fn whoever_failed_authentication_shows_its_own_authorization_and_nothing_of_ours() {
    let stranger =
        [("x-eliza-key", "wrong"), ("x-eliza-source", "gemini-chat"), ("authorization", "Bearer jwt-of-a-user"), ("apikey", "anon")];
    let own = ["Bearer jwt-of-a-user"];
    let ours = format!("Bearer {SERVICE_KEY}");
    let credentials = |received: &Received| {
        for name in ["x-eliza-key", "x-eliza-source"] {
            assert_eq!(received.header(name), None);
        }
        ["authorization", "apikey"].map(|name| received.header(name).map(str::to_owned))
    };
    for (off_credentials, as_stranger, as_nobody) in [
        (None, [Some(own[0]), None], [None, None]),
        (Some("own"), [Some(own[0]), None], [None, None]),
        (Some("all"), [Some(&*ours), Some(SERVICE_KEY)], [Some(&*ours), Some(SERVICE_KEY)]),
    ] {
        let mut plan = House::plan().variable("GATEKEEPER_ENFORCE", "false");
        if let Some(value) = off_credentials {
            plan = plan.variable("GATEKEEPER_ENFORCE_OFF_CREDENTIALS", value);
        }
        let house = plan.open().await;
        let call = stranger.iter().fold(house.nameless_call(), |call, (name, value)| call.header(name, value));
        call.to("get-embedding").send().await;
        house.nameless_call().to("get-embedding").send().await;
        house.call("gemini-chat").to("get-embedding").send().await.expect(200);
        let received: Vec<_> = house.targets.received("get-embedding").iter().map(credentials).collect();
        let expected = [as_stranger, as_nobody, [Some(&*ours), Some(SERVICE_KEY)]].map(|pair| pair.map(|value| value.map(str::to_owned)));
        assert_eq!(received, expected, "{off_credentials:?}");
    }
}

#[tokio::test]
async fn a_value_that_is_neither_true_nor_false_is_a_configuration_error() {
    let table = [
        ("GATEKEEPER_ENFORCE", "maybe"),
        ("GATEKEEPER_ENFORCE", "0"),
        ("GATEKEEPER_ENFORCE", "fals"),
        ("GATEKEEPER_ENFORCE", "true false"),
        ("GATEKEEPER_ENFORCE_OFF_CREDENTIALS", "service-role"),
    ];
    for (name, value) in table {
        for command in ["serve", "check"] {
            let ran = Program::new().variable(name, value).run(&[command]).await.expect(78);
            assert!(ran.out.contains(name) || ran.err.contains(name), "{ran:?}");
        }
    }
}
