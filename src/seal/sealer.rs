//! The one place that adds to a chain. The database is asked each time how far the chain has come: a transaction whose end was never heard
//! of may have been committed after all.

use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::{Value, json};
use tokio::sync::{Mutex, MutexGuard, watch};
use uuid::Uuid;

use super::walk::StoredRow;
use super::{AuditKey, AuditKeys, Head, Item, Kind, RowHash, SealedRow};
use crate::clock::Timestamp;

/// Of how many other chains a new one says how far they had come. Those were told of older ones.
const MOST_SEEN: usize = 64;
/// How many are looked at for that: whoever can write to the database can begin chains that are none.
pub const CHAINS: usize = 256;
/// And how many of the last rows of each, for the same reason.
pub const LAST_ROWS: usize = 4;

/// The chain of this process.
#[derive(Debug)]
pub struct Sealer {
    instance: Uuid,
    key: AuditKey,
    /// Those that other chains may have been sealed with.
    known: AuditKeys,
    /// Rows of one chain follow one another, so their transactions take turns. Whoever holds it waits for its own transaction alone.
    turns: Mutex<()>,
    head: watch::Sender<Head>,
    /// How often the last row of a chain was not what it must be.
    tampered: AtomicU64,
}

impl Sealer {
    /// `known`: the keys of other chains, this one's or not.
    pub fn new(instance: Uuid, key: AuditKey, mut known: AuditKeys) -> Self {
        known.add(key.clone());
        let head = watch::Sender::new(Head { instance, n: 0, hash: RowHash::NONE });
        Self { instance, key, known, turns: Mutex::default(), head, tampered: AtomicU64::new(0) }
    }

    pub fn instance(&self) -> Uuid {
        self.instance
    }

    pub fn key_id(&self) -> &str {
        self.key.id()
    }

    /// How far the chain has come for certain: its rows are committed.
    pub fn head(&self) -> Head {
        *self.head.borrow()
    }

    /// Tells whenever the chain has come further.
    pub fn follow(&self) -> watch::Receiver<Head> {
        self.head.subscribe()
    }

    /// How often the end of a chain was found tampered with: of this one, or of those that were there when it began.
    pub fn times_tampered(&self) -> u64 {
        self.tampered.load(Ordering::Relaxed)
    }

    /// `rows`: the last ones of a chain, the last first.
    fn end_of(&self, rows: &[StoredRow]) -> End {
        let last = rows.first().and_then(|stored| stored.row.as_ref());
        let holds = rows.iter().filter_map(|stored| stored.row.as_ref()).find(|row| self.known.sealed(row)).map(SealedRow::head);
        match (last, holds) {
            (Some(last), Some(head)) if self.known.sealed(last) => End::Holds(head),
            (Some(last), None) if self.known.find(&last.key).is_none() => End::Unknown(last.head()),
            (_, holds) => End::Forged(holds),
        }
    }

    pub async fn turn(&self) -> Turn<'_> {
        let turn = self.turns.lock().await;
        Turn { sealer: self, _turn: turn, head: self.head() }
    }
}

/// How another chain ends.
enum End {
    Holds(Head),
    /// Not with the row it ends with today. The last one that holds, if it is still near.
    Forged(Option<Head>),
    /// All of its rows are sealed with keys that are not known here.
    Unknown(Head),
}

/// What became of the chain since it was last heard of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Followed {
    /// It ends where it is known to end.
    Here,
    /// It goes on: ask again from the new head.
    Further,
}

/// Leave to add rows, for one transaction.
#[derive(Debug)]
pub struct Turn<'s> {
    sealer: &'s Sealer,
    _turn: MutexGuard<'s, ()>,
    head: Head,
}

