//! The audit log, behind the calls: what the database's own triggers and commands wrote is sealed, and how far the chain has come is told
//! where the database cannot take it back.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::spawn_blocking;
use tokio::time::{MissedTickBehavior, interval};

use super::told_to_stop;
use crate::clock::Timestamp;
use crate::gatekeeper::Gatekeeper;
use crate::seal::Head;
use crate::store::SignalCursor;

const LOOK: Duration = Duration::from_secs(2);
const PUBLISH: Duration = Duration::from_secs(30);
/// Longer than a transaction lasts, and than clocks differ.
const LOOK_BACK: Duration = Duration::from_secs(3600);

/// Seals what others wrote. The first look is at everything, for what was written while no gatekeeper was there.
pub(super) async fn seal_entries(
    gatekeeper: Arc<Gatekeeper>,
    mut is_up: watch::Receiver<Option<SignalCursor>>,
    mut stopping: watch::Receiver<bool>,
) {
    if is_up.wait_for(Option::is_some).await.is_err() {
        return;
    }
    let mut tick = interval(LOOK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut since = Timestamp::from_micros(i64::MIN);
    loop {
        tokio::select! {
            () = told_to_stop(&mut stopping) => return,
            _ = tick.tick() => {}
        }
        let now = gatekeeper.pipeline.clock.now();
        match gatekeeper.store.seal_entries(since).await {
            Ok(sealed) => {
                if sealed > 0 {
                    tracing::info!(entries = sealed, "entries that others wrote are sealed");
                }
                since = now.minus(LOOK_BACK);
            }
            Err(error) => tracing::debug!(%error, "entries that others wrote are not sealed yet"),
        }
    }
}

/// Tells how far the chain has come, when it has: in the log, as a metric, and in the state directory.
pub(super) async fn publish_heads(gatekeeper: Arc<Gatekeeper>, mut stopping: watch::Receiver<bool>) {
    let mut tick = interval(PUBLISH);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut told = 0;
    loop {
        tokio::select! {
            () = told_to_stop(&mut stopping) => return,
            _ = tick.tick() => {}
        }
        told = publish(&gatekeeper, told).await;
    }
}

/// `told`: how far it had come when it was told the last time. Returns how far it is told to have come.
pub(super) async fn publish(gatekeeper: &Gatekeeper, told: u64) -> u64 {
    let Some(sealer) = gatekeeper.store.sealer() else { return told };
    let head = sealer.head();
    gatekeeper.metrics.audit_rows.set(i64::try_from(head.n).unwrap_or(i64::MAX));
    gatekeeper.metrics.audit_tampered.set(i64::try_from(sealer.times_gone()).unwrap_or(i64::MAX));
    if head.n == told {
        return told;
    }
    let Head { instance, n, hash } = head;
    tracing::info!(%instance, n, %hash, key = sealer.key_id(), "the audit log has come this far");
    let (heads, at, key) = (Arc::clone(&gatekeeper.heads), gatekeeper.pipeline.clock.now(), sealer.key_id().to_owned());
    match spawn_blocking(move || heads.publish(at, head, &key)).await {
        Ok(Ok(())) => n,
        Ok(Err(error)) => {
            tracing::error!(%error, "{} cannot be written: how far the audit log has come is in the log alone", gatekeeper.heads.path().display());
            told
        }
        Err(_) => told,
    }
}
