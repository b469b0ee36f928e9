//! What limiting costs a call (time and allocations of one decision: source and endpoint, the endpoint's label included); and, printed
//! first, what a flood of made-up names costs in memory, and what a million sources cost that each have their own counts: in memory, and
//! in keeping others waiting.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a benchmark stops and speaks for itself")]

use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use divan::counter::ItemsCount;
use divan::{AllocProfiler, Bencher, black_box};
use eliza_gatekeeper::clock::{Clock, Timestamp};
use eliza_gatekeeper::gates::rate_limit::{EndpointTicket, Held, RateLimiter, Subject};
use eliza_gatekeeper::identity::{Action, Endpoint, NamePattern, Place, SourceName, TargetName};
use eliza_gatekeeper::policy::{Allowance, Burst, Counted, Limits, Source, Sources, Window};
use eliza_gatekeeper::verdict::Verdict;

#[global_allocator]
static ALLOCATIONS: AllocProfiler = AllocProfiler::system();

const BUCKETS: usize = 100_000;

fn main() {
    report_memory();
    report_a_million();
    divan::main();
}

struct House {
    limiter: RateLimiter,
    clock: Clock,
    limits: Limits,
    sources: Vec<(SourceName, Source)>,
    target: TargetName,
    action: Action,
    turn: AtomicUsize,
}

impl House {
    /// Each source with a minute and an hour, in all and per endpoint.
    fn of(sources: usize, limit: u32, burst: bool) -> Self {
        let one = NonZeroU32::MIN;
        let burst = burst.then_some(Burst { size: one.saturating_add(u32::MAX / 2), per_second: one.saturating_add(1_000_000) });
        let windows = [Window { limit, secs: 60 }, Window { limit, secs: 3600 }];
        let allowance = Arc::new(Allowance { windows: windows.into(), burst, place: line(), burst_place: line() });
        let listed = (0..sources).map(|n| {
            let name = SourceName::parse(&format!("source-{n}")).unwrap();
            let pattern = NamePattern::parse(name.as_str()).unwrap();
            (name, limited(pattern, Arc::clone(&allowance)))
        });
        let clock = Clock::system();
        let house = Self {
            limiter: RateLimiter::new(clock.clone()),
            clock,
            limits: Limits { endpoints_per_source: 64, buckets: BUCKETS, stranger_records_per_minute: 10, window_lengths: vec![60, 3600] },
            sources: listed.collect(),
            target: TargetName::parse("gemini-chat").unwrap(),
            action: Action::parse("chat").unwrap(),
            turn: AtomicUsize::new(0),
        };
        for _ in 0..sources {
            house.decide();
        }
        house
    }

    fn decide(&self) -> Option<Verdict<EndpointTicket>> {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed) % self.sources.len();
        let (name, policy) = self.sources.get(turn)?;
        let subject = Subject::Source { name, policy };
        let (Verdict::Allow(ticket) | Verdict::Deny { onward: ticket, .. }) =
            self.limiter.limit_source(subject, &self.limits, self.clock.now());
        Some(self.limiter.limit_endpoint(ticket, &Endpoint::of(&self.target, Some(&self.action))))
    }
}

#[divan::bench(args = [1, 29, 10_000], threads = [1, 2])]
fn allowed(bencher: Bencher<'_, '_>, sources: usize) {
    let house = House::of(sources, u32::MAX, false);
    bencher.counter(ItemsCount::new(1_u32)).bench(|| black_box(house.decide()));
}

#[divan::bench(args = [1, 29, 10_000])]
fn allowed_with_bursts(bencher: Bencher<'_, '_>, sources: usize) {
    let house = House::of(sources, u32::MAX, true);
    bencher.counter(ItemsCount::new(1_u32)).bench(|| black_box(house.decide()));
}

#[divan::bench(args = [1, 29, 10_000])]
fn refused(bencher: Bencher<'_, '_>, sources: usize) {
    let house = House::of(sources, 0, false);
    bencher.counter(ItemsCount::new(1_u32)).bench(|| black_box(house.decide()));
}

/// All shards, with every bucket in use and none to let go of: what the task that runs each minute costs.
#[divan::bench(sample_count = 20)]
fn sweep_of_all_buckets(bencher: Bencher<'_, '_>) {
    let house = House::of(BUCKETS / 3, u32::MAX, false);
    bencher.bench(|| house.limiter.sweep(black_box(house.clock.now())).for_each(drop));
}

/// Whoever bears such a name, each for itself: as much in all as of any one endpoint.
fn limited(pattern: NamePattern, allowance: Arc<Allowance>) -> Source {
    Source {
        pattern,
        total: Arc::clone(&allowance),
        endpoint: allowance,
        overrides: vec![],
        counted: Counted::Apart,
        certificates: None,
        place: line(),
    }
}

fn line() -> Place {
    Place::new("limits.toml:1")
}

