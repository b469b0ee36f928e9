//! Operators' own SQL rules: data, each with examples that must hold before it is used.

use std::collections::HashMap;
use std::ops::Range;

use regex::{Regex, RegexBuilder};
use toml::Spanned;

use super::reach::Whom;
use super::sql::mode;
use crate::policy::problems::Report;
use crate::policy::{Mode, SqlPattern, file};
use crate::sql::{Backslashes, Field, examine, plain, rules};

/// Ample for a rule of a page, and what one may cost in memory.
const COMPILED_SIZE: usize = 1 << 20;

pub fn compile(entries: Vec<Spanned<file::Pattern>>, whom: &Whom<'_>, report: &mut Report<'_>) -> Vec<SqlPattern> {
    let mut places: HashMap<String, Range<usize>> = HashMap::new();
    let one = |entry: Spanned<file::Pattern>| {
        let id = entry.get_ref().id.clone();
        if let Some(before) = places.insert(id.get_ref().clone(), id.span()) {
            let place = report.place(before);
            report.problem(id.span(), format!("rule `{}` stands in {place} already: keep one of them", id.get_ref()));
        }
        pattern(entry.into_inner(), whom, report)
    };
    entries.into_iter().filter_map(one).collect()
}

fn pattern(entry: file::Pattern, whom: &Whom<'_>, report: &mut Report<'_>) -> Option<SqlPattern> {
    let id = report.parsed(&entry.id, id);
    report.not_empty(&entry.why, "why", "whoever is refused reads it");
    let reach = whom.reach(&entry.sources, &entry.targets, report);
    let place = report.line(entry.id.span());
    let regex = report.parsed(&entry.regex, regex)?;
    if entry.refuses.get_ref().is_empty() {
        report.problem(entry.refuses.span(), "no example of what the rule refuses: give at least one");
    }
    for (examples, refused) in [(entry.refuses.get_ref(), true), (&entry.allows, false)] {
        for example in examples.iter().filter(|example| is_found(&regex, example.get_ref()) != refused) {
            let said = if refused { "does not match this, though it should refuse it" } else { "matches this, though it should allow it" };
            report.problem(example.span(), format!("the rule's regex {said}: mend the regex or the example"));
        }
    }
    Some(SqlPattern { id: id?, regex, why: entry.why.into_inner(), mode: entry.mode.map_or(Mode::Enforce, mode), reach, place })
}

fn id(id: &str) -> Result<String, String> {
    let is_plain = !id.is_empty() && id.len() <= 64 && id.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    match rules::find(id) {
        Some(_) => Err(format!("`{id}` is a rule that is shipped: take another id, or set what that one does under [sql.rules]")),
        None if is_plain => Ok(id.to_owned()),
        None => Err(format!("`{id}` is no id: use up to 64 small letters, digits and `-`")),
    }
}

/// Whether any statement of an example is refused, as it would be in a call.
fn is_found(regex: &Regex, example: &str) -> bool {
    let statements = examine(example, Field::Sql, Backslashes::Plain).statements;
    statements.into_iter().any(|statement| regex.is_match(&plain(example, statement.span)))
}

/// SQL keywords have no case, so a rule that forgets it must not have a hole; and a quoted name may hold a line break.
fn regex(text: &str) -> Result<Regex, String> {
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
