//! Where a text cannot be read, the database may read something else.

use super::{Literals, Rule, Tier};
use crate::sql::act::{Act, Unreadable};

pub const RULE: Rule = Rule {
    id: "unreadable",
    tier: Tier::Extended,
    pattern: "unreadable",
    refuses: "Text that begins as SQL and cannot be read to its end.",
    literals: Literals::Matter,
    refused: &["SELECT 'abc", r#"SELECT "abc"#, "SELECT $x$abc", "SELECT 1 /* abc"],
    allowed: &["SELECT 'abc'", "What's the drop rate?"],
    judge: |act| match act {
        Act::Unreadable(Unreadable::Literal) => Some("A quote opens a literal that does not end."),
        Act::Unreadable(Unreadable::QuotedName) => Some("A double quote opens a name that does not end."),
        Act::Unreadable(Unreadable::DollarQuote) => Some("A dollar quote opens a literal that does not end."),
        Act::Unreadable(Unreadable::Comment) => Some("A comment opens that does not end."),
        Act::Unreadable(Unreadable::Nul) => Some("A NUL stands in it, where the database stops reading."),
        Act::Unreadable(Unreadable::TooDeep) => Some("It is nested deeper than anything is read."),
        Act::Unreadable(Unreadable::TooLong) => Some("One statement is longer than anything is read."),
        _ => None,
    },
};
