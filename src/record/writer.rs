//! From the journal to the store, off every call's path: in batches, one transaction each, in order, exactly once. While the database is
//! away it waits and tries again, and what waits lies in the journal. Journals that dead processes left are carried over first.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use uuid::Uuid;

use super::page::{self, Page};
use crate::clock::Clock;
use crate::identity::Origin;
use crate::journal::{Batch, Journal, Reader, Why};
use crate::store::control::ActivityEntry;
use crate::store::ledger::{self, Loss, LossReason};
use crate::store::{CallRecord, Store, StoreError};
use crate::telemetry::metrics::Metrics;

/// Records in one transaction, and what of them is in memory at once.
const BATCH: usize = 2048;
const BATCH_BYTES: usize = 4 << 20;
/// Between two transactions that are not full: a few large ones cost the database less than many small ones.
const GATHER: Duration = Duration::from_millis(100);
const FIRST_RETRY: Duration = Duration::from_millis(100);
const LAST_RETRY: Duration = Duration::from_secs(2);
/// How often somebody looks for journals of processes that have ended since.
const ADOPTION: Duration = Duration::from_secs(30);

/// What carries records over.
#[derive(Clone)]
pub struct Writer {
    pub store: Arc<dyn Store>,
    pub journal: Journal,
    pub metrics: Arc<Metrics>,
    pub clock: Clock,
}

/// The records of a batch, as the store takes them.
#[derive(Default)]
struct Pages {
    calls: Vec<CallRecord>,
    entries: Vec<ActivityEntry>,
    losses: Vec<Loss>,
}

impl Pages {
    fn all(&self) -> ledger::Batch<'_> {
        ledger::Batch { calls: &self.calls, entries: &self.entries, losses: &self.losses }
    }
}

impl Writer {
    /// This process's own journal, until it is closed and empty.
    pub async fn write_own(self, mut journal: Reader) {
        let instance = journal.instance();
        self.persist(|| self.store.announce(instance, self.clock.now())).await;
        let last = self.drain(&mut journal).await;
        self.persist(|| self.store.ended(instance, last, self.clock.now())).await;
        leave(journal).await;
    }

    /// What dead processes left, as far as it can be carried over while the database is there; the rest stays for the next time.
    pub async fn write_orphans(&self, patience: Duration) {
        let orphans = match tokio::task::spawn_blocking({
            let journal = self.journal.clone();
            move || journal.adopt()
        })
        .await
        {
            Ok(Ok(orphans)) => orphans,
            Ok(Err(error)) => return tracing::error!(%error, "journals that dead processes may have left cannot be looked for"),
            Err(_) => return,
        };
        for mut orphan in orphans {
            let instance = orphan.instance();
            if orphan.has_more() {
                tracing::warn!(%instance, "another process ended before its records were in the database: they are carried over");
            }
            let carried = async {
                let last = self.drain(&mut orphan).await;
                self.persist(|| self.store.ended(instance, last, self.clock.now())).await;
            };
            match timeout(patience, carried).await {
                Ok(()) => leave(orphan).await,
                Err(_) => tracing::warn!(%instance, "its records are carried over later"),
            }
        }
    }

    /// Now and then: another process may have ended since.
    pub async fn keep_adopting(self, mut stop: watch::Receiver<bool>) {
        while timeout(ADOPTION, stop.wait_for(|stop| *stop)).await.is_err() {
            self.write_orphans(ADOPTION).await;
        }
    }

    /// To the journal's end; the last number in it.
    async fn drain(&self, journal: &mut Reader) -> u64 {
        let instance = journal.instance();
        let mut last = journal.through();
        let mut next = Instant::now();
        while let Some(batch) = journal.next(BATCH, BATCH_BYTES).await {
            let pages = self.pages(instance, &batch);
            self.write(&pages).await;
            last = last.max(batch.through());
            journal.written(&batch);
            self.metrics.journal_batches.inc();
            // A full batch has another behind it.
            if batch.entries.len() < BATCH && self.journal.is_open() {
                sleep_until(next).await;
                next = Instant::now() + GATHER;
            }
        }
        last
    }

    fn pages(&self, instance: Uuid, batch: &Batch) -> Pages {
        let at = self.clock.now();
        let mut pages = Pages::default();
        for entry in &batch.entries {
            match page::read(&entry.payload, Origin { instance, seq: entry.number }) {
                Ok(Page::Call(record)) => pages.calls.push(*record),
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
    async fn write(&self, pages: &Pages) {
        let mut refused = Vec::new();
        let mut pending = vec![pages.all()];
        while let Some(part) = pending.pop() {
            match self.persistently(part).await {
                Ok(()) => {
                    self.metrics.records_written.inc_by((part.calls.len() + part.entries.len()) as u64);
                }
                Err(why) => match halves(part) {
                    Some((first, second)) => pending.extend([second, first]),
                    // Asked once more: what was in the way, such as a partition being attached, may be gone.
                    None if self.persistently(part).await.is_ok() => {
                        self.metrics.records_written.inc();
                    }
                    None => refused.extend(self.refused(part, &why)),
                },
            }
        }
        if !refused.is_empty() && self.persistently(ledger::Batch { losses: &refused, ..ledger::Batch::default() }).await.is_err() {
            tracing::error!(losses = refused.len(), "that these records are lost is in the log alone");
        }
    }

    /// What is told of the one record that the database will not have.
    fn refused(&self, part: ledger::Batch<'_>, why: &str) -> Option<Loss> {
        let (id, times, origin) = match part {
            ledger::Batch { calls: [call], .. } => (call.id, call.times, call.origin),
            ledger::Batch { entries: [entry], .. } => (entry.id, 1, entry.origin),
            _ => {
                tracing::error!(why, "the database refuses to note which records are lost");
                return None;
            }
        };
        self.metrics.records_dropped.inc_by(u64::from(times));
        tracing::error!(why, call_id = %id, "the database refuses this record: it is lost");
        let Origin { instance, seq } = origin?;
        Some(Loss { instance, first: seq, last: seq, reason: LossReason::Refused, at: self.clock.now() })
    }

    /// Until the database has it or refuses it.
    async fn persistently(&self, part: ledger::Batch<'_>) -> Result<(), String> {
        let mut pause = FIRST_RETRY;
        loop {
            match self.store.write_batch(part).await {
                Ok(()) => return Ok(()),
                Err(StoreError::Refused(why)) => return Err(why),
                Err(StoreError::Away(why)) => {
                    self.metrics.journal_failures.inc();
                    tracing::warn!(%why, "records wait for the database");
                    sleep(pause).await;
                    pause = (pause * 2).min(LAST_RETRY);
                }
            }
        }
    }

    /// What is said of an instance: until the database has it. Where it is refused, the numbers of its records say the same.
    async fn persist<'a, F>(&'a self, say: impl Fn() -> F)
    where
        F: Future<Output = Result<(), StoreError>> + 'a,
    {
        let mut pause = FIRST_RETRY;
        loop {
            match say().await {
                Ok(()) => return,
                Err(StoreError::Refused(why)) => return tracing::error!(why, "the database refuses to note when a gatekeeper ran"),
                Err(StoreError::Away(_)) => {
                    sleep(pause).await;
                    pause = (pause * 2).min(LAST_RETRY);
                }
            }
        }
    }
}

async fn leave(journal: Reader) {
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
