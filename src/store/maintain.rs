//! Keeping house, whichever database it is: what is done, and what is told of it.

use std::time::Duration;

use serde_json::{Value, json};

use super::{StoreError, fault};
use crate::audit::{Actor, AuditAction, AuditEntry};
use crate::clock::Timestamp;
use crate::retention::{Keep, days_before};

/// Whoever was away longer reads everything afresh.
pub(super) const SIGNALS_KEPT: Duration = Duration::from_secs(86_400);

/// Statistics are kept by the hour so long, then by the day, for ever.
pub(super) const HOURS_KEPT: Duration = Duration::from_secs(35 * 86_400);

/// Before which moment counts go. The longest window is an aligned day: what was counted today still counts, however short policy keeps it.
pub(super) fn counts_before(now: Timestamp, keep: &Keep) -> Timestamp {
    days_before(now, keep.rate_limits).min(now.floor(86_400))
}

/// What one round of maintenance did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Maintained {
    pub partitions_made: u32,
    /// A table that is not there is not named.
    pub tables: Vec<Retained>,
}

/// What became of a table's old rows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Retained {
    pub table: String,
    /// Whole days that went to the archive, or for good.
    pub partitions_archived: u32,
    pub partitions_dropped: u32,
    /// Single rows, likewise.
    pub rows_archived: u64,
    pub rows_deleted: u64,
    /// Somebody reads what should go, or lets go of it: there is another round.
    pub busy: bool,
    /// Why something could not go.
    pub trouble: Option<String>,
}

/// What goes by itself, however policy is set: it is nobody's to look back at.
const NO_NEWS: [&str; 2] = ["signals", "instances"];

impl Maintained {
    pub fn troubles(&self) -> impl Iterator<Item = (&str, &str)> {
        self.tables.iter().filter_map(|retained| Some((retained.table.as_str(), retained.trouble.as_deref()?)))
    }

    /// Nothing is left that should have gone.
    pub fn is_done(&self) -> bool {
        self.tables.iter().all(|retained| retained.trouble.is_none() && !retained.busy)
    }

    /// For the audit: this is gone, or elsewhere. None if nothing is.
    pub fn audited(&self, at: Timestamp, by: &Actor) -> Option<AuditEntry> {
        let told: serde_json::Map<String, Value> = self
            .tables
            .iter()
            .filter(|retained| retained.moved_any() && !NO_NEWS.contains(&retained.table.as_str()))
            .map(|retained| {
                let Retained { table, partitions_archived, partitions_dropped, rows_archived, rows_deleted, .. } = retained;
                let counts = json!({
                    "days_archived": partitions_archived, "days_dropped": partitions_dropped,
                    "rows_archived": rows_archived, "rows_deleted": rows_deleted,
                });
                (table.clone(), counts)
            })
            .collect();
        let entry = AuditEntry::new(at, by, AuditAction::RetentionRun, "retention");
        (!told.is_empty()).then(|| entry.from_to(Value::Null, Value::Object(told)))
    }
}

impl Retained {
    pub(super) fn of(table: &str) -> Self {
        Self { table: table.to_owned(), ..Self::default() }
    }

    fn moved_any(&self) -> bool {
        let Self { partitions_archived, partitions_dropped, rows_archived, rows_deleted, .. } = self;
        u64::from(*partitions_archived) + u64::from(*partitions_dropped) + rows_archived + rows_deleted > 0
    }

    /// One trouble does not keep the next step from being tried; the first is told.
    pub(super) fn note<T>(&mut self, done: Result<T, impl Into<Halt>>) -> Option<T> {
        match done.map_err(Into::into) {
            Ok(done) => return Some(done),
            Err(Halt::Busy) => self.busy = true,
            Err(Halt::Trouble(why)) => self.troubled(why),
        }
        None
    }

    pub(super) fn troubled(&mut self, why: String) {
        self.trouble.get_or_insert(why);
    }
}

/// Why a step was not done: nothing of it was.
#[derive(Debug)]
pub(super) enum Halt {
    /// Somebody holds what it needs, and will let go of it.
    Busy,
    Trouble(String),
}

impl Halt {
    pub(super) fn unequal(found: u64, archived: u64, deleted: u64) -> Self {
        Self::Trouble(format!(
            "of {found} rows {archived} came to the archive and {deleted} left the table: all stay (is there a trigger?)"
        ))
    }
}

impl From<sqlx::Error> for Halt {
    fn from(error: sqlx::Error) -> Self {
        if fault::is_lock_missed(&error) { Self::Busy } else { Self::Trouble(StoreError::from(error).to_string()) }
    }
}

/// How old a table's rows have grown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableAge {
    pub table: String,
    /// The oldest of those that policy lets go of some day.
    pub oldest: Option<Timestamp>,
    /// What is older than this should be gone. None where everything stays.
    pub due: Option<Timestamp>,
    pub trouble: Option<String>,
}

/// A round comes every hour and may have to wait for another.
pub(super) const GRACE: Duration = Duration::from_secs(3 * 3600);

impl TableAge {
    pub fn is_overdue(&self) -> bool {
        matches!((self.oldest, self.due), (Some(oldest), Some(due)) if oldest < due)
    }
}
