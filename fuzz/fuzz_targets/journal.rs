//! A journal's segment with any changes made to its bytes, and any bytes instead of one: the invariants of `journal_segment`.
#![no_main]

#[path = "../../tests/it/invariants.rs"]
#[allow(dead_code)]
mod invariants;

use std::sync::LazyLock;

use eliza_gatekeeper::clock::Clock;
use eliza_gatekeeper::journal::{Class, Journal, Limits, SegmentId, Syncing};
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
    let appended = |number| (1..=30).contains(&number).then(|| payload(number));
    invariants::journal_segment(changes, *instance, SegmentId(1), &appended);
    let changed = changed(sample.clone(), changes);
    invariants::journal_segment(&changed, *instance, SegmentId(1), &appended);
});

fn payload(number: u64) -> Vec<u8> {
    vec![number as u8; (number * 37 % 200) as usize]
}

/// Each change: what, where (two bytes), how long or which byte.
fn changed(mut bytes: Vec<u8>, changes: &[u8]) -> Vec<u8> {
    for change in changes.chunks_exact(4) {
        let [what, high, low, with] = *change else { continue };
        if bytes.is_empty() || bytes.len() > LONGEST {
            break;
        }
        let at = usize::from(u16::from_be_bytes([high, low])) % bytes.len();
        let to = (at + usize::from(with)).min(bytes.len());
        match what % 5 {
            0 => bytes[at] ^= with,
            1 => drop(bytes.drain(at..to)),
            2 => drop(bytes.splice(at..at, std::iter::repeat_n(what, usize::from(with)))),
            // What is sound, at another place.
            3 => {
                let copy = bytes[at..to].to_vec();
                let there = (at * 7 + usize::from(what)) % bytes.len();
                drop(bytes.splice(there..there, copy));
            }
            _ => bytes.truncate(at),
        }
    }
    bytes
}
