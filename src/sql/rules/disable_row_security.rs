//! Row level security is what keeps one tenant from another.

use super::{Literals, Rule, Tier};
use crate::sql::act::Act;

pub const RULE: Rule = Rule {
    id: "disable-row-security",
    tier: Tier::Extended,
    pattern: "disable-row-security",
    refuses: "ALTER TABLE … DISABLE or NO FORCE ROW LEVEL SECURITY.",
    literals: Literals::Data,
    refused: &["ALTER TABLE users DISABLE ROW LEVEL SECURITY", "alter table users add a int, no force row level security"],
    allowed: &["ALTER TABLE users ENABLE ROW LEVEL SECURITY", "ALTER TABLE users FORCE ROW LEVEL SECURITY"],
    judge: |act| {
        matches!(act, Act::RowSecurityOff).then_some("Without row level security everyone with a right on the table sees every row.")
    },
};
