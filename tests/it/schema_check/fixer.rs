//! The fixer: set off once for statements of a kind, awaited by nobody, and what came of it is there for people to see.

use std::time::Duration;

use eliza_gatekeeper::clock::ManualClock;
use eliza_gatekeeper::store::CallRow;
use eliza_gatekeeper::store::control::EntryKind;
use futures_util::future::join_all;
use serde_json::{Value, json};

use super::{DDL, alter, rejecting, switch_off};
use crate::support::house::{House, Plan, SERVICE_KEY, eventually, midnight};
use crate::support::rows::rows;
use crate::support::targets::{Conduct, Gate, Targets};
use crate::support::{Database, on_each_database, operator};

on_each_database!(what_came_of_a_fix_is_recorded_and_failures_wait_for_somebody);

fn plan(fixer: Conduct) -> Plan {
    let targets = Targets::like_the_platform().but("schema-manager", rejecting("column age exists")).but("autonomous-code-fixer", fixer);
    House::plan().targets(targets)
}

async fn entries(house: &House, open_only: bool) -> Vec<CallRow> {
    house.settle().await;
    house.store.entries(EntryKind::AutoFix, open_only, 100).await.unwrap()
}

/// Every state that the fixes have come to, the oldest first.
async fn states(house: &House) -> Vec<String> {
    entries(house, false).await.into_iter().rev().map(|row| row.status).collect()
}

async fn until_states(house: &House, expected: &[&str]) {
    eventually(&format!("{expected:?}"), || async { states(house).await == expected }).await;
}

