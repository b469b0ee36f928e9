//! Some settings decide whether the database's own guards count.

use super::{Literals, Rule, Tier};
use crate::sql::act::{Act, SettingTo};

pub const RULE: Rule = Rule {
    id: "guard-setting",
    tier: Tier::Extended,
    pattern: "guard-setting",
    refuses: "SET, RESET or set_config of a setting that turns off a guard: triggers, row level security, how literals are read, what protects the catalogs; UPDATE of pg_settings likewise.",
    literals: Literals::Matter,
    refused: &[
        "SET session_replication_role = replica",
        "set local row_security to off",
        "SELECT set_config('session_replication_role', 'replica', true)",
        "SET standard_conforming_strings = off",
        "SET allow_system_table_mods = on",
        "UPDATE pg_settings SET setting = 'replica' WHERE name = 'session_replication_role'",
        "CREATE FUNCTION f() RETURNS int LANGUAGE sql SET session_replication_role = replica AS $$ SELECT 1 $$",
    ],
    allowed: &[
        "SET search_path = public",
        "SET standard_conforming_strings = on",
        "RESET ALL",
        "SHOW row_security",
        "SELECT set_config('search_path', '', false)",
        "UPDATE pg_settings SET setting = 'off' WHERE name = 'enable_seqscan'",
    ],
    judge: |act| match act {
        Act::Setting { name, .. } if matches!(name.as_str(), "session_replication_role" | "row_security") => {
            Some("This setting decides whether triggers and row level security count.")
        }
        Act::Setting { name, .. }
            if matches!(name.as_str(), "allow_system_table_mods" | "ignore_checksum_failure" | "zero_damaged_pages") =>
        {
            Some("This setting keeps the server from writing over its own catalogs and over damaged data.")
        }
        Act::Setting { name, .. } if name == "*" => Some("Which setting this changes is known only when it runs."),
        Act::Setting { name, to: SettingTo::Off | SettingTo::Unknown } if name == "standard_conforming_strings" => {
            Some("With this setting off, literals end elsewhere than they seem to.")
        }
        _ => None,
    },
};
