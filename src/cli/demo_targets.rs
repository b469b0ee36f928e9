//! The demo's targets: every function there is, answering with what it was sent, so that a first call shows what a target gets. Whoever
//! is asked to validate SQL finds it valid.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;

use axum::Router;
use axum::extract::Path;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use bytes::Bytes;
use serde_json::{Value, json};
use tokio::net::TcpListener;

/// Serves them on a free port of loopback until the process ends.
pub async fn start() -> io::Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let router = Router::new().route("/functions/v1/{target}", any(answer)).route("/functions/v1/{target}/{*rest}", any(answer));
    tokio::spawn(async move {
        if let Err(error) = axum::serve(listener, router).await {
            tracing::error!(%error, "the demo targets stopped");
        }
    });
    Ok(address)
}

async fn answer(Path(at): Path<HashMap<String, String>>, headers: HeaderMap, body: Bytes) -> Response {
    let target = at.get("target");
    let received: Value = serde_json::from_slice(&body).unwrap_or(Value::Null);
    let call_id = headers.get("x-call-id").and_then(|id| id.to_str().ok());
    let asked_to_validate = received.get("action").is_some_and(|action| action == "validate");
    let mut answer = json!({ "success": true, "target": target, "received": &received, "call_id": call_id });
    if let (true, Some(members)) = (asked_to_validate, answer.as_object_mut()) {
        members.insert("valid".into(), true.into());
    }
    (StatusCode::OK, [("content-type", "application/json")], answer.to_string()).into_response()
}
