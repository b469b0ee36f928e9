//! It is a DROP TABLE that need not name the tables.

use super::{Literals, Rule, Tier};
use crate::sql::act::{Act, Dropped};

pub const RULE: Rule = Rule {
    id: "drop-owned",
    tier: Tier::Extended,
    pattern: "drop-owned",
    refuses: "DROP OWNED.",
    literals: Literals::Data,
    refused: &["DROP OWNED BY app", "drop owned by a, current_user cascade"],
    allowed: &["REASSIGN OWNED BY a TO b"],
    judge: |act| {
        matches!(act, Act::Drop { what: Dropped::Owned, .. })
            .then_some("DROP OWNED destroys everything that a role owns, and revokes its rights.")
    },
};
