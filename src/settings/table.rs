//! Every variable the gatekeeper reads: the one list behind `--help`, `check` and the README's table.

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Plain,
    /// Never printed; `check` says only whether it is set.
    Secret,
}

#[derive(Clone, Copy, Debug)]
pub struct Variable {
    pub name: &'static str,
    pub kind: Kind,
    pub default: Option<&'static str>,
    pub what: &'static str,
}

const fn plain(name: &'static str, default: &'static str, what: &'static str) -> Variable {
    Variable { name, kind: Kind::Plain, default: Some(default), what }
}

const fn unset(name: &'static str, what: &'static str) -> Variable {
    Variable { name, kind: Kind::Plain, default: None, what }
}

const fn secret(name: &'static str, what: &'static str) -> Variable {
    Variable { name, kind: Kind::Secret, default: None, what }
}

pub const VARIABLES: &[Variable] = &[
    secret("INTERNAL_ELIZA_KEY", "The key that callers show as `x-eliza-key`. Required; there is no default."),
    secret("INTERNAL_ELIZA_KEY_PREVIOUS", "The key before it, valid too while callers change over."),
    unset("SUPABASE_URL", "Where the shipped targets live; without it they answer 503 `target_not_configured`."),
    secret("SUPABASE_SERVICE_ROLE_KEY", "Callers that show it whole are the service role; targets get it as policy says."),
    plain("DATABASE_URL", "sqlite://data/gatekeeper.db", "Where calls are recorded: `sqlite://…` or `postgres://…`."),
    plain("DATABASE_POOL_SIZE", "5", "Connections kept to the database."),
    plain("DATABASE_MAX_OVERFLOW", "5", "Connections opened beyond those when all are in use."),
    plain("GATEKEEPER_MIGRATE", "true", "`false`: `serve` never changes the schema and says what is missing."),
    plain("GATEKEEPER_LISTEN", "127.0.0.1:8080", "Where calls and health probes arrive."),
    plain("GATEKEEPER_OPS_LISTEN", "127.0.0.1:9090", "Where operators look: metrics, health, admin API."),
    plain("GATEKEEPER_ONE_PORT", "false", "`true`: both on one address, off loopback too."),
    unset("GATEKEEPER_TLS_CERT", "A PEM file, the certificate with its chain: calls arrive over TLS. Read again when it changes."),
    unset("GATEKEEPER_TLS_KEY", "The PEM file of the key to it."),
    unset("GATEKEEPER_TLS_CLIENT_CA", "A PEM file of authorities: a caller's certificate of theirs counts as policy says of its source."),
    unset("GATEKEEPER_OPS_TLS_CERT", "As `GATEKEEPER_TLS_CERT`, where operators look; without it that is plain HTTP."),
    unset("GATEKEEPER_OPS_TLS_KEY", "The PEM file of the key to it."),
    unset("GATEKEEPER_TRUSTED_PROXIES", "Networks, by commas: a proxy that calls from there says in `x-forwarded-for` for whom."),
    unset("GATEKEEPER_POLICIES", "The directory of policies; else `./policies`, else the shipped ones."),
    plain("GATEKEEPER_STATE", "data", "The directory where what operators say survives a restart without the database; each its own."),
    unset("GATEKEEPER_JOURNAL", "The directory where records lie until they are in the database; else `journal` in `GATEKEEPER_STATE`."),
    secret(
        "GATEKEEPER_AUDIT_KEY",
        "Seals the audit log; 32 characters or more. Without one, `audit.key` in `GATEKEEPER_STATE`, made once.",
    ),
    plain("GATEKEEPER_ENFORCE", "true", "`false`: every gate judges and records, none refuses."),
    plain(
        "GATEKEEPER_ENFORCE_OFF_CREDENTIALS",
        "own",
        "`all`: while off, callers that failed authentication get the target's usual credentials.",
    ),
    plain("GATEKEEPER_TESTING_MODE", "false", "The original's word for `GATEKEEPER_ENFORCE=false`; refused in production."),
    unset("GATEKEEPER_ENV", "`production` refuses the testing mode."),
    secret("GATEKEEPER_ADMIN_TOKEN", "Bearer token of the admin API; without one the API is off. `ADMIN_TOKEN` is read too."),
    secret("ADMIN_TOKEN", "Another name for `GATEKEEPER_ADMIN_TOKEN`."),
    plain("GATEKEEPER_MAX_CONNECTIONS", "8192", "Connections of callers held at once; calls on more are answered 503 `overloaded`."),
    unset("GATEKEEPER_MAX_CONNECTIONS_PER_NETWORK", "Of those, how many from one network; else half. Trusted proxies bring any number."),
    plain("GATEKEEPER_IDLE_SECONDS", "75", "How long a connection is kept without a call."),
    plain("GATEKEEPER_MIN_BODY_RATE", "240", "Bytes a second below which a body is given up, once it is 30 seconds late; `0`: never."),
    plain(
        "GATEKEEPER_LONGEST_WAIT_MS",
        "50",
        "While work waits longer than this for its turn, calls beyond what gets done are answered 503 `overloaded`; `0`: none.",
    ),
    plain("GATEKEEPER_MAX_IN_FLIGHT", "4096", "Calls under way at once; more are answered 503 `overloaded`."),
    plain("GATEKEEPER_BODY_MEMORY_MIB", "1024", "Memory for the bodies of calls under way; beyond it 503 `overloaded`."),
    plain("GATEKEEPER_LAME_DUCK_SECONDS", "5", "How long a stop takes calls on after `/readyz` has failed, for load balancers to notice."),
    plain("GATEKEEPER_DRAIN_SECONDS", "30", "How long calls under way may take to end at shutdown."),
    plain("LOG_LEVEL", "info", "trace, debug, info, warn or error, in any letter case."),
    plain("LOG_FORMAT", "auto", "`text`, `json`, or `auto`: text on a terminal, else JSON."),
    secret("REDIS_URL", "Limits shared between instances; not available yet, so setting it is an error."),
];

pub fn default_of(name: &str) -> Option<&'static str> {
    VARIABLES.iter().find(|variable| variable.name == name).and_then(|variable| variable.default)
}

/// The README's table, to the letter; a test holds the README to it.
pub fn markdown() -> String {
    let mut text = String::from("| variable | default | what it is |\n|---|---|---|\n");
    for variable in VARIABLES {
        let default = match (variable.kind, variable.default) {
            (Kind::Secret, _) => "(secret)".into(),
            (_, Some(default)) => format!("`{default}`"),
            (_, None) => String::new(),
        };
        text.push_str(&format!("| `{}` | {default} | {} |\n", variable.name, variable.what));
    }
    text
}

/// For `--help`.
pub fn help() -> String {
    let mut text = String::from("Environment (each may also come as NAME_FILE, the path of a file that holds it):\n");
    for variable in VARIABLES {
        let default = variable.default.map(|d| format!(" [{d}]")).unwrap_or_default();
        text.push_str(&format!("  {}{default}\n      {}\n", variable.name, variable.what.replace('`', "")));
    }
    text
}
