//! A row as the bytes that its hash is over. No two rows have the same bytes: every field is told with its length.

use super::SealedRow;

/// No other use of the key begins like this.
const DOMAIN: &[u8] = b"eliza-gatekeeper audit row 1";

/// Everything of a row but its own hash, in pieces.
pub(super) fn feed(row: &SealedRow, mut sink: impl FnMut(&[u8])) {
    let SealedRow { instance, n, at, kind, id, content, key, prev, hash: _ } = row;
    let (n, at) = (n.to_be_bytes(), at.as_micros().to_be_bytes());
    let fields: [&[u8]; 9] =
        [DOMAIN, instance.as_bytes(), &n, &at, kind.as_bytes(), id.as_bytes(), content.as_bytes(), key.as_bytes(), prev.as_bytes()];
    for field in fields {
        sink(&(field.len() as u64).to_be_bytes());
        sink(field);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use uuid::Uuid;

    use super::*;
    use crate::clock::Timestamp;
    use crate::seal::RowHash;

    fn bytes(row: &SealedRow) -> Vec<u8> {
        let mut bytes = Vec::new();
        feed(row, |piece| bytes.extend_from_slice(piece));
        bytes
    }

    /// The row that these bytes are of: that there is such a function is what makes them tell all rows apart.
    fn row(bytes: &[u8]) -> SealedRow {
        let mut rest = bytes;
        let mut next = || {
            let (length, behind) = rest.split_at(8);
            let (field, behind) = behind.split_at(usize::from_be_bytes(length.try_into().unwrap()));
            rest = behind;
            field
        };
        assert_eq!(next(), DOMAIN);
        let row = SealedRow {
            instance: Uuid::from_slice(next()).unwrap(),
            n: u64::from_be_bytes(next().try_into().unwrap()),
            at: Timestamp::from_micros(i64::from_be_bytes(next().try_into().unwrap())),
            kind: String::from_utf8(next().to_vec()).unwrap(),
            id: Uuid::from_slice(next()).unwrap(),
            content: String::from_utf8(next().to_vec()).unwrap(),
            key: String::from_utf8(next().to_vec()).unwrap(),
            prev: RowHash::from_bytes(next()).unwrap(),
            hash: RowHash::NONE,
        };
        assert!(rest.is_empty());
        row
    }

    prop_compose! {
        fn any_row()(
            instance: u128, n: u64, at: i64, kind in ".{0,8}", id: u128, content in "(\\PC|[\0-\u{1f}]){0,60}", key in ".{0,8}", prev: [u8; 32],
        ) -> SealedRow {
            SealedRow {
                instance: Uuid::from_u128(instance), n, at: Timestamp::from_micros(at), kind, id: Uuid::from_u128(id), content, key,
                prev: RowHash(prev), hash: RowHash::NONE,
            }
        }
    }

    proptest! {
        #[test]
        fn a_row_can_be_told_from_its_bytes(given in any_row()) {
            prop_assert_eq!(row(&bytes(&given)), given);
        }

        #[test]
        fn what_moves_from_one_field_to_the_next_changes_the_bytes(mut given in any_row(), at in 0_usize..8) {
            let before = bytes(&given);
            let whole: Vec<char> = given.kind.chars().collect();
            let (stays, moves) = whole.split_at(at.min(whole.len()));
            prop_assume!(!moves.is_empty());
            given.content = moves.iter().collect::<String>() + &given.content;
            given.kind = stays.iter().collect();
            prop_assert_ne!(bytes(&given), before);
        }
    }
}
