//! What keeping an entry costs a call: `append` of 1 KB beside a bare `write` of the same bytes, and what it costs to read it back. Printed first:
//! how long the slowest appends take while segments are made, synced and removed behind them, and what waiting for the disk costs
//! when many wait at once.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a benchmark stops and speaks for itself")]

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use divan::counter::ItemsCount;
use divan::{Bencher, black_box};
use eliza_gatekeeper::clock::Clock;
use eliza_gatekeeper::journal::{Class, Journal, Limits, Reader, Syncing};
use tempfile::TempDir;
use tokio::runtime::{Builder, Runtime};

const ENTRY: [u8; 1024] = [0x42; 1024];
const HOW: [(&str, Syncing); 3] =
    [("os", Syncing::Os), ("interval 1 s", Syncing::Interval(Duration::from_secs(1))), ("always", Syncing::Always)];
const SAMPLES: u32 = 100;
const SAMPLE: u32 = 1000;

fn main() {
    if std::env::args().all(|arg| arg == "--bench" || !arg.starts_with('-')) {
        report_slowest();
        report_waiting();
    }
    divan::main();
}

/// On the disk the build is on: what is said of a file system in memory helps nobody.
fn directory() -> TempDir {
    tempfile::tempdir_in(Path::new(env!("CARGO_TARGET_TMPDIR"))).unwrap()
}

fn open(directory: &TempDir, syncing: Syncing) -> (Journal, Reader) {
    Journal::open(directory.path(), Limits::default(), syncing, Clock::system()).unwrap()
}

#[divan::bench(sample_count = SAMPLES, sample_size = SAMPLE)]
fn bare_write(bencher: Bencher<'_, '_>) {
    let directory = directory();
    let file = File::create(directory.path().join("file")).unwrap();
    let end = AtomicU64::new(0);
    bencher.counter(ItemsCount::new(1_u32)).bench(|| file.write_all_at(black_box(&ENTRY), end.fetch_add(1024, Ordering::Relaxed)));
}

#[divan::bench(args = ["os", "interval 1 s", "always"], sample_count = SAMPLES, sample_size = SAMPLE)]
fn append(bencher: Bencher<'_, '_>, how: &str) {
    let directory = directory();
    let syncing = HOW.into_iter().find(|(name, _)| *name == how).unwrap().1;
    let (journal, _reader) = open(&directory, syncing);
    bencher.counter(ItemsCount::new(1_u32)).bench(|| journal.append(Class::Ordinary, black_box(&ENTRY)).unwrap().number);
}

#[divan::bench(threads = [2], sample_count = SAMPLES, sample_size = SAMPLE)]
fn append_on_two_threads(bencher: Bencher<'_, '_>) {
    let directory = directory();
    let (journal, _reader) = open(&directory, Syncing::Os);
    bencher.counter(ItemsCount::new(1_u32)).bench(|| journal.append(Class::Ordinary, black_box(&ENTRY)).unwrap().number);
}

/// A batch of 512.
#[divan::bench(sample_count = SAMPLES, sample_size = 1)]
fn read(bencher: Bencher<'_, '_>) {
    let (directory, runtime) = (directory(), runtime());
    let (journal, mut reader) = open(&directory, Syncing::Os);
    for _ in 0..(SAMPLES + 1) * 512 {
        journal.append(Class::Ordinary, &ENTRY).unwrap();
    }
    bencher.counter(ItemsCount::new(512_u32)).bench_local(|| {
        let batch = runtime.block_on(reader.next(512, 1 << 20)).unwrap();
        reader.written(&batch);
        batch.entries.len()
    });
}

fn runtime() -> Runtime {
    Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

/// 200 MB at 20,000 a second, while a reader takes them over in batches as the writer does: dozens of segments come and go.
fn report_slowest() {
    let directory = directory();
    let file = File::create(directory.path().join("file")).unwrap();
    paced("bare write of 1 KB", |turn| file.write_all_at(&ENTRY, u64::from(turn) * 1024).unwrap());
    for (name, syncing) in HOW {
        let (directory, runtime) = (self::directory(), runtime());
        let (journal, mut reader) = open(&directory, syncing);
        let reading = runtime.spawn(async move {
            while let Some(batch) = reader.next(512, 1 << 20).await {
                let is_behind = batch.entries.len() == 512;
                reader.written(&batch);
                if !is_behind {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            }
        });
        paced(&format!("append of 1 KB, {name}"), |_| drop(black_box(journal.append(Class::Ordinary, &ENTRY).unwrap())));
        journal.close();
        runtime.block_on(reading).unwrap();
    }
}

fn paced(what: &str, mut act: impl FnMut(u32)) {
    const PACE: Duration = Duration::from_micros(50);
    let began = Instant::now();
    let mut took: Vec<Duration> = (0..200_000)
        .map(|turn| {
            while began.elapsed() < PACE * turn {
                std::hint::spin_loop();
            }
            let start = Instant::now();
            act(turn);
            start.elapsed()
        })
        .collect();
    took.sort_unstable();
    let at = |part: usize| took.get(took.len() * part / 10_000).copied().unwrap_or_default();
    let slowest = took.last().copied().unwrap_or_default();
    println!("{what}: p50 {:?}, p99 {:?}, p99.9 {:?}, slowest {slowest:?}", at(5_000), at(9_900), at(9_990));
}

/// 64 callers, each waiting until the disk has its entry.
fn report_waiting() {
    const WAITERS: usize = 64;
    let (directory, runtime) = (directory(), runtime());
    let alone = alone(&directory);
    let (journal, _reader) = open(&directory, Syncing::Always);
    let until = Instant::now() + Duration::from_secs(2);
    let waiters: Vec<_> = (0..WAITERS)
        .map(|_| {
            let journal = journal.clone();
            runtime.spawn(async move {
                let mut took = Vec::new();
                while Instant::now() < until {
                    let start = Instant::now();
                    journal.append(Class::Ordinary, &ENTRY).unwrap().durable.wait().await.unwrap();
                    took.push(start.elapsed());
                }
                took
            })
        })
        .collect();
    let mut took: Vec<Duration> = waiters.into_iter().flat_map(|waiter| runtime.block_on(waiter).unwrap()).collect();
    took.sort_unstable();
    let at = |part: usize| took.get(took.len() * part / 100).copied().unwrap_or_default();
    println!(
        "append of 1 KB until the disk has it, {WAITERS} callers at once: {} a second, p50 {:?}, p99 {:?}; one sync alone {alone:?}",
        took.len() / 2,
        at(50),
        at(99),
    );
}

/// Half of so many syncs of 1 KB take less.
fn alone(directory: &TempDir) -> Duration {
    let file = File::create(directory.path().join("file")).unwrap();
    let mut took: Vec<Duration> = (0..100)
        .map(|turn| {
            file.write_all_at(&ENTRY, turn * 1024).unwrap();
            let start = Instant::now();
            file.sync_data().unwrap();
            start.elapsed()
        })
        .collect();
    took.sort_unstable();
    took.get(50).copied().unwrap_or_default()
}
