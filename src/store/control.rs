//! What operators change through the database, or have kept there: rows as the stores read and write them.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use uuid::Uuid;

use super::batch::plain_json;
use crate::audit::{Actor, AuditAction, AuditEntry};
use crate::blocklist::Subject;
use crate::call::legible;
use crate::clock::Timestamp;
use crate::identity::Origin;
use crate::switches::Flag;
use crate::verdict::BlockedWhat;

/// Longer than anybody's name or reason needs to be.
const WORDS: usize = 500;

/// Each call is held against every block there is.
pub const MOST_BLOCKS: usize = 10_000;
/// One more, to tell that there are too many.
pub(super) const BLOCKS_READ: i64 = 10_001;

/// Why there will be no such block, in words for whoever asked for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnfitBlock {
    #[error("subject: would keep everyone out; to stop all calls, stop the gatekeeper")]
    Everything,
    #[error("reason: say why, for those who find it blocked")]
    NoReason,
    #[error("until: is over already")]
    Over,
    #[error("there are {MOST_BLOCKS} blocks already: block networks, or patterns of sources")]
    NoRoom,
}

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

impl StoredBlock {
    /// `others`: how many blocks are in force. Whichever way a block comes, it comes through here.
    pub fn new(
        subject: &Subject,
        reason: &str,
        at: Timestamp,
        until: Option<Timestamp>,
        by: &Actor,
        others: usize,
    ) -> Result<Self, UnfitBlock> {
        if subject.is_everything() {
            return Err(UnfitBlock::Everything);
        }
        if reason.trim().is_empty() {
            return Err(UnfitBlock::NoReason);
        }
        if until.is_some_and(|until| until <= at) {
            return Err(UnfitBlock::Over);
        }
        if others >= MOST_BLOCKS {
            return Err(UnfitBlock::NoRoom);
        }
        let kind = match subject.what() {
            BlockedWhat::Network => BlockKind::Network,
            BlockedWhat::Source => BlockKind::Source,
        };
        let (subject, reason) = (subject.text(), legible(reason.trim(), WORDS));
        Ok(Self { id: Uuid::now_v7(), kind, subject, reason, actor: by.as_str().to_owned(), at, until })
    }

    /// For the audit: it was made.
    pub fn added(&self, by: &Actor) -> AuditEntry {
        let entry = AuditEntry::new(self.at, by, AuditAction::BlockAdded, &self.subject);
        entry.because(Some(&self.reason)).from_to(Value::Null, self.said())
    }

    /// For the audit: it was ended.
    pub fn ended(&self, at: Timestamp, reason: Option<&str>, by: &Actor) -> AuditEntry {
        let after = json!({ "id": self.id.to_string(), "until": at.to_string() });
        AuditEntry::new(at, by, AuditAction::BlockEnded, &self.subject).because(reason).from_to(self.said(), after)
    }

    fn said(&self) -> Value {
        let until = self.until.map(|until| until.to_string());
        json!({ "id": self.id.to_string(), "kind": self.kind.as_str(), "subject": self.subject, "reason": self.reason, "until": until })
    }
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

impl FlagChange {
    pub(super) fn made_to(&self, flag: Option<&Flag>) -> Flag {
        Flag {
            name: self.name.clone(),
            enabled: self.enabled.unwrap_or_else(|| flag.is_none_or(|flag| flag.enabled)),
            kill_switch: self.kill_switch.unwrap_or_else(|| flag.is_some_and(|flag| flag.kill_switch)),
            rollout_percentage: self.rollout_percentage.unwrap_or_else(|| flag.map_or(100, |flag| flag.rollout_percentage)),
        }
    }

    /// The entry about it, as the databases' triggers write theirs.
    pub(super) fn audited(entry: &AuditEntry, before: Option<&Flag>, after: &Flag) -> AuditEntry {
        entry.clone().from_to(before.map_or(Value::Null, state), state(after))
    }
}

/// The entry about counts that were given back.
pub fn limits_cleared(entry: &AuditEntry, rows: u64) -> AuditEntry {
    entry.clone().from_to(json!({ "rows": rows }), json!({ "rows": 0 }))
}

fn state(Flag { name, enabled, kill_switch, rollout_percentage }: &Flag) -> Value {
    json!({ "name": name, "enabled": enabled, "kill_switch": kill_switch, "rollout_percentage": rollout_percentage })
}

/// Something in the activity log that people must look at: a row of its own, no call's.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ActivityEntry {
    pub id: Uuid,
    /// None of an entry that no journal has numbered.
    #[serde(skip)]
    pub origin: Option<Origin>,
    pub at: Timestamp,
    pub kind: EntryKind,
    pub status: EntryStatus,
    pub title: String,
    pub description: String,
    /// A JSON object.
    #[serde(with = "as_text")]
    pub metadata: Value,
}

impl ActivityEntry {
    /// Somebody called a target without the gatekeeper and says so: open until somebody else has looked at it.
    pub fn bypass(at: Timestamp, by: &str, target: &str, reason: &str) -> Self {
        let [by, target, reason] = [by, target, reason].map(|words| legible(words.trim(), WORDS));
        Self {
            id: Uuid::now_v7(),
            origin: None,
            at,
            kind: EntryKind::ManualBypass,
            status: EntryStatus::Open,
            title: "\u{26a0}\u{fe0f} Manual Bypass".into(),
            description: format!("{by} called {target} without the gatekeeper: {reason}"),
            metadata: json!({ "by": by, "target": target, "reason": reason }),
        }
    }

    /// For the audit: this bypass was written down.
    pub fn bypass_logged(&self, by: &Actor) -> AuditEntry {
        let member = |name: &str| self.metadata.get(name).and_then(Value::as_str).unwrap_or_default();
        AuditEntry::new(self.at, by, AuditAction::BypassLogged, member("target"))
            .because(Some(member("reason")))
            .from_to(Value::Null, json!({ "id": self.id.to_string(), "by": member("by") }))
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
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

/// Of an entry when it is made; what becomes of it is noted later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum EntryStatus {
    /// Somebody should look at it.
    Open,
    Triggered,
    Succeeded,
    Failed,
}

impl EntryStatus {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Triggered => "triggered",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
        }
    }
}

/// JSON where what reads it must know beforehand what comes.
mod as_text {
    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serializer};
    use serde_json::Value;

    pub fn serialize<S: Serializer>(value: &Value, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(value)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Value, D::Error> {
        serde_json::from_str(&String::deserialize(deserializer)?).map_err(Error::custom)
    }
}

/// Who looked at an entry, and what came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Review {
    pub by: String,
    pub note: String,
    pub at: Timestamp,
}

impl Review {
    /// As it stands in the entry's metadata.
    pub(super) fn note(&self) -> String {
        plain_json(&json!({ "by": self.by, "note": self.note, "at": self.at.to_string() }).to_string()).into_owned()
    }
}

impl Review {
    pub fn new(by: &str, note: &str, at: Timestamp) -> Self {
        Self { by: legible(by.trim(), WORDS), note: legible(note.trim(), WORDS), at }
    }

    /// For the audit: this entry was looked at.
    pub fn of(&self, id: Uuid, by: &Actor) -> AuditEntry {
        AuditEntry::new(self.at, by, AuditAction::Reviewed, &id.to_string())
            .because(Some(&self.note))
            .from_to(Value::Null, json!({ "by": self.by }))
    }
}
