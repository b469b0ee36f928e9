//! The directory of one instance: whose it is (a lock), what lies in it (segments), and how far it has been taken over (the cursor).

use std::collections::VecDeque;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use tokio::sync::Notify;
use uuid::Uuid;

use super::cursor::{Cursor, Given, Noted};
use super::format::SegmentId;
use super::room::Room;
use super::{files, locked};
use crate::clock::Timestamp;

/// It is locked by the process whose journal this is, and says how far it has been read.
pub(super) const CURSOR_FILE: &str = "cursor";
/// Where segments go in which something was lost.
const DAMAGED: &str = "damaged";

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
    /// The highest of those given to a loss.
    pub shed: AtomicU64,
    /// The highest number that is accounted for.
    pub written: AtomicU64,
    /// Of a process that ended: when the first entry that waits was appended, or a little earlier, in microseconds.
    oldest: AtomicI64,
    /// There is something new to read.
    pub changed: Notify,
    tidied: Mutex<Tidied>,
}

#[derive(Debug, Default)]
struct Tidied {
    cursor: Cursor,
    given: Given,
    removed: bool,
}

pub(super) struct Place<'a> {
    pub instance: Uuid,
    pub path: PathBuf,
    /// Locked.
    pub cursor_file: File,
    pub room: &'a Arc<Room>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Whose {
    Ours,
    Orphan,
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
        if !files::lock(&cursor_file, &path.join(CURSOR_FILE))? {
            return Ok(None);
        }
        let home = Self::new(Place { instance, path, cursor_file, room }, Noted::default(), VecDeque::new(), Whose::Ours);
        // All the room it will ever need is taken now.
        home.cursor_file.write_all_at(&Noted::default().encode(instance), 0)?;
        home.cursor_file.sync_all()?;
        files::sync_directory(journals)?;
        Ok(Some(home))
    }

    pub fn new(place: Place<'_>, noted: Noted, segments: VecDeque<Arc<Segment>>, whose: Whose) -> Self {
        let Place { instance, path, cursor_file, room } = place;
        let cursor = noted.cursor.unwrap_or_default();
        room.take(segments.iter().map(|segment| segment.end.load(Ordering::Acquire)).sum());
        Self {
            instance,
            path,
            is_orphan: whose == Whose::Orphan,
            cursor_file,
            room: Arc::clone(room),
            segments: Mutex::new(segments),
            live: AtomicBool::new(whose == Whose::Ours),
            taken: AtomicU64::new(noted.given.taken.max(cursor.number)),
            shed: AtomicU64::new(noted.given.shed),
            written: AtomicU64::new(cursor.number),
            oldest: AtomicI64::new(0),
            changed: Notify::new(),
            tidied: Mutex::new(Tidied { cursor, given: noted.given, removed: false }),
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
        files::sync_directory(&self.path)?;
        Ok(file)
    }

    pub fn push(&self, segment: Arc<Segment>) {
        locked(&self.segments).push_back(segment);
    }

    pub fn cursor(&self) -> Cursor {
        locked(&self.tidied).cursor
    }

    /// How many numbers are not written to the database yet.
    pub fn waiting(&self) -> u64 {
        // In this order: what is written was given away before.
        let written = self.written.load(Ordering::Acquire);
        self.taken.load(Ordering::Acquire).saturating_sub(written)
    }

    pub fn oldest(&self) -> Timestamp {
        Timestamp::from_micros(self.oldest.load(Ordering::Acquire))
    }

    pub fn set_oldest(&self, at: Timestamp) {
        self.oldest.store(at.as_micros(), Ordering::Release);
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

    /// The segments from a place on, each with where its part of that begins.
    pub fn unread(&self, from: Cursor) -> Vec<(Arc<Segment>, Cursor)> {
        let segments = locked(&self.segments);
        let unread = segments.iter().filter(|segment| segment.id >= from.segment);
        let start = |segment: &Segment| if segment.id == from.segment { from.offset } else { 0 };
        unread.map(|segment| (Arc::clone(segment), Cursor { segment: segment.id, offset: start(segment), ..from })).collect()
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
        if tidied.removed {
            return Ok(());
        }
        let given = Given { taken: self.taken.load(Ordering::Acquire), shed: self.shed.load(Ordering::Acquire) };
        let cursor = cursor.max(tidied.cursor);
        if cursor > tidied.cursor || given != tidied.given {
            let noted = Noted { cursor: Some(cursor), given };
            if let Err(error) = self.cursor_file.write_all_at(&noted.encode(self.instance), 0) {
                // One that is behind what is freed would name losses that are none. Without any it is read again from the start.
                self.cursor_file.set_len(0)?;
                tracing::warn!(%error, "{} cannot be written", self.path.join(CURSOR_FILE).display());
            }
            (tidied.cursor, tidied.given) = (cursor, given);
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
            let file = self.file(segment.id);
            if !(segment.damaged.load(Ordering::Acquire) && self.set_aside(&file, segment.id)?) {
                files::remove(&file)?;
            }
            locked(&self.segments).pop_front();
            self.room.give_back(segment.end.load(Ordering::Acquire));
        }
    }

    fn set_aside(&self, file: &Path, id: SegmentId) -> io::Result<bool> {
        let Some(journals) = self.path.parent() else { return Ok(false) };
        let aside = journals.join(DAMAGED);
        let name = format!("{}-{}", self.instance, id.file_name());
        let is_kept = files::set_aside(file, &aside, &name)?;
        if is_kept {
            tracing::warn!(
                "{} is damaged; what can be read of it is taken over, and it is kept as {name} in {}",
                file.display(),
                aside.display()
            );
        }
        Ok(is_kept)
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
        for id in files::segments(&self.path)? {
            files::remove(&self.file(id))?;
        }
        files::remove(&self.path.join(CURSOR_FILE))?;
        tidied.removed = true;
        // Without the file that is locked it is nobody's: another process may have seen that, and removed or taken it.
        match fs::remove_dir(&self.path) {
            Err(error) if !matches!(error.kind(), ErrorKind::NotFound | ErrorKind::DirectoryNotEmpty) => Err(error),
            _ => Ok(()),
        }
    }
}

/// What is let go of without being removed is nobody's again.
impl Drop for Home {
    fn drop(&mut self) {
        self.room.give_back(self.bytes());
    }
}
