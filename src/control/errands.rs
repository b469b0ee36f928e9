//! What the database must still be told: rulings, entries, flags to begin with. Nobody waits for it; it is tried until it is done.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{sleep, timeout};

use super::Control;
use crate::store::StoreError;
use crate::verdict::GateName;

const FIRST_RETRY: Duration = Duration::from_millis(100);
const LAST_RETRY: Duration = Duration::from_secs(2);
/// What was refused once is most likely refused again.
const AFTER_REFUSAL: Duration = Duration::from_secs(60);

#[derive(Default)]
pub(super) struct Errands {
    news: Notify,
    rulings: Errand,
    flags: Errand,
}

/// How often it was asked for, and which asking has been done: what is asked for while it is being done is done again.
#[derive(Default)]
struct Errand {
    asked: AtomicU64,
    done: AtomicU64,
}

impl Errand {
    fn ask(&self) {
        self.asked.fetch_add(1, Ordering::SeqCst);
    }

    async fn run(&self, errand: impl Future<Output = Result<(), StoreError>>) -> Result<(), StoreError> {
        let asked = self.asked.load(Ordering::SeqCst);
        if asked != self.done.load(Ordering::SeqCst) {
            errand.await?;
            self.done.store(asked, Ordering::SeqCst);
        }
        Ok(())
    }
}

impl Errands {
    pub fn wake(&self) {
        self.news.notify_one();
    }

    /// There are rulings that the database may not know.
    pub fn bring_rulings(&self) {
        self.rulings.ask();
        self.wake();
    }

    /// There are targets that may have no flag yet.
    pub fn seed_flags(&self) {
        self.flags.ask();
        self.wake();
    }
}

/// What only waits for the database is tried again soon, whatever else was refused.
fn soonest(one: Result<(), StoreError>, other: Result<(), StoreError>) -> Result<(), StoreError> {
    match (one, other) {
        (Err(StoreError::Away(why)), _) | (_, Err(StoreError::Away(why))) => Err(StoreError::Away(why)),
        (one, other) => one.and(other),
    }
}

impl Control {
    /// Runs for ever, once the database is as needed.
    pub async fn run_errands(&self) {
        self.errands.seed_flags();
        let mut pause = FIRST_RETRY;
        loop {
            match self.tell_database().await {
                Ok(()) => {
                    pause = FIRST_RETRY;
                    self.errands.news.notified().await;
                }
                Err(StoreError::Away(why)) => {
                    sleep(pause).await;
                    let longer = (pause * 2).min(LAST_RETRY);
                    // Once, for it may be something that somebody must see to.
                    match longer > pause && longer == LAST_RETRY {
                        true => tracing::warn!(why, "changes wait for the database, and are tried again"),
                        false => tracing::debug!(why, "changes wait for the database"),
                    }
                    pause = longer;
                }
                Err(StoreError::Refused(why)) => {
                    tracing::error!(why, "the database refuses to hear of a change; trying again in a minute, or with the next");
                    // Whether it was the one or the other, it is tried again.
                    let _woken = timeout(AFTER_REFUSAL, self.errands.news.notified()).await;
                }
            }
        }
    }

    /// Tells the database all that there is to tell, if it listens. One thing that is refused keeps no other back.
    pub async fn tell_database(&self) -> Result<(), StoreError> {
        let rulings = self.errands.rulings.run(self.bring_rulings()).await;
        let entries = self.send_entries().await;
        let flags = self.errands.flags.run(self.seed_flags()).await;
        soonest(soonest(rulings, entries), flags)
    }

    async fn bring_rulings(&self) -> Result<(), StoreError> {
        let rulings: Vec<_> = self.pipeline.live.current().enforcement.rulings().cloned().collect();
        self.store.put_rulings(&rulings).await
    }

    async fn seed_flags(&self) -> Result<(), StoreError> {
        let snapshot = self.pipeline.live.snapshot();
        let targets = snapshot.policy.targets.by_name.keys().map(|name| format!("target:{name}"));
        let gates = GateName::ALL.iter().map(|gate| format!("stage:{}", gate.as_str()));
        let names: Vec<String> = targets.chain(gates).collect();
        self.store.seed_flags(&names).await
    }
}