async fn what_came_of_a_fix_is_recorded_and_failures_wait_for_somebody(database: Database) {
    let clock = ManualClock::at(midnight());
    let house = plan(Conduct::Function).on(database).at(&clock).open().await;
    let reply = alter(&house).await.expect(400);
    let fixed = house.targets.arrival("autonomous-code-fixer", 1).await.remove(0);
    let told = json!({ "type": "schema_error", "error": "column age exists", "context": { "sql": DDL, "source": "gemini-chat" } });
    assert_eq!(fixed.json(), told);
    assert_eq!((fixed.header("x-call-id"), fixed.header("x-eliza-hops")), (Some(reply.call_id()), Some("1")));
    assert_eq!(fixed.header("authorization"), Some(format!("Bearer {SERVICE_KEY}").as_str()));
    until_states(&house, &["triggered", "succeeded"]).await;
    assert_eq!(entries(&house, true).await, []);

    let kept = entries(&house, false).await;
    let body = reply.json();
    for row in &kept {
        let expected = json!({
            "fix_id": kept[0].metadata["fix_id"], "call_id": reply.call_id(), "fixer": "autonomous-code-fixer", "source": "gemini-chat",
            "target": "get-embedding", "reason": "column age exists", "fingerprint": body["fingerprint"], "statement": DDL,
            "failure": null,
        });
        assert_eq!(row.metadata, expected);
        assert_eq!(row.activity_type, "auto_fix");
    }

    let failing = [
        (Conduct::html_500(), "status_500"),
        (Conduct::json(200, &json!({ "success": false })), "it says so itself"),
        (Conduct::close(), "reset"),
    ];
    let mut expected = vec!["triggered", "succeeded"];
    for (conduct, why) in failing {
        clock.advance(Duration::from_secs(600));
        house.targets.let_be("autonomous-code-fixer", conduct);
        alter(&house).await.expect(400);
        expected.extend(["triggered", "failed"]);
        until_states(&house, &expected).await;
        assert_eq!(entries(&house, false).await[0].metadata["failure"], why);
    }
    assert_eq!(entries(&house, true).await.iter().map(|row| row.status.as_str()).collect::<Vec<_>>(), ["failed"; 3]);

    // As an operator asks for it.
    let rejected = "select count(*) from eliza_activity_log where activity_type = 'schema_protection' \
                    and metadata ->> 'reason' = 'column age exists' and status = 'blocked'";
    assert_eq!(operator::number(&house.database, rejected).await, 4);
    let failed = "select count(*) from eliza_activity_log where activity_type = 'auto_fix' and status = 'failed'";
    assert_eq!(operator::number(&house.database, failed).await, 3);
    let metrics = house.gatekeeper.metrics.render();
    for (outcome, count) in [("triggered", 4), ("succeeded", 1), ("failed", 3)] {
        assert!(metrics.contains(&format!("gatekeeper_auto_fixes_total{{outcome=\"{outcome}\"}} {count}\n")), "{metrics}");
    }
    // A mended statement is sent again, and passes once the validator lets it.
    house.targets.mend("schema-manager");
    alter(&house).await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_loop_of_a_thousand_rejected_calls_sets_the_fixer_off_once() {
    let clock = ManualClock::at(midnight());
    let house = plan(Conduct::Function).at(&clock).open().await;
    let house = &house;
    let call = |n: usize| async move {
        let sql = format!("ALTER TABLE pets  ADD COLUMN note text DEFAULT 'note {n}', ADD COLUMN n int default {n} -- try {n}");
        let reply = house.call("code-monitor-daemon").to("get-embedding").payload(json!({ "sql": sql })).send().await.expect(400);
        assert_eq!(reply.json()["auto_fix_triggered"], true, "somebody is at work on it");
        reply.json()["fingerprint"].clone()
    };
    let mut fingerprints = Vec::new();
    for batch in 0..20 {
        fingerprints.extend(join_all((0..50).map(|n| call(batch * 50 + n))).await);
    }
    assert!(fingerprints.len() == 1000 && fingerprints.iter().all(|one| *one == fingerprints[0]));
    until_states(house, &["triggered", "succeeded"]).await;
    assert_eq!(house.targets.received("autonomous-code-fixer").len(), 1);

    clock.advance(Duration::from_secs(599));
    call(1000).await;
    assert_eq!(house.targets.received("autonomous-code-fixer").len(), 1);
    clock.advance(Duration::from_secs(1));
    call(1001).await;
    until_states(house, &["triggered", "succeeded", "triggered", "succeeded"]).await;
    assert_eq!(house.targets.received("autonomous-code-fixer").len(), 2);
}

#[tokio::test]
async fn a_fixer_that_hangs_keeps_nobody_waiting_and_is_cut_off_at_the_end() {
    let gate = Gate::shut();
    let house = plan(Conduct::Hang(gate.clone())).open().await;
    for n in 0..5 {
        let sql = format!("ALTER TABLE pets{n} ADD COLUMN age int");
        house.call("gemini-chat").to("get-embedding").payload(json!({ "sql": sql })).send().await.expect(400);
    }
    house.targets.arrival("autonomous-code-fixer", 2).await;
    assert_eq!(states(&house).await, ["triggered"; 5]);
    let closed = house.close().await;
    let kept = rows(
        &closed.database,
        "select status, metadata ->> 'failure' from eliza_activity_log where activity_type = 'auto_fix' order by created_at, status desc",
    )
    .await;
    let failed: Vec<&str> = kept.iter().filter(|row| row[0] == "failed").map(|row| row[1].as_str()).collect();
    assert_eq!((kept.len(), failed.len()), (10, 5), "{kept:?}");
    assert_eq!(failed.iter().filter(|why| why.contains("not carried out")).count(), 3, "two were under way: {failed:?}");
    gate.open();
}

#[tokio::test]
async fn nobody_is_set_off_where_nobody_should_be() {
    let untriggered = async |house: &House, source: &str| {
        let call = house.call(source).to("get-embedding").payload(json!({ "sql": DDL }));
        let reply = call.send().await.expect(400);
        assert_eq!(reply.json()["auto_fix_triggered"], false);
        assert_eq!(house.record_of(&reply).await.metadata["auto_fix_triggered"], false);
        assert_eq!((states(house).await, house.targets.received("autonomous-code-fixer").len()), (vec![], 0));
    };
    let house = plan(Conduct::Function).open().await;
    untriggered(&house, "autonomous-code-fixer").await;
    switch_off(&house, "target:autonomous-code-fixer").await;
    untriggered(&house, "gemini-chat").await;
    let house = plan(Conduct::Function).policy("schema.toml", "[schema]\nfixer = \"off\"\n").open().await;
    untriggered(&house, "gemini-chat").await;

    // Whoever has shown nothing sets nothing off, and is validated with nothing of ours.
    let house = plan(Conduct::Function).open().await;
    switch_off(&house, "stage:authenticate").await;
    let reply = house.nameless_call().to("get-embedding").payload(json!({ "sql": DDL })).send().await.expect(400);
    assert_eq!(reply.json()["auto_fix_triggered"], Value::Bool(false));
    assert_eq!(house.targets.received_once("schema-manager").header("authorization"), None);
    assert_eq!(house.targets.received("autonomous-code-fixer").len(), 0);
}
