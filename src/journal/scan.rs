//! Walks the bytes of one segment: every entry that checks, and every stretch that does not, in the order they lie. Knows no file names
//! and changes nothing, so the same code reads a live journal, a dead one, and whatever a fuzzer makes up.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use bytes::Bytes;
use uuid::Uuid;

use super::format::{Class, ENTRY_HEADER, EntryHeader, HeaderFault, PAYLOAD_LIMIT, SEGMENT_HEADER, Seal, SegmentHeader, SegmentId};
use crate::clock::Timestamp;

/// Read at once where more than one entry is wanted.
const WINDOW: usize = 256 * 1024;

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
        let mut read = vec![0; want.max(WINDOW).min(left)];
        let there = medium.read(offset, &mut read)?;
        read.truncate(there);
        *self = Self { offset, bytes: read.into() };
        Ok(self.bytes.slice(..want.min(there)))
    }
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
    pub fn new(medium: &'a M, instance: Uuid, segment: SegmentId, end: u64) -> Self {
        let seal = Seal::of(instance, segment);
        Self { medium, instance, segment, seal, end, offset: 0, least: 1, window: Window::default() }
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
            let header = self.window.get(self.medium, 0, SEGMENT_HEADER, self.end)?;
            self.offset = self.end.min(SEGMENT_HEADER as u64);
            if !self.is_ours(&header) {
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

    /// Passes over bytes that the disk does not give back.
    pub(super) fn pass_over(&mut self, bytes: u64) -> Found {
        let start = self.offset;
        self.offset = start.saturating_add(bytes).max(SEGMENT_HEADER as u64).min(self.end);
        Found::Damage { offset: start, bytes: self.offset - start, number: None }
    }

    fn is_ours(&self, header: &[u8]) -> bool {
        SegmentHeader::decode(header).is_ok_and(|header| header.instance == self.instance && header.segment == self.segment)
    }

    fn look(&mut self, offset: u64) -> io::Result<At> {
        let bytes = self.window.get(self.medium, offset, ENTRY_HEADER, self.end)?;
        let Some(EntryHeader { length, number, at, class, payload_check }) = EntryHeader::decode(&bytes, self.seal, offset, self.least)
        else {
            return Ok(At::Nothing);
        };
        let size = ENTRY_HEADER.saturating_add(usize::try_from(length).unwrap_or(PAYLOAD_LIMIT));
        let after = offset.saturating_add(size as u64);
        let whole = self.window.get(self.medium, offset, size, self.end)?;
        if whole.len() < size {
            return Ok(At::Hollow { number, after });
        }
        let payload = whole.slice(ENTRY_HEADER..);
        let is_sound = crc32fast::hash(&payload) == payload_check;
        Ok(if is_sound { At::Entry { entry: Entry { number, at, class, payload }, after } } else { At::Hollow { number, after } })
    }

    /// Where the next entry that checks begins, or the end.
    fn next_sound(&mut self, damaged: u64) -> io::Result<u64> {
        let mut offset = damaged + 1;
        // An entry's header must fit, and so must the file: one that was cut short under us has nothing more to give.
        while offset + ENTRY_HEADER as u64 <= self.end {
            let bytes = self.window.get(self.medium, offset, ENTRY_HEADER, self.end)?;
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
    let mut scan = Scan::new(medium, instance, segment, end);
    loop {
        match scan.step()? {
            Found::Entry(entry) => return Ok(Ok(entry.number)),
            Found::Damage { .. } => {}
            Found::End => return Ok(Err(HeaderFault::Damaged)),
        }
    }
}
