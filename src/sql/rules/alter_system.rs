//! Settings of the server can run programs.

use super::{Literals, Rule, Tier};
use crate::sql::act::Act;

pub const RULE: Rule = Rule {
    id: "alter-system",
    tier: Tier::Extended,
    pattern: "alter-system",
    refuses: "ALTER SYSTEM.",
    literals: Literals::Matter,
    refused: &["ALTER SYSTEM SET archive_command = 'x'", "alter system reset all"],
    allowed: &["SELECT system FROM alter_log"],
    judge: |act| matches!(act, Act::AlterSystem).then_some("ALTER SYSTEM changes the whole server, for every database on it."),
};
