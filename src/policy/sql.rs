//! What policy says of SQL: where it stands in a call, which rules count for whom, and who is excepted from them.

use regex::Regex;

use crate::clock::Timestamp;
use crate::identity::{Caller, NamePattern, Place, TargetName, glob};
use crate::sql::rules::Rule;
use crate::sql::{Backslashes, Fingerprint, Name};

#[derive(Debug)]
pub struct SqlPolicy {
    pub fields: SqlFields,
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

/// Where in a call which strings are judged how. All names are in lower case.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SqlFields {
    /// Member names whose strings are SQL.
    pub sql: Vec<String>,
    /// Paths whose strings are never judged.
    pub prose: Vec<String>,
    /// Paths whose strings are code, each literal of which is judged as a string.
    pub code: Vec<CodeField>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CodeField {
    pub path: String,
    /// In calls to which targets; empty means all.
    pub targets: Vec<NamePattern>,
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

/// A pattern over the names of what is in a database: `tmp_*` in any schema, `staging.*` in that one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectPattern {
    written: String,
    parts: Vec<String>,
}

/// PostgreSQL cuts longer names, so their end says nothing of what they name.
const NAME_BYTES: usize = 63;

impl ObjectPattern {
    /// A name as SQL writes it, with `*` for any run of characters.
    pub fn parse(text: &str) -> Result<Self, String> {
        let unfit = |why: &str| Err(format!("`{text}` is no pattern of names: {why}"));
        let mut parts = vec![String::new()];
        let mut chars = text.chars().peekable();
        let mut is_open = true;
        while let Some(c) = chars.next() {
            let is_first = parts.last().is_none_or(String::is_empty);
            let Some(part) = parts.last_mut() else { break };
            match c {
                '.' if is_first => return unfit("a part of it is empty"),
                '.' => {
                    parts.push(String::new());
                    is_open = true;
                }
                _ if !is_open => return unfit("what follows a name in quotes is a dot, or nothing"),
                '"' if is_first => {
                    is_open = false;
                    loop {
                        match chars.next() {
                            Some('"') if chars.peek() == Some(&'"') => part.extend(chars.next()),
                            Some('"') => break,
                            Some(c) => part.push(c),
                            None => return unfit("a quote in it does not end"),
                        }
                    }
                }
                c if c.is_ascii_uppercase() => {
                    let small = text.to_ascii_lowercase();
                    return Err(format!(
                        "`{text}` never matches: without quotes PostgreSQL keeps names in small letters; write \"{small}\", or '\"…\"' for a name \
                         that was created in quotes"
                    ));
                }
                c if c.is_ascii_alphanumeric() || matches!(c, '_' | '$' | '*') || !c.is_ascii() => part.push(c),
                _ => return unfit("such a name stands in double quotes, as in '\"Order Items\"'"),
            }
        }
        if parts.iter().any(String::is_empty) { unfit("a part of it is empty") } else { Ok(Self { written: text.to_owned(), parts }) }
    }

    pub fn as_str(&self) -> &str {
        &self.written
    }

    pub fn matches(&self, name: &Name) -> bool {
        let fits = |pattern: &String, part: &String| part.len() <= NAME_BYTES && glob(pattern.as_bytes(), part.as_bytes());
        match (self.parts.as_slice(), name.parts.last()) {
            ([pattern], Some(last)) => fits(pattern, last),
            (parts, _) => parts.len() == name.parts.len() && parts.iter().zip(&name.parts).all(|(pattern, part)| fits(pattern, part)),
        }
    }

    /// Whether it matches everything that `narrow` matches.
    pub fn covers(&self, narrow: &Self) -> bool {
        let covers = |wide: &String, narrow: &String| glob(wide.as_bytes(), narrow.as_bytes());
        match (self.parts.as_slice(), narrow.parts.last()) {
            ([wide], Some(last)) => covers(wide, last),
            (wide, _) => wide.len() == narrow.parts.len() && wide.iter().zip(&narrow.parts).all(|(wide, narrow)| covers(wide, narrow)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Name {
        Name { parts: text.split('.').map(str::to_owned).collect() }
    }

    #[test]
    fn names_match_as_a_reader_of_sql_expects() {
        let long = "x".repeat(64);
        let cases = [
            ("tmp_*", "tmp_a", true),
            ("tmp_*", "staging.tmp_a", true),
            ("tmp_*", "tmp_a.users", false),
            ("tmp_*", "users", false),
            ("staging.*", "staging.users", true),
            ("staging.*", "users", false),
            ("staging.*", "shop.staging.users", false),
            ("*.tmp_*", "public.tmp_1", true),
            ("*", "anything", true),
            ("*", &long, false),
            (r#""Users""#, "Users", true),
            (r#""Users""#, "users", false),
            (r#"public."Order Items""#, "public.Order Items", true),
            (r#""a""b""#, "a\"b", true),
            ("größe", "größe", true),
        ];
        for (pattern, text, expected) in cases {
            assert_eq!(ObjectPattern::parse(pattern).unwrap().matches(&name(text)), expected, "{pattern} on {text}");
        }
    }

    #[test]
    fn what_is_no_name_is_refused() {
        for (text, words) in [
            ("", "is empty"),
            ("a.", "is empty"),
            (".a", "is empty"),
            ("a..b", "is empty"),
            ("\"\"", "is empty"),
            ("\"a", "does not end"),
            ("\"a\"b", "is a dot, or nothing"),
            ("a b", "double quotes"),
            ("a\"b\"", "double quotes"),
            ("tmp-*", "double quotes"),
            ("Users", "write \"users\""),
            ("public.TMP_*", "write \"public.tmp_*\""),
        ] {
            let said = ObjectPattern::parse(text).unwrap_err();
            assert!(said.contains(words), "{text}: {said}");
        }
    }

    #[test]
    fn a_wider_pattern_covers_a_narrower_one() {
        for (wide, narrow, expected) in [
            ("tmp_*", "tmp_a*", true),
            ("tmp_*", "staging.tmp_a", true),
            ("tmp_a*", "tmp_*", false),
            ("staging.*", "staging.tmp_*", true),
            ("staging.*", "tmp_*", false),
            ("*", "\"Users\"", true),
        ] {
            let [wider, narrower] = [wide, narrow].map(|text| ObjectPattern::parse(text).unwrap());
            assert_eq!(wider.covers(&narrower), expected, "{wide} over {narrow}");
        }
    }
}
