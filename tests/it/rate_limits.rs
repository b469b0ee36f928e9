//! Promises: of every aligned window at most its limit of calls pass, and exactly that many if as many come, whatever their order,
//! number at once or choice of actions; a restart changes nothing; deleting rows unblocks; memory is bounded and no running window
//! is ever forgotten; looking changes nothing. And: a flood of strangers is folded, not recorded call by call.

mod handover;
mod look;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use eliza_gatekeeper::call::Count;
use eliza_gatekeeper::clock::{Clock, ManualClock, Timestamp};
use eliza_gatekeeper::gates::rate_limit::strangers::{Fold, Strangers};
use eliza_gatekeeper::gates::rate_limit::{RateLimiter, Subject};
use eliza_gatekeeper::identity::{Action, Endpoint, NamePattern, Network, Place, SourceName, TargetName};
use eliza_gatekeeper::policy::{Allowance, Burst, Counted, EndpointOverride, Limits, Source, Sources, Window};
use eliza_gatekeeper::verdict::{Denial, LimitRule, LimitScope, Limited, Standing, Standings, Verdict};
use proptest::prelude::*;

const MINUTE: u32 = 60;
const HOUR: u32 = 3600;
const DAY: u32 = 86_400;

// A gatekeeper's limits on a clock in the test's hand.

struct Scene {
    limiter: RateLimiter,
    clock: ManualClock,
    sources: Sources,
    limits: Limits,
}

#[derive(Debug)]
struct Judged {
    refused: Option<Limited>,
    count: Count,
}

impl Scene {
    fn new(sources: impl IntoIterator<Item = Source>) -> Self {
        let clock = ManualClock::at(noon());
        let limits = Limits { endpoints_per_source: 64, buckets: 10_000, stranger_records_per_minute: 5, window_lengths: vec![] };
        Self { limiter: RateLimiter::new(Clock::Manual(clock.clone())), clock, sources: listed(sources), limits }
    }

    /// Another process over the same clock and policy. It packs whatever it holds between any two calls: what it says of them is compared
    /// with what the scene's own does, which packs little.
    fn restarted(&self) -> RateLimiter {
        RateLimiter::packing_all(Clock::Manual(self.clock.clone()))
    }

    fn call(&self, source: &str, action: &str) -> Judged {
        self.call_at(self.clock.now(), source, action)
    }

    fn call_at(&self, at: Timestamp, source: &str, action: &str) -> Judged {
        judge(&self.limiter, &self.sources, &self.limits, at, source, action)
    }

    /// How many of `calls` pass.
    fn passing(&self, calls: u32, source: &str, action: &str) -> u32 {
        (0..calls).map(|_| u32::from(self.call(source, action).refused.is_none())).sum()
    }

    fn wait(&self, secs: u64) {
        self.clock.advance(Duration::from_secs(secs));
    }
}

fn judge(limiter: &RateLimiter, sources: &Sources, limits: &Limits, at: Timestamp, source: &str, action: &str) -> Judged {
    let name = SourceName::parse(source).unwrap();
    let policy = sources.find(&name).unwrap();
    let ticket = match limiter.limit_source(Subject::Source { name: &name, policy }, limits, at) {
        Verdict::Allow(ticket) => ticket,
        Verdict::Deny { denial, onward } => return Judged { refused: Some(limited(denial)), count: onward.count().unwrap().clone() },
    };
    match limiter.limit_endpoint(ticket, &endpoint(action)) {
        Verdict::Allow(ticket) => Judged { refused: None, count: ticket.count().unwrap().clone() },
        Verdict::Deny { denial, onward } => Judged { refused: Some(limited(denial)), count: onward.count().unwrap().clone() },
    }
}

fn limited(denial: Denial) -> Limited {
    match denial {
        Denial::Limited(limited) => limited,
        other => panic!("a limit spoke of {other:?}"),
    }
}

fn endpoint(action: &str) -> Endpoint {
    Endpoint::of(&TargetName::parse("brain").unwrap(), Action::parse(action).as_ref())
}

fn noon() -> Timestamp {
    Timestamp::parse_rfc3339("2026-03-04T12:00:00Z").unwrap()
}

fn allow(windows: &[(u32, u32)]) -> Arc<Allowance> {
    Arc::new(Allowance {
        windows: windows.iter().map(|(limit, secs)| Window { limit: *limit, secs: *secs }).collect(),
        burst: None,
        place: Place::new("limits.toml:1"),
        burst_place: Place::new("limits.toml:2"),
    })
}

fn with_burst(windows: &[(u32, u32)], size: u32, per_second: u32) -> Arc<Allowance> {
    let burst = Burst { size: NonZeroU32::new(size).unwrap(), per_second: NonZeroU32::new(per_second).unwrap() };
    Arc::new(Allowance { burst: Some(burst), ..Arc::unwrap_or_clone(allow(windows)) })
}

fn plenty() -> Arc<Allowance> {
    allow(&[(1_000_000, MINUTE)])
}

fn source(pattern: &str, total: Arc<Allowance>, endpoint: Arc<Allowance>) -> Source {
    Source {
        pattern: NamePattern::parse(pattern).unwrap(),
        total,
        endpoint,
        overrides: vec![],
        counted: Counted::Apart,
        certificates: None,
        place: Place::new("sources.toml:1"),
    }
}

