//! Walks the bytes of one segment: every entry that checks, and every stretch that does not, in the order they lie. Knows no file names
//! and changes nothing, so the same code reads a live journal, a dead one, and whatever a fuzzer makes up.

use std::fs::File;
use std::io;
use std::iter;
use std::os::unix::fs::FileExt;

use bytes::Bytes;
use uuid::Uuid;

use super::format::{Class, ENTRY_HEADER, EntryHeader, HeaderFault, PAYLOAD_LIMIT, SEGMENT_HEADER, Seal, SegmentHeader, SegmentId};
use crate::clock::Timestamp;

/// Read at once where more than one entry is wanted.
const WINDOW: usize = 256 * 1024;
/// What a disk gives back whole or not at all.
const BLOCK: usize = 4096;

/// What was appended, as it is found again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub number: u64,
    pub at: Timestamp,
    pub class: Class,
    pub payload: Bytes,
}

/// What comes next in a segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    Entry(Entry),
    /// Bytes that do not check, up to the next entry that does, or to the end.
    Damage {
        offset: u64,
        bytes: u64,
        /// The number of the entry that lay there, where its header still says so.
        number: Option<u64>,
    },
    End,
}

/// Where the bytes are.
pub trait Medium {
    /// Fewer bytes than asked for only at the end.
    fn read(&self, offset: u64, into: &mut [u8]) -> io::Result<usize>;
}

impl Medium for File {
    fn read(&self, offset: u64, mut into: &mut [u8]) -> io::Result<usize> {
        let mut read = 0;
        while !into.is_empty() {
            match self.read_at(into, offset.saturating_add(read as u64)) {
                Ok(0) => break,
                Ok(more) => {
                    read += more;
                    into = into.get_mut(more..).unwrap_or_default();
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(read)
    }
}

impl Medium for [u8] {
    fn read(&self, offset: u64, into: &mut [u8]) -> io::Result<usize> {
        let rest = usize::try_from(offset).ok().and_then(|offset| self.get(offset..)).unwrap_or_default();
        let copied = rest.iter().zip(into).map(|(from, to)| *to = *from).count();
        Ok(copied)
    }
}

/// Bytes read ahead, so that the entries of a batch, and those after it, cost one read together.
#[derive(Clone, Debug, Default)]
pub(super) struct Window {
    offset: u64,
    bytes: Bytes,
    /// Up to here something cannot be read, so nothing is read ahead.
    narrow_until: u64,
}

impl Window {
    /// The bytes at `offset`: as many as `want`, or as there are before `end`.
    fn get<M: Medium + ?Sized>(&mut self, medium: &M, offset: u64, want: usize, end: u64) -> io::Result<Bytes> {
        let left = usize::try_from(end.saturating_sub(offset)).unwrap_or(usize::MAX);
        let want = want.min(left);
        let skip = offset.checked_sub(self.offset).and_then(|skip| usize::try_from(skip).ok());
        let held = skip.filter(|skip| skip.saturating_add(want) <= self.bytes.len());
        if let Some(skip) = held {
            return Ok(self.bytes.slice(skip..skip + want));
        }
        let wide = want.max(WINDOW).min(left);
        if offset >= self.narrow_until {
            match Self::read(medium, offset, wide) {
                // What is read ahead must not cost what is wanted.
                Err(_) if want < wide => self.narrow_until = offset.saturating_add(wide as u64),
                read => self.bytes = read?,
            }
        }
        if offset < self.narrow_until {
            let blocks = offset.saturating_add(want as u64).next_multiple_of(BLOCK as u64) - offset;
            self.bytes = Self::read(medium, offset, usize::try_from(blocks).unwrap_or(want).min(left))?;
        }
        self.offset = offset;
        Ok(self.bytes.slice(..want.min(self.bytes.len())))
    }

    fn read<M: Medium + ?Sized>(medium: &M, offset: u64, length: usize) -> io::Result<Bytes> {
        let mut read = vec![0; length];
        let there = medium.read(offset, &mut read)?;
        read.truncate(there);
        Ok(read.into())
    }
}

/// What bytes are that the medium does not give back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unreadable {
    /// An error: they may be asked for again.
    Error,
    /// Damage, like bytes that do not check.
    Damage,
}

/// One segment, from an offset on.
pub struct Scan<'a, M: ?Sized> {
    medium: &'a M,
    instance: Uuid,
    segment: SegmentId,
    seal: Seal,
    end: u64,
    offset: u64,
    /// Numbers only grow.
    least: u64,
    window: Window,
    unreadable: Unreadable,
}

enum At {
    Entry {
        entry: Entry,
        after: u64,
    },
    /// The header checks, the payload does not.
    Hollow {
        number: u64,
        after: u64,
    },
    Nothing,
}

impl<'a, M: Medium + ?Sized> Scan<'a, M> {
    /// `end` is where the segment ends, as far as it may be read.
    pub fn new(medium: &'a M, instance: Uuid, segment: SegmentId, end: u64, unreadable: Unreadable) -> Self {
        let seal = Seal::of(instance, segment);
        Self { medium, instance, segment, seal, end, offset: 0, least: 1, window: Window::default(), unreadable }
    }

