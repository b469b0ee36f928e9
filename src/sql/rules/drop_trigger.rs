//! What is dropped guards nothing, either; but migrations drop triggers to create them anew, so that it is only told unless policy says
//! otherwise.

use super::{Literals, Rule, Tier};
use crate::sql::act::{Act, Dropped};

pub const RULE: Rule = Rule {
    id: "drop-trigger",
    tier: Tier::Extended,
    pattern: "drop-trigger",
    refuses: "DROP TRIGGER, DROP RULE and DROP EVENT TRIGGER.",
    literals: Literals::Data,
    refused: &["DROP TRIGGER audit ON users", "DROP RULE r ON users", "drop event trigger if exists guard"],
    allowed: &["CREATE OR REPLACE TRIGGER t BEFORE INSERT ON a FOR EACH ROW EXECUTE FUNCTION f()", "ALTER TRIGGER a ON t RENAME TO b"],
    judge: |act| {
        matches!(act, Act::Drop { what: Dropped::Trigger | Dropped::EventTrigger, .. })
            .then_some("Triggers and rules are what keeps records and checks; this one is gone for good.")
    },
};
