//! The addresses of one target, and which of them gets the next call: of those that are well the one with the fewest calls under way,
//! in turn where there are several. Where none is well, calls go to those that are not: refusing without asking helps nobody.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::breaker::Conduct;
use super::site::{Fitness, OnSite, SiteState};
use super::views::SiteView;
use crate::policy::Ejection;

#[derive(Debug)]
pub struct Sites {
    all: Box<[Arc<SiteState>]>,
    /// Counts the calls, so that of equals the one whose last call is the longest ago gets the next.
    turns: AtomicU64,
    /// Held while one is left out, so that two calls cannot leave out the last two.
    leaving_out: Mutex<()>,
}

/// The place of an address among those of its target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Nth(usize);

impl Nth {
    pub fn at(self) -> usize {
        self.0
    }
}

impl Sites {
    pub fn new(all: impl IntoIterator<Item = Arc<SiteState>>) -> Self {
        Self { all: all.into_iter().collect(), turns: AtomicU64::new(1), leaving_out: Mutex::default() }
    }

    pub fn all(&self) -> &[Arc<SiteState>] {
        &self.all
    }

    pub fn view(&self) -> Vec<SiteView> {
        self.all.iter().map(|site| site.view()).collect()
    }

    /// Whether there is an address that was not tried yet.
    pub fn has_others(&self, tried: &[Nth]) -> bool {
        (0..self.all.len()).any(|at| !tried.contains(&Nth(at)))
    }

    /// The address for the next try. `None` once all were tried.
    pub fn choose(&self, tried: &[Nth], now_nanos: u64) -> Option<(Nth, OnSite)> {
        // Most targets have one, and it is well.
        if let ([only], []) = (&*self.all, tried)
            && let Some(on_site) = only.enter_if_well(&self.turns)
        {
            return Some((Nth(0), on_site));
        }
        // Each look that comes to nothing is one address that another call tries now.
        (0..=self.all.len()).find_map(|_| {
            let (at, site, fitness) = self.fittest(tried, now_nanos)?;
            Some((at, site.enter(fitness, self.turns.fetch_add(1, Ordering::Relaxed))?))
        })
    }

    fn fittest(&self, tried: &[Nth], now_nanos: u64) -> Option<(Nth, &Arc<SiteState>, Fitness)> {
        let open = self.all.iter().enumerate().map(|(at, site)| (Nth(at), site)).filter(|(at, _)| !tried.contains(at));
        let rated = open.map(|(at, site)| (at, site, site.fitness(now_nanos)));
        rated.min_by_key(|(_, site, fitness)| (rank(*fitness, tried), site.load(), site.last_turn()))
    }

    /// How a call at one of them went. `true` if it speaks of the target as a whole: while another address answers, a failure does not.
    pub fn report(&self, on: &mut OnSite, conduct: Conduct, policy: Ejection) -> bool {
        let _one_at_a_time = (conduct == Conduct::Failed).then(|| self.leaving_out.lock().unwrap_or_else(PoisonError::into_inner));
        let others = || self.all.iter().filter(|other| !Arc::ptr_eq(other, &on.site));
        let (another_is_left, another_answers) = match conduct {
            Conduct::Answered => (false, false),
            Conduct::Failed => (others().any(|other| !other.is_left_out()), others().any(|other| other.answers())),
        };
        on.report(conduct, policy, another_is_left);
        !another_answers
    }
}

