//! How far an instance's journal is accounted for, as it stands in its `cursor` file.
//!
//! The file is written in place: that needs no room on a disk that is full, which is when it matters most that something is freed. One that
//! does not check is as good as none: the journal is then read from its first segment on, and the database knows rows it already has.

use crc32fast::Hasher;
use uuid::Uuid;

use super::format::{SegmentId, take};

/// Both slots, with room between them.
pub(super) const SLOTS: usize = 128;
const SLOT: usize = 64;

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

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Slots {
    pub cursor: Option<Cursor>,
    /// The highest number that is known to be given away: after the last entry there may be losses, which leave no bytes.
    pub taken: u64,
}

impl Slots {
    pub fn encode(self, instance: Uuid) -> Vec<u8> {
        let Cursor { segment, offset, number } = self.cursor.unwrap_or_default();
        let mut bytes = Vec::with_capacity(SLOTS);
        for value in [segment.0, offset, number] {
            bytes.extend_from_slice(&value.to_le_bytes());
        }
        bytes.extend_from_slice(&check(instance, &bytes).to_le_bytes());
        bytes.resize(SLOT, 0);
        let taken = self.taken.to_le_bytes();
        bytes.extend_from_slice(&taken);
        bytes.extend_from_slice(&check(instance, &taken).to_le_bytes());
        bytes.resize(SLOTS, 0);
        bytes
    }

    pub fn decode(bytes: &[u8], instance: Uuid) -> Self {
        let (first, second) = bytes.split_at_checked(SLOT).unwrap_or((bytes, &[]));
        Self { cursor: cursor(first, instance), taken: taken(second, instance).unwrap_or(0) }
    }
}

fn cursor(mut bytes: &[u8], instance: Uuid) -> Option<Cursor> {
    let checked: [u8; 24] = take(&mut bytes)?;
    let is_sound = check(instance, &checked) == u32::from_le_bytes(take(&mut bytes)?);
    let mut rest = checked.as_slice();
    let mut value = || take(&mut rest).map(u64::from_le_bytes);
    let cursor = Cursor { segment: SegmentId(value()?), offset: value()?, number: value()? };
    is_sound.then_some(cursor)
}

fn taken(mut bytes: &[u8], instance: Uuid) -> Option<u64> {
    let checked: [u8; 8] = take(&mut bytes)?;
    let is_sound = check(instance, &checked) == u32::from_le_bytes(take(&mut bytes)?);
    is_sound.then_some(u64::from_le_bytes(checked))
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
        let slots = Slots { cursor: Some(Cursor { segment: SegmentId(3), offset: 4711, number: 99 }), taken: 120 };
        let mut bytes = slots.encode(instance);
        assert_eq!(bytes.len(), SLOTS);
        assert_eq!(Slots::decode(&bytes, instance), slots);
        assert_eq!(Slots::decode(&bytes, Uuid::from_u128(8)), Slots::default());
        for cut in 0..28 {
            assert_eq!(Slots::decode(&bytes[..cut], instance), Slots::default());
        }
        bytes[9] ^= 1;
        assert_eq!(Slots::decode(&bytes, instance), Slots { cursor: None, ..slots });
        bytes[9] ^= 1;
        bytes[64] ^= 1;
        assert_eq!(Slots::decode(&bytes, instance), Slots { taken: 0, ..slots });
    }
}