impl Turn<'_> {
    pub fn head(&self) -> Head {
        self.head
    }

    pub fn is_first(&self) -> bool {
        self.head.n == 0
    }

    /// `rows`: what the database has under the head's number and hash, and what it has of the next number behind that hash. What somebody
    /// without the key put there is passed over.
    pub fn follow(&mut self, rows: &[SealedRow]) -> Followed {
        if !self.is_first() && !rows.iter().any(|row| row.head() == self.head) {
            self.sealer.tampered.fetch_add(1, Ordering::Relaxed);
            let Head { instance, n, hash } = self.head;
            tracing::error!(%instance, n, %hash, "the last row of the audit log's chain is not in the database any more: somebody removed or changed it, or the database was set back");
        }
        let next = rows.iter().find(|row| {
            row.instance == self.head.instance && row.n == self.head.n + 1 && row.prev == self.head.hash && self.sealer.key.sealed(row)
        });
        let Some(next) = next else { return Followed::Here };
        self.head = next.head();
        Followed::Further
    }

    /// The row that a chain begins with. `others`: the last rows of other chains, chain by chain, the last one first.
    pub fn open(&mut self, at: Timestamp, others: &[StoredRow]) -> SealedRow {
        let (mut seen, mut unknown, mut forged) = (Vec::new(), Vec::new(), 0_u64);
        for chain in others.chunk_by(|one, next| one.place.instance == next.place.instance) {
            match self.sealer.end_of(chain) {
                End::Holds(head) => seen.push(head),
                End::Forged(head) => {
                    forged += 1;
                    let place = chain.first().map(|row| &row.place);
                    tracing::error!(
                        ?place,
                        "the last row of a chain of the audit log was not sealed, or was changed: `gatekeeper calls verify` names it"
                    );
                    seen.extend(head);
                }
                End::Unknown(head) => unknown.push(head),
            }
        }
        self.sealer.tampered.fetch_add(forged, Ordering::Relaxed);
        if !unknown.is_empty() {
            tracing::warn!(chains = unknown.len(), "the audit log has chains whose keys are not known here: keep old keys as audit-….key");
        }
        // Of those that nobody here can prove it is said too that they were there.
        let seen: Vec<Value> = seen
            .iter()
            .chain(&unknown)
            .take(MOST_SEEN)
            .map(|head| json!({ "instance": head.instance.to_string(), "n": head.n, "hash": head.hash.to_string() }))
            .collect();
        let id = self.head.instance;
        self.seal(Item { kind: Kind::ChainOpened, id, at, content: json!({ "seen": seen }).to_string() })
    }

    pub fn seal(&mut self, item: Item) -> SealedRow {
        let Item { kind, id, at, content } = item;
        let mut row = SealedRow {
            instance: self.head.instance,
            n: self.head.n + 1,
            // As databases keep it.
            at: Timestamp::from_datetime(at.to_datetime()),
            kind: kind.as_str().to_owned(),
            id,
            content,
            key: self.sealer.key.id().to_owned(),
            prev: self.head.hash,
            hash: RowHash::NONE,
        };
        row.hash = self.sealer.key.hash(&row);
        self.head = row.head();
        row
    }

    /// The transaction is committed.
    pub fn committed(self) {
        self.sealer.head.send_replace(self.head);
    }
}

/// What the first row of a chain says of others.
pub fn seen(content: &str) -> Vec<Head> {
    let content: Value = serde_json::from_str(content).unwrap_or(Value::Null);
    let heads = content.get("seen").and_then(Value::as_array);
    heads.into_iter().flatten().take(MOST_SEEN).filter_map(head).collect()
}

