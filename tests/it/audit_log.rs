//! The audit log, whichever database it is in: what must not be changed unseen is sealed with what records it, once, in order; nobody
//! updates or deletes it; and whatever somebody does to it all the same is found and named, by the row.

mod chains;
mod waiting;

use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use eliza_gatekeeper::audit::{Actor, AuditAction, AuditEntry};
use eliza_gatekeeper::clock::Timestamp;
use eliza_gatekeeper::identity::{KeyHash, KeyId};
use eliza_gatekeeper::seal::walk::Finding;
use eliza_gatekeeper::seal::{AuditKey, AuditKeys, Head, Sealer};
use eliza_gatekeeper::store::control::{BlockKind, FlagChange, Review, StoredBlock};
use eliza_gatekeeper::store::verify::{Entries, Verified, verify};
use eliza_gatekeeper::store::{
    ActivityStatus, ActivityType, ApiStatus, AuditClass, CallRecord, StatsKey, StatsOutcome, Store, StoredKey, open, open_sealing,
};
use serde_json::json;
use uuid::Uuid;

use crate::store_contract::{Bench, OPTIONS, now, on_both, record};
use crate::store_retention::archiving;
use crate::support::postgres::url_as;

on_both!(
    what_is_audited_is_sealed_with_its_batch,
    a_batch_that_is_written_again_is_sealed_once,
    what_operators_change_is_sealed_with_the_change,
    what_others_wrote_is_sealed_afterwards_by_one,
    keys_are_audited_whoever_changes_them,
    a_chain_goes_on_behind_what_was_never_heard_to_be_committed,
    nobody_updates_or_deletes,
    whatever_is_changed_in_a_row_the_row_is_named,
    what_is_removed_swapped_or_added_is_named,
    what_is_cut_off_shows_by_what_was_published,
    a_chain_that_is_gone_shows_by_those_after_it,
    forgeries_keep_nothing_out,
    rows_taken_from_under_a_running_gatekeeper_are_told,
    each_gatekeeper_has_a_chain,
    keys_can_be_rotated,
    a_log_that_says_something_else_is_named,
    a_row_of_the_archive_is_held_against_its_seal_too,
    retention_takes_nothing_from_the_audit_log,
    a_long_log_is_proved_page_by_page,
);

const A: &str = "aaaaaaaa-an-audit-key-for-tests-a";
const B: &str = "bbbbbbbb-an-audit-key-for-tests-b";
const DAY: Duration = Duration::from_secs(86_400);
/// For a look at everything.
const EVER: Timestamp = Timestamp::from_micros(i64::MIN);

fn key(text: &str) -> AuditKey {
    AuditKey::parse(text).unwrap()
}

fn keys(texts: &[&str]) -> AuditKeys {
    let mut keys = AuditKeys::default();
    texts.iter().for_each(|text| keys.add(key(text)));
    keys
}

/// A gatekeeper's store, of a process of its own.
async fn gatekeeper(url: &str, text: &str) -> Arc<dyn Store> {
    open_sealing(url, OPTIONS, Sealer::new(Uuid::now_v7(), key(text), keys(&[A, B]))).await.unwrap()
}

/// A bench whose store seals.
async fn sealing(bench: Bench) -> Bench {
    let mut bench = bench.migrated().await;
    bench.store = gatekeeper(&bench.url, A).await;
    bench
}

fn blocked() -> CallRecord {
    CallRecord {
        activity_type: ActivityType::SchemaProtection,
        activity_status: ActivityStatus::Blocked,
        title: "\u{1f6ab} Dangerous Operation Blocked".into(),
        description: "Blocked /DROP\0/ from gemini-chat".into(),
        metadata: json!({ "source": "gemini-chat", "sql": "DROP TABLE \u{0} users", "span": [0, 14], "ratio": 0.5, "success": false })
            .to_string(),
        api_status: ApiStatus::Error,
        error_message: Some("Dangerous operation".into()),
        stats: StatsKey { source: "gemini-chat".into(), target: String::new(), outcome: StatsOutcome::Denied },
        audit: AuditClass::Blocked,
        ..record()
    }
}

fn entry(subject: &str) -> AuditEntry {
    AuditEntry::new(now(), &Actor::named("alice"), AuditAction::FlagChanged, subject)
        .because(Some("INC-4711"))
        .from_to(json!({ "enabled": true, "share": 12.5 }), json!({ "enabled": false }))
}

