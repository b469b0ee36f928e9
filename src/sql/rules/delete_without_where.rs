//! DELETE without a condition that looks at the row is for all of them.

use super::{Literals, Rule, Tier};
use crate::sql::act::{Act, Rows};

pub const RULE: Rule = Rule {
    id: "delete-without-where",
    tier: Tier::Core,
    pattern: r#"/DELETE\s+FROM\s+\w+\s*;/i"#,
    refuses: "DELETE, alone or in a MERGE, without a WHERE that chooses rows.",
    literals: Literals::Data,
    refused: &[
        "DELETE FROM users",
        "DELETE FROM users -- WHERE id = 1",
        "DELETE FROM users RETURNING *",
        "DELETE FROM users WHERE true",
        "DELETE FROM users WHERE 1=1",
        "DELETE FROM users WHERE 'a' = 'a'",
        "DELETE FROM users WHERE NOT false",
        "DELETE FROM users WHERE 1 IN (1)",
        "DELETE FROM users WHERE id = 7 OR true",
        "DELETE FROM users WHERE id = id",
        "WITH x AS (DELETE FROM users RETURNING *) SELECT count(*) FROM x",
        "EXPLAIN ANALYZE DELETE FROM users",
        "MERGE INTO users u USING teams t ON true WHEN MATCHED THEN DELETE",
    ],
    allowed: &[
        "DELETE FROM users WHERE id = 7",
        "DELETE FROM users WHERE active",
        "DELETE FROM users WHERE false",
        "DELETE FROM users WHERE true AND id = 7",
        "DELETE FROM users WHERE CURRENT OF c",
        "EXPLAIN DELETE FROM users",
    ],
    judge: |act| match act {
        Act::Delete(Rows::All) => Some("DELETE without a WHERE is for every row."),
        Act::Delete(Rows::AllAfterAll) => Some("DELETE with a WHERE that is always true is for every row."),
        Act::Delete(Rows::AllOrNone) => Some("DELETE with a WHERE that looks at no row is for all of them or for none."),
        _ => None,
    },
};
