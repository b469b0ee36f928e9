//! The end that is written to.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::mem;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::format::{Class, ENTRY_HEADER, EntryHeader, PAYLOAD_LIMIT, SEGMENT_HEADER, Seal, SegmentHeader, SegmentId};
use super::home::{Home, Segment};
use super::standing::Part;
use super::syncing::{Durable, Group, Syncing};
use super::{Refused, Shared, Ticket, locked};
use crate::clock::Timestamp;

/// Kept between appends; what a long entry needed beyond this is given back.
const BUFFER: usize = 64 * 1024;
/// How exact the age of what is waiting is, and how many such marks are kept.
const MARK_EVERY: Duration = Duration::from_secs(1);
const MARKS: usize = 4096;

#[derive(Debug)]
pub(super) struct Log {
    active: Active,
    /// Made ahead, so that no call waits for a file.
    next: Option<(SegmentId, File)>,
    /// The last number given away.
    number: u64,
    /// Writing failed last time.
    failing: bool,
    closed: bool,
    buffer: Vec<u8>,
    syncing: Syncing,
    /// Written since the last time that the disk had everything.
    dirty: bool,
    /// Complete segments of which the disk may not have everything.
    unsynced: Vec<Arc<File>>,
    /// Those who wait for the disk to have their entries.
    group: Group,
    /// Numbers, a while apart, with the time they were appended.
    marks: VecDeque<(u64, Timestamp)>,
}

#[derive(Debug)]
struct Active {
    segment: Arc<Segment>,
    seal: Seal,
    file: Arc<File>,
    /// Something went wrong with it, so it is left for the next one as soon as there is one.
    spoiled: bool,
}

/// What is to be synced: the files, and who waits for it.
pub(super) struct Unsynced {
    pub files: Vec<Arc<File>>,
    pub group: Group,
}

impl Active {
    fn new(home: &Home, id: SegmentId, file: File) -> Self {
        let segment = Arc::new(Segment::new(id, 0));
        home.push(Arc::clone(&segment));
        Self { segment, seal: Seal::of(home.instance, id), file: Arc::new(file), spoiled: false }
    }
}

/// Only the bookkeeping is behind the lock: checks are made and the outcome is told outside of it.
pub(super) fn append(shared: &Shared, class: Class, at: Timestamp, payload: &[u8]) -> Result<Ticket, Refused> {
    let length = u32::try_from(payload.len()).map_err(|_| Refused::TooLong)?;
    if payload.len() > PAYLOAD_LIMIT {
        return Err(Refused::TooLong);
    }
    let payload_check = crc32fast::hash(payload);
    let mut log = locked(&shared.log);
    let number = log.number.saturating_add(1);
    let was_failing = log.failing;
    let written = log.write(shared, EntryHeader { length, number, at, class, payload_check }, payload).map(|()| log.durable());
    drop(log);
    match written {
        Ok(durable) => {
            if was_failing {
                shared.troubles.clear(Part::Write);
            }
            shared.syncer.written();
            Ok(Ticket { number, durable })
        }
        Err(Failed::Refused(refused)) => Err(refused),
        Err(Failed::Disk(error)) => {
            shared.troubles.set(Part::Write, format!("an entry cannot be written to {}: {error}", shared.home.path.display()));
            Err(Refused::Trouble)
        }
    }
}

pub(super) fn lose(shared: &Shared, at: Timestamp) -> u64 {
    let mut log = locked(&shared.log);
    log.number = log.number.saturating_add(1);
    log.mark(shared, at);
    shared.home.shed.store(log.number, Ordering::Release);
    shared.home.taken.store(log.number, Ordering::Release);
    log.number
}

enum Failed {
    Refused(Refused),
    Disk(io::Error),
}

impl Log {
    pub fn begin(home: &Home, syncing: Syncing) -> io::Result<Self> {
        let file = home.make_segment(SegmentId::FIRST)?;
        Ok(Self {
            active: Active::new(home, SegmentId::FIRST, file),
            next: None,
            number: 0,
            failing: false,
            closed: false,
            buffer: Vec::new(),
            syncing,
            dirty: false,
            unsynced: Vec::new(),
            group: Group::new(),
            marks: VecDeque::new(),
        })
    }

