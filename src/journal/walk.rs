//! A reader's way through an instance's segments: entries as they come, and for each number that does not come, why.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::sync::atomic::Ordering;

use super::cursor::Cursor;
use super::format::SegmentId;
use super::home::{Extent, Home};
use super::reader::{Batch, Lost, Spot, Why};
use super::scan::{self, Found, Scan, Unreadable, Window};

#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    pub entries: usize,
    pub bytes: usize,
}

#[derive(Clone, Debug)]
pub(super) struct Walk {
    pub cursor: Cursor,
    /// Where the damage began that lies between the last entry and here.
    damage: Option<Spot>,
    /// The highest number that can be seen to lie in it.
    seen: u64,
    window: Window,
}

enum Stop {
    /// The batch is as large as it may be.
    Full,
    /// The segment has no more.
    Drained,
}

impl Walk {
    pub fn from(cursor: Cursor) -> Self {
        Self { cursor, damage: None, seen: 0, window: Window::default() }
    }

    /// Reads on, on a thread that may wait for the disk, up to what cannot be read. An error if that comes first: nothing is changed then.
    pub fn gather(&mut self, home: &Home, bounds: Bounds, unreadable: Unreadable) -> io::Result<Batch> {
        let mut batch = Batch::at(self.cursor);
        let mut bytes = 0;
        loop {
            // Before the extent: what has a number by now can be read.
            let taken = home.taken.load(Ordering::Acquire);
            let Some(extent) = home.extent(self.cursor.segment) else {
                self.end(home, taken, &mut batch);
                break;
            };
            if extent.segment.id > self.cursor.segment {
                self.miss(home, extent.segment.id);
                continue;
            }
            match self.read(home, &extent, bounds, &mut bytes, unreadable, &mut batch) {
                Ok(Stop::Drained) => {}
                Ok(Stop::Full) => {
                    batch.is_full = true;
                    break;
                }
                Err(_) if self.cursor > batch.from => break,
                Err(error) => return Err(error),
            }
            match self.next_segment(home, &extent) {
                Some(next) => self.go_to(next),
                None => {
                    self.end(home, taken, &mut batch);
                    break;
                }
            }
        }
        batch.to = self.cursor;
        Ok(batch)
    }

    /// Whether what cannot be read here is all that is wrong: the disk gives back what comes after it.
    pub fn is_disk_well(&self, home: &Home) -> bool {
        let Some(extent) = home.extent(self.cursor.segment) else { return false };
        File::open(home.file(extent.segment.id)).is_ok_and(|file| scan::reads_on(&file, self.cursor.offset, extent.end))
    }

    fn next_segment(&self, home: &Home, extent: &Extent) -> Option<SegmentId> {
        let next = extent.segment.id.next();
        // A later one is a gap in the files, which is found when this is left.
        (extent.complete && home.extent(next).is_some()).then_some(next)
    }

    fn go_to(&mut self, segment: SegmentId) {
        self.cursor = Cursor { segment, offset: 0, ..self.cursor };
        self.window = Window::default();
    }

    /// A whole file is gone.
    fn miss(&mut self, home: &Home, there: SegmentId) {
        let file = home.file(self.cursor.segment);
        tracing::error!("{} is not there any more", file.display());
        self.damage.get_or_insert(Spot { file, offset: self.cursor.offset });
        self.go_to(there);
    }

    fn read(
        &mut self,
        home: &Home,
        extent: &Extent,
        bounds: Bounds,
        bytes: &mut usize,
        unreadable: Unreadable,
        batch: &mut Batch,
    ) -> io::Result<Stop> {
        if self.cursor.offset >= extent.end {
            return Ok(Stop::Drained);
        }
        let path = home.file(extent.segment.id);
        let file = match File::open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.blame(home, extent, self.cursor.offset..extent.end, None);
                return Ok(Stop::Drained);
            }
            opened => opened?,
        };
        let window = std::mem::take(&mut self.window);
        let least = self.cursor.number.saturating_add(1);
        let scan = Scan::new(&file, home.instance, extent.segment.id, extent.end, unreadable);
        let mut scan = scan.resume(self.cursor.offset, least, window);
        loop {
            match scan.step()? {
                Found::End => return Ok(Stop::Drained),
                Found::Entry(entry) => {
                    self.account(home, entry.number.saturating_sub(1), Why::Damaged, batch);
                    let together = bytes.saturating_add(entry.payload.len());
                    if !batch.entries.is_empty() && (batch.entries.len() >= bounds.entries || together > bounds.bytes) {
                        // Read again from the window, with the next batch.
                        self.window = scan.into_window();
                        return Ok(Stop::Full);
                    }
                    *bytes = together;
                    self.cursor = Cursor { offset: scan.offset(), number: entry.number, ..self.cursor };
                    batch.entries.push(entry);
                }
                Found::Damage { offset, number, .. } => self.blame(home, extent, offset..scan.offset(), number),
            }
        }
    }

    /// Bytes that do not check. What that cost, the next number tells.
    fn blame(&mut self, home: &Home, extent: &Extent, bytes: Range<u64>, number: Option<u64>) {
        let file = home.file(extent.segment.id);
        let Range { start: offset, end } = bytes;
        // How a process ends that is killed while it writes.
        let is_torn = home.is_orphan && end >= extent.end && home.extent(extent.segment.id.next()).is_none();
        if !is_torn {
            tracing::warn!(offset, bytes = end.saturating_sub(offset), "{} is damaged", file.display());
            extent.segment.damaged.store(true, Ordering::Release);
        }
        self.damage.get_or_insert(Spot { file, offset });
        self.seen = self.seen.max(number.unwrap_or(0));
        self.cursor.offset = end;
    }

    /// Every number up to `through` is accounted for: those that did not come are lost.
    fn account(&mut self, home: &Home, through: u64, because: fn(Spot) -> Why, batch: &mut Batch) {
        let damage = self.damage.take();
        self.seen = 0;
        let first = self.cursor.number.saturating_add(1);
        if through < first {
            return;
        }
        if let Some(Spot { file, offset }) = &damage {
            tracing::error!(instance = %home.instance, first, last = through, offset, "entries are lost: {} is damaged", file.display());
        }
        let why = damage.map_or(Why::Shed, because);
        batch.lost.push(Lost { instance: home.instance, first, last: through, why });
        self.cursor.number = through;
    }

    /// Nothing is left to read for now, or for ever.
    fn end(&mut self, home: &Home, taken: u64, batch: &mut Batch) {
        let mut through = taken;
        if home.is_orphan {
            if self.damage.is_none() {
                self.account(home, home.shed.load(Ordering::Acquire), Why::Torn, batch);
            } else {
                // How many entries lay there, nobody knows any more: one at least.
                through = through.max(self.seen).max(self.cursor.number.saturating_add(1));
            }
            if through > self.cursor.number {
                let Cursor { segment, offset, .. } = self.cursor;
                self.damage.get_or_insert_with(|| Spot { file: home.file(segment), offset });
            }
        }
        if through > self.cursor.number {
            self.account(home, through, Why::Torn, batch);
        }
    }
}
