//! What operators change through the store, whichever database it is: flags, rulings, blocks are kept and heard of; of two rulings the later
//! counts, whoever wrote it; what is changed by hand takes effect like the rest and is audited by the database itself; what changes
//! nothing is no news; the audit is written once and never let go of; what somebody must look at waits until somebody has.

use std::sync::Arc;
use std::time::Duration;

use eliza_gatekeeper::audit::{Actor, AuditAction, AuditEntry};
use eliza_gatekeeper::clock::Timestamp;
use eliza_gatekeeper::enforcement::{GateMode, Ruling};
use eliza_gatekeeper::store::control::{ActivityEntry, BlockKind, EntryKind, EntryStatus, FlagChange, Review, StoredBlock};
use eliza_gatekeeper::store::{CallQuery, Signal, SignalCursor, Store, StoreError, open};
use eliza_gatekeeper::switches::Flag;
use eliza_gatekeeper::verdict::GateName;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::store_contract::{Bench, OPTIONS, cleared, keep, now, on_both, record};

on_both!(
    a_flag_is_made_changed_and_audited,
    flags_that_are_made_at_a_start_are_no_news,
    a_flag_changed_by_hand_is_heard_of_and_audited,
    what_a_flag_is_not_about_is_no_news,
    of_two_rulings_the_later_is_kept,
    two_writers_of_rulings_agree,
    a_ruling_by_hand_counts_from_now_on,
    a_ruling_by_hand_ends_and_leaves_what_was_to_follow,
    a_mode_named_by_hand_leaves_nothing_of_an_earlier_ruling,
    a_note_on_an_ended_ruling_changes_no_mode,
    a_change_by_hand_that_names_its_moment_is_one_too,
    every_gate_keeps_its_row,
    blocks_begin_and_end,
    blocks_by_hand_are_heard_of_and_audited,
    an_audit_entry_is_kept_once,
    the_audit_is_never_let_go_of,
    entries_wait_for_somebodys_eye,
    entries_are_no_calls,
    what_cannot_be_audited_is_not_done,
    high_risks_are_counted,
);

const MINUTE: Duration = Duration::from_secs(60);
const MICROSECOND: Duration = Duration::from_micros(1);

/// Hears everything once.
struct Ear<'a> {
    store: &'a Arc<dyn Store>,
    cursor: SignalCursor,
}

impl<'a> Ear<'a> {
    async fn of(bench: &'a Bench) -> Self {
        Self { store: &bench.store, cursor: bench.store.signal_cursor().await.unwrap() }
    }

    async fn hears(&mut self) -> Vec<Signal> {
        let (signals, next) = self.store.signals_after(&self.cursor).await.unwrap();
        self.cursor = next;
        signals
    }
}

fn entry(action: AuditAction, subject: &str) -> AuditEntry {
    AuditEntry::new(now(), &Actor::named("alice"), action, subject).because(Some("INC-4711"))
}

fn flag(name: &str) -> Flag {
    Flag { name: name.into(), enabled: true, kill_switch: false, rollout_percentage: 100 }
}

fn kill(name: &str) -> FlagChange {
    FlagChange { name: name.into(), kill_switch: Some(true), ..FlagChange::default() }
}

fn ruling(gate: GateName, mode: GateMode, at: Timestamp) -> Ruling {
    Ruling { gate, mode: Some(mode), until: None, afterwards: None, reason: "INC-4711".into(), actor: "alice".into(), at }
}

fn block(kind: BlockKind, subject: &str) -> StoredBlock {
    StoredBlock { id: Uuid::now_v7(), kind, subject: subject.into(), reason: "flood".into(), actor: "alice".into(), at: now(), until: None }
}

/// Who a change by hand is by.
fn hand(bench: &Bench) -> &'static str {
    if bench.url.starts_with("sqlite") { "database" } else { "postgres" }
}

/// The entries that the database wrote itself, the oldest first.
async fn by_hand(bench: &Bench) -> Vec<AuditEntry> {
    let mut entries = bench.store.audit_entries(99).await.unwrap();
    entries.retain(|entry| entry.action.ends_with("_by_hand"));
    entries.reverse();
    entries
}

async fn only_ruling(bench: &Bench) -> Ruling {
    let mut rulings = bench.store.rulings().await.unwrap();
    assert_eq!(rulings.len(), 1, "{rulings:?}");
    rulings.remove(0)
}

/// A moment that this database reads.
fn sql_moment(at: Timestamp) -> String {
    format!("'{}'", at.to_string().replace('T', " ").replace('Z', ""))
}

async fn rule_by_hand(bench: &Bench, set: &str) {
    let at_utc = if bench.url.starts_with("sqlite") { "" } else { "set timezone = 'UTC'; " };
    bench.client_runs(&format!("{at_utc}update {} set {set} where gate = 'sql_filter'", bench.own("enforcement"))).await;
}