fn but(mut source: Source, endpoint: &str, allowance: Arc<Allowance>) -> Source {
    source.overrides.push(EndpointOverride { endpoint: endpoint.into(), allowance });
    source
}

fn listed(sources: impl IntoIterator<Item = Source>) -> Sources {
    let mut all = Sources::default();
    for source in sources {
        let source = Arc::new(source);
        if source.pattern.is_single() {
            all.named.insert(source.pattern.as_str().into(), source);
        } else {
            all.patterns.push(source);
        }
    }
    all
}

// Windows.

#[test]
fn one_more_than_the_limit_is_refused_until_the_minute_ends() {
    let scene = Scene::new([source("ada", allow(&[(100, MINUTE)]), plenty())]);
    scene.wait(18);
    assert_eq!(scene.passing(100, "ada", "chat"), 100);
    let refused = scene.call("ada", "chat").refused.unwrap();
    assert_eq!(refused.scope, LimitScope::Source);
    assert_eq!(refused.rule, LimitRule::Window { limit: 100, window_secs: MINUTE });
    assert_eq!(refused.retry_after, Duration::from_secs(42));
    assert_eq!(refused.place, Some(Place::new("limits.toml:1")));
    scene.wait(41);
    assert!(scene.call("ada", "chat").refused.is_some());
    scene.wait(1);
    assert_eq!(scene.passing(200, "ada", "chat"), 100);
}

#[test]
fn a_minute_and_an_hour_hold_at_once() {
    let scene = Scene::new([source("ada", allow(&[(60, MINUTE), (1000, HOUR)]), plenty())]);
    let mut passed = 0;
    for minute in 0..60 {
        let now = scene.passing(61, "ada", "chat");
        assert_eq!(now, 60.min(1000 - passed.min(1000)), "minute {minute}");
        // Refused calls count too: each minute uses up 61 of the hour.
        passed += 61;
        scene.wait(60);
    }
    assert_eq!(scene.passing(60, "ada", "chat"), 60, "a new hour");

    let scene = Scene::new([source("ada", allow(&[(60, MINUTE), (1000, HOUR)]), plenty())]);
    for _ in 0..20 {
        assert_eq!(scene.passing(50, "ada", "chat"), 50);
        scene.wait(60);
    }
    let refused = scene.call("ada", "chat").refused.unwrap();
    assert_eq!(refused.rule, LimitRule::Window { limit: 1000, window_secs: HOUR });
    assert_eq!(refused.retry_after, Duration::from_secs(40 * 60));
}

#[test]
fn retry_after_covers_every_window_that_refuses() {
    let scene = Scene::new([source("ada", allow(&[(1, MINUTE), (1, HOUR)]), plenty())]);
    assert_eq!(scene.passing(1, "ada", "chat"), 1);
    let refused = scene.call("ada", "chat").refused.unwrap();
    assert_eq!(refused.rule, LimitRule::Window { limit: 1, window_secs: HOUR });
    assert_eq!(refused.retry_after, Duration::from_secs(3600));
}

#[test]
fn windows_of_any_whole_number_of_minutes() {
    for secs in [60, 300, 600, 3600, DAY] {
        let scene = Scene::new([source("ada", allow(&[(7, secs)]), plenty())]);
        scene.clock.set(noon().floor(secs));
        assert_eq!(scene.passing(5, "ada", "chat"), 5, "{secs}");
        scene.wait(u64::from(secs) - 1);
        assert_eq!(scene.passing(5, "ada", "chat"), 2, "{secs}");
        assert_eq!(scene.call("ada", "chat").refused.unwrap().retry_after, Duration::from_secs(1), "{secs}");
        scene.wait(1);
        assert_eq!(scene.passing(20, "ada", "chat"), 7, "{secs}");
    }
}

#[test]
fn a_limit_of_nothing_lets_nothing_through() {
    let scene = Scene::new([source("ada", allow(&[(0, MINUTE)]), plenty())]);
    assert_eq!(scene.passing(3, "ada", "chat"), 0);
}

#[test]
fn a_call_is_judged_by_its_arrival_however_late() {
    let scene = Scene::new([source("ada", plenty(), allow(&[(3, MINUTE)]))]);
    let arrived = noon().plus(Duration::from_secs(59));
    scene.clock.set(arrived);
    assert_eq!(scene.passing(3, "ada", "chat"), 3);
    scene.wait(5);
    assert_eq!(scene.passing(2, "ada", "chat"), 2, "a new minute");
    let late = scene.call_at(arrived, "ada", "chat");
    assert_eq!(late.count.minute, noon());
    assert_eq!(late.refused.unwrap().retry_after, Duration::from_secs(1), "its own minute is over already");
    assert_eq!(scene.passing(2, "ada", "chat"), 1, "and took nothing of the new one");
}

#[test]
fn a_clock_set_back_neither_shuts_nor_opens_the_gate() {
    for back in [1, 30, 61, 3600, 40 * 86_400] {
        let scene = Scene::new([source("ada", allow(&[(10, MINUTE)]), plenty())]);
        assert_eq!(scene.passing(15, "ada", "chat"), 10);
        scene.clock.set(noon().minus(Duration::from_secs(back)));
        let mut passed = 0;
        for _ in 0..3 {
            passed += scene.passing(15, "ada", "chat");
            scene.wait(60);
        }
        assert!((20..=30).contains(&passed), "{back} s back: {passed} passed in three minutes");
    }
}

