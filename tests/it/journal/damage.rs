//! Whatever happens to the bytes, every entry that is whole is read as it was, none that was not appended, and what is missing is named.

use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::LazyLock;

use eliza_gatekeeper::journal::{self, Found, Medium, Scan, SegmentId, Spot};
use proptest::prelude::*;
use uuid::Uuid;

use super::*;
use crate::invariants;

const ENTRIES: u64 = 60;

/// A journal in one segment, and where its entries end.
struct Sample {
    instance: Uuid,
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

static SAMPLE: LazyLock<Sample> = LazyLock::new(|| {
    let directory = TempDir::new().unwrap();
    let (journal, _reader) = open(directory.path());
    let file = segments(&directory.path().join(journal.instance().to_string())).remove(0);
    let length = || usize::try_from(fs::metadata(&file).unwrap().len()).unwrap();
    let mut ends = vec![48];
    for _ in 0..ENTRIES {
        append(&journal, 1);
        ends.push(length());
    }
    Sample { instance: journal.instance(), bytes: fs::read(&file).unwrap(), ends }
});

impl Sample {
    /// The numbers that these bytes still give.
    fn read(&self, bytes: &[u8]) -> Vec<u64> {
        invariants::journal_segment(bytes, self.instance, SegmentId(1), &|entry| {
            entry.number <= ENTRIES && entry.payload == payload(entry.number)
        })
    }

    /// The numbers whose bytes lie wholly outside of these.
    fn outside(&self, from: usize, to: usize) -> Vec<u64> {
        (1..=ENTRIES).filter(|number| self.end(*number) <= from || self.end(number - 1) >= to).collect()
    }

    fn end(&self, number: u64) -> usize {
        self.ends[usize::try_from(number).unwrap()]
    }
}

#[test]
fn cut_at_any_byte_it_gives_all_that_is_before_the_cut() {
    for cut in 0..=SAMPLE.bytes.len() {
        assert_eq!(SAMPLE.read(&SAMPLE.bytes[..cut]), SAMPLE.outside(cut, usize::MAX), "cut at {cut}");
    }
}

#[test]
fn with_any_byte_flipped_it_gives_all_but_the_entry_it_lay_in() {
    let mut bytes = SAMPLE.bytes.clone();
    for at in 0..bytes.len() {
        for flip in [0x01, 0x80, 0xff] {
            bytes[at] ^= flip;
            // The header of a segment is nobody's entry.
            let expected = if at < 48 { (1..=ENTRIES).collect() } else { SAMPLE.outside(at, at + 1) };
            assert_eq!(SAMPLE.read(&bytes), expected, "byte {at} by {flip:#x}");
            bytes[at] ^= flip;
        }
    }
}

#[test]
fn what_looks_like_an_entry_inside_of_one_is_none() {
    let directory = TempDir::new().unwrap();
    let (journal, _reader) = open(directory.path());
    journal.append(Class::Ordinary, &SAMPLE.bytes).unwrap();
    append(&journal, 1);
    let mut bytes = fs::read(segments(&directory.path().join(journal.instance().to_string())).remove(0)).unwrap();
    // With the header of the first gone, what it held is gone through byte by byte.
    bytes[50] ^= 1;
    let read =
        invariants::journal_segment(&bytes, journal.instance(), SegmentId(1), &|entry| entry.number == 2 && entry.payload == payload(2));
    assert_eq!(read, [2]);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_stretch_overwritten_costs_what_lay_there_and_no_more(
        from in 0..SAMPLE.bytes.len(),
        noise in proptest::collection::vec(any::<u8>(), 1..600),
        repeated in any::<bool>(),
    ) {
        let mut bytes = SAMPLE.bytes.clone();
        let to = (from + noise.len()).min(bytes.len());
        // Noise, or bytes of another place.
        let other = if repeated { SAMPLE.bytes.iter().rev() } else { noise.iter().rev() };
        bytes[from..to].iter_mut().zip(other).for_each(|(byte, other)| *byte = *other);
        let read = SAMPLE.read(&bytes);
        let outside: Vec<u64> = SAMPLE.outside(from.max(48), to);
        prop_assert!(outside.iter().all(|number| read.contains(number)), "{read:?} of {outside:?}");
    }

    #[test]
    fn a_stretch_taken_out_or_put_in_costs_what_comes_after_in_the_segment_at_most(
        at in 48..SAMPLE.bytes.len(),
        length in 1_usize..400,
        noise in proptest::option::of(any::<u8>()),
    ) {
        let mut bytes = SAMPLE.bytes.clone();
        match noise {
            Some(byte) => drop(bytes.splice(at..at, std::iter::repeat_n(byte, length))),
            None => drop(bytes.drain(at..(at + length).min(bytes.len()))),
        }
        let read = SAMPLE.read(&bytes);
        let before = SAMPLE.outside(at, usize::MAX);
        prop_assert!(read.starts_with(&before), "{read:?} of {before:?}");
    }
}

/// A disk of which one block cannot be read.
struct Disk<'a> {
    bytes: &'a [u8],
    bad: usize,
}

