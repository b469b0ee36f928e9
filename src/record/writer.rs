//! From the journal to the store, off every call's path: in batches, one transaction each, in order, exactly once. While the database is
//! away it waits and tries again, and what waits lies in the journal.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep, sleep_until};
use uuid::Uuid;

use super::page::{self, Page};
use super::refused::Refusal;
use crate::clock::Clock;
use crate::identity::Origin;
use crate::journal::{Batch, Journal, Reader, Why};
use crate::store::control::ActivityEntry;
use crate::store::ledger::{self, Loss, LossReason};
use crate::store::{Record, Store, StoreError, StoreFuture};
use crate::telemetry::metrics::Metrics;

/// Records in one transaction, and what of them is in memory at once.
pub(super) const BATCH: usize = 1024;
pub(super) const BATCH_BYTES: usize = 4 << 20;
/// Between two transactions that are not full: a few large ones cost the database less than many small ones.
const GATHER: Duration = Duration::from_millis(100);
const FIRST_RETRY: Duration = Duration::from_millis(100);
const LAST_RETRY: Duration = Duration::from_secs(2);

/// What carries records over.
#[derive(Clone)]
pub struct Writer {
    pub store: Arc<dyn Store>,
    pub journal: Journal,
    pub metrics: Arc<Metrics>,
    pub clock: Clock,
    /// Told of calls that nobody here has counted, and that were not in the database yet: of processes that had ended before.
    pub carried: Arc<Carried>,
}

pub type Carried = dyn Fn(&[&Record<'_>]) + Send + Sync;

/// The records of a batch, as the store takes them.
#[derive(Default)]
pub(super) struct Pages<'a> {
    calls: Vec<Record<'a>>,
    entries: Vec<ActivityEntry>,
    losses: Vec<Loss>,
}

impl Pages<'_> {
    fn all(&self) -> ledger::Batch<'_> {
        ledger::Batch { calls: &self.calls, entries: &self.entries, losses: &self.losses }
    }
}

impl Writer {
    /// This process's own journal, until it is closed and empty.
    pub async fn write_own(self, mut journal: Reader) {
        let instance = journal.instance();
        self.persist(|| self.store.announce(instance, self.clock.now())).await;
        let mut next = Instant::now();
        while let Some(batch) = journal.next(BATCH, BATCH_BYTES).await {
            let pages = self.pages(instance, &batch);
            self.write(&pages).await;
            journal.written(&batch);
            if !batch.is_full && self.journal.is_open() {
                sleep_until(next).await;
                next = Instant::now() + GATHER;
            }
        }
        self.ended(&journal).await;
        leave(journal).await;
    }

    /// That there is nothing more to come from an instance.
    pub(super) async fn ended(&self, journal: &Reader) {
        self.persist(|| self.store.ended(journal.instance(), journal.through(), self.clock.now())).await;
    }

