//! The policy in force, and reading it again.

use std::sync::Arc;

use axum::extract::State;
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::refused::{PolicyInvalid, Refused};
use super::request::{By, Nothing, Query};
use super::said::{Answer, Said};
use super::words::Moment;
use crate::control::PolicyStatus;
use crate::gatekeeper::Gatekeeper;
use crate::policy::describe::describe;

/// The policy in force, and what is wrong with the one that should take its place.
#[derive(Serialize, ToSchema)]
#[schema(as = PolicyStatus)]
pub struct Status {
    /// Where it is read from.
    origin: String,
    /// Two gatekeepers with the same one decide alike.
    fingerprint: String,
    loaded_at: Moment,
    /// Of the last try to read the policies, each with file and line; empty if what is in force is what the files say.
    problems: Vec<String>,
    warnings: Vec<String>,
    /// Patterns count as one each.
    sources: usize,
    targets: usize,
    rules: usize,
}

/// Which policy is in force.
#[utoipa::path(
    get, path = "/api/admin/policy", operation_id = "getPolicy", tag = "policy",
    responses((status = 200, description = "The policy in force.", body = Status))
)]
pub async fn status(State(gatekeeper): State<Arc<Gatekeeper>>, _: Query<Nothing>) -> Said<Status> {
    Ok(Answer::Ok(of(&gatekeeper, gatekeeper.control.policy_status())))
}

/// All that the policy in force says, and where it is written down. No secret is in it.
#[utoipa::path(
    get, path = "/api/admin/policy/show", operation_id = "showPolicy", tag = "policy",
    responses((status = 200, description = "An object.", body = Value))
)]
pub async fn show(State(gatekeeper): State<Arc<Gatekeeper>>, _: Query<Nothing>) -> Said<Value> {
    let policy = Arc::clone(&gatekeeper.pipeline.live.current().policy);
    Ok(Answer::Ok(describe(&policy)))
}

/// Reads the policies again and puts them in force. If anything is wrong with them, nothing changes.
#[utoipa::path(
    post, path = "/api/admin/policy/reload", operation_id = "reloadPolicy", tag = "policy", params(By),
    responses((status = 200, description = "The policy in force now.", body = Status), PolicyInvalid)
)]
pub async fn reload(State(gatekeeper): State<Arc<Gatekeeper>>, By(actor): By, _: Query<Nothing>) -> Said<Status> {
    let status = gatekeeper.control.reload(&actor).await.map_err(Refused::PolicyInvalid)?;
    Ok(Answer::Ok(of(&gatekeeper, status)))
}

fn of(gatekeeper: &Gatekeeper, status: PolicyStatus) -> Status {
    let policy = Arc::clone(&gatekeeper.pipeline.live.current().policy);
    let PolicyStatus { origin, fingerprint, loaded_at, problems, warnings } = status;
    Status {
        origin,
        fingerprint,
        loaded_at: Moment(loaded_at),
        problems,
        warnings,
        sources: policy.sources.entries(),
        targets: policy.targets.by_name.len(),
        rules: policy.sql.rule_count(),
    }
}
