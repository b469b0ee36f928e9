//! The end that is read: batches in order, each of them the caller's until it says that it is written.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::task::spawn_blocking;
use tokio::time::sleep;
use uuid::Uuid;

use super::Shared;
use super::cursor::Cursor;
use super::home::Home;
use super::scan::{Entry, Unreadable};
use super::standing::Part;
use super::walk::{Bounds, Walk};

/// Between tries at what the disk does not give back, and how many there are before it may be passed over.
const RETRY: Duration = Duration::from_secs(1);
const TRIES: u32 = 5;

/// Numbers that have no entry, from the first to the last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lost {
    pub instance: Uuid,
    pub first: u64,
    pub last: u64,
    pub why: Why,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Why {
    /// Given away by [`super::Journal::lose`].
    Shed,
    /// What lay there cannot be read.
    Damaged(Spot),
    /// The end of a dead process's journal is missing: the process ended before the entry was whole and anybody was told of it, or the machine went
    /// down before the disk had it. Damage at the very end looks the same.
    Torn(Spot),
}

/// Where the damage begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spot {
    pub file: PathBuf,
    pub offset: u64,
}

/// What was read at once. Entries and losses together are every number, from the one after the last batch's on.
#[derive(Debug)]
pub struct Batch {
    pub entries: Vec<Entry>,
    pub lost: Vec<Lost>,
    /// It was cut off at its bounds: there is more.
    pub is_full: bool,
    pub(super) from: Cursor,
    pub(super) to: Cursor,
}

impl Batch {
    pub(super) fn at(from: Cursor) -> Self {
        Self { entries: Vec::new(), lost: Vec::new(), is_full: false, from, to: from }
    }

    pub fn is_empty(&self) -> bool {
        self.entries.is_empty() && self.lost.is_empty()
    }

    /// The highest number that is accounted for once this is written.
    pub fn through(&self) -> u64 {
        self.to.number
    }
}

/// Reads a journal, this process's own or an adopted one.
#[derive(Debug)]
pub struct Reader {
    shared: Arc<Shared>,
    home: Arc<Home>,
    walk: Walk,
    /// Up to here everything is written.
    written: Cursor,
}

impl Reader {
    pub(super) fn new(shared: Arc<Shared>, home: Arc<Home>) -> Self {
        let written = home.cursor();
        if home.is_orphan {
            shared.orphans.hold(&home);
        }
        Self { shared, home, walk: Walk::from(written), written }
    }

    pub fn instance(&self) -> Uuid {
        self.home.instance
    }

    /// The highest number that is accounted for.
    pub fn through(&self) -> u64 {
        self.written.number
    }

    /// Whether there is anything in it that is not read yet.
    pub fn has_more(&self) -> bool {
        self.home.has_more(self.walk.cursor)
    }

    /// The entries after those that are written; waits until there is one. At least one entry, however long; beyond that no more than
    /// `max_entries`, or `max_bytes` of payloads. `None`: the journal has ended and everything is written.
    ///
    /// A batch of which nobody says that it is written comes again. Waking a reader costs the call that does it some microseconds: one that
    /// pauses between batches is woken once a pause.
    pub async fn next(&mut self, max_entries: usize, max_bytes: usize) -> Option<Batch> {
        let bounds = Bounds { entries: max_entries, bytes: max_bytes };
        if self.walk.cursor != self.written {
            self.walk = Walk::from(self.written);
        }
        let mut tries = 0;
        loop {
            // Asked before the reading: what ends meanwhile is looked through once more.
            let is_live = self.home.is_live();
            if self.home.has_more(self.walk.cursor) || !is_live {
                let (home, walk) = (Arc::clone(&self.home), self.walk.clone());
                let read = spawn_blocking(move || gather(&home, walk, bounds, tries)).await;
                match read.unwrap_or_else(|error| Err(io::Error::other(error))) {
                    Ok((batch, walk)) => {
                        self.shared.troubles.clear(Part::Read(self.home.instance));
                        tries = 0;
                        self.walk = walk;
                        if !batch.is_empty() {
                            return Some(batch);
                        }
                        if batch.from < batch.to {
                            // Nothing but the way to the next segment.
                            self.written(&batch);
                        }
                        if !is_live && !self.home.has_more(self.walk.cursor) {
                            return None;
                        }
                    }
                    Err(error) => {
                        tries += 1;
                        let why = format!("{} cannot be read: {error}", self.home.file(self.walk.cursor.segment).display());
                        self.shared.troubles.set(Part::Read(self.home.instance), why);
                        sleep(RETRY).await;
                    }
                }
                continue;
            }
            self.home.changed.notified().await;
        }
    }

    /// The batch is in the database, and its room is free.
    pub fn written(&mut self, batch: &Batch) {
        if batch.to > self.written {
            self.written = batch.to;
            self.home.written.store(self.written.number, Ordering::Release);
            if let Some(last) = batch.entries.last() {
                self.home.set_oldest(last.at);
            }
            self.shared.keeper.is_written(&self.home, self.written);
        }
    }

    /// Ends the reading and lets go of the journal: how far it is written is kept, and if it has ended and all of it is written, it is removed.
    pub async fn leave(self) -> io::Result<()> {
        let (home, written) = (Arc::clone(&self.home), self.written);
        let left = move || {
            home.tidy(written)?;
            if home.is_live() || home.has_more(written) { Ok(()) } else { home.remove() }
        };
        spawn_blocking(left).await.unwrap_or_else(|error| Err(io::Error::other(error)))
    }
}

/// What cannot be read is asked for again, and is damage only where it stays so while the disk works: one that is away gives everything back
/// when it returns.
fn gather(home: &Home, mut walk: Walk, bounds: Bounds, tries: u32) -> io::Result<(Batch, Walk)> {
    let passing_over = tries >= TRIES && walk.is_disk_well(home);
    if passing_over {
        tracing::error!("{} cannot be read, and what comes after it can: it is passed over", home.file(walk.cursor.segment).display());
    }
    let unreadable = if passing_over { Unreadable::Damage } else { Unreadable::Error };
    walk.gather(home, bounds, unreadable).map(|batch| (batch, walk))
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.shared.troubles.forget(Part::Read(self.home.instance));
        if self.home.is_orphan {
            self.shared.orphans.let_go(&self.home);
        }
    }
}
