//! The envelope door: `{target, action?, payload?, operation?}` in, the target's answer out. The original's clients come this way.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Extension, Request, State};
use axum::response::Response;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use http_body_util::Full;

use super::{Arrival, preflight};
use crate::call::Head;
use crate::gatekeeper::Gatekeeper;
use crate::gates::rate_limit::Standing;
use crate::pipeline::{Arriving, Outcome, Pipeline};
use crate::record::{Ending, Notes, Recorded, Trail};
use crate::reply;
use crate::upstream::answer::Settled;
use crate::verdict::{Failure, Refusal};

const ALLOW: &str = "POST, OPTIONS";

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
    Outcome { result: Err(failure.into()), standing: None }
}

fn answer(outcome: Outcome, mut trail: Trail, arrival: Arrival) -> Response {
    let mut response = match outcome.result {
        Ok(Settled::AsIs(answer)) => {
            let (status, headers) = (answer.status, answer.headers);
            let mut response = Response::new(Body::new(Recorded::new(answer.body, trail, status.as_u16())));
            *response.status_mut() = status;
            *response.headers_mut() = headers;
            response
        }
        Ok(Settled::Error { status, headers, body }) => {
            let mut response = Response::new(Body::new(Recorded::new(Full::new(body), trail, status.as_u16())));
            *response.status_mut() = status;
            *response.headers_mut() = headers;
            response
        }
        Ok(Settled::Wrapped { status, target }) => {
            let answer = reply::target_error(status, target.as_str(), arrival.id);
            answer.map(|body| Body::new(Recorded::new(Full::new(body), trail, status.as_u16())))
        }
        Err(refusal) => refuse(refusal, trail, arrival),
    };
    if let Some(standing) = &outcome.standing {
        limit_headers(response.headers_mut(), standing);
    }
    response
}

fn refuse(refusal: Refusal, mut trail: Trail, arrival: Arrival) -> Response {
    let answer = reply::refusal(&refusal, arrival.id);
    let status = answer.status().as_u16();
    trail.note().ending = Some(Ending::Refused(refusal));
    answer.map(|body| Body::new(Recorded::new(Full::new(body), trail, status)))
}
