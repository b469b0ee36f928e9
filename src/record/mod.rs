//! What is kept of a call. A [`Trail`] gathers notes while the call is under way and leaves one record when it ends, however it
//! ends; `compose` puts the notes into the words of the tables; the `writer` carries records to the store in batches.

mod class;
mod columns;
pub mod compose;
pub mod entries;
pub mod notes;
pub mod trail;
pub mod writer;

use std::sync::Arc;

use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;

pub use notes::{Ending, Notes, SchemaNote, WouldDeny};
pub use trail::{Recorded, Trail};

use crate::store::CallRecord;
use crate::telemetry::metrics::Metrics;

/// Records that may wait for the store. At a kilobyte each, this is what a database that is away may cost in memory.
pub const QUEUE: usize = 16_384;

/// Of lost records, the first is told, and then every so many.
const DROPS_A_LINE: u64 = 1000;

/// The way in to the writer. Never waits: a record that finds the queue full is counted as dropped.
#[derive(Debug, Clone)]
pub struct Recorder {
    queue: mpsc::Sender<CallRecord>,
    metrics: Arc<Metrics>,
}

impl Recorder {
    pub fn new(metrics: Arc<Metrics>) -> (Self, mpsc::Receiver<CallRecord>) {
        let (queue, records) = mpsc::channel(QUEUE);
        (Self { queue, metrics }, records)
    }

    pub fn record(&self, record: CallRecord) {
        let (record, why) = match self.queue.try_send(record) {
            Ok(()) => {
                self.metrics.records_waiting.inc();
                return;
            }
            Err(TrySendError::Full(record)) => (record, "the queue of records is full"),
            Err(TrySendError::Closed(record)) => (record, "the process is stopping"),
        };
        // One line for many: when this happens it happens to every call.
        let before = self.metrics.records_dropped.inc_by(u64::from(record.times));
        if before == 0 || before / DROPS_A_LINE != (before + u64::from(record.times)) / DROPS_A_LINE {
            tracing::error!(call_id = %record.id, dropped = before + u64::from(record.times), why, "calls are not recorded");
        }
    }

    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }
}
