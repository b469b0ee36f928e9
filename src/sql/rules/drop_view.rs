//! Others read views; one that is gone breaks them.

use super::{Literals, Rule, Tier};
use crate::sql::act::{Act, Dropped};

pub const RULE: Rule = Rule {
    id: "drop-view",
    tier: Tier::Extended,
    pattern: "drop-view",
    refuses: "DROP VIEW and DROP MATERIALIZED VIEW.",
    literals: Literals::Data,
    refused: &["DROP VIEW stats", "drop materialized view if exists a.b"],
    allowed: &["CREATE OR REPLACE VIEW stats AS SELECT 1", "ALTER VIEW stats RENAME TO figures"],
    judge: |act| {
        matches!(act, Act::Drop { what: Dropped::View, .. }).then_some("DROP VIEW takes from everyone a view that others may read.")
    },
};
