//! Chains answer for one another: what somebody puts at the end of one is told when the next begins, and hides nothing of it.

use eliza_gatekeeper::identity::Origin;
use eliza_gatekeeper::seal::Head;
use eliza_gatekeeper::seal::walk::Finding;
use eliza_gatekeeper::store::CallRecord;
use uuid::Uuid;

use super::{A, B, blocked, entry, gatekeeper, head, holds, proved, sealing, unguarded};
use crate::store_contract::{Bench, now, on_both};
use crate::store_retention::{DAY, archiving};

on_both!(
    a_forged_last_row_is_told_and_hides_no_chain,
    chains_that_are_none_hide_no_chain,
    a_chain_of_an_unknown_key_is_missed_too,
    a_blocked_call_without_its_seal_is_named,
);

/// A row that nobody sealed, like the second of this chain but for what is said.
async fn forge(bench: &Bench, like: Head, instance: &str, n: &str) {
    let log = bench.own("audit_log");
    let forged = format!(
        "insert into {log} (instance, n, at, kind, id, content, key, prev, hash)
         select {instance}, {n}, at, kind, id, content, key, prev, hash from {log} where n = 2 and instance = '{}'",
        like.instance
    );
    bench.client_runs(&forged).await;
}

async fn remove_chain(bench: &Bench, head: Head) {
    unguarded(bench).await;
    bench.client_runs(&format!("delete from {} where instance = '{}'", bench.own("audit_log"), head.instance)).await;
}

fn cut(findings: &[Finding]) -> Vec<String> {
    let cut = findings.iter().filter(|finding| ["cut", "replaced"].contains(&finding.wrong.as_str()));
    cut.map(|finding| finding.instance.clone()).collect()
}

async fn a_forged_last_row_is_told_and_hides_no_chain(bench: Bench) {
    let bench = sealing(bench).await;
    bench.store.write(&[blocked()]).await.unwrap();
    let first = head(&bench);
    forge(&bench, first, "instance", "9000000").await;
    let next = gatekeeper(&bench.url, A).await;
    next.write(&[blocked()]).await.unwrap();
    assert_eq!(next.sealer().unwrap().times_tampered(), 1);
    remove_chain(&bench, first).await;
    assert_eq!(cut(&proved(&bench, &[]).await.0), [first.instance.to_string()]);
}

async fn chains_that_are_none_hide_no_chain(bench: Bench) {
    let bench = sealing(bench).await;
    bench.store.write(&[blocked()]).await.unwrap();
    let first = head(&bench);
    for n in 0..70 {
        forge(&bench, first, &format!("'ffffffff-ffff-7fff-bfff-0000000000{n:02}'"), "n").await;
    }
    let next = gatekeeper(&bench.url, A).await;
    next.write(&[blocked()]).await.unwrap();
    assert_eq!(next.sealer().unwrap().times_tampered(), 70);
    remove_chain(&bench, first).await;
    assert_eq!(cut(&proved(&bench, &[]).await.0), [first.instance.to_string()]);
}

async fn a_chain_of_an_unknown_key_is_missed_too(bench: Bench) {
    let bench = sealing(bench).await;
    let other = super::open_sealing(&bench.url, super::OPTIONS, super::Sealer::new(Uuid::now_v7(), super::key(B), super::keys(&[B]))).await;
    let other = other.unwrap();
    bench.store.write(&[blocked()]).await.unwrap();
    other.write(&[blocked()]).await.unwrap();
    assert_eq!(other.sealer().unwrap().times_tampered(), 0, "whose key is not here may be as it should be");
    assert_eq!(holds(proved(&bench, &[]).await).heads, 1);
    remove_chain(&bench, head(&bench)).await;
    assert_eq!(cut(&proved(&bench, &[]).await.0), [head(&bench).instance.to_string()]);
}

async fn a_blocked_call_without_its_seal_is_named(bench: Bench) {
    let bench = sealing(bench).await;
    let instance = Uuid::now_v7();
    let numbered = |seq| CallRecord { origin: Some(Origin { instance, seq }), ..blocked() };
    let old = CallRecord { at: now().minus(40 * DAY), ..numbered(7) };
    // What an older binary, or another program, wrote has no number, and no seal.
    let unsealed = eliza_gatekeeper::store::open(&bench.url, super::OPTIONS).await.unwrap();
    unsealed.write(&[blocked()]).await.unwrap();
    bench.store.write(&[numbered(6), old.clone(), blocked()]).await.unwrap();
    bench.store.maintain(now(), &archiving()).await.unwrap();
    assert_eq!(bench.here_and_there("eliza_activity_log").await, (3, 1));
    holds(proved(&bench, &[]).await);

    unguarded(&bench).await;
    bench.client_runs(&format!("delete from {}", bench.own("audit_log"))).await;
    let (findings, verified) = proved(&bench, &[]).await;
    let told: Vec<_> = findings.iter().map(|finding| (finding.wrong.as_str(), finding.n, finding.id)).collect();
    assert_eq!((told[1], told.len(), verified.breaks), (("unsealed", 7, Some(old.id)), 2, 2));
    assert!(findings[1].to_string().starts_with(&format!("chain {instance}, record 7 ({})", old.id)), "{}", findings[1]);
}

#[tokio::test]
async fn what_the_database_has_others_see_makes_no_tampering() {
    let bench = Bench::postgres().await;
    let name = bench.url.rsplit('/').next().unwrap();
    bench.client_runs(&format!("alter database \"{name}\" set default_transaction_isolation = 'repeatable read'")).await;
    let bench = sealing(bench).await;
    let write = async || {
        for n in 0..10 {
            bench.store.write(&[blocked()]).await.unwrap();
            bench.store.audit(&[entry(&format!("flag {n}"))]).await.unwrap();
        }
    };
    tokio::join!(write(), write(), write(), write());
    assert_eq!(bench.store.sealer().unwrap().times_tampered(), 0);
    assert_eq!(holds(proved(&bench, &[head(&bench)]).await).rows, 81);
}
