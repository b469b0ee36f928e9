//! What operators change while the gatekeeper runs: policy, enforcement, flags, blocks, the log. Every change takes effect here at once
//! and elsewhere within a second, is audited with who, why, before and after, and can be taken back.
//!
//! A file for each thing that can be changed. What the database must hear of a change goes by `outbox` and `errands`, which wait for it;
//! what must survive a restart without it goes to `state` too.

mod afresh;
mod blocks;
mod enforcement;
mod errands;
mod flags;
mod forms;
mod keys;
mod outbox;
mod policies;
mod reviews;
mod state;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::audit::{Actor, AuditAction, AuditEntry};
use crate::clock::Timestamp;
use crate::identity::{KeyHash, KeyId};
use crate::keys::EnvironmentHashes;
use crate::pipeline::Pipeline;
use crate::store::control::limits_cleared;
use crate::store::{Store, StoreError};
use crate::telemetry::logging::{Level, Log};
use crate::telemetry::metrics::Metrics;

pub use afresh::Kept;
pub use enforcement::{EnforceOrder, GateStanding};
pub use policies::{Compile, PolicySource, PolicyStatus};

/// Why a change could not be made.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// The database is needed for it, and is away: worth trying again.
    #[error("the database is away")]
    Away,
    /// What was asked for makes no sense; the words are for whoever asked.
    #[error("{0}")]
    Invalid(String),
    /// The database refused, for a reason that is in the log.
    #[error("the database refused")]
    Refused,
}

impl From<StoreError> for ControlError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Away(why) => {
                tracing::warn!(why, "a change waits for the database");
                Self::Away
            }
            StoreError::Refused(why) => {
                tracing::error!(why, "the database refused a change");
                Self::Refused
            }
        }
    }
}

/// What a [`Control`] begins with, beside the parts that it shares with others.
pub struct Beginning {
    pub policies: PolicySource,
    pub log: Log,
    /// Where what operators say is kept for a restart without the database.
    pub state: PathBuf,
    pub secrets: EnvironmentHashes,
}

pub struct Control {
    pipeline: Arc<Pipeline>,
    store: Arc<dyn Store>,
    metrics: Arc<Metrics>,
    log: Log,
    state: Arc<state::State>,
    policies: policies::Policies,
    enforcement: Arc<enforcement::Told>,
    flags: Mutex<Vec<crate::switches::Flag>>,
    blocks: Mutex<Vec<crate::store::control::StoredBlock>>,
    /// The keys of the environment.
    keys: Mutex<Vec<(KeyId, KeyHash)>>,
    outbox: Arc<outbox::Outbox>,
    errands: errands::Errands,
    due: afresh::Due,
    turns: Turns,
    hurry: Notify,
}

/// Changes made through the database, and readings of it, take turns: one that began before a change must not undo it here. For each
/// kind its own, so that no change waits for one of another kind.
#[derive(Default)]
struct Turns {
    flags: tokio::sync::Mutex<()>,
    blocks: tokio::sync::Mutex<()>,
    keys: tokio::sync::Mutex<()>,
}

impl Control {
    pub fn new(pipeline: Arc<Pipeline>, store: Arc<dyn Store>, metrics: Arc<Metrics>, beginning: Beginning) -> Self {
        let Beginning { policies, log, state, secrets } = beginning;
        let policies = policies::Policies::new(policies, &pipeline.live.current().policy, pipeline.clock.now());
        let control = Self {
            outbox: Arc::new(outbox::Outbox::new(Arc::clone(&metrics))),
            pipeline,
            store,
            metrics,
            log,
            state: Arc::new(state::State::new(state)),
            policies,
            enforcement: Arc::default(),
            flags: Mutex::default(),
            blocks: Mutex::default(),
            keys: Mutex::default(),
            errands: errands::Errands::default(),
            due: afresh::Due::default(),
            turns: Turns::default(),
            hurry: Notify::new(),
        };
        control.use_secrets(secrets);
        control.change_blocks(|_| {});
        control.show_enforcement();
        control
    }

    fn now(&self) -> Timestamp {
        self.pipeline.clock.now()
    }

    /// Why what operators say now might not survive a restart; nothing while all is well.
    pub fn state_trouble(&self) -> Option<String> {
        self.state.trouble()
    }

    /// Takes up what an earlier run has left in the state directory. Before the first call.
    pub async fn restore(&self) {
        self.restore_enforcement().await;
        self.restore_outbox().await;
        self.try_state().await;
    }

    /// Whether what operators say could be kept: known before they say it.
    async fn try_state(&self) {
        let state = Arc::clone(&self.state);
        let _tried = tokio::task::spawn_blocking(move || state.try_out()).await;
        self.metrics.state_unkept.set(i64::from(self.state.trouble().is_some()));
    }

    /// Waits until something was changed here that comes back as a signal: no need to wait for the next look.
    pub async fn hurried(&self) {
        self.hurry.notified().await;
    }

    // Limits.

    /// How many rows of counts were forgotten.
    pub async fn clear_limits(&self, identifier: &str, by: &Actor) -> Result<u64, ControlError> {
        let entry = AuditEntry::new(self.now(), by, AuditAction::LimitsCleared, identifier);
        let rows = self.store.clear_limits(identifier, &entry).await?;
        if rows > 0 {
            self.hurry.notify_one();
            outbox::tell(&limits_cleared(&entry, rows));
        }
        Ok(rows)
    }

    // The log.

    pub fn log_level(&self) -> String {
        self.log.level().as_str().to_owned()
    }

    /// `level`: trace, debug, info, warn or error, in any letter case.
    pub async fn set_log_level(&self, level: &str, by: &Actor) -> Result<String, ControlError> {
        let level = Level::parse(level.trim()).ok_or_else(|| ControlError::Invalid(Level::WORDS.to_owned()))?;
        let before = self.log.set_level(level);
        let after = self.log.level();
        if before != after {
            let entry = AuditEntry::new(self.now(), by, AuditAction::LogLevelChanged, "log");
            self.note(entry.from_to(before.as_str().into(), after.as_str().into()));
        }
        Ok(after.as_str().to_owned())
    }

    pub async fn audit_entries(&self, most: u32) -> Result<Vec<AuditEntry>, ControlError> {
        Ok(self.store.audit_entries(most).await?)
    }
}

/// Longer than any order is meant, and a moment that every database can keep.
fn within_calendar(until: Timestamp) -> Timestamp {
    const LAST: Timestamp = Timestamp::from_secs(32_503_680_000);
    until.min(LAST)
}

/// A panic elsewhere leaves a list that is still a list.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
