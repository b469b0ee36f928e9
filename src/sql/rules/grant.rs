//! Rights that are given cannot be told from rights that were meant.

use super::{Literals, Rule, Tier};
use crate::sql::act::Act;

pub const RULE: Rule = Rule {
    id: "grant",
    tier: Tier::Extended,
    pattern: "grant",
    refuses: "GRANT of privileges or of roles, ALTER DEFAULT PRIVILEGES … GRANT.",
    literals: Literals::Data,
    refused: &[
        "GRANT ALL ON ALL TABLES IN SCHEMA public TO PUBLIC",
        "GRANT pg_write_all_data TO agent",
        "ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO PUBLIC",
    ],
    allowed: &["SELECT grant_id FROM grants", "UPDATE events SET grant_id = 1 WHERE id = 4"],
    judge: |act| matches!(act, Act::Grant).then_some("GRANT gives rights; who has which is not for callers to decide."),
};
