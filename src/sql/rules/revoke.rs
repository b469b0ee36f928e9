//! A right that is gone stops whoever relied on it.

use super::{Literals, Rule, Tier};
use crate::sql::act::Act;

pub const RULE: Rule = Rule {
    id: "revoke",
    tier: Tier::Extended,
    pattern: "revoke",
    refuses: "REVOKE of privileges or of roles, ALTER DEFAULT PRIVILEGES … REVOKE.",
    literals: Literals::Data,
    refused: &["REVOKE ALL ON users FROM app", "REVOKE admin FROM app", "ALTER DEFAULT PRIVILEGES REVOKE INSERT ON TABLES FROM app"],
    allowed: &["SELECT revoked_at FROM tokens"],
    judge: |act| matches!(act, Act::Revoke).then_some("REVOKE takes rights away; who has which is not for callers to decide."),
};
