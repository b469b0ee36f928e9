//! Judging SQL: text in, findings out. Knows nothing of HTTP, of calls, or of where rules are written down.

mod act;
mod finding;
mod fold;
mod outline;
mod quotes;
pub mod rules;

use regex::Regex;

use crate::identity::Place;

pub use act::Act;
pub use finding::{Backslashes, Field, Finding, Fingerprint, Judgement, Kind, Name, Statement};
pub use fold::{Reading, fold};
pub use outline::{Outline, first_word, is_unclosed};

/// How much of a statement a finding shows, in characters.
const SHOWN: usize = 500;

/// One rule: what it refuses and why, in words for whoever is refused.
#[derive(Clone, Debug)]
pub struct Rule {
    pub id: String,
    /// What a refusal names as `blocked_pattern`.
    pub pattern: String,
    /// Matched against each folded statement.
    pub regex: Regex,
    pub why: String,
    pub mode: Mode,
    /// Where it is written down.
    pub place: Place,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    Enforce,
    Observe,
    Off,
}

/// A rule that a text falls under.
#[derive(Clone, Debug)]
pub struct Hit<'r> {
    pub rule: &'r Rule,
    /// The first statement it matched, folded and cut; or the rule's pattern, where it cannot be told what is a literal. No literal's
    /// content is ever in it.
    pub statement: String,
}

/// At most one hit per rule, in the order of the rules. What a hit means is its rule's mode.
pub fn judge<'r>(text: &str, rules: &'r [Rule]) -> Vec<Hit<'r>> {
    let mut open: Vec<(&Rule, Option<String>)> = rules.iter().filter(|rule| rule.mode != Mode::Off).map(|rule| (rule, None)).collect();
    fold(text, &mut |statement, reading| {
        for (rule, shown) in open.iter_mut().filter(|(_, shown)| shown.is_none()) {
            *shown = rule.regex.is_match(statement).then(|| match reading {
                Reading::Plain => statement.chars().take(SHOWN).collect(),
                // Where quotes can be read in two ways, what one reading takes for words the other takes for a literal.
                Reading::Loose => rule.pattern.clone(),
            });
        }
    });
    open.into_iter().filter_map(|(rule, shown)| shown.map(|statement| Hit { rule, statement })).collect()
}

/// Judges a text by what its statements do.
pub fn examine(_text: &str, _field: Field, _backslashes: Backslashes) -> Judgement {
    Judgement::default()
}
