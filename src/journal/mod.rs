//! The journal: what must not be lost, on the local disk until it is somewhere better. It knows bytes and numbers, and nothing of what they mean.
//!
//! A process appends to a directory of its own, locked while it lives, and gives every entry the next number. Segments are read back in
//! order, and removed once their entries are written to the database. A process that starts adopts the directories of those that
//! ended. `docs/journal.md` says what lies there, byte by byte, and what survives what.
//!
//! Why not a crate: a log with consensus or snapshots behind it (raft-engine) or a key-value store (fjall, redb) brings compaction, caches and
//! threads for what is one file being appended to, and none of them leaves out one damaged entry and names it; redb makes every commit
//! wait for the disk. Plain logs and queues (okaywal, yaque, commitlog) have had no release for years, bound nothing, and give up at the first entry
//! that does not check. What is needed beside them (numbers that show gaps, adoption, a bound with a reserve, trouble that heals) would be most of
//! this module anyway.
//!
//! On a call's path lies [`Journal::append`] alone: one lock, one write. All other work with the disk is done by two threads (`keeper`,
//! `syncing`) and on threads for blocking work.

mod adoption;
mod cursor;
mod files;
mod format;
mod helper;
mod home;
mod keeper;
mod log;
mod marks;
mod medium;
mod reader;
mod room;
mod scan;
mod segment;
mod standing;
mod syncing;
mod walk;

use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use thiserror::Error;
use tokio::task::spawn_blocking;
use uuid::Uuid;

pub use self::format::{Class, PAYLOAD_LIMIT, SegmentId};
pub use self::medium::Medium;
pub use self::reader::{Batch, Lost, Reader, Spot, Why};
pub use self::room::Limits;
pub use self::scan::{Entry, Found, Scan, Unreadable};
pub use self::standing::Standing;
pub use self::syncing::{Durable, NotDurable, Syncing};

use self::adoption::Orphans;
use self::home::Home;
use self::keeper::Keeper;
use self::log::Log;
use self::room::Room;
use self::standing::Troubles;
use self::syncing::Syncer;
use crate::clock::Clock;

/// Tries at a directory of one's own, should each be taken for a dead one's.
const TRIES: usize = 8;

#[derive(Debug, Error)]
#[error("{}: {error}", path.display())]
pub struct JournalError {
    pub path: PathBuf,
    pub error: io::Error,
}

/// Why something is not in the journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Refused {
    #[error("the journal is full")]
    Full,
    #[error("the journal cannot be written")]
    Trouble,
    #[error("the entry is longer than an entry may be")]
    TooLong,
    #[error("the journal is closed")]
    Closed,
}

/// An entry is in the journal: the process may be killed. Whether the machine may too, `durable` tells.
#[derive(Debug)]
pub struct Ticket {
    pub number: u64,
    pub durable: Durable,
}

/// This process's journal. Clones are the same journal.
#[derive(Clone, Debug)]
pub struct Journal {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    journals: PathBuf,
    clock: Clock,
    home: Arc<Home>,
    room: Arc<Room>,
    log: Mutex<Log>,
    troubles: Troubles,
    keeper: Keeper,
    syncer: Syncer,
    orphans: Orphans,
}

impl Journal {
    /// Makes a journal for this process in the directory of journals, which may not be there yet. Waits for the disk, as do `adopt` and
    /// `close`: call them where that is fine.
    pub fn open(journals: &Path, limits: Limits, syncing: Syncing, clock: Clock) -> Result<(Self, Reader), JournalError> {
        let failed = |error| JournalError { path: journals.to_owned(), error };
        let room = Arc::new(Room::new(limits));
        let (home, log) = begin(journals, &room, syncing).map_err(failed)?;
        let home = Arc::new(home);
        let shared = Arc::new(Shared {
            journals: journals.to_owned(),
            clock,
            home: Arc::clone(&home),
            room,
            log: Mutex::new(log),
            troubles: Troubles::default(),
            keeper: Keeper::default(),
            syncer: Syncer::new(syncing),
            orphans: Orphans::default(),
        });
        shared.keeper.start(&shared).and_then(|()| shared.syncer.start(&shared)).map_err(failed)?;
        let reader = Reader::new(Arc::clone(&shared), home);
        Ok((Self { shared }, reader))
    }

    /// Whose entries these are: numbers are unique within it.
    pub fn instance(&self) -> Uuid {
        self.shared.home.instance
    }

    /// Where this journal lies beside others.
    pub fn directory(&self) -> &Path {
        &self.shared.journals
    }

    /// Puts it into the journal. On every call's path: one write into the system's memory, no waiting for the disk.
    pub fn append(&self, class: Class, payload: &[u8]) -> Result<Ticket, Refused> {
        let shared = &self.shared;
        let at = shared.clock.now();
        let appended = log::append(shared, class, at, payload)?;
        shared.home.changed.notify_one();
        Ok(appended)
    }

    /// Whether what is left for entries of this class is for those calls that are under way.
    pub fn is_full(&self, class: Class, under_way: u64) -> bool {
        self.shared.room.is_full(class, under_way)
    }

    /// Whether the entry of one more call can be expected to be kept: it can be written, and will find room.
    pub fn has_room(&self, class: Class, under_way: u64) -> bool {
        !self.is_full(class, under_way) && !self.shared.troubles.keep_from_writing()
    }

    /// Gives a number to something that is not kept, so that its absence shows: readers get it as [`Why::Shed`].
    pub fn lose(&self) -> u64 {
        let number = log::lose(&self.shared, self.shared.clock.now());
        self.shared.home.changed.notify_one();
        self.shared.keeper.note();
        number
    }

    /// Takes over the journals of processes that ended, oldest first, empty ones too: from now on they count as this one's. To be called now and
    /// then: another process may have ended since.
    pub fn adopt(&self) -> Result<Vec<Reader>, JournalError> {
        adoption::adopt(&self.shared)
    }

    pub fn is_open(&self) -> bool {
        self.shared.home.is_live()
    }

    /// Nothing more is appended. The reader ends once it has read everything.
    pub fn close(&self) {
        locked(&self.shared.log).close();
        self.shared.home.end();
        self.shared.syncer.finish(&self.shared);
    }

    /// Ends it before it was of any use, and leaves nothing of it but what may have been appended all the same: a start that fails leaves
    /// nothing behind, however often it is tried.
    pub async fn give_up(self, reader: Reader) {
        let given_up = async {
            spawn_blocking(move || self.close()).await.map_err(io::Error::other)?;
            reader.leave().await
        };
        if let Err(error) = given_up.await {
            tracing::warn!(%error, "the directory of a journal that was not used is still there");
        }
    }

    pub fn standing(&self) -> Standing {
        standing::of(&self.shared)
    }
}

/// The clone that goes last lets the threads end.
impl Drop for Shared {
    fn drop(&mut self) {
        self.keeper.wake();
        self.syncer.wake();
    }
}

fn begin(journals: &Path, room: &Arc<Room>, syncing: Syncing) -> io::Result<(Home, Log)> {
    DirBuilder::new().recursive(true).mode(0o700).create(journals)?;
    if let Some(above) = journals.parent().filter(|above| !above.as_os_str().is_empty()) {
        files::sync_directory(above)?;
    }
    for _ in 0..TRIES {
        let Some(home) = Home::create(journals, Uuid::now_v7(), room)? else { continue };
        let log = Log::begin(&home, syncing)?;
        return Ok((home, log));
    }
    Err(io::Error::other("other processes take every directory that is made in it"))
}

/// Nothing that is guarded here is left half changed, so a panic elsewhere spoils nothing.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
