//! Who may call and how much: sources, their tiers, and the endpoints with limits of their own.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::sync::Arc;

use toml::Spanned;

use super::Variables;
use super::glob::{covers, meet};
use super::identities::Identities;
use super::limits::{allowance, is_below, raised};
use crate::identity::{NAME_LIMIT, NamePattern};
use crate::policy::file::{self, Text};
use crate::policy::problems::Report;
use crate::policy::{Allowance, Counted, EndpointOverride, RESERVED, Source, SourceCertificates, Sources, values};

/// The tier of a source that names none.
const DEFAULT_TIER: &str = "user";

/// What a source may use before overrides.
#[derive(Clone)]
struct Terms {
    endpoint: Arc<Allowance>,
    total: Arc<Allowance>,
    /// The source itself says what it may use in all, so no override raises it.
    total_is_own: bool,
    burst_is_stated: bool,
}

/// A name or pattern of the list. Without terms, what is wrong with its entry is reported already.
#[derive(Clone)]
struct Listed {
    span: Range<usize>,
    pattern: NamePattern,
    terms: Option<Terms>,
    counted: Counted,
    certificates: Option<Arc<SourceCertificates>>,
}

struct Override {
    span: Range<usize>,
    source: NamePattern,
    endpoint: Box<str>,
    allowance: Arc<Allowance>,
}

pub fn compile(
    entries: &[Spanned<file::Source>],
    tiers: &[(Text, Option<file::Tier>)],
    overrides: &[Spanned<file::Override>],
    targets: &BTreeMap<String, Range<usize>>,
    variables: Variables<'_>,
    report: &mut Report<'_>,
) -> Sources {
    let tiers: BTreeMap<&str, Option<Terms>> =
        tiers.iter().map(|(name, tier)| (name.get_ref().as_str(), tier.as_ref().and_then(|tier| terms_of_tier(tier, report)))).collect();
    let mut known = Identities::default();
    let mut listed = listed(entries, &tiers, &mut known, report);
    if listed.is_empty() {
        report.warn("no source is listed: every call is refused");
    }
    let overrides: Vec<Override> = overrides.iter().filter_map(|entry| one_override(entry.get_ref(), targets, report)).collect();
    for one in &overrides {
        single_out(one, &mut listed);
        check_reach(one, &listed, report);
    }
    known.warn_if_unverified(variables, report);
    let mut sources = Sources { certified: known.certified(), ..Sources::default() };
    for source in &listed {
        let Some(terms) = &source.terms else { continue };
        let compiled = Arc::new(one_source(source, terms, &overrides, report));
        if source.pattern.is_single() {
            sources.named.insert(source.pattern.as_str().into(), compiled);
        } else {
            sources.patterns.push(compiled);
        }
    }
    sources
}

fn terms_of_tier(tier: &file::Tier, report: &mut Report<'_>) -> Option<Terms> {
    let endpoint = allowance(&tier.limit, tier.burst.as_ref(), report);
    let total = match (&tier.total, &tier.total_burst) {
        (None, None) => endpoint.clone(),
        (total, burst) => allowance(total.as_ref().unwrap_or(&tier.limit), burst.as_ref(), report),
    };
    Some(Terms { endpoint: Arc::new(endpoint?), total: Arc::new(total?), total_is_own: false, burst_is_stated: tier.total_burst.is_some() })
}

fn terms_of_source(entry: &Spanned<file::Source>, tiers: &BTreeMap<&str, Option<Terms>>, report: &mut Report<'_>) -> Option<Terms> {
    let source = entry.get_ref();
    let (name, span) = source.tier.as_ref().map_or((DEFAULT_TIER, entry.span()), |tier| (tier.get_ref().as_str(), tier.span()));
    let Some(tier) = tiers.get(name) else {
        let known = tiers.keys().copied().collect::<Vec<_>>().join(", ");
        report.problem(span, format!("there is no tier `{name}`: take one of {known}, or write [tiers.{name}]"));
        return None;
    };
    match (&source.total, &source.total_burst) {
        (None, None) => tier.clone(),
        (Some(total), burst) => {
            let total = Arc::new(allowance(total, burst.as_ref(), report)?);
            tier.clone().map(|terms| Terms { total, total_is_own: true, ..terms })
        }
        (None, Some(burst)) => {
            let place = report.line(burst.span());
            let burst = report.parsed(burst, values::burst)?;
            let smoothed = |terms: Terms| Terms {
                total: Arc::new(Allowance { burst, burst_place: place, ..Allowance::clone(&terms.total) }),
                burst_is_stated: true,
                ..terms
            };
            tier.clone().map(smoothed)
        }
    }
}

fn listed(
    entries: &[Spanned<file::Source>],
    tiers: &BTreeMap<&str, Option<Terms>>,
    known: &mut Identities,
    report: &mut Report<'_>,
) -> Vec<Listed> {
    let mut listed: Vec<Listed> = Vec::new();
    let mut places: HashMap<String, Range<usize>> = HashMap::new();
    for entry in entries {
        let terms = terms_of_source(entry, tiers, report);
        let counted = if entry.get_ref().together { Counted::Together } else { Counted::Apart };
        let certificates = known.of(entry.get_ref(), report).map(Arc::new);
        for name in entry.get_ref().names.get_ref() {
            let Some(pattern) = report.parsed(name, source_pattern) else { continue };
            if let Some(before) = places.insert(name.get_ref().clone(), name.span()) {
                let place = report.place(before);
                report.problem(name.span(), format!("source `{}` is listed in {place} already: keep one of them", name.get_ref()));
                continue;
            }
            let wider = listed.iter().find(|other| !pattern.is_single() && covers(other.pattern.as_str(), pattern.as_str()));
            if let Some(wider) = wider {
                let (place, wider) = (report.place(name.span()), wider.pattern.as_str());
                report.warn(format!("{place}: `{}` never counts, for `{wider}` stands before it: put it first", pattern.as_str()));
            }
            listed.push(Listed { span: name.span(), pattern, terms: terms.clone(), counted, certificates: certificates.clone() });
        }
    }
    listed
}

