//! Health, for load balancers and for people: no credentials, no limit, no record, and no question to the database.

mod pages;
mod targets;

use std::sync::Arc;

use axum::extract::{Extension, Request, State};
use axum::response::Response;
use http::{HeaderMap, Method, StatusCode};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

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
pub fn routes(reader: Reader) -> OpenApiRouter<Arc<Gatekeeper>> {
    OpenApiRouter::default()
        .routes(routes!(live))
        .routes(routes!(ready))
        .routes(routes!(ready_as_well))
        .routes(routes!(health))
        .routes(routes!(api_health))
        .routes(routes!(detailed_health))
        .layer(Extension(reader))
}

/// `ok`, or why not.
#[derive(Serialize, ToSchema)]
struct Probed {
    status: &'static str,
}

/// The process runs.
#[utoipa::path(
    get, path = "/livez", operation_id = "getLive", tag = "health",
    responses((status = 200, description = "It does.", body = Probed))
)]
async fn live() -> Response {
    whole(reply::json_answer(StatusCode::OK, HeaderMap::new(), &Probed { status: "ok" }))
}

/// Calls should be sent here: they would not be refused.
#[utoipa::path(
    get, path = "/readyz", operation_id = "getReady", tag = "health",
    responses((status = 200, description = "They should.", body = Probed), (status = 503, description = "Not now.", body = Probed))
)]
async fn ready(State(gatekeeper): Shared) -> Response {
    // A database that is away is no reason against it: calls go on without it.
    let has_room = gatekeeper.pipeline.places.available_permits() > 0;
    let (code, status) =
        if gatekeeper.health.is_ready() && has_room { (StatusCode::OK, "ok") } else { (StatusCode::SERVICE_UNAVAILABLE, "not_ready") };
    whole(reply::json_answer(code, HeaderMap::new(), &Probed { status }))
}

/// As `/readyz`.
#[utoipa::path(
    get, path = "/healthz", operation_id = "getHealthz", tag = "health",
    responses((status = 200, description = "They should.", body = Probed), (status = 503, description = "Not now.", body = Probed))
)]
async fn ready_as_well(gatekeeper: Shared) -> Response {
    ready(gatekeeper).await
}

/// How the gatekeeper is, and what it relies on.
#[utoipa::path(
    get, path = "/health", operation_id = "getHealth", tag = "health",
    responses(
        (status = 200, description = "All is well.", body = pages::Whole),
        (status = 503, description = "Something is not.", body = pages::Whole)
    )
)]
async fn health(State(gatekeeper): Shared, Extension(reader): Extension<Reader>) -> Response {
    pages::whole_health(&gatekeeper, reader)
}

/// Whether its connections stand.
#[utoipa::path(
    get, path = "/api/health", operation_id = "getApiHealth", tag = "health",
    responses(
        (status = 200, description = "They do.", body = pages::Connections),
        (status = 503, description = "One does not.", body = pages::Connections)
    )
)]
async fn api_health(State(gatekeeper): Shared) -> Response {
    pages::api_health(&gatekeeper)
}

/// The same with the database's pool; for operators, with targets and enforcement.
#[utoipa::path(
    get, path = "/api/monitoring/health", operation_id = "getMonitoringHealth", tag = "health",
    responses(
        (status = 200, description = "All is well.", body = pages::Detailed),
        (status = 503, description = "Something is not.", body = pages::Detailed)
    )
)]
async fn detailed_health(State(gatekeeper): Shared, Extension(reader): Extension<Reader>) -> Response {
    pages::detailed_health(&gatekeeper, reader)
}

pub async fn wrong_method(Extension(arrival): Extension<Arrival>, request: Request) -> Response {
    if request.method() == Method::OPTIONS {
        return preflight();
    }
    whole(reply::refusal(&Failure::MethodNotAllowed { allow: "GET, HEAD, OPTIONS" }.into(), arrival.id))
}
