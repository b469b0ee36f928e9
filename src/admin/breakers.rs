//! Which targets are being left alone, and why.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use http::{HeaderMap, StatusCode};
use serde_json::{Value, json};

use crate::doors::whole;
use crate::gatekeeper::Gatekeeper;
use crate::reply;

pub async fn list(State(gatekeeper): State<Arc<Gatekeeper>>) -> Response {
    let breakers: Vec<Value> = gatekeeper
        .pipeline
        .upstream
        .breakers()
        .into_iter()
        .map(|(target, view)| {
            json!({ "target": target.as_str(), "state": view.state.as_str(), "failures": view.failures, "opened": view.opened })
        })
        .collect();
    whole(reply::json_answer(StatusCode::OK, HeaderMap::new(), &json!({ "breakers": breakers })))
}
