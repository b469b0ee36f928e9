use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderName, Method, StatusCode};

use super::*;
use crate::call::{Head, Shown, TraceContext};
use crate::clock::{ManualClock, Timestamp};
use crate::identity::{CallId, Place, TargetName};
use crate::policy::{BodyShape, BreakerPolicy, Credentials, Sharing, Target, Terms};
use crate::upstream::headers::Towards;
use crate::upstream::order::{Order, Outgoing};

const TTL: Duration = Duration::from_secs(300);

fn headers(lines: &[(&str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in lines {
        headers.append(HeaderName::from_bytes(name.as_bytes()).unwrap(), HeaderValue::from_str(value).unwrap());
    }
    headers
}

fn policy(max_bytes: usize) -> CachePolicy {
    CachePolicy { ttl: TTL, actions: vec!["list*".into()], max_bytes, sharing: Sharing::SameSource }
}

fn cache(max_bytes: usize) -> (Arc<Cache>, ManualClock) {
    let hand = ManualClock::at(Timestamp::from_secs(1_772_000_000));
    (Arc::new(Cache::new(policy(max_bytes), Clock::Manual(hand.clone()))), hand)
}

/// A call, as far as a key can tell it from others.
struct Calling {
    caller: Option<&'static str>,
    action: Option<&'static str>,
    method: Method,
    rest: &'static str,
    body: Outgoing,
    outgoing: HeaderMap,
}

fn listing() -> Calling {
    let body = Outgoing::Shaped(Bytes::from_static(b"{\"page\":1}"));
    Calling { caller: Some("a"), action: Some("list"), method: Method::POST, rest: "", body, outgoing: HeaderMap::new() }
}

fn reading() -> Calling {
    Calling { action: None, method: Method::GET, rest: "/items?page=1", body: Outgoing::AsSent(Bytes::new()), ..listing() }
}

fn key_of(calling: Calling, policy: &CachePolicy) -> Option<Key> {
    let target = Target {
        inspect: crate::policy::Inspect::Required,
        link: crate::policy::Link::default(),
        name: TargetName::parse("brain").unwrap(),
        sites: Vec::new(),
        shape: BodyShape::Payload,
        defaults: serde_json::Map::new(),
        timeout: TTL,
        idle_timeout: TTL,
        credentials: Credentials::None,
        pass_authorization: false,
        callers: Vec::new(),
        breaker: BreakerPolicy { failures: NonZeroU32::MIN, open_for: TTL },
        terms: Terms::default(),
        place: Place::new("targets.toml:1"),
    };
    let head = Head {
        certificate: None,
        hop: crate::call::Hop::default(),
        id: CallId::new(),
        at: Timestamp::default(),
        peer: [127, 0, 0, 1].into(),
        credentials: Shown::default(),
        trace: TraceContext { trace_id: 1, span_id: 1, flags: 0 },
        hops: 0,
    };
    let Calling { caller, action, method, rest, body, outgoing } = calling;
    let (headers, towards) = (&HeaderMap::new(), Towards::Injected);
    let order = Order { head: &head, target: &target, method, rest, headers, body, towards, caller, action, timeout: TTL };
    key(&order, &outgoing, policy)
}

fn a_key(body: &'static str) -> Key {
    key_of(Calling { body: Outgoing::Shaped(Bytes::from_static(body.as_bytes())), ..listing() }, &policy(1)).unwrap()
}

fn copying(cache: &Arc<Cache>, key: Key, asked: &HeaderMap, status: StatusCode, answer: &HeaderMap) -> Option<Box<Copying>> {
    Copying::begin(cache, key, Keepable::of(status, answer, asked, TTL)?, answer)
}

fn keep(cache: &Arc<Cache>, key: Key, asked: &HeaderMap, answer: &HeaderMap, body: &'static [u8]) -> bool {
    let copying = copying(cache, key, asked, StatusCode::OK, answer);
    let Some(copying) = copying.and_then(|copying| copying.with(&Bytes::from_static(body))) else { return false };
    copying.keep();
    true
}

#[test]
fn whose_answers_may_be_kept() {
    let with = |outgoing: &[(&str, &str)], calling: Calling| Calling { outgoing: headers(outgoing), ..calling };
    let table = [
        ("a named action", listing(), true),
        ("an action that a pattern names", Calling { action: Some("list_all"), ..listing() }, true),
        ("another action", Calling { action: Some("delete"), ..listing() }, false),
        ("no action", Calling { action: None, ..listing() }, false),
        ("the gatekeeper's own question", Calling { caller: None, ..listing() }, false),
        ("GET", reading(), true),
        ("HEAD", Calling { method: Method::HEAD, ..reading() }, true),
        ("POST on the direct door", Calling { method: Method::POST, action: Some("list"), ..reading() }, false),
        ("DELETE", Calling { method: Method::DELETE, ..reading() }, false),
        ("with a language", with(&[("accept-language", "de")], listing()), true),
    ];
    for (case, calling, expected) in table {
        assert_eq!(key_of(calling, &policy(1)).is_some(), expected, "{case}");
    }
    let every = CachePolicy { actions: vec!["*".into()], ..policy(1) };
    assert!(key_of(Calling { action: None, ..listing() }, &every).is_some(), "a call without an action is one of every call");
}

#[test]
fn what_an_answer_may_depend_on_makes_another_key_and_nothing_else_does() {
    let with = |name: &str, value: &str| Calling { outgoing: headers(&[(name, value)]), ..listing() };
    let of = |calling| key_of(calling, &policy(1)).unwrap();
    let others = [
        ("another source", Calling { caller: Some("b"), ..listing() }),
        ("another action", Calling { action: Some("list2"), ..listing() }),
        ("another body", Calling { body: Outgoing::Shaped(Bytes::from_static(b"{\"page\":2}")), ..listing() }),
        ("another path", Calling { rest: "/x", ..reading() }),
        ("another query", Calling { rest: "/items?page=2", ..reading() }),
        ("another method", Calling { method: Method::HEAD, ..reading() }),
        ("credentials", with("authorization", "Bearer a")),
        ("other credentials", with("authorization", "Bearer b")),
        ("a key of theirs", with("apikey", "a")),
        ("a source that the target sees", with("x-eliza-source", "a")),
        ("a language", with("accept-language", "de")),
        ("a form", with("accept", "text/csv")),
        ("a cookie", with("cookie", "a=1")),
        ("a schema", with("accept-profile", "private")),
        ("whatever else", with("x-anything", "1")),
    ];
    let mut keys = vec![of(listing()), of(reading())];
    for (case, calling) in others {
        let key = of(calling);
        assert!(!keys.contains(&key), "{case}");
        keys.push(key);
    }
    for (name, value) in
        [("traceparent", "00-1"), ("x-call-id", "1"), ("x-eliza-hops", "3"), ("x-forwarded-for", "192.0.2.1"), ("x-request-id", "7")]
    {
        assert_eq!(of(with(name, value)), keys[0], "{name}");
    }
    let shared = CachePolicy { sharing: Sharing::AllSources, ..policy(1) };
    let of_b = |calling| key_of(Calling { caller: Some("b"), ..calling }, &shared);
    assert_eq!(key_of(listing(), &shared), of_b(listing()));
    assert_ne!(key_of(with("authorization", "Bearer a"), &shared), of_b(with("authorization", "Bearer b")));
}

#[test]
fn which_answers_may_be_kept_and_for_how_long() {
    let ok = StatusCode::OK;
    let cached = |value: &'static str| headers(&[("cache-control", value)]);
    let table = [
        ("200", ok, HeaderMap::new(), Some(300)),
        ("201", StatusCode::CREATED, HeaderMap::new(), None),
        ("206", StatusCode::PARTIAL_CONTENT, HeaderMap::new(), None),
        ("404", StatusCode::NOT_FOUND, HeaderMap::new(), None),
        ("a cookie", ok, headers(&[("set-cookie", "a=1")]), None),
        ("no-store", ok, cached("no-store"), None),
        ("private", ok, cached("max-age=60, Private"), None),
        ("private for a header", ok, cached("private=\"x\""), None),
        ("no-cache", ok, cached("no-cache"), None),
        ("for a minute", ok, cached("public, max-age=60"), Some(60)),
        ("for caches apart", ok, cached("max-age=60, s-maxage=30"), Some(30)),
        ("for a day", ok, cached("max-age=86400"), Some(300)),
        ("not at all", ok, cached("max-age=0"), None),
        ("nonsense", ok, cached("max-age=soon"), Some(300)),
        ("depends on everything", ok, headers(&[("vary", "accept, *")]), None),
        ("depends on something", ok, headers(&[("vary", "x-region")]), Some(300)),
    ];
    for (case, status, answer, expected) in table {
        let found = Keepable::of(status, &answer, &HeaderMap::new(), TTL).map(|keepable| keepable.fresh_for.as_secs());
        assert_eq!(found, expected, "{case}");
    }
}

#[test]
fn what_a_caller_wants_of_the_cache() {
    let table = [
        ("", "", Wish::Any),
        ("cache-control", "max-age=60", Wish::Any),
        ("cache-control", "no-store", Wish::None),
        ("cache-control", "no-cache", Wish::Fresh),
        ("cache-control", "max-age=0", Wish::Fresh),
        ("pragma", "no-cache", Wish::Fresh),
        ("range", "bytes=0-1", Wish::None),
        ("if-none-match", "\"a\"", Wish::None),
    ];
    for (name, value, expected) in table {
        let lines = if name.is_empty() { vec![] } else { vec![(name, value)] };
        assert_eq!(wish(&headers(&lines)), expected, "{name}: {value}");
    }
}

#[test]
fn an_answer_is_given_again_until_its_time_is_up() {
    let (cache, hand) = cache(1 << 20);
    let (key, asked) = (a_key("1"), HeaderMap::new());
    assert!(cache.find(key, &asked).is_none());
    assert!(keep(&cache, key, &asked, &headers(&[("content-type", "text/plain")]), b"hello"));
    hand.advance(Duration::from_secs(299));
    let again = cache.find(key, &asked).unwrap();
    assert_eq!(again.body, "hello");
    let said = ["content-type", "age", "x-cache"].map(|name| again.headers[name].to_str().unwrap().to_owned());
    assert_eq!(said, ["text/plain", "299", "hit"]);
    assert!(cache.find(a_key("2"), &asked).is_none());
    hand.advance(Duration::from_secs(1));
    assert!(cache.find(key, &asked).is_none());
    assert_eq!(cache.view(), CacheView { answers: 0, bytes: 0, hits: 1, misses: 3 });
}

#[test]
fn an_answer_that_depends_on_a_header_is_given_to_those_who_say_the_same() {
    let (cache, _) = cache(1 << 20);
    let (key, eu) = (a_key("1"), headers(&[("x-region", "eu")]));
    assert!(keep(&cache, key, &eu, &headers(&[("vary", "X-Region")]), b"hallo"));
    assert!(cache.find(key, &eu).is_some());
    assert!(cache.find(key, &headers(&[("x-region", "us")])).is_none());
    assert!(cache.find(key, &HeaderMap::new()).is_none());
}

#[test]
fn all_that_is_kept_and_being_copied_stays_within_its_bound() {
    let (cache, _) = cache(8 * 1024);
    let none = HeaderMap::new();
    let keys: Vec<Key> = (0..50).map(|n| a_key(Box::leak(n.to_string().into_boxed_str()))).collect();
    for key in &keys {
        assert!(keep(&cache, *key, &none, &none, &[b'x'; 512]));
        assert!(cache.view().bytes <= 8 * 1024);
    }
    assert_eq!(cache.view().answers, 8);
    assert!(cache.find(keys[41], &none).is_none() && cache.find(keys[42], &none).is_some(), "the oldest go first");
    assert!(keep(&cache, keys[49], &none, &none, &[b'y'; 512]), "the same once more takes the other's place");
    assert_eq!((cache.view().answers, cache.view().bytes), (7, 7 * 1024));
    assert!(!keep(&cache, a_key("large"), &none, &none, &[b'x'; 4096]), "none may take more than a part");
    assert!(copying(&cache, a_key("large"), &none, StatusCode::OK, &headers(&[("content-length", "4096")])).is_none());

    let given_up: Vec<_> = (0..8).map(|_| copying(&cache, a_key("1"), &none, StatusCode::OK, &none).unwrap()).collect();
    assert!(cache.view().bytes <= 8 * 1024);
    drop(given_up);
    let view = cache.view();
    assert_eq!(view.bytes, view.answers * 1024, "what was not kept takes up nothing");
}
