//! Rows of the activity log that are no calls: what became of automatic fixes.

use serde_json::json;
use uuid::Uuid;

use super::Recorder;
use crate::call::legible;
use crate::clock::Timestamp;
use crate::identity::{CallId, TargetName};
use crate::store::control::{ActivityEntry, EntryKind, EntryStatus};
use crate::telemetry::metrics::{FixLabel, Metrics};

/// An automatic fix, in words that are fit to be kept: no literal of anybody's SQL is in them.
#[derive(Clone, Debug)]
pub struct Fix {
    pub id: Uuid,
    /// The call whose rejection set it off.
    pub call: CallId,
    pub fixer: TargetName,
    pub source: String,
    pub target: TargetName,
    /// The validator's.
    pub reason: String,
    pub fingerprint: String,
    /// With its literals blanked, where it can be shown at all.
    pub statement: Option<String>,
}

/// How far a fix has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FixState {
    Triggered,
    Succeeded,
    /// Somebody must do it by hand.
    Failed {
        why: String,
    },
}

impl FixState {
    pub const fn status(&self) -> EntryStatus {
        match self {
            Self::Triggered => EntryStatus::Triggered,
            Self::Succeeded => EntryStatus::Succeeded,
            Self::Failed { .. } => EntryStatus::Failed,
        }
    }
}

/// Puts down what becomes of fixes.
#[derive(Clone, Debug)]
pub struct Entries {
    recorder: Recorder,
}

impl Entries {
    pub fn new(recorder: Recorder) -> Self {
        Self { recorder }
    }

    pub fn metrics(&self) -> &Metrics {
        self.recorder.metrics()
    }

    pub fn auto_fix(&self, fix: &Fix, state: &FixState, at: Timestamp) {
        self.count(state.status().as_str());
        let Fix { id, call, fixer, fingerprint, .. } = fix;
        match state {
            FixState::Failed { why } => tracing::warn!(%call, fix = %id, %fixer, fingerprint, why, "an auto-fix failed"),
            FixState::Triggered | FixState::Succeeded => {
                tracing::info!(%call, fix = %id, %fixer, fingerprint, state = state.status().as_str(), "an auto-fix");
            }
        }
        self.recorder.enter(&auto_fix(fix, state, at));
    }

    /// A fix that was not triggered.
    pub fn no_room(&self, call: CallId, fingerprint: &str) {
        self.count("no_room");
        tracing::warn!(%call, fingerprint, "no auto-fix is triggered: there are too many already");
    }

    fn count(&self, outcome: &'static str) {
        self.metrics().auto_fixes.get_or_create(&FixLabel { outcome }).inc();
    }
}

/// Each state of a fix is a row of its own, so that none is ever changed.
fn auto_fix(fix: &Fix, state: &FixState, at: Timestamp) -> ActivityEntry {
    let Fix { id, call, fixer, source, target, reason, fingerprint, statement } = fix;
    let (source, status) = (legible(source, 128), state.status());
    let failure = match state {
        FixState::Failed { why } => Some(why),
        FixState::Triggered | FixState::Succeeded => None,
    };
    let metadata = json!({
        "fix_id": id.to_string(), "call_id": call.to_string(), "fixer": fixer.as_str(), "source": source, "target": target.as_str(),
        "reason": reason, "fingerprint": fingerprint, "statement": statement, "failure": failure,
    });
    let (sign, description) = match state {
        FixState::Triggered => ('\u{1f527}', format!("{fixer} was told of a schema operation of {source} that was rejected: {reason}")),
        FixState::Succeeded => ('\u{2705}', format!("{fixer} has dealt with a schema operation of {source} that was rejected: {reason}")),
        FixState::Failed { why } => {
            ('\u{274c}', format!("{fixer} has not dealt with a schema operation of {source} that was rejected: {reason} ({why})"))
        }
    };
    let title = format!("{sign} Auto-fix {}: {source} \u{2192} {target}", status.as_str());
    ActivityEntry { id: Uuid::now_v7(), origin: None, at, kind: EntryKind::AutoFix, status, title, description, metadata }
}
