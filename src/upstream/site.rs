//! What is known of one address of a target: how many calls are under way there, whether it fails again and again, and what its health
//! path says. An address that fails is left out for a while, longer each time; then one call tries it.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::Uri;

use super::breaker::Conduct;
use super::views::{Probe, SiteCondition, SiteView};
use crate::clock::Clock;
use crate::identity::TargetName;
use crate::policy::{Ejection, HealthCheck};

#[derive(Debug)]
pub struct SiteState {
    target: TargetName,
    pub(super) url: Uri,
    clock: Clock,
    under_way: AtomicUsize,
    /// The number of the last call that it got, among those of its target.
    last_turn: AtomicU64,
    /// Of all time: calls that set out for it, and how many of them failed.
    calls: AtomicU64,
    failures: AtomicU64,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    /// Failures since it last answered.
    in_a_row: u32,
    has_answered: bool,
    turn: Turn,
    /// Grows with every change of turn. A call reports under the era it set out in: what it saw before says nothing of what is now.
    era: u64,
    ejections: u64,
    checked: Checked,
}

/// Whether it takes its turn with the others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Turn {
    #[default]
    Taken,
    /// Left out; `times` in a row.
    Out { until_nanos: u64, times: u32 },
    /// One call tries it.
    Trial { times: u32 },
}

/// What its health path has said.
#[derive(Clone, Debug, Default)]
struct Checked {
    at: Option<Uri>,
    /// Nothing before it was asked.
    probe: Option<Probe>,
    /// Answers in a row that say otherwise.
    contrary: u32,
    due_nanos: u64,
}

/// How fit an address is for a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fitness {
    Well,
    /// It was left out for long enough: one call is to try it.
    ToBeTried,
    /// Its health path says so.
    Down,
    LeftOut,
}

/// A call that is under way at an address. It counts there until it is dropped.
#[derive(Debug)]
pub struct OnSite {
    pub(super) site: Arc<SiteState>,
    era: u64,
    trial: bool,
}

