//! Where SQL stands in calls, and what each rule does.

use std::collections::BTreeMap;

use toml::Spanned;

use super::reach::{Whom, includes};
use super::sources::pattern;
use super::{exceptions, patterns};
use crate::call::{CodeField, Fields, Path};
use crate::policy::file::{self, Text};
use crate::policy::problems::Report;
use crate::policy::{Mode, ModeOverride, RuleSetting, Shown, SqlPolicy};
use crate::sql::Backslashes;
use crate::sql::rules::{self, RULES, Tier};

/// What only the operators' own files say.
pub struct Entries {
    pub rules: Vec<Spanned<file::Rule>>,
    pub patterns: Vec<Spanned<file::Pattern>>,
    pub exceptions: Vec<Spanned<file::Exception>>,
}

pub fn compile(
    own: Option<Spanned<file::Sql>>,
    shipped: Option<Spanned<file::Sql>>,
    entries: Entries,
    whom: &Whom<'_>,
    report: &mut Report<'_>,
) -> Option<SqlPolicy> {
    let [own, shipped] = [own, shipped].map(|section| section.map(Spanned::into_inner).unwrap_or_default());
    let code = code(&own, &shipped, whom, report);
    let section = layer(own, shipped);
    let fields = fields(&section, report).map(|(sql, prose)| Fields { sql, prose, code });
    let shown = match section.literals? {
        file::Literals::Mask => Shown::Masked,
        file::Literals::Keep => Shown::Kept,
    };
    let backslashes = match section.standard_conforming_strings? {
        file::ConformingStrings::On => Backslashes::Plain,
        file::ConformingStrings::Unknown => Backslashes::Both,
    };
    let mut rules = settings(&section.rules.unwrap_or_default(), report);
    entries.rules.into_iter().for_each(|entry| set_apart(entry, &mut rules, whom, report));
    warn_of_core(&rules, report);
    let own_ids: Vec<String> = entries.patterns.iter().map(|entry| entry.get_ref().id.get_ref().clone()).collect();
    let patterns = patterns::compile(entries.patterns, whom, report);
    let known = exceptions::Rules { settings: &rules, patterns: &patterns, own_ids: &own_ids };
    let exceptions = exceptions::compile(entries.exceptions, &known, whom, report);
    Some(SqlPolicy { fields: fields?, shown, backslashes, rules, patterns, exceptions })
}

/// `own` over `shipped`, key by key and rule by rule.
fn layer(mut own: file::Sql, shipped: file::Sql) -> file::Sql {
    let mut rules = own.rules.take().unwrap_or_default();
    for (id, mode) in shipped.rules.clone().unwrap_or_default() {
        if !rules.keys().any(|stated| stated.get_ref() == id.get_ref()) {
            rules.insert(id, mode);
        }
    }
    file::Sql { rules: Some(rules), ..own.or(shipped) }
}

/// Whoever lists targets of their own need not have those that are shipped with code: only who says more than that is held to it.
fn code(own: &file::Sql, shipped: &file::Sql, whom: &Whom<'_>, report: &mut Report<'_>) -> Vec<CodeField> {
    let texts = |code: &Vec<file::Code>| -> Vec<Vec<String>> {
        let of_one = |code: &file::Code| [&code.path].into_iter().chain(&code.targets).map(|text| text.get_ref().clone()).collect();
        code.iter().map(of_one).collect()
    };
    let is_as_shipped = own.code.as_ref().is_none_or(|own| shipped.code.as_ref().is_some_and(|shipped| texts(own) == texts(shipped)));
    let one = |code: &file::Code| {
        let targets = if is_as_shipped {
            code.targets.iter().filter_map(|text| report.parsed(text, pattern)).collect()
        } else {
            whom.targets(&code.targets, report)
        };
        Some(CodeField { path: report.parsed(&code.path, Path::parse)?, targets })
    };
    own.code.as_ref().or(shipped.code.as_ref()).into_iter().flatten().filter_map(one).collect()
}

