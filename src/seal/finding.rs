//! What is found wrong, in words and for machines.

use std::fmt;

use uuid::Uuid;

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