const BLOCK: usize = 4096;

impl Medium for Disk<'_> {
    fn read(&self, offset: u64, into: &mut [u8]) -> io::Result<usize> {
        let from = usize::try_from(offset).unwrap();
        let to = (from + into.len()).min(self.bytes.len());
        if from < (self.bad + 1) * BLOCK && to > self.bad * BLOCK {
            return Err(io::Error::other("this block cannot be read"));
        }
        into[..to - from].copy_from_slice(&self.bytes[from..to]);
        Ok(to - from)
    }
}

#[test]
fn a_block_that_cannot_be_read_costs_the_entries_that_touch_it_and_no_other() {
    let directory = TempDir::new().unwrap();
    let (journal, _reader) = open(directory.path());
    let payload = |number: u64| vec![u8::try_from(number % 251).unwrap(); usize::try_from(number * 977 % 9000).unwrap()];
    let file = segments(&directory.path().join(journal.instance().to_string())).remove(0);
    let mut ends = vec![48];
    for number in 1..=120 {
        journal.append(Class::Ordinary, &payload(number)).unwrap();
        ends.push(usize::try_from(fs::metadata(&file).unwrap().len()).unwrap());
    }
    let bytes = fs::read(&file).unwrap();
    assert!(bytes.len() > 512 * 1024, "more than is read at once");
    let end = bytes.len() as u64;
    for bad in 0..bytes.len().div_ceil(BLOCK) {
        let disk = Disk { bytes: &bytes, bad };
        let touches = |number: u64| {
            let at = usize::try_from(number).unwrap();
            ends[at - 1] < (bad + 1) * BLOCK && ends[at] > bad * BLOCK
        };
        let scan = |unreadable| Scan::new(&disk, journal.instance(), SegmentId(1), end, unreadable);
        let read = invariants::journal_medium(scan(journal::Unreadable::Damage), end, &|entry| entry.payload == payload(entry.number));
        assert_eq!(read, (1..=120).filter(|number| !touches(*number)).collect::<Vec<_>>(), "block {bad}");
        // As long as it may come back, all that lies before it is read.
        let mut scan = scan(journal::Unreadable::Error);
        let mut read = 0;
        if bad > 0 {
            while let Ok(Found::Entry(entry)) = scan.step() {
                read = entry.number;
            }
        }
        assert!(scan.step().is_err() && (bad == 0 || touches(read + 1)), "block {bad}: {read}");
    }
}

