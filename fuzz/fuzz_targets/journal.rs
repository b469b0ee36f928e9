//! A journal's segment with any changes made to its bytes, and any bytes instead of one: the invariants of `journal_segment`.
//!
//! A fuzzer sees what is compared, and so finds bytes that have the right check in a minute. That is no finding: checks are against accidents. So
//! bytes of its own choice may turn out to be entries; where a sample is changed, it chooses the place, and what is put there is noise.
#![no_main]

#[path = "../../tests/it/invariants.rs"]
#[allow(dead_code)]
mod invariants;

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::LazyLock;

use eliza_gatekeeper::clock::Clock;
use eliza_gatekeeper::journal::{Class, Entry, Journal, Limits, SegmentId, Syncing};
use uuid::Uuid;

/// Any bytes may take the place of a segment that is longer than this.
const LONGEST: usize = 64 * 1024;

static SAMPLE: LazyLock<(Uuid, Vec<u8>)> = LazyLock::new(|| {
    let directory = std::env::temp_dir().join(Uuid::now_v7().to_string());
    let (journal, _reader) = Journal::open(&directory, Limits::default(), Syncing::Os, Clock::system()).expect("a journal");
    for number in 1..=30 {
        journal.append(Class::Ordinary, &payload(number)).expect("room");
    }
    let segment = directory.join(journal.instance().to_string()).join("00000000000000000001.segment");
    let bytes = std::fs::read(segment).expect("a segment");
    std::fs::remove_dir_all(&directory).expect("a directory");
    (journal.instance(), bytes)
});

libfuzzer_sys::fuzz_target!(|changes: &[u8]| {
    let (instance, sample) = &*SAMPLE;
    invariants::journal_segment(changes, *instance, SegmentId(1), &|_| true);
    let changed = changed(sample.clone(), changes);
    let is_appended = |entry: &Entry| entry.number <= 30 && entry.payload == payload(entry.number);
    invariants::journal_segment(&changed, *instance, SegmentId(1), &is_appended);
});

fn payload(number: u64) -> Vec<u8> {
    vec![number as u8; (number * 37 % 200) as usize]
}

/// Each change: what, where (two bytes), how long.
fn changed(mut bytes: Vec<u8>, changes: &[u8]) -> Vec<u8> {
    for change in changes.chunks_exact(4) {
        let [what, high, low, length] = *change else { continue };
        if bytes.is_empty() || bytes.len() > LONGEST {
            break;
        }
        let at = usize::from(u16::from_be_bytes([high, low])) % bytes.len();
        let to = (at + usize::from(length)).min(bytes.len());
        match what % 6 {
            0 => bytes[at] ^= noise(change, at),
            1 => (at..to).for_each(|at| bytes[at] = noise(change, at)),
            2 => drop(bytes.splice(at..at, (at..to).map(|at| noise(change, at)))),
            3 => drop(bytes.drain(at..to)),
            // What is sound, at another place.
            4 => {
                let copy = bytes[at..to].to_vec();
                let there = (at * 7 + usize::from(what)) % bytes.len();
                drop(bytes.splice(there..there, copy));
            }
            _ => bytes.truncate(at),
        }
    }
    bytes
}

fn noise(change: &[u8], at: usize) -> u8 {
    let mut hasher = DefaultHasher::new();
    (change, at).hash(&mut hasher);
    hasher.finish() as u8
}
