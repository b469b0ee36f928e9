//! Enforcement taken off while calls go on: it holds at once, ends at its moment, survives restarts with and without the database, and
//! everybody hears of it.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use eliza_gatekeeper::audit::Actor;
use eliza_gatekeeper::clock::ManualClock;
use eliza_gatekeeper::control::EnforceOrder;
use eliza_gatekeeper::enforcement::GateMode;
use eliza_gatekeeper::verdict::GateName;
use serde_json::{Value, json};

use crate::support::house::{House, KEY, Plan, Reply, SERVICE_KEY, call_at, eventually, midnight};
use crate::support::program::Program;
use crate::support::targets::{Conduct, Targets};
use crate::support::{Database, on_each_database};

const FIVE: Duration = Duration::from_secs(5);
/// Nobody listens there.
const AWAY: &str = "postgres://nobody@127.0.0.1:9/none";
const OWN: &str = "[[target]]\nnames = [\"brain\"]\n[[source]]\nnames = [\"flooder\"]\ntotal = [\"1/1d\"]\n";

on_each_database!(off_for_five_seconds_lets_everything_through_and_ends_by_itself, what_was_said_survives_a_restart_and_so_does_its_end,);

fn plan(clock: &ManualClock) -> Plan {
    let targets = Targets::like_the_platform().but("brain", Conduct::status(200, "application/json", "{}"));
    House::plan().targets(targets).policy("own.toml", OWN).at(clock)
}

fn alice() -> Actor {
    Actor::named("alice")
}

async fn off(house: &House, gate: Option<GateName>, length: Option<Duration>) {
    let until = length.map(|length| house.gatekeeper.pipeline.clock.now().plus(length));
    let order = EnforceOrder { mode: GateMode::Observe, gate, until, reason: "INC-4711".into() };
    house.gatekeeper.control.enforce(&order, &alice()).await;
}

fn modes(house: &House) -> Vec<GateMode> {
    house.gatekeeper.control.enforcement().into_iter().map(|standing| standing.mode).collect()
}

fn is_on(house: &House) -> bool {
    modes(house).iter().all(|mode| *mode == GateMode::Enforce)
}

/// A key that is none, a source beyond its limit, and SQL that destroys; and what each is refused with.
async fn three_offenders(house: &House) -> [Reply; 3] {
    let stranger = house.nameless_call().header("x-eliza-key", "wrong").header("x-eliza-source", "gemini-chat");
    let flooder = house.call("flooder").to("brain");
    let dropper = house.call("gemini-chat").to("brain").operation("DROP TABLE users");
    [stranger.to("brain").send().await, flooder.send().await, dropper.send().await]
}

const REFUSED: [(u16, &str, &str); 3] =
    [(401, "unauthorized", "authenticate"), (429, "rate_limited", "source_limit"), (403, "dangerous_operation", "sql_filter")];

async fn all_are_refused(house: &House) {
    for (reply, (status, code, _)) in three_offenders(house).await.into_iter().zip(REFUSED) {
        assert_eq!((reply.status, &*reply.code()), (status, code));
    }
}

async fn all_pass(house: &House) -> [Reply; 3] {
    let replies = three_offenders(house).await;
    assert!(replies.iter().all(|reply| reply.status == 200), "{replies:?}");
    replies
}

