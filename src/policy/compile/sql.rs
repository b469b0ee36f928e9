//! SQL rules: data, each with examples that must hold before it is used.

use std::collections::HashMap;

use regex::{Regex, RegexBuilder};
use toml::Spanned;

use crate::policy::file;
use crate::policy::problems::Report;
use crate::policy::{SqlException, SqlPolicy};
use crate::sql::{Mode, Rule};

/// Ample for a rule of a page, and what one may cost in memory.
const COMPILED_SIZE: usize = 1 << 20;

pub fn compile(
    section: file::Sql,
    rules: Vec<Spanned<file::Rule>>,
    exceptions: Vec<SqlException>,
    core_rules: &[String],
    report: &mut Report<'_>,
) -> Option<SqlPolicy> {
    let fields = section.fields.map(|list| fields(&list, report));
    let mut compiled: Vec<Rule> = Vec::new();
    let mut places = HashMap::new();
    for entry in rules {
        let entry = entry.into_inner();
        let id = entry.id.clone();
        if let Some(before) = places.insert(id.get_ref().clone(), id.span()) {
            let place = report.place(before);
            report.problem(id.span(), format!("rule `{}` stands in {place} already: keep one of them", id.get_ref()));
        }
        compiled.extend(rule(entry, report));
    }
    warn_of_core(core_rules, &compiled, report);
    Some(SqlPolicy { rules: compiled, fields: fields?, exceptions })
}

fn fields(list: &file::List, report: &mut Report<'_>) -> Vec<String> {
    if list.get_ref().is_empty() {
        report.warn(format!("{}: no field holds SQL", report.place(list.span())));
    }
    let mut fields: Vec<String> = Vec::new();
    for text in list.get_ref() {
        let name = text.get_ref().to_lowercase();
        if name.is_empty() {
            report.problem(text.span(), "a field needs a name: write the member's, as in \"query\"");
        } else if !fields.contains(&name) {
            fields.push(name);
        }
    }
    fields
}

fn rule(entry: file::Rule, report: &mut Report<'_>) -> Option<Rule> {
    let id = report.parsed(&entry.id, |id| {
        let plain = !id.is_empty() && id.len() <= 64 && id.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        if plain { Ok(id.to_owned()) } else { Err(format!("`{id}` is no id: use up to 64 small letters, digits and `-`")) }
    });
    let pattern = entry.pattern.as_ref().unwrap_or(&entry.id);
    for (text, key) in [(pattern, "pattern"), (&entry.why, "why")] {
        report.not_empty(text, key, "whoever is refused reads it");
    }
    let place = report.line(entry.id.span());
    let regex = report.parsed(&entry.regex, regex)?;
    if entry.refuses.get_ref().is_empty() {
        report.problem(entry.refuses.span(), "no example of what the rule refuses: give at least one");
    }
    for (examples, refused) in [(entry.refuses.get_ref(), true), (&entry.allows, false)] {
        for example in examples.iter().filter(|example| regex.is_match(example.get_ref()) != refused) {
            let said = if refused { "does not match this, though it should refuse it" } else { "matches this, though it should allow it" };
            report.problem(example.span(), format!("the rule's regex {said}: mend the regex or the example"));
        }
    }
    let mode = match entry.mode.unwrap_or(file::Mode::Enforce) {
        file::Mode::Enforce => Mode::Enforce,
        file::Mode::Observe => Mode::Observe,
        file::Mode::Off => Mode::Off,
    };
    Some(Rule { id: id?, pattern: pattern.get_ref().clone(), regex, why: entry.why.into_inner(), mode, place })
}

/// SQL keywords have no case, so a rule that forgets it must not have a hole; and a quoted name may hold a line break.
pub fn regex(text: &str) -> Result<Regex, String> {
    let built = RegexBuilder::new(text).case_insensitive(true).dot_matches_new_line(true).size_limit(COMPILED_SIZE).build();
    let regex = built.map_err(|error| match error {
        regex::Error::CompiledTooBig(_) => "this regex grows too large: use fewer or smaller repetitions".to_owned(),
        regex::Error::Syntax(syntax) => {
            format!("this is no regex: {}", syntax.lines().last().unwrap_or_default().trim_start_matches("error: "))
        }
        other => format!("this is no regex: {other}"),
    })?;
    if regex.is_match("") {
        return Err("this regex matches nothing at all and so would refuse every statement: make it ask for something".to_owned());
    }
    Ok(regex)
}

fn warn_of_core(core_rules: &[String], rules: &[Rule], report: &mut Report<'_>) {
    let state = |id: &String| match rules.iter().find(|rule| rule.id == *id).map(|rule| rule.mode) {
        Some(Mode::Enforce) => None,
        Some(Mode::Observe) => Some(format!("{id} (observed)")),
        Some(Mode::Off) => Some(format!("{id} (off)")),
        None => Some(format!("{id} (missing)")),
    };
    let lax: Vec<String> = core_rules.iter().filter_map(state).collect();
    if !lax.is_empty() {
        report.warn(format!("shipped SQL rules that are not enforced: {}", lax.join(", ")));
    }
}
