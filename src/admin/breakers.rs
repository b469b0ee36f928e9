//! Which targets are being left alone, and why.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use http::{HeaderMap, StatusCode};
use serde_json::{Value, json};

use crate::doors::whole;
use crate::gatekeeper::Gatekeeper;
use crate::reply;
use crate::upstream::breaker::BreakerState;

pub async fn list(State(gatekeeper): State<Arc<Gatekeeper>>) -> Response {
    let breakers: Vec<Value> = gatekeeper
        .pipeline
        .upstream
        .breakers()
        .into_iter()
        .map(|(target, view)| {
            let state = match view.state {
                BreakerState::Closed => "closed",
                BreakerState::Open => "open",
                BreakerState::HalfOpen => "half_open",
            };
            json!({ "target": target.as_str(), "state": state, "failures": view.failures, "opened": view.opened })
        })
        .collect();
    whole(reply::json_answer(StatusCode::OK, HeaderMap::new(), &json!({ "breakers": breakers })))
}
