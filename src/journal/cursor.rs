//! How far an instance's journal is accounted for, as it stands in its `cursor` file.
//!
//! The file is written in place: that needs no room on a disk that is full, which is when it matters most that something is freed. One that
//! does not check is as good as none: the journal is then read from its first segment on, and the database knows rows it already has.

use crc32fast::Hasher;
use uuid::Uuid;

use super::format::{SegmentId, take};

/// All of the file: two halves, each a few numbers and their check.
pub(super) const FILE: usize = 128;
const HALF: usize = 64;

/// A place in an instance's journal: everything before it is in the database, or written down as lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Cursor {
    pub segment: SegmentId,
    pub offset: u64,
    /// The last number before it.
    pub number: u64,
}

impl Default for Cursor {
    fn default() -> Self {
        Self { segment: SegmentId::FIRST, offset: 0, number: 0 }
    }
}

/// What the file says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Noted {
    pub cursor: Option<Cursor>,
    /// What is known of numbers behind the cursor, should their entries not be found.
    pub given: Given,
}

/// The highest numbers given away.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Given {
    /// To anything.
    pub taken: u64,
    /// To what is not kept, and so leaves no bytes.
    pub shed: u64,
}

impl Noted {
    pub fn encode(self, instance: Uuid) -> Vec<u8> {
        let Cursor { segment, offset, number } = self.cursor.unwrap_or_default();
        let mut bytes = Vec::with_capacity(FILE);
        for value in [segment.0, offset, number] {
            bytes.extend_from_slice(&value.to_le_bytes());
        }
        bytes.extend_from_slice(&check(instance, &bytes).to_le_bytes());
        bytes.resize(HALF, 0);
        for value in [self.given.taken, self.given.shed] {
            bytes.extend_from_slice(&value.to_le_bytes());
        }
        let given = bytes.get(HALF..).unwrap_or_default();
        bytes.extend_from_slice(&check(instance, given).to_le_bytes());
        bytes.resize(FILE, 0);
        bytes
    }

    pub fn decode(bytes: &[u8], instance: Uuid) -> Self {
        let (first, second) = bytes.split_at_checked(HALF).unwrap_or((bytes, &[]));
        Self { cursor: cursor(first, instance), given: given(second, instance).unwrap_or_default() }
    }
}

fn cursor(mut bytes: &[u8], instance: Uuid) -> Option<Cursor> {
    let [segment, offset, number] = checked(&mut bytes, instance)?;
    Some(Cursor { segment: SegmentId(segment), offset, number })
}

fn given(mut bytes: &[u8], instance: Uuid) -> Option<Given> {
    let [taken, shed] = checked(&mut bytes, instance)?;
    Some(Given { taken, shed })
}

/// So many numbers and their check.
fn checked<const N: usize>(bytes: &mut &[u8], instance: Uuid) -> Option<[u64; N]> {
    let start = *bytes;
    let mut values = [0; N];
    for value in &mut values {
        *value = u64::from_le_bytes(take(bytes)?);
    }
    let is_sound = check(instance, start.get(..N * 8)?) == u32::from_le_bytes(take(bytes)?);
    is_sound.then_some(values)
}

fn check(instance: Uuid, bytes: &[u8]) -> u32 {
    let mut hasher = Hasher::new();
    hasher.update(instance.as_bytes());
    hasher.update(bytes);
    hasher.finalize()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_comes_back_and_what_is_damaged_is_as_good_as_none() {
        let instance = Uuid::from_u128(7);
        let noted =
            Noted { cursor: Some(Cursor { segment: SegmentId(3), offset: 4711, number: 99 }), given: Given { taken: 120, shed: 118 } };
        let mut bytes = noted.encode(instance);
        assert_eq!(bytes.len(), FILE);
        assert_eq!(Noted::decode(&bytes, instance), noted);
        assert_eq!(Noted::decode(&bytes, Uuid::from_u128(8)), Noted::default());
        for cut in 0..28 {
            assert_eq!(Noted::decode(&bytes[..cut], instance), Noted::default());
        }
        bytes[9] ^= 1;
        assert_eq!(Noted::decode(&bytes, instance), Noted { cursor: None, ..noted });
        bytes[9] ^= 1;
        bytes[64] ^= 1;
        assert_eq!(Noted::decode(&bytes, instance), Noted { given: Given::default(), ..noted });
    }
}
