//! Promises: what is appended comes out, each entry once, in order, with the number its caller was told, whatever happens to the process;
//! numbers that do not come are named, with the reason; what is written to the database makes room, and what is not is kept; a full journal or
//! disk says so and goes on by itself; nobody else may read it.

mod adoption;
mod damage;
mod room;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use eliza_gatekeeper::clock::{Clock, ManualClock, Timestamp};
use eliza_gatekeeper::journal::{Batch, Class, Journal, Limits, Lost, PAYLOAD_LIMIT, Reader, Refused, Syncing, Why};
use tempfile::TempDir;
use tokio::time::timeout;

use crate::support::house::eventually;

const KIB: u64 = 1024;
const PATIENCE: Duration = Duration::from_secs(30);

fn open(journals: &Path) -> (Journal, Reader) {
    bounded(journals, 64 * 1024 * KIB)
}

fn bounded(journals: &Path, bytes: u64) -> (Journal, Reader) {
    Journal::open(journals, Limits { bytes }, Syncing::Os, Clock::system()).unwrap()
}

/// Of any length up to a few hundred bytes, and different for each number.
fn payload(number: u64) -> Vec<u8> {
    format!("entry {number} ").into_bytes().repeat(usize::try_from(number * 7 % 30).unwrap())
}

fn append(journal: &Journal, entries: u64) {
    for _ in 0..entries {
        let next = journal.standing_number() + 1;
        assert_eq!(journal.append(Class::Ordinary, &payload(next)).unwrap().number, next);
    }
}

trait Numbers {
    fn standing_number(&self) -> u64;
}

impl Numbers for Journal {
    /// The last number, as long as nothing is written.
    fn standing_number(&self) -> u64 {
        self.standing().waiting
    }
}

async fn next(reader: &mut Reader) -> Batch {
    next_of(reader, 1000, 1 << 20).await
}

/// No more than that; and it is written.
async fn next_of(reader: &mut Reader, entries: usize, bytes: usize) -> Batch {
    let batch = timeout(PATIENCE, reader.next(entries, bytes)).await.expect("something to read").expect("a journal that goes on");
    reader.written(&batch);
    batch
}

fn numbers(batch: &Batch) -> Vec<u64> {
    batch.entries.iter().map(|entry| entry.number).collect()
}

/// What a reader has to give until its journal ends, written as it comes.
async fn drain(reader: &mut Reader) -> (BTreeMap<u64, Vec<u8>>, Vec<Lost>) {
    let (mut entries, mut lost) = (BTreeMap::new(), Vec::new());
    while let Some(batch) = timeout(PATIENCE, reader.next(100, 1 << 16)).await.expect("it ends") {
        for entry in &batch.entries {
            assert!(entries.insert(entry.number, entry.payload.to_vec()).is_none(), "{} comes twice", entry.number);
        }
        lost.extend(batch.lost.iter().cloned());
        reader.written(&batch);
    }
    (entries, lost)
}

/// The journals of the dead, once there are so many: a thread may hold one for a moment longer.
async fn adopted(journal: &Journal, count: usize) -> Vec<Reader> {
    let mut readers = Vec::new();
    let end = tokio::time::Instant::now() + PATIENCE;
    while readers.len() < count {
        readers.extend(journal.adopt().unwrap());
        assert!(tokio::time::Instant::now() < end, "{} of {count} journals", readers.len());
        tokio::task::yield_now().await;
    }
    readers
}

fn directories(journals: &Path) -> Vec<PathBuf> {
    fs::read_dir(journals).unwrap().map(|entry| entry.unwrap().path()).collect()
}

fn segments(directory: &Path) -> Vec<PathBuf> {
    let mut files: Vec<_> =
        directories(directory).into_iter().filter(|path| path.extension().is_some_and(|end| end == "segment")).collect();
    files.sort();
    files
}

