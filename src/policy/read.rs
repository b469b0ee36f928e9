//! TOML in, the sections of all files together out. Each entry is read by itself, and read again without a key that is
//! wrong, so that one mistake hides no other.

use std::ops::Range;

use serde::de::DeserializeOwned;
use toml::Spanned;
use toml::de::{DeString, DeTable, DeValue, ValueDeserializer};

use super::file;
use super::problems::{Laid, Report};

/// More mistakes in one entry than anyone reads; each costs another reading.
const MISTAKES_PER_ENTRY: usize = 50;

/// What the files say, by section. Spans count through all files.
#[derive(Debug, Default)]
pub struct Sections {
    pub sources: Vec<Spanned<file::Source>>,
    pub tiers: Vec<(file::Text, Option<file::Tier>)>,
    pub overrides: Vec<Spanned<file::Override>>,
    pub targets: Vec<Spanned<file::Target>>,
    pub blocks: Vec<Spanned<file::Block>>,
    pub rules: Vec<Spanned<file::Rule>>,
    pub patterns: Vec<Spanned<file::Pattern>>,
    pub exceptions: Vec<Spanned<file::Exception>>,
    pub target_defaults: Option<Spanned<file::Target>>,
    pub limits: Option<Spanned<file::Limits>>,
    pub sql: Option<Spanned<file::Sql>>,
    pub schema: Option<Spanned<file::Schema>>,
    pub body: Option<Spanned<file::Body>>,
    pub journal: Option<Spanned<file::Journal>>,
    pub retention: Option<Spanned<file::Retention>>,
    pub tables: Vec<Spanned<file::Table>>,
    pub cors: Option<Spanned<file::Cors>>,
}

impl Sections {
    pub fn read<'a>(files: impl Iterator<Item = &'a Laid<'a>>, report: &mut Report<'_>) -> Self {
        let mut sections = Self::default();
        for laid in files {
            let (table, errors) = DeTable::parse_recoverable(&laid.file.text);
            for error in errors {
                let span = shifted(error.span().unwrap_or_default(), laid.base);
                report.problem(span, format!("this is no TOML: {}", error.message()));
            }
            for (name, value) in shift_table(table.into_inner(), laid.base) {
                sections.take(&name, value, report);
            }
        }
        sections
    }

    fn take(&mut self, name: &Spanned<DeString<'_>>, value: Spanned<DeValue<'_>>, report: &mut Report<'_>) {
        match name.get_ref().as_ref() {
            "source" => list("source", value, &mut self.sources, report),
            "target" => list("target", value, &mut self.targets, report),
            "override" => list("override", value, &mut self.overrides, report),
            "block" => list("block", value, &mut self.blocks, report),
            "exception" => list("exception", value, &mut self.exceptions, report),
            "rule" => list("rule", value, &mut self.rules, report),
            "table" => list("table", value, &mut self.tables, report),
            "pattern" => list("pattern", value, &mut self.patterns, report),
            "tiers" => self.take_tiers(name.span(), value, report),
            "target_defaults" => single(name, value, &mut self.target_defaults, report),
            "limits" => single(name, value, &mut self.limits, report),
            "sql" => single(name, value, &mut self.sql, report),
            "schema" => single(name, value, &mut self.schema, report),
            "body" => single(name, value, &mut self.body, report),
            "journal" => single(name, value, &mut self.journal, report),
            "retention" => single(name, value, &mut self.retention, report),
            "cors" => single(name, value, &mut self.cors, report),
            other => report.problem(
                name.span(),
                format!(
                    "unknown section `{other}`: there are [[source]], [limits], [tiers.NAME], [[override]], [target_defaults], [[target]], [[block]], \
                     [sql], [[rule]], [[pattern]], [[exception]], [schema], [body], [journal], [retention], [[table]] and [cors]"
                ),
            ),
        }
    }

    fn take_tiers(&mut self, span: Range<usize>, value: Spanned<DeValue<'_>>, report: &mut Report<'_>) {
        let DeValue::Table(table) = value.into_inner() else {
            return report.problem(span, "tiers are tables: write [tiers.NAME] for each");
        };
        for (name, value) in table {
            if let Some((before, _)) = self.tiers.iter().find(|(before, _)| before.get_ref() == name.get_ref().as_ref()) {
                let place = report.place(before.span());
                report.problem(name.span(), format!("tier `{}` stands in {place} already: keep one of them", name.get_ref()));
                continue;
            }
            let tier = entry(value, report).map(Spanned::into_inner);
            // A tier that could not be read is known all the same: whoever names it makes no mistake.
            self.tiers.push((Spanned::new(name.span(), name.into_inner().into_owned()), tier));
        }
    }
}

