//! Every route does what it says, on either database; and what it changes is audited: who, what, why, what it was and what it is.

use std::fs;
use std::time::Duration;

use eliza_gatekeeper::clock::{Clock, Timestamp};
use serde_json::{Value, json};

use super::Operator;
use crate::support::Database;
use crate::support::house::{House, eventually};
use crate::support::{on_each_database, operator};

on_each_database!(
    enforcement_is_shown_and_changed,
    a_policy_is_shown_and_read_again,
    flags_switch_targets,
    blocks_keep_networks_and_sources_out,
    limits_are_shown_and_given_back,
    calls_are_listed_and_retraced,
    bypasses_are_logged_and_reviewed,
);

fn alice(house: &House) -> Operator<'_> {
    Operator::of(house).with("x-actor", "alice@laptop")
}

const ALICE: &str = "alice@laptop (admin API, 127.0.0.1)";

/// The newest entry about this, once it is kept.
async fn audited(operator: &Operator<'_>, action: &str) -> Value {
    let find = async || {
        let audit = operator.get("/api/admin/audit?limit=1000").await.expect(200).json();
        audit["entries"].as_array().unwrap().iter().find(|entry| entry["action"] == action).cloned()
    };
    eventually(&format!("{action} is audited"), || async { find().await.is_some() }).await;
    let entry = find().await.unwrap();
    let at = Timestamp::parse_rfc3339(entry["at"].as_str().unwrap()).unwrap();
    assert!(Clock::system().now().since(at) < Duration::from_secs(60), "{entry}");
    entry
}

/// Who, what and why of an entry.
fn told(entry: &Value) -> [&str; 3] {
    ["actor", "subject", "reason"].map(|member| entry[member].as_str().unwrap_or_default())
}

async fn enforcement_is_shown_and_changed(database: Database) {
    let house = House::plan().on(database).open().await;
    let alice = alice(&house);
    let before = alice.get("/api/admin/enforcement").await.expect(200).json();
    assert_eq!((&before["enforcing"], &before["started_with"]), (&json!(true), &json!("enforce")));
    assert_eq!(before["gates"].as_array().unwrap().len(), 7);
    assert_eq!(
        before["gates"][0],
        json!({ "gate": "authenticate", "mode": "enforce", "since": null, "until": null, "reason": null, "actor": null, "flag": null })
    );

    let order = json!({ "mode": "off", "gate": "sql_filter", "for": "30m", "reason": "INC-4711" });
    let after = alice.send("POST", "/api/admin/enforcement", order).await.expect(200).json();
    assert_eq!(after["enforcing"], false);
    let gate = &after["gates"][5];
    assert_eq!(
        ["gate", "mode", "reason", "actor"].map(|member| &gate[member]),
        [&json!("sql_filter"), &json!("observe"), &json!("INC-4711"), &json!(ALICE)]
    );
    let moment = |member: &str| Timestamp::parse_rfc3339(gate[member].as_str().unwrap()).unwrap();
    assert!(moment("until").since(moment("since")).abs_diff(Duration::from_secs(1800)) < Duration::from_secs(5), "{gate}");
    assert_eq!(alice.get("/api/admin/enforcement").await.expect(200).json(), after);
    let entry = audited(&alice, "enforcement_changed").await;
    assert_eq!(told(&entry), [ALICE, "sql_filter", "INC-4711"]);
    assert_eq!((&entry["before"]["sql_filter"], &entry["after"]["sql_filter"]), (&json!("enforce"), &json!("observe")), "{entry}");

    let all = alice.send("POST", "/api/admin/enforcement", json!({ "mode": "on" })).await.expect(200).json();
    assert_eq!(all["enforcing"], true);
}

