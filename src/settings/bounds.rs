//! How much the process takes on at once, and for how long it waits for whom.

use std::num::{NonZeroU32, NonZeroUsize};
use std::time::Duration;

use super::environment::{Environment, Problems};
use super::{number, seconds};

/// Longer than any honest client takes over a head; shorter than what would let idle connections fill every place.
const HEAD: Duration = Duration::from_secs(30);

/// Longer than any link is silent that comes back.
const TAKING: Duration = Duration::from_secs(60);
/// The same for a caller's body, on whose memory others wait.
const BODY_GRACE: Duration = Duration::from_secs(30);

/// How much the process takes on at once.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    pub connections: usize,
    /// Connections.
    pub of_one_network: NonZeroUsize,
    pub in_flight: usize,
    pub body_memory: usize,
    /// How long calls may wait for their turn before some are refused; none: however long.
    pub longest_wait: Option<Duration>,
    /// How long a request's head may take to arrive.
    pub head: Duration,
    /// How long a connection is kept without a call.
    pub idle: Duration,
    /// How long a piece of an answer may wait to be taken.
    pub taking: Duration,
    /// How fast bodies must come; none: as slowly as they like.
    pub pace: Option<Pace>,
    /// How long calls are still taken, and connections left open, after the end was announced.
    pub lame_duck: Duration,
    pub drain: Duration,
}

/// The slowest that a body may come.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// What it may stand still at a time, and be late in all.
    pub grace: Duration,
    pub bytes_a_second: NonZeroU32,
}

impl Bounds {
    pub(super) fn collect(environment: &Environment<'_>, p: &mut Problems) -> Self {
        let mut bound = |name, least, most| environment.parsed(p, name, |text| number(text, least, most)).unwrap_or(least);
        let connections = bound("GATEKEEPER_MAX_CONNECTIONS", 1, 1_000_000);
        let (in_flight, body_memory) =
            (bound("GATEKEEPER_MAX_IN_FLIGHT", 1, 1_000_000), bound("GATEKEEPER_BODY_MEMORY_MIB", 16, 1_000_000) << 20);
        let longest_wait = Duration::from_millis(bound("GATEKEEPER_LONGEST_WAIT_MS", 0, 60_000) as u64);
        let idle = Duration::from_secs(bound("GATEKEEPER_IDLE_SECONDS", 1, 3600) as u64);
        let pace = u32::try_from(bound("GATEKEEPER_MIN_BODY_RATE", 0, 1_000_000)).ok().and_then(NonZeroU32::new);
        let of_one_network = environment.parsed(p, "GATEKEEPER_MAX_CONNECTIONS_PER_NETWORK", |text| number(text, 1, 1_000_000));
        Self {
            connections,
            of_one_network: NonZeroUsize::new(of_one_network.unwrap_or(connections / 2)).unwrap_or(NonZeroUsize::MIN),
            in_flight,
            body_memory,
            longest_wait: Some(longest_wait).filter(|wait| !wait.is_zero()),
            head: HEAD,
            idle,
            taking: TAKING,
            pace: pace.map(|bytes_a_second| Pace { grace: BODY_GRACE, bytes_a_second }),
            lame_duck: seconds(environment, p, "GATEKEEPER_LAME_DUCK_SECONDS"),
            drain: seconds(environment, p, "GATEKEEPER_DRAIN_SECONDS"),
        }
    }
}
