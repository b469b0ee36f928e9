//! Entries that cannot be sealed at once are sealed as soon as they can be, whatever stands in the way of one of them.

use eliza_gatekeeper::store::StoreError;

use super::*;

on_both!(
    what_others_wrote_is_sealed_afterwards_by_one,
    an_entry_that_cannot_be_sealed_for_a_moment_waits,
    what_has_waited_for_long_is_told
);

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
async fn nobody_waits_for_who_seals() {
    let bench = sealing(Bench::postgres().await).await;
    open(&bench.url, OPTIONS).await.unwrap().audit(&[entry("a")]).await.unwrap();
    let client = sqlx::PgPool::connect(&bench.url).await.unwrap();
    let mut first = client.begin().await.unwrap();
    let lock = "select pg_advisory_xact_lock(hashtextextended('gatekeeper.audit_log', 0))";
    sqlx::query(lock).execute(&mut *first).await.unwrap();
    let tried = tokio::time::timeout(Duration::from_secs(10), bench.store.seal_entries(EVER)).await;
    assert_eq!(tried.expect("an answer at once").unwrap(), 0);
    first.rollback().await.unwrap();
    assert_eq!(bench.store.seal_entries(EVER).await.unwrap(), 1);
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
