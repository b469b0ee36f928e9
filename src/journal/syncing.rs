//! When the disk itself has to have what was written. One sync serves everybody who waits for it.

use std::io;
use std::sync::{Arc, Mutex, Weak};
use std::thread;
use std::time::Duration;

use thiserror::Error;
use tokio::sync::watch;

use super::helper::Helper;
use super::standing::Part;
use super::{Shared, locked};

/// Nothing is gained by asking a disk more often than it can answer.
const LEAST: Duration = Duration::from_millis(1);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Syncing {
    /// When the system likes: entries survive the process, not the machine.
    Os,
    /// Every so often: a machine that goes down takes the last interval with it.
    Interval(Duration),
    /// Whoever waits for a ticket's `durable` knows that the entry survives the machine.
    Always,
}

/// The disk did not confirm the entry. It is in the journal, and most likely stays there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the disk did not confirm what was written")]
pub struct NotDurable;

/// When an entry is as durable as the journal promises.
#[derive(Debug)]
pub struct Durable(Option<watch::Receiver<Option<bool>>>);

impl Durable {
    /// The promise is kept already.
    pub(super) fn promised() -> Self {
        Self(None)
    }

    /// Whether there is nothing to wait for.
    pub fn is_kept(&self) -> bool {
        self.0.is_none()
    }

    pub async fn wait(self) -> Result<(), NotDurable> {
        let Some(mut group) = self.0 else { return Ok(()) };
        let synced = group.wait_for(Option::is_some).await.is_ok_and(|synced| *synced == Some(true));
        if synced { Ok(()) } else { Err(NotDurable) }
    }
}

/// Those whose entries the next sync brings to the disk.
#[derive(Debug)]
pub(super) struct Group(watch::Sender<Option<bool>>);

impl Group {
    pub fn new() -> Self {
        Self(watch::channel(None).0)
    }

    pub fn member(&self) -> Durable {
        Durable(Some(self.0.subscribe()))
    }

    fn tell(self, synced: bool) {
        self.0.send_replace(Some(synced));
    }
}

#[derive(Debug)]
pub(super) struct Syncer {
    syncing: Syncing,
    helper: Helper,
    one_at_a_time: Mutex<()>,
}

impl Syncer {
    pub fn new(syncing: Syncing) -> Self {
        Self { syncing, helper: Helper::default(), one_at_a_time: Mutex::default() }
    }

    pub fn start(&self, shared: &Arc<Shared>) -> io::Result<()> {
        let (shared, syncing) = (Arc::downgrade(shared), self.syncing);
        if syncing == Syncing::Os {
            return Ok(());
        }
        self.helper.start("journal-sync", move || run(&shared, syncing))
    }

    pub fn wake(&self) {
        self.helper.wake();
    }

    /// Something was.
    pub fn written(&self) {
        if self.syncing == Syncing::Always {
            self.wake();
        }
    }

    /// Whoever waits is told, and the disk has everything.
    pub fn finish(&self, shared: &Shared) {
        if self.syncing != Syncing::Os {
            self.sync(shared);
        }
    }

    /// Whether there was anything to do.
    fn sync(&self, shared: &Shared) -> bool {
        let _one_at_a_time = locked(&self.one_at_a_time);
        let Some(unsynced) = locked(&shared.log).take_unsynced() else { return false };
        // Each of them, also when one fails. A second try would be told that all is well: the system forgets what it could not write.
        let mut failures: Vec<io::Error> = unsynced.files.iter().filter_map(|file| file.sync_data().err()).collect();
        let is_synced = failures.is_empty();
        match failures.pop() {
            None => shared.troubles.clear(Part::Sync),
            Some(error) => {
                locked(&shared.log).spoil();
                let path = shared.home.path.display();
                shared.troubles.set(Part::Sync, format!("the disk does not take what was written to {path}: {error}"));
            }
        }
        unsynced.group.tell(is_synced);
        true
    }
}

#[cfg(test)]
impl super::Journal {
    /// Nothing is brought to the disk as long as this is held.
    pub fn hold_syncs(&self) -> std::sync::MutexGuard<'_, ()> {
        locked(&self.shared.syncer.one_at_a_time)
    }
}

fn run(shared: &Weak<Shared>, syncing: Syncing) {
    while let Some(journal) = shared.upgrade() {
        let was_busy = journal.syncer.sync(&journal);
        drop(journal);
        match syncing {
            Syncing::Interval(pause) => thread::park_timeout(pause.max(LEAST)),
            Syncing::Always | Syncing::Os if was_busy => {}
            Syncing::Always | Syncing::Os => thread::park(),
        }
    }
}
