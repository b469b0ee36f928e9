//! The audit log, behind the calls: what the database's own triggers and commands wrote is sealed, and how far the chain has come is told
//! where the database cannot take it back.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::spawn_blocking;
use tokio::time::{MissedTickBehavior, interval, sleep};

use super::told_to_stop;
use crate::clock::Timestamp;
use crate::gatekeeper::Gatekeeper;
use crate::seal::Head;
use crate::store::SignalCursor;

const LOOK: Duration = Duration::from_secs(2);
const PUBLISH: Duration = Duration::from_secs(10);
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

/// How far the chain was told to have come.
#[derive(Default)]
pub(super) struct Told {
    n: u64,
    /// The file could not be written, and that was told.
    is_trouble: bool,
}

/// Tells how far the chain has come: at once when it has, but not all the time. In the log, as a metric, and in the state directory.
pub(super) async fn publish_heads(gatekeeper: Arc<Gatekeeper>, mut stopping: watch::Receiver<bool>) {
    let Some(mut heads) = gatekeeper.store.sealer().map(|sealer| sealer.follow()) else { return };
    // What was carried over at the start was sealed before anybody followed.
    if heads.borrow().n > 0 {
        heads.mark_changed();
    }
    let mut told = Told::default();
    loop {
        tokio::select! {
            () = told_to_stop(&mut stopping) => return,
            changed = heads.changed() => if changed.is_err() { return },
            // What could not be written is tried again.
            () = sleep(PUBLISH), if told.is_trouble => {}
        }
        publish(&gatekeeper, &mut told).await;
        tokio::select! {
            () = told_to_stop(&mut stopping) => return,
            () = sleep(PUBLISH) => {}
        }
    }
}

pub(super) async fn publish(gatekeeper: &Gatekeeper, told: &mut Told) {
    let Some(sealer) = gatekeeper.store.sealer() else { return };
    let head = sealer.head();
    gatekeeper.metrics.audit_rows.set(i64::try_from(head.n).unwrap_or(i64::MAX));
    gatekeeper.metrics.audit_tampered.set(i64::try_from(sealer.times_tampered()).unwrap_or(i64::MAX));
    if head.n == told.n {
        return;
    }
    let Head { instance, n, hash } = head;
    tracing::info!(%instance, n, %hash, key = sealer.key_id(), "the audit log has come this far");
    let (heads, at, key) = (Arc::clone(&gatekeeper.heads), gatekeeper.pipeline.clock.now(), sealer.key_id().to_owned());
    let written = spawn_blocking(move || heads.publish(at, head, &key)).await;
    match written.unwrap_or_else(|error| Err(std::io::Error::other(error))) {
        Ok(()) => *told = Told { n, is_trouble: false },
        Err(error) => {
            if !std::mem::replace(&mut told.is_trouble, true) {
                let path = gatekeeper.heads.path().display();
                tracing::error!(%error, "{path} cannot be written: how far the audit log has come is in the log alone");
            }
        }
    }
}
