//! No record is lost without trace: every number a gatekeeper has given has its row in the activity log or is shown as missing, with the
//! reason where there is one. Both databases.

use eliza_gatekeeper::clock::Timestamp;
use eliza_gatekeeper::identity::Origin;
use eliza_gatekeeper::store::CallRecord;
use eliza_gatekeeper::store::control::{ActivityEntry, EntryKind, EntryStatus};
use eliza_gatekeeper::store::ledger::{Batch, Gap, Loss, LossReason};
use serde_json::json;
use uuid::Uuid;

use crate::store_contract::{Bench, now, on_both, record};

on_both!(
    numbers_are_kept_beside_their_rows,
    what_is_all_there_has_no_gap,
    every_hole_is_shown_with_its_reason,
    losses_that_overlap_are_told_apart_from_what_nobody_explains,
    a_batch_is_written_whole_or_not_at_all,
    numbers_are_watched_from_the_first_to_the_last,
    instances_do_not_mix,
    other_programs_leave_no_gaps,
);

fn numbered(instance: Uuid, seq: u64) -> CallRecord {
    CallRecord { origin: Some(Origin { instance, seq }), ..record() }
}

fn entry(instance: Uuid, seq: u64) -> ActivityEntry {
    ActivityEntry {
        id: Uuid::now_v7(),
        origin: Some(Origin { instance, seq }),
        at: now(),
        kind: EntryKind::AutoFix,
        status: EntryStatus::Triggered,
        title: "a fix".into(),
        description: String::new(),
        metadata: json!({}),
    }
}

fn loss(instance: Uuid, first: u64, last: u64, reason: LossReason) -> Loss {
    Loss { instance, first, last, reason, at: now() }
}

impl Bench {
    async fn rows(&self, instance: Uuid, seqs: impl IntoIterator<Item = u64>) {
        let records: Vec<_> = seqs.into_iter().map(|seq| numbered(instance, seq)).collect();
        self.store.write(&records).await.unwrap();
    }

    /// First, last and reason of every gap of an instance.
    async fn gaps_of(&self, instance: Uuid) -> Vec<(u64, u64, Option<String>)> {
        let gaps = self.store.gaps(100).await.unwrap().into_iter().filter(|gap| gap.instance == instance);
        gaps.map(|Gap { first, last, reason, .. }| (first, last, reason)).collect()
    }
}

fn unexplained(first: u64, last: u64) -> (u64, u64, Option<String>) {
    (first, last, None)
}

fn explained(first: u64, last: u64, reason: &str) -> (u64, u64, Option<String>) {
    (first, last, Some(reason.into()))
}

async fn numbers_are_kept_beside_their_rows(bench: Bench) {
    let bench = bench.migrated().await;
    let instance = Uuid::now_v7();
    let (call, entry) = (numbered(instance, 7), entry(instance, 8));
    bench
        .store
        .write_batch(Batch { calls: std::slice::from_ref(&call), entries: std::slice::from_ref(&entry), losses: &[] })
        .await
        .unwrap();
    bench.store.write(&[record()]).await.unwrap();
    for (id, seq) in [(call.id, 7), (entry.id, 8)] {
        let there = format!("select count(*) from eliza_activity_log where id = '{id}' and instance = '{instance}' and seq = {seq}");
        assert_eq!(bench.client_counts(&there).await, 1, "{seq}");
    }
    assert_eq!(bench.client_counts("select count(*) from eliza_activity_log where instance is null and seq is null").await, 1);
}

async fn what_is_all_there_has_no_gap(bench: Bench) {
    let bench = bench.migrated().await;
    let instance = Uuid::now_v7();
    bench.store.announce(instance, now()).await.unwrap();
    assert_eq!(bench.gaps_of(instance).await, []);
    // In any order, and twice.
    bench.rows(instance, [3, 1]).await;
    bench.rows(instance, [2, 4, 4]).await;
    bench.store.add_entries(&[entry(instance, 5)]).await.unwrap();
    assert_eq!(bench.gaps_of(instance).await, []);
    bench.store.ended(instance, 5, now()).await.unwrap();
    assert_eq!(bench.gaps_of(instance).await, []);
}

async fn every_hole_is_shown_with_its_reason(bench: Bench) {
    let bench = bench.migrated().await;
    let instance = Uuid::now_v7();
    bench.rows(instance, [3, 4, 8, 20]).await;
    assert_eq!(bench.gaps_of(instance).await, [unexplained(1, 2), unexplained(5, 7), unexplained(9, 19)]);
    bench.store.lost(&[loss(instance, 5, 7, LossReason::Shed), loss(instance, 21, 30, LossReason::Damaged)]).await.unwrap();
    bench.store.lost(&[loss(instance, 10, 12, LossReason::Refused)]).await.unwrap();
    let expected = [
        unexplained(1, 2),
        explained(5, 7, "shed"),
        unexplained(9, 9),
        explained(10, 12, "refused"),
        unexplained(13, 19),
        explained(21, 30, "damaged"),
    ];
    assert_eq!(bench.gaps_of(instance).await, expected);
    let missing = "select cast(sum(missing) as bigint) from gatekeeper_log_gaps";
    assert_eq!(bench.client_counts(missing).await, 2 + 3 + 11 + 10);
    assert_eq!(bench.client_counts(&format!("{missing} where reason is null")).await, 2 + 1 + 7, "what an alert asks for");

    // A row that comes after all closes its hole, whatever was said of it.
    bench.rows(instance, [1, 2, 6]).await;
    assert_eq!(bench.gaps_of(instance).await[..2], [explained(5, 5, "shed"), explained(7, 7, "shed")]);
}

