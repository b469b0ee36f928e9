//! What dead processes left is taken over: all of it, once, by one of the living, however they died.

use std::collections::BTreeSet;
use std::fs::OpenOptions;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::FileExt;
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::time::Instant;

use super::*;

const JOURNALS: &str = "JOURNAL_TEST_DIRECTORY";

/// This very program, as another process that appends until it is killed, and prints each number it was told.
fn child(journals: &Path) -> Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "journal::adoption::appends_until_it_is_killed", "--ignored", "--nocapture"]);
    command.env(JOURNALS, journals).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap()
}

#[test]
#[ignore = "the other process of the tests here"]
fn appends_until_it_is_killed() {
    let journals = PathBuf::from(std::env::var_os(JOURNALS).expect("only as a child"));
    let (journal, _reader) = bounded(&journals, 16 * 1024 * KIB);
    let mut out = std::io::stdout().lock();
    loop {
        let number = journal.standing_number() + 1;
        match journal.append(Class::Ordinary, &payload(number)) {
            Ok(ticket) => writeln!(out, "\ntold {}", ticket.number).unwrap(),
            Err(Refused::Full) => return,
            Err(refused) => panic!("{refused}"),
        }
    }
}

/// Kills it after so many lines, and gives the last number that it was told.
fn killed_after(mut child: Child, lines: usize) -> u64 {
    let mut out = BufReader::new(child.stdout.take().unwrap()).lines();
    let told = |line: std::io::Result<String>| line.ok()?.strip_prefix("told ")?.parse().ok();
    let first: Option<u64> = out.by_ref().filter_map(told).take(lines).last();
    child.kill().unwrap();
    child.wait().unwrap();
    // And what it wrote before it noticed.
    out.filter_map(told).last().or(first).expect("it appends")
}

#[tokio::test]
async fn killed_at_any_moment_a_process_loses_nothing_that_it_was_told() {
    let directory = TempDir::new().unwrap();
    for lines in [1, 7, 50, 333, 1000, 4000] {
        let told = killed_after(child(directory.path()), lines);
        let (journal, reader) = open(directory.path());
        let mut orphans = adopted(&journal, 1).await;
        let (entries, lost) = drain(&mut orphans[0]).await;
        let kept = entries.len() as u64;
        assert!(kept >= told, "{kept} of {told}");
        assert!(entries.into_iter().zip(1..).all(|((number, bytes), expected)| number == expected && bytes == payload(expected)));
        // The one that it was writing.
        assert!(lost.iter().all(|lost| (lost.first, lost.last) == (kept + 1, kept + 1) && matches!(lost.why, Why::Torn(_))), "{lost:?}");
        orphans.remove(0).leave().await.unwrap();
        journal.close();
        reader.leave().await.unwrap();
    }
}

#[tokio::test]
async fn nobody_takes_the_journal_of_a_process_that_lives() {
    let directory = TempDir::new().unwrap();
    let mut child = child(directory.path());
    let mut out = BufReader::new(child.stdout.take().unwrap()).lines();
    out.find(|line| line.as_ref().unwrap().starts_with("told")).unwrap().unwrap();
    let (journal, _reader) = open(directory.path());
    let (_other, _others) = open(directory.path());
    assert!(journal.adopt().unwrap().is_empty(), "neither another process's nor one of this one's");
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(journal.adopt().unwrap().len(), 1);
}

#[tokio::test]
async fn what_is_written_is_not_read_again_and_what_was_only_read_is() {
    let directory = TempDir::new().unwrap();
    let (journal, mut reader) = bounded(directory.path(), 1024 * KIB);
    append(&journal, 1000);
    let written = reader.next(600, 1 << 20).await.unwrap();
    let _read = reader.next(100, 1 << 20).await.unwrap();
    reader.written(&written);
    reader.leave().await.unwrap();
    drop(journal);
    let (journal, _reader) = open(directory.path());
    let mut orphan = adopted(&journal, 1).await.remove(0);
    let (entries, lost) = drain(&mut orphan).await;
    assert_eq!((entries.into_keys().collect::<Vec<_>>(), lost), ((601..=1000).collect(), vec![]));
}