#[test]
fn a_clock_set_back_leaves_endpoints_apart() {
    let mut scene = Scene::new([source("ada", plenty(), allow(&[(2, MINUTE)]))]);
    scene.limits.endpoints_per_source = 1;
    scene.wait(86_400);
    assert_eq!(scene.passing(1, "ada", "read"), 1);
    assert_eq!(scene.passing(9, "ada", "chat"), 2, "among the others");
    scene.wait(60);
    assert_eq!(scene.passing(1, "ada", "chat"), 1, "with a bucket of its own");
    scene.clock.set(noon());
    assert_eq!(scene.passing(1, "ada", "chat"), 1);
    assert_eq!(scene.passing(9, "ada", "draw"), 2, "among the others");
    assert_eq!(scene.passing(9, "ada", "chat"), 1, "the others' calls are not its own");
}

// Endpoints.

#[test]
fn an_endpoint_can_have_an_allowance_of_its_own() {
    let ada = but(source("ada", plenty(), allow(&[(100, MINUTE)])), "brain:mining-*", allow(&[(1000, MINUTE)]));
    let scene = Scene::new([but(ada, "brain:mining-proxy", allow(&[(1, MINUTE)]))]);
    assert_eq!(scene.passing(1100, "ada", "chat"), 100);
    assert_eq!(scene.passing(1100, "ada", "mining-proxy"), 1000, "the first override that matches counts");
    let refused = scene.call("ada", "chat").refused.unwrap();
    assert_eq!((refused.scope, refused.rule), (LimitScope::Endpoint, LimitRule::Window { limit: 100, window_secs: MINUTE }));
}

#[test]
fn varying_the_action_evades_nothing() {
    let scene = Scene::new([source("ada", allow(&[(100, MINUTE)]), allow(&[(10, MINUTE)]))]);
    let passed = (0..5000).filter(|n| scene.call("ada", &format!("act-{n}")).refused.is_none()).count();
    assert_eq!(passed, 64 + 10, "64 endpoints apart, the rest share one bucket");

    let scene = Scene::new([source("ada", allow(&[(100, MINUTE)]), allow(&[(1000, MINUTE)]))]);
    let passed = (0..5000).filter(|n| scene.call("ada", &format!("act-{n}")).refused.is_none()).count();
    assert_eq!(passed, 100);
}

#[test]
fn hiding_among_many_endpoints_raises_no_limit() {
    let ada = but(source("ada", plenty(), allow(&[(100, MINUTE)])), "brain:wipe", allow(&[(5, MINUTE)]));
    let scene = Scene::new([ada]);
    for n in 0..64 {
        assert!(scene.call("ada", &format!("act-{n}")).refused.is_none());
    }
    assert_eq!(scene.passing(50, "ada", "wipe"), 5);
    assert_eq!(&*scene.call("ada", "wipe").count.endpoint, "(other)");
    scene.wait(60);
    assert_eq!(scene.passing(50, "ada", "wipe"), 5);
    assert_eq!(&*scene.call("ada", "wipe").count.endpoint, "brain:wipe", "room again, in a new minute");
}

#[test]
fn a_late_call_finds_what_its_endpoint_used_among_the_others() {
    let mut scene = Scene::new([source("ada", plenty(), allow(&[(2, MINUTE)]))]);
    scene.limits.endpoints_per_source = 1;
    for _ in 0..3 {
        assert_eq!(scene.passing(1, "ada", "read"), 1);
        assert_eq!(scene.passing(9, "ada", "chat"), 2, "among the others");
        let arrived = scene.clock.now();
        scene.wait(60);
        assert_eq!(scene.passing(1, "ada", "chat"), 1, "with a bucket of its own");
        assert!(scene.call_at(arrived, "ada", "chat").refused.is_some());
        scene.wait(60);
    }
}

#[test]
fn sources_do_not_disturb_each_other() {
    let scene = Scene::new([source("ada", allow(&[(5, MINUTE)]), plenty()), source("bob", allow(&[(5, MINUTE)]), plenty())]);
    assert_eq!(scene.passing(50, "ada", "chat"), 5);
    assert_eq!(scene.passing(50, "bob", "chat"), 5);
}

// What is counted, and what answers say.

#[test]
fn every_authenticated_call_is_counted_once_under_its_own_labels() {
    let scene = Scene::new([source("ada", allow(&[(2, MINUTE)]), allow(&[(1, MINUTE)]))]);
    scene.wait(30);
    let labels: Vec<_> = (0..3).map(|_| scene.call("ada", "chat").count).collect();
    let count = |endpoint: &str| Count { identifier: "ada".into(), endpoint: endpoint.into(), minute: noon() };
    assert_eq!(labels, [count("brain:chat"), count("brain:chat"), count("*")]);
}

#[test]
fn the_service_role_is_counted_and_never_limited() {
    let scene = Scene::new([]);
    for _ in 0..5000 {
        let Verdict::Allow(ticket) = scene.limiter.limit_source(Subject::ServiceRole, &scene.limits, noon()) else { panic!("limited") };
        assert_eq!(&*ticket.count().unwrap().endpoint, "*");
        let Verdict::Allow(ticket) = scene.limiter.limit_endpoint(ticket, &endpoint("")) else { panic!("limited") };
        let count = ticket.count().unwrap();
        assert_eq!((&*count.identifier, &*count.endpoint, count.minute), ("service_role", "brain:undefined", noon()));
        assert_eq!(ticket.standings().tightest(), None);
    }
    assert_eq!(scene.limiter.buckets(), 0);
}

