//! The key that `serve` seals the audit log with: the one that is set, or the one in the state directory, made there once.

use std::path::PathBuf;
use std::time::Duration;

use tokio::task::spawn_blocking;
use tokio::time::sleep;
use uuid::Uuid;

use crate::identity::Secret;
use crate::seal::kept::{KeyTrouble, StateKey, keep_key, key_path, state_key, state_keys};
use crate::seal::{AuditKeys, Sealer};
use crate::settings::Settings;

const RETRY: Duration = Duration::from_secs(5);

/// What seals for the process of this name.
pub async fn sealer(settings: &Settings, instance: Uuid) -> Result<Sealer, KeyTrouble> {
    let (set, state) = (settings.audit_key.clone(), settings.state.clone());
    let found = spawn_blocking(move || {
        let mut known = AuditKeys::default();
        for odd in state_keys(&state, &mut known) {
            tracing::warn!("no audit key: {odd}");
        }
        let key = match set {
            Some(key) => StateKey::Found(key),
            None => state_key(&state)?,
        };
        Ok((key, known))
    });
    let (key, known) =
        found.await.unwrap_or_else(|error| Err(KeyTrouble::Unreadable { path: key_path(&settings.state), why: error.to_string() }))?;
    let path = key_path(&settings.state);
    let place = if settings.audit_key.is_some() { "GATEKEEPER_AUDIT_KEY".to_owned() } else { path.display().to_string() };
    let key = match key {
        StateKey::Found(key) => {
            tracing::info!(key = key.id(), place, "the audit log is sealed");
            key
        }
        StateKey::Made(key) => {
            tracing::warn!(key = key.id(), place, "a key for the audit log was made: keep a copy elsewhere, or set GATEKEEPER_AUDIT_KEY");
            key
        }
        StateKey::Unkept { key, text, why } => {
            tracing::error!(why, "the key of the audit log is in memory alone: what it seals cannot be proved after a restart");
            tokio::spawn(keep(settings.state.clone(), text));
            key
        }
    };
    Ok(Sealer::new(instance, key, known))
}

/// Until it is kept.
async fn keep(state: PathBuf, text: Secret) {
    loop {
        sleep(RETRY).await;
        let (folder, key) = (state.clone(), text.clone());
        match spawn_blocking(move || keep_key(&folder, &key)).await {
            Ok(Ok(())) => {
                tracing::info!(place = %key_path(&state).display(), "the key of the audit log is kept now: keep a copy elsewhere");
                return;
            }
            Ok(Err(error)) if error.kind() == std::io::ErrorKind::AlreadyExists => {
                tracing::error!(
                    "another key of the audit log came in the meantime: what this process seals cannot be proved after a restart"
                );
                return;
            }
            Ok(Err(error)) => tracing::debug!(%error, "the key of the audit log cannot be kept yet"),
            Err(_) => return,
        }
    }
}
