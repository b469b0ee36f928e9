//! Time as a value. Nothing in the gatekeeper asks the operating system for the time but [`Clock`],
//! so a test can hold a minute still, or let a day pass, without waiting.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use time::macros::datetime;

const MICROS: i64 = 1_000_000;

/// The ends of the calendar that both databases and RFC 3339 share.
const FIRST: OffsetDateTime = datetime!(0001-01-01 0:00 UTC);
const LAST: OffsetDateTime = datetime!(9999-12-31 23:59:59 UTC);

/// A moment in UTC, in microseconds since 1970: the resolution both databases keep.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct Timestamp(i64);

impl Timestamp {
    pub const fn from_micros(micros: i64) -> Self {
        Self(micros)
    }

    pub const fn from_secs(secs: i64) -> Self {
        Self(secs.saturating_mul(MICROS))
    }

    pub const fn as_micros(self) -> i64 {
        self.0
    }

    pub const fn as_secs(self) -> i64 {
        self.0.div_euclid(MICROS)
    }

    /// The start of the window of `secs` seconds, aligned to 1970 (and so to UTC minutes, hours and days), that holds this moment.
    pub fn floor(self, secs: u32) -> Self {
        let width = i64::from(secs.max(1)) * MICROS;
        Self(self.0.div_euclid(width).saturating_mul(width))
    }

    pub fn plus(self, by: Duration) -> Self {
        Self(self.0.saturating_add(i64::try_from(by.as_micros()).unwrap_or(i64::MAX)))
    }

    pub fn minus(self, by: Duration) -> Self {
        Self(self.0.saturating_sub(i64::try_from(by.as_micros()).unwrap_or(i64::MAX)))
    }

    /// How long ago `earlier` was; nothing if it lies ahead.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }

    /// For binding to a database. Moments outside what a calendar can say (years beyond 9999) fall to its ends.
    pub fn to_datetime(self) -> OffsetDateTime {
        let end = if self.0 < 0 { FIRST } else { LAST };
        OffsetDateTime::from_unix_timestamp_nanos(i128::from(self.0) * 1000).unwrap_or(end)
    }

    pub fn from_datetime(at: OffsetDateTime) -> Self {
        Self(i64::try_from(at.unix_timestamp_nanos() / 1000).unwrap_or(0))
    }

    pub fn parse_rfc3339(text: &str) -> Option<Self> {
        OffsetDateTime::parse(text, &Rfc3339).ok().map(Self::from_datetime)
    }
}

/// RFC 3339, as every answer and table of people shows it.
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.to_datetime().format(&Rfc3339) {
            Ok(text) => f.write_str(&text),
            Err(_) => write!(f, "{}us", self.0),
        }
    }
}

/// A wait in whole seconds, rounded up: whoever waits that long has waited enough.
pub fn whole_seconds(wait: Duration) -> u64 {
    wait.as_secs().saturating_add(u64::from(wait.subsec_nanos() > 0))
}

/// Where the time comes from: the machine, or a test's hand.
#[derive(Clone, Debug)]
pub enum Clock {
    System { started: Instant },
    Manual(ManualClock),
}

impl Clock {
    pub fn system() -> Self {
        Self::System { started: Instant::now() }
    }

    pub fn now(&self) -> Timestamp {
        match self {
            Self::System { .. } => {
                #[expect(clippy::disallowed_methods, reason = "this is the one place that asks")]
                let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
                Timestamp(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
            }
            Self::Manual(clock) => clock.now(),
        }
    }

    /// Nanoseconds that only ever grow, for what must not jump when the wall clock is set.
    pub fn monotonic_nanos(&self) -> u64 {
        match self {
            Self::System { started } => u64::try_from(started.elapsed().as_nanos()).unwrap_or(u64::MAX),
            Self::Manual(clock) => u64::try_from(clock.now().0).unwrap_or(0).saturating_mul(1000),
        }
    }
}

/// A clock that moves when told to.
#[derive(Clone, Debug)]
pub struct ManualClock(Arc<AtomicI64>);

impl ManualClock {
    pub fn at(start: Timestamp) -> Self {
        Self(Arc::new(AtomicI64::new(start.0)))
    }

    pub fn now(&self) -> Timestamp {
        Timestamp(self.0.load(Ordering::SeqCst))
    }

    pub fn advance(&self, by: Duration) {
        self.0.fetch_add(i64::try_from(by.as_micros()).unwrap_or(0), Ordering::SeqCst);
    }

    pub fn set(&self, to: Timestamp) {
        self.0.store(to.0, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_are_aligned_to_utc() {
        let at = Timestamp::parse_rfc3339("2026-03-04T05:06:07.123456Z").unwrap();
        assert_eq!(at.floor(60).to_string(), "2026-03-04T05:06:00Z");
        assert_eq!(at.floor(3600).to_string(), "2026-03-04T05:00:00Z");
        assert_eq!(at.floor(86_400).to_string(), "2026-03-04T00:00:00Z");
        assert_eq!(Timestamp::from_micros(-1).floor(60), Timestamp::from_secs(-60));
    }

    #[test]
    fn moments_beyond_the_calendar_fall_to_its_ends() {
        assert_eq!(Timestamp::from_micros(i64::MAX).to_string(), "9999-12-31T23:59:59Z");
        assert_eq!(Timestamp::from_micros(i64::MIN).to_string(), "0001-01-01T00:00:00Z");
    }

    #[test]
    fn a_manual_clock_moves_only_when_told() {
        let hand = ManualClock::at(Timestamp::from_secs(100));
        let clock = Clock::Manual(hand.clone());
        assert_eq!(clock.now(), Timestamp::from_secs(100));
        hand.advance(Duration::from_secs(60));
        assert_eq!(clock.now().since(Timestamp::from_secs(100)), Duration::from_secs(60));
        assert_eq!(Timestamp::from_secs(1).since(clock.now()), Duration::ZERO);
    }
}
