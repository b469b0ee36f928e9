//! Some functions are not about data: they reach the machine under the database, or other machines.

use super::{Literals, Rule, Tier};
use crate::sql::act::Act;

pub const RULE: Rule = Rule {
    id: "server-function",
    tier: Tier::Extended,
    pattern: "server-function",
    refuses: "Functions that reach the server's files, its other sessions, its settings or other servers: calls of them, and other names for them.",
    literals: Literals::Matter,
    refused: &[
        "SELECT pg_read_file('/etc/passwd')",
        "SELECT lo_import('/etc/passwd')",
        "SELECT pg_terminate_backend(17)",
        "SELECT * FROM pg_ls_dir('.')",
        "SELECT dblink_exec('host=db', 'select 1')",
        "CREATE FUNCTION f(text) RETURNS text LANGUAGE internal AS 'pg_read_file_all'",
        "CREATE OPERATOR !! (FUNCTION = pg_read_file, RIGHTARG = text)",
    ],
    allowed: &[
        "SELECT pg_sleep(1)",
        "SELECT pg_size_pretty(1)",
        "COMMENT ON FUNCTION pg_read_file(text) IS 'x'",
        "SELECT pg_read_file FROM t",
    ],
    judge: |act| match act {
        Act::Call { function } if reaches_beyond_the_data(function.last()) => {
            Some("This function reaches beyond the data: the server's files, its other sessions, its settings or other servers.")
        }
        _ => None,
    },
};

/// By name, whatever schema they are called from. Functions that only list or count are not among them.
const FUNCTIONS: [&str; 39] = [
    "dblink",
    "dblink_connect",
    "dblink_connect_u",
    "dblink_exec",
    "dblink_open",
    "dblink_send_query",
    "heap_force_freeze",
    "heap_force_kill",
    "lo_export",
    "lo_import",
    "lo_unlink",
    "pg_backup_start",
    "pg_backup_stop",
    "pg_cancel_backend",
    "pg_create_logical_replication_slot",
    "pg_create_physical_replication_slot",
    "pg_drop_replication_slot",
    "pg_file_rename",
    "pg_file_sync",
    "pg_file_unlink",
    "pg_file_write",
    "pg_logdir_ls",
    "pg_logical_slot_get_binary_changes",
    "pg_logical_slot_get_changes",
    "pg_ls_dir",
    "pg_promote",
    "pg_read_binary_file",
    "pg_read_file",
    "pg_reload_conf",
    "pg_replication_origin_drop",
    "pg_replication_slot_advance",
    "pg_rotate_logfile",
    "pg_start_backup",
    "pg_stat_file",
    "pg_stop_backup",
    "pg_switch_wal",
    "pg_terminate_backend",
    "pg_wal_replay_pause",
    "pg_wal_replay_resume",
];

/// Whether a function, by its name in small letters without its schema, is one of them.
pub fn reaches_beyond_the_data(name: &str) -> bool {
    FUNCTIONS.contains(&name)
}

/// Which of them it is that the server's own code calls so: `pg_read_file_all`, `be_lo_import`.
pub fn by_symbol(symbol: &str) -> Option<&'static str> {
    let bare = symbol.strip_prefix("be_").unwrap_or(symbol);
    let is_one =
        |name: &&&str| bare == **name || name.starts_with("pg_") && bare.strip_prefix(**name).is_some_and(|rest| rest.starts_with('_'));
    FUNCTIONS.iter().find(is_one).copied()
}
