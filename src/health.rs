//! How the gatekeeper is, as its probes tell it: kept up to date in the background, so that answering costs nothing and asks nobody.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;

#[derive(Debug)]
pub struct Health {
    started: AtomicBool,
    draining: AtomicBool,
    database: ArcSwap<Database>,
}

/// The database, as it was when last asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Database {
    NotAskedYet,
    Connected {
        latency: Duration,
    },
    /// Why is in the log: it may name hosts.
    Away,
}

impl Default for Health {
    fn default() -> Self {
        Self { started: AtomicBool::new(false), draining: AtomicBool::new(false), database: ArcSwap::from_pointee(Database::NotAskedYet) }
    }
}

impl Health {
    /// Whether calls should be sent here. Latches: once started it stays started, once draining it stays draining.
    pub fn is_ready(&self) -> bool {
        self.started.load(Ordering::Acquire) && !self.draining.load(Ordering::Acquire)
    }

    pub fn started(&self) {
        self.started.store(true, Ordering::Release);
    }

    pub fn draining(&self) {
        self.draining.store(true, Ordering::Release);
    }

    pub fn database(&self) -> Database {
        Database::clone(&self.database.load())
    }

    pub fn set_database(&self, database: Database) {
        self.database.store(std::sync::Arc::new(database));
    }
}

impl Database {
    pub fn is_connected(&self) -> bool {
        matches!(self, Self::Connected { .. })
    }
}