    fn write(&mut self, shared: &Shared, header: EntryHeader, payload: &[u8]) -> Result<(), Failed> {
        if self.closed {
            return Err(Failed::Refused(Refused::Closed));
        }
        let size = (ENTRY_HEADER + payload.len()) as u64;
        self.make_way(shared, size);
        let start = self.active.segment.end.load(Ordering::Relaxed);
        self.buffer.clear();
        if start == 0 {
            let segment = self.active.segment.id;
            SegmentHeader { instance: shared.home.instance, segment, first: header.number }.encode(&mut self.buffer);
        }
        let size = size + self.buffer.len() as u64;
        if !shared.room.has(size, header.class) {
            return Err(Failed::Refused(Refused::Full));
        }
        header.encode(self.active.seal, start.max(SEGMENT_HEADER as u64), &mut self.buffer);
        self.buffer.extend_from_slice(payload);
        if let Err(error) = self.active.file.write_all_at(&self.buffer, start) {
            // What was written of it is in nobody's way: the next one goes over it, or, in another file, readers pass over it.
            let _cut = self.active.file.set_len(start);
            self.active.spoiled = start > 0;
            self.failing = true;
            return Err(Failed::Disk(error));
        }
        self.failing = false;
        self.buffer.shrink_to(BUFFER);
        self.active.segment.end.store(start + size, Ordering::Release);
        shared.room.take(size);
        self.dirty = true;
        self.number = header.number;
        self.mark(shared, header.at);
        shared.home.taken.store(header.number, Ordering::Release);
        Ok(())
    }

    /// Goes on to the next segment, if it is time. If that is not there yet, this one grows longer: a call never waits for it.
    fn make_way(&mut self, shared: &Shared, size: u64) {
        let end = self.active.segment.end.load(Ordering::Relaxed);
        let is_time = end > 0 && (self.active.spoiled || end.saturating_add(size) > shared.room.limits.segment());
        let Some((id, file)) = self.next.take_if(|_| is_time) else { return };
        let before = mem::replace(&mut self.active, Active::new(&shared.home, id, file));
        if self.dirty && self.syncing != Syncing::Os {
            self.unsynced.push(before.file);
        }
        shared.keeper.wake();
        // A reader that has read all there is can let go of it now.
        shared.home.changed.notify_one();
    }

    fn durable(&self) -> Durable {
        match self.syncing {
            Syncing::Always => self.group.member(),
            Syncing::Os | Syncing::Interval(_) => Durable::promised(),
        }
    }

    /// Notes when the last number was given away, if that is not known well enough by the one before.
    fn mark(&mut self, shared: &Shared, at: Timestamp) {
        let before = self.number.saturating_sub(1);
        let written = shared.home.written.load(Ordering::Acquire).min(before);
        let is_due = self.marks.back().is_none_or(|(_, last)| at.since(*last) >= MARK_EVERY);
        if written < before && !is_due {
            return;
        }
        if self.marks.len() >= MARKS {
            // After an hour without a database, a second more or less is not what matters.
            let mut is_kept = false;
            self.marks.retain(|_| {
                is_kept = !is_kept;
                is_kept
            });
        }
        self.marks.push_back((self.number, at));
        self.forget_marks(written);
    }

    /// Since when what comes after `written` waits, or a little earlier.
    pub fn oldest_after(&mut self, written: u64) -> Option<Timestamp> {
        self.forget_marks(written);
        if self.number > written { self.marks.front().map(|(_, at)| *at) } else { None }
    }

    fn forget_marks(&mut self, written: u64) {
        while self.marks.get(1).is_some_and(|(number, _)| *number <= written.saturating_add(1)) {
            self.marks.pop_front();
        }
    }

    /// Where the segment to be made ahead belongs, if one is wanted.
    pub fn wants(&self) -> Option<SegmentId> {
        (self.next.is_none() && !self.closed).then(|| self.active.segment.id.next())
    }

