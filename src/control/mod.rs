//! What operators change while the gatekeeper runs: policy, enforcement, flags, blocks, the log. Every change takes effect here at once
//! and elsewhere within a second, is audited with who, why, before and after, and can be taken back.

use std::sync::{Arc, Mutex, PoisonError};

use crate::audit::{Actor, AuditEntry};
use crate::clock::Timestamp;
use crate::enforcement::{GateMode, Ruling};
use crate::pipeline::Pipeline;
use crate::policy::Policy;
use crate::policy::load::Origin;
use crate::store::control::{ActivityEntry, EntryKind, FlagChange, Review, StoredBlock};
use crate::store::{CallRow, Store, StoreError};
use crate::switches::Flag;
use crate::telemetry::metrics::Metrics;
use crate::verdict::GateName;

/// Compiles the policies as they are now, or says all that is wrong with them, each with its file and line.
pub type Compile = Arc<dyn Fn() -> Result<Policy, Vec<String>> + Send + Sync>;

/// Where policies come from, in words and in deed.
#[derive(Clone)]
pub struct PolicySource {
    pub origin: Origin,
    pub compile: Compile,
}

/// How the policy in force came to be there, and what is wrong with the one that should take its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyStatus {
    pub origin: String,
    pub fingerprint: String,
    pub loaded_at: Timestamp,
    /// Of the last try to read the policies; empty if what is in force is what the files say.
    pub problems: Vec<String>,
    pub warnings: Vec<String>,
}

/// What an operator wants of enforcement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EnforceOrder {
    pub mode: GateMode,
    /// `None`: every gate.
    pub gate: Option<GateName>,
    pub until: Option<Timestamp>,
    pub reason: String,
}

/// How enforcement stands for one gate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GateStanding {
    pub gate: GateName,
    pub mode: GateMode,
    /// The ruling behind it; none where it is as the gatekeeper was started.
    pub ruling: Option<Ruling>,
    /// The feature flag that switches the gate off, if one does.
    pub flag: Option<Flag>,
}

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

pub struct Control {
    pipeline: Arc<Pipeline>,
    store: Arc<dyn Store>,
    _metrics: Arc<Metrics>,
    policies: PolicySource,
    status: Mutex<PolicyStatus>,
}

impl Control {
    pub fn new(pipeline: Arc<Pipeline>, store: Arc<dyn Store>, metrics: Arc<Metrics>, policies: PolicySource) -> Self {
        let snapshot = pipeline.live.snapshot();
        let status = PolicyStatus {
            origin: policies.origin.to_string(),
            fingerprint: snapshot.policy.fingerprint.to_string(),
            loaded_at: pipeline.clock.now(),
            problems: Vec::new(),
            warnings: snapshot.policy.warnings.clone(),
        };
        Self { pipeline, store, _metrics: metrics, policies, status: Mutex::new(status) }
    }

    fn now(&self) -> Timestamp {
        self.pipeline.clock.now()
    }

    // Policy.

    pub fn policy_status(&self) -> PolicyStatus {
        self.status.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Reads the policies again and puts them in force, or keeps those that are and says every problem.
    pub async fn reload(&self, _by: &Actor) -> Result<PolicyStatus, Vec<String>> {
        let compile = Arc::clone(&self.policies.compile);
        let policy = tokio::task::spawn_blocking(move || compile()).await.map_err(|error| vec![error.to_string()])??;
        self.pipeline.upstream.follow(&policy.targets);
        let policy = Arc::new(policy);
        self.pipeline.live.change(|snapshot| snapshot.policy = policy);
        Ok(self.policy_status())
    }

    // Enforcement.

    /// Every gate, in the order a call meets them.
    pub fn enforcement(&self) -> Vec<GateStanding> {
        let snapshot = self.pipeline.live.snapshot();
        let modes = snapshot.modes(self.now());
        GateName::ALL
            .into_iter()
            .map(|gate| GateStanding {
                gate,
                mode: modes.of(gate),
                ruling: snapshot.enforcement.ruling(gate).cloned(),
                flag: snapshot.switches.against_gate(gate).cloned(),
            })
            .collect()
    }

    /// Takes effect before it returns, whether or not the database is there.
    pub async fn enforce(&self, order: &EnforceOrder, by: &Actor) -> Vec<GateStanding> {
        let at = self.now();
        self.pipeline.live.change(|snapshot| {
            let enforcement = Arc::make_mut(&mut snapshot.enforcement);
            for gate in order.gate.map_or_else(|| GateName::ALL.to_vec(), |gate| vec![gate]) {
                let afterwards = order.until.map(|_| enforcement.mode_at(gate, at));
                let (mode, until, reason, actor) = (Some(order.mode), order.until, order.reason.clone(), by.as_str().to_owned());
                enforcement.take(Ruling { gate, mode, until, afterwards, reason, actor, at });
            }
        });
        self.enforcement()
    }

    // Flags.

    pub async fn flags(&self) -> Result<Vec<Flag>, ControlError> {
        Ok(self.store.flags().await?)
    }

    /// What the flag was, if it was there, and what it is.
    pub async fn set_flag(&self, _change: &FlagChange, _reason: Option<&str>, _by: &Actor) -> Result<(Option<Flag>, Flag), ControlError> {
        Err(ControlError::Refused)
    }

    // Blocks.

    /// Those of the database; policy's own are in [`crate::live::Snapshot::blocklist`] too.
    pub async fn blocks(&self) -> Result<Vec<StoredBlock>, ControlError> {
        Ok(self.store.blocks(self.now()).await?)
    }

    /// `subject`: an address, a network, a source or a pattern of sources.
    pub async fn block(&self, _subject: &str, _reason: &str, _until: Option<Timestamp>, _by: &Actor) -> Result<StoredBlock, ControlError> {
        Err(ControlError::Refused)
    }

    /// False if there is no such block in force.
    pub async fn unblock(&self, _id: uuid::Uuid, _reason: Option<&str>, _by: &Actor) -> Result<bool, ControlError> {
        Ok(false)
    }

    // Limits.

    /// How many rows of counts were forgotten.
    pub async fn clear_limits(&self, identifier: &str, _by: &Actor) -> Result<u64, ControlError> {
        Ok(self.store.clear_limits(identifier).await?)
    }

    // The log.

    pub fn log_level(&self) -> String {
        "info".into()
    }

    /// `level`: trace, debug, info, warn or error, in any letter case.
    pub async fn set_log_level(&self, _level: &str, _by: &Actor) -> Result<String, ControlError> {
        Ok(self.log_level())
    }

    // What people must look at.

    pub async fn log_bypass(&self, _entry: ActivityEntry, _by: &Actor) -> Result<(), ControlError> {
        Err(ControlError::Refused)
    }

    pub async fn entries(&self, kind: EntryKind, open_only: bool, most: u32) -> Result<Vec<CallRow>, ControlError> {
        Ok(self.store.entries(kind, open_only, most).await?)
    }

    /// False if there is no such entry that is open.
    pub async fn review(&self, _id: uuid::Uuid, _review: &Review, _by: &Actor) -> Result<bool, ControlError> {
        Ok(false)
    }

    pub async fn audit_entries(&self, most: u32) -> Result<Vec<AuditEntry>, ControlError> {
        Ok(self.store.audit_entries(most).await?)
    }
}