async fn a_policy_is_shown_and_read_again(database: Database) {
    let house = House::plan().on(database).policy("own.toml", "[[source]]\nnames = [\"newcomer\"]\n").open().await;
    let alice = alice(&house);
    let before = alice.get("/api/admin/policy").await.expect(200).json();
    assert_eq!((&before["problems"], before["fingerprint"].as_str().unwrap().len()), (&json!([]), 64));
    let shown = alice.get("/api/admin/policy/show").await.expect(200).json();
    assert_eq!(shown["fingerprint"], before["fingerprint"]);
    assert_eq!(json!(shown["sources"].as_array().unwrap().len()), before["sources"]);

    fs::write(house.policies().join("own.toml"), "[[source]]\nnames = [\"newcomer\", \"another\"]\n").unwrap();
    let after = alice.ask("POST", "/api/admin/policy/reload", "").await.expect(200).json();
    assert_eq!(after["sources"].as_u64(), before["sources"].as_u64().map(|sources| sources + 1));
    assert_ne!(after["fingerprint"], before["fingerprint"]);
    audited(&alice, "policy_reloaded").await;

    fs::write(house.policies().join("own.toml"), "[[source]]\nnames = [\"newcomer\"]\nnick = 1\n").unwrap();
    let refused = alice.ask("POST", "/api/admin/policy/reload", "").await.expect(422);
    assert_eq!(refused.code(), "policy_invalid");
    let problem = refused.json()["problems"][0].as_str().unwrap().to_owned();
    assert!(problem.starts_with("own.toml:3:"), "{problem}");
    let kept = alice.get("/api/admin/policy").await.expect(200).json();
    assert_eq!((&kept["fingerprint"], &kept["problems"][0]), (&after["fingerprint"], &json!(problem)));
    let entry = audited(&alice, "policy_refused").await;
    assert!(entry["after"].to_string().contains("own.toml:3:"), "{entry}");
}

async fn flags_switch_targets(database: Database) {
    let house = House::plan().on(database).open().await;
    let alice = alice(&house);
    let listed = async || {
        let listed = alice.get("/api/admin/feature-flags").await.expect(200).json();
        listed["flags"].as_array().unwrap().iter().find(|flag| flag["name"] == "target:render-api").cloned()
    };
    let on = json!({ "name": "target:render-api", "enabled": true, "kill_switch": false, "rollout_percentage": 100, "governs": "target" });
    eventually("every target has its flag", || async { listed().await.as_ref() == Some(&on) }).await;

    house.call("gemini-chat").to("render-api").send().await.expect(200);
    let order = json!({ "name": "target:render-api", "kill_switch": true, "reason": "runs wild" });
    let set = alice.send("POST", "/api/admin/feature-flags", order).await.expect(200).json();
    let off = json!({ "name": "target:render-api", "enabled": true, "kill_switch": true, "rollout_percentage": 100, "governs": "target" });
    assert_eq!((&set["before"], &set["flag"]), (&on, &off));
    assert_eq!(house.call("gemini-chat").to("render-api").send().await.expect(503).code(), "target_disabled");
    assert_eq!(listed().await, Some(off.clone()));
    let entry = audited(&alice, "flag_changed").await;
    assert_eq!(told(&entry), [ALICE, "target:render-api", "runs wild"]);
    assert_eq!(entry["after"]["kill_switch"], true, "{entry}");

    let back = json!({ "name": "target:render-api", "kill_switch": false });
    let set = alice.send("POST", "/api/admin/feature-flags", back).await.expect(200).json();
    assert_eq!((&set["before"], &set["flag"]), (&off, &on));
    house.call("gemini-chat").to("render-api").send().await.expect(200);
}

async fn blocks_keep_networks_and_sources_out(database: Database) {
    let policy = "[[block]]\nnetworks = [\"198.51.100.0/24\"]\nreason = \"INC-1\"\n";
    let house = House::plan().on(database).policy("own.toml", policy).open().await;
    let alice = alice(&house);
    let own = alice.get("/api/admin/blocks").await.expect(200).json();
    let place = own["blocks"][0]["place"].as_str().unwrap();
    assert!(place.starts_with("own.toml:"), "{place}");
    let expected = json!({ "blocks": [{
        "id": null, "kind": "network", "subject": "198.51.100.0/24", "reason": "INC-1", "actor": null, "since": null, "until": null, "place": place,
    }] });
    assert_eq!(own, expected);

    let order = json!({ "subject": "gemini-chat", "reason": "runs wild", "for": "1h" });
    let block = alice.send("POST", "/api/admin/blocks", order).await.expect(201).json();
    assert_eq!(
        ["kind", "subject", "reason", "actor"].map(|member| block[member].as_str().unwrap()),
        ["source", "gemini-chat", "runs wild", ALICE]
    );
    assert!(block["until"].is_string() && block["since"].is_string(), "{block}");
    assert_eq!(house.call("gemini-chat").to("render-api").send().await.expect(403).code(), "source_disabled");
    let both = alice.get("/api/admin/blocks").await.expect(200).json();
    assert_eq!((&both["blocks"][1], both["blocks"].as_array().unwrap().len()), (&block, 2));
    let entry = audited(&alice, "block_added").await;
    assert_eq!((told(&entry), &entry["before"]), ([ALICE, "gemini-chat", "runs wild"], &Value::Null));

    let path = format!("/api/admin/blocks/{}", block["id"].as_str().unwrap());
    let ended = alice.ask("DELETE", &format!("{path}?reason=mended%20now"), "").await.expect(204);
    assert!(ended.body.is_empty());
    house.call("gemini-chat").to("render-api").send().await.expect(200);
    alice.ask("DELETE", &path, "").await.expect(404);
    assert_eq!(alice.get("/api/admin/blocks").await.expect(200).json(), own);
    let entry = audited(&alice, "block_ended").await;
    assert_eq!(told(&entry), [ALICE, "gemini-chat", "mended now"]);
}

