//! A target that fails again and again is left alone for a while: its callers hear so at once instead of waiting, and it gets room to
//! recover. Then one call at a time may try it; the first that comes through opens the way for all.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::clock::Clock;
use crate::identity::TargetName;
use crate::policy::BreakerPolicy;

/// What a caller is told to wait while another call is the one that tries.
const TRIAL_WAIT: Duration = Duration::from_secs(1);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BreakerState {
    Closed,
    Open,
    /// One call may try, or is trying.
    HalfOpen,
}

impl BreakerState {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open => "open",
            Self::HalfOpen => "half_open",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BreakerView {
    pub state: BreakerState,
    /// Failures in a row, as far as they were counted while it was closed.
    pub failures: u32,
    /// How often it has opened since start.
    pub opened: u64,
}

/// The breaker of one target.
#[derive(Debug)]
pub struct Breaker {
    target: TargetName,
    clock: Clock,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    state: State,
    failures: u32,
    opened: u64,
    /// Grows with every change of state. A call reports under the era it set out in, so the stragglers of an outage that is over
    /// cannot bring it back, and a success from before it cannot end it.
    era: u64,
}

#[derive(Debug)]
enum State {
    Closed,
    Open { until_nanos: u64 },
    Trial,
}

/// How the target behaved towards one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Conduct {
    Answered,
    Failed,
}

/// Leave to call a target. Whoever holds it reports how the call went, or drops it and has said nothing.
#[derive(Debug)]
#[must_use]
pub struct Pass<'a> {
    breaker: &'a Breaker,
    policy: BreakerPolicy,
    era: u64,
    is_trial: bool,
}

impl Breaker {
    pub fn new(target: &TargetName, clock: &Clock) -> Self {
        let inner = Inner { state: State::Closed, failures: 0, opened: 0, era: 0 };
        Self { target: target.clone(), clock: clock.clone(), inner: Mutex::new(inner) }
    }

    /// How long a call would be asked to wait, if it would be. Takes no trial's place.
    pub fn would_refuse(&self) -> Option<Duration> {
        let now = self.clock.monotonic_nanos();
        match self.lock().state {
            State::Closed => None,
            State::Open { until_nanos } => Some(Duration::from_nanos(until_nanos.checked_sub(now).filter(|left| *left > 0)?)),
            State::Trial => Some(TRIAL_WAIT),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Leave to call this target, or how long to wait before asking again.
    pub fn admit(&self, policy: BreakerPolicy, now_nanos: u64) -> Result<Pass<'_>, Duration> {
        let mut inner = self.lock();
        let (era, is_trial) = match inner.state {
            State::Closed => (inner.era, false),
            State::Open { until_nanos } if now_nanos < until_nanos => return Err(Duration::from_nanos(until_nanos - now_nanos)),
            State::Open { .. } => (inner.turn(State::Trial), true),
            State::Trial => return Err(TRIAL_WAIT),
        };
        Ok(Pass { breaker: self, policy, era, is_trial })
    }

    fn report(&self, era: u64, conduct: Conduct, policy: BreakerPolicy) {
        let mut inner = self.lock();
        if inner.era != era {
            return;
        }
        match (conduct, &inner.state) {
            (Conduct::Answered, State::Closed) => inner.failures = 0,
            (Conduct::Answered, _) => {
                inner.failures = 0;
                inner.turn(State::Closed);
                tracing::info!(target_name = %self.target, "target answers again: breaker closed");
            }
            (Conduct::Failed, state) => {
                let tried = matches!(state, State::Trial);
                inner.failures = inner.failures.saturating_add(1);
                if tried || inner.failures >= policy.failures.get() {
                    let open_for = u64::try_from(policy.open_for.as_nanos()).unwrap_or(u64::MAX);
                    inner.turn(State::Open { until_nanos: self.clock.monotonic_nanos().saturating_add(open_for) });
                    inner.opened = inner.opened.saturating_add(1);
                    tracing::warn!(target_name = %self.target, failures = inner.failures, open_for = ?policy.open_for, "target keeps failing: breaker open");
                }
            }
        }
    }

    /// The call that tried was given up before the target could show anything, so the next one may try.
    fn abandon(&self, era: u64) {
        let mut inner = self.lock();
        if inner.era == era && matches!(inner.state, State::Trial) {
            inner.turn(State::Open { until_nanos: 0 });
        }
    }

    pub fn view(&self) -> BreakerView {
        let now = self.clock.monotonic_nanos();
        let inner = self.lock();
        let state = match inner.state {
            State::Closed => BreakerState::Closed,
            State::Open { until_nanos } if now < until_nanos => BreakerState::Open,
            State::Open { .. } | State::Trial => BreakerState::HalfOpen,
        };
        BreakerView { state, failures: inner.failures, opened: inner.opened }
    }
}

impl Inner {
    fn turn(&mut self, to: State) -> u64 {
        self.state = to;
        self.era = self.era.wrapping_add(1);
        self.era
    }
}

impl Pass<'_> {
    pub fn report(self, conduct: Conduct) {
        self.breaker.report(self.era, conduct, self.policy);
    }
}

impl Drop for Pass<'_> {
    fn drop(&mut self) {
        // After a report the era of a trial is over, and this finds nothing to do.
        if self.is_trial {
            self.breaker.abandon(self.era);
        }
    }
}
