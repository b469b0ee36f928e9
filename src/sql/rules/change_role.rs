//! Whoever a session is decides what it may do, and which rows it sees; but migrations and poolers change it as a matter of course, so
//! that it is only told unless policy says otherwise.

use super::{Literals, Rule, Tier};
use crate::sql::act::Act;

pub const RULE: Rule = Rule {
    id: "change-role",
    tier: Tier::Extended,
    pattern: "change-role",
    refuses: "SET or RESET of ROLE, SESSION AUTHORIZATION or request.jwt.*, by set_config too, and DISCARD ALL.",
    literals: Literals::Matter,
    refused: &[
        "SET ROLE postgres",
        "SET LOCAL role = 'service_role'",
        "SET SESSION AUTHORIZATION admin",
        "RESET ROLE",
        "RESET SESSION AUTHORIZATION",
        "DISCARD ALL",
        "SELECT set_config('request.jwt.claims', '{\"role\":\"service_role\"}', true)",
    ],
    allowed: &["SELECT current_role", "DISCARD PLANS", "SET request.id = '7'", "UPDATE users SET role = 'admin' WHERE id = 7"],
    judge: |act| match act {
        Act::Setting { name, .. } if matches!(name.as_str(), "role" | "session_authorization") => {
            Some("This changes whose rights and rows the session has.")
        }
        Act::Setting { name, .. } if name.starts_with("request.jwt") => Some("Row level security asks this setting who is calling."),
        _ => None,
    },
};
