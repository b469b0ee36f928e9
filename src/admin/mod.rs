//! The ops listener's table of contents: what operators and their machines look at. Never answers with CORS headers.
//!
//! Metrics and probes are open to whoever reaches this listener, which is loopback unless the operator says otherwise;
//! everything under `/api/admin` wants the admin token, and without one configured it is off.

pub mod breakers;

use std::sync::Arc;

use axum::Router;
use axum::extract::{Extension, Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::header::{AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE};
use http::{Method, StatusCode};

use crate::doors::probes::Reader;
use crate::doors::{Arrival, probes, whole};
use crate::gatekeeper::Gatekeeper;
use crate::health::Probe;
use crate::identity::KeyHash;
use crate::reply;
use crate::telemetry::metrics::TargetLabel;
use crate::upstream::breaker::BreakerState;

pub fn router(gatekeeper: Arc<Gatekeeper>) -> Router {
    let admin = Router::new()
        .route("/api/admin/breakers", get(breakers::list))
        .route_layer(from_fn_with_state(Arc::clone(&gatekeeper), require_token));
    Router::new()
        .merge(admin)
        .route("/metrics", get(metrics))
        .merge(probes::routes(Reader::Operator))
        .method_not_allowed_fallback(probes::wrong_method)
        .fallback(nothing_here)
        .with_state(gatekeeper)
}

/// Where both planes share a port: which requests are for this one. Probes are the same on both.
pub fn is_ops(method: &Method, path: &str) -> bool {
    let page = path == "/" && (*method == Method::GET || *method == Method::HEAD);
    page || path == "/metrics" || path == "/openapi.json" || path.starts_with("/api/admin/") || path.starts_with("/api/ops/")
}

async fn require_token(
    State(gatekeeper): State<Arc<Gatekeeper>>,
    Extension(arrival): Extension<Arrival>,
    request: Request,
    next: Next,
) -> Response {
    let refuse = |status, code, error, message| whole(reply::ops_refusal(status, code, error, message, arrival.id));
    let Some(token) = gatekeeper.admin_token else {
        let message = "The admin API is off: set GATEKEEPER_ADMIN_TOKEN to use it";
        return refuse(StatusCode::FORBIDDEN, "admin_api_off", "Forbidden", message);
    };
    let shown = request.headers().get(AUTHORIZATION).and_then(|value| value.to_str().ok()).and_then(|value| {
        let (scheme, token) = value.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then(|| KeyHash::of(token.trim().as_bytes()))
    });
    if shown != Some(token) {
        return refuse(StatusCode::UNAUTHORIZED, "unauthorized", "Unauthorized", "Send the admin token as Authorization: Bearer");
    }
    next.run(request).await
}

async fn metrics(State(gatekeeper): State<Arc<Gatekeeper>>) -> Response {
    let metrics = &gatekeeper.metrics;
    metrics.limit_buckets.set(i64::try_from(gatekeeper.pipeline.limiter.buckets()).unwrap_or(i64::MAX));
    // Targets that have left policy leave the metrics too.
    metrics.breaker_state.clear();
    metrics.breaker_opened.clear();
    for (target, view) in gatekeeper.pipeline.upstream.breakers() {
        let label = TargetLabel { target: target.to_string() };
        let state = match view.state {
            BreakerState::Closed => 0,
            BreakerState::Open => 1,
            BreakerState::HalfOpen => 2,
        };
        metrics.breaker_state.get_or_create(&label).set(state);
        metrics.breaker_opened.get_or_create(&label).set(i64::try_from(view.opened).unwrap_or(i64::MAX));
    }
    metrics.target_up.clear();
    for (target, probe) in gatekeeper.probes() {
        metrics.target_up.get_or_create(&TargetLabel { target: target.to_string() }).set(i64::from(probe == Probe::Up));
    }
    let headers = [(CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8"), (CACHE_CONTROL, "no-store")];
    (headers, metrics.render()).into_response()
}

async fn nothing_here(Extension(arrival): Extension<Arrival>) -> Response {
    whole(reply::no_such_address(arrival.id))
}
