//! What policy says of SQL: where it stands in a call, which rules count for whom, and who is excepted from them.

use regex::Regex;

use super::objects::ObjectPattern;
use crate::call::Fields;
use crate::clock::Timestamp;
use crate::identity::{Caller, NamePattern, Place, TargetName};
use crate::sql::rules::Rule;
use crate::sql::{Backslashes, Fingerprint, Name};

#[derive(Debug)]
pub struct SqlPolicy {
    pub fields: Fields,
    /// What is stored and shown of the literals of statements.
    pub shown: Shown,
    pub backslashes: Backslashes,
    /// One for each of [`rules::RULES`](crate::sql::rules::RULES), in their order.
    pub rules: Vec<RuleSetting>,
    /// The operators' own rules, in file order.
    pub patterns: Vec<SqlPattern>,
    /// In file order; the first that covers a finding counts.
    pub exceptions: Vec<SqlException>,
}

impl SqlPolicy {
    pub fn setting(&self, rule: &Rule) -> Option<&RuleSetting> {
        self.rules.iter().find(|setting| setting.rule == rule)
    }

    /// Those of policy and those of operators.
    pub fn rule_count(&self) -> usize {
        self.rules.len() + self.patterns.len()
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Shown {
    /// `?` in their place.
    #[default]
    Masked,
    /// As the caller wrote them.
    Kept,
}

/// What a rule does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// It refuses.
    Enforce,
    /// It lets pass, and what it finds is recorded.
    Observe,
    Off,
}

impl Mode {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Enforce => "enforce",
            Self::Observe => "observe",
            Self::Off => "off",
        }
    }
}

/// What a rule does, and where else it does something else.
#[derive(Clone, Debug)]
pub struct RuleSetting {
    pub rule: &'static Rule,
    pub mode: Mode,
    /// Where the mode is written down, if it is.
    pub place: Option<Place>,
    /// In file order; the first that covers a call counts.
    pub overrides: Vec<ModeOverride>,
}

impl RuleSetting {
    pub fn for_call(&self, caller: &Caller, target: &TargetName) -> (Mode, Option<&Place>) {
        let own = self.overrides.iter().find(|own| own.reach.covers(caller, target));
        own.map_or((self.mode, self.place.as_ref()), |own| (own.mode, Some(&own.place)))
    }
}

#[derive(Clone, Debug)]
pub struct ModeOverride {
    pub mode: Mode,
    pub reach: Reach,
    pub reason: Option<String>,
    pub place: Place,
}

/// A rule of an operator's own: it finds every statement that its regex matches.
#[derive(Clone, Debug)]
pub struct SqlPattern {
    pub id: String,
    /// Over a statement as [`plain`](crate::sql::plain) gives it.
    pub regex: Regex,
    pub why: String,
    /// In the calls it is for; in all others it is off.
    pub mode: Mode,
    pub reach: Reach,
    pub place: Place,
}

/// The calls that something of policy is for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reach {
    /// Whose calls; empty means everyone's, the service role's too.
    pub sources: Vec<NamePattern>,
    /// Calls to which targets; empty means all.
    pub targets: Vec<NamePattern>,
}

impl Reach {
    pub fn covers(&self, caller: &Caller, target: &TargetName) -> bool {
        let of_caller = match caller {
            _ if self.sources.is_empty() => true,
            Caller::Source { name, .. } => self.sources.iter().any(|pattern| pattern.matches(name.as_str())),
            Caller::ServiceRole { .. } | Caller::Stranger { .. } => false,
        };
        of_caller && (self.targets.is_empty() || self.targets.iter().any(|pattern| pattern.matches(target.as_str())))
    }

    pub fn is_every_call(&self) -> bool {
        self.sources.is_empty() && self.targets.is_empty()
    }
}

/// Lets somebody do what a rule refuses. All that it names must be so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SqlException {
    /// By id.
    pub rules: Vec<String>,
    pub reach: Reach,
    /// Of what is found, every object must match one of these, and there must be one; empty means whatever it touches.
    pub objects: Vec<ObjectPattern>,
    /// Which statements; empty means all.
    pub statements: Vec<Fingerprint>,
    pub reason: String,
    /// Who answers for it.
    pub by: String,
    /// When it ends by itself.
    pub until: Option<Timestamp>,
    pub place: Place,
}

impl SqlException {
    pub fn is_for(&self, caller: &Caller, target: &TargetName, at: Timestamp) -> bool {
        !self.has_ended(at) && self.reach.covers(caller, target)
    }

    /// `statement`: its fingerprint, which takes some work.
    pub fn covers(&self, rule: &str, objects: &[Name], statement: impl Fn() -> Fingerprint) -> bool {
        let is_object = |name: &Name| self.objects.iter().any(|pattern| pattern.matches(name));
        self.rules.iter().any(|id| id == rule)
            && (self.objects.is_empty() || (!objects.is_empty() && objects.iter().all(is_object)))
            && (self.statements.is_empty() || self.statements.contains(&statement()))
    }

    pub fn has_ended(&self, now: Timestamp) -> bool {
        self.until.is_some_and(|until| now >= until)
    }
}