#[test]
fn a_stranger_that_is_let_through_is_not_counted() {
    let scene = Scene::new([]);
    let Verdict::Allow(ticket) = scene.limiter.limit_source(Subject::Stranger, &scene.limits, noon()) else { panic!("limited") };
    assert_eq!(ticket.count(), None);
    let Verdict::Allow(ticket) = scene.limiter.limit_endpoint(ticket, &endpoint("chat")) else { panic!("limited") };
    assert_eq!(ticket.count(), None);
}

#[test]
fn a_refusal_that_is_not_enforced_goes_on_to_the_endpoint_and_counts_there() {
    let scene = Scene::new([source("ada", allow(&[(0, MINUTE)]), allow(&[(1, MINUTE)]))]);
    let name = SourceName::parse("ada").unwrap();
    let subject = Subject::Source { name: &name, policy: scene.sources.find(&name).unwrap() };
    let Verdict::Deny { onward, .. } = scene.limiter.limit_source(subject, &scene.limits, noon()) else { panic!("passed") };
    let Verdict::Allow(ticket) = scene.limiter.limit_endpoint(onward, &endpoint("chat")) else { panic!("limited") };
    assert_eq!(&*ticket.count().unwrap().endpoint, "brain:chat");
}

#[test]
fn answers_can_say_where_the_tightest_window_stands() {
    let scene = Scene::new([source("ada", allow(&[(10, MINUTE), (12, HOUR)]), allow(&[(5, MINUTE)]))]);
    scene.wait(30);
    assert_eq!(scene.passing(4, "ada", "chat"), 4);
    scene.wait(60);
    let name = SourceName::parse("ada").unwrap();
    let subject = Subject::Source { name: &name, policy: scene.sources.find(&name).unwrap() };
    let Verdict::Allow(ticket) = scene.limiter.limit_source(subject, &scene.limits, scene.clock.now()) else { panic!("limited") };
    let hour = Standing { limit: 12, remaining: 7, window_secs: HOUR, resets_at: noon().plus(Duration::from_secs(3600)) };
    assert_eq!(ticket.standings().source, Some(hour));
    assert_eq!(hour.reset_secs(scene.clock.now()), 3600 - 90);
    let Verdict::Allow(ticket) = scene.limiter.limit_endpoint(ticket, &endpoint("chat")) else { panic!("limited") };
    let minute = Standing { limit: 5, remaining: 4, window_secs: MINUTE, resets_at: noon().plus(Duration::from_secs(120)) };
    assert_eq!((ticket.standings().source, ticket.standings().tightest()), (Some(hour), Some(minute)));

    let usage = scene.limiter.usage(&scene.sources, "ada", scene.clock.now()).unwrap();
    assert_eq!(usage.total.iter().map(|s| s.remaining).collect::<Vec<_>>(), [9, 7]);
    assert_eq!(usage.endpoints, [("brain:chat".into(), vec![minute])]);
    assert_eq!(scene.limiter.usage(&scene.sources, "eve", scene.clock.now()), None);
}

// Bursts.

#[test]
fn a_burst_refills_at_its_rate() {
    let scene = Scene::new([source("ada", with_burst(&[(1000, MINUTE)], 5, 2), plenty())]);
    assert_eq!(scene.passing(20, "ada", "chat"), 5);
    let refused = scene.call("ada", "chat").refused.unwrap();
    assert_eq!((refused.rule, refused.retry_after), (LimitRule::Burst { size: 5 }, Duration::from_secs(1)));
    assert_eq!(refused.place, Some(Place::new("limits.toml:2")));
    scene.clock.advance(Duration::from_millis(500));
    assert_eq!(scene.passing(20, "ada", "chat"), 1);
    scene.wait(60);
    assert_eq!(scene.passing(20, "ada", "chat"), 5);
}

#[test]
fn a_burst_that_refuses_still_counts_and_a_window_that_refuses_takes_no_burst() {
    let scene = Scene::new([source("ada", with_burst(&[(10, MINUTE)], 4, 1), plenty())]);
    assert_eq!(scene.passing(10, "ada", "chat"), 4);
    scene.wait(30);
    let refused = scene.call("ada", "chat").refused.unwrap();
    assert_eq!(refused.rule, LimitRule::Window { limit: 10, window_secs: MINUTE }, "all ten were counted");

    let scene = Scene::new([source("ada", with_burst(&[(2, MINUTE)], 4, 1), plenty())]);
    scene.clock.set(noon().plus(Duration::from_secs(59)));
    assert_eq!(scene.passing(50, "ada", "chat"), 2);
    scene.wait(1);
    assert_eq!(scene.passing(2, "ada", "chat"), 2, "two of the burst were left, and one grew back");
}

// Changes.

