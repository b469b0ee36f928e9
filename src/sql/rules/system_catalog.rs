//! Whoever may write to the catalogs needs no GRANT and no ALTER.

use super::{Literals, Rule, Tier};
use crate::sql::act::Act;

pub const RULE: Rule = Rule {
    id: "system-catalog",
    tier: Tier::Extended,
    pattern: "system-catalog",
    refuses: "INSERT, UPDATE, DELETE, MERGE or COPY of what in the system catalogs says who may do what, or of the tables themselves.",
    literals: Literals::Data,
    refused: &[
        "UPDATE pg_authid SET rolsuper = true WHERE rolname = 'agent'",
        "INSERT INTO pg_auth_members VALUES (10, 16384, 10, true)",
        "DELETE FROM pg_catalog.pg_policy WHERE polname = 'own'",
        "UPDATE pg_class SET relrowsecurity = false WHERE relname = 'users'",
        "DELETE FROM pg_class WHERE relname = 'users'",
    ],
    allowed: &[
        "UPDATE pg_class SET reltuples = 1000 WHERE relname = 'users'",
        "SELECT * FROM pg_authid",
        "UPDATE audit.pg_authid SET seen = true WHERE id = 7",
        "DELETE FROM pg_enum WHERE enumlabel = 'old'",
    ],
    judge: |act| {
        matches!(act, Act::CatalogWrite)
            .then_some("The system catalogs are what the database goes by: who may do what, and which tables there are.")
    },
};
