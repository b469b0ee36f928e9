//! A column that is dropped takes its values with it.

use super::{Literals, Rule, Tier};
use crate::sql::act::Act;

pub const RULE: Rule = Rule {
    id: "drop-column",
    tier: Tier::Extended,
    pattern: "drop-column",
    refuses: "ALTER TABLE … DROP COLUMN, ALTER TYPE … DROP ATTRIBUTE.",
    literals: Literals::Data,
    refused: &[
        "ALTER TABLE users DROP COLUMN email",
        "alter table only users add a int, drop email",
        "ALTER TYPE address DROP ATTRIBUTE street",
    ],
    allowed: &[
        "ALTER TABLE users DROP CONSTRAINT users_email_key",
        "ALTER TABLE users ALTER email DROP NOT NULL",
        "ALTER TABLE users ALTER COLUMN email DROP DEFAULT",
    ],
    judge: |act| matches!(act, Act::DropColumn { .. }).then_some("Dropping a column destroys what is in it, in every row."),
};