fn head(bench: &Bench) -> Head {
    bench.store.sealer().unwrap().head()
}

fn published(heads: &[Head]) -> HashMap<Uuid, Head> {
    heads.iter().map(|head| (head.instance, *head)).collect()
}

async fn proved(bench: &Bench, heads: &[Head]) -> (Vec<Finding>, Verified) {
    proved_with(bench, &[A, B], heads).await
}

async fn proved_with(bench: &Bench, texts: &[&str], heads: &[Head]) -> (Vec<Finding>, Verified) {
    // Whoever proves seals nothing.
    let store = open(&bench.url, OPTIONS).await.unwrap();
    let mut findings = Vec::new();
    let verified =
        verify(store.as_ref(), &keys(texts), &published(heads), Entries::Stay, &mut |finding| findings.push(finding)).await.unwrap();
    (findings, verified)
}

#[track_caller]
fn holds((findings, verified): (Vec<Finding>, Verified)) -> Verified {
    assert!(findings.is_empty() && verified.breaks == 0, "{findings:?}");
    verified
}

/// What is wrong where.
async fn wrong(bench: &Bench, heads: &[Head]) -> Vec<(i64, &'static str)> {
    proved(bench, heads).await.0.iter().map(|finding| (finding.n, finding.wrong.as_str())).collect()
}

fn is_sqlite(bench: &Bench) -> bool {
    bench.url.starts_with("sqlite")
}

/// Whoever owns the table can take the triggers off.
async fn unguarded(bench: &Bench) {
    bench
        .client_runs(match is_sqlite(bench) {
            true => "drop trigger gatekeeper_audit_log_updated; drop trigger gatekeeper_audit_log_deleted",
            false => "alter table gatekeeper.audit_log disable trigger gatekeeper_kept",
        })
        .await;
}

async fn rows_of(bench: &Bench, kind: &str) -> i64 {
    bench.client_counts(&format!("select count(*) from {} where kind = '{kind}'", bench.own("audit_log"))).await
}

async fn what_is_audited_is_sealed_with_its_batch(bench: Bench) {
    let bench = sealing(bench).await;
    bench.store.write(&[record(), record()]).await.unwrap();
    assert_eq!(head(&bench).n, 0, "what is ordinary begins no chain");
    let (first, second) = (blocked(), CallRecord { audit: AuditClass::LetThrough, ..blocked() });
    bench.store.write(&[record(), first.clone(), record(), second.clone()]).await.unwrap();
    bench.store.write(&[blocked()]).await.unwrap();
    let log = bench.own("audit_log");
    for (n, kind, id) in [(2, "call_blocked", first.id), (3, "call_let_through", second.id)] {
        let sql = format!("select count(*) from {log} where n = {n} and kind = '{kind}' and id = '{id}'");
        assert_eq!(bench.client_counts(&sql).await, 1, "in the order of the batch: {n}");
    }
    let verified = holds(proved(&bench, &[head(&bench)]).await);
    assert_eq!(
        verified,
        Verified { chains: 1, rows: 4, heads: 1, compared: 3, ..Verified::default() },
        "the chain's opening, and three calls that are in the log as they were sealed"
    );

    // Rows that the database refuses are sealed no more than they are recorded.
    let bad = CallRecord { execution_ms: 1, at: Timestamp::from_micros(i64::MAX), ..blocked() };
    if bench.store.write(&[bad]).await.is_err() {
        assert_eq!(rows_of(&bench, "call_blocked").await, 2);
    }
}

async fn a_batch_that_is_written_again_is_sealed_once(bench: Bench) {
    let bench = sealing(bench).await;
    let batch = [blocked(), record(), blocked()];
    bench.store.write(&batch).await.unwrap();
    bench.store.write(&batch).await.unwrap();
    // Adopted by another process after a crash, with more behind it.
    let other = gatekeeper(&bench.url, A).await;
    other.write(&[&batch[..], &[blocked()]].concat()).await.unwrap();
    assert_eq!(rows_of(&bench, "call_blocked").await, 3);
    assert_eq!(holds(proved(&bench, &[head(&bench), other.sealer().unwrap().head()]).await).chains, 2);
}

