//! A full journal and a full disk: what does not fit is refused and nothing else; once there is room, it goes on by itself.

use std::process::{Command, Stdio};

use super::*;
use crate::support::disk::{BOUNDED_FILES, Mounted};

/// Appends until it is refused.
fn fill(journal: &Journal, class: Class) -> (u64, Refused) {
    for appended in 0..1_000_000 {
        if let Err(refused) = journal.append(class, &[1; 1000]) {
            return (appended, refused);
        }
    }
    panic!("it is never full");
}

#[tokio::test]
async fn it_never_outgrows_its_bound_and_strangers_never_get_the_last_fifth() {
    let directory = TempDir::new().unwrap();
    let bound = 1024 * KIB;
    let (journal, mut reader) = bounded(directory.path(), bound);
    let (strangers, refused) = fill(&journal, Class::Stranger);
    assert_eq!(refused, Refused::Full);
    let used = journal.standing().bytes;
    assert!(used <= bound / 5 * 4 && used + 1100 > bound / 5 * 4, "{used}");
    let (ordinary, refused) = fill(&journal, Class::Ordinary);
    assert_eq!(refused, Refused::Full);
    let used = journal.standing().bytes;
    assert!(used <= bound && used + 1100 > bound, "{used}");
    assert!(ordinary.abs_diff(strangers / 4) <= 2, "{ordinary}, {strangers}");
    let on_disk: u64 = segments(&directories(directory.path())[0]).iter().map(|file| fs::metadata(file).unwrap().len()).sum();
    assert_eq!(on_disk, used);
    // Everything that was taken is there, and with it written there is room again.
    journal.close();
    let (entries, lost) = drain(&mut reader).await;
    assert_eq!((entries.len() as u64, lost), (strangers + ordinary, vec![]));
}

#[tokio::test]
async fn full_it_goes_on_once_something_is_written() {
    let directory = TempDir::new().unwrap();
    let (journal, mut reader) = bounded(directory.path(), 256 * KIB);
    for _ in 0..3 {
        fill(&journal, Class::Ordinary);
        let end = tokio::time::Instant::now() + PATIENCE;
        // One segment may have grown beyond its time; the call that finds the journal full sees to it that it can be let go of.
        while journal.append(Class::Ordinary, &[1; 1000]).is_err() || journal.standing().bytes > 64 * KIB {
            assert!(tokio::time::Instant::now() < end, "{:?}", journal.standing());
            if let Ok(batch) = timeout(Duration::from_millis(1), reader.next(100, 1 << 16)).await {
                reader.written(&batch.unwrap());
            }
        }
    }
    assert_eq!(journal.standing().trouble, None);
}

#[tokio::test]
async fn what_dead_processes_left_counts_until_it_is_written() {
    let directory = TempDir::new().unwrap();
    drop({
        let (journal, reader) = bounded(directory.path(), 256 * KIB);
        fill(&journal, Class::Ordinary);
        (journal, reader)
    });
    let (journal, _reader) = bounded(directory.path(), 256 * KIB);
    let mut orphan = adopted(&journal, 1).await.remove(0);
    assert_eq!(journal.append(Class::Ordinary, &[1; 1000]).unwrap_err(), Refused::Full);
    assert_eq!(journal.standing().orphans, 1);
    drain(&mut orphan).await;
    orphan.leave().await.unwrap();
    assert_eq!((journal.standing().bytes, journal.standing().orphans), (0, 0));
    journal.append(Class::Ordinary, &[1; 1000]).unwrap();
}

/// As above, but the disk has less room than the journal may take. Needs a file system of its own, so it asks for one; where that is not
/// given, a bound on the length of files stands in for it below.
#[tokio::test]
async fn a_full_disk_is_said_and_is_over_when_it_is_over() {
    let directory = TempDir::new().unwrap();
    let Some(_mounted) = Mounted::at(directory.path()) else { return };
    let journals = directory.path().join("journal");
    let (journal, mut reader) = open(&journals);
    let ballast = directory.path().join("ballast");
    fs::write(&ballast, vec![0; 512 * 1024]).unwrap();
    let (before, refused) = fill(&journal, Class::Ordinary);
    assert_eq!(refused, Refused::Trouble);
    let trouble = journal.standing().trouble.unwrap();
    assert!(trouble.contains(&journals.display().to_string()) && trouble.contains("No space"), "{trouble}");
    // Somebody tidies up.
    fs::remove_file(&ballast).unwrap();
    let (after, refused) = fill(&journal, Class::Ordinary);
    assert!(after > 400, "{after}");
    assert_eq!(refused, Refused::Trouble);
    // Or the database comes back.
    let mut seen = Vec::new();
    while (seen.len() as u64) < before + after {
        let batch = next(&mut reader).await;
        assert_eq!(batch.lost, []);
        seen.extend(numbers(&batch));
    }
    assert_eq!(seen, (1..=before + after).collect::<Vec<_>>());
    eventually("it works again", || async { journal.append(Class::Ordinary, &[1; 1000]).is_ok() && journal.standing().trouble.is_none() })
        .await;
    let number = journal.append(Class::Ordinary, b"at last").unwrap().number;
    // And whoever adopts it finds nothing in the way.
    reader.leave().await.unwrap();
    drop(journal);
    let (journal, _reader) = open(&journals);
    let mut orphan = adopted(&journal, 1).await.remove(0);
    let (entries, lost) = drain(&mut orphan).await;
    assert_eq!((entries.into_keys().collect::<Vec<_>>(), lost), ((before + after + 1..=number).collect(), vec![]));
    drop((journal, orphan));
}

const JOURNALS: &str = "JOURNAL_TEST_BOUNDED";

#[tokio::test]
#[ignore = "the process with bounded files of the test below"]
async fn with_bounded_files() {
    let journals = PathBuf::from(std::env::var_os(JOURNALS).expect("only as a child"));
    let (journal, mut reader) = open(&journals);
    let (before, refused) = fill(&journal, Class::Ordinary);
    assert_eq!(refused, Refused::Trouble);
    assert!(journal.standing().trouble.is_some());
    // The next file can be written again.
    eventually("it goes on", || async { journal.append(Class::Ordinary, &[2; 1000]).is_ok() }).await;
    assert_eq!(journal.standing().trouble, None);
    let batch = reader.next(1000, 1 << 20).await.unwrap();
    assert_eq!((numbers(&batch), batch.lost), ((1..=before + 1).collect(), vec![]));
    println!("\nappended {}", before + 1);
}

#[tokio::test]
async fn a_disk_that_takes_half_an_entry_does_no_harm_to_the_next() {
    let directory = TempDir::new().unwrap();
    let child = Command::new("sh")
        .args(BOUNDED_FILES)
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "journal::room::with_bounded_files", "--ignored", "--nocapture"])
        .env(JOURNALS, directory.path())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let out = String::from_utf8_lossy(&child.stdout);
    assert!(child.status.success(), "{out}{}", String::from_utf8_lossy(&child.stderr));
    let appended: usize = out.lines().find_map(|line| line.strip_prefix("appended ")?.parse().ok()).unwrap();
    let (journal, _reader) = open(directory.path());
    let mut orphan = adopted(&journal, 1).await.remove(0);
    let (entries, lost) = drain(&mut orphan).await;
    assert_eq!((entries.len(), lost), (appended, vec![]));
}