async fn losses_that_overlap_are_told_apart_from_what_nobody_explains(bench: Bench) {
    let bench = bench.migrated().await;
    let instance = Uuid::now_v7();
    bench.rows(instance, [20]).await;
    let losses = [
        loss(instance, 2, 9, LossReason::Damaged),
        loss(instance, 4, 5, LossReason::Shed),
        loss(instance, 9, 10, LossReason::Shed),
        loss(instance, 15, 15, LossReason::Refused),
    ];
    bench.store.lost(&losses).await.unwrap();
    bench.store.lost(&losses).await.unwrap();
    let left = bench.gaps_of(instance).await.into_iter().filter(|(.., reason)| reason.is_none()).collect::<Vec<_>>();
    assert_eq!(left, [unexplained(1, 1), unexplained(11, 14), unexplained(16, 19)]);
    assert_eq!(bench.gaps_of(instance).await.len(), 3 + 4);
}

async fn a_batch_is_written_whole_or_not_at_all(bench: Bench) {
    let bench = bench.migrated().await;
    let instance = Uuid::now_v7();
    let calls = [numbered(instance, 1), numbered(instance, 2)];
    // No number comes before the first.
    let impossible = [loss(instance, 5, 3, LossReason::Damaged)];
    let batch = Batch { calls: &calls, entries: &[entry(instance, 3)], losses: &impossible };
    bench.store.write_batch(batch).await.unwrap_err();
    assert_eq!(bench.client_counts("select count(*) from eliza_activity_log").await, 0);
    assert_eq!(bench.client_counts(&format!("select count(*) from {}", bench.own("instances"))).await, 0);
    assert_eq!(bench.client_counts("select count(*) from eliza_gatekeeper_stats").await, 0);

    bench.store.write_batch(Batch { losses: &[], ..batch }).await.unwrap();
    assert_eq!(bench.client_counts(&format!("select through from {}", bench.own("instances"))).await, 3);
    bench.store.write_batch(Batch { losses: &[], ..batch }).await.unwrap();
    assert_eq!(bench.client_counts("select count(*) from eliza_activity_log").await, 3);
}

async fn numbers_are_watched_from_the_first_to_the_last(bench: Bench) {
    let bench = bench.migrated().await;
    let (running, ended, silent) = (Uuid::now_v7(), Uuid::now_v7(), Uuid::now_v7());
    bench.store.announce(running, now()).await.unwrap();
    bench.rows(running, [1, 2]).await;
    bench.rows(ended, [1, 2]).await;
    bench.store.ended(ended, 4, now()).await.unwrap();
    bench.store.ended(silent, 2, now()).await.unwrap();
    assert_eq!(bench.gaps_of(running).await, [], "what is under way is no gap");
    assert_eq!(bench.gaps_of(ended).await, [unexplained(3, 4)], "a tail cut off shows");
    assert_eq!(bench.gaps_of(silent).await, [unexplained(1, 2)]);
    let of_ended = format!("{} where instance = '{ended}'", bench.own("instances"));
    assert_eq!(bench.client_counts(&format!("select count(*) from {of_ended} and ended_at is not null")).await, 1);
    // It is told again, by whoever finds its empty journal: it ended when it ended.
    bench.store.ended(ended, 4, Timestamp::from_secs(4_102_444_800)).await.unwrap();
    assert_eq!(bench.client_counts(&format!("select count(*) from {of_ended} and ended_at < '2100-01-01'")).await, 1);
    // Of one that was never heard of and gave no number, nothing is kept.
    bench.store.ended(Uuid::now_v7(), 0, now()).await.unwrap();
    assert_eq!(bench.client_counts(&format!("select count(*) from {}", bench.own("instances"))).await, 3);
    // An older batch that comes again moves nothing back.
    bench.rows(ended, [1, 2]).await;
    assert_eq!(bench.client_counts(&format!("select through from {of_ended}")).await, 4);
}

async fn instances_do_not_mix(bench: Bench) {
    let bench = bench.migrated().await;
    let (one, other) = (Uuid::now_v7(), Uuid::now_v7());
    let calls: Vec<_> = (1..=6).map(|seq| numbered(if seq % 2 == 0 { one } else { other }, seq)).collect();
    bench.store.write(&calls).await.unwrap();
    bench.store.lost(&[loss(one, 1, 9, LossReason::Shed)]).await.unwrap();
    assert_eq!(
        bench.gaps_of(one).await,
        [explained(1, 1, "shed"), explained(3, 3, "shed"), explained(5, 5, "shed"), explained(7, 9, "shed")]
    );
    assert_eq!(bench.gaps_of(other).await, [unexplained(2, 2), unexplained(4, 4)]);
}

async fn other_programs_leave_no_gaps(bench: Bench) {
    let bench = bench.migrated().await;
    bench.client_runs("insert into eliza_activity_log (activity_type, title) values ('python_execution', 'theirs')").await;
    bench.store.write(&[record()]).await.unwrap();
    assert_eq!(bench.client_counts("select count(*) from gatekeeper_log_gaps").await, 0);
    assert_eq!(bench.store.gaps(9).await.unwrap(), []);
}