#[test]
fn a_raised_limit_lets_the_next_call_pass_and_keeps_the_counts() {
    let mut scene = Scene::new([source("ada", allow(&[(5, MINUTE)]), plenty())]);
    assert_eq!(scene.passing(6, "ada", "chat"), 5);
    scene.sources = listed([source("ada", allow(&[(10, MINUTE), (100, HOUR)]), plenty())]);
    assert_eq!(scene.passing(20, "ada", "chat"), 4, "six of ten were used already");
    scene.sources = listed([source("ada", allow(&[(5, MINUTE)]), plenty())]);
    assert_eq!(scene.passing(20, "ada", "chat"), 0);
    scene.sources = listed([source("ada", with_burst(&[(1000, MINUTE)], 3, 1), plenty())]);
    assert_eq!(scene.passing(20, "ada", "chat"), 3);
    scene.sources = listed([source("ada", with_burst(&[(1000, MINUTE)], 7, 1), plenty())]);
    assert_eq!(scene.passing(20, "ada", "chat"), 7, "a burst that changed begins full");
}

#[test]
fn deleting_rows_takes_their_counts_back() {
    let scene = Scene::new([source("ada", with_burst(&[(5, MINUTE), (8, HOUR)], 5, 1), allow(&[(5, HOUR)]))]);
    assert_eq!(scene.passing(9, "ada", "chat"), 5);
    assert!(scene.call("ada", "other").refused.is_some());
    scene.limiter.take_back("ada", "brain:chat", noon(), 5);
    scene.limiter.take_back("ada", "*", noon(), 5);
    assert_eq!(scene.passing(9, "ada", "chat"), 5, "minute, hour, endpoint and burst are as new");

    scene.limiter.take_back("ada", "brain:chat", noon(), 1_000_000_000_000);
    scene.limiter.take_back("nobody", "brain:chat", noon(), 3);
    assert_eq!(scene.passing(9, "ada", "chat"), 5, "never below nothing");

    scene.wait(60);
    scene.limiter.take_back("ada", "brain:chat", noon(), 4);
    let hour = scene.limiter.usage(&scene.sources, "ada", scene.clock.now()).unwrap().total[1];
    assert_eq!(hour.remaining, 8 - 5, "a row of a minute that is over still counts for its hour");

    scene.limiter.take_back_all().for_each(drop);
    assert_eq!(scene.passing(9, "ada", "chat"), 5);
}

#[test]
fn rows_of_sources_that_share_an_entry_are_taken_back_by_its_pattern() {
    let mut scene = Scene::new([source("bot-*", allow(&[(5, MINUTE)]), plenty())]);
    scene.limits.buckets = 0;
    assert_eq!(scene.passing(9, "bot-1", "chat"), 5);
    let count = scene.call("bot-2", "chat").count;
    assert_eq!(&*count.identifier, "bot-*");
    scene.limiter.take_back("bot-*", "*", noon(), 10);
    assert_eq!(scene.passing(9, "bot-2", "chat"), 5);
}

#[test]
fn rows_that_policy_does_not_know_restore_nothing() {
    let scene = Scene::new([source("ada", allow(&[(5, MINUTE)]), plenty())]);
    let rows = [("eve", "brain:chat", 9), ("service_role", "brain:chat", 9), ("not a name", "x", 9), ("", "", 9), ("ada", "brain:chat", 3)];
    scene.limiter.restore(&scene.sources, &scene.limits, MINUTE, noon(), rows);
    scene.limiter.restore(&scene.sources, &scene.limits, HOUR, noon(), rows);
    assert_eq!(scene.passing(9, "ada", "chat"), 2);
    assert_eq!(scene.limiter.buckets(), 3, "ada's total, one endpoint, and the bucket for others");
}

#[test]
fn what_is_restored_and_counts_nowhere_takes_no_room() {
    let mut scene = Scene::new([source("bot-*", allow(&[(5, MINUTE)]), plenty())]);
    scene.limiter = scene.restarted();
    let names: Vec<_> = (0..1000).map(|n| format!("bot-{n}")).collect();
    let rows = names.iter().map(|name| (name.as_str(), "brain:chat", 9));
    scene.limiter.restore(&scene.sources, &scene.limits, HOUR, noon(), rows);
    assert_eq!(scene.limiter.buckets(), 0);
}

// Bounds.

#[test]
fn exactly_the_limit_of_a_thousand_at_once() {
    let scene = Scene::new([source("ada", allow(&[(300, MINUTE), (5000, HOUR)]), allow(&[(200, MINUTE)]))]);
    let passed = AtomicUsize::new(0);
    std::thread::scope(|threads| {
        for n in 0..1000 {
            let (scene, passed) = (&scene, &passed);
            threads.spawn(move || {
                for call in 0..4 {
                    let action = if (n + call) % 2 == 0 { "chat" } else { "draw" };
                    passed.fetch_add(usize::from(scene.call("ada", action).refused.is_none()), Ordering::Relaxed);
                }
            });
        }
    });
    // The first 300 meet the endpoints' limits, which each let 200 through: between 200 and 300 pass, by how they mixed.
    let usage = scene.limiter.usage(&scene.sources, "ada", noon()).unwrap();
    assert_eq!(usage.total.iter().map(|s| s.remaining).collect::<Vec<_>>(), [0, 1000], "all 4000 were counted");
    let of_endpoints: u32 = usage.endpoints.iter().map(|(_, standings)| 200 - standings[0].remaining).sum();
    assert_eq!(passed.into_inner(), usize::try_from(of_endpoints).unwrap());

    let scene = Scene::new([source("ada", allow(&[(300, MINUTE)]), plenty())]);
    let passed = AtomicUsize::new(0);
    std::thread::scope(|threads| {
        for _ in 0..1000 {
            threads.spawn(|| passed.fetch_add(usize::from(scene.call("ada", "chat").refused.is_none()), Ordering::Relaxed));
        }
    });
    assert_eq!(passed.into_inner(), 300);
}

