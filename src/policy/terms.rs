//! On which terms a target is called: where, how long is waited for it, how often it is tried, how much it is given at once, and what
//! of its answers is kept.

use std::num::NonZeroU32;
use std::time::Duration;

use http::Uri;

use crate::identity::glob;

/// One of the addresses at which a target is called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Site {
    pub url: Uri,
    /// Where it says how it is; asked without credentials, and never a call.
    pub health: Option<Uri>,
}

impl From<Uri> for Site {
    fn from(url: Uri) -> Self {
        Self { url, health: None }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Terms {
    /// For a connection, TLS included.
    pub connect_timeout: Duration,
    /// From the first byte sent until the last byte of the answer.
    pub total_timeout: Option<Duration>,
    pub retry: Retry,
    pub ejection: Ejection,
    pub check: HealthCheck,
    pub crowd: CrowdLimits,
    /// `None`: every call is made.
    pub cache: Option<CachePolicy>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BreakerPolicy {
    /// Failures in a row that open it.
    pub failures: NonZeroU32,
    /// How long it stays open before one call may try.
    pub open_for: Duration,
}

/// Which calls may be sent again after one try went wrong. What was never sent is no question of this, but for [`Retry::Off`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// Those whose method promises that twice is as good as once.
    Safe,
    /// All: the target takes the same call twice without harm.
    All,
    /// None: a call goes to one address, once.
    Off,
}

/// When an address that fails again and again is left out for a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ejection {
    /// Failures in a row.
    pub failures: NonZeroU32,
    /// For how long at first; twice as long each time that its trial fails.
    pub first: Duration,
    pub longest: Duration,
}

/// How an address that has a health path is asked how it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HealthCheck {
    pub interval: Duration,
    pub timeout: Duration,
    /// Bad answers in a row before it counts as down.
    pub fails: NonZeroU32,
    /// Good answers in a row before it counts as up again.
    pub passes: NonZeroU32,
}

/// Calls under way at once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CrowdLimits {
    pub in_all: Option<NonZeroU32>,
    pub per_source: Option<NonZeroU32>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CachePolicy {
    pub ttl: Duration,
    /// Names and patterns. On the envelope door only calls of these are answered from what was kept.
    pub actions: Vec<String>,
    /// For all that is kept of this target.
    pub max_bytes: usize,
    pub sharing: Sharing,
}

/// Who is given an answer that was kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sharing {
    /// The source whose call it answered.
    SameSource,
    /// Every source that asks the same.
    AllSources,
}

impl CachePolicy {
    /// A call without an action is one of `*` alone.
    pub fn names(&self, action: Option<&str>) -> bool {
        self.actions.iter().any(|pattern| glob(pattern.as_bytes(), action.unwrap_or_default().as_bytes()))
    }
}

impl Retry {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Safe => "safe",
            Self::All => "all",
            Self::Off => "off",
        }
    }
}

/// As shipped.
impl Default for Terms {
    fn default() -> Self {
        const TWO: NonZeroU32 = NonZeroU32::MIN.saturating_add(1);
        let secs = Duration::from_secs;
        Self {
            connect_timeout: secs(3),
            total_timeout: None,
            retry: Retry::Safe,
            ejection: Ejection { failures: NonZeroU32::MIN.saturating_add(2), first: secs(10), longest: secs(300) },
            check: HealthCheck { interval: secs(5), timeout: secs(2), fails: TWO, passes: TWO },
            crowd: CrowdLimits::default(),
            cache: None,
        }
    }
}