/// A head as JSON says it.
pub(super) fn head(said: &Value) -> Option<Head> {
    let text = |name: &str| said.get(name).and_then(Value::as_str);
    Some(Head {
        instance: Uuid::try_parse(text("instance")?).ok()?,
        n: said.get("n").and_then(Value::as_u64)?,
        hash: RowHash::parse(text("hash")?)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seal::walk::Place;

    fn sealer(letter: &str) -> Sealer {
        Sealer::new(Uuid::now_v7(), AuditKey::parse(&letter.repeat(32)).unwrap(), AuditKeys::default())
    }

    fn item(content: &str) -> Item {
        Item { kind: Kind::Entry, id: Uuid::now_v7(), at: Timestamp::from_secs(1), content: content.into() }
    }

    #[tokio::test]
    async fn rows_are_numbered_and_each_holds_the_hash_before_it() {
        let sealer = sealer("a");
        let mut turn = sealer.turn().await;
        let first = turn.open(Timestamp::from_secs(1), &[]);
        let second = turn.seal(item("{}"));
        assert_eq!((first.n, first.prev, second.n, second.prev), (1, RowHash::NONE, 2, first.hash));
        assert_eq!((first.kind.as_str(), first.id), ("chain_opened", sealer.instance()));
        assert_eq!(sealer.head().n, 0, "nothing is committed yet");
        turn.committed();
        assert_eq!(sealer.head(), second.head());
    }

    #[tokio::test]
    async fn what_was_not_heard_to_be_committed_is_followed_and_forgeries_are_not() {
        let sealer = sealer("a");
        let mut lost = sealer.turn().await;
        let rows = [lost.seal(item("1")), lost.seal(item("2"))];
        drop(lost);
        let mut turn = sealer.turn().await;
        let forged = SealedRow { content: "0".into(), ..rows[0].clone() };
        assert_eq!(turn.follow(std::slice::from_ref(&forged)), Followed::Here);
        assert_eq!(turn.follow(&[forged, rows[0].clone()]), Followed::Further);
        assert_eq!(turn.follow(&rows), Followed::Further);
        assert_eq!(turn.follow(&rows[1..]), Followed::Here);
        assert_eq!((turn.head(), sealer.times_tampered()), (rows[1].head(), 0));
        assert_eq!(turn.seal(item("3")).n, 3);
    }

    #[tokio::test]
    async fn a_last_row_that_is_gone_is_told_and_the_chain_goes_on_behind_it() {
        let sealer = sealer("a");
        let mut turn = sealer.turn().await;
        turn.seal(item("1"));
        turn.committed();
        let mut turn = sealer.turn().await;
        assert_eq!(turn.follow(&[]), Followed::Here);
        assert_eq!((turn.seal(item("2")).n, sealer.times_tampered()), (2, 1));
    }

    fn stored(rows: &[&SealedRow]) -> Vec<StoredRow> {
        let stored = |row: &&SealedRow| StoredRow {
            place: Place { instance: row.instance.to_string(), n: i64::try_from(row.n).unwrap(), serial: 0 },
            id: Some(row.id),
            row: Some((*row).clone()),
        };
        rows.iter().map(stored).collect()
    }

    #[tokio::test]
    async fn a_new_chain_says_what_it_has_seen_and_whether_the_end_of_a_chain_is_none() {
        let (first, other) = (sealer("a"), sealer("b"));
        let (a, b) = (first.turn().await.seal(item("a")), other.turn().await.seal(item("b")));
        let mut known = AuditKeys::default();
        known.add(AuditKey::parse(&"a".repeat(32)).unwrap());
        let third = Sealer::new(Uuid::now_v7(), AuditKey::parse(&"c".repeat(32)).unwrap(), known);
        let open = async |others: &[StoredRow]| {
            let before = third.times_tampered();
            let opened = third.turn().await.open(Timestamp::from_secs(1), others);
            (seen(&opened.content), third.times_tampered() - before)
        };
        assert_eq!(open(&stored(&[&b, &a])).await, (vec![a.head(), b.head()], 0), "what can be proved comes first");
        let forged = SealedRow { n: 9_000_000, ..a.clone() };
        assert_eq!(open(&stored(&[&forged, &forged, &a])).await, (vec![a.head()], 1));
        let of_nobody = SealedRow { key: "nobody".into(), ..forged.clone() };
        assert_eq!(open(&stored(&[&of_nobody, &a])).await, (vec![a.head()], 1), "a chain has one key");
        assert_eq!(open(&stored(&[&forged])).await, (vec![], 1));
        let mut unreadable = stored(&[&a, &a]);
        unreadable[0].row = None;
        assert_eq!(open(&unreadable).await, (vec![a.head()], 1));
        assert_eq!(seen("no JSON"), []);
    }
}
