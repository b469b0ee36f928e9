//! What is kept of a call.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::call::Count;
use crate::clock::Timestamp;
use crate::identity::Origin;

/// One whose texts are its own.
pub type CallRecord = Record<'static>;

/// Everything kept of one call, in the words of the tables: what `record` hands over and a store only has to bind. Its texts may be
/// those of a journal's page, where most records lie until they are written.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record<'a> {
    /// `eliza_activity_log.id` and `api_call_logs.id`.
    pub id: Uuid,
    /// None of a record that no journal has numbered.
    #[serde(skip)]
    pub origin: Option<Origin>,
    /// `created_at` of both, fixed here and never by the database.
    pub at: Timestamp,
    pub activity_type: ActivityType,
    pub activity_status: ActivityStatus,
    #[serde(borrow)]
    pub title: Cow<'a, str>,
    #[serde(borrow)]
    pub description: Cow<'a, str>,
    /// A JSON object.
    #[serde(borrow)]
    pub metadata: Cow<'a, str>,
    pub api_status: ApiStatus,
    pub error_message: Option<Cow<'a, str>>,
    /// A JSON object: target, action, source. Never a body.
    #[serde(borrow)]
    pub request: Cow<'a, str>,
    /// A JSON object.
    #[serde(borrow)]
    pub caller_context: Cow<'a, str>,
    pub execution_ms: i32,
    /// How many calls this record stands for: one, or those folded into it.
    pub times: u32,
    #[serde(borrow)]
    pub stats: StatsKey<'a>,
    #[serde(borrow)]
    pub counted: Option<Counted<'a>>,
    pub audit: AuditClass,
}

/// The row of `rate_limits` in which the call counts: a [`Count`], as it is kept.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Counted<'a> {
    #[serde(borrow)]
    pub identifier: Cow<'a, str>,
    #[serde(borrow)]
    pub endpoint: Cow<'a, str>,
    pub minute: Timestamp,
}

impl<'a> From<&'a Count> for Counted<'a> {
    fn from(Count { identifier, endpoint, minute }: &'a Count) -> Self {
        Self { identifier: (&**identifier).into(), endpoint: (&**endpoint).into(), minute: *minute }
    }
}

/// Whether a call is kept for good, sealed, beside its rows in the logs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum AuditClass {
    Ordinary,
    /// Refused by the SQL filter or the schema validator.
    Blocked,
    /// It would have been, had denials stood.
    LetThrough,
}

/// Where the call goes in the hourly rollup behind `eliza_gatekeeper_stats`. Both names come from bounded sets.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct StatsKey<'a> {
    #[serde(borrow)]
    pub source: Cow<'a, str>,
    /// Empty where no target was reached: refused before it was known, or unknown.
    #[serde(borrow)]
    pub target: Cow<'a, str>,
    pub outcome: StatsOutcome,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum StatsOutcome {
    Successful,
    Failed,
    Denied,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ActivityType {
    /// The target was called.
    Call,
    /// Refused by a gate other than the SQL filter.
    Denied,
    /// The SQL filter's refusals, as the original named them.
    SchemaProtection,
    /// The call could not be understood or carried out.
    Error,
}

impl ActivityType {
    pub const ALL: [Self; 4] = [Self::Call, Self::Denied, Self::SchemaProtection, Self::Error];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Call => "gatekeeper_call",
            Self::Denied => "gatekeeper_denied",
            Self::SchemaProtection => "schema_protection",
            Self::Error => "gatekeeper_error",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ActivityStatus {
    Completed,
    Error,
    Blocked,
}

impl ActivityStatus {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::Error => "error",
            Self::Blocked => "blocked",
        }
    }
}

/// The words that `api_call_logs.status` allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ApiStatus {
    Success,
    Error,
    Timeout,
}

impl ApiStatus {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Error => "error",
            Self::Timeout => "timeout",
        }
    }
}
