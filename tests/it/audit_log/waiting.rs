//! Entries that cannot be sealed at once are sealed as soon as they can be, whatever stands in the way of one of them.

use eliza_gatekeeper::audit::AuditEntry;
use eliza_gatekeeper::store::{StoreError, open};

use super::{DAY, EVER, entry, head, holds, is_sqlite, proved, sealing};
use crate::store_contract::{Bench, OPTIONS, now, on_both};

on_both!(an_entry_that_cannot_be_sealed_for_a_moment_waits, what_has_waited_for_long_is_told);

async fn an_entry_that_cannot_be_sealed_for_a_moment_waits(bench: Bench) {
    let bench = sealing(bench).await;
    let (log, hidden) = (bench.own("audit_log"), bench.own("hidden"));
    let name = |place: &str| if is_sqlite(&bench) { place.to_owned() } else { place.replace("gatekeeper.", "") };
    bench.client_runs(&format!("alter table {log} rename to {}", name(&hidden))).await;
    let entry = [entry("stage:sql_filter")];
    let refused = bench.store.audit(&entry).await;
    // What is refused is given up on, and in the log alone.
    assert!(matches!(refused, Err(StoreError::Away(_))), "{refused:?}");
    assert_eq!(bench.client_counts("select count(*) from security_audit").await, 0, "nothing is there that is not sealed");

    bench.client_runs(&format!("alter table {hidden} rename to {}", name(&log))).await;
    bench.store.audit(&entry).await.unwrap();
    assert_eq!(holds(proved(&bench, &[head(&bench)]).await).compared, 1);
}

async fn what_has_waited_for_long_is_told(bench: Bench) {
    let bench = sealing(bench).await;
    let command = open(&bench.url, OPTIONS).await.unwrap();
    let old = AuditEntry { at: now().minus(DAY), ..entry("a") };
    command.audit(&[entry("b"), old.clone()]).await.unwrap();
    let verified = holds(proved(&bench, &[]).await);
    assert_eq!((verified.unsealed, verified.unsealed_since.map(|since| since.as_secs())), (2, Some(old.at.as_secs())));
    assert_eq!(bench.store.seal_entries(EVER).await.unwrap(), 2);
    assert_eq!(holds(proved(&bench, &[]).await).unsealed_since, None);
}

#[tokio::test]
async fn rows_that_are_no_entries_keep_none_from_being_sealed() {
    let bench = sealing(Bench::sqlite().await).await;
    // Of another program, before and among ours: bytes for an actor, and forms that only look like ours.
    let id = "0192f0c1-2345-7abc-8def-0123456789a";
    for (n, at, actor) in [("0", "2020-01-01 00:00:00", "x'ff'"), ("x", "2020-01-02 00:00:00", "'a'"), ("1", "2020-99-99 00:00:00", "'a'")]
    {
        let odd =
            format!("insert into security_audit (id, created_at, actor, action, subject) values ('{id}{n}', '{at}', {actor}, 'b', 'c')");
        bench.client_runs(&odd).await;
    }
    bench.client_runs("insert into security_audit (id, actor, action, subject) values (x'00', cast(x'ff' as text), 'b', 'c')").await;
    let command = open(&bench.url, OPTIONS).await.unwrap();
    let many: Vec<_> = (0..150).map(|n| entry(&format!("flag {n}"))).collect();
    command.audit(&many).await.unwrap();
    assert_eq!(bench.store.seal_entries(EVER).await.unwrap(), 150);
    assert_eq!(bench.store.seal_entries(EVER).await.unwrap(), 0);
    assert_eq!(holds(proved(&bench, &[head(&bench)]).await).compared, 150);
}
