//! What the audit says of keys: which, for whom, until when. Never the key, nor its hash.

use serde_json::{Value, json};

use super::StoredKey;
use crate::audit::{Actor, AuditAction, AuditEntry};
use crate::clock::Timestamp;

impl StoredKey {
    /// For the audit: it was made.
    pub fn made(&self, by: &Actor) -> AuditEntry {
        AuditEntry::new(self.created_at, by, AuditAction::KeyMade, self.id.as_str()).from_to(Value::Null, self.said())
    }

    /// For the audit: it was given an end.
    pub fn expires(&self, until: Timestamp, at: Timestamp, by: &Actor) -> AuditEntry {
        let until = self.expires_at.map_or(until, |sooner| sooner.min(until));
        AuditEntry::new(at, by, AuditAction::KeyExpires, self.id.as_str())
            .from_to(self.said(), json!({ "id": self.id.as_str(), "expires_at": until.to_string() }))
    }

    /// For the audit: it was ended at once.
    pub fn revoked(&self, at: Timestamp, by: &Actor) -> AuditEntry {
        AuditEntry::new(at, by, AuditAction::KeyRevoked, self.id.as_str())
            .from_to(self.said(), json!({ "id": self.id.as_str(), "revoked_at": at.to_string() }))
    }

    fn said(&self) -> Value {
        let moment = |at: Option<Timestamp>| at.map(|at| at.to_string());
        json!({
            "id": self.id.as_str(), "name": self.name, "sources": self.sources, "targets": self.targets, "actions": self.actions,
            "not_before": moment(self.not_before), "expires_at": moment(self.expires_at), "revoked_at": moment(self.revoked_at),
        })
    }
}
