//! What is kept of a call. A [`Trail`] gathers notes while the call is under way and leaves one record when it ends, however it
//! ends; `compose` puts the notes into the words of the tables; the journal has it before the caller has the last of its answer; the
//! `writer` carries records from there to the store in batches.

mod class;
mod columns;
pub mod compose;
mod details;
pub mod entries;
pub mod notes;
pub mod orphans;
pub mod page;
mod refused;
pub mod trail;
pub mod writer;

use std::sync::Arc;

pub use notes::{Ending, Notes, SchemaNote, WouldDeny};
pub use trail::{Recorded, Trail};

use crate::journal::{Class, Durable, Journal, Refused};
use crate::store::Record;
use crate::store::control::ActivityEntry;
use crate::telemetry::metrics::Metrics;

/// Of lost records, the first is told, and then every so many.
const DROPS_A_LINE: u64 = 1000;

/// The way into the journal. Never waits; what finds no room there is counted, and a gap in the numbers.
/// Every trail has a clone, so that is one count to raise and lower.
#[derive(Debug, Clone)]
pub struct Recorder(Arc<Parts>);

#[derive(Debug)]
struct Parts {
    journal: Journal,
    metrics: Arc<Metrics>,
}

impl Recorder {
    pub fn new(journal: Journal, metrics: Arc<Metrics>) -> Self {
        Self(Arc::new(Parts { journal, metrics }))
    }

    /// When the record is as durable as policy promises; none if it is lost.
    pub fn record(&self, class: Class, record: &Record<'_>) -> Option<Durable> {
        self.append(class, &page::of_call(record), record.times)
    }

    /// The same of a call that never began: it gets none of the room that is kept for those which did.
    pub fn record_turned_away(&self, class: Class, record: &Record<'_>) -> Option<Durable> {
        if self.0.journal.is_full(class, self.under_way()) {
            self.drop_record(Refused::Full, record.times);
            return None;
        }
        self.record(class, record)
    }

    pub fn enter(&self, entry: &ActivityEntry) {
        if self.append(Class::Ordinary, &page::of_entry(entry), 1).is_none() {
            tracing::error!(id = %entry.id, title = entry.title, status = entry.status.as_str(), "this entry is in the log alone");
        }
    }

    fn append(&self, class: Class, page: &[u8], times: u32) -> Option<Durable> {
        match self.0.journal.append(class, page) {
            Ok(ticket) => Some(ticket.durable),
            Err(why) => {
                self.drop_record(why, times);
                None
            }
        }
    }

    fn drop_record(&self, why: Refused, times: u32) {
        let number = self.0.journal.lose();
        // One line for many: when this happens it happens to every call.
        let before = self.0.metrics.records_dropped.inc_by(u64::from(times));
        let after = before + u64::from(times);
        if before == 0 || before / DROPS_A_LINE != after / DROPS_A_LINE {
            tracing::error!(%why, number, dropped = after, "calls are not recorded");
        }
    }

    /// Whether a call that begins now will find room for its record.
    pub fn has_room(&self, class: Class) -> bool {
        self.0.journal.has_room(class, self.under_way())
    }

    /// Calls that have not left their record yet.
    pub fn under_way(&self) -> u64 {
        u64::try_from(self.0.metrics.in_flight.get()).unwrap_or(0)
    }

    pub fn journal(&self) -> &Journal {
        &self.0.journal
    }

    pub fn metrics(&self) -> &Arc<Metrics> {
        &self.0.metrics
    }
}

#[cfg(test)]
impl Recorder {
    /// With a journal of its own in a directory.
    pub fn within(directory: &std::path::Path) -> Self {
        use crate::clock::Clock;
        use crate::journal::{Limits, Syncing};
        let (journal, _reader) = Journal::open(directory, Limits::default(), Syncing::Os, Clock::system()).unwrap();
        Self::new(journal, Arc::default())
    }
}
