//! Targets and gates are switched off by their feature flags, networks and sources by blocks: here at once, and within a second on every
//! gatekeeper of the database, whether by an operator's own SQL or through one of them.

use std::fs;
use std::time::Duration;

use eliza_gatekeeper::audit::{Actor, AuditEntry};
use eliza_gatekeeper::clock::ManualClock;
use eliza_gatekeeper::control::ControlError;
use eliza_gatekeeper::store::control::FlagChange;
use serde_json::{Value, json};

use crate::support::house::{House, eventually, midnight, soon};
use crate::support::operator::{number, run};
use crate::support::targets::{Conduct, Targets};
use crate::support::{Database, on_each_database};

const SECOND: Duration = Duration::from_secs(1);
const OWN: &str = "[[target]]\nnames = [\"brain\"]\n";

on_each_database!(
    one_update_switches_a_target_off_and_on_everywhere,
    a_gate_that_is_switched_off_only_observes,
    a_flag_that_is_set_through_a_gatekeeper_holds_there_at_once,
    every_target_and_gate_has_a_flag_to_update,
    a_block_holds_here_at_once_and_elsewhere_within_a_second,
    an_operators_own_sql_blocks_and_unblocks,
);

fn plan() -> crate::support::house::Plan {
    let targets = Targets::like_the_platform().but("brain", Conduct::status(200, "application/json", "{}"));
    House::plan().targets(targets).policy("own.toml", OWN)
}

/// Two gatekeepers on one database.
async fn pair(database: Database) -> [House; 2] {
    let one = plan().on(database).open().await;
    let other = plan().variable("DATABASE_URL", &one.database).open().await;
    for house in [&one, &other] {
        has_flag(house, "target:brain").await;
    }
    [one, other]
}

async fn has_flag(house: &House, name: &str) {
    let count = format!("select count(*) from feature_flags where name = '{name}'");
    eventually(name, || async { number(&house.database, &count).await == 1 }).await;
}

async fn update(house: &House, name: &str, set: &str) {
    assert_eq!(run(&house.database, &format!("UPDATE feature_flags SET {set} WHERE name = '{name}'")).await, 1);
}

async fn status(house: &House) -> u16 {
    house.call("gemini-chat").to("brain").send().await.status
}

async fn both_answer(houses: &[House; 2], expected: u16) {
    soon(&format!("both answer {expected}"), SECOND, Duration::from_millis(20), || async {
        status(&houses[0]).await == expected && status(&houses[1]).await == expected
    })
    .await;
}

async fn audited(house: &House, action: &str) -> Vec<AuditEntry> {
    let mut entries = house.store.audit_entries(1000).await.unwrap();
    entries.retain(|entry| entry.action == action);
    entries.reverse();
    entries
}

async fn one_update_switches_a_target_off_and_on_everywhere(database: Database) {
    let houses = pair(database).await;
    both_answer(&houses, 200).await;
    update(&houses[0], "target:brain", "kill_switch = true").await;
    both_answer(&houses, 503).await;
    assert_eq!(houses[1].call("gemini-chat").to("brain").send().await.expect(503).code(), "target_disabled");
    houses[1].call("gemini-chat").to("render-api").send().await.expect(200);
    update(&houses[0], "target:brain", "kill_switch = false").await;
    both_answer(&houses, 200).await;
    update(&houses[1], "target:brain", "enabled = false").await;
    both_answer(&houses, 503).await;
    update(&houses[1], "target:brain", "enabled = true, rollout_percentage = 0").await;
    both_answer(&houses, 503).await;
    run(&houses[1].database, "DELETE FROM feature_flags WHERE name = 'target:brain'").await;
    both_answer(&houses, 200).await;
    assert_eq!(audited(&houses[0], "flag_changed_by_hand").await.len(), 5);
}

async fn a_gate_that_is_switched_off_only_observes(database: Database) {
    let houses = pair(database).await;
    let drop = async |house: &House| house.call("gemini-chat").to("brain").operation("DROP TABLE users").send().await;
    drop(&houses[0]).await.expect(403);
    update(&houses[0], "stage:sql_filter", "kill_switch = true").await;
    for house in &houses {
        soon("the gate only observes", SECOND, Duration::from_millis(20), || async { drop(house).await.status == 200 }).await;
        assert!(house.metrics().await.contains("gatekeeper_gate_enforcing{gate=\"sql_filter\"} 0\n"));
    }
    let told = houses[1].record_of(&drop(&houses[1]).await).await.metadata;
    assert_eq!(told["would_deny"][0]["gate"], json!("sql_filter"));
    update(&houses[0], "stage:sql_filter", "kill_switch = false").await;
    soon("it enforces", SECOND, Duration::from_millis(20), || async { drop(&houses[1]).await.status == 403 }).await;
}

