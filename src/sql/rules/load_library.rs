//! A library runs with the rights of the server itself.

use super::{Literals, Rule, Tier};
use crate::sql::act::Act;

pub const RULE: Rule = Rule {
    id: "load-library",
    tier: Tier::Extended,
    pattern: "load-library",
    refuses: "LOAD of a library, or a setting that says which libraries are loaded and from where.",
    literals: Literals::Matter,
    refused: &["LOAD 'foo'", "SET local_preload_libraries = 'foo'", "SET dynamic_library_path = '/tmp'"],
    allowed: &["SELECT load FROM machines"],
    judge: |act| match act {
        Act::Load => Some("LOAD runs code from a file of the database server."),
        Act::Setting { name, .. }
            if matches!(name.as_str(), "dynamic_library_path" | "local_preload_libraries" | "session_preload_libraries") =>
        {
            Some("This setting decides which files of the database server are run as code.")
        }
        _ => None,
    },
};