async fn a_flag_is_made_changed_and_audited(bench: Bench) {
    let bench = bench.migrated().await;
    let mut ear = Ear::of(&bench).await;
    let name = "target:brain";
    let killed = Flag { kill_switch: true, ..flag(name) };
    let made = bench.store.set_flag(&kill(name), &entry(AuditAction::FlagChanged, name)).await.unwrap();
    assert_eq!(made, (None, killed.clone()), "what is not said is as a new flag is");
    assert_eq!(ear.hears().await, [Signal::FlagsChanged]);

    let quarter = FlagChange { name: name.into(), enabled: Some(false), rollout_percentage: Some(25), ..FlagChange::default() };
    let changed = entry(AuditAction::FlagChanged, name);
    let both = bench.store.set_flag(&quarter, &changed).await.unwrap();
    let off = Flag { enabled: false, rollout_percentage: 25, ..killed.clone() };
    assert_eq!(both, (Some(killed), off.clone()), "what is not said stays");
    assert_eq!(ear.hears().await, [Signal::FlagsChanged]);
    assert_eq!(bench.store.flags().await.unwrap(), [off]);

    bench.store.set_flag(&quarter, &entry(AuditAction::FlagChanged, name)).await.unwrap();
    bench.store.set_flag(&quarter, &AuditEntry { id: Uuid::now_v7(), ..changed.clone() }).await.unwrap();
    assert_eq!(ear.hears().await, [], "what changes nothing is no news");
    let kept = bench.store.audit_entries(9).await.unwrap();
    assert_eq!(kept.len(), 4, "but who ordered it is audited");
    let expected = changed.from_to(
        json!({"name": name, "enabled": true, "kill_switch": true, "rollout_percentage": 100}),
        json!({"name": name, "enabled": false, "kill_switch": true, "rollout_percentage": 25}),
    );
    assert!(kept.contains(&expected), "{kept:?}");
    assert_eq!(by_hand(&bench).await, []);
}

async fn flags_that_are_made_at_a_start_are_no_news(bench: Bench) {
    let bench = bench.migrated().await;
    bench.store.set_flag(&kill("target:b"), &entry(AuditAction::FlagChanged, "target:b")).await.unwrap();
    let mut ear = Ear::of(&bench).await;
    let other = open(&bench.url, OPTIONS).await.unwrap();
    let names = ["target:a".to_owned(), "target:b".to_owned(), "stage:sql_filter".to_owned()];
    for made in futures_util::future::join_all([&bench.store, &other, &bench.store].map(|store| store.seed_flags(&names))).await {
        made.unwrap();
    }
    let expected = [flag("stage:sql_filter"), flag("target:a"), Flag { kill_switch: true, ..flag("target:b") }];
    assert_eq!(bench.store.flags().await.unwrap(), expected);
    assert_eq!(ear.hears().await, []);
    assert_eq!(bench.store.audit_entries(9).await.unwrap().len(), 1);
}

async fn a_flag_changed_by_hand_is_heard_of_and_audited(bench: Bench) {
    let bench = bench.migrated().await;
    let name = "target:brain".to_owned();
    bench.store.seed_flags(std::slice::from_ref(&name)).await.unwrap();
    let mut ear = Ear::of(&bench).await;
    let heard = [Signal::FlagsChanged];
    bench.client_runs("update feature_flags set kill_switch = true where name = 'target:brain'").await;
    assert_eq!(ear.hears().await, heard);
    assert_eq!(bench.store.flags().await.unwrap(), [Flag { kill_switch: true, ..flag(&name) }]);
    bench.client_runs("update feature_flags set rollout_percentage = 25").await;
    assert_eq!(ear.hears().await, heard);
    bench.client_runs("insert into feature_flags (name, enabled) values ('theirs', false)").await;
    assert_eq!(ear.hears().await, heard);
    bench.client_runs("delete from feature_flags where name = 'theirs'").await;
    assert_eq!(ear.hears().await, heard);
    let stamped = format!("select count(*) from feature_flags where changed_by = '{}' and changed_at is not null", hand(&bench));
    assert_eq!(bench.client_counts(&stamped).await, 1);

    let seen: Vec<_> =
        by_hand(&bench).await.into_iter().map(|entry| (entry.actor, entry.action, entry.subject, entry.before, entry.after)).collect();
    let by = |subject: &str, before: Value, after: Value| {
        (hand(&bench).to_owned(), "flag_changed_by_hand".to_owned(), subject.to_owned(), before, after)
    };
    let state = |name: &str, enabled: bool, kill: bool, rollout: u8| json!({"name": name, "enabled": enabled, "kill_switch": kill, "rollout_percentage": rollout});
    let expected = [
        by(&name, state(&name, true, false, 100), state(&name, true, true, 100)),
        by(&name, state(&name, true, true, 100), state(&name, true, true, 25)),
        by("theirs", Value::Null, state("theirs", false, false, 100)),
        by("theirs", state("theirs", false, false, 100), Value::Null),
    ];
    // Two of them may bear the same millisecond.
    let sorted = |rows: &[_]| {
        let mut rows: Vec<String> = rows.iter().map(|row: &(String, String, String, Value, Value)| format!("{row:?}")).collect();
        rows.sort_unstable();
        rows
    };
    assert_eq!(sorted(&seen), sorted(&expected));
}

