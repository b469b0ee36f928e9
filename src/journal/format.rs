//! Bytes of a segment: its header, and the header of each entry. `docs/journal.md` describes them for people; this is the one place that
//! writes and reads them.
//!
//! Integers are little-endian, checks are CRC-32: against accidents, not against whoever can write these files. An entry's check also covers its
//! instance, its segment and its offset there, so that bytes which merely look like an entry (an old file's, or those a caller sent in the hope of being
//! found when a disk decays) are none.

use crc32fast::Hasher;
use uuid::Uuid;

use crate::clock::Timestamp;

/// Room for any record, and far below what would stall a call or a reader.
pub const PAYLOAD_LIMIT: usize = 1 << 20;

pub(super) const MAGIC: [u8; 8] = *b"GKJOURNL";
pub(super) const VERSION: u32 = 1;
/// `magic 8 | version 4 | instance 16 | segment 8 | first number 8 | check 4`
pub(super) const SEGMENT_HEADER: usize = 48;
/// `payload length 4 | number 8 | time 8 | class 1 | payload's check 4 | check 4`
pub(super) const ENTRY_HEADER: usize = 29;

/// A segment's place among those of its instance, from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SegmentId(pub u64);

impl SegmentId {
    pub(super) const FIRST: Self = Self(1);

    pub(super) fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }

    /// Names sort as numbers do.
    pub(super) fn file_name(self) -> String {
        format!("{:020}.segment", self.0)
    }

    pub(super) fn of_file(name: &str) -> Option<Self> {
        let digits = name.strip_suffix(".segment")?;
        (digits.len() == 20 && digits.bytes().all(|byte| byte.is_ascii_digit())).then_some(())?;
        digits.parse().ok().map(Self)
    }
}

/// Whose entry it is, in the one respect that the journal cares about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    Ordinary,
    /// Of a caller nobody knows, or nobody wants to hear now: it never gets the last of the room.
    Stranger,
}

impl Class {
    const fn to_byte(self) -> u8 {
        match self {
            Self::Ordinary => 0,
            Self::Stranger => 1,
        }
    }

