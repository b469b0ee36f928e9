//! What is put together at run time can be anything.

use super::{Literals, Rule, Tier};
use crate::sql::act::{Act, Hidden};

pub const RULE: Rule = Rule {
    id: "dynamic-sql",
    tier: Tier::Extended,
    pattern: "dynamic-sql",
    refuses: "EXECUTE, in a DO block or a function, of anything but a literal that is itself harmless; SQL that is put together for a function that runs it; code in languages other than SQL and PL/pgSQL.",
    literals: Literals::Matter,
    refused: &[
        "DO $$ BEGIN EXECUTE 'DR' || 'OP TABLE users'; END $$",
        "CREATE FUNCTION f(t text) RETURNS void LANGUAGE plpgsql AS $$ BEGIN EXECUTE format('DROP TABLE %I', t); END $$",
        "DO $$ DECLARE s text; BEGIN EXECUTE s; END $$",
        "SELECT query_to_xml('DROP ' || 'TABLE users', true, false, '')",
    ],
    allowed: &[
        "DO $$ BEGIN EXECUTE 'SELECT 1'; END $$",
        "CREATE TRIGGER t BEFORE INSERT ON a FOR EACH ROW EXECUTE FUNCTION f()",
        "EXECUTE p(1)",
        "SELECT cron.schedule('nightly', '0 3 * * *', 'DELETE FROM jobs WHERE done')",
    ],
    judge: |act| match act {
        Act::Dynamic(Hidden::Executed) => Some("What EXECUTE runs here is put together while it runs, so nobody can judge it before."),
        Act::Dynamic(Hidden::Given) => {
            Some("This function runs SQL, and what it is given is put together while it runs, so nobody can judge it before.")
        }
        Act::Dynamic(Hidden::Language) => Some("This code is in a language that is not read here, so nobody can judge it before it runs."),
        _ => None,
    },
};