fn source_pattern(text: &str) -> Result<NamePattern, String> {
    if RESERVED.contains(&text) {
        return Err(format!("`{text}` is what records call a caller that is no source: take another name"));
    }
    pattern(text)
}

pub fn pattern(text: &str) -> Result<NamePattern, String> {
    NamePattern::parse(text)
        .ok_or_else(|| format!("`{text}` is no name: use up to {NAME_LIMIT} letters, digits, `.`, `_`, `-`, and `*` for any run of them"))
}

/// A name or pattern that some listed source answers to: whoever else it names can never call, so it is a slip.
pub fn of_listed(text: &Text, listed: &[&str], report: &mut Report<'_>) -> Option<NamePattern> {
    let named = report.parsed(text, pattern)?;
    if named.as_str() != "*" && !listed.iter().any(|source| meet(source, named.as_str())) {
        report.problem(text.span(), format!("no listed source is called `{}`: list it under [[source]], or mend the name", text.get_ref()));
    }
    Some(named)
}

fn one_override(entry: &file::Override, targets: &BTreeMap<String, Range<usize>>, report: &mut Report<'_>) -> Option<Override> {
    let source = match &entry.source {
        Some(text) => report.parsed(text, pattern),
        None => pattern("*").ok(),
    };
    let endpoint = report.parsed(&entry.endpoint, |text| endpoint(text, targets));
    let allowance = allowance(&entry.limit, entry.burst.as_ref(), report);
    let span = entry.source.as_ref().unwrap_or(&entry.endpoint).span();
    Some(Override { span, source: source?, endpoint: endpoint?, allowance: Arc::new(allowance?) })
}

fn endpoint(text: &str, targets: &BTreeMap<String, Range<usize>>) -> Result<Box<str>, String> {
    if text.is_empty() || text.len() > 2 * NAME_LIMIT + 1 || text.chars().any(char::is_control) {
        return Err("this is no endpoint: write target:action, as in \"python-executor:*\"".to_owned());
    }
    let target = match text.split_once(':') {
        Some((target, _)) => target,
        None if text.contains('*') => text,
        None => return Err(format!("`{text}` says no action: write \"{text}:*\" for all of them")),
    };
    let known =
        if target.contains('*') { targets.keys().any(|name| meet(text, &format!("{name}:*"))) } else { targets.contains_key(target) };
    if known { Ok(text.into()) } else { Err(format!("there is no target `{target}`: list it under [[target]], or mend the name")) }
}

/// A single name that only a pattern lists gets an entry of its own, so that the override reaches it and nobody else.
fn single_out(one: &Override, listed: &mut Vec<Listed>) {
    let name = one.source.as_str();
    if !one.source.is_single() || listed.iter().any(|other| other.pattern == one.source) {
        return;
    }
    if let Some(pattern) = listed.iter().find(|other| other.pattern.matches(name)).cloned() {
        listed.push(Listed { pattern: one.source.clone(), ..pattern });
    }
}

fn check_reach(one: &Override, listed: &[Listed], report: &mut Report<'_>) {
    let name = one.source.as_str();
    let in_part = listed.iter().find(|other| {
        !covers(name, other.pattern.as_str()) && !other.pattern.is_single() && !one.source.is_single() && meet(name, other.pattern.as_str())
    });
    if let Some(other) = in_part {
        let (pattern, place) = (other.pattern.as_str(), report.place(other.span.clone()));
        let message = format!("`{name}` is only a part of `{pattern}` ({place}): list `{name}` as a source of its own before it");
        report.problem(one.span.clone(), message);
    } else if !listed.iter().any(|other| covers(name, other.pattern.as_str())) && name != "*" {
        report.problem(one.span.clone(), format!("no listed source is called `{name}`: list it under [[source]], or mend the name"));
    }
}

fn one_source(source: &Listed, terms: &Terms, overrides: &[Override], report: &mut Report<'_>) -> Source {
    let name = source.pattern.as_str();
    let mut total = Arc::clone(&terms.total);
    let mut own = Vec::new();
    for one in overrides.iter().filter(|one| covers(one.source.as_str(), name)) {
        if !terms.total_is_own {
            total = Arc::new(raised(&total, &one.allowance, terms.burst_is_stated));
        } else if is_below(&total, &one.allowance) {
            let (place, of) = (report.place(one.span.clone()), report.place(source.span.clone()));
            report.warn(format!("{place}: `{name}` cannot use all of this, for its own `total` ({of}) is lower"));
        }
        own.push(EndpointOverride { endpoint: one.endpoint.clone(), allowance: Arc::clone(&one.allowance) });
    }
    // One name has nobody to be counted together with.
    let counted = if source.pattern.is_single() { Counted::Apart } else { source.counted };
    let place = report.line(source.span.clone());
    let certificates = source.certificates.clone();
    Source { pattern: source.pattern.clone(), total, endpoint: Arc::clone(&terms.endpoint), overrides: own, counted, certificates, place }
}
