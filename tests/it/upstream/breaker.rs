//! A target that keeps failing is left alone, tried by one call at a time, and used again as soon as it answers.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use eliza_gatekeeper::clock::{Clock, ManualClock, Timestamp};
use eliza_gatekeeper::policy::{BreakerPolicy, Target, Targets as PolicyTargets};
use eliza_gatekeeper::upstream::{BreakerState, BreakerView, Dial, Upstream};
use eliza_gatekeeper::verdict::Failure;
use serde_json::json;

use super::{body, call};
use crate::support::targets::{Conduct, Gate, Misdeed, Targets};

const OPEN_FOR: Duration = Duration::from_secs(30);

struct Scene {
    targets: Targets,
    target: Target,
    upstream: Upstream,
    hand: ManualClock,
}

impl Scene {
    /// A breaker that opens at the third failure in a row.
    async fn set(conduct: Conduct) -> Self {
        let targets = Targets::like_the_platform().but("brain", conduct).start().await;
        let mut target = super::target("brain", targets.url("brain"));
        target.breaker = BreakerPolicy { failures: NonZeroU32::new(3).unwrap(), open_for: OPEN_FOR };
        let hand = ManualClock::at(Timestamp::from_secs(1_772_000_000));
        let upstream = Upstream::new(Dial::Network, Clock::Manual(hand.clone()));
        upstream.follow(&listed(&targets, &["brain"]));
        Self { targets, target, upstream, hand }
    }

    async fn broken() -> Self {
        let scene = Self::set(Conduct::empty_502()).await;
        scene.try_times(3).await;
        assert_eq!(scene.view().state, BreakerState::Open);
        scene
    }

    async fn call(&self) -> Result<u16, Failure> {
        let answer = call(&self.target).through(&self.upstream).await?;
        let status = answer.status.as_u16();
        body(answer).await;
        Ok(status)
    }

    async fn try_times(&self, times: usize) {
        for _ in 0..times {
            let _ = self.call().await;
        }
    }

    fn view(&self) -> BreakerView {
        let views = self.upstream.breakers();
        assert_eq!(views.len(), 1);
        assert_eq!(views[0].0.as_str(), "brain");
        views[0].1
    }

    fn arrived(&self) -> usize {
        self.targets.received("brain").len()
    }

    async fn assert_refused(&self, retry_after: Duration) {
        let before = self.arrived();
        assert_eq!(self.call().await, Err(Failure::BreakerOpen { target: self.target.name.clone(), retry_after }));
        assert_eq!(self.arrived(), before, "an open breaker lets nothing through");
    }
}

fn listed(targets: &Targets, names: &[&str]) -> PolicyTargets {
    let named = |name: &&str| (Arc::from(*name), Arc::new(super::target(name, targets.url(name))));
    PolicyTargets { by_name: names.iter().map(named).collect() }
}

#[tokio::test]
async fn it_opens_at_the_stated_failure_in_a_row_and_no_sooner() {
    let scene = Scene::set(Conduct::reset()).await;
    scene.try_times(2).await;
    scene.targets.mend("brain");
    assert_eq!(scene.call().await, Ok(200));
    assert_eq!(scene.view(), BreakerView { state: BreakerState::Closed, failures: 0, opened: 0 });

    scene.targets.let_be("brain", Conduct::reset());
    scene.try_times(2).await;
    assert_eq!(scene.view(), BreakerView { state: BreakerState::Closed, failures: 2, opened: 0 });
    scene.try_times(1).await;
    assert_eq!(scene.view(), BreakerView { state: BreakerState::Open, failures: 3, opened: 1 });
    scene.assert_refused(OPEN_FOR).await;
    scene.hand.advance(Duration::from_secs(10));
    scene.assert_refused(Duration::from_secs(20)).await;
}

#[tokio::test]
async fn what_counts_as_the_targets_failure() {
    let nothing = |status| Conduct::status(status, "text/plain", "");
    let table = [
        ("not found", nothing(404), BreakerState::Closed),
        ("too many", nothing(429), BreakerState::Closed),
        ("its own error", Conduct::html_500(), BreakerState::Closed),
        ("its error in JSON", Conduct::json(500, &json!({"error": "Unknown action: x"})), BreakerState::Closed),
        ("not implemented", nothing(501), BreakerState::Closed),
        ("bad gateway", Conduct::empty_502(), BreakerState::Open),
        ("unavailable", nothing(503), BreakerState::Open),
        ("gateway timeout", nothing(504), BreakerState::Open),
        ("reset", Conduct::reset(), BreakerState::Open),
        ("nonsense", Conduct::garbage(), BreakerState::Open),
        ("silence", Conduct::Hang(Gate::shut()), BreakerState::Open),
    ];
    for (case, conduct, expected) in table {
        let mut scene = Scene::set(conduct).await;
        scene.target.timeout = if case == "silence" { Duration::from_millis(20) } else { scene.target.timeout };
        scene.try_times(3).await;
        assert_eq!(scene.view().state, expected, "{case}");
    }
    let mut scene = Scene::set(Conduct::Function).await;
    scene.target.sites = vec![scene.targets.refusing_url("brain").into()];
    scene.try_times(3).await;
    assert_eq!(scene.view().state, BreakerState::Open, "refused connections");
    // What is missing on our side says nothing about the target, and is said before its breaker is asked.
    scene.target.sites.clear();
    assert_eq!(scene.call().await, Err(Failure::TargetNotConfigured { target: scene.target.name.clone() }));
}

