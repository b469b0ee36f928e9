//! Which calls are turned away because more arrive than can be done.
//!
//! Calls that have to wait for their turn are no harm while the wait ends again. When it stands, every call pays for it and nobody gains;
//! then those that have waited too long already are refused at once, at the cheapest point there is, and the others are as fast as
//! ever. Whatever is left of the machine still does calls, so no more are refused than must be.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, TryLockError};
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep};

use crate::telemetry::metrics::Metrics;

/// How long is looked at once.
const INTERVAL: Duration = Duration::from_millis(100);
/// What was seen for so many intervals is so.
const STANDING: u32 = 2;
/// Fewer calls in an interval do not crowd each other: what they wait for is not in here.
const CROWD: u32 = 16;

/// Callers that are refused try again, and many at once: kept for a moment, they cannot spend the whole machine on refusals.
const HELD: Duration = Duration::from_millis(250);
/// How many are kept so.
const HELD_AT_ONCE: usize = 4096;

pub(super) struct Admission {
    /// None: everybody is let in.
    longest_wait: Option<Duration>,
    begun: Instant,
    crowd: Mutex<Crowd>,
    is_crowded: AtomicBool,
    held: Semaphore,
    metrics: Arc<Metrics>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Admitted {
    Yes,
    No,
}

impl Admission {
    pub fn new(longest_wait: Option<Duration>, metrics: Arc<Metrics>) -> Self {
        Self {
            longest_wait,
            begun: Instant::now(),
            crowd: Mutex::default(),
            is_crowded: AtomicBool::new(false),
            held: Semaphore::new(HELD_AT_ONCE),
            metrics,
        }
    }

    /// Whether a call that has waited so long for its turn is done.
    pub fn judge(&self, waited: Duration) -> Admitted {
        self.metrics.wait_seconds.observe(waited.as_secs_f64());
        let Some(longest) = self.longest_wait else { return Admitted::Yes };
        let crowd = match self.crowd.try_lock() {
            Ok(crowd) => Some(crowd),
            Err(TryLockError::Poisoned(crowd)) => Some(PoisonError::into_inner(crowd)),
            // Somebody else looks at this very moment.
            Err(TryLockError::WouldBlock) => None,
        };
        if let Some(mut crowd) = crowd {
            self.is_crowded.store(crowd.saw(self.begun.elapsed(), waited, longest), Ordering::Relaxed);
        }
        if waited > longest && self.is_crowded.load(Ordering::Relaxed) { Admitted::No } else { Admitted::Yes }
    }

    /// Keeps somebody who is refused for a moment.
    pub async fn hold(&self) {
        if let Ok(_place) = self.held.try_acquire() {
            sleep(HELD).await;
        }
    }
}

/// Whether calls wait, and have waited for some time.
#[derive(Debug, Default)]
struct Crowd {
    stands: bool,
    /// Intervals in a row that say otherwise.
    otherwise: u32,
    /// When the interval began.
    from: Duration,
    calls: u32,
    waited: Duration,
}

impl Crowd {
    /// Whether it stands, now that a call has waited so long.
    fn saw(&mut self, at: Duration, waited: Duration, longest: Duration) -> bool {
        let since = at.saturating_sub(self.from);
        if since >= INTERVAL {
            self.weigh(longest);
            if since >= 2 * INTERVAL + longest {
                // Nobody has come for a while.
                (self.stands, self.otherwise) = (false, 0);
            }
            (self.from, self.calls, self.waited) = (at, 0, Duration::ZERO);
        }
        self.calls = self.calls.saturating_add(1);
        self.waited = self.waited.saturating_add(waited);
        self.stands
    }

