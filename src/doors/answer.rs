//! What becomes of an outcome: the target's answer or our refusal, with the headers that are ours to say on either, and the call's trail in
//! its body.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::{CONTENT_LENGTH, EXPECT};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode};
use http_body::Body;
use http_body_util::Full;

use super::Arrival;
use super::said::{Begun, Said};
use crate::intake::let_run_out;
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
pub fn answer<B: Arriving>(outcome: Outcome, mut trail: Box<Trail>, arrival: Arrival, asked: &Parts, unread: Option<B>) -> Response<Begun> {
    let overhead = trail.answer_begins();
    // Whoever waits to be asked for its body is not asked.
    let is_coming = |body: &B| !body.is_end_stream() && !asked.headers.contains_key(EXPECT);
    if let Some(body) = unread.filter(|body| outcome.result.is_err() && is_coming(body)) {
        tokio::spawn(let_run_out(body));
    }
    let mut response = match outcome.result {
        Ok(Settled::AsIs(answer)) => carry(answer.status, answer.headers, answer.body, trail),
        Ok(Settled::Error { status, headers, body } | Settled::Wrapped { status, headers, body }) => {
            carry(status, headers, Full::new(body), trail)
        }
        Err(refusal) => refuse(refusal, trail, arrival, &asked.method),
    };
    in_our_name(response.headers_mut(), &outcome.standings, overhead, arrival);
    response
}

/// What every answer of a door says, whoever it is from.
pub fn in_our_name(headers: &mut HeaderMap, standings: &Standings, overhead: Duration, arrival: Arrival) {
    // Growing once is cheaper than growing as they come.
    headers.reserve(OURS);
    let mut text = Text::default();
    limit_headers(headers, &mut text, standings, arrival);
    let micros = overhead.saturating_add(Duration::from_nanos(500)).as_micros();
    let millis = u64::try_from(micros / 1000).unwrap_or(u64::MAX);
    let rest = u16::try_from(micros % 1000).unwrap_or_default();
    let zeros = match rest {
        ..10 => "00",
        10..100 => "0",
        _ => "",
    };
    if let Some(timing) = text.say("gatekeeper;dur=").count(millis).say(".").say(zeros).count(rest).take() {
        headers.append(SERVER_TIMING, timing);
    }
}

fn carry<B>(status: StatusCode, headers: HeaderMap, body: B, trail: Box<Trail>) -> Response<Begun>
where
    B: Body<Data: Send, Error: Send> + Send + 'static,
    Recorded<B>: Into<Said>,
{
    let mut response = Response::new(Begun::from(Recorded::begin(body, trail, status.as_u16())));
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}

pub fn refuse(refusal: Refusal, mut trail: Box<Trail>, arrival: Arrival, method: &Method) -> Response<Begun> {
    let answer = reply::refusal(&refusal, arrival.id);
    let status = answer.status().as_u16();
    trail.note().ending = Some(Ending::Refused(refusal));
    let (mut parts, mut body) = answer.into_parts();
    if method == Method::HEAD {
        // Nobody would ask for the body, whose last frame waits for the record.
        parts.headers.insert(CONTENT_LENGTH, body.len().into());
        body = Bytes::new();
    }
    Response::from_parts(parts, Begun::from(Recorded::begin(Full::new(body), trail, status)))
}

/// Where the caller stands: `RateLimit` names every limit that applies, the older headers the one it will hit first.
fn limit_headers(headers: &mut HeaderMap, text: &mut Text, standings: &Standings, arrival: Arrival) {
    let Some(tightest) = standings.tightest() else { return };
    let reset = |standing: Standing| standing.reset_secs(arrival.at);
    let left = |text: &mut Text, standing: Standing| {
        text.say(";r=").count(standing.remaining).say(";t=").count(reset(standing));
    };
    let allowed = |text: &mut Text, standing: Standing| {
        text.say(";q=").count(standing.limit).say(";w=").count(standing.window_secs);
    };
    each_limit(text, standings, left);
    text.put(headers, RATELIMIT);
    each_limit(text, standings, allowed);
    text.put(headers, RATELIMIT_POLICY);
    text.count(tightest.limit).put(headers, X_RATELIMIT_LIMIT);
    text.count(tightest.remaining).put(headers, X_RATELIMIT_REMAINING);
    text.count(reset(tightest)).put(headers, X_RATELIMIT_RESET);
}

fn each_limit(text: &mut Text, standings: &Standings, say: impl Fn(&mut Text, Standing)) {
    let mut comma = "";
    for (name, standing) in [("\"source\"", standings.source), ("\"endpoint\"", standings.endpoint)] {
        let Some(standing) = standing else { continue };
        say(text.say(comma).say(name), standing);
        comma = ", ";
    }
}

/// What headers say, one behind the other in one piece of memory.
struct Text(BytesMut);

impl Default for Text {
    fn default() -> Self {
        Self(BytesMut::with_capacity(LONG_ENOUGH))
    }
}

impl Text {
    fn say(&mut self, text: &str) -> &mut Self {
        self.0.extend_from_slice(text.as_bytes());
        self
    }

    fn count(&mut self, number: impl itoa::Integer) -> &mut Self {
        self.say(itoa::Buffer::new().format(number))
    }

    /// What was said since the last one was taken.
    fn take(&mut self) -> Option<HeaderValue> {
        HeaderValue::from_maybe_shared(self.0.split().freeze()).ok()
    }

    fn put(&mut self, headers: &mut HeaderMap, name: HeaderName) {
        if let Some(value) = self.take() {
            headers.insert(name, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::said::there;
    use super::*;
    use crate::clock::Timestamp;
    use crate::identity::CallId;
    use crate::record::{Notes, Recorder};

    fn said(standings: Standings) -> Vec<(String, String)> {
        let mut headers = HeaderMap::new();
        let arrival = Arrival::new(CallId::new(), Timestamp::from_secs(43), [192, 0, 2, 7].into());
        limit_headers(&mut headers, &mut Text::default(), &standings, arrival);
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

    /// hyper drops the body of such an answer unread, and with it whatever would have waited there.
    #[tokio::test]
    async fn a_head_request_has_its_record_before_it_is_answered() {
        let directory = tempfile::tempdir().unwrap();
        let recorder = Recorder::within(directory.path());
        let arrival = Arrival::new(CallId::new(), Timestamp::default(), [192, 0, 2, 7].into());
        let mut kept = Vec::new();
        for (method, recorded, length) in [(Method::GET, 0, None), (Method::HEAD, 1, Some(()))] {
            let trail = Trail::new(Notes::new(arrival.id, arrival.at, arrival.peer, "envelope"), recorder.clone());
            let response = there(refuse(Failure::MethodNotAllowed { allow: "POST" }.into(), trail, arrival, &method)).await;
            assert_eq!(recorder.journal().standing().waiting, recorded, "{method}");
            assert_eq!(response.headers().get(CONTENT_LENGTH).map(|_| ()), length, "{method}");
            kept.push(response);
        }
    }
}
