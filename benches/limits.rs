//! What limiting costs a call (time and allocations of one decision: source and endpoint, the endpoint's label included); and, printed
//! first, what a flood of made-up names costs in memory, and what a million sources cost that each have their own counts: in memory, and
//! in keeping others waiting.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a benchmark stops and speaks for itself")]

use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use divan::counter::ItemsCount;
use divan::{AllocProfiler, Bencher, black_box};
use eliza_gatekeeper::clock::{Clock, Timestamp};
use eliza_gatekeeper::gates::rate_limit::{EndpointTicket, Held, RateLimiter, Subject};
use eliza_gatekeeper::identity::{Action, Endpoint, NamePattern, Place, SourceName, TargetName};
use eliza_gatekeeper::policy::{Allowance, Burst, Counted, Limits, Source, Sources, Window};
use eliza_gatekeeper::verdict::Verdict;
use rustix::time::{ClockId, Timespec, clock_gettime};

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

/// A million names under one pattern, with room for each.
fn report_a_million() {
    const SOURCES: usize = 1_000_000;
    let windows = [Window { limit: 100, secs: 60 }];
    let allowance = Arc::new(Allowance { windows: windows.into(), burst: None, place: line(), burst_place: line() });
    let pattern = NamePattern::parse("agent-*").unwrap();
    let sources = Sources { patterns: vec![Arc::new(limited(pattern, allowance))], ..Sources::default() };
    let limits = Limits { endpoints_per_source: 64, buckets: SOURCES * 8, stranger_records_per_minute: 10, window_lengths: vec![60] };
    let endpoint = Endpoint::of(&TargetName::parse("gemini-chat").unwrap(), Action::parse("chat").as_ref());
    let names: Vec<_> = (0..SOURCES).map(|n| SourceName::parse(&format!("agent-{n}")).unwrap()).collect();
    let mut longest = Longest::default();
    for run in 0..RUNS {
        let limiter = RateLimiter::new(Clock::system());
        let at = Clock::system().now();
        let calls = |at: Timestamp| {
            let (limiter, sources, limits, endpoint) = (&limiter, &sources, &limits, &endpoint);
            names.iter().map(move |name| {
                let subject = Subject::Source { name, policy: sources.find(name).unwrap() };
                let (Verdict::Allow(ticket) | Verdict::Deny { onward: ticket, .. }) = limiter.limit_source(subject, limits, at);
                drop(black_box(limiter.limit_endpoint(ticket, endpoint)));
            })
        };
        let empty = resident_mib();
        let each = || (resident_mib() - empty) * 1024.0 * 1024.0 / 1e6;
        longest.note("the first call of each", calls(at));
        let first = each();
        longest.note("a call of each in the next minute", calls(at.plus(Duration::from_secs(60))));
        // Later runs find room that the first has left behind.
        if run == 0 {
            println!("a million sources: {first:.0} bytes each; with a call in the next minute, too, {:.0}", each());
        }
        longest.note("a sweep, by parts, that finds nothing", limiter.sweep(at));
        longest.note("what is handed over, by parts", limiter.held(at));
        let held = Held::fullest(limiter.held(at).flatten().collect());
        let next = RateLimiter::new(Clock::system());
        longest
            .note("all of it taken over at once, before the first call", std::iter::once_with(|| next.take_over(&sources, &limits, &held)));
        longest.note("a sweep, by parts, when all windows are over", limiter.sweep(at.plus(Duration::from_secs(600))));
        calls(at).for_each(drop);
        longest.note("all rows deleted, by parts", limiter.take_back_all());
    }
    longest.say();
}

const RUNS: usize = 5;

/// The longest that one of many operations kept its thread at work: of its CPU time, for while others have the core it is not at work; and of
/// several runs the least, for what the machine does to a run is not in all of them.
#[derive(Default)]
struct Longest(Vec<(&'static str, [Duration; 3], Duration)>);

impl Longest {
    fn note<T>(&mut self, what: &'static str, mut operations: impl Iterator<Item = T>) {
        let mut took = Vec::with_capacity(1_000_000);
        loop {
            let began = at_work();
            let done = operations.next();
            took.push(at_work().saturating_sub(began));
            if done.is_none() {
                break;
            }
        }
        let all: Duration = took.iter().sum();
        took.sort_unstable_by(|a, b| b.cmp(a));
        let slowest = [0, 10, 100].map(|n| took.get(n).copied().unwrap_or_default());
        match self.0.iter_mut().find(|(known, ..)| *known == what) {
            Some((_, least, total)) => {
                least.iter_mut().zip(slowest).for_each(|(least, slowest)| *least = slowest.min(*least));
                *total = all.min(*total);
            }
            None => self.0.push((what, slowest, all)),
        }
    }

    fn say(&self) {
        println!("| with a million sources | µs at work, the longest | the 11th | the 101st | all of it, ms |\n|---|---|---|---|---|");
        let micros = |long: &Duration| long.as_nanos() as f64 / 1e3;
        for (what, [first, eleventh, later], all) in &self.0 {
            println!("| {what} | {:.0} | {:.0} | {:.0} | {:.0} |", micros(first), micros(eleventh), micros(later), micros(all) / 1e3);
        }
    }
}

/// How long this thread has been at work.
fn at_work() -> Duration {
    let Timespec { tv_sec, tv_nsec } = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(u64::try_from(tv_sec).unwrap(), u32::try_from(tv_nsec).unwrap())
}

/// Of the kernel's own account; 0 where there is none.
fn resident_mib() -> f64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages: u32 = statm.split(' ').nth(1).and_then(|pages| pages.parse().ok()).unwrap_or(0);
    f64::from(pages) * 4096.0 / (1024.0 * 1024.0)
}