    const fn of_byte(byte: u8) -> Option<Self> {
        match byte {
            0 => Some(Self::Ordinary),
            1 => Some(Self::Stranger),
            _ => None,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SegmentHeader {
    pub instance: Uuid,
    pub segment: SegmentId,
    pub first: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HeaderFault {
    Damaged,
    /// Written by a later program: not ours to read, and not ours to remove.
    Newer(u32),
}

impl SegmentHeader {
    pub fn encode(&self, into: &mut Vec<u8>) {
        let start = into.len();
        into.extend_from_slice(&MAGIC);
        into.extend_from_slice(&VERSION.to_le_bytes());
        into.extend_from_slice(self.instance.as_bytes());
        into.extend_from_slice(&self.segment.0.to_le_bytes());
        into.extend_from_slice(&self.first.to_le_bytes());
        let check = crc32fast::hash(into.get(start..).unwrap_or_default());
        into.extend_from_slice(&check.to_le_bytes());
    }

    /// Magic, version and check lie where they are in every version to come.
    pub fn decode(bytes: &[u8]) -> Result<Self, HeaderFault> {
        let (version, header) = Self::fields(bytes).ok_or(HeaderFault::Damaged)?;
        if version > VERSION { Err(HeaderFault::Newer(version)) } else { Ok(header) }
    }

    fn fields(bytes: &[u8]) -> Option<(u32, Self)> {
        let (checked, check) = bytes.get(..SEGMENT_HEADER)?.split_last_chunk::<4>()?;
        if crc32fast::hash(checked) != u32::from_le_bytes(*check) {
            return None;
        }
        let mut rest = checked.strip_prefix(&MAGIC)?;
        let version = u32::from_le_bytes(take(&mut rest)?);
        let instance = Uuid::from_bytes(take(&mut rest)?);
        let segment = SegmentId(u64::from_le_bytes(take(&mut rest)?));
        let first = u64::from_le_bytes(take(&mut rest)?);
        Some((version, Self { instance, segment, first }))
    }
}

/// What the check of every entry of a segment begins with.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seal(u32);

impl Seal {
    pub fn of(instance: Uuid, segment: SegmentId) -> Self {
        let mut hasher = Hasher::new();
        hasher.update(instance.as_bytes());
        hasher.update(&segment.0.to_le_bytes());
        hasher.update(&VERSION.to_le_bytes());
        Self(hasher.finalize())
    }

    fn check(self, offset: u64, header: &[u8]) -> u32 {
        let mut hasher = Hasher::new_with_initial(self.0);
        hasher.update(&offset.to_le_bytes());
        hasher.update(header);
        hasher.finalize()
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct EntryHeader {
    pub length: u32,
    pub number: u64,
    pub at: Timestamp,
    pub class: Class,
    pub payload_check: u32,
}

impl EntryHeader {
    pub fn encode(&self, seal: Seal, offset: u64, into: &mut Vec<u8>) {
        let start = into.len();
        into.extend_from_slice(&self.length.to_le_bytes());
        into.extend_from_slice(&self.number.to_le_bytes());
        into.extend_from_slice(&self.at.as_micros().to_le_bytes());
        into.push(self.class.to_byte());
        into.extend_from_slice(&self.payload_check.to_le_bytes());
        let check = seal.check(offset, into.get(start..).unwrap_or_default());
        into.extend_from_slice(&check.to_le_bytes());
    }

    /// `None`: no entry begins here, or none with a number from `least` on.
    pub fn decode(bytes: &[u8], seal: Seal, offset: u64, least: u64) -> Option<Self> {
        let (checked, check) = bytes.get(..ENTRY_HEADER)?.split_last_chunk::<4>()?;
        let mut rest = checked;
        let length = u32::from_le_bytes(take(&mut rest)?);
        let number = u64::from_le_bytes(take(&mut rest)?);
        let at = Timestamp::from_micros(i64::from_le_bytes(take(&mut rest)?));
        let [class] = take(&mut rest)?;
        let class = Class::of_byte(class)?;
        let payload_check = u32::from_le_bytes(take(&mut rest)?);
        // What is cheap to see comes before the check: it is asked at every byte of a damaged stretch.
        let is_possible = usize::try_from(length).is_ok_and(|length| length <= PAYLOAD_LIMIT) && number >= least;
        (is_possible && seal.check(offset, checked) == u32::from_le_bytes(*check)).then_some(Self {
            length,
            number,
            at,
            class,
            payload_check,
        })
    }
}

pub(super) fn take<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    let (taken, rest) = bytes.split_first_chunk::<N>()?;
    *bytes = rest;
    Some(*taken)
}

#[cfg(test)]
mod tests {
    use super::*;

    const INSTANCE: Uuid = Uuid::from_u128(7);

    fn header() -> SegmentHeader {
        SegmentHeader { instance: INSTANCE, segment: SegmentId(3), first: 41 }
    }

    #[test]
    fn a_segment_header_comes_back_and_no_flipped_bit_of_it_does() {
        let mut bytes = Vec::new();
        header().encode(&mut bytes);
        assert_eq!(bytes.len(), SEGMENT_HEADER);
        assert_eq!(SegmentHeader::decode(&bytes), Ok(header()));
        for bit in 0..bytes.len() * 8 {
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(SegmentHeader::decode(&bytes), Err(HeaderFault::Damaged), "bit {bit}");
            bytes[bit / 8] ^= 1 << (bit % 8);
        }
    }

    #[test]
    fn a_later_version_is_told_from_damage() {
        let mut bytes = Vec::new();
        header().encode(&mut bytes);
        bytes[8] = 2;
        let check = crc32fast::hash(&bytes[..44]).to_le_bytes();
        bytes[44..].copy_from_slice(&check);
        assert_eq!(SegmentHeader::decode(&bytes), Err(HeaderFault::Newer(2)));
    }

    #[test]
    fn an_entry_header_is_one_only_where_it_was_written() {
        let seal = Seal::of(INSTANCE, SegmentId(3));
        let header = EntryHeader {
            length: 5,
            number: 42,
            at: Timestamp::from_secs(1),
            class: Class::Stranger,
            payload_check: crc32fast::hash(b"hello"),
        };
        let mut bytes = Vec::new();
        header.encode(seal, 48, &mut bytes);
        assert_eq!(bytes.len(), ENTRY_HEADER);
        assert_eq!(EntryHeader::decode(&bytes, seal, 48, 1), Some(header));
        assert_eq!(EntryHeader::decode(&bytes, seal, 49, 1), None, "another offset");
        assert_eq!(EntryHeader::decode(&bytes, Seal::of(INSTANCE, SegmentId(4)), 48, 1), None, "another segment");
        assert_eq!(EntryHeader::decode(&bytes, Seal::of(Uuid::from_u128(8), SegmentId(3)), 48, 1), None, "another instance");
        assert_eq!(EntryHeader::decode(&bytes, seal, 48, 43), None, "a number that is past");
        for bit in 0..bytes.len() * 8 {
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(EntryHeader::decode(&bytes, seal, 48, 1), None, "bit {bit}");
            bytes[bit / 8] ^= 1 << (bit % 8);
        }
    }

    #[test]
    fn file_names_are_numbers_and_nothing_else() {
        let name = SegmentId(12).file_name();
        assert_eq!(name, "00000000000000000012.segment");
        assert_eq!(SegmentId::of_file(&name), Some(SegmentId(12)));
        for other in ["12.segment", "00000000000000000012", "cursor", "+0000000000000000012.segment", ".segment"] {
            assert_eq!(SegmentId::of_file(other), None, "{other}");
        }
    }
}
