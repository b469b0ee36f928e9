//! What the server's account may read and write, this may.

use super::{Literals, Rule, Tier};
use crate::sql::act::Act;

pub const RULE: Rule = Rule {
    id: "server-file",
    tier: Tier::Extended,
    pattern: "server-file",
    refuses: "COPY from or to a file of the server.",
    literals: Literals::Matter,
    refused: &["COPY t FROM '/etc/passwd'", "COPY (SELECT 1) TO '/tmp/x'"],
    allowed: &["COPY t FROM STDIN", "COPY t TO STDOUT WITH (FORMAT csv)"],
    judge: |act| matches!(act, Act::CopyFile).then_some("COPY with a file name reads or writes the database server's own files."),
};
