//! The directory of one instance: whose it is (a lock), what lies in it (segments), and how far it has been taken over (the cursor).

use std::collections::VecDeque;
use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use tokio::sync::Notify;
use uuid::Uuid;

use super::cursor::{Cursor, SLOTS, Slots};
use super::format::{HeaderFault, SegmentId};
use super::room::Room;
use super::{locked, scan};

/// It is locked by the process whose journal this is, and says how far it has been read.
const CURSOR_FILE: &str = "cursor";
/// Where segments go in which something was lost, for whoever wants to look. The first ones; further ones are removed.
const DAMAGED: &str = "damaged";
const DAMAGED_KEPT: usize = 8;
/// A directory is listed no further.
const NAMES: usize = 100_000;

#[derive(Debug)]
pub(super) struct Segment {
    pub id: SegmentId,
    /// Where what is written whole ends. The file may be longer.
    pub end: AtomicU64,
    /// Something in it could not be read.
    pub damaged: AtomicBool,
}

impl Segment {
    pub fn new(id: SegmentId, end: u64) -> Self {
        Self { id, end: AtomicU64::new(end), damaged: AtomicBool::new(false) }
    }
}

/// A segment, as its reader needs to know it.
#[derive(Debug)]
pub(super) struct Extent {
    pub segment: Arc<Segment>,
    pub end: u64,
    /// Nothing more will be written to it.
    pub complete: bool,
}

#[derive(Debug)]
pub(super) struct Home {
    pub instance: Uuid,
    pub path: PathBuf,
    /// Of a process that ended.
    pub is_orphan: bool,
    cursor_file: File,
    /// What lies here counts.
    room: Arc<Room>,
    /// In order; while the instance lives, its last one grows.
    segments: Mutex<VecDeque<Arc<Segment>>>,
    /// More may be appended.
    live: AtomicBool,
    /// The highest number given away, by an entry or by a loss. Set after the entry can be read.
    pub taken: AtomicU64,
    /// The highest number that is accounted for.
    pub written: AtomicU64,
    /// There is something new to read.
    pub changed: Notify,
    tidied: Mutex<Tidied>,
}

#[derive(Debug, Default)]
struct Tidied {
    cursor: Cursor,
    taken: u64,
    removed: bool,
}

struct Place<'a> {
    instance: Uuid,
    path: PathBuf,
    cursor_file: File,
    room: &'a Arc<Room>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Whose {
    Ours,
    Orphan,
}

/// What was found in a directory that is nobody's.
#[derive(Debug)]
pub(super) enum Found {
    Orphan(Home),
    /// Its process lives.
    Lives,
    /// Written by a later program.
    Newer(u32),
    Gone,
}

