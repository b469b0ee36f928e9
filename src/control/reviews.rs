//! What people must look at: calls that were made without the gatekeeper, fixes that failed.

use uuid::Uuid;

use super::{Control, ControlError, outbox};
use crate::audit::Actor;
use crate::store::CallRow;
use crate::store::control::{ActivityEntry, EntryKind, Review};

impl Control {
    /// `bypass`: as [`ActivityEntry::bypass`] makes it.
    pub async fn log_bypass(&self, bypass: &ActivityEntry, by: &Actor) -> Result<(), ControlError> {
        let entry = bypass.bypass_logged(by);
        self.store.log_bypass(bypass, &entry).await?;
        outbox::tell(&entry);
        Ok(())
    }

    pub async fn entries(&self, kind: EntryKind, open_only: bool, most: u32) -> Result<Vec<CallRow>, ControlError> {
        Ok(self.store.entries(kind, open_only, most).await?)
    }

    /// False if there is no such entry that is open.
    pub async fn review(&self, id: Uuid, review: &Review, by: &Actor) -> Result<bool, ControlError> {
        let review = Review::new(&review.by, &review.note, review.at);
        let entry = review.of(id, by);
        let reviewed = self.store.review(id, &review, &entry).await?;
        if reviewed {
            outbox::tell(&entry);
        }
        Ok(reviewed)
    }
}