async fn a_flag_that_is_set_through_a_gatekeeper_holds_there_at_once(database: Database) {
    let houses = pair(database).await;
    let alice = Actor::named("alice");
    let kill = FlagChange { name: "target:brain".into(), kill_switch: Some(true), ..FlagChange::default() };
    let (before, after) = houses[0].gatekeeper.control.set_flag(&kill, Some("INC-4711"), &alice).await.unwrap();
    assert_eq!((before.unwrap().kill_switch, after.kill_switch, after.enabled), (false, true, true));
    assert_eq!(status(&houses[0]).await, 503);
    both_answer(&houses, 503).await;
    let entries = audited(&houses[0], "flag_changed").await;
    let [entry] = &entries[..] else { panic!("{entries:?}") };
    assert_eq!((&*entry.actor, &*entry.subject, entry.reason.as_deref()), ("alice", "target:brain", Some("INC-4711")));
    assert_eq!((&entry.before["kill_switch"], &entry.after["kill_switch"]), (&json!(false), &json!(true)));
    assert!(audited(&houses[0], "flag_changed_by_hand").await.is_empty(), "once is enough");

    let long = "x".repeat(129);
    for change in [
        FlagChange::default(),
        FlagChange { name: "a\nb".into(), ..FlagChange::default() },
        FlagChange { name: " a".into(), ..FlagChange::default() },
        FlagChange { name: long, ..FlagChange::default() },
        FlagChange { name: "a".into(), rollout_percentage: Some(101), ..FlagChange::default() },
    ] {
        let refused = houses[0].gatekeeper.control.set_flag(&change, None, &alice).await;
        assert!(matches!(refused, Err(ControlError::Invalid(_))), "{change:?}");
    }
}

async fn every_target_and_gate_has_a_flag_to_update(database: Database) {
    let house = plan().on(database).open().await;
    for gate in eliza_gatekeeper::verdict::GateName::ALL {
        has_flag(&house, &format!("stage:{}", gate.as_str())).await;
    }
    has_flag(&house, "target:schema-manager").await;
    fs::write(house.policies().join("new.toml"), "[[target]]\nnames = [\"new-function\"]\n").unwrap();
    has_flag(&house, "target:new-function").await;
}

async fn a_block_holds_here_at_once_and_elsewhere_within_a_second(database: Database) {
    let houses = pair(database).await;
    let (control, alice) = (&houses[0].gatekeeper.control, Actor::named("alice"));
    let block = control.block("gemini-*", "runs wild", None, &alice).await.unwrap();
    assert_eq!(houses[0].call("gemini-chat").to("brain").send().await.expect(403).code(), "source_disabled");
    both_answer(&houses, 403).await;
    assert_eq!(control.blocks().await.unwrap(), std::slice::from_ref(&block));

    assert!(houses[1].gatekeeper.control.unblock(block.id, Some("tame again"), &alice).await.unwrap());
    assert_eq!(status(&houses[1]).await, 200);
    both_answer(&houses, 200).await;
    assert!(!control.unblock(block.id, None, &alice).await.unwrap());
    assert_eq!(audited(&houses[0], "block_added").await[0].after["subject"], json!("gemini-*"));
    assert_eq!(audited(&houses[0], "block_ended").await.len(), 1);

    control.block("127.0.0.0/8", "ours", None, &alice).await.unwrap();
    assert_eq!(houses[0].call("gemini-chat").to("brain").send().await.expect(403).code(), "network_blocked");
    for (subject, reason) in [("not a name", "x"), ("", "x"), ("10.0.0.0/33", "x"), ("gemini-chat", " ")] {
        assert!(matches!(control.block(subject, reason, None, &alice).await, Err(ControlError::Invalid(_))), "{subject:?} {reason:?}");
    }
}

