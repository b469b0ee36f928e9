//! There is no room left for records: in the journal, or on its disk.

use futures_util::future::join_all;
use serde_json::json;

use super::Site;
use super::load::{Heard, Load, Mix};
use super::rows::{self, Missing};
use crate::support::disk::Mounted;
use crate::support::house::{KEY, call_at, eventually, get};
use crate::support::postgres::{self, Cluster};
use crate::support::program::Serving;
use crate::support::targets::{Conduct, Gate};

const SHED: [(&str, &str); 2] = [("size", "1MiB"), ("when_full", "shed")];
const REFUSE: [(&str, &str); 2] = [("size", "1MiB"), ("when_full", "refuse")];

async fn health(serving: &Serving) -> String {
    get(serving.ops, "/health").await.json().to_string()
}

/// That calls are answered well again, and all of them recorded.
async fn goes_on(site: &Site, serving: &Serving) {
    let dropped = serving.metric("records_dropped").await;
    let load = Load::full(serving.data, 4, Mix::Fine);
    eventually("calls are answered", || async { load.heard() > 100 }).await;
    let heard = load.end().await.all(200);
    serving.settled().await;
    rows::hold(&site.database, heard.ids(200)).await;
    assert_eq!(serving.metric("records_dropped").await, dropped);
    let health = health(serving).await;
    assert!(!health.contains("journal") && !health.contains("recorded"), "{health}");
}

