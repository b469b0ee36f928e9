//! What is kept of a call. A [`Trail`] gathers notes while the call is under way and leaves one record when it ends, however it
//! ends; `compose` puts the notes into the words of the tables; the `writer` carries records to the store in batches.

mod columns;
pub mod compose;
pub mod notes;
pub mod trail;
pub mod writer;

use std::sync::Arc;

use tokio::sync::mpsc;

pub use notes::{Ending, Notes, WouldDeny};
pub use trail::{Recorded, Trail};

use crate::store::CallRecord;
use crate::telemetry::metrics::Metrics;

/// Records that may wait for the store. At a kilobyte each, this is what a database that is away may cost in memory.
pub const QUEUE: usize = 16_384;

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
        let id = record.id;
        match self.queue.try_send(record) {
            Ok(()) => {
                self.metrics.records_waiting.inc();
            }
            Err(_) => {
                self.metrics.records_dropped.inc();
                tracing::warn!(call_id = %id, "the queue of records is full: this call is not recorded");
            }
        }
    }

    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }
}
