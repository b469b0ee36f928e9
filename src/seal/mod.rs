//! Tamper evidence: what must not be changed unseen is sealed, row by row, in chains that only the holder of a key can write.
//!
//! A chain is one gatekeeper process's: its rows are numbered 1, 2, 3 …, and each row's hash is over all of it and the hash before it.
//! Whoever changes, removes or adds a row without the key breaks the chain at that place; whoever cuts off its end leaves a chain that
//! is shorter than what was published of it. Knows rows and files of its own, nothing of databases.

mod canonical;
pub mod kept;
mod key;
mod sealer;
pub mod walk;

use std::fmt;

use uuid::Uuid;

use crate::clock::Timestamp;

pub use key::{AuditKey, AuditKeys};
pub use sealer::{CHAINS, Followed, LAST_ROWS, Sealer, Turn, seen};

/// HMAC-SHA256 of a row, or of the row before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RowHash([u8; 32]);

impl RowHash {
    /// What stands before the first row of a chain.
    pub const NONE: Self = Self([0; 32]);

    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// 64 hexadecimal digits.
    pub fn parse(text: &str) -> Option<Self> {
        let mut bytes = [0; 32];
        if text.len() != 64 || !text.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return None;
        }
        for (index, byte) in bytes.iter_mut().enumerate() {
            *byte = u8::from_str_radix(text.get(2 * index..2 * index + 2)?, 16).ok()?;
        }
        Some(Self(bytes))
    }
}

impl fmt::Display for RowHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// What a row is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The first row of a chain: which others there were when it began.
    ChainOpened,
    /// A call that the SQL filter or its schema validator refused.
    CallBlocked,
    /// One that they would have refused, had their denials stood.
    CallLetThrough,
    /// An entry of `security_audit`.
    Entry,
}

impl Kind {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ChainOpened => "chain_opened",
            Self::CallBlocked => "call_blocked",
            Self::CallLetThrough => "call_let_through",
            Self::Entry => "entry",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        [Self::ChainOpened, Self::CallBlocked, Self::CallLetThrough, Self::Entry].into_iter().find(|kind| kind.as_str() == text)
    }
}

/// Something to be sealed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    pub kind: Kind,
    /// Of the call, or of the entry.
    pub id: Uuid,
    pub at: Timestamp,
    /// What was recorded, as a JSON object.
    pub content: String,
}

/// A row of the audit log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SealedRow {
    pub instance: Uuid,
    pub n: u64,
    pub at: Timestamp,
    /// A [`Kind`], or whatever a newer gatekeeper calls one.
    pub kind: String,
    pub id: Uuid,
    pub content: String,
    /// Which key it was sealed with.
    pub key: String,
    /// The hash of the row before it.
    pub prev: RowHash,
    pub hash: RowHash,
}

impl SealedRow {
    pub fn head(&self) -> Head {
        Head { instance: self.instance, n: self.n, hash: self.hash }
    }
}

/// How far a chain has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    pub instance: Uuid,
    /// 0 of a chain without rows.
    pub n: u64,
    pub hash: RowHash,
}
