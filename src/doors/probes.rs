//! Health, for load balancers and for people: no credentials, no limit, no record, and no question to the database.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Extension, Request, State};
use axum::response::Response;
use axum::routing::get;
use http::{HeaderMap, Method, StatusCode};
use serde_json::json;

use super::{Arrival, preflight, whole};
use crate::gatekeeper::Gatekeeper;
use crate::health::Database;
use crate::reply;
use crate::verdict::Failure;

/// The addresses, the same on both listeners.
pub fn routes() -> Router<Arc<Gatekeeper>> {
    Router::new()
        .route("/livez", get(live))
        .route("/readyz", get(ready))
        .route("/healthz", get(ready))
        .route("/health", get(health))
        .route("/api/health", get(api_health))
        .route("/api/monitoring/health", get(api_health))
}

/// The process runs.
async fn live() -> Response {
    whole(reply::json_answer(StatusCode::OK, HeaderMap::new(), &json!({ "status": "ok" })))
}

/// Calls should be sent here: they would not be refused. A database that is away is no reason against it: calls go on without it.
async fn ready(State(gatekeeper): State<Arc<Gatekeeper>>) -> Response {
    let has_room = gatekeeper.pipeline.places.available_permits() > 0;
    let (status, word) =
        if gatekeeper.health.is_ready() && has_room { (StatusCode::OK, "ok") } else { (StatusCode::SERVICE_UNAVAILABLE, "not_ready") };
    whole(reply::json_answer(status, HeaderMap::new(), &json!({ "status": word })))
}

/// For people and monitors: 503 while something that operators rely on is away.
async fn health(State(gatekeeper): State<Arc<Gatekeeper>>) -> Response {
    let database = gatekeeper.health.database();
    let latency = match &database {
        Database::Connected { latency } => Some(latency.as_secs_f64() * 1000.0),
        Database::Away | Database::NotAskedYet => None,
    };
    let healthy = database.is_connected();
    let body = json!({
        "status": if healthy { "healthy" } else { "degraded" },
        "timestamp": gatekeeper.pipeline.clock.now().to_string(),
        "database": { "connected": healthy, "latency_ms": latency },
    });
    whole(reply::json_answer(status(healthy), HeaderMap::new(), &body))
}

async fn api_health(State(gatekeeper): State<Arc<Gatekeeper>>) -> Response {
    let healthy = gatekeeper.health.database().is_connected();
    let body = json!({
        "status": if healthy { "ok" } else { "degraded" },
        "database": if healthy { "connected" } else { "disconnected" },
        "timestamp": gatekeeper.pipeline.clock.now().to_string(),
    });
    whole(reply::json_answer(status(healthy), HeaderMap::new(), &body))
}

pub async fn wrong_method(Extension(arrival): Extension<Arrival>, request: Request) -> Response {
    if request.method() == Method::OPTIONS {
        return preflight();
    }
    whole(reply::refusal(&Failure::MethodNotAllowed { allow: "GET, HEAD, OPTIONS" }.into(), arrival.id))
}

fn status(healthy: bool) -> StatusCode {
    if healthy { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }
}
