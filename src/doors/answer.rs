//! What becomes of an outcome: the target's answer or our refusal, with the headers that are ours to say on either, and the call's trail in
//! its body.

use std::ops::Range;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::header::{CONNECTION, CONTENT_LENGTH, EXPECT};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, Version};
use http_body::Body;
use http_body_util::Full;

use super::Arrival;
use super::said::{Begun, Said};
use crate::intake::see_off;
use crate::pipeline::{Arriving, Outcome, Pipeline};
use crate::record::{Ending, Recorded, Trail};
use crate::reply;
use crate::upstream::Settled;
use crate::verdict::{Failure, Refusal, Standing, Standings};

const RATELIMIT: HeaderName = HeaderName::from_static("ratelimit");
const RATELIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
const X_RATELIMIT_LIMIT: HeaderName = HeaderName::from_static("x-ratelimit-limit");
const X_RATELIMIT_REMAINING: HeaderName = HeaderName::from_static("x-ratelimit-remaining");
const X_RATELIMIT_RESET: HeaderName = HeaderName::from_static("x-ratelimit-reset");
const SERVER_TIMING: HeaderName = HeaderName::from_static("server-timing");

/// As many headers as are added to an answer: these, `x-call-id` and what CORS takes.
const OURS: usize = 12;
/// For all that they say, mostly.
const LONG_ENOUGH: usize = 192;

/// Of a call whose head could not be understood.
pub fn turned_away(pipeline: &Pipeline, failure: Failure, trail: &mut Trail) -> Outcome {
    pipeline.turn_away(&pipeline.live.snapshot(), trail);
    Outcome { result: Err(failure.into()), standings: Standings::default() }
}

/// `unread`: what is left of the call's body.
pub fn answer<B: Arriving>(outcome: Outcome, mut trail: Box<Trail>, arrival: Arrival, asked: &Parts, unread: Option<B>) -> Begun {
    let overhead = trail.answer_begins();
    let unread = unread.filter(|_| outcome.result.is_err());
    let waits = unread.as_ref().is_some_and(|body| waits_to_be_asked(asked, body));
    if let Some(body) = unread.filter(|_| !waits) {
        see_off(body);
    }
    let mut begun = match outcome.result {
        Ok(Settled::AsIs(answer)) => carry(answer.status, answer.headers, answer.body, trail, &asked.method),
        Ok(Settled::Error { status, headers, body } | Settled::Wrapped { status, headers, body }) => {
            carry(status, headers, Full::new(body), trail, &asked.method)
        }
        Err(refusal) => refuse(refusal, trail, arrival, &asked.method),
    };
    in_our_name(begun.response.headers_mut(), &outcome.standings, overhead, arrival);
    if waits {
        is_not_asked(begun.response.headers_mut(), asked.version);
    }
    begun
}

/// Whether the caller sends its body only once it is told to.
pub fn waits_to_be_asked(asked: &Parts, unread: &impl Body) -> bool {
    !unread.is_end_stream() && asked.headers.contains_key(EXPECT)
}

/// Whoever waits to be asked for its body and is refused is not asked. On HTTP/1.1 its connection ends with that (RFC 9110, section 10.1.1): what
/// came next on it could be that body, or not.
pub fn is_not_asked(headers: &mut HeaderMap, version: Version) {
    if version == Version::HTTP_11 {
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
    }
}

/// What every answer of a door says, whoever it is from.
pub fn in_our_name(headers: &mut HeaderMap, standings: &Standings, overhead: Duration, arrival: Arrival) {
    // Growing once is cheaper than growing as they come.
    headers.reserve(OURS);
    let mut text = String::with_capacity(LONG_ENOUGH);
    let limits = Limits::say(&mut text, standings, arrival);
    let timing = spent(&mut text, overhead);
    let text = Bytes::from(text);
    if let Some(limits) = limits {
        limits.put(headers, &text);
    }
    if let Some(timing) = value(&text, timing) {
        headers.append(SERVER_TIMING, timing);
    }
}

