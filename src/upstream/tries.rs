//! What becomes of a call after one try at it went wrong. What may have reached the target is sent again only where that does no harm,
//! and never by more than a tenth of the calls.

use std::time::Duration;

use http::Method;

use super::loss::{Loss, Sent};
use crate::policy::Retry;

/// Tries of one call, the first included.
const MOST: u32 = 3;
/// Before the first try at an address that was tried already; twice as long before the next.
const BACKOFF: Duration = Duration::from_millis(50);

/// How a try went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Went {
    Answered,
    /// The answer says that the target is down.
    Down,
    Lost(Loss, Sent),
}

/// Whether a call may reach the target twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Twice {
    Harmless,
    Harmful,
}

impl Twice {
    pub fn of(method: &Method, retry: Retry) -> Self {
        match retry {
            Retry::All => Self::Harmless,
            // RFC 9110, section 9.2.2; TRACE never comes so far.
            Retry::Safe if matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS | Method::PUT | Method::DELETE) => Self::Harmless,
            Retry::Safe | Retry::Off => Self::Harmful,
        }
    }
}

/// Where a call goes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Back to its caller, as it went.
    Back,
    /// To an address that was not tried yet, at once.
    Elsewhere(Paying),
    /// To where it was, once this has passed.
    Again(Duration),
}

/// Whether a retry is taken from the target's budget. What was never sent burdens nobody when it is sent elsewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Paying {
    Free,
    FromBudget,
}

/// What is known after a try.
#[derive(Clone, Copy, Debug)]
pub struct Tried {
    pub went: Went,
    /// How often, this time included.
    pub times: u32,
    /// Whether an address was not tried yet.
    pub others: bool,
    pub twice: Twice,
    pub retry: Retry,
}

impl Tried {
    pub fn next(self) -> Next {
        if self.retry == Retry::Off || self.times >= MOST {
            return Next::Back;
        }
        let again = Next::Again(BACKOFF.saturating_mul(self.times));
        match (self.went, self.twice, self.others) {
            (Went::Answered, ..) => Next::Back,
            (Went::Lost(_, Sent::Never), _, true) => Next::Elsewhere(Paying::Free),
            // Whoever is not even reached in time will not be in another few milliseconds.
            (Went::Lost(Loss::TooSlow, _), _, false) => Next::Back,
            (Went::Lost(_, Sent::Never), _, false) => again,
            (Went::Lost(..) | Went::Down, Twice::Harmful, _) => Next::Back,
            (Went::Lost(..) | Went::Down, Twice::Harmless, true) => Next::Elsewhere(Paying::FromBudget),
            (Went::Lost(Loss::Reset, _), Twice::Harmless, false) => again,
            // It answered, after a fashion: asked again at once it would say the same.
            (Went::Lost(..) | Went::Down, Twice::Harmless, false) => Next::Back,
        }
    }
}

/// Somewhere between half of it and all, so that calls that failed together do not come back together.
pub fn jittered(wait: Duration) -> Duration {
    wait / 2 + (wait / 2).mul_f64(f64::from(rand::random::<u32>()) / f64::from(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_have_been_read_is_sent_again_only_where_twice_does_no_harm() {
        use Sent::{Never, Perhaps};
        use Twice::{Harmful, Harmless};
        let back = Next::Back;
        let again = Next::Again(BACKOFF);
        let (free, paid) = (Next::Elsewhere(Paying::Free), Next::Elsewhere(Paying::FromBudget));
        // With another address, and without one.
        let table = [
            (Went::Answered, Harmless, back, back),
            (Went::Down, Harmful, back, back),
            (Went::Down, Harmless, paid, back),
            (Went::Lost(Loss::Unreachable, Never), Harmful, free, again),
            (Went::Lost(Loss::Unreachable, Never), Harmless, free, again),
            (Went::Lost(Loss::TooSlow, Never), Harmful, free, back),
            (Went::Lost(Loss::Reset, Never), Harmful, free, again),
            (Went::Lost(Loss::Reset, Perhaps), Harmful, back, back),
            (Went::Lost(Loss::Reset, Perhaps), Harmless, paid, again),
            (Went::Lost(Loss::TooSlow, Perhaps), Harmful, back, back),
            (Went::Lost(Loss::TooSlow, Perhaps), Harmless, paid, back),
            (Went::Lost(Loss::Nonsense, Perhaps), Harmful, back, back),
            (Went::Lost(Loss::Nonsense, Perhaps), Harmless, paid, back),
        ];
        for (went, twice, with_others, alone) in table {
            for (others, expected) in [(true, with_others), (false, alone)] {
                let tried = Tried { went, times: 1, others, twice, retry: Retry::Safe };
                assert_eq!(tried.next(), expected, "{tried:?}");
                assert_eq!(Tried { times: MOST, ..tried }.next(), back, "{tried:?}");
                assert_eq!(Tried { retry: Retry::Off, ..tried }.next(), back, "{tried:?}");
            }
        }
    }

    #[test]
    fn which_calls_twice_does_no_harm_to() {
        for (method, safe) in [
            ("GET", true),
            ("HEAD", true),
            ("OPTIONS", true),
            ("PUT", true),
            ("DELETE", true),
            ("POST", false),
            ("PATCH", false),
            ("LOCK", false),
        ] {
            let method = Method::from_bytes(method.as_bytes()).unwrap();
            let harmless = |retry| Twice::of(&method, retry) == Twice::Harmless;
            assert_eq!([harmless(Retry::Safe), harmless(Retry::All), harmless(Retry::Off)], [safe, true, false], "{method}");
        }
    }

    #[test]
    fn waits_differ_within_their_bounds() {
        let waits: Vec<_> = (0..100).map(|_| jittered(BACKOFF)).collect();
        assert!(waits.iter().all(|wait| (BACKOFF / 2..=BACKOFF).contains(wait)));
        assert!(waits.iter().any(|wait| *wait != waits[0]));
    }
}
