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
use crate::store::{SignalCursor, StoreError};

const LOOK: Duration = Duration::from_secs(2);
const PUBLISH: Duration = Duration::from_secs(10);
/// Longer than most transactions last, and than clocks differ.
const LOOK_BACK: Duration = Duration::from_secs(3600);
/// How often everything is looked at: what was written while no gatekeeper was there, and what was committed later than that.
const LOOK_AT_ALL: Duration = Duration::from_secs(3600);

/// Seals what others wrote.
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
    let (mut looks, mut is_trouble) = (Looks::default(), false);
    loop {
        tokio::select! {
            () = told_to_stop(&mut stopping) => return,
            _ = tick.tick() => {}
        }
        let now = gatekeeper.pipeline.clock.now();
        let since = looks.since(now);
        match gatekeeper.store.seal_entries(since).await {
            Ok(sealed) => {
                if sealed > 0 {
                    tracing::info!(entries = sealed, "entries that others wrote are sealed");
                }
                looks.looked(since, now);
                is_trouble = false;
            }
            Err(StoreError::Refused(why)) if !is_trouble => {
                is_trouble = true;
                tracing::error!(why, "entries that others wrote cannot be sealed; trying again all the time");
            }
            Err(error) => tracing::debug!(%error, "entries that others wrote are not sealed yet"),
        }
    }
}

const EVER: Timestamp = Timestamp::from_micros(i64::MIN);

/// When was looked last, and when at everything.
#[derive(Default)]
struct Looks {
    last: Option<Timestamp>,
    all: Option<Timestamp>,
}

impl Looks {
    fn since(&self, now: Timestamp) -> Timestamp {
        match (self.last, self.all) {
            (Some(last), Some(all)) if now.since(all) < LOOK_AT_ALL => last.minus(LOOK_BACK),
            _ => EVER,
        }
    }

    fn looked(&mut self, since: Timestamp, at: Timestamp) {
        self.last = Some(at);
        if since == EVER {
            self.all = Some(at);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_is_looked_at_first_and_once_an_hour() {
        let mut looks = Looks::default();
        let at = |secs: i64| Timestamp::from_secs(1_000_000 + secs);
        let mut look = |secs| {
            let since = looks.since(at(secs));
            looks.looked(since, at(secs));
            since
        };
        assert_eq!(look(0), EVER);
        assert_eq!(look(2), at(-3600), "what was committed late is found again");
        assert_eq!(look(3599), at(2 - 3600), "however long the last one took");
        assert_eq!((look(3600), look(3602)), (EVER, at(0)));
        let looks = Looks::default();
        assert_eq!((looks.since(at(0)), looks.since(at(9))), (EVER, EVER), "what failed is looked at again");
    }
}
