//! The envelope door: `{target, action?, payload?, operation?}` in, the target's answer out. The original's clients come this way.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Extension, Request, State};
use axum::response::Response;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use http_body_util::Full;

use super::{Arrival, preflight};
use crate::call::Head;
use crate::gatekeeper::Gatekeeper;
use crate::pipeline::{Arriving, Outcome, Pipeline};
use crate::record::{Ending, Notes, Recorded, Trail};
use crate::reply;
use crate::upstream::Settled;
use crate::verdict::{Failure, Refusal, Standing, Standings};

const ALLOW: &str = "POST, OPTIONS";

const RATELIMIT: HeaderName = HeaderName::from_static("ratelimit");
const RATELIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
const X_RATELIMIT_LIMIT: HeaderName = HeaderName::from_static("x-ratelimit-limit");
const X_RATELIMIT_REMAINING: HeaderName = HeaderName::from_static("x-ratelimit-remaining");
const X_RATELIMIT_RESET: HeaderName = HeaderName::from_static("x-ratelimit-reset");

pub async fn call(State(gatekeeper): State<Arc<Gatekeeper>>, Extension(arrival): Extension<Arrival>, request: Request) -> Response {
    if request.method() == Method::OPTIONS {
        return preflight();
    }
    let pipeline = &gatekeeper.pipeline;
    let mut trail = Trail::new(Notes::new(arrival.id, arrival.at, arrival.peer, "envelope"), pipeline.recorder.clone());
    let (parts, body) = request.into_parts();
    let outcome = match head_of(&parts, arrival) {
        Ok(head) => pipeline.admit_and_forward(Arriving { head: &head, headers: &parts.headers, body }, &mut trail).await,
        Err(failure) => turned_away(pipeline, failure, &mut trail),
    };
    answer(outcome, trail, arrival)
}

fn head_of(parts: &http::request::Parts, arrival: Arrival) -> Result<Head, Failure> {
    if parts.method != Method::POST {
        return Err(Failure::MethodNotAllowed { allow: ALLOW });
    }
    Head::parse(&parts.headers, parts.version, arrival.id, arrival.at, arrival.peer)
}

fn turned_away(pipeline: &Pipeline, failure: Failure, trail: &mut Trail) -> Outcome {
    pipeline.turn_away(&pipeline.live.snapshot(), trail);
    Outcome { result: Err(failure.into()), standings: Standings::default() }
}

fn answer(outcome: Outcome, trail: Trail, arrival: Arrival) -> Response {
    let mut response = match outcome.result {
        Ok(Settled::AsIs(answer)) => carry(answer.status, answer.headers, answer.body, trail),
        Ok(Settled::Error { status, headers, body } | Settled::Wrapped { status, headers, body }) => {
            carry(status, headers, Full::new(body), trail)
        }
        Err(refusal) => refuse(refusal, trail, arrival),
    };
    limit_headers(response.headers_mut(), &outcome.standings, arrival);
    response
}

fn carry<B>(status: StatusCode, headers: HeaderMap, body: B, trail: Trail) -> Response
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<axum::BoxError>,
{
    let mut response = Response::new(Body::new(Recorded::new(body, trail, status.as_u16())));
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}

fn refuse(refusal: Refusal, mut trail: Trail, arrival: Arrival) -> Response {
    let answer = reply::refusal(&refusal, arrival.id);
    let status = answer.status().as_u16();
    trail.note().ending = Some(Ending::Refused(refusal));
    answer.map(|body| Body::new(Recorded::new(Full::new(body), trail, status)))
}

/// Where the caller stands: `RateLimit` names every limit that applies, the older headers the one it will hit first.
fn limit_headers(headers: &mut HeaderMap, standings: &Standings, arrival: Arrival) {
    let named = [("source", standings.source), ("endpoint", standings.endpoint)];
    let list = |item: &dyn Fn(&str, Standing) -> String| {
        let items: Vec<String> = named.iter().filter_map(|(name, standing)| Some(item(name, (*standing)?))).collect();
        items.join(", ")
    };
    let Some(tightest) = standings.tightest() else { return };
    let reset = |standing: Standing| standing.reset_secs(arrival.at);
    let values = [
        (RATELIMIT, list(&|name, standing| format!("\"{name}\";r={};t={}", standing.remaining, reset(standing)))),
        (RATELIMIT_POLICY, list(&|name, standing| format!("\"{name}\";q={};w={}", standing.limit, standing.window_secs))),
        (X_RATELIMIT_LIMIT, tightest.limit.to_string()),
        (X_RATELIMIT_REMAINING, tightest.remaining.to_string()),
        (X_RATELIMIT_RESET, reset(tightest).to_string()),
    ];
    for (name, value) in values {
        if let Ok(value) = HeaderValue::try_from(value) {
            headers.insert(name, value);
        }
    }
}
