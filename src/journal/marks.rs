//! How long what is not written to the database has waited: the time of some numbers, not of all.

use std::collections::VecDeque;
use std::time::Duration;

use crate::clock::Timestamp;

/// How exact the age of what is waiting is, and how many such marks are kept.
const EVERY: Duration = Duration::from_secs(1);
const MOST: usize = 4096;

/// Numbers, a while apart, with the time they were given away.
#[derive(Debug, Default)]
pub(super) struct Marks(VecDeque<(u64, Timestamp)>);

impl Marks {
    /// Notes when a number was given away, if that is not known well enough by the one before. Those up to `written` wait no more.
    pub fn note(&mut self, number: u64, at: Timestamp, written: u64) {
        let before = number.saturating_sub(1);
        let written = written.min(before);
        let is_due = self.0.back().is_none_or(|(_, last)| at.since(*last) >= EVERY);
        if written < before && !is_due {
            return;
        }
        if self.0.len() >= MOST {
            // After an hour without a database, a second more or less is not what matters.
            let mut is_kept = false;
            self.0.retain(|_| {
                is_kept = !is_kept;
                is_kept
            });
        }
        self.0.push_back((number, at));
        self.forget(written);
    }

    /// Since when what comes after `written`, up to the last number, waits, or a little earlier.
    pub fn oldest_after(&mut self, written: u64, last: u64) -> Option<Timestamp> {
        self.forget(written);
        if last > written { self.0.front().map(|(_, at)| *at) } else { None }
    }

    fn forget(&mut self, written: u64) {
        while self.0.get(1).is_some_and(|(number, _)| *number <= written.saturating_add(1)) {
            self.0.pop_front();
        }
    }
}