async fn off_for_five_seconds_lets_everything_through_and_ends_by_itself(database: Database) {
    let clock = ManualClock::at(midnight());
    let house = plan(&clock).on(database).open().await;
    house.call("flooder").to("brain").send().await.expect(200);
    all_are_refused(&house).await;
    assert!(house.metrics().await.contains("gatekeeper_enforcing 1\n"));

    off(&house, None, Some(FIVE)).await;
    let metrics = house.metrics().await;
    assert!(metrics.contains("gatekeeper_enforcing 0\n") && metrics.contains("gatekeeper_gate_enforcing{gate=\"sql_filter\"} 0\n"));
    let before = house.targets.received("brain").len();
    for (reply, (status, code, gate)) in all_pass(&house).await.iter().zip(REFUSED) {
        let told = house.record_of(reply).await.metadata;
        let [would] = &told["would_deny"].as_array().unwrap()[..] else { panic!("{told}") };
        assert_eq!((&would["gate"], &would["code"], &would["status"]), (&json!(gate), &json!(code), &json!(status)));
        assert_eq!(told["enforced"], json!(false));
    }
    let unproven = &house.targets.received("brain")[before];
    assert!(unproven.headers.values().all(|value| !value.to_str().unwrap().contains(SERVICE_KEY)), "{unproven:?}");

    clock.advance(FIVE - Duration::from_micros(1));
    all_pass(&house).await;
    clock.advance(Duration::from_micros(1));
    all_are_refused(&house).await;
    eventually("the metrics say so", || async { house.metrics().await.contains("gatekeeper_enforcing 1\n") }).await;
}

async fn what_was_said_survives_a_restart_and_so_does_its_end(database: Database) {
    let clock = ManualClock::at(midnight());
    let house = plan(&clock).on(database).open().await;
    house.call("flooder").to("brain").send().await.expect(200);
    off(&house, None, Some(FIVE)).await;
    clock.advance(Duration::from_secs(3));
    let closed = house.close().await;

    // Without the database it is known too, and its end as well.
    let house = plan(&clock).in_place_of(&closed).variable("DATABASE_URL", AWAY).open().await;
    all_pass(&house).await;
    clock.advance(Duration::from_secs(2));
    assert!(is_on(&house));
    house.call("gemini-chat").to("brain").operation("DROP TABLE users").send().await.expect(403);
    house.close().await;

    let house = plan(&clock).in_place_of(&closed).open().await;
    assert!(is_on(&house));
    all_are_refused(&house).await;
    off(&house, Some(GateName::SqlFilter), None).await;
    let house = plan(&clock).in_place_of(&house.close().await).open().await;
    clock.advance(Duration::from_secs(1_000_000));
    let observing: Vec<_> = house.gatekeeper.control.enforcement().into_iter().filter(|gate| gate.mode == GateMode::Observe).collect();
    let [standing] = &observing[..] else { panic!("{observing:?}") };
    let ruling = standing.ruling.as_ref().unwrap();
    assert_eq!((standing.gate, &*ruling.reason, &*ruling.actor), (GateName::SqlFilter, "INC-4711", "alice"));
}

#[tokio::test]
async fn an_end_that_came_while_nobody_ran_has_come() {
    let clock = ManualClock::at(midnight());
    let house = plan(&clock).open().await;
    off(&house, None, Some(FIVE)).await;
    let closed = house.close().await;
    clock.advance(FIVE);
    assert!(is_on(&plan(&clock).in_place_of(&closed).open().await));
}

#[tokio::test]
async fn a_later_order_beats_an_earlier_one_even_if_the_clock_was_set_back() {
    let clock = ManualClock::at(midnight());
    let house = plan(&clock).open().await;
    off(&house, None, None).await;
    clock.set(midnight().minus(Duration::from_secs(3600)));
    let on = EnforceOrder { mode: GateMode::Enforce, gate: None, until: None, reason: String::new() };
    house.gatekeeper.control.enforce(&on, &alice()).await;
    assert!(is_on(&house));
    let house = plan(&clock).in_place_of(&house.close().await).open().await;
    assert!(is_on(&house));
}

#[tokio::test]
async fn a_shorter_order_over_a_longer_one_never_leaves_it_off_for_ever() {
    let clock = ManualClock::at(midnight());
    let house = plan(&clock).open().await;
    off(&house, None, Some(FIVE * 10)).await;
    off(&house, Some(GateName::SqlFilter), Some(FIVE)).await;
    clock.advance(FIVE);
    let observing = modes(&house).iter().filter(|mode| **mode == GateMode::Observe).count();
    assert_eq!(observing, GateName::ALL.len() - 1, "the one that was to end first has ended");
    clock.advance(FIVE * 9);
    assert!(is_on(&house));
}

