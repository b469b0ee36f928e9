//! Health, for load balancers and for people: no credentials, no limit, no record, and no question to the database.

mod pages;

use std::sync::Arc;

use axum::Router;
use axum::extract::{Extension, Request, State};
use axum::response::Response;
use axum::routing::get;
use http::{HeaderMap, Method, StatusCode};
use serde_json::json;

use super::{Arrival, preflight, whole};
use crate::gatekeeper::Gatekeeper;
use crate::reply;
use crate::verdict::Failure;

/// Who reads what is answered: what keeps calls from being refused is for operators alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reader {
    /// Whoever reaches the data listener.
    Anybody,
    /// Whoever reaches the ops listener.
    Operator,
}

type Shared = State<Arc<Gatekeeper>>;

/// The addresses are the same on both listeners, and so is what is well; operators are told more.
pub fn routes(reader: Reader) -> Router<Arc<Gatekeeper>> {
    Router::new()
        .route("/livez", get(live))
        .route("/readyz", get(ready))
        .route("/healthz", get(ready))
        .route("/health", get(async move |State(gatekeeper): Shared| pages::whole_health(&gatekeeper, reader)))
        .route("/api/health", get(async |State(gatekeeper): Shared| pages::api_health(&gatekeeper)))
        .route("/api/monitoring/health", get(async move |State(gatekeeper): Shared| pages::detailed_health(&gatekeeper, reader)))
}

/// The process runs.
async fn live() -> Response {
    whole(reply::json_answer(StatusCode::OK, HeaderMap::new(), &json!({ "status": "ok" })))
}

/// Calls should be sent here: they would not be refused. A database that is away is no reason against it: calls go on without it.
async fn ready(State(gatekeeper): Shared) -> Response {
    let has_room = gatekeeper.pipeline.places.available_permits() > 0;
    let (status, word) =
        if gatekeeper.health.is_ready() && has_room { (StatusCode::OK, "ok") } else { (StatusCode::SERVICE_UNAVAILABLE, "not_ready") };
    whole(reply::json_answer(status, HeaderMap::new(), &json!({ "status": word })))
}

pub async fn wrong_method(Extension(arrival): Extension<Arrival>, request: Request) -> Response {
    if request.method() == Method::OPTIONS {
        return preflight();
    }
    whole(reply::refusal(&Failure::MethodNotAllowed { allow: "GET, HEAD, OPTIONS" }.into(), arrival.id))
}
