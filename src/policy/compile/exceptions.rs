//! Who may do what a SQL rule refuses, and exceptions that can never be needed.

use toml::Spanned;

use super::reach::{Whom, includes};
use crate::policy::file;
use crate::policy::problems::Report;
use crate::policy::{Mode, ModeOverride, ObjectPattern, RuleSetting, SqlException, SqlPattern};
use crate::sql::rules::{self, RULES, Rule};
use crate::sql::{Backslashes, Field, Fingerprint, examine};

/// What there is to be excepted from.
pub struct Rules<'a> {
    pub settings: &'a [RuleSetting],
    pub patterns: &'a [SqlPattern],
    /// Of all patterns, those too that something is wrong with.
    pub own_ids: &'a [String],
}

pub fn compile(entries: Vec<Spanned<file::Exception>>, rules: &Rules<'_>, whom: &Whom<'_>, report: &mut Report<'_>) -> Vec<SqlException> {
    let mut compiled: Vec<SqlException> = Vec::new();
    for entry in entries {
        let exception = one(entry, rules.own_ids, whom, report);
        for id in exception.rules.iter().filter(|id| is_off(id, &exception, rules, whom)) {
            report.warn(format!("{}: `{id}` is off in every call that this exception is for: take it out", exception.place));
        }
        if let Some(before) = compiled.iter().find(|before| makes_needless(before, &exception)) {
            report.warn(format!("{}: all of this is excepted by {} already: take one of them out", exception.place, before.place));
        }
        compiled.push(exception);
    }
    compiled
}

fn one(entry: Spanned<file::Exception>, own_ids: &[String], whom: &Whom<'_>, report: &mut Report<'_>) -> SqlException {
    let span = entry.span();
    let entry = entry.into_inner();
    report.not_empty(&entry.reason, "reason", "whoever wonders about the exception reads it");
    report.not_empty(&entry.by, "by", "somebody answers for an exception");
    if entry.rules.get_ref().is_empty() {
        report.problem(entry.rules.span(), "this excepts from no rule: name at least one by its id");
    }
    let is_own = |id: &String| own_ids.contains(id);
    for id in entry.rules.get_ref().iter().filter(|id| !is_own(id.get_ref()) && rules::find(id.get_ref()).is_none()) {
        let ids: Vec<&str> = RULES.iter().map(|rule| rule.id).chain(own_ids.iter().map(String::as_str)).collect();
        report.problem(id.span(), format!("there is no rule `{}`: the ids are {}", id.get_ref(), ids.join(", ")));
    }
    for (list, key) in [(&entry.objects, "objects"), (&entry.statements, "statements")] {
        if let Some(list) = list.as_ref().filter(|list| list.get_ref().is_empty()) {
            report.problem(list.span(), format!("an empty list would cover nothing: name some, or take `{key}` out"));
        }
    }
    let exception = SqlException {
        place: report.line(entry.rules.span()),
        reach: whom.reach(&entry.sources, &entry.targets, report),
        objects: listed(entry.objects.as_ref(), ObjectPattern::parse, report),
        statements: listed(entry.statements.as_ref(), fingerprint, report),
        until: entry.until.as_ref().and_then(|until| report.moment(until)),
        reason: entry.reason.into_inner(),
        by: entry.by.into_inner(),
        rules: entry.rules.get_ref().iter().map(|id| id.get_ref().clone()).collect(),
    };
    if entry.objects.is_some() {
        for id in entry.rules.get_ref().iter().filter(|id| is_own(id.get_ref()) || rules::find(id.get_ref()).is_some_and(is_nameless)) {
            let why = "never says which object it is about, so `objects` covers nothing of it: name `statements`, or take it out";
            report.problem(id.span(), format!("`{}` {why}", id.get_ref()));
        }
    }
    let named =
        [&entry.objects, &entry.statements].iter().any(|list| list.is_some()) || !entry.sources.is_empty() || !entry.targets.is_empty();
    if !named {
        report.warn(format!("{}: this exception is for every call: the rule's mode says so more plainly", report.place(span)));
    }
    exception
}

fn listed<T>(list: Option<&file::List>, parse: impl Fn(&str) -> Result<T, String>, report: &mut Report<'_>) -> Vec<T> {
    let texts = list.into_iter().flat_map(|list| list.get_ref());
    texts.filter_map(|text| report.parsed(text, &parse)).collect()
}

fn fingerprint(text: &str) -> Result<Fingerprint, String> {
    let what = "is no fingerprint: write the 16 hex digits, in small letters, that a refusal or record of the statement names";
    Fingerprint::parse(text).ok_or_else(|| format!("`{text}` {what}"))
}

/// Its own examples tell: a rule that is about no object names none in any.
fn is_nameless(rule: &Rule) -> bool {
    let names = |example: &&str| {
        let found = examine(example, Field::Sql, Backslashes::Plain).findings;
        found.iter().any(|finding| finding.rule == rule && !finding.objects.is_empty())
    };
    !rule.refused.iter().any(names)
}

fn is_off(id: &str, exception: &SqlException, rules: &Rules<'_>, whom: &Whom<'_>) -> bool {
    if let Some(setting) = rules.settings.iter().find(|setting| setting.rule.id == id) {
        return whom.is_off(setting.mode, &setting.overrides, &exception.reach);
    }
    let as_override = |pattern: &SqlPattern| {
        [ModeOverride { mode: pattern.mode, reach: pattern.reach.clone(), reason: None, place: pattern.place.clone() }]
    };
    let own = rules.patterns.iter().find(|pattern| pattern.id == id).map(as_override);
    own.is_some_and(|own| whom.is_off(Mode::Off, &own, &exception.reach))
}

/// Whether whatever the later one covers is covered by the earlier one, as long as the later one lasts.
fn makes_needless(earlier: &SqlException, later: &SqlException) -> bool {
    let lasts = earlier.until.is_none_or(|until| later.until.is_some_and(|later| later <= until));
    let objects = |one: &ObjectPattern| earlier.objects.iter().any(|other| other.covers(one));
    lasts
        && later.rules.iter().all(|id| earlier.rules.contains(id))
        && includes(&earlier.reach, &later.reach)
        && (earlier.objects.is_empty() || (!later.objects.is_empty() && later.objects.iter().all(objects)))
        && (earlier.statements.is_empty()
            || (!later.statements.is_empty() && later.statements.iter().all(|one| earlier.statements.contains(one))))
}