async fn an_operators_own_sql_blocks_and_unblocks(database: Database) {
    let houses = pair(database).await;
    let table = match database {
        Database::Sqlite => "gatekeeper_blocks",
        Database::Postgres => "gatekeeper.blocks",
    };
    run(&houses[0].database, &format!("insert into {table} (kind, subject, reason) values ('source', 'gemini-chat', 'by hand')")).await;
    both_answer(&houses, 403).await;
    run(&houses[0].database, &format!("delete from {table}")).await;
    both_answer(&houses, 200).await;
}

#[tokio::test]
async fn a_block_ends_by_itself_and_survives_a_restart() {
    let clock = ManualClock::at(midnight());
    let house = plan().at(&clock).open().await;
    let until = midnight().plus(Duration::from_secs(60));
    house.gatekeeper.control.block("gemini-chat", "flood", Some(until), &Actor::named("alice")).await.unwrap();
    let house = plan().at(&clock).in_place_of(&house.close().await).open().await;
    assert_eq!(status(&house).await, 403);
    clock.advance(Duration::from_secs(60));
    assert_eq!(status(&house).await, 200);
}

#[tokio::test]
async fn a_policy_that_is_read_again_keeps_the_blocks_that_were_added() {
    let house = plan().open().await;
    let alice = Actor::named("alice");
    house.gatekeeper.control.block("gemini-chat", "flood", None, &alice).await.unwrap();
    let own = format!("{OWN}[[block]]\nsources = [\"openai-chat\"]\nreason = \"INC\"\n");
    fs::write(house.policies().join("own.toml"), own).unwrap();
    house.gatekeeper.control.reload(&alice).await.unwrap();
    for source in ["gemini-chat", "openai-chat"] {
        assert_eq!(house.call(source).to("brain").send().await.expect(403).code(), "source_disabled");
    }
}

#[tokio::test]
async fn without_the_database_whoever_asks_is_told_so() {
    let house = plan().variable("DATABASE_URL", "postgres://nobody@127.0.0.1:9/none").open().await;
    let (control, alice) = (&house.gatekeeper.control, Actor::named("alice"));
    let change = FlagChange { name: "target:brain".into(), ..FlagChange::default() };
    assert!(matches!(control.set_flag(&change, None, &alice).await, Err(ControlError::Away)));
    assert!(matches!(control.block("gemini-chat", "flood", None, &alice).await, Err(ControlError::Away)));
    assert_eq!(status(&house).await, 200);
}

#[tokio::test]
async fn bypasses_reviews_cleared_limits_and_the_logs_level_are_audited() {
    use eliza_gatekeeper::store::control::{ActivityEntry, EntryKind, Review};
    let house = plan().open().await;
    let (control, alice) = (&house.gatekeeper.control, Actor::named("alice"));
    // What is old is let go of.
    let now = house.gatekeeper.pipeline.clock.now();
    let entry = ActivityEntry::bypass(now, "bob", "brain", "INC-4711");
    control.log_bypass(&entry, &alice).await.unwrap();
    assert_eq!(control.entries(EntryKind::ManualBypass, true, 10).await.unwrap()[0].id, entry.id);
    let review = Review { by: "carol".into(), note: "mended".into(), at: now };
    assert!(control.review(entry.id, &review, &alice).await.unwrap());
    assert!(!control.review(entry.id, &review, &alice).await.unwrap());
    assert!(control.entries(EntryKind::ManualBypass, true, 10).await.unwrap().is_empty());

    status(&house).await;
    house.settle().await;
    assert_eq!(control.clear_limits("gemini-chat", &alice).await.unwrap(), 1);
    assert_eq!(control.set_log_level("Warning", &alice).await.unwrap(), "warn");
    assert_eq!(control.log_level(), "warn");
    assert!(matches!(control.set_log_level("loud", &alice).await, Err(ControlError::Invalid(_))));

    for (action, subject, before, after) in [
        ("bypass_logged", "brain", Value::Null, json!({ "id": entry.id.to_string(), "by": "bob" })),
        ("reviewed", &*entry.id.to_string(), Value::Null, json!({ "by": "carol" })),
        ("limits_cleared", "gemini-chat", json!({ "rows": 1 }), json!({ "rows": 0 })),
        ("log_level_changed", "log", json!("info"), json!("warn")),
    ] {
        eventually(action, || async { audited(&house, action).await.len() == 1 }).await;
        let told = &audited(&house, action).await[0];
        assert_eq!((&*told.actor, &*told.subject, &told.before, &told.after), ("alice", subject, &before, &after));
    }
}
