//! CASCADE reaches further than the statement says.

use super::{Literals, Rule, Tier};
use crate::sql::act::{Act, Dropped, Reach};

pub const RULE: Rule = Rule {
    id: "drop-cascade",
    tier: Tier::Extended,
    pattern: "drop-cascade",
    refuses: "DROP … CASCADE of anything that no other rule is about.",
    literals: Literals::Data,
    refused: &["DROP TYPE status CASCADE", "drop extension pgcrypto cascade", "DROP FUNCTION f(int) CASCADE"],
    allowed: &["DROP TYPE status", "DROP FUNCTION IF EXISTS f(int)", "DROP INDEX users_by_email", "DROP TRIGGER t ON users"],
    judge: |act| match act {
        Act::Drop { what: Dropped::Other | Dropped::Trigger, reach: Reach::Cascade } => {
            Some("DROP with CASCADE takes along whatever depends on it: columns, policies, whole tables.")
        }
        _ => None,
    },
};
