//! The gate that stops dangerous SQL, whoever sends it and whatever target it is for, but for the exceptions that policy states.
//! What a text does is judged elsewhere; here is what policy makes of that for one call.

use crate::call::{CUT, Reading, SqlText, legible, unwrapped};
use crate::clock::Timestamp;
use crate::identity::{Caller, Place, TargetName};
use crate::policy::{Mode, Shown, SqlException, SqlPattern, SqlPolicy};
use crate::sql::rules::Tier;
use crate::sql::{Backslashes, Field, Finding, Fingerprint, Judgement, Name, Statement, examine, fingerprint, masked, plain};
use crate::verdict::{Denial, ExceptedSql, SqlFinding, Verdict};

/// Findings kept per call of those that refuse nothing: enough to see what a rule would do, whatever a call carries.
const KEPT: usize = 16;

/// How much of a caller's own statement is kept, in characters, where policy has it kept as it is.
const KEPT_CHARS: usize = 500;

/// How many objects a finding names, and how much of each name.
const OBJECTS: usize = 16;
const OBJECT_BYTES: usize = 256;

/// Proof that a call's SQL was judged.
#[derive(Debug, Default)]
pub struct SqlJudged {
    holds: Vec<Holds>,
    observed: Vec<SqlFinding>,
    excepted: Vec<ExceptedSql>,
}

impl SqlJudged {
    /// What each text of the call turned out to hold, in their order.
    pub fn holds(&self) -> &[Holds] {
        &self.holds
    }

    /// What observing rules found, for the record.
    pub fn observed(&self) -> &[SqlFinding] {
        &self.observed
    }

    /// What exceptions let pass, for the record.
    pub fn excepted(&self) -> &[ExceptedSql] {
        &self.excepted
    }
}

/// Denies with the first finding of an enforcing rule that no exception covers. No caller is exempt by being who it is: a stolen service
/// key must not drop tables either.
pub fn sql_filter(caller: &Caller, target: &TargetName, texts: &[SqlText], policy: &SqlPolicy, at: Timestamp) -> Verdict<SqlJudged> {
    let mut judged = SqlJudged { holds: Vec::with_capacity(texts.len()), ..SqlJudged::default() };
    let mut denial = None;
    let weighing = Weighing { caller, target, policy, at };
    for text in texts {
        let judgement = judge(text, policy.backslashes);
        judged.holds.push(Holds::of(&judgement));
        if judgement.is_empty() {
            continue;
        }
        for weighed in weighing.weigh(text, &judgement) {
            match weighed.outcome {
                // The first one is told; the next gate may still want to know what the others hold.
                Outcome::Refused => {
                    denial.get_or_insert_with(|| Denial::DangerousSql(Box::new(weighed.finding())));
                }
                Outcome::Excepted(exception) if judged.excepted.len() < KEPT => {
                    let (by, reason, place) = (exception.by.clone(), exception.reason.clone(), exception.place.clone());
                    judged.excepted.push(ExceptedSql { finding: weighed.finding(), by, reason, place });
                }
                Outcome::Observed if judged.observed.len() < KEPT => judged.observed.push(weighed.finding()),
                Outcome::Excepted(_) | Outcome::Observed => {}
            }
        }
    }
    match denial {
        Some(denial) => Verdict::Deny { denial, onward: judged },
        None => Verdict::Allow(judged),
    }
}

/// What a text is, now that it is judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holds {
    NoSql,
    /// It changes rows at most.
    Sql,
    /// It changes what the database is made of, or may.
    SchemaChange,
}

impl Holds {
    fn of(judgement: &Judgement) -> Self {
        match judgement.statements.as_slice() {
            [] => Self::NoSql,
            statements if statements.iter().any(|statement| statement.changes_schema) => Self::SchemaChange,
            _ => Self::Sql,
        }
    }
}

/// What a text does, as it stands and without what it is wrapped in.
pub fn judge(text: &SqlText, backslashes: Backslashes) -> Judgement {
    let mut judgement = examine(&text.text, field(text.reading), backslashes);
    if let Some(inside) = unwrapped(text) {
        let Judgement { statements, findings } = examine(&inside, field(text.reading), backslashes);
        judgement.statements.extend(statements);
        for finding in findings {
            if !judgement.findings.contains(&finding) {
                judgement.findings.push(finding);
            }
        }
    }
    judgement
}

/// How a text is read.
const fn field(reading: Reading) -> Field {
    match reading {
        Reading::Sql => Field::Sql,
        Reading::Text => Field::Text,
    }
}

/// What a call's findings are weighed by.
#[derive(Clone, Copy, Debug)]
pub struct Weighing<'a> {
    pub caller: &'a Caller,
    pub target: &'a TargetName,
    pub policy: &'a SqlPolicy,
    pub at: Timestamp,
}

/// A finding of a rule that is not off, and what becomes of it.
#[derive(Debug)]
pub struct Weighed<'a> {
    pub outcome: Outcome<'a>,
    shown: Shown,
    text: &'a SqlText,
    found: Found<'a>,
    place: Option<&'a Place>,
}

