//! One bucket: the counts of every window that somebody is allowed by, and the burst.

use std::time::Duration;

use super::burst::Smoother;
use super::window::{Counter, Tally};
use crate::clock::{Clock, Timestamp, whole_seconds};
use crate::identity::Place;
use crate::policy::{Allowance, Window};
use crate::verdict::{LimitRule, Standing};

/// The counters hold what was counted, never what is allowed: an allowance that changes is judged by the same counts.
#[derive(Clone, Debug, Default)]
pub(super) struct Bucket {
    pub counters: Vec<Counter>,
    pub smoother: Option<Smoother>,
}

pub(super) struct Judgement {
    pub standing: Option<Standing>,
    pub refused: Option<Refused>,
}

pub(super) struct Refused {
    pub rule: LimitRule,
    pub retry_after: Duration,
    pub place: Place,
}

impl Bucket {
    /// Counts the call in every window, then judges it by each: refused calls count too. Whose burst it is judged by is said apart.
    pub fn judge(&mut self, allowance: &Allowance, smoothed_by: Option<&Allowance>, at: Timestamp, clock: &Clock) -> Judgement {
        self.open(allowance.windows.iter().map(|window| window.secs), at);
        for counter in &mut self.counters {
            counter.count(at, 1, clock);
        }
        let mut judgement = self.weigh(allowance, at, clock);
        // What a window refuses must not use up the burst.
        if judgement.refused.is_none() {
            judgement.refused = smoothed_by.and_then(|allowance| self.smooth(allowance, clock));
        }
        judgement
    }

    /// Makes sure that windows of these lengths are counted from now on.
    pub fn open(&mut self, lengths: impl Iterator<Item = u32>, at: Timestamp) {
        if self.counters.is_empty() {
            self.counters.reserve_exact(lengths.size_hint().0);
        }
        for secs in lengths {
            if self.counter(secs).is_none() {
                self.counters.push(Counter::new(secs, at));
            }
        }
    }

    /// Counts into the windows of one length only: for what an earlier run has counted.
    pub fn load(&mut self, secs: u32, start: Timestamp, calls: u32, clock: &Clock) {
        self.open(std::iter::once(secs), start);
        if let Some(counter) = self.counters.iter_mut().find(|counter| counter.secs() == secs) {
            counter.count(start, calls, clock);
        }
    }

    /// What has been counted in windows that can still decide something.
    pub fn tallies(&self, now: Timestamp) -> impl Iterator<Item = Tally> {
        self.counters.iter().filter(move |counter| !counter.is_spent(now)).filter_map(Counter::tally)
    }

    /// What another has counted, if that is more.
    pub fn raise_to(&mut self, tally: Tally) {
        self.open(std::iter::once(tally.secs), tally.start);
        if let Some(counter) = self.counters.iter_mut().find(|counter| counter.secs() == tally.secs) {
            counter.raise_to(tally);
        }
    }

    pub fn take_back(&mut self, minute: Timestamp, calls: u32) {
        for counter in &mut self.counters {
            counter.take_back(minute, calls);
        }
    }

    pub fn forget_burst(&mut self) {
        self.smoother = None;
    }

    /// Whether a window in it has not ended.
    pub fn is_live(&self, at: Timestamp) -> bool {
        self.counters.iter().any(|counter| counter.ends() > at)
    }

    /// When its last window ends.
    pub fn ends(&self) -> Timestamp {
        self.counters.iter().map(Counter::ends).max().unwrap_or_default()
    }

    /// Lets go of what can decide nothing any more; false if nothing is left.
    pub fn sweep(&mut self, now: Timestamp) -> bool {
        self.counters.retain(|counter| !counter.is_spent(now));
        !self.counters.is_empty()
    }

    pub fn standings(&self, windows: &[Window], at: Timestamp) -> Vec<Standing> {
        windows.iter().map(|window| self.standing(*window, at).1).collect()
    }

    fn weigh(&self, allowance: &Allowance, at: Timestamp, clock: &Clock) -> Judgement {
        let mut tightest: Option<Standing> = None;
        let mut refused: Option<(Window, Timestamp)> = None;
        for window in &allowance.windows {
            let (used, standing) = self.standing(*window, at);
            if tightest.is_none_or(|t| standing.is_tighter_than(&t)) {
                tightest = Some(standing);
            }
            if used > window.limit && refused.is_none_or(|(_, ends)| ends < standing.resets_at) {
                refused = Some((*window, standing.resets_at));
            }
        }
        let refused = refused.map(|(window, ends)| Refused {
            rule: LimitRule::Window { limit: window.limit, window_secs: window.secs },
            retry_after: whole_secs(ends.since(clock.now())).min(Duration::from_secs(u64::from(window.secs))),
            place: allowance.place.clone(),
        });
        Judgement { standing: tightest, refused }
    }

    fn standing(&self, window: Window, at: Timestamp) -> (u32, Standing) {
        let (used, resets_at) = match self.counter(window.secs) {
            Some(counter) => counter.used(at),
            None => Counter::new(window.secs, at).used(at),
        };
        (used, Standing { limit: window.limit, remaining: window.limit.saturating_sub(used), window_secs: window.secs, resets_at })
    }

    fn smooth(&mut self, allowance: &Allowance, clock: &Clock) -> Option<Refused> {
        let burst = allowance.burst?;
        let smoother = match self.smoother.take() {
            Some(smoother) if smoother.is_for(burst) => smoother,
            _ => Smoother::new(burst),
        };
        let checked = self.smoother.insert(smoother).check(clock);
        checked.err().map(|wait| Refused {
            rule: LimitRule::Burst { size: burst.size.get() },
            retry_after: whole_secs(wait),
            place: allowance.burst_place.clone(),
        })
    }

    fn counter(&self, secs: u32) -> Option<&Counter> {
        self.counters.iter().find(|counter| counter.secs() == secs)
    }
}

/// `Retry-After` knows whole seconds; rounding down would invite a call that is refused again.
fn whole_secs(wait: Duration) -> Duration {
    Duration::from_secs(whole_seconds(wait).max(1))
}
