//! The log: on standard error, text for a terminal and JSON for a collector. Secrets cannot reach it: their types print as `***`.

use std::io::IsTerminal;
use std::sync::{Mutex, PoisonError};

use tracing_subscriber::EnvFilter;

/// How the log is written: as asked, or text for a terminal and JSON elsewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    Auto,
    Text,
    Json,
}

/// How much is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    Trace,
    Debug,
    Info,
    Warn,
    Error,
}

impl Level {
    /// What `parse` takes, for whoever gave it something else.
    pub const WORDS: &str = "must be trace, debug, info, warn or error";

    /// In any letter case; `warning` and `critical` are what other programs say.
    pub fn parse(text: &str) -> Option<Self> {
        Some(match text.to_ascii_lowercase().as_str() {
            "trace" => Self::Trace,
            "debug" => Self::Debug,
            "info" => Self::Info,
            "warn" | "warning" => Self::Warn,
            "error" | "critical" => Self::Error,
            _ => return None,
        })
    }

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Trace => "trace",
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Warn => "warn",
            Self::Error => "error",
        }
    }

    /// What libraries tell below warnings is about their insides; ours is about calls.
    fn filter(self) -> EnvFilter {
        let level = self.as_str();
        EnvFilter::new(format!("warn,eliza_gatekeeper={level},gatekeeper={level}"))
    }
}

/// The log, for whoever wants to change how much is written.
pub struct Log {
    level: Mutex<Level>,
    turn: Option<Box<dyn Fn(EnvFilter) -> bool + Send + Sync>>,
}

impl Log {
    /// Starts the process's log. Only the first start counts; of a second one, as in tests, only the level is remembered.
    pub fn start(level: Level, format: Format) -> Self {
        let json = match format {
            Format::Json => true,
            Format::Text => false,
            Format::Auto => !std::io::stderr().is_terminal(),
        };
        let builder = tracing_subscriber::fmt().with_env_filter(level.filter()).with_writer(std::io::stderr).with_target(false);
        let turn: Option<Box<dyn Fn(EnvFilter) -> bool + Send + Sync>> = if json {
            let builder = builder.json().flatten_event(true).with_filter_reloading();
            let handle = builder.reload_handle();
            builder.try_init().is_ok().then(|| Box::new(move |filter| handle.reload(filter).is_ok()) as _)
        } else {
            let builder = builder.with_ansi(std::io::stderr().is_terminal()).with_filter_reloading();
            let handle = builder.reload_handle();
            builder.try_init().is_ok().then(|| Box::new(move |filter| handle.reload(filter).is_ok()) as _)
        };
        Self { level: Mutex::new(level), turn }
    }

    /// Of a gatekeeper whose log is somebody else's.
    pub fn unstarted(level: Level) -> Self {
        Self { level: Mutex::new(level), turn: None }
    }

    pub fn level(&self) -> Level {
        *self.level.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns what it was.
    pub fn set_level(&self, level: Level) -> Level {
        let mut current = self.level.lock().unwrap_or_else(PoisonError::into_inner);
        if self.turn.as_ref().is_some_and(|turn| !turn(level.filter())) {
            tracing::error!("the log's level cannot be changed");
            return *current;
        }
        std::mem::replace(&mut *current, level)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_is_read_in_any_letter_case() {
        for (text, level) in [("DEBUG", Level::Debug), ("Warning", Level::Warn), ("critical", Level::Error), ("trace", Level::Trace)] {
            assert_eq!(Level::parse(text), Some(level));
        }
        assert_eq!(Level::parse("verbose"), None);
    }

    #[test]
    fn a_log_that_is_somebody_elses_remembers_its_level() {
        let log = Log::unstarted(Level::Info);
        assert_eq!((log.set_level(Level::Debug), log.level()), (Level::Info, Level::Debug));
    }
}
