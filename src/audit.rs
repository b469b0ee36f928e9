//! What operators change, kept: who, when, why, and what was before and after. Never a secret.

use serde_json::Value;
use uuid::Uuid;

use crate::call::legible;
use crate::clock::Timestamp;

/// Longer than anybody's name or reason needs to be.
const WORDS: usize = 500;

/// Who changes something, as far as can be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Actor(String);

impl Actor {
    /// Whoever holds the admin token, by the name it gives itself, and where it calls from.
    pub fn admin(name: Option<&str>, from: std::net::IpAddr) -> Self {
        let name = name.map(|name| legible(name.trim(), WORDS)).filter(|name| !name.is_empty());
        Self(match name {
            Some(name) => format!("{name} (admin API, {from})"),
            None => format!("admin API, {from}"),
        })
    }

    /// Nobody in person: `SIGHUP`, `a changed file`, `its own end`.
    pub fn cause(what: &'static str) -> Self {
        Self(what.to_owned())
    }

    /// At a terminal.
    pub fn named(name: &str) -> Self {
        Self(legible(name, WORDS))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuditAction {
    PolicyReloaded,
    PolicyRefused,
    EnforcementChanged,
    EnforcementEnded,
    FlagChanged,
    BlockAdded,
    BlockEnded,
    LimitsCleared,
    LogLevelChanged,
    SecretsChanged,
    BypassLogged,
    Reviewed,
    RetentionRun,
    KeyMade,
    KeyExpires,
    KeyRevoked,
}

impl AuditAction {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::PolicyReloaded => "policy_reloaded",
            Self::PolicyRefused => "policy_refused",
            Self::EnforcementChanged => "enforcement_changed",
            Self::EnforcementEnded => "enforcement_ended",
            Self::FlagChanged => "flag_changed",
            Self::BlockAdded => "block_added",
            Self::BlockEnded => "block_ended",
            Self::LimitsCleared => "limits_cleared",
            Self::LogLevelChanged => "log_level_changed",
            Self::SecretsChanged => "secrets_changed",
            Self::BypassLogged => "bypass_logged",
            Self::Reviewed => "reviewed",
            Self::RetentionRun => "retention_run",
            Self::KeyMade => "key_made",
            Self::KeyExpires => "key_expires",
            Self::KeyRevoked => "key_revoked",
        }
    }
}

/// A row of `security_audit`. Rows that a database's own triggers write have other actions.
#[derive(Clone, Debug, PartialEq)]
pub struct AuditEntry {
    pub id: Uuid,
    pub at: Timestamp,
    pub actor: String,
    pub action: String,
    /// What was changed: a gate, a flag, a network.
    pub subject: String,
    pub reason: Option<String>,
    pub before: Value,
    pub after: Value,
}

impl AuditEntry {
    pub fn new(at: Timestamp, actor: &Actor, action: AuditAction, subject: &str) -> Self {
        Self {
            id: Uuid::now_v7(),
            at,
            actor: actor.as_str().to_owned(),
            action: action.as_str().to_owned(),
            subject: legible(subject, WORDS),
            reason: None,
            before: Value::Null,
            after: Value::Null,
        }
    }

    pub fn because(mut self, reason: Option<&str>) -> Self {
        self.reason = reason.map(|reason| legible(reason, WORDS)).filter(|reason| !reason.is_empty());
        self
    }

    pub fn from_to(mut self, before: Value, after: Value) -> Self {
        (self.before, self.after) = (before, after);
        self
    }
}