async fn what_operators_change_is_sealed_with_the_change(bench: Bench) {
    let bench = sealing(bench).await;
    let store = &bench.store;
    let flag = FlagChange { name: "target:brain".into(), kill_switch: Some(true), ..FlagChange::default() };
    store.set_flag(&flag, &entry("target:brain")).await.unwrap();
    let block = StoredBlock {
        id: Uuid::now_v7(),
        kind: BlockKind::Source,
        subject: "gemini-chat".into(),
        reason: "flood".into(),
        actor: "alice".into(),
        at: now(),
        until: None,
    };
    store.insert_block(&block, &entry("gemini-chat")).await.unwrap();
    assert!(store.end_block(block.id, now(), &entry("gemini-chat")).await.unwrap());
    assert!(!store.end_block(block.id, now(), &entry("gemini-chat")).await.unwrap(), "what is not done is not audited");
    let noted = [entry("a"), entry("b")];
    store.audit(&noted).await.unwrap();
    store.audit(&noted).await.unwrap();
    let bypass = eliza_gatekeeper::store::control::ActivityEntry::bypass(now(), "alice", "brain", "INC-4711");
    store.log_bypass(&bypass, &entry("brain")).await.unwrap();
    let review = Review::new("bob", "fine", now());
    assert!(store.review(bypass.id, &review, &entry("bypass")).await.unwrap());
    store.write(&[record()]).await.unwrap();
    assert_eq!(store.clear_limits("gemini-chat", &entry("gemini-chat")).await.unwrap(), 1);

    assert_eq!(rows_of(&bench, "entry").await, 8);
    let verified = holds(proved(&bench, &[head(&bench)]).await);
    assert_eq!((verified.rows, verified.compared, verified.unsealed), (9, 8, 0));
}

async fn what_others_wrote_is_sealed_afterwards_by_one(bench: Bench) {
    let bench = sealing(bench).await;
    // By hand, by a command, and by another program.
    bench.client_runs("insert into feature_flags (name, enabled) values ('target:brain', false)").await;
    let command = open(&bench.url, OPTIONS).await.unwrap();
    command.audit(&[entry("by a command")]).await.unwrap();
    assert_eq!(command.seal_entries(EVER).await.unwrap(), 0, "a command has no chain");
    assert_eq!(holds(proved(&bench, &[]).await).unsealed, 2);

    let others = [gatekeeper(&bench.url, A).await, gatekeeper(&bench.url, A).await, gatekeeper(&bench.url, A).await];
    let since = EVER;
    let sealed: u64 =
        futures_util::future::join_all(others.iter().map(|other| other.seal_entries(since))).await.into_iter().map(Result::unwrap).sum();
    assert_eq!((sealed, rows_of(&bench, "entry").await), (2, 2), "one of them seals each");
    assert_eq!(bench.store.seal_entries(since).await.unwrap(), 0);
    let verified = holds(proved(&bench, &[]).await);
    assert_eq!((verified.unsealed, verified.compared), (0, 2));

    // More than fit into one transaction, and nothing of the time before.
    let many: Vec<_> = (0..250).map(|n| entry(&format!("flag {n}"))).collect();
    command.audit(&many).await.unwrap();
    assert_eq!(bench.store.seal_entries(now().plus(DAY)).await.unwrap(), 0);
    assert_eq!(bench.store.seal_entries(now().minus(DAY)).await.unwrap(), 250);
    assert_eq!(holds(proved(&bench, &[]).await).compared, 252);
}

