//! What operators change through the database, or have kept there: rows as the stores read and write them.

use serde_json::{Value, json};
use uuid::Uuid;

use crate::call::legible;
use crate::clock::Timestamp;

/// Longer than anybody's name or reason needs to be.
const WORDS: usize = 500;

/// A network or source that is kept out at a moment's notice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredBlock {
    pub id: Uuid,
    pub kind: BlockKind,
    /// An address, a network, a source or a pattern of sources, as [`crate::blocklist::Subject`] reads it.
    pub subject: String,
    pub reason: String,
    pub actor: String,
    pub at: Timestamp,
    /// When it ends, or ended.
    pub until: Option<Timestamp>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BlockKind {
    Network,
    Source,
}

impl BlockKind {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Network => "network",
            Self::Source => "source",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        [Self::Network, Self::Source].into_iter().find(|kind| kind.as_str() == text)
    }
}

/// What is to become of a feature flag; what is not said stays, or is as a new flag is: on, for everybody.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FlagChange {
    pub name: String,
    pub enabled: Option<bool>,
    pub kill_switch: Option<bool>,
    pub rollout_percentage: Option<u8>,
}

/// Something in the activity log that people must look at: a row of its own, no call's.
#[derive(Clone, Debug, PartialEq)]
pub struct ActivityEntry {
    pub id: Uuid,
    pub at: Timestamp,
    pub kind: EntryKind,
    /// `open`, `reviewed`; `triggered`, `succeeded`, `failed`.
    pub status: &'static str,
    pub title: String,
    pub description: String,
    /// A JSON object.
    pub metadata: Value,
}

impl ActivityEntry {
    /// Somebody called a target without the gatekeeper and says so: open until somebody else has looked at it.
    pub fn bypass(at: Timestamp, by: &str, target: &str, reason: &str) -> Self {
        let [by, target, reason] = [by, target, reason].map(|words| legible(words.trim(), WORDS));
        Self {
            id: Uuid::now_v7(),
            at,
            kind: EntryKind::ManualBypass,
            status: "open",
            title: "\u{26a0}\u{fe0f} Manual Bypass".into(),
            description: format!("{by} called {target} without the gatekeeper: {reason}"),
            metadata: json!({ "by": by, "target": target, "reason": reason }),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntryKind {
    /// Somebody called a target without the gatekeeper.
    ManualBypass,
    /// `autonomous-code-fixer` was called for a rejected schema operation.
    AutoFix,
}

impl EntryKind {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ManualBypass => "manual_bypass",
            Self::AutoFix => "auto_fix",
        }
    }
}

/// Who looked at an entry, and what came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Review {
    pub by: String,
    pub note: String,
    pub at: Timestamp,
}
