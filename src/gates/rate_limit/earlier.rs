//! Whether what an earlier run has counted is there: it may come from two sides, and calls may be counted before it does.

use std::sync::{Mutex, PoisonError};

/// Whether the counts of earlier runs are there. The database's are added to what this process has counted itself, so once only.
#[derive(Debug, Default)]
pub struct EarlierCounts(Mutex<bool>);

impl EarlierCounts {
    /// Nobody else adds any meanwhile.
    pub fn take(&self, take: impl FnOnce(&mut bool)) {
        take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }
}