async fn keys_are_audited_whoever_changes_them(bench: Bench) {
    let bench = sealing(bench).await;
    let alice = Actor::named("alice");
    let made = StoredKey {
        id: KeyId::new("k"),
        name: "of a test".into(),
        hash: KeyHash::of(b"a key"),
        sources: vec!["gemini-*".into()],
        targets: vec![],
        actions: vec![],
        created_at: now(),
        not_before: None,
        expires_at: None,
        revoked_at: None,
        last_used_at: None,
    };
    let store = &bench.store;
    store.insert_key(&made, &made.made(&alice)).await.unwrap();
    store.touch_keys(&[(made.id.clone(), now())]).await.unwrap();
    assert!(store.expire_key(&made.id, now().plus(DAY), &made.expires(now().plus(DAY), now(), &alice)).await.unwrap());
    assert!(store.revoke_key(&made.id, now(), &made.revoked(now(), &alice)).await.unwrap());
    assert!(!store.revoke_key(&KeyId::new("none"), now(), &made.revoked(now(), &alice)).await.unwrap());
    let actions = async || {
        let mut entries = store.audit_entries(99).await.unwrap();
        entries.reverse();
        entries
    };
    let told: Vec<_> = actions().await.into_iter().map(|entry| (entry.actor, entry.action)).collect();
    let by_alice = |action: &str| ("alice".to_owned(), action.to_owned());
    assert_eq!(told, ["key_made", "key_expires", "key_revoked"].map(by_alice), "and nothing is taken for a change by hand");

    // Somebody lets himself in again.
    let keys = bench.own("keys");
    let hash = if is_sqlite(&bench) { "zeroblob(32)" } else { "decode(repeat('00', 32), 'hex')" };
    bench.client_runs(&format!("update {keys} set revoked_at = null where id = 'k'")).await;
    bench.client_runs(&format!("update {keys} set hash = {hash} where id = 'k'")).await;
    bench.client_runs(&format!("update {keys} set last_used_at = created_at where id = 'k'")).await;
    bench.client_runs(&format!("delete from {keys} where id = 'k'")).await;
    let created = if is_sqlite(&bench) { "'2026-01-01 00:00:00.000000'" } else { "now()" };
    bench.client_runs(&format!("insert into {keys} (id, name, hash, created_at) values ('mine', 'mine', {hash}, {created})")).await;
    let by_hand: Vec<_> = actions().await.into_iter().filter(|entry| entry.action == "key_changed_by_hand").collect();
    let told: Vec<_> = by_hand.iter().map(|entry| (entry.subject.as_str(), entry.before.is_null(), entry.after.is_null())).collect();
    assert_eq!(told, [("k", false, false), ("k", false, false), ("k", false, true), ("mine", true, false)]);
    assert_eq!((&by_hand[1].after["hash_begins"], &by_hand[1].before["name"]), (&json!("000000000000"), &json!("of a test")));
    let whole = KeyHash::of(b"a key").as_bytes().iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    assert!(!format!("{:?}", actions().await).contains(&whole), "no hash is told whole");

    assert_eq!(store.seal_entries(EVER).await.unwrap(), 4);
    assert_eq!(holds(proved(&bench, &[head(&bench)]).await).compared, 7);
}

#[tokio::test]
async fn who_is_admitted_seals_without_owning_anything() {
    let bench = Bench::postgres().await.migrated().await;
    bench.client_runs("select gatekeeper.admit('keeper')").await;
    let keeper = gatekeeper(&url_as("keeper", &bench.url), A).await;
    keeper.write(&[blocked()]).await.unwrap();
    bench.client_runs("insert into feature_flags (name, enabled) values ('target:brain', false)").await;
    assert_eq!(keeper.seal_entries(EVER).await.unwrap(), 1);
    let mut findings = Vec::new();
    let heads = published(&[keeper.sealer().unwrap().head()]);
    let verified = verify(keeper.as_ref(), &keys(&[A]), &heads, Entries::Stay, &mut |finding| findings.push(finding)).await.unwrap();
    assert_eq!((findings, verified.rows), (vec![], 3));
}

async fn a_chain_goes_on_behind_what_was_never_heard_to_be_committed(bench: Bench) {
    let bench = bench.migrated().await;
    let instance = Uuid::now_v7();
    let deaf = async || open_sealing(&bench.url, OPTIONS, Sealer::new(instance, key(A), AuditKeys::default())).await.unwrap();
    deaf().await.write(&[blocked(), blocked(), blocked()]).await.unwrap();
    let store = deaf().await;
    store.write(&[blocked()]).await.unwrap();
    let verified = holds(proved(&bench, &[store.sealer().unwrap().head()]).await);
    assert_eq!((verified.chains, verified.rows, store.sealer().unwrap().head().n), (1, 5, 5));
}

