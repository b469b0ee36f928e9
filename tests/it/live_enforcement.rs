//! Enforcement taken off while calls go on: it holds at once, ends at its moment, survives restarts with and without the database, and
//! everybody hears of it.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::time::Duration;

use eliza_gatekeeper::audit::{Actor, AuditEntry};
use eliza_gatekeeper::clock::ManualClock;
use eliza_gatekeeper::control::EnforceOrder;
use eliza_gatekeeper::enforcement::GateMode;
use eliza_gatekeeper::verdict::GateName;
use http::Method;
use serde_json::{Value, json};

use crate::support::house::{ADMIN_TOKEN, House, KEY, Plan, Reply, SERVICE_KEY, ask, call_at, eventually, http_client, midnight, soon};
use crate::support::operator::{number, run};
use crate::support::postgres::Cluster;
use crate::support::program::Program;
use crate::support::targets::{Conduct, Targets};
use crate::support::{Database, on_each_database};

const SECOND: Duration = Duration::from_secs(1);
const EVERY: Duration = Duration::from_millis(20);
const FIVE: Duration = Duration::from_secs(5);
/// Nobody listens there.
const AWAY: &str = "postgres://nobody@127.0.0.1:9/none";
const OWN: &str = "[[target]]\nnames = [\"brain\"]\n[[source]]\nnames = [\"flooder\"]\ntotal = [\"1/1d\"]\n";

on_each_database!(
    off_for_five_seconds_lets_everything_through_and_ends_by_itself,
    what_was_said_survives_a_restart_and_so_does_its_end,
    an_order_holds_on_every_gatekeeper_of_the_database,
    an_operators_own_sql_takes_a_gate_off_and_on,
    an_end_is_told_once_by_however_many_gatekeepers,
);

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
async fn an_end_that_could_not_be_noted_is_told_by_whoever_comes_next() {
    let clock = ManualClock::at(midnight());
    let house = plan(&clock).variable("DATABASE_URL", AWAY).open().await;
    off(&house, Some(GateName::SqlFilter), Some(FIVE)).await;
    let entries = house.state().join("audit");
    fs::remove_dir_all(&entries).unwrap();
    fs::write(&entries, "a file is in the way").unwrap();
    clock.advance(FIVE);
    // As it is tried again and again, what is kept of the ruling is written again and again.
    let file = house.state().join("enforcement.json");
    let kept = || (fs::metadata(&file).unwrap().ino(), fs::read_to_string(&file).unwrap());
    let (before, _) = kept();
    soon("what is kept is kept anew", 2 * FIVE, EVERY, || async { kept().0 != before }).await;
    assert!(kept().1.contains("\"ended\": false"), "{}", kept().1);

    let database = format!("sqlite://{}", house.state().with_file_name("calls.db").display());
    let closed = house.close().await;
    fs::remove_file(&entries).unwrap();
    let house = plan(&clock).in_place_of(&closed).variable("DATABASE_URL", &database).open().await;
    eventually("the end is audited", || async { audited(&house, "enforcement_ended").await.len() == 1 }).await;
    eventually("and known to be", || async { kept().1.contains("\"ended\": true") }).await;
}

#[tokio::test]
async fn a_state_directory_that_cannot_be_written_is_told_before_anything_is_said() {
    let clock = ManualClock::at(midnight());
    let closed = plan(&clock).open().await.close().await;
    let file = closed.state();
    let _gone = fs::remove_dir_all(&file);
    fs::write(&file, "a file is in the way").unwrap();
    let elsewhere = tempfile::tempdir().unwrap();
    let journal = elsewhere.path().display().to_string();
    let house = plan(&clock).in_place_of(&closed).variable("GATEKEEPER_JOURNAL", &journal).open().await;
    let warnings = async || house.get_ops("/health", &[]).await.json()["warnings"].to_string();
    assert!(warnings().await.contains("would be forgotten by a restart without the database"));
    assert!(house.metrics().await.contains("gatekeeper_state_unkept 1\n"));
    fs::remove_file(&file).unwrap();
    eventually("it is well", || async { !warnings().await.contains("forgotten") }).await;
    eventually("it is counted", || async { house.metrics().await.contains("gatekeeper_state_unkept 0\n") }).await;
}

#[tokio::test]
async fn at_a_hangup_the_environment_is_read_again_and_what_was_said_since_beats_it() {
    let targets = Targets::like_the_platform().open_to_all().start().await;
    let program = Program::new().variable("SUPABASE_URL", &targets.origin()).variable("SUPABASE_SERVICE_ROLE_KEY", SERVICE_KEY);
    let [enforce, level] = ["enforce", "level"].map(|name| program.folder().join(name));
    fs::write(&enforce, "true\n").unwrap();
    fs::write(&level, "info\n").unwrap();
    let program = program
        .variable("GATEKEEPER_ADMIN_TOKEN", ADMIN_TOKEN)
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

    let headers = [("authorization".to_owned(), format!("Bearer {ADMIN_TOKEN}"))];
    let order = json!({"mode": "on", "gate": "sql_filter"}).to_string();
    ask(&http_client(), serving.ops, Method::POST, "/api/admin/enforcement", &headers, order.into()).await.expect(200);
    assert_eq!(drop().await, 403);

    serving.running.signal("HUP");
    fs::write(&enforce, "perhaps\n").unwrap();
    serving.running.signal("HUP");
    serving.running.log_line("GATEKEEPER_ENFORCE must be true or false").await;
    assert_eq!(is_told("policies are read again and in force"), 1, "from `error` on the log is silent about it");
    assert_eq!(drop().await, 403, "what was said since beats the environment");
    serving.stop().await.expect(0);
}