#[test]
fn a_million_made_up_sources_and_actions_are_held_in_bounds() {
    let mut scene = Scene::new([
        source("ada", allow(&[(5, HOUR)]), plenty()),
        source("bot-*", allow(&[(3, MINUTE)]), plenty()),
        source("bob", plenty(), allow(&[(2, MINUTE)])),
    ]);
    scene.limits.buckets = 3000;
    assert_eq!(scene.passing(9, "ada", "chat"), 5);
    assert_eq!(scene.passing(9, "bot-first", "chat"), 3);
    let mut passed = 0;
    for n in 0..500_000 {
        passed += usize::from(scene.call(&format!("bot-{n}"), "chat").refused.is_none());
        passed += usize::from(scene.call("bob", &format!("act-{n}")).refused.is_none());
        if n % 50_000 == 0 {
            scene.limiter.sweep(scene.clock.now()).for_each(drop);
        }
    }
    assert!(scene.limiter.buckets() <= 3000, "{}", scene.limiter.buckets());
    // 499 more bots have an entry of their own (3 buckets of 1500 each), the others share one; bob has 64 endpoints and one for the rest.
    assert_eq!(passed, 499 + 3 + 64 + 2);
    assert_eq!(scene.passing(9, "ada", "chat"), 0, "no running window was let go of");
    assert_eq!(scene.passing(9, "bot-first", "chat"), 0);
    assert_eq!(scene.passing(9, "bot-fresh", "chat"), 0, "the shared entry is used up");

    scene.wait(60);
    assert_eq!(scene.passing(9, "bot-first", "chat"), 3);
    scene.wait(2 * u64::from(HOUR));
    scene.limiter.sweep(scene.clock.now()).for_each(drop);
    assert_eq!(scene.limiter.buckets(), 0);
    assert_eq!(scene.passing(9, "bot-fresh", "chat"), 3);
}

#[test]
fn endpoints_of_minutes_gone_by_make_room_even_unswept() {
    let scene = Scene::new([source("ada", plenty(), allow(&[(1, MINUTE)]))]);
    for minute in 0..50 {
        for n in 0..64 {
            let count = scene.call("ada", &format!("act-{minute}-{n}")).count;
            assert_eq!(*count.endpoint, *format!("brain:act-{minute}-{n}"));
        }
        assert!(scene.limiter.buckets() <= 2 + 2 * 64, "{}", scene.limiter.buckets());
        scene.wait(60);
    }
}

#[test]
fn a_guest_counted_in_the_shared_entry_does_not_begin_again_when_room_appears() {
    let mut scene = Scene::new([source("bot-*", allow(&[(5, HOUR)]), plenty())]);
    scene.limits.buckets = 0;
    assert_eq!(scene.passing(9, "bot-1", "chat"), 5);
    scene.limits.buckets = 1000;
    assert_eq!(scene.passing(9, "bot-1", "chat"), 0);
    scene.wait(3600);
    assert_eq!(scene.passing(9, "bot-1", "chat"), 5);
    assert_eq!(&*scene.call("bot-1", "chat").count.identifier, "bot-1");
}

#[test]
fn guests_cannot_crowd_out_who_is_listed() {
    let mut scene = Scene::new([source("ada", plenty(), allow(&[(3, MINUTE)])), source("bot-*", plenty(), plenty())]);
    scene.limits.buckets = 100;
    for n in 0..1000 {
        assert!(scene.call(&format!("bot-{n}"), "chat").refused.is_none());
    }
    for n in 0..40 {
        assert_eq!(scene.passing(9, "ada", &format!("act-{n}")), 3);
    }
}

#[test]
fn names_that_are_counted_together_gain_nothing_by_being_many() {
    let together = Source { counted: Counted::Together, ..source("bot-*", allow(&[(5, MINUTE)]), plenty()) };
    let scene = Scene::new([together]);
    let passed = (0..100).filter(|n| scene.call(&format!("bot-{n}"), "chat").refused.is_none()).count();
    assert_eq!(passed, 5);
}

// Properties.

#[derive(Clone, Debug)]
struct Step {
    source: usize,
    action: usize,
    /// Milliseconds until the call arrives.
    after: u64,
    /// Milliseconds it is judged after its arrival.
    late: u64,
}

fn steps(late: u64) -> impl Strategy<Value = Vec<Step>> {
    let pause = prop_oneof![20 => 0..2_000_u64, 4 => 2_000..90_000_u64, 1 => 90_000..4_000_000_u64];
    let step = (0..3_usize, 0..6_usize, pause, 0..=late);
    prop::collection::vec(step.prop_map(|(source, action, after, late)| Step { source, action, after, late }), 1..300)
}

fn allowance() -> impl Strategy<Value = Arc<Allowance>> {
    let window = prop::sample::subsequence(vec![60, 300, 600, 3600, 86_400], 1..=3);
    (window, prop::collection::vec(0..15_u32, 3))
        .prop_map(|(secs, limits)| allow(&secs.into_iter().zip(limits).map(|(secs, limit)| (limit, secs)).collect::<Vec<_>>()))
}

fn any_sources() -> impl Strategy<Value = Vec<(Arc<Allowance>, Arc<Allowance>, Arc<Allowance>)>> {
    prop::collection::vec((allowance(), allowance(), allowance()), 3)
}