async fn nobody_updates_or_deletes(bench: Bench) {
    let bench = sealing(bench).await;
    bench.store.write(&[blocked(), blocked()]).await.unwrap();
    let log = bench.own("audit_log");
    let mut refused = vec![
        format!("update {log} set content = '{{}}' where n = 2"),
        format!("delete from {log} where n = 2"),
        format!("delete from {log}"),
    ];
    if is_sqlite(&bench) {
        refused.push(format!("replace into {log} select * from {log} where n = 2"));
        refused.push(format!("update or replace {log} set serial = 1 where serial = 2"));
    } else {
        refused.push(format!("truncate {log}"));
        refused.push(format!("update {log} set n = n where false"));
        refused.push(format!("set session_replication_role = replica; delete from {log}"));
        refused.push(format!("select gatekeeper.admit('service_role'); set role service_role; delete from {log}"));
    }
    for sql in refused {
        assert!(!bench.client_may(&sql).await, "{sql}");
    }
    assert_eq!(holds(proved(&bench, &[head(&bench)]).await).rows, 3);
}

async fn whatever_is_changed_in_a_row_the_row_is_named(bench: Bench) {
    let bench = sealing(bench).await;
    bench.store.write(&[blocked(), blocked()]).await.unwrap();
    bench.store.audit(&[entry("a")]).await.unwrap();
    unguarded(&bench).await;
    let (log, whole) = (bench.own("audit_log"), head(&bench));
    bench.client_runs(&format!("create table kept_aside as select * from {log}")).await;

    // One byte of each column.
    let changes: &[(&str, &[&str])] = if is_sqlite(&bench) {
        &[
            ("instance", &["replace(instance, substr(instance, 1, 1), 'f')", "upper(instance)"]),
            ("n", &["n + 1", "n - 1", "n + 16", "-n"]),
            ("at", &["substr(at, 1, 25) || char(unicode(substr(at, 26)) + 1)", "replace(at, ' ', 'T')", "at || '0'", "'2'"]),
            ("kind", &["'e' || kind", "upper(kind)", "replace(kind, 'e', 'f')"]),
            ("id", &["'f' || substr(id, 2)", "replace(id, '-', '_')", "upper(id)"]),
            ("content", &["substr(content, 2)", "' ' || content", "replace(content, 'e', 'f')", "content || char(0)"]),
            ("key", &["substr(key, 2) || 'x'"]),
            ("prev", &["cast(iif(substr(prev, 1, 1) = x'01', x'02', x'01') || substr(prev, 2) as blob)", "substr(prev, 2)"]),
            ("hash", &["cast(substr(hash, 1, 31) || iif(substr(hash, 32) = x'aa', x'ab', x'aa') as blob)", "x''"]),
        ]
    } else {
        &[
            ("instance", &["overlay(instance::text placing 'f' from 1 for 1)::uuid"]),
            ("n", &["n + 1", "n - 1", "n + 16", "-n"]),
            ("at", &["at + interval '1 microsecond'", "at - interval '1 day'", "'infinity'"]),
            ("kind", &["upper(kind)", "kind || ' '"]),
            ("id", &["overlay(id::text placing 'f' from 1 for 1)::uuid"]),
            ("content", &["' ' || content", "substr(content, 2)", "replace(content, 'e', 'f')"]),
            ("key", &["substr(key, 2) || 'x'"]),
            ("prev", &["set_byte(prev, 0, get_byte(prev, 0) # 1)", "substr(prev, 2)"]),
            ("hash", &["set_byte(hash, 31, get_byte(hash, 31) # 128)", "''"]),
        ]
    };
    for n in 1..=4 {
        for (column, made) in changes {
            for made in *made {
                bench.client_runs(&format!("update {log} set {column} = {made} where n = {n}")).await;
                let (findings, _) = proved(&bench, &[whole]).await;
                let what = format!("row {n}, {column} = {made}: {findings:?}");
                let named = |finding: &Finding| match (*column, finding.wrong.as_str()) {
                    // It is missing where it was, and at home nowhere else.
                    ("instance" | "n", wrong) => ["changed", "missing"].contains(&wrong),
                    (_, wrong) => finding.n == n && ["changed", "key_unknown"].contains(&wrong),
                };
                assert!(findings.iter().any(named), "{what}");
                let put_back = format!(
                    "delete from {log}; insert into {log} {} select * from kept_aside",
                    if is_sqlite(&bench) { "" } else { "overriding system value" }
                );
                bench.client_runs(&put_back).await;
            }
        }
    }
    holds(proved(&bench, &[whole]).await);
}