    pub fn put_ahead(&mut self, shared: &Shared, id: SegmentId, file: File) {
        if self.closed {
            return;
        }
        self.next = Some((id, file));
        self.make_way(shared, 0);
    }

    /// What the disk may not have yet. Whoever takes it sees to it.
    pub fn take_unsynced(&mut self) -> Option<Unsynced> {
        if !mem::take(&mut self.dirty) {
            return None;
        }
        let mut files = mem::take(&mut self.unsynced);
        files.push(Arc::clone(&self.active.file));
        Some(Unsynced { files, group: mem::replace(&mut self.group, Group::new()) })
    }

    /// The disk did not take what was written, and would not say so a second time: later entries go to another file.
    pub fn spoil(&mut self) {
        self.active.spoiled = true;
    }

    pub fn close(&mut self) {
        self.closed = true;
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::OwnedFd;

    use tempfile::TempDir;

    use super::super::{Journal, Limits, NotDurable};
    use super::*;
    use crate::clock::Clock;

    /// Can neither be written at a place nor synced, as if its disk had failed.
    fn broken() -> Arc<File> {
        let (_reader, writer) = std::io::pipe().unwrap();
        Arc::new(File::from(OwnedFd::from(writer)))
    }

    fn segment(journal: &Journal) -> u64 {
        locked(&journal.shared.log).active.segment.id.0
    }

    #[tokio::test]
    async fn a_file_that_cannot_be_written_is_left_for_the_next() {
        let directory = TempDir::new().unwrap();
        let (journal, mut reader) = Journal::open(directory.path(), Limits::default(), Syncing::Os, Clock::system()).unwrap();
        journal.append(Class::Ordinary, b"one").unwrap();
        locked(&journal.shared.log).active.file = broken();
        assert_eq!(journal.append(Class::Ordinary, b"refused").unwrap_err(), Refused::Trouble);
        assert!(journal.standing().trouble.unwrap().contains("an entry cannot be written"));
        assert!(!journal.has_room(Class::Ordinary, 0));
        // Refused for as long as there is no other file.
        let second = loop {
            match journal.append(Class::Ordinary, b"two") {
                Ok(ticket) => break ticket,
                Err(refused) => assert_eq!(refused, Refused::Trouble),
            }
            tokio::task::yield_now().await;
        };
        assert_eq!((second.number, segment(&journal), journal.standing().trouble), (2, 2, None));
        let batch = reader.next(10, 1000).await.unwrap();
        assert_eq!((batch.entries.iter().map(|entry| entry.number).collect::<Vec<_>>(), batch.lost), (vec![1, 2], vec![]));
    }

    #[tokio::test]
    async fn what_the_disk_does_not_take_is_not_called_durable_and_what_comes_after_is_elsewhere() {
        let directory = TempDir::new().unwrap();
        let (journal, mut reader) = Journal::open(directory.path(), Limits::default(), Syncing::Always, Clock::system()).unwrap();
        journal.append(Class::Ordinary, b"one").unwrap().durable.wait().await.unwrap();
        while locked(&journal.shared.log).next.is_none() {
            tokio::task::yield_now().await;
        }
        let (first, second) = {
            let mut log = locked(&journal.shared.log);
            log.unsynced.push(broken());
            log.dirty = true;
            (log.durable(), log.durable())
        };
        journal.shared.syncer.wake();
        assert_eq!((first.wait().await, second.wait().await), (Err(NotDurable), Err(NotDurable)));
        assert!(journal.standing().trouble.unwrap().contains("the disk does not take"));
        journal.append(Class::Ordinary, b"two").unwrap().durable.wait().await.unwrap();
        assert_eq!((segment(&journal), journal.standing().trouble), (2, None));
        let mut numbers = Vec::new();
        while numbers.len() < 2 {
            let batch = reader.next(10, 1000).await.unwrap();
            numbers.extend(batch.entries.iter().map(|entry| entry.number));
            reader.written(&batch);
        }
        assert_eq!(numbers, [1, 2]);
    }
}
