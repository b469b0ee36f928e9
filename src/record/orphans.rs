//! What processes that ended left in their journals: counted at once, and carried to the store one after the other, beside what goes on.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep, timeout_at};

use super::writer::{BATCH, BATCH_BYTES, Writer, leave};
use crate::journal::Reader;

/// How often somebody looks for journals of processes that have ended since, and how long the carrying goes on in between.
const ADOPTION: Duration = Duration::from_secs(30);
/// How much longer the batch under way may take before it is given up, to be tried again.
const LAST_BATCH: Duration = Duration::from_secs(10);

/// Adopted journals, the next one first.
pub type Orphans = VecDeque<Reader>;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Done {
    Whole,
    InPart,
}

impl Writer {
    /// Takes over what dead processes have left by now. No database is needed for it.
    pub async fn adopt(&self, orphans: &mut Orphans) {
        let journal = self.journal.clone();
        let adopted = match spawn_blocking(move || journal.adopt()).await {
            Ok(Ok(adopted)) => adopted,
            Ok(Err(error)) => return tracing::error!(%error, "journals that dead processes may have left cannot be looked for"),
            Err(_) => return,
        };
        for orphan in &adopted {
            if orphan.has_more() {
                tracing::warn!(instance = %orphan.instance(), "another process ended before its records were in the database: they are carried over");
            }
        }
        orphans.extend(adopted);
    }

    /// Carries them over until that moment, or a little longer; what is not done by then stays.
    pub async fn carry_over(&self, orphans: &mut Orphans, until: Instant) {
        while Instant::now() < until
            && let Some(orphan) = orphans.front_mut()
        {
            match timeout_at(until + LAST_BATCH, self.carry(orphan, until)).await {
                Ok(Done::Whole) => {
                    if let Some(done) = orphans.pop_front() {
                        leave(done).await;
                    }
                }
                // One that cannot be read for now must not keep the others waiting.
                Ok(Done::InPart) | Err(_) => orphans.rotate_left(1),
            }
        }
    }

    /// From now on: these, and those that other processes leave.
    pub async fn keep_adopting(&self, mut orphans: Orphans) {
        loop {
            if orphans.is_empty() {
                sleep(ADOPTION).await;
            }
            self.adopt(&mut orphans).await;
            self.carry_over(&mut orphans, Instant::now() + ADOPTION).await;
        }
    }

    async fn carry(&self, orphan: &mut Reader, until: Instant) -> Done {
        loop {
            match timeout_at(until, orphan.next(BATCH, BATCH_BYTES)).await {
                Err(_) => return Done::InPart,
                Ok(None) => break,
                Ok(Some(batch)) => {
                    let pages = self.pages(orphan.instance(), &batch);
                    (self.carried)(&self.write(&pages).await);
                    orphan.written(&batch);
                }
            }
            if Instant::now() >= until {
                return Done::InPart;
            }
        }
        self.ended(orphan).await;
        Done::Whole
    }
}
