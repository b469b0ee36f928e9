//! How the journal stands, for metrics and health; and what keeps it from working, told once when it begins and once when it is over.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::Ordering;

use uuid::Uuid;

use super::{Shared, locked};
use crate::clock::Timestamp;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// On disk, the adopted journals' included, and how many there may be.
    pub bytes: u64,
    pub limit: u64,
    /// Numbers that are not written to the database, and how many of them are of adopted journals. Of these, what could be seen.
    pub waiting: u64,
    pub waiting_in_orphans: u64,
    /// Since when the first of them waits, or a second earlier; after an hour of waiting a few seconds.
    pub oldest_unwritten: Option<Timestamp>,
    /// Journals of dead processes that are adopted, and not carried over yet.
    pub orphans: usize,
    /// Why it does not work as it should; it goes on trying.
    pub trouble: Option<String>,
}

pub(super) fn of(shared: &Shared) -> Standing {
    let orphans = shared.orphans.all();
    let waiting: Vec<_> = orphans.iter().map(|home| (home.waiting(), home.oldest())).filter(|(waiting, _)| *waiting > 0).collect();
    let waiting_in_orphans = waiting.iter().map(|(waiting, _)| waiting).sum();
    let written = shared.home.written.load(Ordering::Acquire);
    let own = locked(&shared.log).oldest_after(written);
    Standing {
        bytes: shared.room.used(),
        limit: shared.room.limits.bytes,
        waiting: shared.home.waiting().saturating_add(waiting_in_orphans),
        waiting_in_orphans,
        oldest_unwritten: own.into_iter().chain(waiting.iter().map(|(_, oldest)| *oldest)).min(),
        orphans: orphans.len(),
        trouble: shared.troubles.first(),
    }
}

/// What can go wrong apart from the rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Part {
    Write,
    Sync,
    MakeSegment,
    Tidy,
    /// Of this instance's journal.
    Read(Uuid),
    /// What dead processes left.
    Adopt,
}

impl Part {
    /// Whether entries cannot be expected to be kept meanwhile.
    const fn is_writing(self) -> bool {
        match self {
            Self::Write | Self::Sync => true,
            // Without a next segment the one that is there grows.
            Self::MakeSegment | Self::Tidy | Self::Read(_) | Self::Adopt => false,
        }
    }

    const fn well(self) -> &'static str {
        match self {
            Self::Write => "entries are written again",
            Self::Sync => "the disk takes what is written again",
            Self::MakeSegment => "segments can be made again",
            Self::Tidy => "what is in the database is freed again",
            Self::Read(_) => "it can be read again",
            Self::Adopt => "nothing is left lying that dead processes left",
        }
    }
}

#[derive(Debug, Default)]
pub(super) struct Troubles(Mutex<BTreeMap<Part, String>>);

impl Troubles {
    pub fn set(&self, part: Part, why: String) {
        let mut troubles = locked(&self.0);
        if !troubles.contains_key(&part) {
            tracing::error!("journal: {why}");
        }
        troubles.insert(part, why);
    }

    pub fn clear(&self, part: Part) {
        if locked(&self.0).remove(&part).is_some() {
            tracing::info!("journal: {}", part.well());
        }
    }

    /// Nobody tries it any more.
    pub fn forget(&self, part: Part) {
        locked(&self.0).remove(&part);
    }

    pub fn keep_from_writing(&self) -> bool {
        locked(&self.0).keys().any(|part| part.is_writing())
    }

    pub fn first(&self) -> Option<String> {
        locked(&self.0).values().next().cloned()
    }
}