#[tokio::test]
async fn what_is_appended_is_read_in_order_once_and_as_it_was() {
    let directory = TempDir::new().unwrap();
    let clock = ManualClock::at(Timestamp::from_secs(100));
    let (journal, mut reader) = Journal::open(directory.path(), Limits::default(), Syncing::Os, Clock::Manual(clock.clone())).unwrap();
    assert_eq!(journal.append(Class::Ordinary, b"one").unwrap().number, 1);
    clock.advance(Duration::from_secs(1));
    assert_eq!(journal.append(Class::Stranger, b"").unwrap().number, 2);
    let batch = next(&mut reader).await;
    let seen: Vec<_> = batch.entries.iter().map(|entry| (entry.number, entry.at.as_secs(), entry.class, &entry.payload[..])).collect();
    assert_eq!(seen, [(1, 100, Class::Ordinary, &b"one"[..]), (2, 101, Class::Stranger, b"")]);
    assert!(batch.lost.is_empty());
    journal.append(Class::Ordinary, b"three").unwrap();
    // Whoever was to write it may have been stopped: it comes again, for as long as nobody says that it is written.
    for _ in 0..3 {
        assert_eq!(numbers(&reader.next(1, KIB as usize).await.unwrap()), [3]);
    }
    next(&mut reader).await;
    journal.append(Class::Ordinary, b"four").unwrap();
    assert_eq!(numbers(&next(&mut reader).await), [4]);
}

#[tokio::test]
async fn a_batch_keeps_to_its_bounds_but_never_stands_still() {
    let directory = TempDir::new().unwrap();
    let (journal, mut reader) = open(directory.path());
    for length in [100, 100, 100, 5000, 100] {
        journal.append(Class::Ordinary, &vec![7; length]).unwrap();
    }
    assert_eq!(numbers(&next_of(&mut reader, 2, 1 << 20).await), [1, 2]);
    assert_eq!(numbers(&next_of(&mut reader, 10, 1000).await), [3]);
    assert_eq!(numbers(&next_of(&mut reader, 10, 1000).await), [4], "longer than asked for, and yet it comes");
    assert_eq!(numbers(&next_of(&mut reader, 0, 0).await), [5]);
}

#[tokio::test]
async fn the_longest_entry_passes_and_a_longer_one_is_refused() {
    let directory = TempDir::new().unwrap();
    let (journal, mut reader) = open(directory.path());
    assert_eq!(journal.append(Class::Ordinary, &vec![1; PAYLOAD_LIMIT + 1]).unwrap_err(), Refused::TooLong);
    journal.append(Class::Ordinary, &vec![1; PAYLOAD_LIMIT]).unwrap();
    let batch = next(&mut reader).await;
    assert_eq!((batch.entries[0].number, batch.entries[0].payload.len()), (1, PAYLOAD_LIMIT));
}

#[tokio::test]
async fn a_reader_wakes_when_something_comes_and_takes_nothing_when_it_gives_up_waiting() {
    let directory = TempDir::new().unwrap();
    let (journal, mut reader) = open(directory.path());
    for round in 1..=50 {
        // Given up at any stage of its waiting.
        for _ in 0..round % 5 {
            tokio::select! {
                biased;
                batch = reader.next(10, 1000) => panic!("{batch:?} out of nothing"),
                () = tokio::task::yield_now() => {}
            }
        }
        let late = journal.clone();
        let appended = tokio::spawn(async move { late.append(Class::Ordinary, b"late").unwrap().number });
        let batch = loop {
            tokio::select! {
                biased;
                batch = reader.next(10, 1000) => break batch.unwrap(),
                () = tokio::task::yield_now() => {}
            }
        };
        reader.written(&batch);
        assert_eq!(numbers(&batch), [round]);
        assert_eq!(appended.await.unwrap(), round);
    }
}

