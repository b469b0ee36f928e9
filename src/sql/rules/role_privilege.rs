//! Such a role passes every other guard there is.

use super::{Literals, Rule, Tier};
use crate::sql::act::Act;

pub const RULE: Rule = Rule {
    id: "role-privilege",
    tier: Tier::Extended,
    pattern: "role-privilege",
    refuses: "A role with SUPERUSER, CREATEROLE, CREATEDB, REPLICATION or BYPASSRLS, or a password that is changed.",
    literals: Literals::Data,
    refused: &[
        "ALTER ROLE agent SUPERUSER",
        "CREATE ROLE sync WITH REPLICATION",
        "CREATE USER u BYPASSRLS NOLOGIN",
        "ALTER USER app PASSWORD 'x'",
    ],
    allowed: &["CREATE ROLE reader NOLOGIN", "ALTER ROLE app NOSUPERUSER", "ALTER ROLE app CONNECTION LIMIT 5"],
    judge: |act| matches!(act, Act::RolePrivilege).then_some("This gives a role power over others, or changes who can use it."),
};
