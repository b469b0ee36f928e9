//! Policies are what row level security is made of.

use super::{Literals, Rule, Tier};
use crate::sql::act::{Act, Dropped};

pub const RULE: Rule = Rule {
    id: "drop-policy",
    tier: Tier::Extended,
    pattern: "drop-policy",
    refuses: "DROP POLICY.",
    literals: Literals::Data,
    refused: &["DROP POLICY tenant_isolation ON accounts", r#"drop policy if exists "Own rows" on public.notes"#],
    allowed: &["CREATE POLICY p ON t USING (true)", "ALTER POLICY p ON t RENAME TO q"],
    judge: |act| {
        matches!(act, Act::Drop { what: Dropped::Policy, .. })
            .then_some("DROP POLICY takes away what keeps rows from those who may not see them.")
    },
};