#[tokio::test]
async fn numbers_shed_at_the_end_are_named_after_a_crash_too() {
    let directory = TempDir::new().unwrap();
    let (journal, reader) = open(directory.path());
    append(&journal, 1);
    assert_eq!([(); 5].map(|()| journal.lose()), [2, 3, 4, 5, 6]);
    let cursor = journal_directory(directory.path()).join("cursor");
    eventually("it is noted", || async { fs::read(&cursor).unwrap()[72] == 6 }).await;
    drop((journal, reader));
    let (journal, _reader) = open(directory.path());
    let mut orphan = adopted(&journal, 1).await.remove(0);
    let (entries, lost) = drain(&mut orphan).await;
    assert_eq!(entries.len(), 1);
    assert_eq!(lost, [Lost { instance: orphan.instance(), first: 2, last: 6, why: Why::Shed }]);
}

#[tokio::test]
async fn the_journal_of_a_later_program_is_left_alone() {
    let directory = TempDir::new().unwrap();
    let (journal, reader) = open(directory.path());
    append(&journal, 3);
    let segment = segments(&journal_directory(directory.path())).remove(0);
    drop((journal, reader));
    let mut header = fs::read(&segment).unwrap();
    header[8] = 2;
    let check = crc32fast::hash(&header[..44]);
    header[44..48].copy_from_slice(&check.to_le_bytes());
    OpenOptions::new().write(true).open(&segment).unwrap().write_all_at(&header[..48], 0).unwrap();
    let (journal, _reader) = open(directory.path());
    let end = Instant::now() + Duration::from_millis(200);
    while Instant::now() < end {
        assert!(journal.adopt().unwrap().is_empty());
        tokio::task::yield_now().await;
    }
    assert_eq!(fs::read(&segment).unwrap(), header, "and not touched");
    let trouble = journal.standing().trouble.unwrap();
    assert!(trouble.contains("later program (version 2)"), "{trouble}");
}

#[tokio::test]
async fn an_empty_one_comes_out_so_that_its_end_can_be_told_and_one_that_was_being_made_is_cleared_away() {
    let directory = TempDir::new().unwrap();
    drop(open(directory.path()));
    fs::create_dir(directory.path().join("01900000-0000-7000-8000-000000000000")).unwrap();
    fs::create_dir(directory.path().join("no journal")).unwrap();
    let (journal, _reader) = open(directory.path());
    let mut orphan = adopted(&journal, 1).await.remove(0);
    assert_eq!((orphan.has_more(), orphan.through()), (false, 0));
    assert!(orphan.next(9, KIB as usize).await.is_none());
    orphan.leave().await.unwrap();
    assert_eq!(directories(directory.path()).len(), 2, "only the living is left, and what is none of ours");
}

#[tokio::test]
async fn how_much_dead_processes_left_and_since_when_is_known_before_it_is_read() {
    let directory = TempDir::new().unwrap();
    let clock = ManualClock::at(Timestamp::from_secs(100));
    let (dead, mut reader) = Journal::open(directory.path(), Limits::default(), Syncing::Os, Clock::Manual(clock.clone())).unwrap();
    for _ in 0..10 {
        append(&dead, 1);
        clock.advance(Duration::from_secs(1));
    }
    next_of(&mut reader, 4, 1 << 20).await;
    let cursor = journal_directory(directory.path()).join("cursor");
    eventually("it is kept how far it is", || async { fs::read(&cursor).unwrap()[16] == 4 }).await;
    let bytes = dead.standing().bytes;
    drop((dead, reader));
    let (journal, _reader) = Journal::open(directory.path(), Limits::default(), Syncing::Os, Clock::Manual(clock)).unwrap();
    append(&journal, 1);
    let mut orphan = adopted(&journal, 1).await.remove(0);
    let standing = journal.standing();
    assert_eq!((standing.waiting, standing.waiting_in_orphans, standing.orphans), (7, 6, 1));
    assert_eq!(standing.oldest_unwritten, Some(Timestamp::from_secs(104)));
    assert!(standing.bytes > bytes);
    next_of(&mut orphan, 3, 1 << 20).await;
    let standing = journal.standing();
    assert_eq!((standing.waiting_in_orphans, standing.oldest_unwritten), (3, Some(Timestamp::from_secs(106))));
    drain(&mut orphan).await;
    orphan.leave().await.unwrap();
    let standing = journal.standing();
    assert_eq!((standing.waiting, standing.oldest_unwritten, standing.orphans), (1, Some(Timestamp::from_secs(110)), 0));
}

