//! The calls that an entry is for, and what can be said of them without seeing one.

use std::collections::BTreeMap;
use std::ops::Range;

use super::glob::{covers, meet};
use super::sources::{of_listed, pattern};
use crate::identity::NamePattern;
use crate::policy::file::Text;
use crate::policy::problems::Report;
use crate::policy::{Mode, ModeOverride, Reach};

/// Who is listed, and who can be called.
pub struct Whom<'a> {
    pub sources: &'a [&'a str],
    pub targets: &'a BTreeMap<String, Range<usize>>,
}

impl Whom<'_> {
    pub fn reach(&self, sources: &[Text], targets: &[Text], report: &mut Report<'_>) -> Reach {
        Reach {
            sources: sources.iter().filter_map(|text| of_listed(text, self.sources, report)).collect(),
            targets: self.targets(targets, report),
        }
    }

    pub fn targets(&self, targets: &[Text], report: &mut Report<'_>) -> Vec<NamePattern> {
        targets.iter().filter_map(|text| self.target(text, report)).collect()
    }

    fn target(&self, text: &Text, report: &mut Report<'_>) -> Option<NamePattern> {
        let named = report.parsed(text, pattern)?;
        if !self.targets.keys().any(|target| meet(target, named.as_str())) {
            report.problem(text.span(), format!("there is no target `{}`: list it under [[target]], or mend the name", text.get_ref()));
        }
        Some(named)
    }

    /// Whether a rule does nothing in any call of these.
    pub fn is_off(&self, default: Mode, overrides: &[ModeOverride], reach: &Reach) -> bool {
        let reached = |target: &&String| reach.targets.is_empty() || reach.targets.iter().any(|pattern| pattern.matches(target));
        let callers = self.callers(reach);
        let mut targets = self.targets.keys().filter(reached).peekable();
        targets.peek().is_some() && targets.all(|target| callers.iter().all(|caller| self::is_off(default, overrides, *caller, target)))
    }

    /// Whose calls these can be, each as one name or pattern; `None` is whoever is no source.
    fn callers<'a>(&'a self, reach: &'a Reach) -> Vec<Option<&'a str>> {
        if reach.sources.is_empty() {
            return self.sources.iter().copied().map(Some).chain([None]).collect();
        }
        let narrower = |named: &'a NamePattern, listed: &'a str| if covers(listed, named.as_str()) { named.as_str() } else { listed };
        let of_pattern = |named: &'a NamePattern| {
            let met = self.sources.iter().filter(|listed| meet(listed, named.as_str()));
            met.map(move |listed| Some(narrower(named, listed)))
        };
        reach.sources.iter().flat_map(of_pattern).collect()
    }
}

fn is_off(default: Mode, overrides: &[ModeOverride], caller: Option<&str>, target: &str) -> bool {
    for own in overrides.iter().filter(|own| own.reach.targets.is_empty() || own.reach.targets.iter().any(|named| named.matches(target))) {
        let sources = &own.reach.sources;
        let is_whole = sources.is_empty() || caller.is_some_and(|caller| sources.iter().any(|named| covers(named.as_str(), caller)));
        let is_part = is_whole || caller.is_some_and(|caller| sources.iter().any(|named| meet(named.as_str(), caller)));
        if is_part && own.mode != Mode::Off {
            return false;
        }
        if is_whole {
            return true;
        }
    }
    default == Mode::Off
}

/// Whether what is for `wide` is for every call that `narrow` is for.
pub fn includes(wide: &Reach, narrow: &Reach) -> bool {
    let all = |wide: &[NamePattern], narrow: &[NamePattern]| {
        let is_covered = |one: &NamePattern| wide.iter().any(|other| covers(other.as_str(), one.as_str()));
        wide.is_empty() || (!narrow.is_empty() && narrow.iter().all(is_covered))
    };
    all(&wide.sources, &narrow.sources) && all(&wide.targets, &narrow.targets)
}
