//! What a trigger guards is unguarded while it is off, and nobody is told.

use super::{Literals, Rule, Tier};
use crate::sql::act::Act;

pub const RULE: Rule = Rule {
    id: "disable-trigger",
    tier: Tier::Extended,
    pattern: "disable-trigger",
    refuses: "ALTER TABLE … DISABLE TRIGGER or RULE, ALTER EVENT TRIGGER … DISABLE.",
    literals: Literals::Data,
    refused: &[
        "ALTER TABLE users DISABLE TRIGGER ALL",
        "ALTER TABLE users DISABLE TRIGGER audit",
        "ALTER TABLE users DISABLE RULE r",
        "ALTER EVENT TRIGGER e DISABLE",
    ],
    allowed: &["ALTER TABLE users ENABLE TRIGGER audit", "ALTER SUBSCRIPTION s DISABLE"],
    judge: |act| {
        matches!(act, Act::TriggersOff).then_some("Triggers and rules are what keeps records and checks; nothing tells that they are off.")
    },
};