    pub(super) fn pages<'b>(&self, instance: Uuid, batch: &'b Batch) -> Pages<'b> {
        let at = self.clock.now();
        let mut pages = Pages { calls: Vec::with_capacity(batch.entries.len()), ..Pages::default() };
        for entry in &batch.entries {
            match page::read(&entry.payload, Origin { instance, seq: entry.number }) {
                Ok(Page::Call(record)) => pages.calls.push(record),
                Ok(Page::Entry(entry)) => pages.entries.push(*entry),
                Err(why) => {
                    tracing::error!(%instance, number = entry.number, %why, "a record is lost");
                    self.metrics.records_dropped.inc();
                    pages.losses.push(Loss { instance, first: entry.number, last: entry.number, reason: LossReason::Damaged, at });
                }
            }
        }
        for lost in &batch.lost {
            let reason = match &lost.why {
                Why::Shed => LossReason::Shed,
                Why::Damaged(spot) | Why::Torn(spot) => {
                    let (file, offset) = (spot.file.display(), spot.offset);
                    tracing::error!(%instance, first = lost.first, last = lost.last, %file, offset, "records cannot be read: they are lost");
                    self.metrics.records_dropped.inc_by(lost.last - lost.first + 1);
                    LossReason::Damaged
                }
            };
            pages.losses.push(Loss { instance, first: lost.first, last: lost.last, reason, at });
        }
        pages
    }

    /// Writes a batch, however long the database is away. A record that it refuses is set apart from the others, so one bad row loses one row.
    /// Those of the calls that were not there yet.
    pub(super) async fn write<'p>(&'p self, pages: &'p Pages<'p>) -> Vec<&'p Record<'p>> {
        let (mut fresh, mut refused) = (Vec::new(), Vec::new());
        let mut pending = vec![pages.all()];
        while let Some(part) = pending.pop() {
            match self.persistently(part).await {
                Ok(new) => {
                    self.metrics.records_written.inc_by((part.calls.len() + part.entries.len()) as u64);
                    fresh.extend(new);
                }
                Err(why) => match halves(part) {
                    Some((first, second)) => pending.extend([second, first]),
                    // Asked once more: what was in the way, such as a partition being attached, may be gone.
                    None => match self.persistently(part).await {
                        Ok(new) => {
                            self.metrics.records_written.inc();
                            fresh.extend(new);
                        }
                        Err(_) => refused.push(Refusal { part, why }),
                    },
                },
            }
        }
        self.metrics.journal_batches.inc();
        if !refused.is_empty() {
            let losses = self.set_aside(&refused).await;
            if self.persistently(ledger::Batch { losses: &losses, ..ledger::Batch::default() }).await.is_err() {
                tracing::error!(losses = losses.len(), "that these records are lost is in the log alone");
            }
        }
        fresh
    }

    /// Until the database has it or refuses it.
    async fn persistently<'p>(&'p self, part: ledger::Batch<'p>) -> Result<Vec<&'p Record<'p>>, String> {
        let waits = |why: &str| {
            self.metrics.journal_failures.inc();
            tracing::warn!(why, "records wait for the database");
        };
        while_it_is_away(|| self.store.write_batch(part), waits).await
    }

    /// What is said of an instance: until the database has it. Where it is refused, the numbers of its records say the same.
    async fn persist<'a>(&'a self, say: impl Fn() -> StoreFuture<'a, ()>) {
        if let Err(why) = while_it_is_away(say, |_| ()).await {
            tracing::error!(why, "the database refuses to note when a gatekeeper ran");
        }
    }
}

/// Asks again, less and less often, until the database answers; `waits` hears of each time that it does not. The error is its refusal.
async fn while_it_is_away<'a, T>(ask: impl Fn() -> StoreFuture<'a, T>, waits: impl Fn(&str)) -> Result<T, String> {
    let mut pause = FIRST_RETRY;
    loop {
        match ask().await {
            Ok(done) => return Ok(done),
            Err(StoreError::Refused(why)) => return Err(why),
            Err(StoreError::Away(why)) => {
                waits(&why);
                sleep(pause).await;
                pause = (pause * 2).min(LAST_RETRY);
            }
        }
    }
}

pub(super) async fn leave(journal: Reader) {
    let instance = journal.instance();
    if let Err(error) = journal.leave().await {
        tracing::warn!(%instance, %error, "the directory of a journal that is carried over is still there");
    }
}

/// Two parts of a batch that may be written one without the other; none of what is one record, or nothing but losses.
fn halves(part: ledger::Batch<'_>) -> Option<(ledger::Batch<'_>, ledger::Batch<'_>)> {
    let ledger::Batch { calls, entries, losses } = part;
    let alone = ledger::Batch::default();
    if calls.len() + entries.len() > 1 || (calls.len() + entries.len() == 1 && !losses.is_empty()) {
        if !calls.is_empty() && (!entries.is_empty() || !losses.is_empty()) {
            return Some((ledger::Batch { calls, ..alone }, ledger::Batch { calls: &[], ..part }));
        }
        if !entries.is_empty() && !losses.is_empty() {
            return Some((ledger::Batch { entries, ..alone }, ledger::Batch { losses, ..alone }));
        }
        let ((first_calls, calls), (first_entries, entries)) = (calls.split_at(calls.len() / 2), entries.split_at(entries.len() / 2));
        return Some((ledger::Batch { calls: first_calls, entries: first_entries, ..alone }, ledger::Batch { calls, entries, ..alone }));
    }
    None
}