#[derive(Clone, Copy, Debug)]
pub enum Outcome<'a> {
    Refused,
    /// The rule only observes.
    Observed,
    /// The rule enforces or observes, and this lets it pass.
    Excepted(&'a SqlException),
}

#[derive(Clone, Copy, Debug)]
enum Found<'a> {
    Rule(&'a Finding),
    Pattern(&'a SqlPattern, &'a Statement),
}

impl<'a> Weighing<'a> {
    /// What policy makes of a text: of what the shipped rules find, and then the operators' own.
    pub fn weigh(self, text: &'a SqlText, judgement: &'a Judgement) -> impl Iterator<Item = Weighed<'a>> {
        let by_rules = judgement.findings.iter().map(Found::Rule);
        let found = by_rules.chain(self.by_patterns(text, judgement));
        found.filter_map(move |found| self.one(text, found))
    }

    fn by_patterns(self, text: &'a SqlText, judgement: &'a Judgement) -> impl Iterator<Item = Found<'a>> {
        let is_for = move |pattern: &&SqlPattern| pattern.mode != Mode::Off && pattern.reach.covers(self.caller, self.target);
        let patterns: Vec<&SqlPattern> = self.policy.patterns.iter().filter(is_for).collect();
        // Without patterns no statement is looked at.
        let statements = if patterns.is_empty() { &[] } else { judgement.statements.as_slice() };
        statements.iter().flat_map(move |statement| {
            let said = plain(&text.text, statement.span.clone());
            let matching = patterns.iter().filter(|pattern| pattern.regex.is_match(&said));
            matching.map(|pattern| Found::Pattern(pattern, statement)).collect::<Vec<_>>()
        })
    }

    fn one(self, text: &'a SqlText, found: Found<'a>) -> Option<Weighed<'a>> {
        let (mode, place) = match found {
            Found::Rule(finding) => match self.policy.setting(finding.rule) {
                Some(setting) => setting.for_call(self.caller, self.target),
                None => (Mode::Enforce, None),
            },
            Found::Pattern(pattern, _) => (pattern.mode, Some(&pattern.place)),
        };
        if mode == Mode::Off {
            return None;
        }
        let excepts = |exception: &&SqlException| {
            exception.is_for(self.caller, self.target, self.at)
                && exception.covers(found.rule(), found.objects(), || found.fingerprint(text))
        };
        let outcome = match (self.policy.exceptions.iter().find(excepts), mode) {
            (Some(exception), _) => Outcome::Excepted(exception),
            (None, Mode::Enforce) => Outcome::Refused,
            (None, Mode::Observe | Mode::Off) => Outcome::Observed,
        };
        Some(Weighed { outcome, shown: self.policy.shown, text, found, place })
    }
}

impl Weighed<'_> {
    /// As answers and records tell it.
    pub fn finding(&self) -> SqlFinding {
        let text = self.text.text.as_str();
        let (span, statement) = match self.found {
            Found::Rule(finding) => (finding.span.clone(), finding.statement.clone()),
            Found::Pattern(_, statement) => (statement.span.clone(), masked(text, statement.span.clone())),
        };
        let (pattern, reason, severity, kind) = match self.found {
            Found::Rule(finding) => (finding.rule.pattern, finding.why, finding.rule.tier.severity(), finding.kind),
            Found::Pattern(pattern, statement) => (pattern.id.as_str(), pattern.why.as_str(), Tier::Extended.severity(), statement.kind),
        };
        SqlFinding {
            rule: self.found.rule().to_owned(),
            pattern: pattern.to_owned(),
            statement: match self.shown {
                Shown::Masked => statement,
                Shown::Kept => in_own_words(text.get(span.clone()).unwrap_or_default()),
            },
            pointer: self.text.pointer.clone(),
            reason: reason.to_owned(),
            severity,
            kind: kind.as_str(),
            objects: named(self.found.objects()),
            span,
            fingerprint: self.found.fingerprint(self.text).to_string(),
            place: self.place.cloned(),
        }
    }
}

impl<'a> Found<'a> {
    fn rule(self) -> &'a str {
        match self {
            Self::Rule(finding) => finding.rule.id,
            Self::Pattern(pattern, _) => &pattern.id,
        }
    }

    fn objects(self) -> &'a [Name] {
        match self {
            Self::Rule(finding) => &finding.objects,
            Self::Pattern(..) => &[],
        }
    }

    fn fingerprint(self, text: &SqlText) -> Fingerprint {
        match self {
            Self::Rule(finding) => finding.fingerprint,
            Self::Pattern(_, statement) => fingerprint(&text.text, statement.span.clone()),
        }
    }
}

fn in_own_words(text: &str) -> String {
    let mut chars = text.chars().map(|c| if matches!(c, '\n' | '\r' | '\t') { ' ' } else { c });
    let mut out: String = chars.by_ref().take(KEPT_CHARS).collect();
    if chars.next().is_some() {
        out.push(CUT);
    }
    legible(&out, usize::MAX)
}

fn named(objects: &[Name]) -> Vec<String> {
    let mut names: Vec<String> = objects.iter().take(OBJECTS).map(|name| legible(&name.to_string(), OBJECT_BYTES)).collect();
    if objects.len() > OBJECTS {
        names.push(CUT.to_string());
    }
    names
}
