//! How long rows are kept: what policy says and a store does.

use std::time::Duration;

use crate::clock::Timestamp;

/// How long each kind of row is kept. Ages are counted in whole days of UTC: a row goes when the day it is of is older than that.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keep {
    pub activity: Span,
    pub api_calls: Span,
    pub rate_limits: Duration,
    /// Tables of other programs.
    pub tables: Vec<TableKeep>,
}

/// How old rows of a table grow before they are let go of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// Where they were written.
    pub here: Age,
    /// In the archive beside it.
    pub archive: Archive,
}

impl Span {
    /// Of this age, and not archived.
    pub const fn of(age: Duration) -> Self {
        Self { here: Age::Days(age), archive: Archive::None }
    }

    /// Before which moment rows leave their table.
    pub fn here_until(&self, now: Timestamp) -> Option<Timestamp> {
        match self.here {
            Age::Days(age) => Some(days_before(now, age)),
            Age::Forever => None,
        }
    }

    /// Before which moment rows leave the archive too. What never gets there is gone with the table's.
    pub fn gone_before(&self, now: Timestamp) -> Option<Timestamp> {
        match self.archive {
            Archive::None => self.here_until(now),
            Archive::Until(Age::Days(age)) => Some(days_before(now, age)),
            Archive::Until(Age::Forever) => None,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Age {
    Days(Duration),
    Forever,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Archive {
    None,
    /// Counted from the row's own moment, not from when it came to the archive.
    Until(Age),
}

/// The beginning of the day that was this long ago.
pub fn days_before(now: Timestamp, age: Duration) -> Timestamp {
    now.minus(age).floor(86_400)
}

/// A table of another program, and which of its rows may grow how old.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableKeep {
    pub table: String,
    /// The column whose moment is a row's age.
    pub by: String,
    /// Columns and the values that rows must have to be let go of at all.
    pub only: Vec<Only>,
    pub span: Span,
    /// Otherwise somebody must ask for it.
    pub scheduled: Scheduled,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Only {
    pub column: String,
    /// One of these.
    pub values: Vec<OnlyValue>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OnlyValue {
    Is(bool),
    Number(i64),
    Text(String),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheduled {
    Hourly,
    ByHand,
}

impl Keep {
    /// What is done without anybody asking for it.
    pub fn scheduled(mut self) -> Self {
        self.tables.retain(|table| table.scheduled == Scheduled::Hourly);
        self
    }
}