#[tokio::test(start_paused = true)]
async fn a_segment_that_cannot_be_read_keeps_no_other_from_being_taken_over() {
    let directory = TempDir::new().unwrap();
    let (dead, reader) = bounded(directory.path(), 256 * KIB);
    let own = journal_directory(directory.path());
    while segments(&own).len() < 4 {
        append(&dead, 1);
        tokio::task::yield_now().await;
    }
    let all = dead.standing().waiting;
    let file = segments(&own).remove(1);
    drop((dead, reader));
    let kept = file.with_extension("kept");
    fs::rename(&file, &kept).unwrap();
    fs::create_dir(&file).unwrap();
    let (journal, _reader) = open(directory.path());
    let mut orphan = adopted(&journal, 1).await.remove(0);
    let first = next(&mut orphan).await;
    timeout(Duration::from_secs(600), orphan.next(1000, 1 << 20)).await.expect_err("the disk may come back");
    assert!(journal.standing().trouble.unwrap().contains(&file.display().to_string()));
    // Somebody has looked, and gives it up.
    fs::remove_dir(&file).unwrap();
    let (rest, lost) = drain(&mut orphan).await;
    let [Lost { first: from, last: to, why: Why::Damaged(_), .. }] = lost.as_slice() else { panic!("{lost:?}") };
    assert_eq!((numbers(&first).last().copied(), rest.keys().next().copied()), (Some(from - 1), Some(to + 1)));
    assert_eq!(rest.keys().last().copied(), Some(all));
    assert_eq!(journal.standing().trouble, None);
}

#[tokio::test]
async fn what_cannot_be_adopted_is_told_until_it_can() {
    let directory = TempDir::new().unwrap();
    let (dead, reader) = open(directory.path());
    append(&dead, 3);
    drop((dead, reader));
    let cursor = journal_directory(directory.path()).join("cursor");
    let away = cursor.with_extension("away");
    fs::rename(&cursor, &away).unwrap();
    fs::create_dir(&cursor).unwrap();
    let (journal, _reader) = open(directory.path());
    assert!(journal.adopt().unwrap().is_empty());
    let trouble = journal.standing().trouble.unwrap();
    assert!(trouble.contains(&cursor.parent().unwrap().display().to_string()) && trouble.contains("cannot be adopted"), "{trouble}");
    assert!(journal.has_room(Class::Ordinary, 0), "calls have nothing to do with it");
    fs::remove_dir(&cursor).unwrap();
    fs::rename(&away, &cursor).unwrap();
    assert_eq!(adopted(&journal, 1).await.len(), 1);
    assert_eq!(journal.standing().trouble, None);
}

/// Processes that come and go at once, all adopting from each other: nothing is lost, nothing comes twice.
#[test]
fn however_many_come_and_go_each_entry_comes_out_once() {
    const COMING: usize = 4;
    const ROUNDS: u64 = 15;
    let directory = TempDir::new().unwrap();
    let appended = Mutex::new(BTreeSet::new());
    let seen = Mutex::new(Vec::new());
    let come_and_go = || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        for round in 0..ROUNDS {
            let (journal, reader) = open(directory.path());
            append(&journal, round % 4);
            appended.lock().unwrap().extend((1..=round % 4).map(|number| (journal.instance(), number)));
            for mut orphan in journal.adopt().unwrap() {
                runtime.block_on(async {
                    let (entries, lost) = drain(&mut orphan).await;
                    assert_eq!(lost, []);
                    seen.lock().unwrap().extend(entries.into_keys().map(|number| (orphan.instance(), number)));
                    orphan.leave().await.unwrap();
                });
            }
            drop((journal, reader));
        }
    };
    std::thread::scope(|scope| (0..COMING).for_each(|_| drop(scope.spawn(come_and_go))));
    // What the last ones left.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (journal, _reader) = open(directory.path());
    runtime.block_on(eventually("all are adopted", || async {
        for mut orphan in journal.adopt().unwrap() {
            let (entries, _) = drain(&mut orphan).await;
            seen.lock().unwrap().extend(entries.into_keys().map(|number| (orphan.instance(), number)));
            orphan.leave().await.unwrap();
        }
        directories(directory.path()).len() == 1
    }));
    let mut seen = seen.into_inner().unwrap();
    seen.sort_unstable();
    assert_eq!(seen, appended.into_inner().unwrap().into_iter().collect::<Vec<_>>());
}

/// The only instance there.
fn journal_directory(journals: &Path) -> PathBuf {
    let mut all = directories(journals);
    assert_eq!(all.len(), 1, "{all:?}");
    all.remove(0)
}