async fn what_a_flag_is_not_about_is_no_news(bench: Bench) {
    let bench = bench.migrated().await;
    bench.store.seed_flags(&["target:brain".to_owned()]).await.unwrap();
    let mut ear = Ear::of(&bench).await;
    bench.client_runs("update feature_flags set description = 'the brain', enabled = enabled").await;
    bench.client_runs("update feature_flags set kill_switch = true where name = 'nobody'").await;
    bench.client_runs("delete from feature_flags where name = 'nobody'").await;
    assert_eq!(ear.hears().await, []);
    assert_eq!(bench.store.audit_entries(9).await.unwrap(), []);
    for wrong in ["rollout_percentage = 101", "rollout_percentage = -1", "enabled = null"] {
        assert!(!bench.client_may(&format!("update feature_flags set {wrong}")).await, "{wrong}");
    }
}

async fn of_two_rulings_the_later_is_kept(bench: Bench) {
    let bench = bench.migrated().await;
    let other = open(&bench.url, OPTIONS).await.unwrap();
    assert_eq!(bench.store.rulings().await.unwrap(), [], "nobody has said anything yet");
    let mut ear = Ear::of(&bench).await;
    let at = now();
    let timed =
        Ruling { until: Some(at.plus(MINUTE)), afterwards: Some(GateMode::Enforce), ..ruling(GateName::SqlFilter, GateMode::Observe, at) };
    bench.store.put_rulings(std::slice::from_ref(&timed)).await.unwrap();
    assert_eq!(ear.hears().await, [Signal::RulingsChanged]);
    let earlier = ruling(GateName::SqlFilter, GateMode::Enforce, at.minus(MICROSECOND));
    let same_moment = ruling(GateName::SqlFilter, GateMode::Enforce, at);
    other.put_rulings(&[earlier, same_moment, timed.clone()]).await.unwrap();
    bench.store.put_rulings(&[]).await.unwrap();
    assert_eq!(ear.hears().await, [], "what changes nothing is no news");
    assert_eq!(bench.store.rulings().await.unwrap(), [timed]);

    let back = Ruling { mode: None, reason: String::new(), ..ruling(GateName::SqlFilter, GateMode::Enforce, at.plus(MICROSECOND)) };
    let another = ruling(GateName::Authenticate, GateMode::Observe, at.minus(MINUTE));
    other.put_rulings(&[back.clone(), another.clone()]).await.unwrap();
    assert!(!ear.hears().await.is_empty());
    assert_eq!(bench.store.rulings().await.unwrap(), [another, back]);
    assert_eq!(by_hand(&bench).await, []);
}

async fn two_writers_of_rulings_agree(bench: Bench) {
    let bench = bench.migrated().await;
    let other = open(&bench.url, OPTIONS).await.unwrap();
    let start = now();
    for round in 0..10_u32 {
        let at = start.plus(round * MINUTE);
        let early: Vec<_> = GateName::ALL.into_iter().map(|gate| ruling(gate, GateMode::Enforce, at)).collect();
        let late: Vec<_> = GateName::ALL.into_iter().rev().map(|gate| ruling(gate, GateMode::Observe, at.plus(MICROSECOND))).collect();
        let (one, two) = tokio::join!(bench.store.put_rulings(&early), other.put_rulings(&late));
        one.and(two).unwrap();
        let kept = bench.store.rulings().await.unwrap();
        assert_eq!(kept.len(), GateName::ALL.len());
        assert!(kept.iter().all(|ruling| ruling.mode == Some(GateMode::Observe)), "{kept:?}");
    }
}

async fn a_ruling_by_hand_counts_from_now_on(bench: Bench) {
    let bench = bench.migrated().await;
    // A gatekeeper whose clock is ahead.
    let ahead = ruling(GateName::SqlFilter, GateMode::Observe, now().plus(60 * MINUTE));
    bench.store.put_rulings(std::slice::from_ref(&ahead)).await.unwrap();
    let mut ear = Ear::of(&bench).await;
    rule_by_hand(&bench, "mode = 'enforce', reason = 'back to normal'").await;
    assert_eq!(ear.hears().await, [Signal::RulingsChanged]);

    let kept = only_ruling(&bench).await;
    let expected =
        Ruling { mode: Some(GateMode::Enforce), reason: "back to normal".into(), actor: hand(&bench).into(), at: kept.at, ..ahead.clone() };
    assert_eq!(kept, expected);
    assert!(kept.at > ahead.at, "no earlier ruling can take it back");
    bench.store.put_rulings(&[ahead]).await.unwrap();
    assert_eq!(only_ruling(&bench).await, expected);
    rule_by_hand(&bench, "mode = 'enforce', reason = 'back to normal'").await;
    assert_eq!(only_ruling(&bench).await, expected);
    assert_eq!(ear.hears().await, [], "what changes nothing is no news");

    let entries = by_hand(&bench).await;
    assert_eq!(entries.len(), 1);
    let AuditEntry { actor, action, subject, reason, before, after, .. } = &entries[0];
    assert_eq!((actor.as_str(), action.as_str(), subject.as_str()), (hand(&bench), "enforcement_changed_by_hand", "sql_filter"));
    assert_eq!(reason.as_deref(), Some("back to normal"));
    assert_eq!((&before["mode"], &after["mode"]), (&json!("observe"), &json!("enforce")));
}