impl Home {
    /// A directory for a new instance, locked. `None`: somebody took it for a dead one's in the moment before it was locked.
    pub fn create(journals: &Path, instance: Uuid, room: &Arc<Room>) -> io::Result<Option<Self>> {
        let path = journals.join(instance.to_string());
        DirBuilder::new().mode(0o700).create(&path)?;
        let made = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(path.join(CURSOR_FILE));
        let cursor_file = match made {
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::AlreadyExists) => return Ok(None),
            made => made?,
        };
        if !is_locked(&cursor_file, &path)? {
            return Ok(None);
        }
        let home = Self::new(Place { instance, path, cursor_file, room }, Slots::default(), VecDeque::new(), Whose::Ours);
        // All the room it will ever need is taken now.
        home.cursor_file.write_all_at(&Slots::default().encode(instance), 0)?;
        home.cursor_file.sync_all()?;
        sync_directory(journals)?;
        Ok(Some(home))
    }

    /// Takes over the directory of a dead instance.
    pub fn take(journals: &Path, instance: Uuid, room: &Arc<Room>) -> io::Result<Found> {
        let path = journals.join(instance.to_string());
        let opened = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path.join(CURSOR_FILE));
        let cursor_file = match opened {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Found::Gone),
            opened => opened?,
        };
        if !is_locked(&cursor_file, &path)? {
            return Ok(Found::Lives);
        }
        let mut segments = VecDeque::new();
        let mut begin = None;
        // Without a cursor it begins with the first segment that is left, and what came before is nobody's to judge.
        let mut is_headless = true;
        for id in segment_ids(&path)? {
            let file = File::open(path.join(id.file_name()))?;
            let end = file.metadata()?.len();
            // Made ahead and never used.
            if end == 0 {
                continue;
            }
            is_headless &= id > SegmentId::FIRST;
            match scan::first_number(&file, instance, id, end)? {
                Err(HeaderFault::Newer(version)) => return Ok(Found::Newer(version)),
                Ok(first) if begin.is_none() && is_headless => {
                    begin = Some(Cursor { segment: id, offset: 0, number: first.saturating_sub(1) });
                }
                Ok(_) | Err(HeaderFault::Damaged) => {}
            }
            segments.push_back(Arc::new(Segment::new(id, end)));
        }
        let mut bytes = [0; SLOTS];
        let read = scan::Medium::read(&cursor_file, 0, &mut bytes)?;
        let mut slots = Slots::decode(bytes.get(..read).unwrap_or_default(), instance);
        if slots.cursor.is_none() {
            slots.cursor = begin;
        }
        Ok(Found::Orphan(Self::new(Place { instance, path, cursor_file, room }, slots, segments, Whose::Orphan)))
    }

    fn new(place: Place<'_>, slots: Slots, segments: VecDeque<Arc<Segment>>, whose: Whose) -> Self {
        let Place { instance, path, cursor_file, room } = place;
        let cursor = slots.cursor.unwrap_or_default();
        room.take(segments.iter().map(|segment| segment.end.load(Ordering::Acquire)).sum());
        Self {
            instance,
            path,
            is_orphan: whose == Whose::Orphan,
            cursor_file,
            room: Arc::clone(room),
            segments: Mutex::new(segments),
            live: AtomicBool::new(whose == Whose::Ours),
            taken: AtomicU64::new(slots.taken.max(cursor.number)),
            written: AtomicU64::new(cursor.number),
            changed: Notify::new(),
            tidied: Mutex::new(Tidied { cursor, taken: slots.taken, removed: false }),
        }
    }

    pub fn is_live(&self) -> bool {
        self.live.load(Ordering::Acquire)
    }

    /// Nothing will be appended any more.
    pub fn end(&self) {
        self.live.store(false, Ordering::Release);
        self.changed.notify_one();
    }

    pub fn file(&self, id: SegmentId) -> PathBuf {
        self.path.join(id.file_name())
    }

    /// A segment that is there ahead of the first entry in it. Survives a power cut once this is back.
    pub fn make_segment(&self, id: SegmentId) -> io::Result<File> {
        let tidied = locked(&self.tidied);
        if tidied.removed {
            return Err(io::ErrorKind::NotFound.into());
        }
        let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(self.file(id))?;
        sync_directory(&self.path)?;
        Ok(file)
    }

    pub fn push(&self, segment: Arc<Segment>) {
        locked(&self.segments).push_back(segment);
    }

    pub fn cursor(&self) -> Cursor {
        locked(&self.tidied).cursor
    }

    pub fn bytes(&self) -> u64 {
        locked(&self.segments).iter().map(|segment| segment.end.load(Ordering::Acquire)).sum()
    }

    /// The segment `id`, or, if it is not there, the next one that is.
    pub fn extent(&self, id: SegmentId) -> Option<Extent> {
        let segments = locked(&self.segments);
        let at = segments.partition_point(|segment| segment.id < id);
        let segment = Arc::clone(segments.get(at)?);
        let is_last = at + 1 == segments.len();
        // Asked before the end is: what is complete has its last end.
        let complete = !is_last || !self.is_live();
        let end = segment.end.load(Ordering::Acquire);
        Some(Extent { segment, end, complete })
    }

    /// Is there anything a reader at this place has not seen?
    pub fn has_more(&self, at: Cursor) -> bool {
        let is_behind = self.extent(at.segment).is_some_and(|extent| extent.segment.id > at.segment || at.offset < extent.end);
        is_behind || self.follows(at.segment) || self.taken.load(Ordering::Acquire) > at.number
    }

    /// Is there a segment behind this one?
    fn follows(&self, id: SegmentId) -> bool {
        locked(&self.segments).back().is_some_and(|last| last.id > id)
    }

    /// Keeps how far it has been written to the database, and frees what lies before that. Late or early, once or twice is all the same.
    pub fn tidy(&self, cursor: Cursor) -> io::Result<()> {
        let mut tidied = locked(&self.tidied);
        let taken = self.taken.load(Ordering::Acquire);
        if tidied.removed {
            return Ok(());
        }
        let cursor = cursor.max(tidied.cursor);
        if cursor > tidied.cursor || taken > tidied.taken {
            let slots = Slots { cursor: Some(cursor), taken };
            if let Err(error) = self.cursor_file.write_all_at(&slots.encode(self.instance), 0) {
                // One that is behind what is freed would name losses that are none. Without any it is read again from the start.
                self.cursor_file.set_len(0)?;
                tracing::warn!(%error, "{} cannot be written", self.path.join(CURSOR_FILE).display());
            }
            (tidied.cursor, tidied.taken) = (cursor, taken);
        }
        self.free_before(cursor.segment)
    }

    fn free_before(&self, id: SegmentId) -> io::Result<()> {
        let mut is_kept = false;
        loop {
            let Some(segment) = locked(&self.segments).front().filter(|segment| segment.id < id).cloned() else { return Ok(()) };
            if !is_kept {
                self.cursor_file.sync_data()?;
                is_kept = true;
            }
            let is_damaged = segment.damaged.load(Ordering::Acquire);
            if !(is_damaged && self.set_aside(segment.id)?) {
                remove(&self.file(segment.id))?;
            }
            locked(&self.segments).pop_front();
            self.room.give_back(segment.end.load(Ordering::Acquire));
        }
    }

    /// Whether there was room for it.
    fn set_aside(&self, id: SegmentId) -> io::Result<bool> {
        let Some(journals) = self.path.parent() else { return Ok(false) };
        let aside = journals.join(DAMAGED);
        DirBuilder::new().recursive(true).mode(0o700).create(&aside)?;
        if fs::read_dir(&aside)?.take(DAMAGED_KEPT).count() >= DAMAGED_KEPT {
            return Ok(false);
        }
        let to = aside.join(format!("{}-{}", self.instance, id.file_name()));
        match fs::rename(self.file(id), &to) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(true),
            moved => moved?,
        }
        tracing::warn!("{} is damaged; what can be read of it is taken over, and it is kept as {}", self.file(id).display(), to.display());
        Ok(true)
    }

    /// Removes the directory of an instance that has nothing left to give.
    pub fn remove(&self) -> io::Result<()> {
        self.tidy(self.cursor())?;
        let mut tidied = locked(&self.tidied);
        if tidied.removed {
            return Ok(());
        }
        self.free_before(SegmentId(u64::MAX))?;
        // Made ahead and never used.
        for id in segment_ids(&self.path)? {
            remove(&self.file(id))?;
        }
        remove(&self.path.join(CURSOR_FILE))?;
        tidied.removed = true;
        fs::remove_dir(&self.path)
    }
}

/// What is let go of without being removed is nobody's again.
impl Drop for Home {
    fn drop(&mut self) {
        self.room.give_back(self.bytes());
    }
}

/// Locks it, and makes sure that it is still the file of that name: a dead instance's directory is removed by whoever has its lock.
fn is_locked(file: &File, directory: &Path) -> io::Result<bool> {
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Ok(false),
        Err(TryLockError::Error(error)) => return Err(error),
    }
    let ours = file.metadata()?;
    match fs::metadata(directory.join(CURSOR_FILE)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        there => there.map(|there| (there.ino(), there.dev()) == (ours.ino(), ours.dev())),
    }
}

fn segment_ids(path: &Path) -> io::Result<Vec<SegmentId>> {
    let mut ids = Vec::new();
    for name in fs::read_dir(path)?.take(NAMES) {
        ids.extend(name?.file_name().to_str().and_then(SegmentId::of_file));
    }
    ids.sort_unstable();
    Ok(ids)
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// What was made in it, or renamed, is there after a power cut too.
pub(super) fn sync_directory(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}
