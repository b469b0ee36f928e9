//! What judging a text of SQL yields: the statements it holds, and what rules refuse of them.

use std::fmt;
use std::ops::Range;

use super::rules::Rule;

/// What the string that is judged stands in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Field {
    /// A field that holds SQL: everything from the first place where a statement begins is SQL. Before that it is prose.
    Sql,
    /// Any other: it is SQL only if it is nothing else.
    Text,
}

/// How the database reads a backslash in a plain literal: `standard_conforming_strings`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Backslashes {
    /// As itself: on, the default of PostgreSQL since 9.1.
    #[default]
    Plain,
    /// Nobody knows: both readings are judged, and what either of them finds counts.
    Both,
}

/// What a text is, statement by statement.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Judgement {
    /// In order. None, if the text is no SQL.
    pub statements: Vec<Statement>,
    /// In order of place; what a statement carries inside stands under the statement that carries it.
    pub findings: Vec<Finding>,
}

impl Judgement {
    /// Whether the text is no SQL, and nothing was found in it.
    pub fn is_empty(&self) -> bool {
        self.statements.is_empty() && self.findings.is_empty()
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement {
    pub kind: Kind,
    /// Whether it changes what the database is made of, itself or by what it carries; what cannot be read may.
    pub changes_schema: bool,
    /// UTF-8 bytes of the text, from its first word to its last, without the semicolon.
    pub span: Range<usize>,
}

/// What kind of statement, by what it does to whom it is run for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// Reads rows and changes none: SELECT, VALUES, TABLE, SHOW, EXPLAIN of anything that it does not run.
    Read,
    Insert,
    Update,
    Delete,
    Merge,
    Truncate,
    /// Adds to the schema: CREATE, COMMENT, SELECT INTO, IMPORT FOREIGN SCHEMA.
    Create,
    Alter,
    Drop,
    Grant,
    Revoke,
    Copy,
    /// Runs code: DO, CALL, EXECUTE of what was prepared.
    Run,
    /// BEGIN to ROLLBACK, savepoints and LOCK.
    Transaction,
    /// SET, RESET, DISCARD, LISTEN, PREPARE and the like: the session's own.
    Session,
    /// VACUUM, ANALYZE, REINDEX, CLUSTER, REFRESH, CHECKPOINT, LOAD.
    Maintain,
    /// It begins as SQL and cannot be read to its end.
    Unreadable,
}

impl Kind {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Insert => "insert",
            Self::Update => "update",
            Self::Delete => "delete",
            Self::Merge => "merge",
            Self::Truncate => "truncate",
            Self::Create => "create",
            Self::Alter => "alter",
            Self::Drop => "drop",
            Self::Grant => "grant",
            Self::Revoke => "revoke",
            Self::Copy => "copy",
            Self::Run => "run",
            Self::Transaction => "transaction",
            Self::Session => "session",
            Self::Maintain => "maintain",
            Self::Unreadable => "unreadable",
        }
    }

    /// Whether it changes no row, no schema and no right, whoever runs it. Functions it calls may do more than it says.
    pub const fn only_reads(self) -> bool {
        matches!(self, Self::Read)
    }

    /// Whether it changes what the database is made of, as against what is in it.
    pub const fn is_ddl(self) -> bool {
        matches!(self, Self::Create | Self::Alter | Self::Drop | Self::Truncate | Self::Grant | Self::Revoke | Self::Unreadable)
    }
}

/// What a rule refuses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    pub rule: &'static Rule,
    pub kind: Kind,
    /// What it would touch, as far as the statement names all of it. An exception by name covers a finding only if it covers all of these.
    pub objects: Vec<Name>,
    /// In words for whoever is refused, of this statement.
    pub why: &'static str,
    /// UTF-8 bytes of the text: the part that does what the rule refuses.
    pub span: Range<usize>,
    /// The part in question without comments, its literals and numbers as `?`; cut to a bound.
    pub statement: String,
    /// The same for statements that differ in white space, comments and letter case alone; and in literals, unless they matter.
    pub fingerprint: Fingerprint,
}

/// 16 hex digits over a whole statement. Literals count where a rule is about what they say (a program, a file), in bodies of code, and in
/// what cannot be read.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Fingerprint(pub u64);

impl Fingerprint {
    pub fn parse(text: &str) -> Option<Self> {
        let is_one = text.len() == 16 && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        // Zero stands for texts that have none.
        is_one.then(|| u64::from_str_radix(text, 16).ok()).flatten().filter(|bits| *bits != 0).map(Self)
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A name of one or more parts, as PostgreSQL keeps it: small letters where it was not quoted.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Name {
    pub parts: Vec<String>,
}

impl Name {
    /// The last part: without its schema.
    pub fn last(&self) -> &str {
        self.parts.last().map_or("", String::as_str)
    }
}

/// As SQL writes it, so that it can be taken for no other name: in quotes where it needs them.
impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, part) in self.parts.iter().enumerate() {
            if index > 0 {
                f.write_str(".")?;
            }
            let is_plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '_' | '$') || !c.is_ascii();
            if part.chars().all(is_plain) && !part.is_empty() && !part.starts_with(|c: char| c.is_ascii_digit()) {
                f.write_str(part)?;
            } else {
                write!(f, "\"{}\"", part.replace('"', "\"\""))?;
            }
        }
        Ok(())
    }
}
