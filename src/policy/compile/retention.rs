//! How long rows are kept: those of the gatekeeper's own tables, and of tables of other programs.

use std::time::Duration;

use toml::Spanned;

use crate::policy::file::{self, Text};
use crate::policy::problems::Report;
use crate::policy::values;
use crate::retention::{Age, Archive, Keep, Only, OnlyValue, Scheduled, Span, TableKeep};

/// A slip of the unit must not cost the history.
const SHORTEST_KEPT: Duration = Duration::from_secs(86_400);
/// Who did what must be there to be found when somebody comes to ask.
const SHORTEST_AUDIT: Duration = Duration::from_secs(365 * 86_400);
/// Of a table, so that its archive's name fits as well.
const LONGEST_NAME: usize = 55;

pub fn compile(
    section: file::Retention,
    own: &[Spanned<file::Table>],
    shipped: &[Spanned<file::Table>],
    longest_window: u32,
    report: &mut Report<'_>,
) -> Option<Keep> {
    let activity = span("activity", section.activity, section.activity_archive.as_ref(), report);
    let api_calls = span("api_calls", section.api_calls, section.api_calls_archive.as_ref(), report);
    let longest = Duration::from_secs(u64::from(longest_window));
    // Counts of rows are what limits know after a restart, so none may go before its longest window is over.
    let rate_limits = section.rate_limits.and_then(|text| {
        report.parsed(&text, |text| match values::duration(text)? {
            kept if kept < longest => {
                Err(format!("`{text}` is shorter than the longest window in use: write at least {}", values::in_words(longest)))
            }
            kept => Ok(kept),
        })
    });
    let tables = tables(own, shipped, report);
    Some(Keep { activity: activity?, api_calls: api_calls?, rate_limits: rate_limits?, tables })
}

fn span(key: &str, here: Option<Text>, archive: Option<&Text>, report: &mut Report<'_>) -> Option<Span> {
    let here = report.parsed(&here?, age)?;
    let Some(text) = archive.filter(|text| text.get_ref() != "off") else { return Some(Span { here, archive: Archive::None }) };
    let archive = match (report.parsed(text, age)?, here) {
        (Age::Days(archived), Age::Days(here)) if archived <= here => {
            let (line, here) = (report.place(text.span()), values::in_words(here));
            report.warn(format!(
                "{line}: nothing of {key} is archived: {here} pass before, and `{}` counts from a row's beginning",
                text.get_ref()
            ));
            Archive::None
        }
        // What stays where it is never comes there.
        (_, Age::Forever) => Archive::None,
        (age, Age::Days(_)) => Archive::Until(age),
    };
    Some(Span { here, archive })
}

fn age(text: &str) -> Result<Age, String> {
    if text == "forever" {
        return Ok(Age::Forever);
    }
    match values::duration(text).map_err(|wrong| format!("{wrong}, or \"forever\""))? {
        kept if kept < SHORTEST_KEPT => Err(format!("`{text}` would let go of what was recorded today: write at least 1d")),
        kept => Ok(Age::Days(kept)),
    }
}

/// What the files say of a table counts whole, what they leave out is as shipped.
fn tables(own: &[Spanned<file::Table>], shipped: &[Spanned<file::Table>], report: &mut Report<'_>) -> Vec<TableKeep> {
    let mut kept: Vec<TableKeep> = Vec::new();
    for entry in own {
        let name = &entry.get_ref().name;
        if own.iter().take_while(|before| before.span() != entry.span()).any(|before| before.get_ref().name.get_ref() == name.get_ref()) {
            report.problem(name.span(), format!("table `{}` stands there already: keep one of them", name.get_ref()));
        }
        kept.extend(table(entry.get_ref(), report));
    }
    let named = |table: &str| own.iter().any(|entry| entry.get_ref().name.get_ref() == table);
    for entry in shipped.iter().filter(|entry| !named(entry.get_ref().name.get_ref())) {
        kept.extend(table(entry.get_ref(), report));
    }
    kept
}

fn table(entry: &file::Table, report: &mut Report<'_>) -> Option<TableKeep> {
    let file::Table { name, by, keep, archive, only, scheduled } = entry;
    let table = report.parsed(name, of_others);
    let by = report.parsed(by, identifier);
    let span = span(name.get_ref(), Some(keep.clone()), archive.as_ref(), report);
    if let (Some("security_audit" | "security_events"), Some(Age::Days(age))) = (table.as_deref(), span.map(|span| span.here))
        && age < SHORTEST_AUDIT
    {
        report.problem(keep.span(), "what is kept for audits is kept for a year: write at least 365d");
    }
    let only = only.iter().filter_map(|(column, values)| {
        let (column, values) = (report.parsed(column, identifier), self::values(values, report));
        Some(Only { column: column?, values: values? })
    });
    let only = only.collect();
    let scheduled = if *scheduled { Scheduled::Hourly } else { Scheduled::ByHand };
    Some(TableKeep { table: table?, by: by?, only, span: span?, scheduled })
}

fn values(values: &Spanned<toml::Value>, report: &mut Report<'_>) -> Option<Vec<OnlyValue>> {
    let one = |value: &toml::Value| match value {
        toml::Value::Boolean(is) => Some(OnlyValue::Is(*is)),
        toml::Value::Integer(number) => Some(OnlyValue::Number(*number)),
        toml::Value::String(text) => Some(OnlyValue::Text(text.clone())),
        _ => None,
    };
    let read: Option<Vec<_>> = match values.get_ref() {
        toml::Value::Array(several) if !several.is_empty() => several.iter().map(one).collect(),
        value => one(value).map(|value| vec![value]),
    };
    if read.is_none() {
        report.problem(values.span(), "write a text, a number, true or false, or a list of these: rows with any of them may go");
    }
    read
}

fn identifier(text: &str) -> Result<String, String> {
    let fits = (1..=LONGEST_NAME).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
        && !text.starts_with(|c: char| c.is_ascii_digit());
    match fits {
        true => Ok(text.to_owned()),
        false => Err(format!("`{text}` is no name of a table or column: write a to z, digits and _, at most {LONGEST_NAME}")),
    }
}

fn of_others(text: &str) -> Result<String, String> {
    let table = identifier(text)?;
    match table.strip_suffix("_archive").unwrap_or(&table) {
        "eliza_activity_log" | "api_call_logs" | "rate_limits" => Err(format!("`{text}` is the gatekeeper's own: write it in [retention]")),
        "feature_flags" => Err(format!("`{text}` is what is in force, however old it is")),
        own if own.starts_with("gatekeeper") => Err(format!("`{text}` is the gatekeeper's own, and sees to its age itself")),
        _ => Ok(table),
    }
}