async fn what_is_removed_swapped_or_added_is_named(bench: Bench) {
    let bench = sealing(bench).await;
    bench.store.write(&[blocked(), blocked(), blocked(), blocked()]).await.unwrap();
    unguarded(&bench).await;
    let (log, whole) = (bench.own("audit_log"), head(&bench));
    let system = if is_sqlite(&bench) { "" } else { "overriding system value" };
    bench.client_runs(&format!("create table kept_aside as select * from {log}")).await;
    let columns = "instance, n, at, kind, id, content, key, prev, hash";
    let forged = |n: &str, content: &str| {
        format!("insert into {log} ({columns}) select instance, {n}, at, kind, id, {content}, key, prev, hash from {log} where n = 3")
    };
    let cases = [
        (format!("delete from {log} where n = 3"), vec![(3, "missing")]),
        (format!("delete from {log} where n = 1"), vec![(1, "missing")]),
        (format!("delete from {log} where n in (2, 3, 4)"), vec![(2, "missing")]),
        (format!("update {log} set n = case n when 2 then 3 else 2 end where n in (2, 3)"), vec![(2, "changed")]),
        // The same, but with the numbers and hashes left where they were.
        (
            format!(
                "update {log} set content = (select content from kept_aside as other where other.n = 5 - {log}.n),
                     id = (select id from kept_aside as other where other.n = 5 - {log}.n) where n in (2, 3)"
            ),
            vec![(2, "changed")],
        ),
        (forged("n", "'{}'"), vec![(3, "changed")]),
        (forged("n", "content"), vec![(3, "order")]),
        (forged("n + 3", "content"), vec![(6, "changed")]),
        (forged("9223372036854775807", "content"), vec![(6, "missing")]),
        (forged("-9223372036854775808", "content"), vec![(i64::MIN, "changed")]),
        (forged("n", "content").replace("select instance", "select 'ffffffff-0000-7000-8000-000000000000'"), vec![(1, "missing")]),
    ];
    for (sql, expected) in cases {
        bench.client_runs(&sql).await;
        assert_eq!(wrong(&bench, &[whole]).await, expected, "{sql}");
        bench.client_runs(&format!("delete from {log}; insert into {log} {system} select * from kept_aside")).await;
    }
    holds(proved(&bench, &[whole]).await);
}

async fn what_is_cut_off_shows_by_what_was_published(bench: Bench) {
    let bench = sealing(bench).await;
    bench.store.write(&[blocked(), blocked(), blocked()]).await.unwrap();
    let early = head(&bench);
    bench.store.write(&[blocked(), blocked()]).await.unwrap();
    let late = head(&bench);
    assert_eq!((early.n, late.n), (4, 6));
    unguarded(&bench).await;
    let log = bench.own("audit_log");
    bench.client_runs(&format!("delete from {log} where n > 4")).await;
    assert_eq!(wrong(&bench, &[early]).await, []);
    assert_eq!(wrong(&bench, &[late]).await, [(6, "cut")]);
    bench.client_runs(&format!("delete from {log}")).await;
    let (findings, verified) = proved(&bench, &[late]).await;
    assert_eq!((findings.len(), verified.rows), (1, 0));
    assert!(findings[0].to_string().ends_with("row 6: missing, with the whole chain"), "{}", findings[0]);
}

async fn a_chain_that_is_gone_shows_by_those_after_it(bench: Bench) {
    let bench = sealing(bench).await;
    bench.store.write(&[blocked()]).await.unwrap();
    let next = gatekeeper(&bench.url, A).await;
    next.write(&[blocked()]).await.unwrap();
    assert_eq!(holds(proved(&bench, &[]).await).heads, 1, "a new chain says how far those before it had come");
    unguarded(&bench).await;
    let Head { instance, .. } = head(&bench);
    bench.client_runs(&format!("delete from {} where instance = '{instance}'", bench.own("audit_log"))).await;
    let (findings, _) = proved(&bench, &[]).await;
    assert_eq!((findings.len(), findings[0].instance.as_str(), findings[0].wrong.as_str()), (1, instance.to_string().as_str(), "cut"));
}

