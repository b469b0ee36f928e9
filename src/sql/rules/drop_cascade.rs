//! CASCADE reaches further than the statement says: whoever may drop or empty what is named may not for that reason take along the rest.

use super::{Literals, Rule, Tier};
use crate::sql::act::{Act, Dropped, Reach};

pub const RULE: Rule = Rule {
    id: "drop-cascade",
    tier: Tier::Extended,
    pattern: "drop-cascade",
    refuses: "DROP, TRUNCATE or DROP COLUMN with CASCADE, beside what other rules say of it.",
    literals: Literals::Data,
    refused: &[
        "DROP TYPE status CASCADE",
        "drop extension pgcrypto cascade",
        "DROP FUNCTION f(int) CASCADE",
        "DROP TABLE tmp_a CASCADE",
        "TRUNCATE tmp_a CASCADE",
        "ALTER TABLE tmp_a DROP COLUMN id CASCADE",
    ],
    allowed: &[
        "DROP TYPE status",
        "DROP FUNCTION IF EXISTS f(int)",
        "DROP INDEX users_by_email",
        "ALTER TABLE t DROP CONSTRAINT c CASCADE",
    ],
    judge: |act| match act {
        // Nothing depends on a policy.
        Act::Drop { what: Dropped::Policy, .. } => None,
        Act::Drop { reach: Reach::Cascade, .. } | Act::DropColumn { reach: Reach::Cascade } => {
            Some("DROP with CASCADE takes along whatever depends on it: columns, policies, whole tables.")
        }
        Act::Truncate { reach: Reach::Cascade } => Some("TRUNCATE with CASCADE empties every table that refers to these, too."),
        _ => None,
    },
};
