//! A database that is dropped takes everything with it.

use super::{Literals, Rule, Tier};
use crate::sql::act::{Act, Dropped};

pub const RULE: Rule = Rule {
    id: "drop-database",
    tier: Tier::Core,
    pattern: r#"/DROP\s+DATABASE/i"#,
    refuses: "DROP DATABASE.",
    literals: Literals::Data,
    refused: &["DROP DATABASE postgres", "drop database if exists shop with (force)"],
    allowed: &["SELECT drop_database FROM audit", "CREATE DATABASE shop"],
    judge: |act| matches!(act, Act::Drop { what: Dropped::Database, .. }).then_some("DROP DATABASE destroys a whole database."),
};
