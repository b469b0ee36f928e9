//! Proving chains: row by row, in the memory of one row, whatever somebody has made of them.

use std::fmt;

use uuid::Uuid;

use super::{AuditKeys, RowHash, SealedRow};

/// Where a row lies: chain by chain, number by number. Of several rows with one number each has its own `serial`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    pub instance: String,
    pub n: i64,
    pub serial: i64,
}

/// A row as it lies in the database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredRow {
    pub place: Place,
    /// What names it for people, if it can be read.
    pub id: Option<Uuid>,
    /// Nothing if what stands there is nothing that was ever written.
    pub row: Option<SealedRow>,
}

/// Something that is not as it was recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    pub instance: String,
    pub n: i64,
    /// Of the call, or of the entry.
    pub id: Option<Uuid>,
    pub wrong: Wrong,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wrong {
    /// Something in the row is not as it was sealed, or it was never sealed.
    Changed,
    /// There is no row of this number, nor of the next ones up to `last`.
    Missing { last: i64 },
    /// It was sealed, but behind another row than the one before it.
    Order,
    /// Sealed with a key that is not here, so nobody can tell.
    KeyUnknown { key: String },
    /// The chain was once longer; this is the last row that was published of it.
    Cut { last: Option<i64> },
    /// The chain has another row here than the one that was published.
    Replaced,
    /// The row of the call, or of the entry, says something else today.
    Log { table: &'static str },
    /// The entry is not in its table any more.
    Gone { table: &'static str },
    /// A call that must have been sealed with its record, and has no seal. `n` is the number of the record.
    Unsealed,
}

impl Wrong {
    /// In one word, for machines.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Changed => "changed",
            Self::Missing { .. } => "missing",
            Self::Order => "order",
            Self::KeyUnknown { .. } => "key_unknown",
            Self::Cut { .. } => "cut",
            Self::Replaced => "replaced",
            Self::Log { .. } => "log_changed",
            Self::Gone { .. } => "gone",
            Self::Unsealed => "unsealed",
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { instance, n, id, wrong } = self;
        let place = if *wrong == Wrong::Unsealed { "record" } else { "row" };
        write!(f, "chain {instance}, {place} {n}")?;
        if let Some(id) = id {
            write!(f, " ({id})")?;
        }
        match wrong {
            Wrong::Changed => write!(f, ": changed since it was sealed, or never sealed"),
            Wrong::Missing { last } if last == n => write!(f, ": missing"),
            Wrong::Missing { last } => write!(f, ": missing, and all up to row {last}"),
            Wrong::Order => write!(f, ": does not follow the row before it"),
            Wrong::KeyUnknown { key } => write!(f, ": sealed with key {key}, which is not known here"),
            Wrong::Cut { last: None } => write!(f, ": missing, with the whole chain"),
            Wrong::Cut { last: Some(last) } => write!(f, ": missing; the chain is cut off behind row {last}"),
            Wrong::Replaced => write!(f, ": not the row that was published"),
            Wrong::Log { table } => write!(f, ": its row in {table} was changed afterwards"),
            Wrong::Gone { table } => write!(f, ": its row in {table} is gone"),
            Wrong::Unsealed => write!(f, ": a call that was blocked, without its seal"),
        }
    }
}

/// What became of a chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chain {
    pub instance: String,
    pub rows: u64,
    /// How often it breaks.
    pub breaks: u64,
    /// The first time.
    pub first: Option<Finding>,
    last: Last,
}

/// The row that the next one must follow.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Last {
    n: i64,
    /// Nothing if it cannot be told.
    hash: Option<RowHash>,
}

impl Chain {
    fn new(instance: String) -> Self {
        Self { instance, rows: 0, breaks: 0, first: None, last: Last { n: 0, hash: Some(RowHash::NONE) } }
    }

    fn breaks(&mut self, n: i64, id: Option<Uuid>, wrong: Wrong) {
        self.breaks += 1;
        if self.first.is_none() {
            self.first = Some(Finding { instance: self.instance.clone(), n, id, wrong });
        }
    }

