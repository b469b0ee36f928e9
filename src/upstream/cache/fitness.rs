//! Which requests may be answered with what was kept, and which answers may be kept.

use std::time::Duration;

use http::header::{
    CACHE_CONTROL, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, IF_UNMODIFIED_SINCE, PRAGMA, RANGE, SET_COOKIE, VARY,
};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

/// More than anybody means.
const MOST_VARIED: usize = 16;

/// What a caller wants of the cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    Any,
    /// An answer made now, which may be kept.
    Fresh,
    /// Nothing at all.
    None,
}

pub fn wish(caller: &HeaderMap) -> Wish {
    // A part of an answer, or an answer under a condition, is another answer.
    let particular = [RANGE, IF_RANGE, IF_MATCH, IF_NONE_MATCH, IF_MODIFIED_SINCE, IF_UNMODIFIED_SINCE];
    if particular.iter().any(|name| caller.contains_key(name)) || directives(caller, &CACHE_CONTROL).any(|said| said.name == "no-store") {
        return Wish::None;
    }
    let fresh = |said: &Directive| said.name == "no-cache" || (said.name == "max-age" && said.seconds == Some(0));
    let wants_fresh = directives(caller, &CACHE_CONTROL).any(|said| fresh(&said)) || directives(caller, &PRAGMA).any(|said| fresh(&said));
    if wants_fresh { Wish::Fresh } else { Wish::Any }
}

/// How long an answer may be kept, and what it depends on.
#[derive(Debug)]
pub struct Keepable {
    pub fresh_for: Duration,
    pub varies: Vec<(HeaderName, Vec<HeaderValue>)>,
}

impl Keepable {
    /// `asked` is what the target saw.
    pub fn of(status: StatusCode, answer: &HeaderMap, asked: &HeaderMap, ttl: Duration) -> Option<Self> {
        if status != StatusCode::OK || answer.contains_key(SET_COOKIE) {
            return None;
        }
        let (mut shared_age, mut age) = (None, None);
        for said in directives(answer, &CACHE_CONTROL) {
            match said.name.as_str() {
                "no-store" | "private" | "no-cache" => return None,
                "s-maxage" => shared_age = said.seconds,
                "max-age" => age = said.seconds,
                _ => {}
            }
        }
        let theirs = shared_age.or(age).map(Duration::from_secs);
        let fresh_for = theirs.map_or(ttl, |theirs| theirs.min(ttl));
        if fresh_for.is_zero() {
            return None;
        }
        Some(Self { fresh_for, varies: varies(answer, asked)? })
    }
}

/// `None` if the answer depends on more than can be compared.
fn varies(answer: &HeaderMap, asked: &HeaderMap) -> Option<Vec<(HeaderName, Vec<HeaderValue>)>> {
    let mut varies = Vec::new();
    for name in items(answer, &VARY) {
        let name = HeaderName::from_bytes(name).ok().filter(|name| name.as_str() != "*")?;
        if varies.len() >= MOST_VARIED {
            return None;
        }
        let said = asked.get_all(&name).iter().cloned().collect();
        varies.push((name, said));
    }
    Some(varies)
}

struct Directive {
    name: String,
    seconds: Option<u64>,
}

fn directives(headers: &HeaderMap, name: &HeaderName) -> impl Iterator<Item = Directive> {
    items(headers, name).map(|item| {
        let text = String::from_utf8_lossy(item).to_ascii_lowercase();
        let (name, value) = text.split_once('=').map_or((text.as_str(), None), |(name, value)| (name.trim(), Some(value)));
        let seconds = value.and_then(|value| value.trim().trim_matches('"').parse().ok());
        Directive { name: name.to_owned(), seconds }
    })
}

fn items<'h>(headers: &'h HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'h [u8]> {
    let lists = headers.get_all(name).into_iter();
    lists.flat_map(|list| list.as_bytes().split(|byte| *byte == b',')).map(<[u8]>::trim_ascii).filter(|item| !item.is_empty())
}
