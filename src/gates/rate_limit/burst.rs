//! Smoothing inside a window: how many calls may come at once. governor decides; what it has to remember is one moment, kept here, so
//! that a bucket can be copied.

use std::cell::Cell;
use std::time::Duration;

use governor::clock::Clock as Time;
use governor::middleware::NoOpMiddleware;
use governor::nanos::Nanos;
use governor::state::{NotKeyed, StateStore};
use governor::{Quota, RateLimiter};

use crate::clock::Clock;
use crate::policy::Burst;

#[derive(Clone, Copy, Debug)]
pub(super) struct Smoother {
    pub burst: Burst,
    /// When all that was taken will have been refilled, on the clock's monotonic side.
    pub full_at: u64,
}

impl Smoother {
    pub fn new(burst: Burst) -> Self {
        Self { burst, full_at: 0 }
    }

    pub fn is_for(&self, burst: Burst) -> bool {
        self.burst == burst
    }

    /// Takes one call's share, or says how long until there is one.
    pub fn check(&mut self, clock: &Clock) -> Result<(), Duration> {
        let now = clock.monotonic_nanos();
        let quota = Quota::per_second(self.burst.per_second).allow_burst(self.burst.size);
        let owed = Owed(Cell::new(Nanos::new(self.full_at.saturating_sub(now))));
        let still = Still(Nanos::new(now));
        let governor = RateLimiter::<_, _, _, NoOpMiddleware<Nanos>>::new(quota, owed, still);
        governor.check().map_err(|refused| refused.wait_time_from(still.0))?;
        self.full_at = now.saturating_add(governor.into_state_store().0.get().as_u64());
        Ok(())
    }
}

/// A clock that stands at the moment of the question.
#[derive(Clone, Copy, Debug)]
struct Still(Nanos);

impl Time for Still {
    type Instant = Nanos;

    fn now(&self) -> Nanos {
        self.0
    }
}

/// What governor remembers, seen from that moment: how long until all is refilled.
struct Owed(Cell<Nanos>);

impl StateStore for Owed {
    type Key = NotKeyed;

    fn measure_and_replace<T, F, E>(&self, _: &NotKeyed, judge: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        let (judged, owed) = judge(Some(self.0.get()))?;
        self.0.set(owed);
        Ok(judged)
    }
}
