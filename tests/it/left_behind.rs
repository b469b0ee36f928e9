//! Promises: what a process left that was killed keeps no start waiting, and nothing that operators have said waits for it; its calls count
//! in the windows that still run, each of them once, however late they reach the database.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use eliza_gatekeeper::clock::{Clock, ManualClock, Timestamp};
use eliza_gatekeeper::journal::{Class, Journal, Limits, Syncing};
use eliza_gatekeeper::record::page;
use eliza_gatekeeper::store::CallRecord;
use futures_util::future::join_all;
use uuid::Uuid;

use crate::live_afresh::key;
use crate::store_contract::{audited, counted, record};
use crate::support::house::{House, eventually, midnight, soon};
use crate::support::program::Program;
use crate::support::{Database, on_each_database};

on_each_database!(
    what_operators_said_waits_for_no_journal,
    what_was_counted_counts_on_also_where_it_is_late,
    what_is_carried_over_twice_counts_once,
    what_ends_beside_it_is_carried_over_and_not_counted,
);

/// As shipped: a hundred a minute.
const SOURCE: &str = "superduper-router";

/// The journal of a process that was killed.
async fn leave(journals: &Path, records: &[CallRecord]) -> PathBuf {
    let (journal, reader) = Journal::open(journals, Limits::default(), Syncing::Os, Clock::system()).unwrap();
    for record in records {
        journal.append(Class::Ordinary, &page::of_call(record)).unwrap();
    }
    let directory = journals.join(journal.instance().to_string());
    drop((journal, reader));
    // Its threads may hold it for a moment longer.
    let cursor = directory.join("cursor");
    eventually("it is nobody's", || async { File::open(&cursor).unwrap().try_lock().is_ok() }).await;
    directory
}

/// One whose disk gives nothing back.
async fn leave_unreadable(journals: &Path) {
    let segment = leave(journals, &[record()]).await.join("00000000000000000001.segment");
    fs::remove_file(&segment).unwrap();
    fs::create_dir(&segment).unwrap();
}

fn calls(number: usize, at: Timestamp) -> Vec<CallRecord> {
    let call = || CallRecord { id: Uuid::now_v7(), at, counted: Some(counted(at, SOURCE, "render-api:restart")), ..record() };
    (0..number).map(|_| call()).collect()
}

/// Of so many calls at once, how many pass.
async fn crowd(house: &House, size: usize) -> usize {
    let replies = join_all((0..size).map(|_| house.call(SOURCE).to("render-api").send())).await;
    replies.iter().filter(|reply| reply.status == 200).count()
}

async fn what_operators_said_waits_for_no_journal(database: Database) {
    let house = House::plan().on(database).open().await;
    let secret = "a key that lies in the database";
    let key = key("kept", secret);
    house.store.insert_key(&key, &audited()).await.unwrap();
    let closed = house.close().await;
    for _ in 0..3 {
        leave_unreadable(&closed.state().join("journal")).await;
    }
    let begun = Instant::now();
    let house = House::plan().in_place_of(&closed).open().await;
    let call = house.call("gemini-chat").without("x-eliza-key").header("x-eliza-key", secret);
    call.to("agent-manager").action("list_agents").send().await.expect(200);
    assert!(begun.elapsed().as_secs() < 5, "it took {:?} to start", begun.elapsed());
}

#[tokio::test]
async fn what_waits_is_seen_and_bounded_also_without_a_database() {
    let closed = House::open().await.close().await;
    leave(&closed.state().join("journal"), &calls(5, Clock::system().now())).await;
    let house = House::plan().in_place_of(&closed).variable("DATABASE_URL", "postgres://nobody@127.0.0.1:9/nothing").open().await;
    let standing = house.gatekeeper.pipeline.recorder.journal().standing();
    assert_eq!((standing.orphans, standing.waiting), (1, 5));
    assert!(standing.bytes > 5 * 200, "{standing:?}");
    let metrics = house.metrics().await;
    assert!(metrics.contains("gatekeeper_records_waiting 5\n") && metrics.contains("gatekeeper_journal_adopted 1\n"), "{metrics}");
    house.close().await;
    // And not lost on the way.
    let house = House::plan().in_place_of(&closed).open().await;
    eventually("it is carried over", || async { house.records().await.len() == 5 }).await;
}

async fn what_was_counted_counts_on_also_where_it_is_late(database: Database) {
    let clock = ManualClock::at(midnight());
    let closed = House::plan().on(database).at(&clock).open().await.close().await;
    let journals = closed.state().join("journal");
    leave(&journals, &calls(30, midnight())).await;
    let house = House::plan().at(&clock).in_place_of(&closed).open().await;
    assert_eq!(crowd(&house, 10).await, 10);
    let closed = house.close().await;
    // It is behind one that takes as long as a start waits.
    leave_unreadable(&journals).await;
    leave(&journals, &calls(40, midnight())).await;
    let house = House::plan().at(&clock).in_place_of(&closed).open().await;
    eventually("it is carried over", || async { house.gatekeeper.pipeline.recorder.journal().standing().orphans == 1 }).await;
    assert_eq!(crowd(&house, 100).await, 20);
}

/// Another that runs beside this one has counts of its own, and may have told them when it went.
async fn what_ends_beside_it_is_carried_over_and_not_counted(database: Database) {
    let clock = ManualClock::at(midnight());
    let house = House::plan().on(database).at(&clock).open().await;
    leave(&house.state().join("journal"), &calls(70, midnight())).await;
    soon("it is carried over", Duration::from_secs(60), Duration::from_millis(100), || async { house.records().await.len() == 70 }).await;
    assert_eq!(crowd(&house, 101).await, 100);
}

async fn what_is_carried_over_twice_counts_once(database: Database) {
    let clock = ManualClock::at(midnight());
    let closed = House::plan().on(database).at(&clock).open().await.close().await;
    let directory = leave(&closed.state().join("journal"), &calls(70, midnight())).await;
    let copy = closed.state().join("copy");
    fs::create_dir(&copy).unwrap();
    let files = || fs::read_dir(&directory).unwrap().map(|file| file.unwrap().file_name());
    for name in files() {
        fs::copy(directory.join(&name), copy.join(&name)).unwrap();
    }
    let closed = House::plan().at(&clock).in_place_of(&closed).open().await.close().await;
    assert!(!directory.exists(), "it is carried over");
    // As if the machine had gone down before it was noted how far it was.
    fs::rename(&copy, &directory).unwrap();
    let house = House::plan().at(&clock).in_place_of(&closed).open().await;
    assert!(!directory.exists(), "and over again");
    assert_eq!(crowd(&house, 100).await, 30);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_that_fails_leaves_nothing_behind() {
    let program = Program::new();
    let state = program.folder().join("state").display().to_string();
    let database = format!("sqlite://{}", program.folder().join("calls.db").display());
    let program = program.variable("GATEKEEPER_STATE", &state).variable("DATABASE_URL", &database);
    let fails = async |program: &Program, why: &str| {
        let ran = program.run(&["serve"]).await.expect(78);
        assert!(ran.err.contains(why), "{ran:#?}");
        assert_eq!(fs::read_dir(format!("{state}/journal")).unwrap().count(), 0, "{ran:#?}");
    };
    fails(&program.clone().variable("GATEKEEPER_MIGRATE", "false"), "the database lacks migrations").await;
    fs::write(format!("{state}/audit.key"), "no key").unwrap();
    fails(&program, "audit.key").await;
}