/// What is due to be tried goes first, or it would never be; but not with a call that has failed once.
fn rank(fitness: Fitness, tried: &[Nth]) -> u8 {
    match fitness {
        Fitness::ToBeTried if tried.is_empty() => 0,
        Fitness::Well => 1,
        Fitness::ToBeTried => 2,
        Fitness::Down => 3,
        Fitness::LeftOut => 4,
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;
    use std::time::Duration;

    use super::*;
    use crate::clock::{Clock, ManualClock, Timestamp};
    use crate::identity::TargetName;
    use crate::policy::Terms;
    use crate::upstream::views::{Probe, SiteCondition};

    const FIRST: Duration = Duration::from_secs(10);
    const POLICY: Ejection = Ejection { failures: NonZeroU32::MIN.saturating_add(2), first: FIRST, longest: Duration::from_secs(25) };

    struct Scene {
        sites: Sites,
        hand: ManualClock,
    }

    fn scene(count: usize) -> Scene {
        let hand = ManualClock::at(Timestamp::from_secs(1_772_000_000));
        let clock = Clock::Manual(hand.clone());
        let target = TargetName::parse("brain").unwrap();
        let site = |at| Arc::new(SiteState::new(&target, &format!("http://h{at}/").parse().unwrap(), &clock));
        Scene { sites: Sites::new((0..count).map(site)), hand }
    }

    impl Scene {
        fn choose(&self, tried: &[Nth]) -> Option<(Nth, OnSite)> {
            self.sites.choose(tried, Clock::Manual(self.hand.clone()).monotonic_nanos())
        }

        fn enter(&self) -> (usize, OnSite) {
            let (Nth(at), on) = self.choose(&[]).unwrap();
            (at, on)
        }

        /// One call, to wherever it goes.
        fn call(&self, how: impl Fn(usize) -> Conduct) -> usize {
            let (at, mut on) = self.enter();
            self.sites.report(&mut on, how(at), POLICY);
            at
        }

        fn calls(&self, count: usize, how: impl Fn(usize) -> Conduct) -> Vec<usize> {
            let mut went = vec![0; self.sites.all().len()];
            for _ in 0..count {
                went[self.call(&how)] += 1;
            }
            went
        }

        fn condition(&self, at: usize) -> SiteCondition {
            self.sites.view()[at].condition
        }
    }

    fn first_fails(at: usize) -> Conduct {
        if at == 0 { Conduct::Failed } else { Conduct::Answered }
    }

    fn answers(_: usize) -> Conduct {
        Conduct::Answered
    }

    #[test]
    fn the_least_loaded_gets_the_call_and_equals_take_turns() {
        let scene = scene(3);
        assert_eq!(scene.calls(300, answers), [100, 100, 100]);
        let busy: Vec<_> = (0..4).map(|_| scene.enter()).collect();
        let loads: Vec<usize> = scene.sites.all().iter().map(|site| site.load()).collect();
        assert_eq!((loads.iter().sum::<usize>(), *loads.iter().max().unwrap()), (4, 2));
        let busiest = loads.iter().position(|load| *load == 2).unwrap();
        assert_eq!(scene.calls(20, answers)[busiest], 0);
        drop(busy);
        assert!(scene.sites.all().iter().all(|site| site.load() == 0));
    }

    #[test]
    fn an_address_that_keeps_failing_is_left_out_ever_longer_and_comes_back_by_one_trial() {
        let scene = scene(2);
        assert_eq!(scene.calls(20, first_fails)[0], 3);
        assert_eq!(scene.condition(0), SiteCondition::Ejected { left: FIRST });
        let mut waited = FIRST;
        for out_for in [20, 25, 25].map(Duration::from_secs) {
            scene.hand.advance(waited);
            assert_eq!(scene.condition(0), SiteCondition::OnTrial);
            assert_eq!(scene.calls(20, first_fails)[0], 1, "one call tries");
            assert_eq!(scene.condition(0), SiteCondition::Ejected { left: out_for });
            waited = out_for;
        }
        scene.hand.advance(Duration::from_secs(25));
        assert!(scene.calls(20, answers)[0] >= 9, "it takes its turn again");
        assert_eq!((scene.condition(0), scene.sites.view()[0].ejections), (SiteCondition::Well, 4));
    }

    #[test]
    fn while_one_tries_the_others_go_elsewhere_and_a_trial_given_up_is_the_next_calls() {
        let scene = scene(2);
        scene.calls(20, first_fails);
        scene.hand.advance(FIRST);
        let (tried, trial) = scene.enter();
        assert_eq!((tried, scene.calls(10, answers)[0]), (0, 0));
        drop(trial);
        assert_eq!(scene.call(answers), 0);
        assert_eq!(scene.condition(0), SiteCondition::Well);
    }

    #[test]
    fn one_address_is_always_left() {
        let scene = scene(3);
        scene.calls(100, |_| Conduct::Failed);
        let well = (0..3).filter(|at| scene.condition(*at) == SiteCondition::Well).count();
        assert_eq!(well, 1);
        let alone = self::scene(1);
        alone.calls(100, |_| Conduct::Failed);
        assert_eq!(alone.condition(0), SiteCondition::Well);
    }

    #[test]
    fn what_its_health_path_says_keeps_calls_away_unless_there_is_nowhere_else() {
        let scene = scene(2);
        let policy = Terms::default().check;
        let hear = |at: usize, probe| scene.sites.all()[at].heard(probe, policy);
        hear(0, Probe::Down);
        assert_eq!((scene.condition(0), scene.calls(10, answers)[0]), (SiteCondition::Down, 0));
        hear(0, Probe::Up);
        assert_eq!(scene.condition(0), SiteCondition::Down, "one good answer may be luck");
        hear(0, Probe::Up);
        assert_eq!((scene.condition(0), scene.calls(10, answers)[0]), (SiteCondition::Well, 5));
        for bad in [Probe::Down, Probe::Up, Probe::Down, Probe::Down] {
            assert_eq!(scene.condition(0), SiteCondition::Well, "one bad answer may be bad luck");
            hear(0, bad);
        }
        hear(1, Probe::Down);
        assert_eq!(scene.calls(10, answers), [5, 5], "all are down: all are called");
    }

    #[test]
    fn a_failure_speaks_of_the_target_only_while_no_other_address_answers() {
        let scene = scene(2);
        let report = |conduct| {
            let (at, mut on) = scene.enter();
            (at, scene.sites.report(&mut on, conduct, POLICY))
        };
        assert_eq!([report(Conduct::Failed), report(Conduct::Answered)], [(0, true), (1, true)]);
        assert_eq!(report(Conduct::Failed), (0, false), "the other answers");
        assert_eq!([report(Conduct::Failed), report(Conduct::Failed)], [(1, true), (0, true)]);
    }

    #[test]
    fn a_call_that_failed_is_no_trial_and_goes_where_it_was_not() {
        let scene = scene(3);
        scene.calls(30, first_fails);
        scene.hand.advance(FIRST);
        let second = scene.choose(&[Nth(1)]).unwrap().0;
        assert_eq!(second, Nth(2));
        assert_eq!(scene.choose(&[Nth(1), Nth(2)]).unwrap().0, Nth(0));
        assert!(scene.choose(&[Nth(0), Nth(1), Nth(2)]).is_none());
        assert!(!scene.sites.has_others(&[Nth(2), Nth(0), Nth(1)]) && scene.sites.has_others(&[Nth(2)]));
    }
}
