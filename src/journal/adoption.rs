//! Journals of processes that ended: whoever locks one has it, and what lies in it counts as if it were its own.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};

use uuid::Uuid;

use super::cursor::{Cursor, FILE, Noted};
use super::format::{HeaderFault, SegmentId};
use super::home::{CURSOR_FILE, Home, Place, Segment, Whose};
use super::room::Room;
use super::scan::{self, Entry, Medium, Scan, Unreadable, Window};
use super::standing::Part;
use super::{JournalError, Reader, Shared, files, locked};

/// Journals of dead processes that are held at once; each keeps a file open. Those beyond are next, once these are done.
const ORPHANS: usize = 256;

/// Those that are held.
#[derive(Debug, Default)]
pub(super) struct Orphans {
    held: Mutex<BTreeMap<Uuid, Arc<Home>>>,
    /// Directories of which was told why they are let alone.
    told: Mutex<BTreeSet<Uuid>>,
}

impl Orphans {
    pub fn hold(&self, home: &Arc<Home>) {
        locked(&self.held).insert(home.instance, Arc::clone(home));
    }

    pub fn let_go(&self, home: &Home) {
        locked(&self.held).remove(&home.instance);
    }

    pub fn all(&self) -> Vec<Arc<Home>> {
        locked(&self.held).values().cloned().collect()
    }

    fn is_full(&self) -> bool {
        locked(&self.held).len() >= ORPHANS
    }
}

/// What was found in a directory that is nobody's.
enum Found {
    Orphan(Arc<Home>),
    /// Its process ended while it was being made.
    Unfinished(Arc<Home>),
    /// Its process lives.
    Lives,
    /// Written by a later program.
    Newer(u32),
    Gone,
}

pub(super) fn adopt(shared: &Arc<Shared>) -> Result<Vec<Reader>, JournalError> {
    let failed = |error| JournalError { path: shared.journals.clone(), error };
    let mut instances = Vec::new();
    for name in files::names(&shared.journals).map_err(failed)? {
        let instance = Uuid::try_parse(&name).ok().filter(|id| id.to_string() == name && *id != shared.home.instance);
        instances.extend(instance);
    }
    instances.sort_unstable();
    let (mut adopted, mut left) = (Vec::new(), Vec::new());
    for instance in instances {
        if shared.orphans.is_full() {
            break;
        }
        match take(&shared.journals, instance, &shared.room) {
            Ok(Found::Orphan(home)) => adopted.push(Reader::new(Arc::clone(shared), home)),
            Ok(Found::Unfinished(home)) => clear_away(shared, &home),
            Ok(Found::Lives | Found::Gone) => {}
            Ok(Found::Newer(version)) => left.push((instance, format!("it is of a later program (version {version})"))),
            Err(error) => left.push((instance, format!("it cannot be adopted: {error}"))),
        }
    }
    tell(shared, &left);
    Ok(adopted)
}

/// What is left where it lies, for somebody to look at.
fn tell(shared: &Shared, left: &[(Uuid, String)]) {
    for (instance, why) in left {
        tell_once(shared, *instance, why);
    }
    match left.first() {
        None => shared.troubles.clear(Part::Adopt),
        Some((instance, why)) => {
            let (path, others) = (shared.journals.join(instance.to_string()), left.len() - 1);
            let others = if others == 0 { String::new() } else { format!(" ({others} others too)") };
            shared.troubles.set(Part::Adopt, format!("{} is left where it lies: {why}{others}", path.display()));
        }
    }
}

fn clear_away(shared: &Shared, home: &Home) {
    if let Err(error) = home.remove() {
        tell_once(shared, home.instance, &format!("there is nothing in it, but it cannot be removed: {error}"));
    }
}

fn tell_once(shared: &Shared, instance: Uuid, what: &str) {
    if locked(&shared.orphans.told).insert(instance) {
        tracing::warn!("journal {}: {what}", shared.journals.join(instance.to_string()).display());
    }
}

/// Takes over the directory of a dead instance.
fn take(journals: &Path, instance: Uuid, room: &Arc<Room>) -> io::Result<Found> {
    let path = journals.join(instance.to_string());
    let opened = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path.join(CURSOR_FILE));
    let cursor_file = match opened {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Found::Gone),
        opened => opened?,
    };
    if !files::lock(&cursor_file, &path.join(CURSOR_FILE))? {
        return Ok(Found::Lives);
    }
    let mut segments = VecDeque::new();
    let mut begin = None;
    // Without a cursor it begins with the first segment that is left, and what came before is nobody's to judge.
    let mut is_headless = true;
    for id in files::segments(&path)? {
        let file = path.join(id.file_name());
        let end = fs::metadata(&file)?.len();
        // Made ahead and never used.
        if end == 0 {
            continue;
        }
        is_headless &= id > SegmentId::FIRST;
        match File::open(&file).and_then(|file| scan::first_number(&file, instance, id, end)) {
            Ok(Err(HeaderFault::Newer(version))) => return Ok(Found::Newer(version)),
            Ok(Ok(first)) if begin.is_none() && is_headless => {
                begin = Some(Cursor { segment: id, offset: 0, number: first.saturating_sub(1) });
            }
            Ok(Ok(_) | Err(HeaderFault::Damaged)) => {}
            // Damaged, or to be read once its disk works again: no reason to leave the others.
            Err(error) => tracing::warn!(%error, "{} cannot be read", file.display()),
        }
        segments.push_back(Arc::new(Segment::new(id, end)));
    }
    let mut bytes = [0; FILE];
    let read = cursor_file.read(0, &mut bytes).unwrap_or(0);
    let mut noted = Noted::decode(bytes.get(..read).unwrap_or_default(), instance);
    let is_unfinished = noted.cursor.is_none() && segments.is_empty();
    if noted.cursor.is_none() && !is_unfinished {
        tracing::warn!("{} cannot be read: the journal is read from its start", path.join(CURSOR_FILE).display());
        noted.cursor = begin;
    }
    let home = Arc::new(Home::new(Place { instance, path, cursor_file, room }, noted, segments, Whose::Orphan));
    if is_unfinished {
        return Ok(Found::Unfinished(home));
    }
    size_up(&home);
    Ok(Found::Orphan(home))
}

/// How many entries wait in it, and since when, as far as can be seen.
fn size_up(home: &Home) {
    let waiting = home.unread(home.cursor());
    if let Some(first) = waiting.iter().find_map(|(segment, from)| look(home, segment, *from, |scan| scan.entries().next())) {
        home.set_oldest(first.at);
    }
    if let Some(last) = waiting.last().and_then(|(segment, from)| look(home, segment, *from, |scan| scan.entries().last())) {
        home.taken.fetch_max(last.number, Ordering::AcqRel);
    }
}

fn look(home: &Home, segment: &Segment, from: Cursor, at: impl FnOnce(Scan<'_, File>) -> Option<Entry>) -> Option<Entry> {
    let file = File::open(home.file(segment.id)).ok()?;
    let end = segment.end.load(Ordering::Acquire);
    let scan = Scan::new(&file, home.instance, segment.id, end, Unreadable::Error);
    at(scan.resume(from.offset, from.number.saturating_add(1), Window::default()))
}
