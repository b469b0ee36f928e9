//! The audit log, whichever database it is in: what must not be changed unseen is sealed with what records it, once, in order; nobody
//! updates or deletes it.

mod chains;
mod tampering;
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
    keys_are_audited_whoever_changes_them,
    nobody_updates_or_deletes,
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
            .to_string()
            .into(),
        api_status: ApiStatus::Error,
        error_message: Some("Dangerous operation".into()),
        stats: StatsKey { source: "gemini-chat".into(), target: "".into(), outcome: StatsOutcome::Denied },
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
    let refuse = match is_sqlite(&bench) {
        true => "create trigger refuse before insert on api_call_logs when new.error_message = 'no' begin select raise(abort, 'no'); end",
        false => "alter table api_call_logs add check (error_message <> 'no')",
    };
    bench.client_runs(refuse).await;
    let bad = CallRecord { error_message: Some("no".into()), ..blocked() };
    assert!(bench.store.write(&[blocked(), bad]).await.is_err());
    assert_eq!((rows_of(&bench, "call_blocked").await, head(&bench).n), (2, 4));
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
