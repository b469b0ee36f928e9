//! A process that takes over from another decides like one that has been there all along, however far behind the rows are that it
//! read at its start.

use eliza_gatekeeper::gates::rate_limit::{EarlierCounts, Held};

use super::*;

/// As it is sent from one process to the other.
fn sent(limiter: &RateLimiter, now: Timestamp) -> Vec<Held> {
    serde_json::from_str(&serde_json::to_string(&Held::fullest(limiter.held(now).flatten().collect())).unwrap()).unwrap()
}

#[test]
fn what_is_known_from_rows_counts_once() {
    let scene = Scene::new([source("ada", allow(&[(100, MINUTE)]), plenty())]);
    assert_eq!(scene.passing(60, "ada", "chat"), 60);
    for known in [0, 59, 60] {
        let next = scene.restarted();
        next.restore(&scene.sources, &scene.limits, MINUTE, noon(), [("ada", "brain:chat", known)]);
        next.take_over(&scene.sources, &scene.limits, &sent(&scene.limiter, scene.clock.now()));
        let call = || judge(&next, &scene.sources, &scene.limits, scene.clock.now(), "ada", "chat");
        assert_eq!((0..50).filter(|_| call().refused.is_none()).count(), 40, "{known} were known");
    }
}

#[test]
fn what_is_handed_over_while_rows_are_still_added_counts_once() {
    let scene = Scene::new([source("ada", allow(&[(100, MINUTE)]), plenty()), source("eve", allow(&[(100, MINUTE)]), plenty())]);
    assert_eq!((scene.passing(60, "ada", "chat"), scene.passing(30, "eve", "chat")), (60, 30));
    let (next, earlier) = (scene.restarted(), EarlierCounts::default());
    let add = |name, calls| {
        earlier.add(|| next.restore(&scene.sources, &scene.limits, MINUTE, noon(), [(name, "brain:chat", calls)]));
    };
    assert!(earlier.begin());
    add("ada", 60);
    earlier.take(|| next.take_over(&scene.sources, &scene.limits, &sent(&scene.limiter, scene.clock.now())));
    add("eve", 30);
    assert!(!earlier.begin(), "nobody adds them again");
    for (name, left) in [("ada", 40), ("eve", 70)] {
        let call = || judge(&next, &scene.sources, &scene.limits, scene.clock.now(), name, "chat");
        assert_eq!((0..100).filter(|_| call().refused.is_none()).count(), left, "{name}");
    }
}

/// As processes of earlier versions send it.
#[test]
fn what_an_older_process_says_is_understood() {
    let scene = Scene::new([source("ada", allow(&[(100, MINUTE)]), allow(&[(10, MINUTE)]))]);
    let start = noon().floor(MINUTE).as_micros();
    let text = format!(
        r#"[{{"identifier":"ada","of":"total","secs":60,"start":{start},"current":4,"previous":0}},
            {{"identifier":"ada","of":{{"endpoint":"brain:chat"}},"secs":60,"start":{start},"current":4,"previous":0}}]"#
    );
    scene.limiter.take_over(&scene.sources, &scene.limits, &serde_json::from_str::<Vec<Held>>(&text).unwrap());
    assert_eq!(scene.passing(20, "ada", "chat"), 6);
}

#[test]
fn what_a_source_no_longer_listed_has_used_is_passed_over() {
    let scene = Scene::new([source("ada", allow(&[(5, MINUTE)]), plenty()), source("eve", plenty(), plenty())]);
    assert_eq!((scene.passing(3, "ada", "chat"), scene.passing(3, "eve", "chat")), (3, 3));
    let next = Scene::new([source("ada", allow(&[(5, MINUTE)]), plenty())]);
    next.limiter.take_over(&next.sources, &next.limits, &sent(&scene.limiter, scene.clock.now()));
    assert_eq!(next.passing(9, "ada", "chat"), 2);
    assert_eq!(next.limiter.buckets(), 3, "ada's total, one endpoint, and the bucket for others");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    /// Of what was counted up to a handover, the rows know all but the last few calls.
    #[test]
    fn a_handover_changes_nothing(
        allowances in any_sources(),
        steps in steps(200_000),
        handovers in prop::collection::hash_map(0..300_usize, 0..20_usize, 1..5),
        slots in 1..7_usize,
    ) {
        let mut scene = scene_of(&allowances);
        scene.limits.endpoints_per_source = slots;
        let lengths = window_lengths(&allowances);
        let mut second = scene.restarted();
        let mut rows: Vec<Count> = Vec::new();
        for (n, step) in steps.into_iter().enumerate() {
            scene.clock.advance(Duration::from_millis(step.after));
            let now = scene.clock.now();
            if let Some(behind) = handovers.get(&n) {
                let held = sent(&second, now);
                second = scene.restarted();
                let written = &rows[..rows.len().saturating_sub(*behind)];
                for secs in &lengths {
                    let mut sums: BTreeMap<(&str, &str), u64> = BTreeMap::new();
                    for row in written.iter().filter(|row| row.minute >= now.floor(*secs)) {
                        *sums.entry((&row.identifier, &row.endpoint)).or_default() += 1;
                    }
                    let sums = sums.into_iter().map(|((identifier, endpoint), count)| (identifier, endpoint, count));
                    second.restore(&scene.sources, &scene.limits, *secs, now.floor(*secs), sums);
                }
                second.take_over(&scene.sources, &scene.limits, &held);
            }
            let (name, action) = (NAMES[step.source], ACTIONS[step.action]);
            let at = now.minus(Duration::from_millis(step.late));
            let one = scene.call_at(at, name, action);
            let other = judge(&second, &scene.sources, &scene.limits, at, name, action);
            prop_assert_eq!(&one.refused, &other.refused, "call {} at {}", n, now);
            prop_assert_eq!(&one.count, &other.count, "call {} at {}", n, now);
            rows.push(other.count);
        }
    }
}
