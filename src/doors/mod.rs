//! The ways in. A door turns HTTP into a call and an outcome back into HTTP; what happens in between is the pipeline's.

pub mod envelope;
pub mod overloaded;
pub mod probes;

use std::net::IpAddr;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Extension, Request, State};
use axum::response::Response;
use axum::routing::any;
use http::{Method, StatusCode};

use crate::clock::Timestamp;
use crate::gatekeeper::Gatekeeper;
use crate::identity::CallId;
use crate::reply;
use crate::verdict::Failure;

/// What the server knows of a request before anybody reads it.
#[derive(Clone, Copy, Debug)]
pub struct Arrival {
    pub id: CallId,
    pub at: Timestamp,
    /// Who calls: the other end of the connection, or whom a trusted proxy speaks for.
    pub peer: IpAddr,
}

/// The data listener's table of contents.
pub fn router(gatekeeper: Arc<Gatekeeper>) -> Router {
    Router::new()
        .route("/", any(envelope::call))
        .route("/functions/v1/eliza-gatekeeper", any(envelope::call))
        .merge(Router::from(probes::routes(probes::Reader::Anybody)))
        .method_not_allowed_fallback(probes::wrong_method)
        .fallback(nothing_here)
        .with_state(gatekeeper)
}

async fn nothing_here(State(_): State<Arc<Gatekeeper>>, Extension(arrival): Extension<Arrival>, request: Request) -> Response {
    if request.method() == Method::OPTIONS {
        return preflight();
    }
    if [Method::TRACE, Method::CONNECT].contains(request.method()) {
        return whole(reply::refusal(&Failure::MethodNotAllowed { allow: "OPTIONS" }.into(), arrival.id));
    }
    whole(reply::no_such_address(arrival.id))
}

/// The original answered any OPTIONS so; the headers that matter are on every answer of this listener.
pub fn preflight() -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::OK;
    response
}

pub fn whole(answer: reply::Answer) -> Response {
    answer.map(Body::from)
}
