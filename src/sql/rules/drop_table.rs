//! A table that is dropped takes every row with it.

use super::{Literals, Rule, Tier};
use crate::sql::act::{Act, Dropped};

pub const RULE: Rule = Rule {
    id: "drop-table",
    tier: Tier::Core,
    pattern: r#"/DROP\s+TABLE/i"#,
    refuses: "DROP TABLE, of foreign tables too.",
    literals: Literals::Data,
    refused: &[
        "DROP TABLE users",
        r#"drop table if exists public."Users", orders cascade"#,
        "DROP/**/TABLE users",
        "DROP FOREIGN TABLE remote",
        "SELECT 1; DROP TABLE users",
        "DO $$ BEGIN DROP TABLE users; END $$",
    ],
    allowed: &[
        "CREATE TABLE drops (id int)",
        "ALTER TABLE users DROP CONSTRAINT users_email_key",
        "ALTER PUBLICATION feed DROP TABLE users",
        "ALTER EXTENSION e DROP TABLE users",
        "SELECT 'DROP TABLE users'",
        r#"SELECT 1 AS "drop table users""#,
        "SELECT 1 -- DROP TABLE users",
    ],
    judge: |act| matches!(act, Act::Drop { what: Dropped::Table, .. }).then_some("DROP TABLE destroys a table and everything in it."),
};