async fn forgeries_keep_nothing_out(bench: Bench) {
    let bench = sealing(bench).await;
    bench.store.write(&[blocked()]).await.unwrap();
    let log = bench.own("audit_log");
    let top = if is_sqlite(&bench) { "9223372036854775807" } else { "1000" };
    let system = if is_sqlite(&bench) { "" } else { "overriding system value" };
    for (serial, n) in [("3", "n + 1"), (top, "9223372036854775807"), ("5", "n + 2")] {
        let forged = format!(
            "insert into {log} (serial, instance, n, at, kind, id, content, key, prev, hash) {system}
             select {serial}, instance, {n}, at, kind, id, content, key, hash, prev from {log} where n = 2"
        );
        bench.client_runs(&forged).await;
    }
    let last = blocked();
    bench.store.write(&[blocked(), last.clone()]).await.unwrap();
    bench.store.audit(&[entry("a")]).await.unwrap();
    let sql = format!("select count(*) from {log} where n = 4 and id = '{}'", last.id);
    assert_eq!((bench.client_counts(&sql).await, head(&bench).n), (1, 5));
    assert_eq!(bench.store.sealer().unwrap().times_tampered(), 0);
    let (findings, verified) = proved(&bench, &[head(&bench)]).await;
    assert_eq!((findings.len(), findings[0].n, findings[0].wrong.as_str()), (1, 3, "changed"), "{findings:?}");
    // Each of the three, and the hole before the highest number.
    assert!(verified.breaks >= 4, "{verified:?}");
}

async fn rows_taken_from_under_a_running_gatekeeper_are_told(bench: Bench) {
    let bench = sealing(bench).await;
    bench.store.write(&[blocked(), blocked()]).await.unwrap();
    unguarded(&bench).await;
    bench.client_runs(&format!("delete from {} where n = 3", bench.own("audit_log"))).await;
    bench.store.write(&[blocked()]).await.unwrap();
    assert_eq!((bench.store.sealer().unwrap().times_tampered(), head(&bench).n), (1, 4));
    assert_eq!(wrong(&bench, &[]).await, [(3, "missing")], "the chain goes on behind the hole, which shows without anything published");
}

async fn each_gatekeeper_has_a_chain(bench: Bench) {
    let bench = sealing(bench).await;
    let other = gatekeeper(&bench.url, B).await;
    let write = async |store: &Arc<dyn Store>| {
        for n in 0..10 {
            store.write(&[blocked(), record(), blocked()]).await.unwrap();
            store.audit(&[entry(&format!("flag {n}"))]).await.unwrap();
        }
    };
    // Batches and changes at once, on both.
    tokio::join!(write(&bench.store), write(&bench.store), write(&other), write(&other));
    let heads = [head(&bench), other.sealer().unwrap().head()];
    assert_eq!(heads.map(|head| head.n), [61, 61]);
    let verified = holds(proved(&bench, &heads).await);
    assert_eq!((verified.chains, verified.rows, verified.compared), (2, 122, 120));
}

async fn keys_can_be_rotated(bench: Bench) {
    let bench = sealing(bench).await;
    bench.store.write(&[blocked()]).await.unwrap();
    let rotated = gatekeeper(&bench.url, B).await;
    rotated.write(&[blocked()]).await.unwrap();
    assert_eq!(holds(proved(&bench, &[]).await).heads, 1, "the chain of the old key is vouched for by that of the new one");
    let (findings, _) = proved_with(&bench, &[B], &[]).await;
    let named: Vec<_> = findings.iter().map(|finding| (finding.instance.clone(), finding.wrong.as_str())).collect();
    assert_eq!(named, [(head(&bench).instance.to_string(), "key_unknown")]);
    assert!(findings[0].to_string().contains(key(A).id()));
}

