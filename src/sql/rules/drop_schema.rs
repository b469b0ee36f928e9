//! A schema that is dropped takes its tables with it.

use super::{Literals, Rule, Tier};
use crate::sql::act::{Act, Dropped};

pub const RULE: Rule = Rule {
    id: "drop-schema",
    tier: Tier::Core,
    pattern: r#"/DROP\s+SCHEMA/i"#,
    refuses: "DROP SCHEMA.",
    literals: Literals::Data,
    refused: &["DROP SCHEMA public CASCADE", "drop schema if exists old, older"],
    allowed: &["CREATE SCHEMA IF NOT EXISTS fresh", "ALTER SCHEMA old RENAME TO new"],
    judge: |act| {
        matches!(act, Act::Drop { what: Dropped::Schema, .. })
            .then_some("DROP SCHEMA destroys a schema, and with CASCADE everything in it.")
    },
};
