//! Judging SQL: text in, findings out. Knows nothing of HTTP, of calls, or of where rules are written down.

use regex::Regex;

/// One rule: what it refuses and why, in words for whoever is refused.
#[derive(Clone, Debug)]
pub struct Rule {
    pub id: String,
    /// What a refusal names as `blocked_pattern`.
    pub pattern: String,
    pub regex: Regex,
    pub why: String,
    pub mode: Mode,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    Enforce,
    Observe,
    Off,
}