/// A dead process's journal over several segments, with `change` done to it.
async fn after(change: impl FnOnce(&[PathBuf])) -> (TempDir, BTreeMap<u64, Vec<u8>>, Vec<Lost>, Vec<PathBuf>) {
    let directory = TempDir::new().unwrap();
    let (journal, reader) = bounded(directory.path(), 1024 * KIB);
    let files = || segments(&directory.path().join(journal.instance().to_string()));
    let lengths = || files().iter().map(|file| fs::metadata(file).unwrap().len()).collect::<Vec<_>>();
    while lengths().iter().filter(|length| **length > 0).count() < 4 {
        append(&journal, 10);
        if lengths().iter().rfind(|length| **length > 0).is_some_and(|length| *length > 16 * KIB) {
            // It grows until there is another, which is then left alone for one more.
            eventually("the next one is begun", || async { lengths().ends_with(&[0, 0]) }).await;
        }
    }
    let (appended, files) = (journal.standing().waiting, files());
    drop((journal, reader));
    change(&files);
    let (journal, _reader) = open(directory.path());
    let mut orphan = adopted(&journal, 1).await.remove(0);
    let (entries, lost) = drain(&mut orphan).await;
    for (number, bytes) in &entries {
        assert_eq!(*bytes, payload(*number), "entry {number}");
    }
    let missing: u64 = lost.iter().map(|lost| lost.last - lost.first + 1).sum();
    // Behind the last entry that is whole, nobody can count.
    let is_cut = lost.iter().any(|lost| matches!(lost.why, Why::Torn(_)));
    assert!(entries.len() as u64 + missing == appended || is_cut, "{} + {missing} of {appended}", entries.len());
    orphan.leave().await.unwrap();
    assert!(journal.standing().trouble.is_none());
    (directory, entries, lost, files)
}

fn flip(file: &Path, at: u64) {
    let file = OpenOptions::new().read(true).write(true).open(file).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[byte[0] ^ 4], at).unwrap();
}

#[tokio::test]
async fn a_flipped_byte_is_named_by_file_offset_and_number_and_the_file_is_kept() {
    let (directory, entries, lost, files) = after(|files| flip(&files[1], 48 + 29 + 100)).await;
    let [Lost { first, last, why: Why::Damaged(Spot { file, offset }), .. }] = lost.as_slice() else { panic!("{lost:?}") };
    assert_eq!((file, first), (&files[1], last));
    assert!(*offset >= 48 && *offset <= 48 + 29 + 100, "{offset}");
    assert!(!entries.contains_key(first));
    let kept = directories(&directory.path().join("damaged"));
    assert_eq!(kept.len(), 1);
    assert!(kept[0].to_string_lossy().ends_with(files[1].file_name().unwrap().to_str().unwrap()), "{kept:?}");
    assert_eq!(directories(directory.path()).len(), 2, "all else is gone, but for the living");
}

#[tokio::test]
async fn a_header_costs_nothing() {
    let (_, _, lost, _) = after(|files| files.iter().take(4).for_each(|file| flip(file, 20))).await;
    assert_eq!(lost, []);
}

#[tokio::test]
async fn a_file_that_is_gone_is_named_with_all_its_numbers() {
    let (_, entries, lost, files) = after(|files| fs::remove_file(&files[2]).unwrap()).await;
    let [Lost { first, last, why: Why::Damaged(Spot { file, offset: 0 }), .. }] = lost.as_slice() else { panic!("{lost:?}") };
    assert_eq!(file, &files[2]);
    assert!(last > first && entries.contains_key(&(first - 1)) && entries.contains_key(&(last + 1)));
}

#[tokio::test]
async fn a_file_of_noise_is_passed_over() {
    let (_, _, lost, files) = after(|files| fs::write(&files[1], vec![0xa5; 20_000]).unwrap()).await;
    let [Lost { why: Why::Damaged(Spot { file, offset: 0 }), .. }] = lost.as_slice() else { panic!("{lost:?}") };
    assert_eq!(file, &files[1]);
}

#[tokio::test]
async fn a_tail_of_zeros_is_a_torn_tail() {
    let (_, entries, lost, _) = after(|files| {
        let last = files.iter().rfind(|file| fs::metadata(file).unwrap().len() > 0).unwrap();
        let file = OpenOptions::new().write(true).open(last).unwrap();
        let length = file.metadata().unwrap().len();
        file.set_len(length - 1).unwrap();
        file.set_len(length + 5000).unwrap();
    })
    .await;
    let end = entries.len() as u64 + 1;
    assert!(matches!(lost.as_slice(), [Lost { first, last, why: Why::Torn(_), .. }] if (*first, *last) == (end, end)), "{lost:?}");
}

