//! Promises: a deploy costs nobody a call. A process that is told to stop says so first, goes on for a while, and ends what it began, or
//! says of what it could not end that it did not. A new one takes over from the running one: no connection is refused or reset, nothing
//! that was used of a limit is given back, and if it fails on the way the running one serves on. Policies and secrets change while
//! calls go on.
//!
//! All of it through the program itself.

mod activation;
mod drain;
mod handover;
mod odd_successors;
mod reloads;
mod rolling;

use std::net::SocketAddr;

use crate::support::house::{KEY, Reply, call_at};
use crate::support::program::Running;
use serde_json::json;

/// A call that is answered 200, over a connection of its own.
async fn call(at: SocketAddr) -> Reply {
    call_at(at, KEY, "gemini-chat", &json!({"target": "agent-manager", "action": "list_agents"})).await
}

/// How often the log says this.
fn said(running: &Running, message: &str) -> usize {
    running.err().matches(&format!("\"message\":\"{message}\"")).count()
}
