//! Work behind the calls: makes segments ahead, keeps how far each journal is written to the database, and frees what is.

use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::thread;
use std::time::Duration;

use uuid::Uuid;

use super::cursor::Cursor;
use super::helper::Helper;
use super::home::Home;
use super::standing::Part;
use super::{Shared, locked};

/// Until what failed is tried again.
const RETRY: Duration = Duration::from_secs(1);

#[derive(Debug, Default)]
pub(super) struct Keeper {
    helper: Helper,
    /// How far each journal is written, where that is not kept yet. The latest of each.
    written: Mutex<BTreeMap<Uuid, (Arc<Home>, Cursor)>>,
    /// Numbers were given away that leave no bytes.
    noted: AtomicBool,
}

impl Keeper {
    pub fn start(&self, shared: &Arc<Shared>) -> io::Result<()> {
        let shared = Arc::downgrade(shared);
        self.helper.start("journal-keep", move || run(&shared))
    }

    pub fn wake(&self) {
        self.helper.wake();
    }

    pub fn note(&self) {
        if !self.noted.swap(true, Ordering::AcqRel) {
            self.wake();
        }
    }

    pub fn is_written(&self, home: &Arc<Home>, cursor: Cursor) {
        self.remember(Arc::clone(home), cursor);
        self.wake();
    }

    fn remember(&self, home: Arc<Home>, cursor: Cursor) {
        let mut written = locked(&self.written);
        let (_, latest) = written.entry(home.instance).or_insert((home, cursor));
        *latest = cursor.max(*latest);
    }

    /// Whether all of it could be done.
    fn work(&self, shared: &Shared) -> bool {
        let is_made = settle(shared, Part::MakeSegment, "a segment cannot be made", make_ahead(shared));
        if self.noted.swap(false, Ordering::AcqRel) {
            self.remember(Arc::clone(&shared.home), shared.home.cursor());
        }
        let mut tidied = Ok(());
        for (home, cursor) in std::mem::take(&mut *locked(&self.written)).into_values() {
            if let Err(error) = home.tidy(cursor) {
                tidied = Err(error);
                self.remember(home, cursor);
            }
        }
        let is_tidy = settle(shared, Part::Tidy, "what is in the database cannot be freed", tidied);
        is_made && is_tidy
    }
}

fn run(shared: &Weak<Shared>) {
    while let Some(journal) = shared.upgrade() {
        let is_well = journal.keeper.work(&journal);
        drop(journal);
        if is_well {
            thread::park();
        } else {
            thread::park_timeout(RETRY);
        }
    }
}

fn settle(shared: &Shared, part: Part, what: &str, done: io::Result<()>) -> bool {
    let is_well = done.is_ok();
    match done {
        Ok(()) => shared.troubles.clear(part),
        Err(error) => shared.troubles.set(part, format!("{what} in {}: {error}", shared.journals.display())),
    }
    is_well
}

fn make_ahead(shared: &Shared) -> io::Result<()> {
    // Two at most: one for a segment that outgrew its time while there was none, one ahead.
    loop {
        let Some(id) = locked(&shared.log).wants() else { return Ok(()) };
        let file = shared.home.make_segment(id)?;
        locked(&shared.log).put_ahead(shared, id, file);
    }
}