async fn a_ruling_by_hand_ends_and_leaves_what_was_to_follow(bench: Bench) {
    let bench = bench.migrated().await;
    // SQLite keeps what is changed by hand to the millisecond.
    let until = now().floor(1).plus(5 * MINUTE);
    let observe = |until: Timestamp| format!("mode = 'observe', until = {}, reason = 'x'", sql_moment(until));
    rule_by_hand(&bench, &observe(until)).await;
    let first = only_ruling(&bench).await;
    assert_eq!((first.mode, first.until, first.afterwards), (Some(GateMode::Observe), Some(until), None), "then as it was started");

    rule_by_hand(&bench, "mode = 'enforce'").await;
    let second = only_ruling(&bench).await;
    assert_eq!((second.mode, second.until, second.afterwards, second.reason.as_str()), (Some(GateMode::Enforce), None, None, ""));

    rule_by_hand(&bench, &observe(until)).await;
    let third = only_ruling(&bench).await;
    assert_eq!((third.mode, third.until, third.afterwards), (Some(GateMode::Observe), Some(until), Some(GateMode::Enforce)));

    rule_by_hand(&bench, &format!("until = {}", sql_moment(until.plus(MINUTE)))).await;
    let longer = only_ruling(&bench).await;
    assert_eq!((longer.until, longer.afterwards), (Some(until.plus(MINUTE)), Some(GateMode::Enforce)));
    assert!(longer.at > third.at && third.at > second.at && second.at > first.at);
    assert_eq!(by_hand(&bench).await.len(), 4);
}

async fn a_mode_named_by_hand_leaves_nothing_of_an_earlier_ruling(bench: Bench) {
    let bench = bench.migrated().await;
    let at = now().minus(9 * MINUTE);
    let ended =
        Ruling { until: Some(at.plus(MINUTE)), afterwards: Some(GateMode::Enforce), ..ruling(GateName::SqlFilter, GateMode::Observe, at) };
    bench.store.put_rulings(std::slice::from_ref(&ended)).await.unwrap();
    // The row says 'observe' already, but that is over.
    rule_by_hand(&bench, "mode = 'observe'").await;
    let again = only_ruling(&bench).await;
    assert!(again.at > ended.at);
    assert_eq!((again.mode, again.until, again.afterwards), (Some(GateMode::Observe), None, None));
    assert_eq!(by_hand(&bench).await.len(), 1);
    rule_by_hand(&bench, "mode = null").await;
    assert_eq!(only_ruling(&bench).await.mode, None);
}

async fn a_note_on_an_ended_ruling_changes_no_mode(bench: Bench) {
    let bench = bench.migrated().await;
    // SQLite keeps what is changed by hand to the millisecond.
    let at = now().floor(1).minus(9 * MINUTE);
    let ended =
        Ruling { until: Some(at.plus(MINUTE)), afterwards: Some(GateMode::Enforce), ..ruling(GateName::SqlFilter, GateMode::Observe, at) };
    bench.store.put_rulings(std::slice::from_ref(&ended)).await.unwrap();
    rule_by_hand(&bench, "reason = 'post-mortem done'").await;
    let noted = only_ruling(&bench).await;
    assert_eq!(noted, Ruling { reason: "post-mortem done".into(), actor: hand(&bench).into(), at: noted.at, ..ended });
    rule_by_hand(&bench, "actor = 'bob'").await;
    rule_by_hand(&bench, "reason = 'post-mortem done'").await;
    let again = only_ruling(&bench).await;
    assert_eq!((again.mode, again.until, again.afterwards, again.at), (noted.mode, noted.until, noted.afterwards, noted.at));
    assert_eq!(by_hand(&bench).await.len(), 1);
}

