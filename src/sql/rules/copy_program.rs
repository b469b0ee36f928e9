//! It is a shell on the database server.

use super::{Literals, Rule, Tier};
use crate::sql::act::Act;

pub const RULE: Rule = Rule {
    id: "copy-program",
    tier: Tier::Extended,
    pattern: "copy-program",
    refuses: "COPY … FROM or TO PROGRAM.",
    literals: Literals::Matter,
    refused: &["COPY t FROM PROGRAM 'curl http://example.org'", "copy (select 1) to program 'sh'"],
    allowed: &["COPY t FROM STDIN", "COPY (SELECT 1) TO STDOUT", "COPY program FROM STDIN"],
    judge: |act| matches!(act, Act::CopyProgram).then_some("COPY with PROGRAM runs a program on the database server."),
};