    /// Goes on where an earlier scan was, with what that one had read ahead.
    pub(super) fn resume(mut self, offset: u64, least: u64, window: Window) -> Self {
        (self.offset, self.least, self.window) = (offset, least, window);
        self
    }

    pub(super) fn into_window(self) -> Window {
        self.window
    }

    /// How far it is read.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Reads on. After an error the same is tried again.
    pub fn step(&mut self) -> io::Result<Found> {
        if self.offset >= self.end {
            return Ok(Found::End);
        }
        if self.offset == 0 {
            let header = self.bytes(0, SEGMENT_HEADER)?;
            self.offset = self.end.min(SEGMENT_HEADER as u64);
            if !header.is_some_and(|header| self.is_ours(&header)) {
                return Ok(Found::Damage { offset: 0, bytes: self.offset, number: None });
            }
            return self.step();
        }
        let start = self.offset;
        let (after, number) = match self.look(start)? {
            At::Entry { entry, after } => {
                self.offset = after;
                self.least = entry.number.saturating_add(1);
                return Ok(Found::Entry(entry));
            }
            At::Hollow { number, after } if after <= self.end => (after, Some(number)),
            At::Hollow { number, .. } => (self.next_sound(start)?, Some(number)),
            At::Nothing => (self.next_sound(start)?, None),
        };
        self.offset = after;
        Ok(Found::Damage { offset: start, bytes: after - start, number })
    }

    /// As many bytes as wanted, or as there are; none where they cannot be read and that is damage.
    fn bytes(&mut self, offset: u64, want: usize) -> io::Result<Option<Bytes>> {
        match self.window.get(self.medium, offset, want, self.end) {
            Err(_) if self.unreadable == Unreadable::Damage => Ok(None),
            read => read.map(Some),
        }
    }

    /// The entries from here on, whatever lies between them; up to what cannot be read.
    pub(super) fn entries(mut self) -> impl Iterator<Item = Entry> {
        iter::from_fn(move || {
            loop {
                match self.step().ok()? {
                    Found::Entry(entry) => return Some(entry),
                    Found::Damage { .. } => {}
                    Found::End => return None,
                }
            }
        })
    }

    fn is_ours(&self, header: &[u8]) -> bool {
        SegmentHeader::decode(header).is_ok_and(|header| header.instance == self.instance && header.segment == self.segment)
    }

    fn look(&mut self, offset: u64) -> io::Result<At> {
        let header = self.bytes(offset, ENTRY_HEADER)?;
        let header = header.and_then(|bytes| EntryHeader::decode(&bytes, self.seal, offset, self.least));
        let Some(EntryHeader { length, number, at, class, payload_check }) = header else { return Ok(At::Nothing) };
        let size = ENTRY_HEADER.saturating_add(usize::try_from(length).unwrap_or(PAYLOAD_LIMIT));
        let after = offset.saturating_add(size as u64);
        let whole = self.bytes(offset, size)?.filter(|whole| whole.len() == size);
        let Some(whole) = whole else { return Ok(At::Hollow { number, after }) };
        let payload = whole.slice(ENTRY_HEADER..);
        let is_sound = crc32fast::hash(&payload) == payload_check;
        Ok(if is_sound { At::Entry { entry: Entry { number, at, class, payload }, after } } else { At::Hollow { number, after } })
    }

