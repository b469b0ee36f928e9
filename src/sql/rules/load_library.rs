//! A library runs with the rights of the server itself.

use super::{Literals, Rule, Tier};
use crate::sql::act::Act;

pub const RULE: Rule = Rule {
    id: "load-library",
    tier: Tier::Extended,
    pattern: "load-library",
    refuses: "LOAD of a library, functions of one that the server does not ship, settings that say which are loaded and from where, and languages whose code may do whatever the server may.",
    literals: Literals::Matter,
    refused: &[
        "LOAD 'foo'",
        "SET local_preload_libraries = 'foo'",
        "SET dynamic_library_path = '/tmp'",
        "CREATE FUNCTION f() RETURNS int LANGUAGE c AS '$libdir/../x', 'f'",
        "CREATE EXTENSION plpython3u",
    ],
    allowed: &[
        "SELECT load FROM machines",
        "CREATE EXTENSION IF NOT EXISTS pgcrypto",
        "CREATE FUNCTION f() RETURNS int LANGUAGE c AS '$libdir/x', 'f'",
    ],
    judge: |act| match act {
        Act::Load => Some("This runs code from a file of the database server."),
        Act::Untrusted => Some("Code in this language may do on the server whatever the database itself may."),
        Act::Setting { name, .. }
            if matches!(name.as_str(), "dynamic_library_path" | "local_preload_libraries" | "session_preload_libraries") =>
        {
            Some("This setting decides which files of the database server are run as code.")
        }
        _ => None,
    },
};
