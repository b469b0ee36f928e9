//! A role that is gone locks out whoever used it.

use super::{Literals, Rule, Tier};
use crate::sql::act::{Act, Dropped};

pub const RULE: Rule = Rule {
    id: "drop-role",
    tier: Tier::Extended,
    pattern: "drop-role",
    refuses: "DROP ROLE, DROP USER and DROP GROUP.",
    literals: Literals::Data,
    refused: &["DROP ROLE app", "drop user if exists intern, temp", "DROP GROUP team"],
    allowed: &["DROP USER MAPPING FOR app SERVER s", "CREATE ROLE app"],
    judge: |act| matches!(act, Act::Drop { what: Dropped::Role, .. }).then_some("DROP ROLE takes away an account and its rights."),
};
