//! Lets calls in at a rate, and says to the others when to go. Times are those since the beginning.

use std::time::Duration;

/// How much may come at once.
const AT_ONCE: Duration = Duration::from_millis(50);

/// Callers that are refused try again, many of them at once. Each is kept for a moment, so that there is a refusal for so many calls made,
/// and the machine is not spent on refusals.
const CALLS_A_REFUSAL: f64 = 20.0;
const SHORTEST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(2);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admitted {
    Yes,
    /// And is told so after this time.
    No(Duration),
}

#[derive(Debug)]
pub struct Turnstile {
    pub calls_a_second: f64,
    /// Calls that may be let in right now, as of then.
    room: f64,
    at: Duration,
    last_refusal: Duration,
}

impl Turnstile {
    pub const fn turning(calls_a_second: f64, at: Duration) -> Self {
        Self { calls_a_second, room: 0.0, at, last_refusal: at }
    }

    pub fn judge(&mut self, at: Duration) -> Admitted {
        let more = self.calls_a_second * at.saturating_sub(self.at).as_secs_f64();
        self.room = (self.room + more).min((self.calls_a_second * AT_ONCE.as_secs_f64()).max(1.0));
        self.at = at;
        if self.room >= 1.0 {
            self.room -= 1.0;
            return Admitted::Yes;
        }
        let pause = Duration::from_secs_f64(CALLS_A_REFUSAL / self.calls_a_second.max(CALLS_A_REFUSAL));
        self.last_refusal = (self.last_refusal + pause).clamp(at + SHORTEST, at + LONGEST);
        Admitted::No(self.last_refusal.saturating_sub(at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_are_as_far_apart_as_the_rate_allows_and_nobody_is_kept_for_long() {
        let mut turnstile = Turnstile::turning(1000.0, Duration::ZERO);
        let mut told = Vec::new();
        for n in 1..1000 {
            // Twice as many as are let in.
            let at = Duration::from_micros(500) * n;
            if let Admitted::No(long) = turnstile.judge(at) {
                assert!((SHORTEST..=LONGEST).contains(&long), "{long:?}");
                told.push(at + long);
            }
        }
        assert!(told.len().abs_diff(500) < 10, "{}", told.len());
        assert_eq!(told[60] - told[50], Duration::from_millis(200), "a refusal for twenty calls");
    }
}
