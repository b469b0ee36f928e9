//! Policies change while calls go on: saved is in force within a second, no call fails for it, and what is wrong changes nothing.

use std::fs;
use std::os::unix::fs::symlink;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use eliza_gatekeeper::audit::Actor;
use futures_util::future::join_all;
use serde_json::json;

use crate::support::house::{House, eventually, soon};
use crate::support::line::Line;
use crate::support::targets::{Conduct, Gate, Targets};

const SECOND: Duration = Duration::from_secs(1);
/// May call often enough.
const SOURCE: &str = "code-monitor-daemon";

/// A target of this test's own, called by whoever is named.
fn brain_for(caller: &str) -> String {
    format!("[[target]]\nnames = [\"brain\"]\ncallers = [\"{caller}\"]\n")
}

async fn open_brain() -> House {
    let targets = Targets::like_the_platform().but("brain", Conduct::status(200, "application/json", "{}"));
    House::plan().targets(targets).policy("own.toml", &brain_for(SOURCE)).open().await
}

async fn status_at(house: &House, target: &str) -> u16 {
    house.call(SOURCE).to(target).send().await.status
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_that_is_edited_under_load_is_in_force_within_a_second_and_no_call_fails() {
    let house = Arc::new(open_brain().await);
    let gate = Gate::shut();
    house.targets.let_be("brain", Conduct::Hang(gate.clone()));
    let held: Vec<_> = (0..200)
        .map(|_| {
            let house = Arc::clone(&house);
            tokio::spawn(async move { status_at(&house, "brain").await })
        })
        .collect();
    house.targets.arrival("brain", 200).await;
    let going_on = Arc::new(AtomicBool::new(true));
    let steady: Vec<_> = (0..4)
        .map(|_| {
            let (house, going_on) = (Arc::clone(&house), Arc::clone(&going_on));
            tokio::spawn(async move {
                let mut statuses = Vec::new();
                while going_on.load(Ordering::SeqCst) {
                    statuses.push(status_at(&house, "render-api").await);
                    tokio::time::sleep(Duration::from_millis(25)).await;
                }
                statuses
            })
        })
        .collect();

    let before = house.gatekeeper.control.policy_status();
    fs::write(house.policies().join("own.toml"), brain_for("gemini-chat")).unwrap();
    soon("the new policy is in force", SECOND, Duration::from_millis(5), || async {
        house.gatekeeper.control.policy_status().fingerprint != before.fingerprint
    })
    .await;
    house.call(SOURCE).to("brain").send().await.expect(403);

    gate.open();
    let held: Vec<u16> = join_all(held).await.into_iter().map(Result::unwrap).collect();
    assert_eq!(held, vec![200; 200], "calls end by the policy they began with");
    going_on.store(false, Ordering::SeqCst);
    let steady: Vec<u16> = join_all(steady).await.into_iter().flat_map(Result::unwrap).collect();
    assert!(steady.len() > 20 && steady.iter().all(|status| *status == 200), "{steady:?}");
    assert!(house.metrics().await.contains("gatekeeper_policy_reloads_total{outcome=\"loaded\"} 1\n"));
}

#[tokio::test]
async fn what_is_wrong_changes_nothing_and_is_named_with_file_and_line() {
    let house = open_brain().await;
    let own = house.policies().join("own.toml");
    let fine = fs::read_to_string(&own).unwrap();
    let before = house.gatekeeper.control.policy_status();

    fs::write(&own, format!("{fine}[[target]]\nnames = [\"a b\"]\n")).unwrap();
    let problems = || house.gatekeeper.control.policy_status().problems;
    soon("the mistake is seen", SECOND, Duration::from_millis(5), || async { !problems().is_empty() }).await;
    assert!(problems().iter().any(|problem| problem.starts_with("own.toml:5:")), "{:?}", problems());
    assert_eq!(house.gatekeeper.control.policy_status().fingerprint, before.fingerprint);
    house.call(SOURCE).to("brain").send().await.expect(200);
    let metrics = house.metrics().await;
    assert!(
        metrics.contains("gatekeeper_policy_problems 1\n") && metrics.contains("gatekeeper_policy_reloads_total{outcome=\"refused\"} 1\n")
    );

    // Whoever asks is told the same.
    let told = house.gatekeeper.control.reload(&Actor::named("alice")).await.unwrap_err();
    assert_eq!(told, problems());

    fs::write(&own, &fine).unwrap();
    soon("the mistake is mended", SECOND, Duration::from_millis(5), || async { problems().is_empty() }).await;
    assert_eq!(house.gatekeeper.control.policy_status().fingerprint, before.fingerprint);
    assert!(house.metrics().await.contains("gatekeeper_policy_problems 0\n"));
}

#[tokio::test]
async fn what_became_of_policies_is_audited_once() {
    let house = open_brain().await;
    let own = house.policies().join("own.toml");
    let alice = Actor::named("alice");
    let control = &house.gatekeeper.control;
    let before = control.policy_status().fingerprint;
    fs::write(&own, "[[target]]\nnames = [7]\n").unwrap();
    for _ in 0..3 {
        control.reload(&alice).await.unwrap_err();
    }
    fs::write(&own, brain_for("gemini-chat")).unwrap();
    let after = control.reload(&alice).await.unwrap().fingerprint;
    control.reload(&alice).await.unwrap();
    let audited = async || {
        let entries = house.store.audit_entries(100).await.unwrap();
        entries.into_iter().filter(|entry| entry.action.starts_with("policy_")).collect::<Vec<_>>()
    };
    eventually("both are audited", || async { audited().await.len() >= 2 }).await;
    let entries = audited().await;
    let [reloaded, refused] = &entries[..] else { panic!("{entries:?}") };
    assert_eq!((&*refused.action, &*reloaded.action), ("policy_refused", "policy_reloaded"));
    let problems = refused.after["problems"].as_array().unwrap();
    assert!(problems.iter().any(|problem| problem.as_str().unwrap().starts_with("own.toml:2:")), "{refused:?}");
    assert_eq!((&reloaded.before["fingerprint"], &reloaded.after["fingerprint"]), (&json!(before), &json!(after)));
}

#[tokio::test]
async fn policies_that_are_gone_altogether_change_nothing() {
    let house = open_brain().await;
    let aside = house.policies().with_file_name("aside");
    fs::rename(house.policies(), &aside).unwrap();
    let problems = || house.gatekeeper.control.policy_status().problems;
    soon("it is seen", SECOND, Duration::from_millis(5), || async { !problems().is_empty() }).await;
    house.call(SOURCE).to("brain").send().await.expect(200);
    fs::rename(&aside, house.policies()).unwrap();
    soon("they are back", SECOND, Duration::from_millis(5), || async { problems().is_empty() }).await;
}

#[tokio::test]
async fn configuration_that_is_mounted_changes_by_one_swap_of_a_link() {
    let house = open_brain().await;
    let policies = house.policies();
    for (version, caller) in [("..1", SOURCE), ("..2", "gemini-chat")] {
        fs::create_dir(policies.join(version)).unwrap();
        fs::write(policies.join(version).join("own.toml"), brain_for(caller)).unwrap();
    }
    symlink("..1", policies.join("..data")).unwrap();
    fs::remove_file(policies.join("own.toml")).unwrap();
    symlink("..data/own.toml", policies.join("own.toml")).unwrap();
    // Whether or not the moment between the two was seen, all is as before now.
    house.gatekeeper.control.reload(&Actor::named("alice")).await.unwrap();
    house.call(SOURCE).to("brain").send().await.expect(200);

    symlink("..2", policies.join("..next")).unwrap();
    fs::rename(policies.join("..next"), policies.join("..data")).unwrap();
    soon("the other version is in force", SECOND, Duration::from_millis(20), || async { status_at(&house, "brain").await == 403 }).await;
}

#[tokio::test]
async fn a_new_target_can_be_called_and_one_that_is_gone_cannot() {
    let house = open_brain().await;
    house.targets.let_be("new-function", Conduct::status(200, "application/json", "{}"));
    house.call(SOURCE).to("new-function").send().await.expect(404);
    fs::write(house.policies().join("new.toml"), "[[target]]\nnames = [\"new-function\"]\n").unwrap();
    soon("it can be called", SECOND, Duration::from_millis(20), || async { status_at(&house, "new-function").await == 200 }).await;
    fs::remove_file(house.policies().join("new.toml")).unwrap();
    eventually("it is gone", || async { status_at(&house, "new-function").await == 404 }).await;
}

#[tokio::test]
async fn a_call_that_set_out_under_the_former_policy_brings_no_target_back() {
    let house = open_brain().await;
    let listed = async || house.metrics().await.contains("gatekeeper_breaker_state{target=\"brain\"}");
    assert!(listed().await);
    let envelope = json!({ "target": "brain", "action": "think" }).to_string();
    let mut slow = Line::to(house.data).await;
    slow.begin_call(SOURCE, envelope.len()).await;
    eventually("it is on its way", || async { house.gatekeeper.metrics.in_flight.get() == 1 }).await;
    fs::remove_file(house.policies().join("own.toml")).unwrap();
    house.gatekeeper.control.reload(&Actor::named("alice")).await.unwrap();
    assert!(!listed().await);
    slow.say(envelope).await.reply().await.expect(200);
    assert!(!listed().await);
}
