//! `/metrics`: what is counted all along, and what is looked up when it is asked for.

use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;

use crate::gatekeeper::Gatekeeper;
use crate::telemetry::metrics::{Metrics, SiteLabel, TargetLabel};
use crate::upstream::breaker::BreakerState;
use crate::upstream::{Probe, SiteCondition};

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
    look_up_targets(gatekeeper, metrics);
    let journal = gatekeeper.pipeline.recorder.journal().standing();
    let whole = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
    metrics.records_waiting.set(whole(journal.waiting));
    metrics.journal_bytes.set(whole(journal.bytes));
    metrics.journal_limit.set(whole(journal.limit));
    metrics.journal_adopted.set(i64::try_from(journal.orphans).unwrap_or(i64::MAX));
    metrics.journal_trouble.set(i64::from(journal.trouble.is_some()));
    let now = gatekeeper.pipeline.clock.now();
    metrics.journal_oldest.set(journal.oldest_unwritten.map_or(0.0, |oldest| now.since(oldest).as_secs_f64()));
}

/// Targets that have left policy leave the metrics too.
fn look_up_targets(gatekeeper: &Gatekeeper, metrics: &Metrics) {
    let whole = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
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
        metrics.breaker_opened.get_or_create(&label).set(whole(view.opened));
    }
    let of_sites = [&metrics.site_state, &metrics.site_in_flight, &metrics.site_calls, &metrics.site_failures, &metrics.site_ejections];
    of_sites.into_iter().for_each(Family::clear);
    let of_targets = [&metrics.target_up, &metrics.target_retries, &metrics.target_retries_refused, &metrics.target_in_flight];
    let of_caches = [&metrics.cache_answers, &metrics.cache_bytes, &metrics.cache_hits, &metrics.cache_misses];
    of_targets.into_iter().chain(of_caches).for_each(Family::clear);
    for (target, view) in gatekeeper.pipeline.upstream.targets() {
        let label = TargetLabel { target: target.to_string() };
        let set = |family: &Family<TargetLabel, Gauge>, to: u64| _ = family.get_or_create(&label).set(whole(to));
        if let Some(probe) = view.probe() {
            set(&metrics.target_up, u64::from(probe == Probe::Up));
        }
        set(&metrics.target_retries, view.retries.retries);
        set(&metrics.target_retries_refused, view.retries.refused);
        set(&metrics.target_in_flight, view.under_way.into());
        if let Some(cache) = view.cache {
            set(&metrics.cache_answers, cache.answers as u64);
            set(&metrics.cache_bytes, cache.bytes as u64);
            set(&metrics.cache_hits, cache.hits);
            set(&metrics.cache_misses, cache.misses);
        }
        for site in view.sites {
            let label = SiteLabel { target: target.to_string(), url: site.url.to_string() };
            let state = match site.condition {
                SiteCondition::Well => 0,
                SiteCondition::OnTrial => 1,
                SiteCondition::Down => 2,
                SiteCondition::Ejected { .. } => 3,
            };
            for (family, to) in of_sites.into_iter().zip([state, site.under_way as u64, site.calls, site.failures, site.ejections]) {
                family.get_or_create(&label).set(whole(to));
            }
        }
    }
}