    /// Where the next entry that checks begins, or the end.
    fn next_sound(&mut self, damaged: u64) -> io::Result<u64> {
        let mut offset = damaged + 1;
        // An entry's header must fit, and so must the file: one that was cut short under us has nothing more to give.
        while offset + ENTRY_HEADER as u64 <= self.end {
            let Some(bytes) = self.bytes(offset, ENTRY_HEADER)? else {
                offset = (offset + 1).next_multiple_of(BLOCK as u64);
                continue;
            };
            if bytes.len() < ENTRY_HEADER {
                break;
            }
            let is_header = EntryHeader::decode(&bytes, self.seal, offset, self.least).is_some();
            if is_header && matches!(self.look(offset)?, At::Entry { .. }) {
                return Ok(offset);
            }
            offset += 1;
        }
        Ok(self.end)
    }
}

/// Whether something can be read behind the first block that cannot.
pub(super) fn reads_on<M: Medium + ?Sized>(medium: &M, offset: u64, end: u64) -> bool {
    let is_readable = |at: u64| medium.read(at, &mut [0; BLOCK]).is_ok();
    let block = BLOCK as u64;
    let Some(bad) = (offset / block * block..end).step_by(BLOCK).find(|at| !is_readable(*at)) else { return false };
    // A disk that is dying takes its time for each: the next one is asked, and then always twice as far away.
    let further = iter::successors(Some(block), |step| step.checked_mul(2)).map(|step| bad.saturating_add(step));
    further.take_while(|at| *at < end).any(is_readable)
}

/// The number a segment begins with, and whether it is for us to read.
pub(super) fn first_number<M: Medium + ?Sized>(
    medium: &M,
    instance: Uuid,
    segment: SegmentId,
    end: u64,
) -> io::Result<Result<u64, HeaderFault>> {
    let mut bytes = [0; SEGMENT_HEADER];
    let read = medium.read(0, &mut bytes)?;
    match SegmentHeader::decode(bytes.get(..read).unwrap_or_default()) {
        Ok(header) if header.instance == instance && header.segment == segment => return Ok(Ok(header.first)),
        Err(HeaderFault::Newer(version)) => return Ok(Err(HeaderFault::Newer(version))),
        Ok(_) | Err(HeaderFault::Damaged) => {}
    }
    let first = Scan::new(medium, instance, segment, end, Unreadable::Error).entries().next();
    Ok(first.map(|entry| entry.number).ok_or(HeaderFault::Damaged))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of so many blocks, those that are named cannot be read.
    struct Disk<'a>(u64, &'a [u64]);

    impl Medium for Disk<'_> {
        fn read(&self, offset: u64, into: &mut [u8]) -> io::Result<usize> {
            let block = BLOCK as u64;
            let end = offset.saturating_add(into.len() as u64).min(self.0 * block);
            let is_bad = (offset / block..end.div_ceil(block)).any(|at| self.1.contains(&at));
            if is_bad { Err(io::Error::other("bad")) } else { Ok(usize::try_from(end - offset).unwrap()) }
        }
    }

    #[test]
    fn a_disk_works_that_gives_back_what_comes_later() {
        let reads_on = |disk: &Disk<'_>, offset: u64| super::reads_on(disk, offset, disk.0 * BLOCK as u64);
        assert!(reads_on(&Disk(20, &[3]), 0));
        assert!(reads_on(&Disk(20, &[3, 4, 5, 6]), 3 * BLOCK as u64 + 17), "also behind several that are bad");
        assert!(!reads_on(&Disk(20, &(3..20).collect::<Vec<_>>()), 0), "nothing comes later");
        assert!(!reads_on(&Disk(20, &[19]), 0), "nor behind the last");
        assert!(!reads_on(&Disk(20, &[3]), 4 * BLOCK as u64), "all of it can be read by now");
        let asked = std::cell::Cell::new(0);
        struct Dead<'a>(&'a std::cell::Cell<u32>);
        impl Medium for Dead<'_> {
            fn read(&self, _: u64, _: &mut [u8]) -> io::Result<usize> {
                self.0.set(self.0.get() + 1);
                Err(io::Error::other("dead"))
            }
        }
        assert!(!super::reads_on(&Dead(&asked), 0, 1 << 24));
        assert!(asked.get() < 20, "{} reads of a disk that is dead", asked.get());
    }
}