#[tokio::test]
async fn an_end_that_went_with_the_machine_is_named_as_far_as_it_is_known() {
    let directory = TempDir::new().unwrap();
    let (journal, mut reader) = open(directory.path());
    let own = directory.path().join(journal.instance().to_string());
    let segment = segments(&own).remove(0);
    append(&journal, 6);
    let kept = fs::metadata(&segment).unwrap().len();
    append(&journal, 4);
    let written = reader.next(3, 1 << 20).await.unwrap();
    reader.written(&written);
    eventually("it is kept how far it is", || async { fs::read(own.join("cursor")).unwrap()[64] == 10 }).await;
    drop((journal, reader));
    OpenOptions::new().write(true).open(&segment).unwrap().set_len(kept).unwrap();
    let (journal, _reader) = open(directory.path());
    let mut orphan = adopted(&journal, 1).await.remove(0);
    let (entries, lost) = drain(&mut orphan).await;
    assert_eq!(entries.into_keys().collect::<Vec<_>>(), [4, 5, 6]);
    let why = Why::Torn(Spot { file: segment, offset: kept });
    assert_eq!(lost, [Lost { instance: orphan.instance(), first: 7, last: 10, why }]);
}

#[tokio::test]
async fn without_a_cursor_it_is_read_from_the_start() {
    for cursor in [&[][..], &[0x5a; 128]] {
        let (_, entries, lost, _) = after(|files| fs::write(files[0].with_file_name("cursor"), cursor).unwrap()).await;
        assert!(entries.contains_key(&1) && lost.is_empty(), "{lost:?}");
    }
}

/// Cannot be read: a directory in a file's place can be opened, and that is all.
struct Unreadable(PathBuf);

impl Unreadable {
    fn made(file: PathBuf) -> Self {
        fs::rename(&file, Self::away(&file)).unwrap();
        fs::create_dir(&file).unwrap();
        Self(file)
    }

    fn away(file: &Path) -> PathBuf {
        file.with_extension("away")
    }

    fn comes_back(self) {
        fs::remove_dir(&self.0).unwrap();
        fs::rename(Self::away(&self.0), &self.0).unwrap();
    }
}

fn first_segment(journal: &Journal, journals: &Path) -> PathBuf {
    segments(&journals.join(journal.instance().to_string())).remove(0)
}

#[tokio::test(start_paused = true)]
async fn what_a_disk_does_not_give_back_for_a_while_is_waited_for() {
    let directory = TempDir::new().unwrap();
    let (journal, mut reader) = open(directory.path());
    append(&journal, 10);
    let file = first_segment(&journal, directory.path());
    let unreadable = Unreadable::made(file.clone());
    timeout(Duration::from_secs(3600), reader.next(100, 1 << 20)).await.expect_err("it waits");
    let trouble = journal.standing().trouble.unwrap();
    assert!(trouble.contains(&format!("{} cannot be read", file.display())), "{trouble}");
    assert!(journal.has_room(Class::Ordinary, 0), "entries are kept all the same");
    unreadable.comes_back();
    let batch = next(&mut reader).await;
    assert_eq!((numbers(&batch), batch.lost), ((1..=10).collect(), vec![]));
    assert_eq!(journal.standing().trouble, None);
}

#[tokio::test(start_paused = true)]
async fn that_one_journal_is_read_does_not_hide_that_another_cannot_be() {
    let directory = TempDir::new().unwrap();
    let (dead, reader) = open(directory.path());
    append(&dead, 3);
    drop((dead, reader));
    let (journal, mut reader) = open(directory.path());
    append(&journal, 3);
    let mut orphan = adopted(&journal, 1).await.remove(0);
    let _unreadable = Unreadable::made(first_segment(&journal, directory.path()));
    timeout(Duration::from_secs(60), reader.next(100, 1 << 20)).await.expect_err("it waits");
    assert_eq!(numbers(&next(&mut orphan).await), [1, 2, 3]);
    assert!(journal.standing().trouble.is_some());
    drop(reader);
    assert_eq!(journal.standing().trouble, None, "nobody tries any more");
}