    /// Whether the row is as it was sealed.
    fn take(&mut self, stored: &StoredRow, keys: &AuditKeys) -> bool {
        self.rows += 1;
        let (n, id) = (stored.place.n, stored.id);
        let expected = self.last.n.saturating_add(1);
        let missing = n > expected;
        if missing {
            self.breaks(expected, None, Wrong::Missing { last: n - 1 });
        }
        let Some(row) = &stored.row else {
            self.breaks(n, id, Wrong::Changed);
            self.last = Last { n: n.max(self.last.n), hash: None };
            return false;
        };
        let sealed = match keys.find(&row.key) {
            None => {
                self.breaks(n, id, Wrong::KeyUnknown { key: row.key.clone() });
                false
            }
            Some(key) if !key.sealed(row) => {
                self.breaks(n, id, Wrong::Changed);
                false
            }
            Some(_) => {
                let follows = missing || n == expected && self.last.hash.is_none_or(|hash| hash == row.prev);
                if !follows {
                    self.breaks(n, id, Wrong::Order);
                }
                true
            }
        };
        // A row that was put in place of another, or beside it, is not what the next one was sealed behind.
        if n >= expected || sealed && n == self.last.n {
            self.last = Last { n, hash: Some(row.hash) };
        }
        sealed
    }
}

/// A walk over all chains. Rows come in the order of their places.
#[derive(Debug)]
pub struct Walk<'k> {
    keys: &'k AuditKeys,
    chain: Option<Chain>,
}

/// What a row was.
#[derive(Debug)]
pub struct Taken {
    /// The chain before it, if that one ended.
    pub ended: Option<Chain>,
    /// It is as it was sealed.
    pub sealed: bool,
}

impl<'k> Walk<'k> {
    pub fn new(keys: &'k AuditKeys) -> Self {
        Self { keys, chain: None }
    }

    pub fn take(&mut self, row: &StoredRow) -> Taken {
        let ended = self.chain.take_if(|chain| chain.instance != row.place.instance);
        let chain = self.chain.get_or_insert_with(|| Chain::new(row.place.instance.clone()));
        Taken { ended, sealed: chain.take(row, self.keys) }
    }