impl SiteState {
    pub fn new(target: &TargetName, url: &Uri, clock: &Clock) -> Self {
        Self {
            target: target.clone(),
            url: url.clone(),
            clock: clock.clone(),
            under_way: AtomicUsize::default(),
            last_turn: AtomicU64::default(),
            calls: AtomicU64::default(),
            failures: AtomicU64::default(),
            inner: Mutex::default(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn load(&self) -> usize {
        self.under_way.load(Ordering::Relaxed)
    }

    pub(super) fn last_turn(&self) -> u64 {
        self.last_turn.load(Ordering::Relaxed)
    }

    pub(super) fn fitness(&self, now_nanos: u64) -> Fitness {
        let inner = self.lock();
        match inner.turn {
            Turn::Out { until_nanos, .. } if now_nanos < until_nanos => Fitness::LeftOut,
            Turn::Trial { .. } => Fitness::LeftOut,
            // A trial that would fail costs a call, so what its health path says is heard first.
            Turn::Taken | Turn::Out { .. } if inner.checked.probe == Some(Probe::Down) => Fitness::Down,
            Turn::Out { .. } => Fitness::ToBeTried,
            Turn::Taken => Fitness::Well,
        }
    }

    /// Lets a call in. `None` if it was to try the address and another was quicker.
    pub(super) fn enter(self: &Arc<Self>, fitness: Fitness, turn: u64) -> Option<OnSite> {
        let mut inner = self.lock();
        let trial = fitness == Fitness::ToBeTried;
        if trial {
            let Turn::Out { times, .. } = inner.turn else { return None };
            inner.turn_to(Turn::Trial { times });
        }
        Some(self.entered(inner.era, trial, turn))
    }

    /// The same where nothing speaks against it, in one look.
    pub(super) fn enter_if_well(self: &Arc<Self>, turns: &AtomicU64) -> Option<OnSite> {
        let inner = self.lock();
        let is_well = inner.turn == Turn::Taken && inner.checked.probe != Some(Probe::Down);
        is_well.then(|| self.entered(inner.era, false, turns.fetch_add(1, Ordering::Relaxed)))
    }

    fn entered(self: &Arc<Self>, era: u64, trial: bool, turn: u64) -> OnSite {
        self.under_way.fetch_add(1, Ordering::Relaxed);
        self.last_turn.store(turn, Ordering::Relaxed);
        OnSite { site: Arc::clone(self), era, trial }
    }

    pub(super) fn is_left_out(&self) -> bool {
        self.lock().turn != Turn::Taken
    }

    /// Whether the last that was heard of it is an answer.
    pub(super) fn answers(&self) -> bool {
        let inner = self.lock();
        inner.has_answered && inner.in_a_row == 0
    }

    /// What another health path has said, or one that is asked no more, counts for nothing.
    pub(super) fn is_asked_at(&self, health: Option<&Uri>) {
        let mut inner = self.lock();
        if inner.checked.at.as_ref() != health {
            inner.checked = Checked { at: health.cloned(), ..Checked::default() };
        }
    }

    /// What its health path said just now.
    pub(super) fn heard(&self, probe: Probe, policy: HealthCheck) {
        let now = self.clock.monotonic_nanos();
        let mut inner = self.lock();
        let checked = &mut inner.checked;
        checked.due_nanos = now.saturating_add(nanos(policy.interval));
        if checked.probe == Some(probe) {
            checked.contrary = 0;
            return;
        }
        checked.contrary = checked.contrary.saturating_add(1);
        let enough = match probe {
            Probe::Up => policy.passes,
            Probe::Down => policy.fails,
        };
        if checked.probe.is_none() || checked.contrary >= enough.get() {
            let before = checked.probe.replace(probe);
            checked.contrary = 0;
            match probe {
                Probe::Up if before.is_none() => {}
                Probe::Up => tracing::info!(target_name = %self.target, url = %self.url, "target answers at its health address again"),
                Probe::Down => tracing::warn!(target_name = %self.target, url = %self.url, "target does not answer at its health address"),
            }
        }
    }

    pub(super) fn is_to_be_asked(&self) -> bool {
        self.lock().checked.due_nanos <= self.clock.monotonic_nanos()
    }

    pub(super) fn view(&self) -> SiteView {
        let now = self.clock.monotonic_nanos();
        let inner = self.lock();
        let condition = match inner.turn {
            Turn::Out { until_nanos, .. } if now < until_nanos => SiteCondition::Ejected { left: Duration::from_nanos(until_nanos - now) },
            _ if inner.checked.probe == Some(Probe::Down) => SiteCondition::Down,
            Turn::Out { .. } | Turn::Trial { .. } => SiteCondition::OnTrial,
            Turn::Taken => SiteCondition::Well,
        };
        SiteView {
            url: self.url.clone(),
            condition,
            under_way: self.load(),
            failures_in_a_row: inner.in_a_row,
            calls: self.calls.load(Ordering::Relaxed),
            failures: self.failures.load(Ordering::Relaxed),
            ejections: inner.ejections,
            probe: inner.checked.probe,
        }
    }
}

impl Inner {
    fn turn_to(&mut self, turn: Turn) {
        self.turn = turn;
        self.era = self.era.wrapping_add(1);
    }
}

impl OnSite {
    /// From here on it is one of the calls that were made.
    pub(super) fn sets_out(&self) {
        self.site.calls.fetch_add(1, Ordering::Relaxed);
    }

    /// How it went. `may_eject` says whether another address is left to call.
    pub(super) fn report(&mut self, conduct: Conduct, policy: Ejection, may_eject: bool) {
        let was_trial = std::mem::take(&mut self.trial);
        let site = &self.site;
        let mut inner = site.lock();
        match conduct {
            Conduct::Answered => (inner.in_a_row, inner.has_answered) = (0, true),
            Conduct::Failed => {
                inner.in_a_row = inner.in_a_row.saturating_add(1);
                site.failures.fetch_add(1, Ordering::Relaxed);
            }
        }
        if inner.era != self.era {
            return;
        }
        match (conduct, inner.turn) {
            (Conduct::Answered, Turn::Taken) => {}
            // Also of a call that came here for want of a better address.
            (Conduct::Answered, Turn::Out { .. } | Turn::Trial { .. }) => {
                inner.turn_to(Turn::Taken);
                tracing::info!(target_name = %site.target, url = %site.url, "address answers again: it takes its turn");
            }
            (Conduct::Failed, Turn::Taken) if may_eject && inner.in_a_row >= policy.failures.get() => site.leave_out(&mut inner, 0, policy),
            (Conduct::Failed, Turn::Trial { times }) if was_trial => site.leave_out(&mut inner, times.saturating_add(1), policy),
            (Conduct::Failed, _) => {}
        }
    }
}

impl SiteState {
    fn leave_out(&self, inner: &mut Inner, times: u32, policy: Ejection) {
        let grown = policy.first.saturating_mul(2_u32.saturating_pow(times.min(31)));
        let out_for = grown.min(policy.longest.max(policy.first));
        inner.turn_to(Turn::Out { until_nanos: self.clock.monotonic_nanos().saturating_add(nanos(out_for)), times });
        inner.ejections = inner.ejections.saturating_add(1);
        tracing::warn!(target_name = %self.target, url = %self.url, failures = inner.in_a_row, ?out_for, "address keeps failing: left out");
    }
}

impl Drop for OnSite {
    fn drop(&mut self) {
        self.site.under_way.fetch_sub(1, Ordering::Relaxed);
        if !self.trial {
            return;
        }
        // Given up before the address could show anything: the next call may try.
        let mut inner = self.site.lock();
        if inner.era == self.era
            && let Turn::Trial { times } = inner.turn
        {
            inner.turn_to(Turn::Out { until_nanos: 0, times });
        }
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
