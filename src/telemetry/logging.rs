//! The log: on standard error, text for a terminal and JSON for a collector. Secrets cannot reach it: their types print as `***`.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

/// How the log is written: as asked, or text for a terminal and JSON elsewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    Auto,
    Text,
    Json,
}

/// Starts the process's log. A second start, as in tests, changes nothing.
pub fn start(level: &str, format: Format) {
    // What libraries tell below warnings is about their insides; ours is about calls.
    let filter = EnvFilter::try_new(format!("warn,eliza_gatekeeper={level},gatekeeper={level}")).unwrap_or_else(|_| EnvFilter::new("info"));
    let json = match format {
        Format::Json => true,
        Format::Text => false,
        Format::Auto => !std::io::stderr().is_terminal(),
    };
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_target(false);
    // Only the first start counts; a log that is already running is what was asked for.
    let _already_started =
        if json { builder.json().flatten_event(true).try_init() } else { builder.with_ansi(std::io::stderr().is_terminal()).try_init() };
}
