//! Where data is stored is for whoever runs the server.

use super::{Literals, Rule, Tier};
use crate::sql::act::{Act, Dropped};

pub const RULE: Rule = Rule {
    id: "drop-tablespace",
    tier: Tier::Extended,
    pattern: "drop-tablespace",
    refuses: "DROP TABLESPACE.",
    literals: Literals::Data,
    refused: &["DROP TABLESPACE fast", "drop tablespace if exists fast"],
    allowed: &["CREATE TABLESPACE fast LOCATION '/data'"],
    judge: |act| {
        matches!(act, Act::Drop { what: Dropped::Tablespace, .. }).then_some("DROP TABLESPACE takes away a place where data is stored.")
    },
};
