//! What is kept of a call.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::Counted;
use crate::clock::Timestamp;
use crate::identity::Origin;

/// Everything kept of one call, in the words of the tables: what `record` hands over and a store only has to bind.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CallRecord {
    /// `eliza_activity_log.id` and `api_call_logs.id`.
    pub id: Uuid,
    /// None of a record that no journal has numbered.
    #[serde(skip)]
    pub origin: Option<Origin>,
    /// `created_at` of both, fixed here and never by the database.
    pub at: Timestamp,
    pub activity_type: ActivityType,
    pub activity_status: ActivityStatus,
    pub title: String,
    pub description: String,
    /// A JSON object.
    pub metadata: String,
    pub api_status: ApiStatus,
    pub error_message: Option<String>,
    /// A JSON object: target, action, source. Never a body.
    pub request: String,
    /// A JSON object.
    pub caller_context: String,
    pub execution_ms: i32,
    /// How many calls this record stands for: one, or those folded into it.
    pub times: u32,
    pub stats: StatsKey,
    pub counted: Option<Counted>,
    pub audit: AuditClass,
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
pub struct StatsKey {
    pub source: String,
    /// Empty where no target was reached: refused before it was known, or unknown.
    pub target: String,
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
