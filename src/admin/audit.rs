//! Who changed what.

use std::sync::Arc;

use axum::extract::State;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

use super::refused::NeedsDatabase;
use super::request::Query;
use super::said::{Answer, Said};
use super::words::{Id, Moment, Most};
use crate::audit::AuditEntry;
use crate::gatekeeper::Gatekeeper;

const SHOWN: u32 = 100;

#[derive(Serialize, ToSchema)]
pub struct Audit {
    entries: Vec<Entry>,
}

/// A change.
#[derive(Serialize, ToSchema)]
#[schema(as = AuditEntry)]
struct Entry {
    id: Id,
    at: Moment,
    actor: String,
    /// What was done.
    action: String,
    /// To what.
    subject: String,
    reason: Option<String>,
    before: Value,
    after: Value,
}

impl From<AuditEntry> for Entry {
    fn from(entry: AuditEntry) -> Self {
        let AuditEntry { id, at, actor, action, subject, reason, before, after } = entry;
        Self { id: Id(id), at: Moment(at), actor, action, subject, reason, before, after }
    }
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct Look {
    /// 100 without it.
    limit: Option<Most>,
}

/// The latest changes.
#[utoipa::path(
    get, path = "/api/admin/audit", operation_id = "listAudit", tag = "audit", params(Look),
    responses((status = 200, description = "The newest first.", body = Audit), NeedsDatabase)
)]
pub async fn list(State(gatekeeper): State<Arc<Gatekeeper>>, Query(Look { limit }): Query<Look>) -> Said<Audit> {
    let entries = gatekeeper.control.audit_entries(limit.map_or(SHOWN, |limit| limit.0)).await?;
    Ok(Answer::Ok(Audit { entries: entries.into_iter().map(Entry::from).collect() }))
}
