//! The key that rows are sealed with. It lies outside the database, or whoever can change rows could seal them anew.

use std::fmt;

use ring::hmac::{self, HMAC_SHA256};

use super::canonical::feed;
use super::{RowHash, SealedRow};
use crate::identity::Secret;
use crate::sha256::{Hash, array, sha256};

/// Shorter ones can be guessed.
const SHORTEST: usize = 32;
const BLOCK: usize = 64;

/// One key. Prints as its id.
#[derive(Clone, PartialEq, Eq)]
pub struct AuditKey {
    id: String,
    /// SHA-256 of the text, filled up with zeros: as HMAC fills it.
    block: [u8; BLOCK],
}

impl AuditKey {
    /// What a key must be, for whoever gave something else.
    pub const WORDS: &str = "must be at least 32 characters, printable and without blanks: make one with `openssl rand -hex 32`";

    /// The words never hold the text.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        if text.len() < SHORTEST || text.bytes().any(|b| !(0x21..0x7f).contains(&b)) {
            return Err(Self::WORDS);
        }
        let digest = sha256(text.as_bytes());
        let mut block = [0; BLOCK];
        block.iter_mut().zip(digest).for_each(|(to, from)| *to = from);
        let mut key = Self { id: String::new(), block };
        let id = key.mac(|sink| sink(b"eliza-gatekeeper audit key id"));
        key.id = id.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        Ok(key)
    }

    /// Names the key and says nothing of it.
    pub fn id(&self) -> &str {
        &self.id
    }

    pub(super) fn hash(&self, row: &SealedRow) -> RowHash {
        RowHash(self.mac(|sink| feed(row, sink)))
    }

    /// Whether this key sealed the row as it is.
    pub fn sealed(&self, row: &SealedRow) -> bool {
        let mut bytes = Vec::with_capacity(row.content.len() + 256);
        feed(row, |piece| bytes.extend_from_slice(piece));
        row.key == self.id && hmac::verify(&self.key(), &bytes, row.hash.as_bytes()).is_ok()
    }

    fn mac(&self, write: impl FnOnce(&mut dyn FnMut(&[u8]))) -> Hash {
        let mut mac = hmac::Context::with_key(&self.key());
        write(&mut |bytes| mac.update(bytes));
        array(mac.sign().as_ref())
    }

    fn key(&self) -> hmac::Key {
        hmac::Key::new(HMAC_SHA256, &self.block)
    }
}

impl fmt::Debug for AuditKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AuditKey({})", self.id)
    }
}

/// The text of a new key.
pub(super) fn generate() -> Result<Secret, getrandom::Error> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes)?;
    Ok(Secret::new(&bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>()))
}

/// The keys that rows may have been sealed with.
#[derive(Clone, Debug, Default)]
pub struct AuditKeys(Vec<AuditKey>);

impl AuditKeys {
    pub fn add(&mut self, key: AuditKey) {
        if !self.0.contains(&key) {
            self.0.push(key);
        }
    }

    pub fn find(&self, id: &str) -> Option<&AuditKey> {
        self.0.iter().find(|key| key.id == id)
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether one of them sealed the row as it is.
    pub fn sealed(&self, row: &SealedRow) -> bool {
        self.find(&row.key).is_some_and(|key| key.sealed(row))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Timestamp;
    use uuid::Uuid;

    #[test]
    fn a_key_is_long_and_prints_as_its_id() {
        assert_eq!(AuditKey::parse("too-short"), Err(AuditKey::WORDS));
        assert_eq!(AuditKey::parse(&"with a blank ".repeat(9)), Err(AuditKey::WORDS));
        let text = "0123456789abcdef0123456789abcdef";
        let key = AuditKey::parse(text).unwrap();
        assert_eq!(key.id().len(), 16);
        assert_eq!(format!("{key:?}"), format!("AuditKey({})", key.id()));
        assert_ne!(key.id(), AuditKey::parse(&text.replace('f', "e")).unwrap().id());
        assert_eq!(generate().unwrap().reveal().len(), 64);
    }

    /// As anybody can compute it from what docs/audit.md says: the numbers here are another program's.
    #[test]
    fn a_rows_hash_is_as_documented() {
        let key = AuditKey::parse("0123456789abcdef0123456789abcdef").unwrap();
        let row = SealedRow {
            instance: Uuid::from_u128(1),
            n: 1,
            at: Timestamp::from_secs(0),
            kind: "entry".into(),
            id: Uuid::from_u128(2),
            content: "{}".into(),
            key: key.id().to_owned(),
            prev: RowHash::NONE,
            hash: RowHash::NONE,
        };
        assert_eq!(
            (key.id(), key.hash(&row).to_string().as_str()),
            ("41efc4efb5004166", "8c070ac99c65ef34ff55661bc852ca487b04a1b77fd0a62e5324fcc5eb9ff6ce")
        );
    }
}