#[tokio::test]
async fn what_is_kept_is_readable_for_its_owner_alone_and_what_is_not_ours_is_set_aside() {
    let clock = ManualClock::at(midnight());
    let house = plan(&clock).open().await;
    off(&house, Some(GateName::Blocklist), Some(FIVE)).await;
    let file = house.state().join("enforcement.json");
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let kept: Value = serde_json::from_str(&fs::read_to_string(&file).unwrap()).unwrap();
    let expected = json!({
        "gate": "blocklist", "mode": "observe", "until": "2026-03-04T00:00:05Z", "afterwards": null, "reason": "INC-4711",
        "actor": "alice", "at": "2026-03-04T00:00:00Z", "ended": false,
    });
    assert_eq!(kept, json!({ "version": 1, "rulings": [expected] }));

    let closed = house.close().await;
    fs::write(&file, "{\"version\":2,\"rulings\":[]}").unwrap();
    let house = plan(&clock).in_place_of(&closed).variable("DATABASE_URL", AWAY).open().await;
    assert!(is_on(&house), "as the environment says");
    assert_eq!(fs::read_to_string(file.with_extension("json.broken")).unwrap(), "{\"version\":2,\"rulings\":[]}");
}

#[tokio::test]
async fn a_state_directory_that_cannot_be_written_takes_nothing_from_an_order_and_is_told() {
    let clock = ManualClock::at(midnight());
    let house = plan(&clock).open().await;
    assert_eq!(house.gatekeeper.control.state_trouble(), None);
    let _gone = fs::remove_dir_all(house.state());
    fs::write(house.state(), "a file is in the way").unwrap();
    off(&house, None, None).await;
    assert!(modes(&house).iter().all(|mode| *mode == GateMode::Observe));
    assert!(house.gatekeeper.control.state_trouble().unwrap().contains("cannot be written"));
    // It is tried again until it can.
    fs::remove_file(house.state()).unwrap();
    eventually("it is kept", || async { house.gatekeeper.control.state_trouble().is_none() }).await;
    assert!(house.state().join("enforcement.json").exists());
}

#[tokio::test]
async fn at_a_hangup_the_environment_is_read_again_and_what_was_said_since_beats_it() {
    let targets = Targets::like_the_platform().open_to_all().start().await;
    let program = Program::new().variable("SUPABASE_URL", &targets.origin()).variable("SUPABASE_SERVICE_ROLE_KEY", SERVICE_KEY);
    let [enforce, level] = ["enforce", "level"].map(|name| program.folder().join(name));
    fs::write(&enforce, "true\n").unwrap();
    fs::write(&level, "info\n").unwrap();
    let program = program
        .variable("GATEKEEPER_ENFORCE_FILE", &enforce.display().to_string())
        .variable("LOG_LEVEL_FILE", &level.display().to_string());
    let serving = program.serve().await;
    let envelope = json!({"target": "render-api", "operation": "drop table users"});
    let drop = async || call_at(serving.data, KEY, "gemini-chat", &envelope).await.status;
    assert_eq!(drop().await, 403);

    fs::write(&enforce, "false\n").unwrap();
    fs::write(&level, "CRITICAL\n").unwrap();
    serving.running.signal("HUP");
    eventually("it is off", || async { drop().await == 200 }).await;
    let is_told = |what: &str| serving.running.err().lines().filter(|line| line.contains(what)).count();
    assert_eq!(is_told("policies are read again and in force"), 1);

    fs::write(&enforce, "perhaps\n").unwrap();
    serving.running.signal("HUP");
    serving.running.log_line("GATEKEEPER_ENFORCE must be true or false").await;
    assert_eq!(is_told("policies are read again and in force"), 1, "from `error` on the log is silent about it");
    assert_eq!(drop().await, 200);
    serving.stop().await.expect(0);
}