    fn weigh(&mut self, longest: Duration) {
        let is_many = self.calls >= CROWD;
        // While it stands, refusing keeps the wait at the longest there may be: only far less says that it is over.
        let says_otherwise =
            if self.stands { !is_many || self.waited < longest * self.calls / 2 } else { is_many && self.waited > longest * self.calls };
        self.otherwise = if says_otherwise { self.otherwise + 1 } else { 0 };
        if self.otherwise >= STANDING {
            (self.stands, self.otherwise) = (!self.stands, 0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::VecDeque;

    const LONGEST: Duration = Duration::from_millis(50);
    const A_MILLI: Duration = Duration::from_millis(1);

    /// One worker with a queue, as time goes by.
    #[derive(Default)]
    struct Shop {
        crowd: Crowd,
        now: Duration,
        queue: VecDeque<Duration>,
        arrived: f64,
    }

    #[derive(Debug, Default)]
    struct Day {
        done: u32,
        refused: u32,
        longest: Duration,
    }

    impl Shop {
        /// A call takes a millisecond to do, a hundredth of it to refuse.
        fn open(&mut self, long: Duration, a_second: f64) -> Day {
            let (end, mut day) = (self.now + long, Day::default());
            while self.now < end {
                let Some(came) = self.queue.pop_front() else {
                    self.pass(A_MILLI, a_second);
                    continue;
                };
                let waited = self.now - came;
                if self.crowd.saw(self.now, waited, LONGEST) && waited > LONGEST {
                    day.refused += 1;
                    self.pass(A_MILLI / 100, a_second);
                } else {
                    day.done += 1;
                    day.longest = day.longest.max(waited);
                    self.pass(A_MILLI, a_second);
                }
            }
            day
        }

        fn pass(&mut self, time: Duration, a_second: f64) {
            self.arrived += time.as_secs_f64() * a_second;
            while self.arrived >= 1.0 {
                self.arrived -= 1.0;
                self.queue.push_back(self.now);
            }
            self.now += time;
        }
    }

    #[test]
    fn at_twice_what_can_be_done_the_wait_stays_short_and_nothing_is_wasted() {
        for factor in [1.2, 2.0, 5.0] {
            let mut shop = Shop::default();
            let begins = shop.open(Duration::from_secs(2), 1000.0 * factor);
            assert!(begins.longest < Duration::from_millis(400) * factor as u32, "{factor}: {begins:?}");
            let day = shop.open(Duration::from_secs(30), 1000.0 * factor);
            assert!(day.longest <= LONGEST, "{factor}: {day:?}");
            assert!(f64::from(day.done) > 30_000.0 * (1.0 - 0.01 * factor), "{factor}: {day:?}");
            assert!(day.refused > 0, "{factor}: {day:?}");
        }
    }

    #[test]
    fn nobody_is_refused_for_what_can_be_done_and_soon_after_nobody_any_more() {
        let mut shop = Shop::default();
        assert_eq!(shop.open(Duration::from_secs(10), 990.0).refused, 0);
        shop.open(Duration::from_secs(10), 3000.0);
        shop.open(Duration::from_millis(500), 700.0);
        assert_eq!(shop.open(Duration::from_secs(10), 700.0).refused, 0);
    }

    #[test]
    fn a_rush_that_ends_by_itself_is_waited_out() {
        let mut shop = Shop::default();
        for _ in 0..20 {
            // A tenth of a second without a turn for anybody, and then they all come.
            shop.queue.extend(std::iter::repeat_n(shop.now, 150));
            assert_eq!(shop.open(Duration::from_secs(1), 500.0).refused, 0);
        }
    }

    #[test]
    fn few_calls_are_no_crowd_however_long_they_wait() {
        let mut crowd = Crowd::default();
        for n in 0..1000 {
            assert!(!crowd.saw(10 * A_MILLI * n, Duration::from_secs(1), LONGEST));
        }
    }

    #[test]
    fn a_crowd_is_forgotten_when_nobody_comes() {
        let mut crowd = Crowd::default();
        let stands = (0..1000).any(|n| crowd.saw(A_MILLI * n, 2 * LONGEST, LONGEST));
        assert!(stands);
        assert!(!crowd.saw(Duration::from_secs(3), 2 * LONGEST, LONGEST));
    }
}