/// Two gatekeepers on one database.
async fn pair(database: Database, clock: &ManualClock) -> [House; 2] {
    let one = plan(clock).on(database).open().await;
    let other = plan(clock).variable("DATABASE_URL", &one.database).open().await;
    [one, other]
}

async fn audited(house: &House, action: &str) -> Vec<AuditEntry> {
    let mut entries = house.store.audit_entries(1000).await.unwrap();
    entries.retain(|entry| entry.action == action);
    entries
}

async fn an_order_holds_on_every_gatekeeper_of_the_database(database: Database) {
    let clock = ManualClock::at(midnight());
    let houses = pair(database, &clock).await;
    off(&houses[0], Some(GateName::SqlFilter), Some(FIVE)).await;
    soon("the other has heard", SECOND, EVERY, || async { !is_on(&houses[1]) }).await;
    let drop = async |house: &House| house.call("gemini-chat").to("brain").operation("DROP TABLE users").send().await.status;
    assert_eq!([drop(&houses[0]).await, drop(&houses[1]).await], [200, 200]);
    let standings = houses.each_ref().map(|house| house.gatekeeper.control.enforcement());
    assert_eq!(standings[0], standings[1]);
    clock.advance(FIVE);
    assert_eq!([drop(&houses[0]).await, drop(&houses[1]).await], [403, 403]);

    eventually("it is audited", || async { audited(&houses[0], "enforcement_changed").await.len() == 1 }).await;
    let entry = &audited(&houses[0], "enforcement_changed").await[0];
    assert_eq!((&*entry.actor, &*entry.subject, entry.reason.as_deref()), ("alice", "sql_filter", Some("INC-4711")));
    assert_eq!(entry.before, json!({ "sql_filter": "enforce" }));
    assert_eq!(entry.after, json!({ "sql_filter": "observe", "until": "2026-03-04T00:00:05Z" }));
    assert!(audited(&houses[0], "enforcement_changed_by_hand").await.is_empty());
}

async fn an_operators_own_sql_takes_a_gate_off_and_on(database: Database) {
    let one = House::plan().on(database).open().await;
    let houses = [House::plan().variable("DATABASE_URL", &one.database).open().await, one];
    let table = match database {
        Database::Sqlite => "gatekeeper_enforcement",
        Database::Postgres => "gatekeeper.enforcement",
    };
    let all = async |on: bool| {
        soon(&format!("both are on: {on}"), SECOND, EVERY, || async { houses.iter().all(|house| is_on(house) == on) }).await;
    };
    run(&houses[0].database, &format!("update {table} set mode = 'observe', reason = 'INC-4711' where gate = 'sql_filter'")).await;
    all(false).await;
    run(&houses[0].database, &format!("update {table} set mode = 'enforce'")).await;
    all(true).await;
    run(&houses[0].database, &format!("update {table} set mode = 'observe'")).await;
    all(false).await;
    run(&houses[0].database, &format!("update {table} set mode = null")).await;
    all(true).await;
    assert!(audited(&houses[0], "enforcement_changed_by_hand").await.len() >= 4);
    // What an operator says afterwards by a command is the later word.
    off(&houses[0], None, None).await;
    all(false).await;
}

async fn an_end_is_told_once_by_however_many_gatekeepers(database: Database) {
    let clock = ManualClock::at(midnight());
    let [one, other] = pair(database, &clock).await;
    off(&one, None, Some(FIVE)).await;
    soon("the other has heard", SECOND, EVERY, || async { !is_on(&other) }).await;
    clock.advance(FIVE);
    let gates = GateName::ALL.len();
    let told = async |house: &House| audited(house, "enforcement_ended").await.len();
    eventually("the ends are audited", || async { told(&one).await == gates }).await;
    // Nor by one that comes back, nor by one that was never there before.
    let one = plan(&clock).in_place_of(&one.close().await).open().await;
    let third = plan(&clock).variable("DATABASE_URL", &one.database).open().await;
    one.close().await;
    third.close().await;
    assert_eq!(told(&other).await, gates);
    let entry = &audited(&other, "enforcement_ended").await[0];
    assert_eq!((&*entry.actor, entry.at), ("its own end", midnight().plus(FIVE)));
    assert_eq!((&entry.before, &entry.after), (&json!({ "mode": "observe" }), &json!({ "mode": "enforce" })));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_said_without_the_database_gets_there_when_it_is_back() {
    let cluster = Cluster::private();
    let url = cluster.database();
    let clock = ManualClock::at(midnight());
    let house = plan(&clock).variable("DATABASE_URL", &url).open().await;
    cluster.stop();
    off(&house, Some(GateName::SqlFilter), Some(FIVE)).await;
    assert!(!is_on(&house));
    cluster.start();
    let rulings = "select count(*) from gatekeeper.enforcement where mode = 'observe' and actor = 'alice'";
    eventually("the ruling is there", || async { number(&url, rulings).await == 1 }).await;
    eventually("the entry is there", || async { audited(&house, "enforcement_changed").await.len() == 1 }).await;

    // And if it was away until the process ended, it hears of it from the next.
    cluster.stop();
    off(&house, Some(GateName::Blocklist), None).await;
    clock.advance(FIVE);
    eventually("the end is noted", || async { fs::read_dir(house.state().join("audit")).unwrap().count() == 2 }).await;
    let closed = house.close().await;
    cluster.start();
    let house = plan(&clock).in_place_of(&closed).open().await;
    eventually("both are there", || async {
        audited(&house, "enforcement_changed").await.len() == 2 && audited(&house, "enforcement_ended").await.len() == 1
    })
    .await;
    eventually("the second ruling is there", || async { number(&url, rulings).await == 2 }).await;
    eventually("nothing waits", || async { fs::read_dir(house.state().join("audit")).unwrap().count() == 0 }).await;
}