/// What is SQL, and what is prose.
fn fields(section: &file::Sql, report: &mut Report<'_>) -> Option<(Vec<String>, Vec<Path>)> {
    let sql = section.fields.as_ref()?;
    if sql.get_ref().is_empty() {
        report.warn(format!("{}: no field holds SQL", report.place(sql.span())));
    }
    let sql = distinct(sql.get_ref(), name, report);
    let prose = distinct(section.prose.as_ref()?.get_ref(), Path::parse, report);
    Some((sql, prose))
}

fn distinct<T: PartialEq>(list: &[Text], parse: fn(&str) -> Result<T, String>, report: &mut Report<'_>) -> Vec<T> {
    let mut names: Vec<T> = Vec::new();
    for name in list.iter().filter_map(|text| report.parsed(text, parse)) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

fn name(text: &str) -> Result<String, String> {
    if text.is_empty() { Err("a field needs a name: write the member's, as in \"query\"".to_owned()) } else { Ok(text.to_lowercase()) }
}

pub const fn mode(written: file::Mode) -> Mode {
    match written {
        file::Mode::Enforce => Mode::Enforce,
        file::Mode::Observe => Mode::Observe,
        file::Mode::Off => Mode::Off,
    }
}

/// A rule that nobody mentions is enforced.
fn settings(stated: &BTreeMap<Text, file::Mode>, report: &mut Report<'_>) -> Vec<RuleSetting> {
    for id in stated.keys().filter(|id| rules::find(id.get_ref()).is_none()) {
        report.problem(id.span(), format!("there is no rule `{}` among the shipped ones: they are {}", id.get_ref(), ids()));
    }
    let setting = |rule: &&'static rules::Rule| {
        let own = stated.iter().find(|(id, _)| id.get_ref() == rule.id);
        RuleSetting {
            rule,
            mode: own.map_or(Mode::Enforce, |(_, written)| mode(*written)),
            place: own.map(|(id, _)| report.line(id.span())),
            overrides: Vec::new(),
        }
    };
    RULES.iter().map(setting).collect()
}

fn ids() -> String {
    RULES.map(|rule| rule.id).join(", ")
}

fn set_apart(entry: Spanned<file::Rule>, settings: &mut [RuleSetting], whom: &Whom<'_>, report: &mut Report<'_>) {
    let span = entry.span();
    let entry = entry.into_inner();
    let place = report.line(entry.id.span());
    let own = ModeOverride {
        mode: mode(entry.mode),
        reach: whom.reach(&entry.sources, &entry.targets, report),
        reason: entry.reason.map(Spanned::into_inner),
        place,
    };
    let id = entry.id.get_ref();
    let Some(setting) = settings.iter_mut().find(|setting| setting.rule.id == id) else {
        return report.problem(entry.id.span(), format!("there is no rule `{id}` among the shipped ones: they are {}", ids()));
    };
    if entry.sources.is_empty() && entry.targets.is_empty() {
        let mode = own.mode.as_str();
        return report
            .problem(span, format!("this is for every call: write  {id} = \"{mode}\"  under [sql.rules], or name `sources` or `targets`"));
    }
    match setting.overrides.iter().find(|before| includes(&before.reach, &own.reach)) {
        Some(before) => {
            let before = before.place.clone();
            report.warn(format!(
                "{}: this counts for nothing, {before} says what `{id}` does in all its calls: take one of them out",
                own.place
            ));
        }
        None => setting.overrides.push(own),
    }
}

/// What the original refused, and this policy does not.
fn warn_of_core(settings: &[RuleSetting], report: &mut Report<'_>) {
    let lax = |mode: Mode| match mode {
        Mode::Enforce => None,
        Mode::Observe => Some("observed"),
        Mode::Off => Some("off"),
    };
    let of_rule = |setting: &RuleSetting| -> Vec<String> {
        let id = setting.rule.id;
        let whole = lax(setting.mode).map(|state| format!("{id} ({state})"));
        let parts = setting.overrides.iter().filter_map(|own| Some(format!("{id} ({} for some calls, {})", lax(own.mode)?, own.place)));
        whole.into_iter().chain(parts).collect()
    };
    let lax: Vec<String> = settings.iter().filter(|setting| setting.rule.tier == Tier::Core).flat_map(of_rule).collect();
    if !lax.is_empty() {
        report.warn(format!("core SQL rules that are not enforced: {}", lax.join(", ")));
    }
}
