//! Which calls are turned away because more arrive than can be done.
//!
//! When more arrives than can be done, one thing grows first, and it grows with nothing else, neither with slow targets nor with connections
//! that only wait: the time until work that could go on is taken up. So that is asked all the time. While it stays too long, calls
//! are let in at the rate at which they get done, a little less while what waits does so too long, and a little more while it does not; the
//! others are refused at the cheapest point there is. Whoever is let in waits a known time, and the machine never waits for calls.

mod crowd;
mod turnstile;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::thread;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep};

use crate::telemetry::metrics::Metrics;
use crowd::Crowd;

pub(super) use turnstile::Admitted;

const ASK_EVERY: Duration = Duration::from_millis(20);
/// How many who are refused are kept for a moment at once.
const KEPT: usize = 8192;

pub(super) struct Admission {
    /// None: everybody is let in.
    crowd: Option<Mutex<Crowd>>,
    begun: Instant,
    kept: Semaphore,
    metrics: Arc<Metrics>,
}

impl Admission {
    /// Asks for as long as anybody holds it.
    pub fn start(longest_wait: Option<Duration>, metrics: Arc<Metrics>) -> Arc<Self> {
        let crowd = longest_wait.map(|longest| Mutex::new(Crowd::of_those_who_wait(longest)));
        let admission = Arc::new(Self { crowd, begun: Instant::now(), kept: Semaphore::new(KEPT), metrics });
        tokio::spawn(keep_asking(Arc::downgrade(&admission)));
        admission
    }

    /// Whether a call is made.
    pub fn judge(&self) -> Admitted {
        self.crowd().map_or(Admitted::Yes, |mut crowd| crowd.judge(self.begun.elapsed()))
    }

    /// One of them was.
    pub fn made(&self) {
        if let Some(mut crowd) = self.crowd() {
            crowd.made();
        }
    }

    /// Keeps somebody who is refused.
    pub async fn keep(&self, long: Duration) {
        if let Ok(_place) = self.kept.try_acquire() {
            sleep(long).await;
        }
    }

    fn crowd(&self) -> Option<MutexGuard<'_, Crowd>> {
        self.crowd.as_ref().map(|crowd| crowd.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// What other threads hand to the runtime stands behind all that is ready, so it waits as the least lucky do. (What becomes ready on the
/// runtime's own threads may overtake others; and were the pause a timer of the runtime's, its end would wait unseen.)
async fn keep_asking(admission: Weak<Admission>) {
    loop {
        let asking = Weak::clone(&admission);
        let (Ok(Some(asked)), Some(admission)) = (spawn_blocking(move || ask(&asking)).await, admission.upgrade()) else { return };
        let at = admission.begun.elapsed();
        admission.metrics.turn_seconds.observe(at.saturating_sub(asked).as_secs_f64());
        if let Some(mut crowd) = admission.crowd() {
            crowd.answered(at);
        }
    }
}

/// When it was asked, which is when this returns. None once nobody wants to know.
#[expect(clippy::disallowed_methods, reason = "on a thread that has nothing else to do")]
fn ask(admission: &Weak<Admission>) -> Option<Duration> {
    thread::sleep(ASK_EVERY);
    let admission = admission.upgrade()?;
    let asked = admission.begun.elapsed();
    if let Some(mut crowd) = admission.crowd() {
        crowd.asked(asked);
    }
    Some(asked)
}