async fn a_log_that_says_something_else_is_named(bench: Bench) {
    let bench = sealing(bench).await;
    let (call, noted) = (blocked(), entry("target:brain"));
    bench.store.write(std::slice::from_ref(&call)).await.unwrap();
    bench.store.audit(std::slice::from_ref(&noted)).await.unwrap();
    let (activity, audit) = (format!("where id = '{}'", call.id), format!("where id = '{}'", noted.id));
    let json = if is_sqlite(&bench) { "json_set(metadata, '$.sql', 'SELECT 1')" } else { "metadata || '{\"sql\": \"SELECT 1\"}'" };
    let changes = [
        (format!("update eliza_activity_log set status = 'completed' {activity}"), 2),
        (format!("update eliza_activity_log set title = 'x' {activity}"), 2),
        (format!("update eliza_activity_log set description = null {activity}"), 2),
        (format!("update eliza_activity_log set activity_type = 'gatekeeper_call' {activity}"), 2),
        (format!("update eliza_activity_log set metadata = {json} {activity}"), 2),
        (format!("update eliza_activity_log set created_at = '2020-01-01 00:00:00.000000' {activity}"), 2),
        (format!("update security_audit set actor = 'bob' {audit}"), 3),
        (format!("update security_audit set reason = null {audit}"), 3),
        (format!("update security_audit set after = '{{\"enabled\": true}}' {audit}"), 3),
    ];
    // What other programs note on a row is no change of what was recorded.
    bench.client_runs(&format!("update eliza_activity_log set mentioned_to_user = true, updated_at = created_at {activity}")).await;
    for table in ["eliza_activity_log", "security_audit"] {
        bench.client_runs(&format!("create table kept_{table} as select * from {table}")).await;
    }
    holds(proved(&bench, &[]).await);
    for (sql, n) in changes {
        bench.client_runs(&sql).await;
        let (findings, _) = proved(&bench, &[]).await;
        assert_eq!((findings.len(), findings[0].n, findings[0].wrong.as_str()), (1, n, "log_changed"), "{sql}");
        for table in ["eliza_activity_log", "security_audit"] {
            bench.client_runs(&format!("delete from {table}; insert into {table} select * from kept_{table}")).await;
        }
    }
    bench.client_runs("delete from security_audit").await;
    let (findings, verified) = proved(&bench, &[]).await;
    assert_eq!((findings.len(), findings[0].wrong.as_str(), findings[0].id, verified.breaks), (1, "gone", Some(noted.id), 1));
    // Unless policy lets go of them.
    let store = open(&bench.url, OPTIONS).await.unwrap();
    let none = HashMap::new();
    let verified = verify(store.as_ref(), &keys(&[A]), &none, Entries::MayGo, &mut |finding| panic!("{finding}")).await.unwrap();
    assert_eq!((verified.calls_gone, verified.entries_gone, verified.breaks), (0, 1, 0));
}

async fn a_row_of_the_archive_is_held_against_its_seal_too(bench: Bench) {
    let bench = sealing(bench).await;
    bench.store.write(&[CallRecord { at: now().minus(40 * DAY), ..blocked() }]).await.unwrap();
    bench.store.maintain(now(), &archiving()).await.unwrap();
    let verified = holds(proved(&bench, &[head(&bench)]).await);
    assert_eq!((verified.calls_gone, verified.compared), (0, 1));
    bench.client_runs("update eliza_activity_log_archive set description = 'nothing'").await;
    assert_eq!(wrong(&bench, &[]).await, [(2, "log_changed")]);
}

async fn retention_takes_nothing_from_the_audit_log(bench: Bench) {
    let bench = sealing(bench).await;
    bench.store.write(&[CallRecord { at: now().minus(40 * DAY), ..blocked() }]).await.unwrap();
    let keep = crate::store_contract::keep(30, 30, 1);
    bench.store.maintain(now(), &keep).await.unwrap();
    let verified = holds(proved(&bench, &[head(&bench)]).await);
    assert_eq!((verified.rows, verified.calls_gone, verified.compared), (2, 1, 0));
}

async fn a_long_log_is_proved_page_by_page(bench: Bench) {
    let bench = sealing(bench).await;
    let batch: Vec<_> = (0..999).map(|_| blocked()).collect();
    bench.store.write(&batch).await.unwrap();
    let other = gatekeeper(&bench.url, A).await;
    other.write(&batch.iter().map(|_| blocked()).collect::<Vec<_>>()).await.unwrap();
    let verified = holds(proved(&bench, &[head(&bench)]).await);
    assert_eq!((verified.chains, verified.rows, verified.compared), (2, 2000, 1998));
    unguarded(&bench).await;
    let mut named = String::new();
    write!(named, "update {} set content = content || ' ' where n = 1000", bench.own("audit_log")).unwrap();
    bench.client_runs(&named).await;
    assert_eq!(wrong(&bench, &[]).await, [(1000, "changed"), (1000, "changed")]);
}