/// A million names under one pattern, then a million actions of one source.
fn report_memory() {
    let windows = [Window { limit: 100, secs: 60 }, Window { limit: 1000, secs: 3600 }];
    let burst = Some(Burst { size: NonZeroU32::MIN, per_second: NonZeroU32::MIN });
    let allowance = Arc::new(Allowance { windows: windows.into(), burst, place: line(), burst_place: line() });
    let pattern = NamePattern::parse("bot-*").unwrap();
    let policy = limited(pattern, allowance);
    let limits = Limits { endpoints_per_source: 64, buckets: BUCKETS, stranger_records_per_minute: 10, window_lengths: vec![60, 3600] };
    let limiter = RateLimiter::new(Clock::system());
    let target = TargetName::parse("gemini-chat").unwrap();
    let call = |name: &str, action: &str, at: Timestamp| {
        let name = SourceName::parse(name).unwrap();
        let (Verdict::Allow(ticket) | Verdict::Deny { onward: ticket, .. }) =
            limiter.limit_source(Subject::Source { name: &name, policy: &policy }, &limits, at);
        drop(black_box(limiter.limit_endpoint(ticket, &Endpoint::of(&target, Action::parse(action).as_ref()))));
    };
    let at = Clock::system().now();
    let empty = resident_mib();
    (0..1_000_000).for_each(|n| call(&format!("bot-{n}"), "chat", at));
    (0..1_000_000).for_each(|n| call("bot-1", &format!("act-{n}"), at));
    println!(
        "memory after a million made-up sources and a million made-up actions: {} of at most {BUCKETS} buckets, {:.1} MiB",
        limiter.buckets(),
        resident_mib() - empty,
    );
}

/// A million names under one pattern, with room for each. What takes longest is told of several runs' least: the rest is the machine's.
fn report_a_million() {
    const SOURCES: usize = 1_000_000;
    let windows = [Window { limit: 100, secs: 60 }];
    let allowance = Arc::new(Allowance { windows: windows.into(), burst: None, place: line(), burst_place: line() });
    let pattern = NamePattern::parse("agent-*").unwrap();
    let policy = limited(pattern, allowance);
    let sources = Sources { patterns: vec![Arc::new(policy)], ..Sources::default() };
    let limits = Limits { endpoints_per_source: 64, buckets: SOURCES * 8, stranger_records_per_minute: 10, window_lengths: vec![60] };
    let endpoint = Endpoint::of(&TargetName::parse("gemini-chat").unwrap(), Action::parse("chat").as_ref());
    let names: Vec<_> = (0..SOURCES).map(|n| SourceName::parse(&format!("agent-{n}")).unwrap()).collect();
    let (mut slowest, mut slowest_part) = ([Duration::MAX; 3], Duration::MAX);
    let timed = |act: &mut dyn FnMut()| {
        let began = Instant::now();
        act();
        began.elapsed()
    };
    for _ in 0..5 {
        let limiter = RateLimiter::new(Clock::system());
        let at = Clock::system().now();
        let empty = resident_mib();
        let mut took: Vec<_> = names
            .iter()
            .map(|name| {
                timed(&mut || {
                    let subject = Subject::Source { name, policy: sources.find(name).unwrap() };
                    let (Verdict::Allow(ticket) | Verdict::Deny { onward: ticket, .. }) = limiter.limit_source(subject, &limits, at);
                    drop(black_box(limiter.limit_endpoint(ticket, &endpoint)));
                })
            })
            .collect();
        let each = (resident_mib() - empty) * 1024.0 * 1024.0 / 1e6;
        took.sort_unstable_by(|a, b| b.cmp(a));
        for (least, n) in slowest.iter_mut().zip([0, 10, 100]) {
            *least = took.get(n).copied().unwrap().min(*least);
        }
        let all: Duration = took.iter().sum();
        let mut longest = Duration::ZERO;
        let swept = timed(&mut || {
            let mut parts = limiter.sweep(at);
            loop {
                let mut part = None;
                longest = longest.max(timed(&mut || part = parts.next()));
                if part.is_none() {
                    return;
                }
            }
        });
        slowest_part = slowest_part.min(longest);
        let mut held = Vec::new();
        let gathered = timed(&mut || held = Held::fullest(limiter.held(at).flatten().collect()));
        let next = RateLimiter::new(Clock::system());
        let taken = timed(&mut || next.take_over(&sources, &limits, &held));
        println!(
            "a million sources: {each:.0} bytes each, {:.0} ns; a sweep {swept:?}; {} counts handed over: gathered in {gathered:?}, taken in {taken:?}",
            all.as_nanos() as f64 / 1e6,
            held.len(),
        );
    }
    println!(
        "of five runs the least: the slowest decision {slowest:?} (the 11th, the 101st); the slowest part of a sweep {slowest_part:?}"
    );
}

/// Of the kernel's own account; 0 where there is none.
fn resident_mib() -> f64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages: u32 = statm.split(' ').nth(1).and_then(|pages| pages.parse().ok()).unwrap_or(0);
    f64::from(pages) * 4096.0 / (1024.0 * 1024.0)
}
