//! Carries records to the store, off every call's path: in batches, one transaction each. While the database is away it waits and
//! tries again; the queue in front of it is bounded, and what finds it full is counted.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, timeout_at};

use crate::store::{CallRecord, Store, StoreError};
use crate::telemetry::metrics::Metrics;

/// Records in one transaction.
const BATCH: usize = 512;
/// How long the first record of a batch waits for company.
const GATHER: Duration = Duration::from_millis(100);
const FIRST_RETRY: Duration = Duration::from_millis(100);
const LAST_RETRY: Duration = Duration::from_secs(2);

/// Runs until it is told to stop and the queue is empty.
pub async fn write_all(
    store: Arc<dyn Store>,
    mut records: mpsc::Receiver<CallRecord>,
    metrics: Arc<Metrics>,
    mut stop: watch::Receiver<bool>,
) {
    let mut batch = Vec::with_capacity(BATCH);
    loop {
        let first = tokio::select! {
            first = records.recv() => first,
            _ = stop.wait_for(|stop| *stop), if !records.is_closed() => {
                // What is in the queue is still written; nothing new gets in.
                records.close();
                continue;
            }
        };
        let Some(first) = first else { return };
        batch.push(first);
        let until = Instant::now() + GATHER;
        while let Some(room) = BATCH.checked_sub(batch.len()).filter(|room| *room > 0) {
            match timeout_at(until, records.recv_many(&mut batch, room)).await {
                Ok(0) | Err(_) => break,
                Ok(_) => {}
            }
        }
        write(store.as_ref(), &batch, &metrics).await;
        metrics.records_waiting.dec_by(i64::try_from(batch.len()).unwrap_or(i64::MAX));
        batch.clear();
    }
}

/// Writes a batch, however long the database is away. A record that it refuses is set apart from the others, so one bad row loses one row.
async fn write(store: &dyn Store, batch: &[CallRecord], metrics: &Metrics) {
    let mut pending = vec![batch];
    let mut pause = FIRST_RETRY;
    while let Some(part) = pending.pop() {
        match store.write(part).await {
            Ok(()) => {
                metrics.records_written.inc_by(part.len() as u64);
                pause = FIRST_RETRY;
            }
            Err(StoreError::Away(why)) => {
                tracing::warn!(%why, records = part.len(), "records wait for the database");
                pending.push(part);
                sleep(pause).await;
                pause = (pause * 2).min(LAST_RETRY);
            }
            Err(StoreError::Refused(why)) => match part {
                [] => {}
                // Asked once more: what was in the way, such as a partition being attached, may be gone.
                [one] if store.write(part).await.is_ok() => {
                    metrics.records_written.inc();
                    tracing::debug!(call_id = %one.id, "written at the second try");
                }
                [one] => {
                    metrics.records_dropped.inc_by(u64::from(one.times));
                    tracing::error!(%why, call_id = %one.id, "the database refuses this record: it is lost");
                }
                many => {
                    let (left, right) = many.split_at(many.len() / 2);
                    pending.push(right);
                    pending.push(left);
                }
            },
        }
    }
}
