//! Who may do what a SQL rule refuses.

use std::collections::BTreeMap;
use std::ops::Range;

use toml::Spanned;

use super::glob::meet;
use super::sources::{of_listed, pattern};
use crate::identity::NamePattern;
use crate::policy::SqlException;
use crate::policy::file::{self, Text};
use crate::policy::problems::Report;

pub fn compile(
    entries: Vec<Spanned<file::Exception>>,
    rules: &[String],
    listed_sources: &[&str],
    targets: &BTreeMap<String, Range<usize>>,
    report: &mut Report<'_>,
) -> Vec<SqlException> {
    let one = |entry: Spanned<file::Exception>| {
        let span = entry.span();
        let entry = entry.into_inner();
        let place = report.line(entry.rules.span());
        report.not_empty(&entry.reason, "reason", "whoever wonders about the exception reads it");
        report.not_empty(&entry.by, "by", "somebody answers for an exception");
        if entry.rules.get_ref().is_empty() {
            report.problem(entry.rules.span(), "this excepts from no rule: name at least one by its id");
        }
        for id in entry.rules.get_ref() {
            if !rules.contains(id.get_ref()) {
                report.problem(id.span(), format!("there is no rule `{}`: the ids are {}", id.get_ref(), rules.join(", ")));
            }
        }
        if entry.sources.is_empty() && entry.targets.is_empty() {
            report.warn(format!("{}: this exception is for every call: `mode` of the rule says so more plainly", report.place(span)));
        }
        SqlException {
            rules: entry.rules.into_inner().into_iter().map(Spanned::into_inner).collect(),
            sources: entry.sources.iter().filter_map(|text| of_listed(text, listed_sources, report)).collect(),
            targets: entry.targets.iter().filter_map(|text| target(text, targets, report)).collect(),
            until: entry.until.as_ref().and_then(|until| report.moment(until)),
            reason: entry.reason.into_inner(),
            by: entry.by.into_inner(),
            place,
        }
    };
    entries.into_iter().map(one).collect()
}

fn target(text: &Text, targets: &BTreeMap<String, Range<usize>>, report: &mut Report<'_>) -> Option<NamePattern> {
    let named = report.parsed(text, pattern)?;
    if !targets.keys().any(|target| meet(target, named.as_str())) {
        report.problem(text.span(), format!("there is no target `{}`: list it under [[target]], or mend the name", text.get_ref()));
    }
    Some(named)
}
