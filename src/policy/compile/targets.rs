//! Whom calls go to.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use http::Uri;
use http::uri::PathAndQuery;
use serde_json::{Map, Value};
use toml::Spanned;

use super::credentials::{Choice, Guard};
use super::link;
use super::sources::of_listed;
use super::url::Origin;
use super::{CredentialInputs, Variables};
use crate::identity::{NAME_LIMIT, NamePattern, Place, TargetName};
use crate::policy::file;
use crate::policy::problems::Report;
use crate::policy::{BodyShape, BreakerPolicy, Inspect, Link, Target, Targets, values};

/// The envelope door's own name: a target of this name would be out of reach, and a loop.
const OUR_OWN_NAME: &str = "eliza-gatekeeper";
/// Beyond this, callers that never hear an answer pile up.
const LONGEST_WAIT: Duration = Duration::from_secs(3600);

/// The names of all targets, each with its place.
pub fn names(entries: &[Spanned<file::Target>], report: &mut Report<'_>) -> BTreeMap<String, Range<usize>> {
    let mut places: BTreeMap<String, Range<usize>> = BTreeMap::new();
    for entry in entries {
        let Some(names) = &entry.get_ref().names else {
            report.problem(entry.span(), "missing key `names`: write the target's name, as in names = [\"gemini-chat\"]");
            continue;
        };
        for name in names.get_ref() {
            if let Some(before) = places.get(name.get_ref()) {
                let place = report.place(before.clone());
                report.problem(name.span(), format!("target `{}` is listed in {place} already: keep one of them", name.get_ref()));
            } else if report.parsed(name, target_name).is_some() {
                places.insert(name.get_ref().clone(), name.span());
            }
        }
    }
    places
}

fn target_name(text: &str) -> Result<TargetName, String> {
    if text == OUR_OWN_NAME {
        return Err(format!("`{text}` is the gatekeeper itself: a target needs another name"));
    }
    TargetName::parse(text).ok_or_else(|| format!("`{text}` is no name: use up to {NAME_LIMIT} letters, digits, `.`, `_` and `-`"))
}

/// `own` over `inherited`, key by key. How a target is given credentials is one choice, whichever of three keys states it.
pub fn layer(own: file::Target, mut inherited: file::Target) -> file::Target {
    let passes = own.authorization.as_ref().is_some_and(|stated| *stated.get_ref() == file::Authorization::Pass);
    if passes || own.credentials.is_some() || own.bearer.is_some() {
        (inherited.credentials, inherited.bearer, inherited.authorization) = (None, None, None);
    }
    let [own_breaker, inherited_breaker] = [&own, &inherited].map(|target| target.breaker.clone().unwrap_or_default());
    file::Target { breaker: Some(own_breaker.or(inherited_breaker)), ..own.or(inherited) }
}

/// The targets, and the secrets they are called with.
pub fn compile(
    entries: Vec<Spanned<file::Target>>,
    defaults: &file::Target,
    listed_sources: &[&str],
    variables: Variables<'_>,
    credentials: &CredentialInputs,
    report: &mut Report<'_>,
) -> (Targets, BTreeMap<String, bool>) {
    if let Some(names) = &defaults.names {
        report.problem(names.span(), "names have no place in [target_defaults]: list targets under [[target]]");
    }
    if let Some(inspect) = defaults.inspect.as_ref().filter(|inspect| *inspect.get_ref() == file::Inspect::Skip) {
        report.problem(
            inspect.span(),
            "what is not judged is said target by target: write inspect = \"skip\" under [[target]], beside its names",
        );
    }
    if entries.is_empty() {
        report.warn("no target is listed: every call is answered 404");
    }
    let mut guard = Guard::new(variables, credentials);
    let mut targets = Targets::default();
    // Where targets say how they are, each with its place.
    let mut asked: Vec<(Uri, Range<usize>)> = Vec::new();
    for entry in entries {
        let span = entry.span();
        let names = entry.get_ref().names.clone();
        let settings = layer(entry.into_inner(), file::Target { names: None, ..defaults.clone() });
        let Some(url) = settings.url.clone() else {
            report.problem(span, "this target has no `url`: write one here or in [target_defaults]");
            continue;
        };
        let choice = guard.choose(&settings, report);
        let common = common(&settings, listed_sources, report);
        for listed in names.iter().flat_map(|names| names.get_ref()) {
            let Ok(name) = target_name(listed.get_ref()) else { continue };
            let address = guard.address(&url, &name, report);
            let Some(choice) = &choice else { continue };
            guard.check(choice, &url, address.as_ref(), report);
            if let Some(common) = &common {
                link::check(&common.link, &url, address.as_ref(), report);
                let place = report.line(listed.span());
                let target = one_target(name.clone(), address, guard.credentials(choice), *choice == Choice::Pass, common, place);
                if target.inspect == Inspect::Skip {
                    report.warn(format!("{}: what direct calls to `{}` carry is not judged", target.place, target.name));
                }
                asked.extend(target.health.clone().zip(settings.health.as_ref().map(Spanned::span)));
                targets.by_name.insert(name.shared(), Arc::new(target));
            }
        }
    }
    for (health, span) in asked {
        if let Some(called) = targets.by_name.values().find(|target| target.url.as_ref().is_some_and(|url| is_same(url, &health))) {
            let message = format!("calls to `{}` go there, and asking how it is must be no call: name another path", called.name);
            report.problem(span, message);
        }
    }
    guard.warn_of_missing(report);
    (targets, guard.used())
}

