//! `/metrics`: what is counted all along, and what is looked up when it is asked for.

use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::header::{CACHE_CONTROL, CONTENT_TYPE};

use crate::gatekeeper::Gatekeeper;
use crate::health::Probe;
use crate::telemetry::metrics::{Metrics, TargetLabel};
use crate::upstream::breaker::BreakerState;

/// Metrics for Prometheus.
#[utoipa::path(
    get, path = "/metrics", operation_id = "getMetrics", tag = "health",
    responses((status = 200, description = "OpenMetrics text.", content_type = "application/openmetrics-text", body = String))
)]
pub async fn show(State(gatekeeper): State<Arc<Gatekeeper>>) -> Response {
    let text = gatekeeper.metrics.render_after(|metrics| look_up(&gatekeeper, metrics));
    let headers = [(CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8"), (CACHE_CONTROL, "no-store")];
    (headers, text).into_response()
}

fn look_up(gatekeeper: &Gatekeeper, metrics: &Metrics) {
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
    let journal = gatekeeper.pipeline.recorder.journal().standing();
    let whole = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
    metrics.records_waiting.set(whole(journal.waiting));
    metrics.journal_bytes.set(whole(journal.bytes));
    metrics.journal_limit.set(whole(journal.limit));
    metrics.journal_adopted.set(i64::try_from(journal.orphans).unwrap_or(i64::MAX));
    metrics.journal_trouble.set(i64::from(journal.trouble.is_some()));
    let now = gatekeeper.pipeline.clock.now();
    metrics.journal_oldest.set(journal.oldest_unwritten.map_or(0.0, |oldest| now.since(oldest).as_secs_f64()));
    metrics.target_up.clear();
    for (target, probe) in gatekeeper.probes() {
        metrics.target_up.get_or_create(&TargetLabel { target: target.to_string() }).set(i64::from(probe == Probe::Up));
    }
}
