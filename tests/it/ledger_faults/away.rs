//! The database goes away under load, and comes back.

use std::time::Duration;

use super::Site;
use super::load::{Answer, Load, Mix};
use super::rows::{self, Missing};
use crate::support::house::{eventually, soon};
use crate::support::postgres::Cluster;

/// What waits on the disk before anything is said about memory.
const WAITING: f64 = 4.0 * 1024.0 * 1024.0;

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_is_away_costs_no_call_no_record_and_no_memory() {
    let server = Cluster::private();
    let site = Site::with(Some(server.database()), &[]).await;
    let serving = site.serve().await;
    let load = Load::full(serving.data, 8, Mix::Fine);
    eventually("the load is under way", || async { load.heard() > 3000 }).await;
    tokio::task::block_in_place(|| server.stop());
    eventually("it is known to be away", || async { serving.metric("database_up").await == 0.0 }).await;
    let (before, bytes) = (serving.memory(), serving.metric("journal_bytes").await);
    soon("calls go on", Duration::from_secs(120), Duration::from_millis(100), || async {
        serving.metric("journal_bytes").await > bytes + WAITING
    })
    .await;
    let (waiting, grown) = (serving.metric("records_waiting").await, serving.memory().saturating_sub(before));
    assert!(waiting > 2000.0, "{waiting}");
    // A record in memory takes more than on the disk.
    assert!((grown as f64) < WAITING / 2.0, "{grown} bytes more for {waiting} records that wait on the disk");

    tokio::task::block_in_place(|| server.start());
    soon("all that waited is there", Duration::from_secs(20), Duration::from_millis(50), || async {
        serving.metric("journal_oldest_seconds").await < 2.0
    })
    .await;
    let heard = load.end().await.all(200);
    serving.settled().await;
    let there = rows::hold(&site.database, heard.ids(200)).await;
    assert_eq!((there.len(), Missing::in_all(&site.database).await), (heard.whole.len(), Missing::NOTHING));
    serving.stop().await.expect(0);
}

/// `make bench-ledger-away`: what callers notice of it, as figures. The same load beside a running database, without it, and beside it again.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes minutes: make bench-ledger-away"]
async fn a_minute_without_a_database() {
    let setting = |name: &str, default: u32| std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default);
    let phase = Duration::from_secs(setting("LEDGER_AWAY_SECONDS", 60).into());
    let a_second = setting("LEDGER_AWAY_RATE", 1000);
    let server = Cluster::private();
    let site = Site::with(Some(server.database()), &[]).await;
    let serving = site.serve().await;
    let load = Load::steady(serving.data, 32, a_second);
    let begun = tokio::time::Instant::now();
    let mut moments = Vec::new();
    let mut moment = |what: &'static str| moments.push((what, begun.elapsed(), serving.memory()));

    tokio::time::sleep(phase / 4).await;
    moment("beside it");
    tokio::time::sleep(phase).await;
    moment("while it stops");
    tokio::task::block_in_place(|| server.stop());
    moment("without it");
    tokio::time::sleep(phase).await;
    moment("while it starts");
    let waiting = serving.metric("records_waiting").await;
    let bytes = serving.metric("journal_bytes").await;
    tokio::task::block_in_place(|| server.start());
    moment("while it catches up");
    let back = tokio::time::Instant::now();
    soon("all that waited is there", Duration::from_secs(120), Duration::from_millis(100), || async {
        serving.metric("journal_oldest_seconds").await < 2.0
    })
    .await;
    let caught_up = back.elapsed();
    moment("beside it again");
    tokio::time::sleep(phase).await;
    moment("the end");

    let heard = load.end().await.all(200);
    serving.settled().await;
    let there = rows::hold(&site.database, heard.ids(200)).await;
    assert_eq!((there.len(), Missing::in_all(&site.database).await), (heard.whole.len(), Missing::NOTHING));

    println!("{} calls, {a_second} a second, none failed, each recorded once", heard.whole.len());
    println!("{waiting} records and {bytes} bytes waited; {caught_up:.1?} after its return all were there");
    let mut tails = Vec::new();
    for phase in moments.windows(2) {
        let [(what, from, memory), (_, to, _)] = phase else { continue };
        let mut took: Vec<_> = heard
            .whole
            .iter()
            .filter(|Answer { due, .. }| (from..to).contains(&due))
            .map(|Answer { took, .. }| took.as_secs_f64() * 1e3)
            .collect();
        took.sort_by(f64::total_cmp);
        let at = |per_mille: usize| took.get(took.len() * per_mille / 1000).copied().unwrap_or_default();
        println!(
            "{what:>20}: {:>7} calls, p50 {:.2} ms, p99 {:.2} ms, p99.9 {:.2} ms, {} MiB at its start",
            took.len(),
            at(500),
            at(990),
            at(999),
            memory >> 20
        );
        tails.push((*what, at(990)));
    }
    let tail = |of: &str| tails.iter().find(|(what, _)| *what == of).unwrap().1;
    let beside = f64::midpoint(tail("beside it"), tail("beside it again"));
    println!(
        "p99 without the database: {:.2} times that beside it ({:.2} between its two halves)",
        tail("without it") / beside,
        tail("beside it again") / tail("beside it")
    );
}