async fn a_change_by_hand_that_names_its_moment_is_one_too(bench: Bench) {
    let bench = bench.migrated().await;
    // A gatekeeper whose clock is ahead.
    let ahead = ruling(GateName::SqlFilter, GateMode::Observe, now().plus(60 * MINUTE));
    bench.store.put_rulings(std::slice::from_ref(&ahead)).await.unwrap();
    bench.store.seed_flags(&["target:brain".to_owned()]).await.unwrap();
    let mut ear = Ear::of(&bench).await;
    rule_by_hand(&bench, "mode = 'enforce', changed_at = current_timestamp").await;
    let kept = only_ruling(&bench).await;
    assert_eq!((kept.mode, kept.actor.as_str(), kept.reason.as_str()), (Some(GateMode::Enforce), hand(&bench), ""));
    assert!(kept.at > ahead.at, "no earlier ruling can take it back");
    bench.client_runs("update feature_flags set kill_switch = true, changed_at = current_timestamp").await;
    bench.client_runs("insert into feature_flags (name, enabled, changed_at) values ('theirs', false, current_timestamp)").await;
    let blocks = bench.own("blocks");
    let insert = "(kind, subject, created_at, changed_at) values ('network', '203.0.113.7', '2026-01-31', current_timestamp)";
    bench.client_runs(&format!("insert into {blocks} {insert}")).await;
    bench.client_runs(&format!("update {blocks} set reason = 'flood', changed_at = current_timestamp")).await;
    let heard = ear.hears().await;
    for signal in [Signal::RulingsChanged, Signal::FlagsChanged, Signal::BlocksChanged] {
        assert!(heard.contains(&signal), "{heard:?}");
    }
    assert_eq!(bench.store.blocks(now()).await.unwrap().len(), 1);
    // Of one millisecond, SQLite does not tell the order.
    let mut seen: Vec<_> = by_hand(&bench).await.into_iter().map(|entry| (entry.actor, entry.subject)).collect();
    seen.sort_unstable();
    let expected = ["203.0.113.7", "203.0.113.7", "sql_filter", "target:brain", "theirs"];
    assert_eq!(seen, expected.map(|subject| (hand(&bench).to_owned(), subject.to_owned())));

    // A moment alone says nothing.
    rule_by_hand(&bench, "changed_at = null").await;
    rule_by_hand(&bench, "changed_at = current_timestamp").await;
    assert_eq!(only_ruling(&bench).await.mode, Some(GateMode::Enforce));
    assert_eq!(by_hand(&bench).await.len(), expected.len());
}

#[tokio::test]
async fn what_is_replaced_on_sqlite_is_heard_of_and_audited() {
    let bench = Bench::sqlite().await.migrated().await;
    bench.store.set_flag(&kill("target:brain"), &entry(AuditAction::FlagChanged, "target:brain")).await.unwrap();
    let mut ear = Ear::of(&bench).await;
    bench.client_runs("replace into gatekeeper_enforcement (gate, mode, reason) values ('authorize', 'observe', 'INC')").await;
    assert_eq!(ear.hears().await, [Signal::RulingsChanged, Signal::RulingsChanged]);
    let kept = only_ruling(&bench).await;
    assert_eq!((kept.gate, kept.mode, kept.actor.as_str()), (GateName::Authorize, Some(GateMode::Observe), "database"));
    bench.client_runs("replace into feature_flags (name) values ('target:brain')").await;
    assert_eq!(ear.hears().await, [Signal::FlagsChanged]);
    let subjects: Vec<_> = by_hand(&bench).await.into_iter().map(|entry| entry.subject).collect();
    assert_eq!(subjects, ["authorize", "target:brain"]);
}

#[tokio::test]
async fn a_date_in_any_form_that_sqlite_takes_is_one() {
    let bench = Bench::sqlite().await.migrated().await;
    for date in ["2026-01-31", "2026-01-31 10:00", "2026-02-30 10:00:00", "2026-01-31T10:00:00Z"] {
        bench.client_runs(&format!("insert into gatekeeper_blocks (kind, subject, created_at) values ('source', 'x', '{date}')")).await;
    }
    bench.client_runs("update gatekeeper_blocks set created_at = '2026-01-30' where created_at like '2026-01-31 00%'").await;
    let mut dates: Vec<_> = bench.store.blocks(now()).await.unwrap().into_iter().map(|block| block.at.to_string()).collect();
    dates.sort();
    assert_eq!(dates, ["2026-01-30T00:00:00Z", "2026-01-31T10:00:00Z", "2026-01-31T10:00:00Z", "2026-03-02T10:00:00Z"]);
}

#[tokio::test]
async fn a_row_of_another_program_that_cannot_be_read_hides_none_of_ours() {
    let bench = Bench::sqlite().await.migrated().await;
    let (ours, call, bypass) = (entry(AuditAction::Reviewed, "x"), record(), ActivityEntry::bypass(now(), "alice", "brain", "x"));
    bench.store.audit(std::slice::from_ref(&ours)).await.unwrap();
    bench.store.write(std::slice::from_ref(&call)).await.unwrap();
    bench.store.add_entries(std::slice::from_ref(&bypass)).await.unwrap();
    let mut theirs = String::new();
    for (n, created_at) in ["'next week'", "'2199-01-01 00:00:00'", "x'ff'"].into_iter().enumerate() {
        theirs += &format!(
            "insert into security_audit (id, created_at, actor, action, subject) values ('{n}', {created_at}, 'a', 'b', 'c');
             insert into eliza_activity_log (id, created_at, activity_type, title)
             values ('{n}', {created_at}, 'gatekeeper_call', 't'), ('{n}b', {created_at}, 'manual_bypass', 't');"
        );
    }
    bench.client_runs(&theirs).await;
    bench.client_runs("insert into rate_limits (identifier, endpoint, window_start) values ('x', 'y', 'next week')").await;
    assert_eq!(bench.store.audit_entries(1).await.unwrap(), [ours]);
    let calls = bench.store.calls(&CallQuery { most: 9, ..CallQuery::default() }).await.unwrap();
    let bypasses = bench.store.entries(EntryKind::ManualBypass, false, 9).await.unwrap();
    assert_eq!([&calls, &bypasses].map(|rows| rows.iter().map(|row| row.id).collect::<Vec<_>>()), [vec![call.id], vec![bypass.id]]);
    let used = bench.store.limit_rows(None, now().minus(MINUTE), 9).await.unwrap();
    assert_eq!(used.iter().map(|row| &*row.identifier).collect::<Vec<_>>(), ["gemini-chat"]);
}

