//! A setting of a database is one for all who use it.

use super::{Literals, Rule, Tier};
use crate::sql::act::Act;

pub const RULE: Rule = Rule {
    id: "alter-database",
    tier: Tier::Core,
    pattern: r#"/ALTER\s+DATABASE/i"#,
    refuses: "ALTER DATABASE.",
    literals: Literals::Data,
    refused: &["ALTER DATABASE shop RENAME TO mine", "alter database shop set work_mem to 1"],
    allowed: &["ALTER TABLE database ADD b int", "SELECT alter_database FROM audit"],
    judge: |act| matches!(act, Act::AlterDatabase).then_some("ALTER DATABASE changes a whole database for everyone."),
};
