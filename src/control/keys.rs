//! The key ring follows the keys of the database, and those of the environment when its files are read again.

use std::collections::HashMap;
use std::sync::Arc;

use super::{Control, lock};
use crate::audit::{Actor, AuditAction, AuditEntry};
use crate::identity::{KeyHash, KeyId, NamePattern};
use crate::keys::{CURRENT, EnvironmentHashes, Key, KeyRing, PREVIOUS, Scope};
use crate::store::{StoreError, StoredKey};

impl Control {
    /// Reads what the database keeps.
    pub(super) async fn reread_keys(&self) -> Result<(), StoreError> {
        let _turn = self.turns.keys.lock().await;
        let stored = self.store.keys().await?;
        self.use_keys(stored);
        Ok(())
    }

    /// Puts the stored keys on the ring beside the environment's. A stored key that cannot be read in full is left off: less access, never more.
    pub fn use_keys(&self, stored: Vec<StoredKey>) {
        let before = Arc::clone(&self.pipeline.live.current().keys);
        let before: HashMap<&KeyId, &Key> = before.iter().map(|key| (&key.id, &**key)).collect();
        let stored = stored.into_iter().filter_map(|key| {
            let id = key.id.clone();
            let Some(mut key) = ring_key(key) else {
                tracing::error!(key = %id, "this stored key has a scope that cannot be read: it is not accepted");
                return None;
            };
            if let Some(before) = before.get(&id) {
                key.follow(before);
            }
            Some(Arc::new(key))
        });
        let ring = Arc::new(KeyRing::new(environment_keys(&lock(&self.keys)).chain(stored)));
        self.pipeline.live.change(|snapshot| snapshot.keys = ring);
    }

    /// The environment's secrets were read again, and these are new in them.
    pub async fn change_secrets(&self, secrets: EnvironmentHashes, changed: &[&str], by: &Actor) {
        let turn = self.turns.keys.lock().await;
        self.use_secrets(secrets);
        drop(turn);
        let entry = AuditEntry::new(self.now(), by, AuditAction::SecretsChanged, &changed.join(" "));
        self.note(entry);
    }

    /// What opens the gatekeeper, all at once. The stored keys stay as they are.
    pub(super) fn use_secrets(&self, secrets: EnvironmentHashes) {
        let EnvironmentHashes { keys, service_role, admin_token } = secrets;
        let ours: Vec<Arc<Key>> = environment_keys(&keys).collect();
        *lock(&self.keys) = keys;
        self.pipeline.live.change(|snapshot| {
            let is_stored = |key: &&Arc<Key>| ![CURRENT, PREVIOUS].contains(&key.id.as_str());
            let stored: Vec<Arc<Key>> = snapshot.keys.iter().filter(is_stored).cloned().collect();
            snapshot.keys = Arc::new(KeyRing::new(ours.into_iter().chain(stored)));
            (snapshot.service_role, snapshot.admin_token) = (service_role, admin_token);
        });
    }
}

fn environment_keys(keys: &[(KeyId, KeyHash)]) -> impl Iterator<Item = Arc<Key>> {
    keys.iter().map(|(id, hash)| Arc::new(Key::new(id.clone(), *hash, Scope::default())))
}

fn ring_key(stored: StoredKey) -> Option<Key> {
    let patterns = |texts: &[String]| texts.iter().map(|text| NamePattern::parse(text)).collect::<Option<Vec<_>>>();
    let scope = Scope { sources: patterns(&stored.sources)?, targets: patterns(&stored.targets)?, actions: stored.actions };
    let mut key = Key::new(stored.id, stored.hash, scope);
    key.not_before = stored.not_before;
    key.expires_at = stored.expires_at;
    key.revoked_at = stored.revoked_at;
    if let Some(at) = stored.last_used_at {
        key.note_use(at);
    }
    Some(key)
}
