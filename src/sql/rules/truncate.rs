//! A table that is truncated is empty, and no trigger for rows hears of it.

use super::{Literals, Rule, Tier};
use crate::sql::act::Act;

pub const RULE: Rule = Rule {
    id: "truncate",
    tier: Tier::Core,
    pattern: "/TRUNCATE/i",
    refuses: "TRUNCATE as a statement.",
    literals: Literals::Data,
    refused: &["TRUNCATE users", "truncate table only public.users restart identity cascade", "TRUNCATE a, b"],
    allowed: &[
        "SELECT date_trunc('day', created_at) FROM t",
        "SELECT truncate FROM logs",
        "CREATE TRIGGER t BEFORE TRUNCATE ON users EXECUTE FUNCTION f()",
    ],
    judge: |act| matches!(act, Act::Truncate { .. }).then_some("TRUNCATE empties a table at once."),
};