async fn every_gate_keeps_its_row(bench: Bench) {
    let bench = bench.migrated().await;
    let table = bench.own("enforcement");
    for gate in GateName::ALL {
        assert_eq!(bench.client_counts(&format!("select count(*) from {table} where gate = '{}'", gate.as_str())).await, 1, "{gate:?}");
    }
    for refused in [
        format!("delete from {table} where gate = 'sql_filter'"),
        format!("insert into {table} (gate, mode) values ('sql-filter', 'observe')"),
        format!("update {table} set mode = 'off'"),
        format!("update {table} set until = 'soon'"),
    ] {
        assert!(!bench.client_may(&refused).await, "{refused}");
    }
    assert_eq!(bench.client_counts(&format!("select count(*) from {table}")).await, 7);
}

async fn blocks_begin_and_end(bench: Bench) {
    let bench = bench.migrated().await;
    let mut ear = Ear::of(&bench).await;
    let begun = || entry(AuditAction::BlockAdded, "203.0.113.0/24");
    let network = block(BlockKind::Network, "203.0.113.0/24");
    let source = StoredBlock { until: Some(now().plus(MINUTE)), ..block(BlockKind::Source, "superduper-*") };
    for block in [&network, &source] {
        bench.store.insert_block(block, &begun()).await.unwrap();
    }
    let again = begun();
    bench.store.insert_block(&network, &again).await.unwrap();
    bench.store.insert_block(&network, &again).await.unwrap();
    assert_eq!(ear.hears().await, [Signal::BlocksChanged, Signal::BlocksChanged]);
    assert_eq!(bench.store.blocks(now()).await.unwrap(), [network.clone(), source.clone()]);
    assert_eq!(bench.store.blocks(now().plus(MINUTE)).await.unwrap(), std::slice::from_ref(&network), "one has ended by itself");

    let ended = || entry(AuditAction::BlockEnded, "203.0.113.0/24");
    assert!(!bench.store.end_block(Uuid::now_v7(), now(), &ended()).await.unwrap());
    assert!(bench.store.end_block(network.id, now(), &ended()).await.unwrap());
    assert!(!bench.store.end_block(network.id, now(), &ended()).await.unwrap(), "it has ended");
    assert!(!bench.store.end_block(source.id, now().plus(MINUTE), &ended()).await.unwrap(), "and so has this one by then");
    assert_eq!(ear.hears().await, [Signal::BlocksChanged]);
    assert_eq!(bench.store.blocks(now()).await.unwrap(), [source]);
    let actions: Vec<_> = bench.store.audit_entries(9).await.unwrap().into_iter().map(|entry| entry.action).collect();
    assert_eq!(actions, ["block_ended", "block_added", "block_added", "block_added"], "each entry once, none by hand");
}

async fn blocks_by_hand_are_heard_of_and_audited(bench: Bench) {
    let bench = bench.migrated().await;
    let mut ear = Ear::of(&bench).await;
    let table = bench.own("blocks");
    let soon = now().floor(1).plus(MINUTE);
    bench.client_runs(&format!("insert into {table} (kind, subject, reason) values ('network', '203.0.113.7', 'flood')")).await;
    assert_eq!(ear.hears().await, [Signal::BlocksChanged]);
    let blocks = bench.store.blocks(now()).await.unwrap();
    assert_eq!(blocks.len(), 1);
    assert_eq!((blocks[0].subject.as_str(), blocks[0].actor.as_str(), blocks[0].until), ("203.0.113.7", hand(&bench), None));
    assert!(blocks[0].at.minus(MINUTE) < now());

    let at_utc = if bench.url.starts_with("sqlite") { "" } else { "set timezone = 'UTC'; " };
    bench.client_runs(&format!("{at_utc}update {table} set until = {}", sql_moment(soon))).await;
    assert_eq!(ear.hears().await, [Signal::BlocksChanged]);
    assert_eq!(bench.store.blocks(now()).await.unwrap()[0].until, Some(soon));
    bench.client_runs(&format!("update {table} set reason = reason")).await;
    assert_eq!(ear.hears().await, []);
    bench.client_runs(&format!("delete from {table} where true")).await;
    assert_eq!(ear.hears().await, [Signal::BlocksChanged]);
    let entries = by_hand(&bench).await;
    assert_eq!(entries.len(), 3);
    assert!(entries.iter().all(|e| e.action == "block_changed_by_hand" && e.subject == "203.0.113.7" && e.actor == hand(&bench)));
    assert!(entries[0].before.is_null() && entries[1].before["until"].is_null() && entries[2].after.is_null());
    let ended: String = entries[2].before["until"].as_str().unwrap().into();
    assert_eq!(Timestamp::parse_rfc3339(&ended), Some(soon));
    assert!(!bench.client_may(&format!("insert into {table} (kind, subject) values ('country', 'x')")).await);
}

