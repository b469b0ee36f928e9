//! On which terms targets are called: addresses, waits, retries, ejection, limits, and what is kept of answers.

use std::num::NonZeroU32;
use std::ops::Range;
use std::time::Duration;

use http::Uri;
use http::uri::PathAndQuery;
use toml::Spanned;

use super::targets::LONGEST_WAIT;
use super::url::Origin;
use crate::policy::file::{self, Text};
use crate::policy::problems::Report;
use crate::policy::{BreakerPolicy, CachePolicy, CrowdLimits, Ejection, HealthCheck, Retry, Sharing, Site, Terms, values};

/// More addresses are the business of a load balancer between here and there.
const MOST_URLS: usize = 64;
/// A caller that was told nothing for so long has gone.
const LONGEST_CONNECT: Duration = Duration::from_secs(60);
/// A day is long for a stream, and no end for a mistake.
const LONGEST_CALL: Duration = Duration::from_secs(86_400);
const LONGEST_KEPT: Duration = Duration::from_secs(86_400);
const SHORTEST_INTERVAL: Duration = Duration::from_secs(1);
const CACHE_BYTES: usize = 16 << 20;
const OFF: &str = "off";

/// `own` over `inherited`; of what has keys of its own, key by key.
pub fn layer(own: file::Target, inherited: file::Target) -> file::Target {
    macro_rules! by_key {
        ($($section:ident),*) => {{
            let ($($section),*) = ($(
                own.$section.clone().unwrap_or_default().or(inherited.$section.clone().unwrap_or_default())
            ),*);
            file::Target { $($section: Some($section),)* ..own.or(inherited) }
        }};
    }
    by_key!(breaker, eject, health_check)
}

/// The texts that say where a target is; never none.
pub fn urls(settings: &file::Target, entry: Range<usize>, report: &mut Report<'_>) -> Option<Vec<Text>> {
    match (&settings.url, &settings.urls) {
        (Some(_), Some(urls)) => {
            report.problem(urls.span(), "`url` and `urls` both say where this target is: keep one of them");
            None
        }
        (Some(url), None) => Some(vec![url.clone()]),
        (None, Some(urls)) if urls.get_ref().is_empty() || urls.get_ref().len() > MOST_URLS => {
            report.problem(urls.span(), format!("write 1 to {MOST_URLS} addresses"));
            None
        }
        (None, Some(urls)) => Some(urls.get_ref().clone()),
        (None, None) => {
            report.problem(entry, "this target has no `url`: write one here or in [target_defaults]");
            None
        }
    }
}

/// An address that stands there twice would count as two that can stand in for each other.
pub fn all_differ(addresses: &[(&Text, Uri)], report: &mut Report<'_>) {
    for (at, (text, address)) in addresses.iter().enumerate() {
        if addresses.iter().take(at).any(|(_, before)| is_same(before, address)) {
            report.problem(text.span(), "this address stands there already: keep one of them");
        }
    }
}

pub fn sites(addresses: Vec<Uri>, health: Option<&PathAndQuery>) -> Vec<Site> {
    let site = |url: Uri| {
        let health = health.and_then(|path| on_origin_of(&url, path));
        Site { url, health }
    };
    addresses.into_iter().map(site).collect()
}

fn on_origin_of(url: &Uri, path: &PathAndQuery) -> Option<Uri> {
    let mut parts = url.clone().into_parts();
    parts.path_and_query = Some(path.clone());
    Uri::from_parts(parts).ok()
}

pub fn is_same(one: &Uri, other: &Uri) -> bool {
    let path = |uri: &Uri| uri.path().trim_end_matches('/').to_ascii_lowercase();
    Origin::of(one) == Origin::of(other) && path(one) == path(other)
}

