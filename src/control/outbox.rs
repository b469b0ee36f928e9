//! Entries on their way to `security_audit`. Each is in the log at once, and in the database as soon as it is there; until then it lies
//! in the state directory too, so that a restart loses none.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use tokio::task::{JoinHandle, spawn_blocking};
use uuid::Uuid;

use super::state::State;
use super::{Control, forms, lock};
use crate::audit::{AuditAction, AuditEntry};
use crate::store::StoreError;
use crate::telemetry::metrics::Metrics;

const FOLDER: &str = "audit";
/// Operators change things by hand: this is far more than a day without a database brings.
const MOST: usize = 1000;
const BATCH: usize = 100;

pub(super) struct Outbox {
    /// The oldest first.
    waiting: Mutex<VecDeque<AuditEntry>>,
    metrics: Arc<Metrics>,
}

impl Outbox {
    pub fn new(metrics: Arc<Metrics>) -> Self {
        Self { waiting: Mutex::default(), metrics }
    }

    /// Returns those that there is no room for any more.
    fn put(&self, entry: AuditEntry) -> Vec<Uuid> {
        let mut waiting = lock(&self.waiting);
        if waiting.iter().any(|known| known.id == entry.id) {
            return Vec::new();
        }
        waiting.push_back(entry);
        let beyond = waiting.len().saturating_sub(MOST);
        let dropped: Vec<Uuid> = waiting.drain(..beyond).map(|entry| entry.id).collect();
        if !dropped.is_empty() {
            self.metrics.audit_dropped.inc_by(dropped.len() as u64);
            tracing::error!(entries = dropped.len(), "the database is away for so long that the oldest audit entries are in the log alone");
        }
        dropped
    }

    fn text(&self, id: Uuid) -> Option<String> {
        lock(&self.waiting).iter().find(|entry| entry.id == id).map(forms::write_entry)
    }

    /// Whether an entry that was taken would come through a crash: it waits no more, or lies on the disk.
    pub fn is_safe(&self, id: Uuid, state: &State) -> bool {
        self.text(id).is_none() || state.has(&file(id))
    }

    fn ids(&self) -> Vec<Uuid> {
        lock(&self.waiting).iter().map(|entry| entry.id).collect()
    }

    fn next(&self) -> Vec<AuditEntry> {
        lock(&self.waiting).iter().take(BATCH).cloned().collect()
    }

    fn sent(&self, entries: &[AuditEntry]) {
        lock(&self.waiting).retain(|waiting| entries.iter().all(|sent| sent.id != waiting.id));
    }
}

fn file(id: Uuid) -> String {
    format!("{FOLDER}/{id}.json")
}

/// In the log, whether or not it ever reaches a database.
pub(super) fn tell(entry: &AuditEntry) {
    let AuditEntry { actor, action, subject, reason, before, after, .. } = entry;
    let reason = reason.as_deref();
    let is_grave = [AuditAction::EnforcementChanged, AuditAction::EnforcementEnded, AuditAction::PolicyRefused, AuditAction::BypassLogged]
        .iter()
        .any(|grave| grave.as_str() == action);
    if is_grave {
        tracing::warn!(actor, action, subject, reason, %before, %after, "audit");
    } else {
        tracing::info!(actor, action, subject, reason, %before, %after, "audit");
    }
}

impl Control {
    /// Takes an entry; nothing that follows can lose it. The handle ends when it is on the disk.
    pub(super) fn note(&self, entry: AuditEntry) -> JoinHandle<()> {
        tell(&entry);
        let mut changed = vec![entry.id];
        changed.extend(self.outbox.put(entry));
        self.errands.wake();
        self.keep_entries(changed)
    }

    /// The files of these entries become as the outbox is: there while they wait, gone when they do not.
    pub(super) fn keep_entries(&self, ids: Vec<Uuid>) -> JoinHandle<()> {
        let (state, outbox) = (Arc::clone(&self.state), Arc::clone(&self.outbox));
        spawn_blocking(move || {
            for id in ids {
                state.keep(&file(id), || outbox.text(id));
            }
        })
    }

    pub(super) fn waiting_entries(&self) -> Vec<Uuid> {
        self.outbox.ids()
    }

    pub(super) async fn restore_outbox(&self) {
        let state = Arc::clone(&self.state);
        let reading = spawn_blocking(move || {
            let names = state.names(FOLDER);
            let mut entries: Vec<AuditEntry> = names.iter().filter_map(|name| state.read(name, forms::read_entry)).collect();
            entries.sort_by_key(|entry| entry.at);
            entries
        });
        let entries = reading.await.unwrap_or_default();
        if !entries.is_empty() {
            tracing::info!(entries = entries.len(), "audit entries of an earlier run wait for the database");
        }
        let dropped = entries.into_iter().flat_map(|entry| self.outbox.put(entry)).collect();
        self.keep_entries(dropped);
        self.errands.wake();
    }

    /// Entries in the order they were made, until none waits.
    pub(super) async fn send_entries(&self) -> Result<(), StoreError> {
        loop {
            let batch = self.outbox.next();
            if batch.is_empty() {
                return Ok(());
            }
            match self.store.audit(&batch).await {
                Ok(()) => {}
                Err(StoreError::Away(why)) => return Err(StoreError::Away(why)),
                Err(StoreError::Refused(_)) => self.send_one_by_one(&batch).await?,
            }
            self.outbox.sent(&batch);
            // Sent twice changes nothing, so what comes in between may be anything.
            let _kept = self.keep_entries(batch.iter().map(|entry| entry.id).collect()).await;
        }
    }

    /// One bad entry loses one entry.
    async fn send_one_by_one(&self, batch: &[AuditEntry]) -> Result<(), StoreError> {
        for entry in batch {
            match self.store.audit(std::slice::from_ref(entry)).await {
                Ok(()) => {}
                Err(StoreError::Away(why)) => return Err(StoreError::Away(why)),
                Err(StoreError::Refused(why)) => {
                    self.metrics.audit_dropped.inc();
                    tracing::error!(why, id = %entry.id, action = entry.action, "the database refuses this audit entry: it is in the log alone");
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::Actor;
    use crate::clock::Timestamp;

    #[test]
    fn the_oldest_make_room_and_are_counted() {
        let outbox = Outbox::new(Arc::default());
        let entry = |secs| AuditEntry::new(Timestamp::from_secs(secs), &Actor::named("a"), AuditAction::FlagChanged, "f");
        let first = entry(0);
        assert!(outbox.put(first.clone()).is_empty() && outbox.put(first.clone()).is_empty(), "once is enough");
        for secs in 1..1000 {
            assert!(outbox.put(entry(secs)).is_empty());
        }
        assert_eq!((outbox.put(entry(1000)), outbox.ids().len()), (vec![first.id], 1000));
        assert_eq!(outbox.metrics.audit_dropped.get(), 1);
        outbox.sent(&outbox.next());
        assert_eq!((outbox.ids().len(), outbox.text(first.id)), (900, None));
    }
}
