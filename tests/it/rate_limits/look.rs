//! Looking says what a call would get, to the second, and leaves no trace.

use super::*;

const SOURCES: [&str; 6] = ["ada", "bot-1", "bot-2", "bot-3", "crowd-1", "crowd-2"];

/// All that the gates say of a call, the endpoint's even where the source's already refuses.
type Said = (Option<Denial>, Option<Denial>, Standings, Option<Count>);

#[derive(Clone, Copy)]
enum Way {
    Look,
    Call,
}

fn said(limiter: &RateLimiter, scene: &Scene, way: Way, at: Timestamp, source: &str, action: &str) -> Said {
    let name = SourceName::parse(source).unwrap();
    let subject = Subject::Source { name: &name, policy: scene.sources.find(&name).unwrap() };
    let by_source = match way {
        Way::Look => limiter.look(subject, &scene.limits, at),
        Way::Call => limiter.limit_source(subject, &scene.limits, at),
    };
    let of_source = by_source.denial().cloned();
    let (Verdict::Allow(ticket) | Verdict::Deny { onward: ticket, .. }) = by_source;
    let by_endpoint = limiter.limit_endpoint(ticket, &endpoint(action));
    (of_source, by_endpoint.denial().cloned(), by_endpoint.proof().standings(), by_endpoint.proof().count().cloned())
}

fn with_or_without_burst() -> impl Strategy<Value = Arc<Allowance>> {
    (allowance(), prop::option::of((1..6_u32, 1..4_u32))).prop_map(|(allowance, burst)| match burst {
        None => allowance,
        Some((size, per_second)) => {
            let windows: Vec<_> = allowance.windows.iter().map(|window| (window.limit, window.secs)).collect();
            with_burst(&windows, size, per_second)
        }
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    /// Right before each call a look says what the call then gets; and a gatekeeper that is looked at, again and again, says what one
    /// says that is not. Whoever is counted apart, among others, for the first time, late, or when there is no room.
    #[test]
    fn a_look_says_what_the_call_then_gets(
        allowances in prop::collection::vec(with_or_without_burst(), 9),
        calls in prop::collection::vec((0..6_usize, 0..6_usize, prop_oneof![3 => 0..900_u64, 1 => 0..90_000_u64], 0..60_000_u64), 1..200),
        endpoints_per_source in 0..5_usize,
        buckets in 0..24_usize,
    ) {
        let of = |n: usize| allowances[n].clone();
        let listed = |pattern, n| but(source(pattern, of(n), of(n + 1)), "brain:x-*", of(n + 2));
        let crowd = Source { counted: Counted::Together, ..listed("crowd-*", 6) };
        let mut scene = Scene::new([listed("ada", 0), listed("bot-*", 3), crowd]);
        scene.limits.endpoints_per_source = endpoints_per_source;
        scene.limits.buckets = buckets;
        let unseen = scene.restarted();
        for (source, action, after, late) in calls {
            scene.clock.advance(Duration::from_millis(after));
            let at = scene.clock.now().minus(Duration::from_millis(late));
            let (source, action) = (SOURCES[source], ACTIONS[action]);
            let held = scene.limiter.buckets();
            let looks = [(); 2].map(|()| said(&scene.limiter, &scene, Way::Look, at, source, action));
            prop_assert_eq!(scene.limiter.buckets(), held);
            let got = said(&scene.limiter, &scene, Way::Call, at, source, action);
            for look in looks {
                prop_assert_eq!(&look, &got, "{} {} at {}", source, action, at);
            }
            prop_assert_eq!(&said(&unseen, &scene, Way::Call, at, source, action), &got, "{} {} at {}", source, action, at);
        }
    }
}

#[test]
fn a_look_neither_begins_a_count_nor_uses_up_a_burst() {
    let scene = Scene::new([source("ada", with_burst(&[(3, MINUTE)], 2, 1), plenty())]);
    for _ in 0..100 {
        assert_eq!(said(&scene.limiter, &scene, Way::Look, noon(), "ada", "chat").0, None);
    }
    assert_eq!(scene.limiter.buckets(), 0);
    assert_eq!(scene.passing(5, "ada", "chat"), 2, "the whole burst is there");
    let wait = |denial: Option<Denial>| denial.map(|denial| limited(denial).retry_after);
    assert_eq!(wait(said(&scene.limiter, &scene, Way::Look, noon(), "ada", "chat").0), Some(Duration::from_secs(60)));
}