fn list<T: DeserializeOwned>(name: &str, value: Spanned<DeValue<'_>>, into: &mut Vec<Spanned<T>>, report: &mut Report<'_>) {
    let span = value.span();
    match value.into_inner() {
        DeValue::Array(entries) => into.extend(entries.into_iter().filter_map(|value| entry(value, report))),
        _ => report.problem(span, format!("there may be several of these: write [[{name}]], with two brackets")),
    }
}

fn single<T: DeserializeOwned>(
    name: &Spanned<DeString<'_>>,
    value: Spanned<DeValue<'_>>,
    into: &mut Option<Spanned<T>>,
    report: &mut Report<'_>,
) {
    let (text, span) = (name.get_ref(), name.span());
    match (value.get_ref(), &into) {
        (DeValue::Table(_), None) => *into = entry(value, report),
        (DeValue::Table(_), Some(before)) => {
            let place = report.place(before.span());
            report.problem(span, format!("[{text}] stands in {place} already: keep one of them"));
        }
        _ => report.problem(span, format!("there is one of these: write [{text}], with one bracket")),
    }
}

/// One entry, without the keys that are wrong. `None` if what is left is no entry.
fn entry<T: DeserializeOwned>(mut value: Spanned<DeValue<'_>>, report: &mut Report<'_>) -> Option<Spanned<T>> {
    let whole = value.span();
    let mut dropped = Vec::new();
    for _ in 0..MISTAKES_PER_ENTRY {
        let error = match T::deserialize(ValueDeserializer::from(value.clone())) {
            Ok(entry) => return Some(Spanned::new(whole, entry)),
            Err(error) => error,
        };
        let consequence = dropped.iter().any(|key| error.message() == format!("missing field `{key}`"));
        if !consequence {
            report.problem(error.span().unwrap_or_else(|| whole.clone()), in_our_words(error.message()));
        }
        dropped.push(drop_wrong_key(value.get_mut(), error.span()?)?);
    }
    None
}

/// Takes the key that an error points at out of the table.
fn drop_wrong_key(value: &mut DeValue<'_>, at: Range<usize>) -> Option<String> {
    let DeValue::Table(table) = value else { return None };
    let holds = |span: Range<usize>| span.start <= at.start && at.end <= span.end;
    let wrong = table.iter().find(|(key, value)| holds(key.span()) || holds(value.span())).map(|(key, _)| key.clone())?;
    table.remove(&wrong);
    Some(wrong.into_inner().into_owned())
}

/// Keys that were once known, and what has become of them.
const GONE: [(&str, &str); 2] = [
    ("ddl", "it is not needed any more, what is DDL is told by what a statement does: take it out"),
    ("regex", "a rule with a regex of your own is a [[pattern]]; [[rule]] says what a shipped rule does for some calls"),
];

fn in_our_words(message: &str) -> String {
    for (key, what_now) in GONE {
        if message.starts_with(&format!("unknown field `{key}`")) {
            return format!("unknown key `{key}`: {what_now}");
        }
    }
    for (theirs, ours) in [("unknown field", "unknown key"), ("missing field", "missing key"), ("unknown variant", "unknown value")] {
        if let Some(rest) = message.strip_prefix(theirs) {
            return format!("{ours}{rest}");
        }
    }
    message.to_owned()
}

fn shifted(span: Range<usize>, by: usize) -> Range<usize> {
    span.start + by..span.end + by
}

fn shift_table(table: DeTable<'_>, by: usize) -> DeTable<'_> {
    let mut moved = DeTable::new();
    for (key, mut value) in table {
        shift_value(&mut value, by);
        moved.insert(Spanned::new(shifted(key.span(), by), key.into_inner()), value);
    }
    moved
}

fn shift_value(value: &mut Spanned<DeValue<'_>>, by: usize) {
    let span = shifted(value.span(), by);
    let mut inner = std::mem::replace(value.get_mut(), DeValue::Boolean(false));
    match &mut inner {
        DeValue::Table(table) => *table = shift_table(std::mem::take(table), by),
        DeValue::Array(items) => items.iter_mut().for_each(|item| shift_value(item, by)),
        _ => {}
    }
    *value = Spanned::new(span, inner);
}