#[tokio::test]
async fn one_call_tries_and_its_success_opens_the_way() {
    let scene = Scene::broken().await;
    let gate = Gate::shut();
    scene.targets.let_be("brain", Conduct::Hang(gate.clone()));
    scene.hand.advance(OPEN_FOR);
    assert_eq!(scene.view().state, BreakerState::HalfOpen);

    let others = async {
        scene.targets.arrival("brain", 4).await;
        for _ in 0..3 {
            scene.assert_refused(Duration::from_secs(1)).await;
        }
        gate.open();
    };
    let (tried, ()) = tokio::join!(scene.call(), others);
    assert_eq!(tried, Ok(200));
    assert_eq!(scene.view(), BreakerView { state: BreakerState::Closed, failures: 0, opened: 1 });
    assert_eq!(scene.call().await, Ok(200));
}

#[tokio::test]
async fn a_trial_that_fails_opens_it_again_for_the_whole_time() {
    let scene = Scene::broken().await;
    scene.hand.advance(OPEN_FOR);
    assert_eq!(scene.call().await, Ok(502));
    assert_eq!((scene.view().state, scene.view().opened), (BreakerState::Open, 2));
    scene.assert_refused(OPEN_FOR).await;
}

#[tokio::test]
async fn a_trial_whose_caller_hung_up_leaves_the_next_one_to_try() {
    let scene = Scene::broken().await;
    scene.targets.let_be("brain", Conduct::Hang(Gate::shut()));
    scene.hand.advance(OPEN_FOR);
    tokio::select! {
        outcome = scene.call() => panic!("it was to hang, but: {outcome:?}"),
        _ = scene.targets.arrival("brain", 4) => {}
    }
    assert_eq!(scene.view().state, BreakerState::HalfOpen);
    scene.targets.mend("brain");
    assert_eq!(scene.call().await, Ok(200));
    assert_eq!(scene.view().state, BreakerState::Closed);
}

#[tokio::test]
async fn stragglers_of_an_outage_that_is_over_do_not_bring_it_back() {
    let gate = Gate::shut();
    let late = Conduct::Misbehave(Misdeed { says: "".into(), holds: Some(gate.clone()), cuts: true });
    let scene = Scene::set(late).await;
    let stragglers = async { tokio::join!(scene.call(), scene.call(), scene.call(), scene.call()) };
    let meanwhile = async {
        scene.targets.arrival("brain", 4).await;
        scene.targets.let_be("brain", Conduct::empty_502());
        scene.try_times(3).await;
        assert_eq!(scene.view().state, BreakerState::Open);
        scene.targets.mend("brain");
        scene.hand.advance(OPEN_FOR);
        assert_eq!(scene.call().await, Ok(200));
        gate.open();
    };
    let (late, ()) = tokio::join!(stragglers, meanwhile);
    assert!(matches!(late, (Err(Failure::TargetReset { .. }), Err(_), Err(_), Err(_))), "{late:?}");
    assert_eq!(scene.view(), BreakerView { state: BreakerState::Closed, failures: 0, opened: 1 });
}

#[tokio::test]
async fn targets_have_breakers_of_their_own_for_as_long_as_policy_knows_them() {
    let scene = Scene::broken().await;
    let other = super::target("other", scene.targets.url("other"));
    assert_eq!(call(&other).through(&scene.upstream).await.unwrap().status, 200);

    let listed = |names: &[&str]| listed(&scene.targets, names);
    let states = || scene.upstream.breakers().into_iter().map(|(name, view)| (name.to_string(), view.state)).collect::<Vec<_>>();
    scene.upstream.follow(&listed(&["brain", "newcomer"]));
    assert_eq!(states(), [("brain".to_owned(), BreakerState::Open), ("newcomer".to_owned(), BreakerState::Closed)]);
    scene.upstream.follow(&listed(&["newcomer"]));
    scene.upstream.follow(&listed(&["newcomer", "brain"]));
    assert_eq!(states(), [("brain".to_owned(), BreakerState::Closed), ("newcomer".to_owned(), BreakerState::Closed)]);
}
