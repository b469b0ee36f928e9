//! What becomes of an outcome: the target's answer or our refusal, with the headers that are ours to say on either, and the call's trail in
//! its body.

use std::fmt::Write as _;
use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use http::header::{CONTENT_LENGTH, EXPECT};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use http_body_util::Full;

use super::Arrival;
use crate::intake::let_run_out;
use crate::pipeline::{Outcome, Pipeline};
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

/// Of a call whose head could not be understood.
pub fn turned_away(pipeline: &Pipeline, failure: Failure, trail: &mut Trail) -> Outcome {
    pipeline.turn_away(&pipeline.live.snapshot(), trail);
    Outcome { result: Err(failure.into()), standings: Standings::default() }
}

/// `unread`: what is left of the call's body.
pub async fn answer(outcome: Outcome, mut trail: Trail, arrival: Arrival, asked: &Parts, unread: Option<Body>) -> Response {
    let overhead = trail.answer_begins();
    // Whoever waits to be asked for its body is not asked.
    let is_coming = |body: &Body| !http_body::Body::is_end_stream(body) && !asked.headers.contains_key(EXPECT);
    if let Some(body) = unread.filter(|body| outcome.result.is_err() && is_coming(body)) {
        tokio::spawn(let_run_out(body));
    }
    let mut response = match outcome.result {
        Ok(Settled::AsIs(answer)) => carry(answer.status, answer.headers, answer.body, trail).await,
        Ok(Settled::Error { status, headers, body } | Settled::Wrapped { status, headers, body }) => {
            carry(status, headers, Full::new(body), trail).await
        }
        Err(refusal) => refuse(refusal, trail, arrival, &asked.method).await,
    };
    in_our_name(response.headers_mut(), &outcome.standings, overhead, arrival);
    response
}

/// What every answer of a door says, whoever it is from.
pub fn in_our_name(headers: &mut HeaderMap, standings: &Standings, overhead: Duration, arrival: Arrival) {
    limit_headers(headers, standings, arrival);
    if let Ok(timing) = HeaderValue::try_from(format!("gatekeeper;dur={:.3}", overhead.as_secs_f64() * 1000.0)) {
        headers.append(SERVER_TIMING, timing);
    }
}

async fn carry<B>(status: StatusCode, headers: HeaderMap, body: B, trail: Trail) -> Response
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<axum::BoxError> + Send,
{
    let mut response = Response::new(Body::new(Recorded::new(body, trail, status.as_u16()).await));
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}

pub async fn refuse(refusal: Refusal, mut trail: Trail, arrival: Arrival, method: &Method) -> Response {
    let answer = reply::refusal(&refusal, arrival.id);
    let status = answer.status().as_u16();
    trail.note().ending = Some(Ending::Refused(refusal));
    let (mut parts, mut body) = answer.into_parts();
    if method == Method::HEAD {
        // Nobody would ask for the body, whose last frame waits for the record.
        parts.headers.insert(CONTENT_LENGTH, body.len().into());
        body = Bytes::new();
    }
    Response::from_parts(parts, Body::new(Recorded::new(Full::new(body), trail, status).await))
}

/// Where the caller stands: `RateLimit` names every limit that applies, the older headers the one it will hit first.
fn limit_headers(headers: &mut HeaderMap, standings: &Standings, arrival: Arrival) {
    let Some(tightest) = standings.tightest() else { return };
    let reset = |standing: Standing| standing.reset_secs(arrival.at);
    let (mut left, mut allowed) = (String::new(), String::new());
    for (name, standing) in [("source", standings.source), ("endpoint", standings.endpoint)] {
        let Some(standing) = standing else { continue };
        let comma = if left.is_empty() { "" } else { ", " };
        // A string takes whatever is written to it.
        let _ = write!(left, "{comma}\"{name}\";r={};t={}", standing.remaining, reset(standing));
        let _ = write!(allowed, "{comma}\"{name}\";q={};w={}", standing.limit, standing.window_secs);
    }
    for (name, list) in [(RATELIMIT, left), (RATELIMIT_POLICY, allowed)] {
        if let Ok(list) = HeaderValue::try_from(list) {
            headers.insert(name, list);
        }
    }
    headers.insert(X_RATELIMIT_LIMIT, tightest.limit.into());
    headers.insert(X_RATELIMIT_REMAINING, tightest.remaining.into());
    headers.insert(X_RATELIMIT_RESET, reset(tightest).into());
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
        limit_headers(&mut headers, &standings, arrival);
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
            let response = refuse(Failure::MethodNotAllowed { allow: "POST" }.into(), trail, arrival, &method).await;
            assert_eq!(recorder.journal().standing().waiting, recorded, "{method}");
            assert_eq!(response.headers().get(CONTENT_LENGTH).map(|_| ()), length, "{method}");
            kept.push(response);
        }
    }
}
