//! A library runs with the rights of the server itself.

use super::{Literals, Rule, Tier};
use crate::sql::act::Act;

pub const RULE: Rule = Rule {
    id: "load-library",
    tier: Tier::Extended,
    pattern: "load-library",
    refuses: "LOAD of a library.",
    literals: Literals::Matter,
    refused: &["LOAD 'foo'"],
    allowed: &["SELECT load FROM machines"],
    judge: |act| matches!(act, Act::Load).then_some("LOAD runs code from a file of the database server."),
};