/// What the targets of one entry have in common.
struct Common {
    shape: BodyShape,
    inspect: Inspect,
    defaults: Map<String, Value>,
    timeout: Duration,
    idle_timeout: Duration,
    callers: Vec<NamePattern>,
    breaker: BreakerPolicy,
    link: Link,
    /// On the target's own origin.
    health: Option<PathAndQuery>,
}

fn one_target(
    name: TargetName,
    url: Option<Uri>,
    credentials: crate::policy::Credentials,
    pass_authorization: bool,
    common: &Common,
    place: Place,
) -> Target {
    let Common { shape, inspect, timeout, idle_timeout, breaker, .. } = *common;
    let (defaults, callers, link) = (common.defaults.clone(), common.callers.clone(), common.link.clone());
    let health = url.as_ref().zip(common.health.as_ref()).and_then(|(url, path)| on_origin_of(url, path));
    Target {
        name,
        url,
        shape,
        inspect,
        defaults,
        timeout,
        idle_timeout,
        credentials,
        pass_authorization,
        callers,
        breaker,
        link,
        health,
        place,
    }
}

fn on_origin_of(url: &Uri, path: &PathAndQuery) -> Option<Uri> {
    let mut parts = url.clone().into_parts();
    parts.path_and_query = Some(path.clone());
    Uri::from_parts(parts).ok()
}

fn is_same(one: &Uri, other: &Uri) -> bool {
    let path = |uri: &Uri| uri.path().trim_end_matches('/').to_ascii_lowercase();
    Origin::of(one) == Origin::of(other) && path(one) == path(other)
}

/// As plain as a path can be, so that no server can read it as another.
fn health_path(text: &str) -> Result<PathAndQuery, String> {
    let plain = |segment: &str| {
        let dots = segment.bytes().all(|b| b == b'.');
        !dots && segment.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-' | b'~'))
    };
    let is_path = text == "/" || text.strip_prefix('/').is_some_and(|rest| rest.strip_suffix('/').unwrap_or(rest).split('/').all(plain));
    let path = is_path.then(|| PathAndQuery::try_from(text).ok()).flatten();
    path.ok_or_else(|| format!("`{text}` is no path: write one on the target's own address, of plain segments, as in \"/healthz\""))
}

fn common(settings: &file::Target, listed_sources: &[&str], report: &mut Report<'_>) -> Option<Common> {
    let mut wait = |text: &Option<file::Text>| report.parsed(text.as_ref()?, values::duration_up_to(LONGEST_WAIT));
    let timeout = wait(&settings.timeout);
    let idle_timeout = wait(&settings.idle_timeout);
    let breaker = settings.breaker.clone().unwrap_or_default();
    let open_for = wait(&breaker.open);
    let failures = breaker.failures.as_ref().and_then(|failures| {
        let found = NonZeroU32::new(*failures.get_ref());
        if found.is_none() {
            report.problem(failures.span(), "a breaker that opens after 0 failures never closes: write 1 or more");
        }
        found
    });
    let shape = match settings.shape.as_ref()?.get_ref() {
        file::Shape::Payload => BodyShape::Payload,
        file::Shape::ActionData => BodyShape::ActionData,
        file::Shape::Envelope => BodyShape::Envelope,
    };
    let inspect = match settings.inspect.as_ref().map(Spanned::get_ref) {
        Some(file::Inspect::Skip) => Inspect::Skip,
        Some(file::Inspect::Required) | None => Inspect::Required,
    };
    let link = link::compile(settings, report);
    Some(Common {
        inspect,
        health: settings.health.as_ref().and_then(|text| report.parsed(text, health_path)),
        defaults: defaults(settings, report),
        callers: callers(settings.callers.as_ref(), listed_sources, report),
        shape,
        timeout: timeout?,
        idle_timeout: idle_timeout?,
        breaker: BreakerPolicy { failures: failures?, open_for: open_for? },
        link: link?,
    })
}

fn callers(list: Option<&file::List>, listed_sources: &[&str], report: &mut Report<'_>) -> Vec<NamePattern> {
    let Some(list) = list else { return Vec::new() };
    if list.get_ref().is_empty() {
        report.problem(list.span(), "an empty list would shut everyone out: name who may call, or write [\"*\"] for every listed source");
    }
    list.get_ref().iter().filter_map(|text| of_listed(text, listed_sources, report)).collect()
}

fn defaults(settings: &file::Target, report: &mut Report<'_>) -> Map<String, Value> {
    let mut members = Map::new();
    for (name, value) in settings.defaults.iter().flat_map(|defaults| defaults.get_ref()) {
        match json(value) {
            Some(value) => _ = members.insert(name.get_ref().clone(), value),
            None => report.problem(name.span(), format!("`{}` has no JSON form: dates go in quotes, and numbers end", name.get_ref())),
        }
    }
    members
}

fn json(value: &toml::Value) -> Option<Value> {
    Some(match value {
        toml::Value::String(text) => Value::from(text.as_str()),
        toml::Value::Integer(number) => Value::from(*number),
        toml::Value::Float(number) => Value::Number(serde_json::Number::from_f64(*number)?),
        toml::Value::Boolean(truth) => Value::from(*truth),
        toml::Value::Datetime(_) => return None,
        toml::Value::Array(items) => Value::Array(items.iter().map(json).collect::<Option<_>>()?),
        toml::Value::Table(table) => {
            Value::Object(table.iter().map(|(name, value)| Some((name.clone(), json(value)?))).collect::<Option<_>>()?)
        }
    })
}