const NAMES: [&str; 3] = ["ada", "bob", "bot-7"];
const PATTERNS: [&str; 3] = ["ada", "bob", "bot-*"];
const ACTIONS: [&str; 6] = ["chat", "draw", "read", "write", "x-1", "x-2"];

fn window_lengths(allowances: &[(Arc<Allowance>, Arc<Allowance>, Arc<Allowance>)]) -> HashSet<u32> {
    let all = allowances.iter().flat_map(|(a, b, c)| [a, b, c]);
    all.flat_map(|allowance| allowance.windows.iter().map(|window| window.secs)).collect()
}

fn scene_of(allowances: &[(Arc<Allowance>, Arc<Allowance>, Arc<Allowance>)]) -> Scene {
    let sources = PATTERNS
        .iter()
        .zip(allowances)
        .map(|(pattern, (total, each, special))| but(source(pattern, total.clone(), each.clone()), "brain:x-*", special.clone()));
    Scene::new(sources)
}

/// The plainest way to say what a limit means: one number per window and whom it is counted for.
#[derive(Default)]
struct Ledger(HashMap<(String, u32, Timestamp), u32>);

impl Ledger {
    fn passes(&mut self, whom: &str, allowance: &Allowance, at: Timestamp) -> bool {
        let mut passes = true;
        for window in &allowance.windows {
            let count = self.0.entry((whom.to_owned(), window.secs, at.floor(window.secs))).or_default();
            *count += 1;
            passes &= *count <= window.limit;
        }
        passes
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    /// With calls judged up to a minute after their arrival, and so in any order around the ends of windows, each decision is what
    /// counting per window of arrival says: at most the limit, and not one less.
    #[test]
    fn decisions_are_those_of_plain_counting(allowances in any_sources(), steps in steps(60_000)) {
        let scene = scene_of(&allowances);
        let mut ledger = Ledger::default();
        for step in steps {
            scene.clock.advance(Duration::from_millis(step.after));
            let at = scene.clock.now().minus(Duration::from_millis(step.late));
            let (name, action) = (NAMES[step.source], ACTIONS[step.action]);
            let (total, each, special) = &allowances[step.source];
            let of_endpoint = if action.starts_with("x-") { special } else { each };
            let expected = ledger.passes(name, total, at) && ledger.passes(&format!("{name} {action}"), of_endpoint, at);
            prop_assert_eq!(scene.call_at(at, name, action).refused.is_none(), expected);
        }
    }

    /// A gatekeeper that is restarted in the middle, and knows only the sums of the rows, decides and counts like one that was not.
    #[test]
    fn a_restart_changes_nothing(allowances in any_sources(), steps in steps(0), restarts in prop::collection::hash_set(0..300_usize, 1..5), slots in 1..7_usize) {
        let mut scene = scene_of(&allowances);
        scene.limits.endpoints_per_source = slots;
        let lengths = window_lengths(&allowances);
        let mut second = scene.restarted();
        let mut rows: BTreeMap<Count, u64> = BTreeMap::new();
        for (n, step) in steps.into_iter().enumerate() {
            scene.clock.advance(Duration::from_millis(step.after));
            let now = scene.clock.now();
            if restarts.contains(&n) {
                second = scene.restarted();
                for secs in &lengths {
                    let start = now.floor(*secs);
                    let mut sums: BTreeMap<(&str, &str), u64> = BTreeMap::new();
                    for (row, count) in rows.iter().filter(|(row, _)| row.minute >= start) {
                        *sums.entry((&row.identifier, &row.endpoint)).or_default() += count;
                    }
                    let rows = sums.into_iter().map(|((identifier, endpoint), count)| (identifier, endpoint, count));
                    second.restore(&scene.sources, &scene.limits, *secs, start, rows);
                }
            }
            let (name, action) = (NAMES[step.source], ACTIONS[step.action]);
            let one = scene.call(name, action);
            let other = judge(&second, &scene.sources, &scene.limits, now, name, action);
            prop_assert_eq!(&one.refused, &other.refused, "call {} at {}", n, now);
            prop_assert_eq!(&one.count, &other.count, "call {} at {}", n, now);
            *rows.entry(other.count).or_default() += 1;
        }
    }

    /// Sweeping at any time lets go of nothing that could still decide.
    #[test]
    fn sweeping_changes_nothing(allowances in any_sources(), steps in steps(30_000), sweeps in prop::collection::hash_set(0..300_usize, 1..50), slots in 1..7_usize) {
        let mut scene = scene_of(&allowances);
        scene.limits.endpoints_per_source = slots;
        let swept = scene.restarted();
        for (n, step) in steps.into_iter().enumerate() {
            scene.clock.advance(Duration::from_millis(step.after));
            let at = scene.clock.now().minus(Duration::from_millis(step.late));
            if sweeps.contains(&n) {
                swept.sweep(scene.clock.now()).for_each(drop);
            }
            let (name, action) = (NAMES[step.source], ACTIONS[step.action]);
            let one = scene.call_at(at, name, action);
            let other = judge(&swept, &scene.sources, &scene.limits, at, name, action);
            prop_assert_eq!(&one.refused, &other.refused);
            prop_assert_eq!(&one.count, &other.count);
            prop_assert!(swept.buckets() <= scene.limiter.buckets());
        }
    }

    /// However few endpoints are counted apart, and however calls move between their own bucket and the shared one: never more
    /// than its limit of one endpoint, and of the source.
    #[test]
    fn sharing_a_bucket_never_lets_more_through(allowances in any_sources(), steps in steps(50_000), slots in 0..4_usize) {
        let mut scene = scene_of(&allowances);
        scene.limits.endpoints_per_source = slots;
        let mut passed = Ledger::default();
        for step in steps {
            scene.clock.advance(Duration::from_millis(step.after));
            let at = scene.clock.now().minus(Duration::from_millis(step.late));
            let (name, action) = (NAMES[step.source], ACTIONS[step.action]);
            let (total, each, special) = &allowances[step.source];
            let of_endpoint = if action.starts_with("x-") { special } else { each };
            if scene.call_at(at, name, action).refused.is_none() {
                prop_assert!(passed.passes(name, total, at));
                prop_assert!(passed.passes(&format!("{name} {action}"), of_endpoint, at), "{} {} at {}", name, action, at);
            }
        }
    }

    /// No moment and no order of moments, however absurd, stops it from answering.
    #[test]
    fn any_moment_gets_an_answer(moments in prop::collection::vec((any::<i64>(), any::<i64>()), 1..100)) {
        let scene = Scene::new([source("ada", with_burst(&[(5, MINUTE), (7, DAY)], 3, 1), allow(&[(5, MINUTE)]))]);
        for (clock, at) in moments {
            scene.clock.set(Timestamp::from_micros(clock / 4));
            let judged = scene.call_at(Timestamp::from_micros(at / 4), "ada", "chat");
            scene.limiter.sweep(Timestamp::from_micros(clock / 4)).for_each(drop);
            if let Some(limited) = judged.refused {
                prop_assert!(limited.retry_after >= Duration::from_secs(1));
            }
        }
    }
}

// Strangers.

fn network(n: u32) -> Network {
    Network::of(std::net::Ipv4Addr::from_bits(n << 8).into())
}

fn limits(stranger_records_per_minute: u32) -> Limits {
    Limits { endpoints_per_source: 1, buckets: 1, stranger_records_per_minute, window_lengths: vec![] }
}

#[test]
fn the_first_failures_of_a_network_are_recorded_and_the_rest_folded_into_one_count_a_minute() {
    let (strangers, limits) = (Strangers::default(), limits(3));
    let folds: Vec<_> = (0..10).map(|_| strangers.note(network(1), noon(), &limits)).collect();
    assert_eq!(folds.iter().filter(|fold| **fold == Fold::Record).count(), 3);
    assert!(folds[..3].iter().all(|fold| *fold == Fold::Record));
    assert_eq!(strangers.note(network(2), noon(), &limits), Fold::Record, "another network has its own");

    assert_eq!(strangers.drain(noon().plus(Duration::from_secs(59))), [], "the minute still runs");
    let next = noon().plus(Duration::from_secs(60));
    assert_eq!(strangers.note(network(1), next, &limits), Fold::Record);
    let folded = strangers.drain(next);
    assert_eq!(folded.iter().map(|f| (f.network, f.minute, f.count)).collect::<Vec<_>>(), [(Some(network(1)), noon(), 7)]);
    assert_eq!(strangers.drain(next), [], "each count once");

    // A failure that is late for its minute counts into the one that runs.
    for _ in 0..5 {
        strangers.note(network(1), noon(), &limits);
    }
    let folded = strangers.drain_all();
    assert_eq!(folded.iter().map(|f| (f.minute, f.count)).collect::<Vec<_>>(), [(next, 3)]);
}

#[test]
fn many_networks_fill_neither_disk_nor_memory_and_every_failure_is_in_a_record_or_a_count() {
    let (strangers, limits) = (Strangers::default(), limits(5));
    let mut recorded = 0;
    for n in 0..100_000 {
        recorded += u32::from(strangers.note(network(n), noon(), &limits) == Fold::Record);
    }
    assert_eq!(recorded, 50);
    let folded = strangers.drain_all();
    assert!(folded.len() <= 4097, "{}", folded.len());
    assert_eq!(recorded + folded.iter().map(|f| f.count).sum::<u32>(), 100_000);
    assert_eq!(folded.iter().filter(|f| f.network.is_none()).map(|f| f.count).sum::<u32>(), 100_000 - 4096);
}

#[test]
fn a_drain_that_stands_still_bounds_the_minutes_too() {
    let (strangers, limits) = (Strangers::default(), limits(0));
    for minute in 0..1000 {
        strangers.note(network(1), noon().plus(Duration::from_secs(minute * 60)), &limits);
    }
    let folded = strangers.drain_all();
    assert_eq!(folded.len(), 10);
    assert_eq!(folded.iter().map(|f| f.count).sum::<u32>(), 1000);
}

#[test]
fn a_clock_set_back_does_not_hold_counts_of_strangers_for_ever() {
    let (strangers, limits) = (Strangers::default(), limits(0));
    strangers.note(network(1), noon(), &limits);
    let yesterday = noon().minus(Duration::from_secs(86_400));
    assert_eq!(strangers.drain(yesterday).len(), 1);
    strangers.note(network(1), yesterday, &limits);
    assert_eq!(strangers.drain(yesterday.plus(Duration::from_secs(60))).iter().map(|f| f.minute).collect::<Vec<_>>(), [yesterday]);
}