    /// The last chain.
    pub fn end(self) -> Option<Chain> {
        self.chain
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::clock::Timestamp;
    use crate::seal::{AuditKey, Item, Kind, Sealer};

    fn key(letter: &str) -> AuditKey {
        AuditKey::parse(&letter.repeat(32)).unwrap()
    }

    fn keys() -> AuditKeys {
        let mut keys = AuditKeys::default();
        keys.add(key("a"));
        keys
    }

    fn chain_of(sealer: &Sealer, length: u64) -> Vec<SealedRow> {
        let item = |n: u64| Item {
            kind: Kind::CallBlocked,
            id: Uuid::from_u128(n.into()),
            at: Timestamp::from_secs(60),
            content: format!("{{\"title\":\"call {n}\"}}"),
        };
        let mut turn = futures_util::FutureExt::now_or_never(sealer.turn()).unwrap();
        (1..=length).map(|n| turn.seal(item(n))).collect()
    }

    fn rows(length: u64) -> Vec<SealedRow> {
        chain_of(&Sealer::new(Uuid::from_u128(7), key("a"), AuditKeys::default()), length)
    }

    fn stored(rows: &[SealedRow]) -> Vec<StoredRow> {
        let mut stored: Vec<_> = (1..)
            .zip(rows)
            .map(|(serial, row)| StoredRow {
                place: Place { instance: row.instance.to_string(), n: i64::try_from(row.n).unwrap_or(i64::MAX), serial },
                id: Some(row.id),
                row: Some(row.clone()),
            })
            .collect();
        stored.sort_by(|a, b| a.place.cmp(&b.place));
        stored
    }

    fn walked(rows: &[StoredRow]) -> Vec<Chain> {
        let keys = keys();
        let mut walk = Walk::new(&keys);
        let mut chains: Vec<_> = rows.iter().filter_map(|row| walk.take(row).ended).collect();
        chains.extend(walk.end());
        chains
    }

    /// The first break of the one chain, and how many there are.
    fn broken(rows: &[SealedRow]) -> (Option<(i64, &'static str)>, u64) {
        let chains = walked(&stored(rows));
        assert_eq!(chains.len(), 1, "{chains:?}");
        (chains[0].first.as_ref().map(|first| (first.n, first.wrong.as_str())), chains[0].breaks)
    }

    #[test]
    fn what_is_whole_holds() {
        assert_eq!(broken(&rows(5)), (None, 0));
        assert_eq!(walked(&[]), []);
    }

    #[test]
    fn the_first_break_is_named() {
        let whole = rows(5);
        let without = |index: usize| [&whole[..index], &whole[index + 1..]].concat();
        assert_eq!(broken(&without(0)), (Some((1, "missing")), 1));
        assert_eq!(broken(&without(2)), (Some((3, "missing")), 1));
        assert_eq!(broken(&whole[..4]), (None, 0), "a cut shows by what was published");

        let mut swapped = whole.clone();
        (swapped[1].n, swapped[2].n) = (3, 2);
        assert_eq!(broken(&swapped).0, Some((2, "changed")));

        let forged = SealedRow { content: "{}".into(), ..whole[2].clone() };
        assert_eq!(broken(&[whole.clone(), vec![forged.clone()]].concat()), (Some((3, "changed")), 1));
        assert_eq!(broken(&[vec![forged], whole.clone()].concat()).0, Some((3, "changed")), "it may lie before the true one");
        assert_eq!(broken(&[whole.clone(), vec![whole[4].clone()]].concat()), (Some((5, "order")), 1), "a row is there once");

        let stranger = SealedRow { key: key("b").id().to_owned(), ..whole[2].clone() };
        assert_eq!(broken(&[&whole[..2], &[stranger], &whole[3..]].concat()), (Some((3, "key_unknown")), 1));

        // Two ends of one chain, both sealed with the key.
        let other = Sealer::new(Uuid::from_u128(7), key("a"), AuditKeys::default());
        let mut turn = futures_util::FutureExt::now_or_never(other.turn()).unwrap();
        let another = turn.seal(Item { kind: Kind::Entry, id: Uuid::nil(), at: Timestamp::from_secs(1), content: "{}".into() });
        assert_eq!(broken(&[&[another], &whole[1..]].concat()), (Some((2, "order")), 1));
    }

    #[test]
    fn each_chain_is_proved_apart() {
        let (mut a, b) = (rows(3), chain_of(&Sealer::new(Uuid::from_u128(8), key("a"), AuditKeys::default()), 2));
        a.remove(1);
        let chains = walked(&stored(&[b, a].concat()));
        let told: Vec<_> = chains.iter().map(|chain| (chain.rows, chain.breaks)).collect();
        assert_eq!(told, [(2, 1), (2, 0)]);
        assert_eq!(chains[0].first.as_ref().unwrap().to_string(), "chain 00000000-0000-0000-0000-000000000007, row 2: missing");
    }

    #[test]
    fn what_cannot_be_read_is_a_break_and_no_end() {
        let mut stored = stored(&rows(3));
        stored[1].row = None;
        stored[0].place.n = i64::MIN;
        let chains = walked(&stored);
        assert_eq!((chains[0].rows, chains[0].first.as_ref().unwrap().n), (3, i64::MIN));
    }

    proptest! {
        #[test]
        fn whatever_byte_of_a_row_is_flipped_its_row_is_named(row in 0_usize..4, field in 0_usize..9, at: usize, bit in 0_u8..7) {
            let mut changed = rows(4);
            let whole = changed.clone();
            let flip_text = |text: &mut String| {
                let mut bytes = std::mem::take(text).into_bytes();
                let index = at % bytes.len();
                bytes[index] ^= 1 << bit;
                *text = String::from_utf8(bytes).unwrap();
            };
            let flip_hash = |hash: &mut RowHash| {
                let mut bytes = *hash.as_bytes();
                bytes[at % 32] ^= 1 << bit;
                *hash = RowHash::from_bytes(&bytes).unwrap();
            };
            let flip_id = |id: &mut Uuid| *id = Uuid::from_u128(id.as_u128() ^ (1 << (at % 128)));
            let it = &mut changed[row];
            match field {
                0 => flip_id(&mut it.instance),
                1 => it.n ^= 1 << bit,
                2 => it.at = Timestamp::from_micros(it.at.as_micros() ^ (1 << bit)),
                3 => flip_text(&mut it.kind),
                4 => flip_id(&mut it.id),
                5 => flip_text(&mut it.content),
                6 => flip_text(&mut it.key),
                7 => flip_hash(&mut it.prev),
                _ => flip_hash(&mut it.hash),
            }
            let places = [whole[row].n, changed[row].n].map(|n| i64::try_from(n).unwrap());
            let chains = walked(&stored(&changed));
            let first = chains.iter().find_map(|chain| chain.first.as_ref()).unwrap();
            match first.wrong {
                // It stands elsewhere now, in this chain or in one of its own.
                Wrong::Missing { last } => prop_assert!(places.iter().any(|n| (first.n..=last + 1).contains(n)), "{first:?}"),
                _ => prop_assert!(places.contains(&first.n), "{first:?}"),
            }
        }
    }
}
