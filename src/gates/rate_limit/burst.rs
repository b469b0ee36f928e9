//! Smoothing inside a window: how many calls may come at once. governor decides, on our clock.

use std::time::Duration;

use governor::clock::Clock as Time;
use governor::middleware::NoOpMiddleware;
use governor::nanos::Nanos;
use governor::state::{InMemoryState, NotKeyed};
use governor::{Quota, RateLimiter};

use crate::clock::Clock;
use crate::policy::Burst;

#[derive(Clone, Debug)]
struct Pulse(Clock);

impl Time for Pulse {
    type Instant = Nanos;

    fn now(&self) -> Nanos {
        Nanos::new(self.0.monotonic_nanos())
    }
}

#[derive(Debug)]
pub(super) struct Smoother {
    burst: Burst,
    governor: RateLimiter<NotKeyed, InMemoryState, Pulse, NoOpMiddleware<Nanos>>,
}

impl Smoother {
    pub fn new(burst: Burst, clock: &Clock) -> Self {
        let quota = Quota::per_second(burst.per_second).allow_burst(burst.size);
        Self { burst, governor: RateLimiter::direct_with_clock(quota, Pulse(clock.clone())) }
    }

    pub fn is_for(&self, burst: Burst) -> bool {
        self.burst == burst
    }

    /// Takes one call's share, or says how long until there is one.
    pub fn check(&self) -> Result<(), Duration> {
        self.governor.check().map_err(|refused| refused.wait_time_from(self.governor.clock().now()))
    }
}