fn carry<B>(status: StatusCode, headers: HeaderMap, body: B, trail: Box<Trail>, method: &Method) -> Begun
where
    B: Body<Data: Send, Error: Send> + Send + 'static,
    Recorded<B>: Into<Said>,
{
    let (body, until) = if ends_with_its_head(method, status) {
        // Nobody asks for the body, and over HTTP/2 it may show only later that there is none.
        recorded::<Full<Bytes>>(Full::default(), trail, status)
    } else {
        recorded(body, trail, status)
    };
    let mut response = Response::new(body);
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    Begun { response, until }
}

fn recorded<B>(body: B, trail: Box<Trail>, status: StatusCode) -> (Said, Option<BoxFuture<'static, ()>>)
where
    B: Body<Data: Send, Error: Send> + Send + 'static,
    Recorded<B>: Into<Said>,
{
    let (body, until) = Recorded::begin(body, trail, status.as_u16());
    (body.into(), until)
}

/// Whether there is nothing behind an answer's head, whatever that says of a body (RFC 9110, section 6.4.1).
pub fn ends_with_its_head(method: &Method, status: StatusCode) -> bool {
    method == Method::HEAD || status.is_informational() || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
}

pub fn refuse(refusal: Refusal, mut trail: Box<Trail>, arrival: Arrival, method: &Method) -> Begun {
    let answer = reply::refusal(&refusal, arrival.id);
    let status = answer.status();
    trail.note().ending = Some(Ending::Refused(refusal));
    let (mut parts, mut body) = answer.into_parts();
    if method == Method::HEAD {
        // Nobody would ask for the body, whose last frame waits for the record.
        parts.headers.insert(CONTENT_LENGTH, body.len().into());
        body = Bytes::new();
    }
    let (body, until) = recorded(Full::new(body), trail, status);
    Begun { response: Response::from_parts(parts, body), until }
}

/// Where the caller stands: `RateLimit` names every limit that applies, the older headers the one it will hit first. All of them are parts
/// of one text, whose numbers are written down once.
struct Limits {
    left: Range<usize>,
    allowed: Range<usize>,
    /// Of the limit that will be hit first.
    limit: Range<usize>,
    remaining: Range<usize>,
    reset: Range<usize>,
}

impl Limits {
    fn say(text: &mut String, standings: &Standings, arrival: Arrival) -> Option<Self> {
        let tightest = standings.tightest()?;
        let mut limits = Self { left: 0..0, allowed: 0..0, limit: 0..0, remaining: 0..0, reset: 0..0 };
        let start = text.len();
        for (name, standing) in named(standings) {
            begin(text, start, name);
            let remaining = number(text, ";r=", standing.remaining);
            let reset = number(text, ";t=", standing.reset_secs(arrival.at));
            if standing == tightest {
                (limits.remaining, limits.reset) = (remaining, reset);
            }
        }
        limits.left = start..text.len();
        let start = text.len();
        for (name, standing) in named(standings) {
            begin(text, start, name);
            let limit = number(text, ";q=", standing.limit);
            number(text, ";w=", standing.window_secs);
            if standing == tightest {
                limits.limit = limit;
            }
        }
        limits.allowed = start..text.len();
        Some(limits)
    }

    fn put(self, headers: &mut HeaderMap, text: &Bytes) {
        let Self { left, allowed, limit, remaining, reset } = self;
        for (name, part) in [
            (RATELIMIT, left),
            (RATELIMIT_POLICY, allowed),
            (X_RATELIMIT_LIMIT, limit),
            (X_RATELIMIT_REMAINING, remaining),
            (X_RATELIMIT_RESET, reset),
        ] {
            if let Some(value) = value(text, part) {
                headers.insert(name, value);
            }
        }
    }
}

fn named(standings: &Standings) -> impl Iterator<Item = (&'static str, Standing)> {
    let named = [("\"source\"", standings.source), ("\"endpoint\"", standings.endpoint)];
    named.into_iter().filter_map(|(name, standing)| Some((name, standing?)))
}

/// A list's next entry.
fn begin(text: &mut String, list: usize, name: &str) {
    if text.len() > list {
        text.push_str(", ");
    }
    text.push_str(name);
}

/// Where the number stands.
fn number(text: &mut String, name: &str, number: impl itoa::Integer) -> Range<usize> {
    text.push_str(name);
    let start = text.len();
    text.push_str(itoa::Buffer::new().format(number));
    start..text.len()
}

/// `Server-Timing`: in milliseconds, with three digits behind the point.
fn spent(text: &mut String, overhead: Duration) -> Range<usize> {
    let start = text.len();
    let rounded = overhead.saturating_add(Duration::from_nanos(500));
    number(text, "gatekeeper;dur=", u64::try_from(rounded.as_millis()).unwrap_or(u64::MAX));
    let micros = rounded.subsec_micros() % 1000;
    let zeros = match micros {
        ..10 => ".00",
        10..100 => ".0",
        _ => ".",
    };
    number(text, zeros, micros);
    start..text.len()
}

/// A part of a text as a header's value, in the text's own memory.
fn value(text: &Bytes, part: Range<usize>) -> Option<HeaderValue> {
    HeaderValue::from_maybe_shared(text.slice(part)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Timestamp;
    use crate::identity::CallId;
    use crate::record::{Notes, Recorder};

    fn said(standings: Standings) -> Vec<(String, String)> {
        let mut headers = HeaderMap::new();
        let arrival = Arrival::new(CallId::new(), Timestamp::from_secs(43), [192, 0, 2, 7].into());
        let mut text = String::new();
        if let Some(limits) = Limits::say(&mut text, &standings, arrival) {
            limits.put(&mut headers, &text.into());
        }
        headers.iter().map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned())).collect()
    }

    #[test]
    fn the_headers_name_every_limit_and_the_tightest() {
        let minute = |limit, remaining| Some(Standing { limit, remaining, window_secs: 60, resets_at: Timestamp::from_secs(60) });
        let pairs = |list: &[(&str, &str)]| list.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect::<Vec<_>>();
        assert_eq!(
            said(Standings { source: minute(500, 9), endpoint: minute(100, 7) }),
            pairs(&[
                ("ratelimit", r#""source";r=9;t=17, "endpoint";r=7;t=17"#),
                ("ratelimit-policy", r#""source";q=500;w=60, "endpoint";q=100;w=60"#),
                ("x-ratelimit-limit", "100"),
                ("x-ratelimit-remaining", "7"),
                ("x-ratelimit-reset", "17"),
            ])
        );
        assert_eq!(
            said(Standings { source: minute(500, 0), endpoint: None }).first(),
            pairs(&[("ratelimit", r#""source";r=0;t=17"#)]).first()
        );
        assert_eq!(said(Standings::default()), []);
    }

    #[test]
    fn what_was_spent_is_said_in_thousandths_of_a_millisecond() {
        let nanos = Duration::from_nanos;
        for (overhead, said) in [
            (Duration::ZERO, "0.000"),
            (nanos(499), "0.000"),
            (nanos(500), "0.001"),
            (nanos(12_499), "0.012"),
            (nanos(999_499), "0.999"),
            (nanos(999_500), "1.000"),
            (nanos(1_234_567_891), "1234.568"),
            (Duration::from_secs(3600), "3600000.000"),
        ] {
            let mut text = "before".to_owned();
            let part = spent(&mut text, overhead);
            assert_eq!(text.get(part), Some(&*format!("gatekeeper;dur={said}")), "{overhead:?}");
        }
    }

    /// hyper drops the body of such an answer unread, and with it whatever would have waited there.
    #[tokio::test]
    async fn a_head_request_has_its_record_before_it_is_answered() {
        let directory = tempfile::tempdir().unwrap();
        let recorder = Recorder::within(directory.path());
        let arrival = Arrival::new(CallId::new(), Timestamp::default(), [192, 0, 2, 7].into());
        let mut kept = Vec::new();
        for (method, recorded, length) in [(Method::GET, 0, None), (Method::HEAD, 1, Some(()))] {
            let trail = Trail::new(Notes::new(arrival.id, arrival.at, arrival.peer, "envelope"), recorder.clone());
            let response = refuse(Failure::MethodNotAllowed { allow: "POST" }.into(), trail, arrival, &method).there().await;
            assert_eq!(recorder.journal().standing().waiting, recorded, "{method}");
            assert_eq!(response.headers().get(CONTENT_LENGTH).map(|_| ()), length, "{method}");
            kept.push(response);
        }
    }
}
