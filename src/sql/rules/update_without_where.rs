//! UPDATE without a condition that looks at the row is for all of them.

use super::{Literals, Rule, Tier};
use crate::sql::act::{Act, Rows};

pub const RULE: Rule = Rule {
    id: "update-without-where",
    tier: Tier::Extended,
    pattern: "update-without-where",
    refuses: "UPDATE, alone or in a MERGE, without a WHERE that chooses rows.",
    literals: Literals::Data,
    refused: &[
        "UPDATE users SET role = 'x'",
        "UPDATE users SET role = 'x' -- WHERE id = 1",
        "UPDATE users SET role = 'x' RETURNING *",
        "UPDATE users SET role = 'x' WHERE true",
        "UPDATE users SET role = 'x' WHERE 1=1",
        "UPDATE users SET role = 'x' WHERE 'a' = 'a'",
        "UPDATE users SET role = 'x' WHERE NOT false",
        "UPDATE users SET role = 'x' WHERE 1 IN (1)",
        "UPDATE users SET role = 'x' WHERE id = 7 OR true",
        "UPDATE users SET role = 'x' WHERE id = id",
        "WITH x AS (UPDATE users SET role = 'x' RETURNING *) SELECT count(*) FROM x",
        "EXPLAIN ANALYZE UPDATE users SET role = 'x'",
        "MERGE INTO users u USING teams t ON true WHEN MATCHED THEN UPDATE SET role = 'x'",
    ],
    allowed: &[
        "UPDATE users SET role = 'x' WHERE id = 7",
        "UPDATE users SET role = 'x' WHERE active",
        "UPDATE users SET role = 'x' WHERE false",
        "UPDATE users SET role = 'x' WHERE true AND id = 7",
        "UPDATE users SET role = 'x' WHERE CURRENT OF c",
        "EXPLAIN UPDATE users SET role = 'x'",
    ],
    judge: |act| match act {
        Act::Update(Rows::All) => Some("UPDATE without a WHERE is for every row."),
        Act::Update(Rows::AllAfterAll) => Some("UPDATE with a WHERE that is always true is for every row."),
        Act::Update(Rows::AllOrNone) => Some("UPDATE with a WHERE that looks at no row is for all of them or for none."),
        _ => None,
    },
};
