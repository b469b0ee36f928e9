//! Rows of the activity log that are no calls: what became of automatic fixes. On their way to the store like records, but one by one,
//! for there are few.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tokio::sync::{mpsc, watch};
use tokio::time::sleep;
use uuid::Uuid;

use crate::call::legible;
use crate::clock::Timestamp;
use crate::identity::{CallId, TargetName};
use crate::store::control::{ActivityEntry, EntryKind};
use crate::store::{Store, StoreError};
use crate::telemetry::metrics::{FixLabel, Metrics};

/// Entries that may wait for the store.
const QUEUE: usize = 1024;
const FIRST_RETRY: Duration = Duration::from_millis(100);
const LAST_RETRY: Duration = Duration::from_secs(2);

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
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Triggered => "triggered",
            Self::Succeeded => "succeeded",
            Self::Failed { .. } => "failed",
        }
    }
}

/// The way in to the writer of entries. Never waits.
#[derive(Clone, Debug)]
pub struct Entries {
    queue: mpsc::Sender<ActivityEntry>,
    metrics: Arc<Metrics>,
}

impl Entries {
    pub fn new(metrics: Arc<Metrics>) -> (Self, mpsc::Receiver<ActivityEntry>) {
        let (queue, entries) = mpsc::channel(QUEUE);
        (Self { queue, metrics }, entries)
    }

    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    pub fn auto_fix(&self, fix: &Fix, state: &FixState, at: Timestamp) {
        self.count(state.as_str());
        let Fix { id, call, fixer, fingerprint, .. } = fix;
        match state {
            FixState::Failed { why } => tracing::warn!(%call, fix = %id, %fixer, fingerprint, why, "an auto-fix failed"),
            FixState::Triggered | FixState::Succeeded => {
                tracing::info!(%call, fix = %id, %fixer, fingerprint, state = state.as_str(), "an auto-fix");
            }
        }
        self.enter(auto_fix(fix, state, at));
    }

    /// A fix that was not triggered.
    pub fn no_room(&self, call: CallId, fingerprint: &str) {
        self.count("no_room");
        tracing::warn!(%call, fingerprint, "no auto-fix is triggered: there are too many already");
    }

    fn count(&self, outcome: &'static str) {
        self.metrics.auto_fixes.get_or_create(&FixLabel { outcome }).inc();
    }

    fn enter(&self, entry: ActivityEntry) {
        if let Err(refused) = self.queue.try_send(entry) {
            let entry = refused.into_inner();
            self.metrics.records_dropped.inc();
            tracing::error!(id = %entry.id, title = entry.title, status = entry.status, "there is no room for this entry: it is in the log alone");
            return;
        }
        self.metrics.records_waiting.inc();
    }
}

/// Each state of a fix is a row of its own, so that none is ever changed.
fn auto_fix(fix: &Fix, state: &FixState, at: Timestamp) -> ActivityEntry {
    let Fix { id, call, fixer, source, target, reason, fingerprint, statement } = fix;
    let (source, status) = (legible(source, 128), state.as_str());
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
    let title = format!("{sign} Auto-fix {status}: {source} \u{2192} {target}");
    ActivityEntry { id: Uuid::now_v7(), origin: None, at, kind: EntryKind::AutoFix, status, title, description, metadata }
}

/// Runs until it is told to stop and the queue is empty, however long the database is away.
pub async fn write_entries(
    store: Arc<dyn Store>,
    mut entries: mpsc::Receiver<ActivityEntry>,
    metrics: Arc<Metrics>,
    mut stop: watch::Receiver<bool>,
) {
    loop {
        let entry = tokio::select! {
            entry = entries.recv() => entry,
            _ = stop.wait_for(|stop| *stop), if !entries.is_closed() => {
                entries.close();
                continue;
            }
        };
        let Some(entry) = entry else { return };
        write(store.as_ref(), &entry, &metrics).await;
        metrics.records_waiting.dec();
    }
}

async fn write(store: &dyn Store, entry: &ActivityEntry, metrics: &Metrics) {
    let mut pause = FIRST_RETRY;
    let mut refused = false;
    loop {
        match store.add_entries(std::slice::from_ref(entry)).await {
            Ok(()) => {
                metrics.records_written.inc();
                return;
            }
            Err(StoreError::Away(why)) => {
                tracing::warn!(%why, "an entry waits for the database");
                sleep(pause).await;
                pause = (pause * 2).min(LAST_RETRY);
            }
            // Asked once more: what was in the way, such as a partition being attached, may be gone.
            Err(StoreError::Refused(_)) if !refused => {
                refused = true;
                sleep(FIRST_RETRY).await;
            }
            Err(StoreError::Refused(why)) => {
                metrics.records_dropped.inc();
                tracing::error!(%why, id = %entry.id, title = entry.title, "the database refuses this entry: it is in the log alone");
                return;
            }
        }
    }
}