pub fn health(settings: &file::Target, report: &mut Report<'_>) -> Option<PathAndQuery> {
    report.parsed(settings.health.as_ref()?, health_path)
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

pub fn breaker(settings: &file::Target, report: &mut Report<'_>) -> Option<BreakerPolicy> {
    let breaker = settings.breaker.clone().unwrap_or_default();
    let open_for = wait(&breaker.open, LONGEST_WAIT, report);
    let failures = count(&breaker.failures, "a breaker that opens after 0 failures never closes: write 1 or more", report);
    Some(BreakerPolicy { failures: failures?, open_for: open_for? })
}

pub fn compile(settings: &file::Target, report: &mut Report<'_>) -> Option<Terms> {
    let connect_timeout = wait(&settings.connect_timeout, LONGEST_CONNECT, report);
    let total_timeout = total_timeout(settings, report);
    let ejection = ejection(&settings.eject.clone().unwrap_or_default(), report);
    let check = health_check(&settings.health_check.clone().unwrap_or_default(), report);
    let crowd =
        CrowdLimits { in_all: at_once(&settings.max_in_flight, report), per_source: at_once(&settings.max_in_flight_per_source, report) };
    let cache = settings.cache.as_ref().and_then(|cache| self::cache(cache.get_ref(), report));
    let retry = match settings.retry.as_ref()?.get_ref() {
        file::Retry::Safe => Retry::Safe,
        file::Retry::All => Retry::All,
        file::Retry::Off => Retry::Off,
    };
    Some(Terms { connect_timeout: connect_timeout?, total_timeout, retry, ejection: ejection?, check: check?, crowd, cache })
}

fn total_timeout(settings: &file::Target, report: &mut Report<'_>) -> Option<Duration> {
    let text = settings.total_timeout.as_ref().filter(|text| text.get_ref() != OFF)?;
    report.parsed(text, |text| values::duration_up_to(LONGEST_CALL)(text).map_err(|why| format!("{why}; or \"{OFF}\"")))
}

fn ejection(eject: &file::Eject, report: &mut Report<'_>) -> Option<Ejection> {
    let failures = count(&eject.failures, "an address that is left out after 0 failures is never called: write 1 or more", report);
    let (first, longest) = (wait(&eject.first, LONGEST_WAIT, report), wait(&eject.longest, LONGEST_WAIT, report));
    let (first, longest) = (first?, longest?);
    if longest < first {
        let place = eject.longest.as_ref().or(eject.first.as_ref())?;
        report.problem(place.span(), "`longest` is shorter than `first`: an address is left out for ever longer times, up to the longest");
    }
    Some(Ejection { failures: failures?, first, longest })
}

fn health_check(check: &file::HealthCheck, report: &mut Report<'_>) -> Option<HealthCheck> {
    let interval = wait(&check.interval, LONGEST_WAIT, report);
    if interval.is_some_and(|interval| interval < SHORTEST_INTERVAL)
        && let Some(text) = &check.interval
    {
        report.problem(text.span(), format!("`{}` is too often: write at least 1s", text.get_ref()));
    }
    let timeout = wait(&check.timeout, LONGEST_CONNECT, report);
    let fails = count(&check.fails, "write 1 or more", report);
    let passes = count(&check.passes, "write 1 or more", report);
    Some(HealthCheck { interval: interval?, timeout: timeout?, fails: fails?, passes: passes? })
}

fn cache(cache: &file::Cache, report: &mut Report<'_>) -> Option<CachePolicy> {
    let ttl = report.parsed(&cache.ttl, values::duration_up_to(LONGEST_KEPT));
    let max_bytes = cache.max.as_ref().map_or(Some(CACHE_BYTES), |max| report.parsed(max, values::size));
    let actions = cache.actions.as_ref().map(|actions| actions.get_ref().iter().map(|action| action.get_ref().clone()).collect());
    for action in cache.actions.iter().flat_map(|actions| actions.get_ref()).filter(|action| action.get_ref().is_empty()) {
        report.problem(action.span(), "this is no action: write its name, or \"*\" for every call");
    }
    let sharing = if cache.shared { Sharing::AllSources } else { Sharing::SameSource };
    Some(CachePolicy { ttl: ttl?, actions: actions.unwrap_or_default(), max_bytes: max_bytes?, sharing })
}

fn wait(text: &Option<Text>, longest: Duration, report: &mut Report<'_>) -> Option<Duration> {
    report.parsed(text.as_ref()?, values::duration_up_to(longest))
}

fn count(number: &Option<Spanned<u32>>, why_not_none: &str, report: &mut Report<'_>) -> Option<NonZeroU32> {
    let number = number.as_ref()?;
    let found = NonZeroU32::new(*number.get_ref());
    if found.is_none() {
        report.problem(number.span(), why_not_none);
    }
    found
}

/// Without the key there is no limit.
fn at_once(number: &Option<Spanned<u32>>, report: &mut Report<'_>) -> Option<NonZeroU32> {
    count(number, "a limit of 0 lets nothing through: write 1 or more, or use `callers` to shut a target off", report)
}