/// Every answer has its record but those that are said to have none.
async fn all_but_those_told_of(site: &Site, serving: &Serving, heard: &Heard) {
    serving.settled().await;
    let there = rows::ids(&site.database).await;
    let without = heard.whole.iter().filter(|answer| !there.contains(&answer.id)).count();
    let dropped = serving.metric("records_dropped").await;
    assert_eq!((without as f64, there.len()), (dropped, heard.whole.len() - without), "all that were dropped, and no others");
    assert_eq!(Missing::in_all(&site.database).await, Missing { explained: i64::try_from(without).unwrap(), unexplained: 0 });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_journal_that_sheds_costs_no_call_and_says_how_many_records() {
    let server = Cluster::private();
    let site = Site::with(Some(server.database()), &SHED).await;
    let serving = site.serve().await;
    let load = Load::full(serving.data, 8, Mix::Everything);
    eventually("the load is under way", || async { load.heard() > 100 }).await;
    tokio::task::block_in_place(|| server.stop());
    eventually("records are dropped", || async { serving.metric("records_dropped").await > 200.0 }).await;
    let said = health(&serving).await;
    assert!(said.contains("the journal is full: calls go on, and are not recorded"), "{said}");
    assert!(serving.running.err().contains("calls are not recorded"));

    tokio::task::block_in_place(|| server.start());
    eventually("there is room again", || async { serving.metric("journal_oldest_seconds").await < 2.0 }).await;
    let heard = load.end().await;
    assert_eq!(heard.broken, 0);
    assert!(heard.whole.iter().all(|answer| answer.status < 500), "no call is refused for it");
    all_but_those_told_of(&site, &serving, &heard).await;
    goes_on(&site, &serving).await;
    serving.stop().await.expect(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_journal_that_refuses_lets_no_call_go_unrecorded() {
    let server = Cluster::private();
    let site = Site::with(Some(server.database()), &REFUSE).await;
    let gate = Gate::shut();
    site.targets.let_be("gemini-chat", Conduct::Hang(gate.clone()));
    let serving = site.serve().await;
    // They begin while there is room, and end when there has been none for long.
    let slow = join_all((0..8).map(|_| {
        let envelope = json!({"target": "gemini-chat", "payload": {"messages": [{"role": "user", "content": "hello"}]}});
        async move { call_at(serving.data, KEY, "openai-chat", &envelope).await }
    }));
    let slow = tokio::spawn(slow);
    site.targets.arrival("gemini-chat", 8).await;
    tokio::task::block_in_place(|| server.stop());
    let load = Load::full(serving.data, 4, Mix::Fine);
    let refused = async || {
        let text = serving.metrics().await;
        let line = text.lines().find_map(|line| line.strip_prefix("gatekeeper_calls_total{outcome=\"not_recordable\"} "));
        line.map_or(0, |count| count.parse::<u64>().unwrap())
    };
    eventually("calls are refused", || async { refused().await > 500 }).await;
    let said = health(&serving).await;
    assert!(said.contains("the journal is full: calls are refused until the database has taken records"), "{said}");
    gate.open();
    let slow: Vec<_> = slow.await.unwrap().into_iter().map(|reply| reply.expect(200).call_id().to_owned()).collect();

    tokio::task::block_in_place(|| server.start());
    eventually("there is room again", || async { serving.metric("journal_oldest_seconds").await < 2.0 }).await;
    let again = load.heard();
    eventually("calls go on", || async { load.heard() > again + 100 }).await;
    let heard = load.end().await;
    assert_eq!(heard.broken, 0);
    for answer in heard.whole.iter().filter(|answer| answer.status != 200) {
        let refusal = (answer.status, answer.code.as_deref(), answer.retry_after.as_deref());
        assert_eq!(refusal, (503, Some("not_recordable"), Some("1")));
    }
    serving.settled().await;
    let let_through = heard.ids(200).into_iter().chain(slow.iter().map(String::as_str));
    rows::hold(&site.database, let_through).await;
    assert_eq!(Missing::in_all(&site.database).await.unexplained, 0);
    assert_eq!(Missing::in_all(&site.database).await.explained as f64, serving.metric("records_dropped").await);
    goes_on(&site, &serving).await;
    serving.stop().await.expect(0);
}

/// Needs a file system of its own, so it asks for one. Where that is not given, a bound on the length of files stands in for it below.
#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_is_said_and_is_over_when_it_is_over() {
    for when_full in ["shed", "refuse"] {
        let server = Cluster::private();
        let site = Site::with(Some(server.database()), &[("when_full", when_full)]).await;
        std::fs::create_dir_all(site.journals()).unwrap();
        let Some(_mounted) = Mounted::at(&site.journals()) else { return };
        let ballast = site.journals().join("ballast");
        std::fs::write(&ballast, vec![0; 512 * 1024]).unwrap();
        let serving = site.serve().await;
        tokio::task::block_in_place(|| server.stop());
        let load = Load::full(serving.data, 4, Mix::Fine);
        let told = async || serving.metric("journal_trouble").await == 1.0 && serving.metric("records_dropped").await > 0.0;
        eventually("the disk is full", told).await;
        eventually("health says so", || async { health(&serving).await.contains("No space left on device") }).await;
        assert!(serving.running.err().contains("No space left on device"));
        // Somebody tidies up.
        std::fs::remove_file(&ballast).unwrap();
        let full = async || {
            let again = load.heard();
            eventually("calls go on", || async { load.heard() > again + 100 }).await;
            serving.metric("journal_trouble").await == 0.0
        };
        eventually("records are kept again", full).await;
        eventually("and it is full again", told).await;
        // Or the database comes back.
        tokio::task::block_in_place(|| server.start());
        eventually("there is room again", || async {
            serving.metric("journal_oldest_seconds").await < 2.0 && serving.metric("journal_trouble").await == 0.0
        })
        .await;
        let again = load.heard();
        eventually("calls go on", || async { load.heard() > again + 100 }).await;
        let heard = load.end().await;
        assert_eq!(heard.broken, 0);
        match when_full {
            "shed" => assert_eq!(heard.ids(200).len(), heard.whole.len(), "no call is refused for it"),
            _ => assert!(!heard.ids(503).is_empty(), "calls are refused for it"),
        }
        all_but_those_told_of(&site, &serving, &heard).await;
        goes_on(&site, &serving).await;
        serving.stop().await.expect(0);
    }
}

/// A disk that takes the beginning of each file, and then a part of an entry. Each time it goes on in the next one.
#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_takes_no_more_is_said_and_no_call_goes_untold() {
    for when_full in ["shed", "refuse"] {
        let site = Site::with(Some(postgres::database()), &[("when_full", when_full)]).await;
        let serving = site.program.clone().with_bounded_files().serve().await;
        let load = Load::full(serving.data, 8, Mix::Everything);
        eventually("records are dropped", || async { serving.metric("records_dropped").await > 5.0 }).await;
        eventually("calls go on", || async { load.heard() > 500 }).await;
        let heard = load.end().await;
        assert_eq!(heard.broken, 0);
        assert!(serving.running.err().contains("File too large"), "{}", serving.running.err());
        if when_full == "shed" {
            assert!(heard.ids(503).is_empty(), "no call is refused for it");
        }
        all_but_those_told_of(&site, &serving, &heard).await;
        serving.stop().await.expect(0);
        // As soon as there is room.
        let serving = site.serve().await;
        goes_on(&site, &serving).await;
        serving.stop().await.expect(0);
    }
}
