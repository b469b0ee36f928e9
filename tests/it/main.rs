//! One integration binary: it links once, and its files share `support`. Each file is named after what it holds the gatekeeper to.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::cast_possible_truncation,
    reason = "a test states what must hold; a panic is its message"
)]
#![allow(dead_code, reason = "support serves every file, and no file needs all of it")]

mod support;

mod admin;
mod admin_fuzz;
mod answers;
mod audit_command;
mod audit_log;
mod blocklist;
mod bugs;
mod call_parsing;
mod call_sites;
mod commands;
mod deploys;
mod direct_door;
mod encodings;
mod enforcement;
mod error_classes;
mod explain;
mod faults;
mod health;
mod inspect;
mod invariants;
mod journal;
mod judged_strings;
mod keys;
mod ledger_faults;
mod ledger_scale;
mod left_behind;
mod live_afresh;
mod live_enforcement;
mod live_flags;
mod live_policy;
mod operator_commands;
mod overload;
mod policies;
mod rate_limits;
mod readme;
mod real_clients;
mod refusals;
mod refused_records;
mod restarts;
mod resting;
mod retention_commands;
mod retention_guests;
mod runaways;
mod runbooks;
mod schema_check;
mod settings;
mod smuggling;
mod sql_corpus;
mod sql_door;
mod sql_filter;
mod sql_page;
mod sql_policy;
mod store_adoption;
mod store_contract;
mod store_control;
mod store_ledger;
mod store_postgres;
mod store_retention;
mod store_upgrade;
mod supabase_js;
mod tls;
mod upstream;
mod upstreams;
