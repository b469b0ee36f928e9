//! What people must look at: calls that were made without the gatekeeper, fixes that failed.

use serde_json::{Value, json};
use uuid::Uuid;

use super::{Control, ControlError, outbox};
use crate::audit::{Actor, AuditAction, AuditEntry};
use crate::call::legible;
use crate::store::CallRow;
use crate::store::control::{ActivityEntry, EntryKind, Review};

const WORDS: usize = 500;

impl Control {
    /// `entry`: as [`ActivityEntry::bypass`] makes it.
    pub async fn log_bypass(&self, entry: ActivityEntry, by: &Actor) -> Result<(), ControlError> {
        self.store.add_entries(std::slice::from_ref(&entry)).await?;
        let member = |name: &str| entry.metadata.get(name).and_then(Value::as_str).unwrap_or_default();
        let audit = AuditEntry::new(entry.at, by, AuditAction::BypassLogged, member("target")).because(Some(member("reason")));
        let noted = self.note(audit.from_to(Value::Null, json!({ "id": entry.id.to_string(), "by": member("by") })));
        // It goes on if whoever asked is gone.
        let _kept = noted.await;
        Ok(())
    }

    pub async fn entries(&self, kind: EntryKind, open_only: bool, most: u32) -> Result<Vec<CallRow>, ControlError> {
        Ok(self.store.entries(kind, open_only, most).await?)
    }

    /// False if there is no such entry that is open.
    pub async fn review(&self, id: Uuid, review: &Review, by: &Actor) -> Result<bool, ControlError> {
        let words = |text: &str| legible(text.trim(), WORDS);
        let review = &Review { by: words(&review.by), note: words(&review.note), at: review.at };
        let entry = AuditEntry::new(review.at, by, AuditAction::Reviewed, &id.to_string())
            .because(Some(&review.note))
            .from_to(Value::Null, json!({ "by": review.by }));
        let reviewed = self.store.review(id, review, &entry).await?;
        if reviewed {
            outbox::tell(&entry);
        }
        Ok(reviewed)
    }
}