async fn an_audit_entry_is_kept_once(bench: Bench) {
    let bench = bench.migrated().await;
    let other = open(&bench.url, OPTIONS).await.unwrap();
    let at = now();
    let entries: Vec<_> =
        (0..20_u32).map(|n| AuditEntry { at: at.plus(n * MICROSECOND), ..entry(AuditAction::PolicyReloaded, &n.to_string()) }).collect();
    let odd = AuditEntry {
        at: at.minus(MINUTE),
        actor: "nul \0 and '; drop table security_audit".into(),
        reason: None,
        after: json!({"deep": ["\0", {"a": 1}]}),
        ..entry(AuditAction::PolicyRefused, "odd")
    };
    bench.store.audit(&[]).await.unwrap();
    bench.store.audit(&[odd.clone(), odd.clone()]).await.unwrap();
    let (one, two) = tokio::join!(bench.store.audit(&entries), other.audit(&entries[10..]));
    if one.and(two).is_err() {
        bench.store.audit(&entries).await.unwrap();
    }
    bench.store.audit(&entries).await.unwrap();

    let kept = bench.store.audit_entries(99).await.unwrap();
    assert_eq!(kept.len(), 21);
    assert!(kept[..20].iter().eq(entries.iter().rev()), "the newest first, to the last member");
    let expected = AuditEntry { actor: odd.actor.replace('\0', "\u{fffd}"), after: json!({"deep": ["\u{fffd}", {"a": 1}]}), ..odd };
    assert_eq!(kept[20], expected);
    assert_eq!(bench.store.audit_entries(3).await.unwrap(), kept[..3]);
}

async fn the_audit_is_never_let_go_of(bench: Bench) {
    let bench = bench.migrated().await;
    let old = AuditEntry { at: now().minus(300 * 1440 * MINUTE), ..entry(AuditAction::LimitsCleared, "old") };
    bench.store.audit(&[old]).await.unwrap();
    bench.client_runs("insert into security_events (event_type, risk_score, created_at) values ('x', 90, '2020-01-01 00:00:00')").await;
    bench.store.maintain(now().plus(60 * 1440 * MINUTE), &keep(1, 1, 1)).await.unwrap();
    assert_eq!(bench.store.audit_entries(9).await.unwrap().len(), 1);
    assert_eq!(bench.client_counts("select count(*) from security_events").await, 1);
}

fn fix(status: EntryStatus, at: Timestamp) -> ActivityEntry {
    ActivityEntry {
        id: Uuid::now_v7(),
        origin: None,
        at,
        kind: EntryKind::AutoFix,
        status,
        title: "Auto-fix".into(),
        description: "nul \0".into(),
        metadata: json!({"fingerprint": "abc", "nul": "\0"}),
    }
}

async fn entries_wait_for_somebodys_eye(bench: Bench) {
    let bench = bench.migrated().await;
    let at = now();
    let bypass = ActivityEntry::bypass(at, "alice", "brain", "the gatekeeper was down");
    let later = ActivityEntry::bypass(at.plus(MICROSECOND), "bob", "brain", "again");
    let (triggered, failed) = (fix(EntryStatus::Triggered, at), fix(EntryStatus::Failed, at.plus(MICROSECOND)));
    bench.store.add_entries(&[bypass.clone(), later.clone(), triggered.clone()]).await.unwrap();
    bench.store.add_entries(&[bypass.clone(), failed.clone()]).await.unwrap();
    bench.store.add_entries(&[]).await.unwrap();
    let ids = async |kind, open_only, most| -> Vec<Uuid> {
        bench.store.entries(kind, open_only, most).await.unwrap().into_iter().map(|row| row.id).collect()
    };
    assert_eq!(ids(EntryKind::ManualBypass, true, 9).await, [later.id, bypass.id]);
    assert_eq!(ids(EntryKind::ManualBypass, true, 1).await, [later.id]);
    assert_eq!(ids(EntryKind::AutoFix, false, 9).await, [failed.id, triggered.id]);
    assert_eq!(ids(EntryKind::AutoFix, true, 9).await, [failed.id]);

    let review = Review { by: "carol".into(), note: "looked \0 at".into(), at: at.plus(MINUTE) };
    let reviewed = || entry(AuditAction::Reviewed, "x");
    for (id, done) in
        [(bypass.id, true), (bypass.id, false), (failed.id, true), (failed.id, false), (triggered.id, false), (Uuid::now_v7(), false)]
    {
        assert_eq!(bench.store.review(id, &review, &reviewed()).await.unwrap(), done, "{id}");
    }
    assert_eq!(bench.store.audit_entries(9).await.unwrap().len(), 2, "only what was done is audited");
    assert_eq!(ids(EntryKind::ManualBypass, true, 9).await, [later.id]);
    assert_eq!(ids(EntryKind::AutoFix, true, 9).await, [] as [Uuid; 0]);
    let all = bench.store.entries(EntryKind::ManualBypass, false, 9).await.unwrap();
    let note = json!({"by": "carol", "note": "looked \u{fffd} at", "at": review.at.to_string()});
    assert_eq!((all[1].status.as_str(), &all[1].metadata["reviewed"], &all[1].metadata["target"]), ("reviewed", &note, &json!("brain")));
    let fixes = bench.store.entries(EntryKind::AutoFix, false, 9).await.unwrap();
    assert_eq!((fixes[0].status.as_str(), &fixes[0].metadata["reviewed"]), ("failed", &note), "it has failed all the same");
}