async fn limits_are_shown_and_given_back(database: Database) {
    let house = House::plan().on(database).open().await;
    let alice = alice(&house);
    for source in ["gemini-chat", "gemini-chat", "openai-chat"] {
        house.call(source).to("render-api").send().await.expect(200);
    }
    house.settle().await;
    let used = alice.get("/api/admin/limits?source=gemini-chat").await.expect(200).json();
    let rows = used["limits"].as_array().unwrap();
    assert!(rows.iter().all(|row| row["source"] == "gemini-chat" && row["endpoint"] == "render-api:undefined"), "{used}");
    assert_eq!(rows.iter().map(|row| row["calls"].as_u64().unwrap()).sum::<u64>(), 2, "{used}");
    assert!(alice.get("/api/admin/limits").await.expect(200).json().to_string().contains("openai-chat"));

    let cleared = alice.ask("DELETE", "/api/admin/limits/gemini-chat", "").await.expect(200).json();
    assert_eq!(cleared, json!({ "source": "gemini-chat", "rows": rows.len() }));
    assert_eq!(alice.get("/api/admin/limits?source=gemini-chat").await.json(), json!({ "limits": [] }));
    let entry = audited(&alice, "limits_cleared").await;
    assert_eq!(told(&entry), [ALICE, "gemini-chat", ""]);
}

async fn calls_are_listed_and_retraced(database: Database) {
    let house = House::plan().on(database).open().await;
    let alice = alice(&house);
    house.call("openai-chat").to("render-api").send().await.expect(200);
    let refused = house.call("gemini-chat").to("render-api").operation("DROP TABLE users").send().await.expect(403);
    house.settle().await;
    let listed = alice.get("/api/admin/calls?source=gemini-chat&target=render-api&limit=10").await.expect(200).json();
    let [call] = &listed["calls"].as_array().unwrap()[..] else { panic!("{listed}") };
    assert_eq!((&call["id"], &call["type"], &call["outcome"]), (&json!(refused.call_id()), &json!("schema_protection"), &json!("blocked")));
    assert_eq!(alice.get("/api/admin/calls?limit=1").await.json()["calls"], listed["calls"], "the newest first");

    let shown = alice.get(&format!("/api/admin/calls/{}", refused.call_id())).await.expect(200).json();
    for (member, value) in call.as_object().unwrap() {
        assert_eq!(&shown[member], value);
    }
    let decisions: Vec<_> = shown["steps"].as_array().unwrap().iter().map(|step| step["decision"].as_str().unwrap()).collect();
    assert_eq!(decisions, ["allow", "allow", "allow", "allow", "allow", "deny", "not_reached"]);
    assert!(shown["steps"][5]["policy"].as_str().unwrap().contains("sql.toml:"), "{shown}");

    // The same call, asked about instead of made.
    let question = json!({ "source": "gemini-chat", "target": "render-api", "operation": "DROP TABLE users" });
    let explained = alice.send("POST", "/api/admin/explain", question).await.expect(200).json();
    assert_eq!(["would", "code"].map(|member| explained[member].as_str().unwrap()), ["refuse", "dangerous_operation"]);
    assert_eq!((&explained["status"], &explained["message"]), (&json!(403), &refused.json()["message"]));
    let explained: Vec<_> = explained["steps"].as_array().unwrap().iter().map(|step| step["decision"].as_str().unwrap()).collect();
    assert_eq!(explained, decisions);
    let whole = json!({ "source": "gemini-chat", "envelope": { "target": "render-api" }, "network": "203.0.113.7" });
    let whole = alice.send("POST", "/api/admin/explain", whole).await.expect(200).json();
    assert_eq!((&whole["would"], &whole["status"], &whole["enforced"]), (&json!("forward"), &Value::Null, &json!(true)));
    assert_eq!(whole["steps"][1]["saw"], "a call from 203.0.113.7");
}