#[tokio::test]
async fn what_is_written_makes_room_and_what_is_not_waits() {
    let directory = TempDir::new().unwrap();
    let clock = ManualClock::at(Timestamp::from_secs(100));
    let (journal, mut reader) =
        Journal::open(directory.path(), Limits { bytes: 1024 * KIB }, Syncing::Os, Clock::Manual(clock.clone())).unwrap();
    assert_eq!((journal.standing().waiting, journal.standing().oldest_unwritten), (0, None));
    for _ in 0..200 {
        journal.append(Class::Ordinary, &[1; 1000]).unwrap();
        clock.advance(Duration::from_secs(1));
    }
    let full = journal.standing();
    assert!(full.bytes > 200 * 1000 && full.bytes < 210 * 1030, "{full:?}");
    assert_eq!((full.waiting, full.oldest_unwritten), (200, Some(Timestamp::from_secs(100))));
    reader.next(100, 1 << 20).await.unwrap();
    assert_eq!(journal.standing().waiting, 200, "what is only read waits");
    next_of(&mut reader, 150, 1 << 20).await;
    let half = journal.standing();
    assert_eq!((half.waiting, half.oldest_unwritten), (50, Some(Timestamp::from_secs(250))));
    next(&mut reader).await;
    assert_eq!((journal.standing().waiting, journal.standing().oldest_unwritten), (0, None));
    // What is not kept waits to be written down as well.
    clock.advance(Duration::from_secs(1000));
    journal.lose();
    assert_eq!((journal.standing().waiting, journal.standing().oldest_unwritten), (1, Some(Timestamp::from_secs(1300))));
    next(&mut reader).await;
    let end = tokio::time::Instant::now() + PATIENCE;
    while journal.standing().bytes > 64 * KIB {
        assert!(tokio::time::Instant::now() < end, "{:?}", journal.standing());
        // A reader that waits lets go of what it has read.
        let waited = timeout(Duration::from_millis(1), reader.next(1, 1)).await;
        assert!(waited.is_err(), "{waited:?}");
    }
    eventually("the files too", || async { segments(&directories(directory.path())[0]).len() <= 2 }).await;
    assert_eq!(journal.standing().trouble, None);
}

#[tokio::test]
async fn what_is_not_kept_leaves_a_number_that_is_named() {
    let directory = TempDir::new().unwrap();
    let (journal, mut reader) = open(directory.path());
    let shed = |first, last| Lost { instance: journal.instance(), first, last, why: Why::Shed };
    append(&journal, 2);
    assert_eq!([journal.lose(), journal.lose()], [3, 4]);
    append(&journal, 1);
    let batch = next(&mut reader).await;
    assert_eq!((numbers(&batch), batch.lost.clone()), (vec![1, 2, 5], vec![shed(3, 4)]));
    // Also when nothing comes after it.
    journal.lose();
    let batch = next(&mut reader).await;
    assert_eq!((numbers(&batch), batch.lost.clone(), batch.through()), (vec![], vec![shed(6, 6)], 6));
}

#[tokio::test]
async fn it_is_nobody_elses_to_read() {
    let directory = TempDir::new().unwrap();
    let journals = directory.path().join("state/journal");
    let (journal, _reader) = open(&journals);
    append(&journal, 1);
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let own = journals.join(journal.instance().to_string());
    eventually("a segment is made ahead", || async { segments(&own).len() == 2 }).await;
    assert_eq!((mode(&journals), mode(&own)), (0o700, 0o700));
    for file in directories(&own) {
        assert_eq!(mode(&file), 0o600, "{}", file.display());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn everybody_who_waits_for_the_disk_is_served() {
    let directory = TempDir::new().unwrap();
    for syncing in [Syncing::Os, Syncing::Interval(Duration::from_millis(5)), Syncing::Always] {
        let (journal, mut reader) = Journal::open(directory.path(), Limits::default(), syncing, Clock::system()).unwrap();
        let waiters = (0..64).map(|_| {
            let journal = journal.clone();
            tokio::spawn(async move {
                for _ in 0..20 {
                    let ticket = journal.append(Class::Ordinary, b"kept").unwrap();
                    timeout(PATIENCE, ticket.durable.wait()).await.expect("the disk answers").unwrap();
                }
            })
        });
        for waiter in waiters.collect::<Vec<_>>() {
            waiter.await.unwrap();
        }
        // One whose journal is closed meanwhile too.
        let last = journal.append(Class::Ordinary, b"last").unwrap();
        journal.close();
        timeout(PATIENCE, last.durable.wait()).await.expect("the disk answers").unwrap();
        let (entries, lost) = drain(&mut reader).await;
        assert_eq!((entries.len(), lost), (64 * 20 + 1, vec![]));
    }
}

#[tokio::test]
async fn closed_read_and_written_it_leaves_nothing_behind() {
    let directory = TempDir::new().unwrap();
    let (journal, mut reader) = bounded(directory.path(), 1024 * KIB);
    append(&journal, 500);
    journal.lose();
    journal.close();
    assert_eq!(journal.append(Class::Ordinary, b"late").unwrap_err(), Refused::Closed);
    let (entries, lost) = drain(&mut reader).await;
    assert_eq!((entries.len(), lost.len()), (500, 1));
    reader.leave().await.unwrap();
    assert_eq!(directories(directory.path()), Vec::<PathBuf>::new());
    assert_eq!(journal.standing().bytes, 0);
}