async fn entries_are_no_calls(bench: Bench) {
    let bench = bench.migrated().await;
    let call = record();
    bench.store.write(std::slice::from_ref(&call)).await.unwrap();
    bench.store.add_entries(&[ActivityEntry::bypass(now(), "alice", "brain", "x"), fix(EntryStatus::Failed, now())]).await.unwrap();
    let calls = bench.store.calls(&CallQuery { most: 9, ..CallQuery::default() }).await.unwrap();
    assert_eq!(calls.iter().map(|row| row.id).collect::<Vec<_>>(), [call.id]);
    assert_eq!(bench.client_counts("select count(*) from api_call_logs").await, 1);
    assert_eq!(bench.client_counts("select cast(sum(total_calls) as bigint) from eliza_gatekeeper_stats").await, 1);
    assert_eq!(bench.client_counts("select count(*) from eliza_activity_log where not mentioned_to_user").await, 3);
}

async fn what_cannot_be_audited_is_not_done(bench: Bench) {
    let bench = bench.migrated().await;
    bench.store.write(&[record()]).await.unwrap();
    let (bypass, alice) = (ActivityEntry::bypass(now(), "alice", "brain", "x"), Actor::named("alice"));
    let log = async || bench.store.log_bypass(&bypass, &bypass.bypass_logged(&alice)).await;
    let clear = async || bench.store.clear_limits("gemini-chat", &cleared("gemini-chat")).await;
    let kept = async || {
        let bypasses = bench.store.entries(EntryKind::ManualBypass, false, 9).await.unwrap().len();
        (bypasses, bench.client_counts("select count(*) from rate_limits").await)
    };
    bench.client_runs("alter table security_audit rename to away").await;
    assert!(log().await.is_err() && clear().await.is_err());
    assert_eq!(kept().await, (0, 1));

    bench.client_runs("alter table away rename to security_audit").await;
    log().await.unwrap();
    assert_eq!((clear().await.unwrap(), clear().await.unwrap()), (1, 0));
    assert_eq!(kept().await, (1, 0));
    let entries = bench.store.audit_entries(9).await.unwrap();
    let told: Vec<_> = entries.iter().rev().map(|entry| (&*entry.action, &*entry.subject, entry.before.clone())).collect();
    assert_eq!(told, [("bypass_logged", "brain", Value::Null), ("limits_cleared", "gemini-chat", json!({ "rows": 1 }))]);
}

async fn high_risks_are_counted(bench: Bench) {
    let bench = bench.migrated().await;
    assert_eq!(bench.store.security_events(now().minus(MINUTE), 0, 9).await.unwrap(), 0);
    bench
        .client_runs(
            "insert into security_events (event_type, event_description, risk_score) values ('A', 'x', 71), ('B', 'y', 70), ('C', 'z', 100);
             insert into security_events (event_type, risk_score, created_at) values ('D', 100, '2020-01-01 00:00:00')",
        )
        .await;
    assert_eq!(bench.store.security_events(now().minus(MINUTE), 70, 9).await.unwrap(), 2);
    assert_eq!(bench.store.security_events(Timestamp::from_secs(0), 70, 9).await.unwrap(), 3);
    assert_eq!(bench.store.security_events(Timestamp::from_secs(0), 70, 2).await.unwrap(), 2);
}

#[tokio::test]
async fn a_database_that_is_away_says_so() {
    let away = open("postgres://u@127.0.0.1:1/db", OPTIONS).await.unwrap();
    assert!(matches!(away.flags().await, Err(StoreError::Away(_))));
    assert!(matches!(away.audit(&[entry(AuditAction::Reviewed, "x")]).await, Err(StoreError::Away(_))));
}