async fn bypasses_are_logged_and_reviewed(database: Database) {
    let house = House::plan().on(database).open().await;
    let alice = alice(&house);
    let order = json!({ "by": "bob", "target": "render-api", "reason": "INC-7: the gatekeeper was down" });
    let entry = alice.send("POST", "/api/admin/bypasses", order).await.expect(201).json();
    assert_eq!(entry["status"], "open");
    assert_eq!(entry["metadata"], json!({ "by": "bob", "target": "render-api", "reason": "INC-7: the gatekeeper was down" }));
    assert_eq!(alice.get("/api/admin/bypasses?open=true").await.expect(200).json(), json!({ "entries": [entry.clone()] }));
    assert_eq!(alice.get("/api/admin/auto-fixes").await.expect(200).json(), json!({ "entries": [] }));
    assert_eq!(told(&audited(&alice, "bypass_logged").await), [ALICE, "render-api", "INC-7: the gatekeeper was down"]);
    let id = entry["id"].as_str().unwrap();
    assert_eq!(alice.get(&format!("/api/admin/calls/{id}")).await.expect(200).json()["steps"], json!([]), "it met no gate");

    let path = format!("/api/admin/reviews/{id}");
    let review = alice.send("POST", &path, json!({ "by": "carol", "note": "was right" })).await.expect(200).json();
    assert_eq!((&review["id"], &review["by"], &review["note"]), (&entry["id"], &json!("carol"), &json!("was right")));
    alice.send("POST", &path, json!({ "by": "carol", "note": "again" })).await.expect(404);
    assert_eq!(alice.get("/api/admin/bypasses?open=true").await.json(), json!({ "entries": [] }));
    let reviewed = &alice.get("/api/admin/bypasses").await.json()["entries"][0];
    assert_eq!((&reviewed["status"], &reviewed["metadata"]["reviewed"]["by"]), (&json!("reviewed"), &json!("carol")), "{reviewed}");
    assert_eq!(told(&audited(&alice, "reviewed").await)[0], ALICE);
}

#[tokio::test]
async fn the_log_says_more_or_less_at_once() {
    let house = House::open().await;
    let alice = alice(&house);
    let before = alice.get("/api/admin/log-level").await.expect(200).json();
    assert_eq!(
        alice.send("PUT", "/api/admin/log-level", json!({ "level": "debug" })).await.expect(200).json(),
        json!({ "level": "debug" })
    );
    assert_eq!(alice.get("/api/admin/log-level").await.json(), json!({ "level": "debug" }));
    let entry = audited(&alice, "log_level_changed").await;
    assert_eq!((&entry["before"], &entry["after"]), (&before["level"], &json!("debug")));
}

/// The runbook's own words: `curl -d` sends a form's content type.
#[tokio::test]
async fn the_runbooks_curl_works_to_the_letter() {
    let house = House::open().await;
    let curl = Operator::of(&house).with("content-type", "application/x-www-form-urlencoded");
    let set = curl.ask("POST", "/api/admin/feature-flags", r#"{"name": "feature_name", "enabled": true}"#).await.expect(200).json();
    let flag = json!({ "name": "feature_name", "enabled": true, "kill_switch": false, "rollout_percentage": 100, "governs": "target" });
    assert_eq!(set, json!({ "flag": flag, "before": null }));
    let kept = operator::number(&house.database, "select count(*) from feature_flags where name = 'feature_name' and enabled").await;
    assert_eq!(kept, 1);
}

#[tokio::test]
async fn whoever_makes_a_change_is_kept_in_bounds_and_legible() {
    let house = House::open().await;
    let long = "a".repeat(2000);
    let table = [
        (None, "admin API, 127.0.0.1".to_owned()),
        (Some("  "), "admin API, 127.0.0.1".to_owned()),
        (Some("bob\tadmin"), "bob\u{fffd}admin (admin API, 127.0.0.1)".to_owned()),
        (Some("zo\u{eb}"), "zo\u{eb} (admin API, 127.0.0.1)".to_owned()),
        (Some(&*long), format!("{}\u{2026} (admin API, 127.0.0.1)", "a".repeat(497))),
    ];
    for (n, (name, kept)) in table.into_iter().enumerate() {
        let operator = Operator::of(&house);
        let operator = name.map_or_else(|| Operator::of(&house), |name| operator.with("x-actor", name));
        operator.send("POST", "/api/admin/feature-flags", json!({ "name": format!("flag-{n}") })).await.expect(200);
        assert_eq!(audited(&operator, "flag_changed").await["actor"], kept);
    }
}
