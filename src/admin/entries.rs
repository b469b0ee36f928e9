//! What people must look at: calls that went past the gatekeeper, and fixes that came to nothing.

use std::sync::Arc;

use axum::extract::State;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

use super::refused::{NeedsDatabase, NotFound, Refused};
use super::request::{By, Json, Nothing, Part, Query};
use super::said::{Answer, Said};
use super::words::{Id, Moment, Most, Name, Note, Reason};
use crate::gatekeeper::Gatekeeper;
use crate::store::CallRow;
use crate::store::control::{ActivityEntry, EntryKind, Review};

const SHOWN: u32 = 100;

#[derive(Serialize, ToSchema)]
pub struct Entries {
    entries: Vec<Entry>,
}

/// Something that people must look at.
#[derive(Serialize, ToSchema)]
pub struct Entry {
    id: Id,
    at: Moment,
    /// Of a bypass: open, reviewed. Of a fix: triggered, succeeded, failed.
    status: String,
    title: String,
    description: String,
    /// An object.
    metadata: Value,
}

impl From<CallRow> for Entry {
    fn from(row: CallRow) -> Self {
        let CallRow { id, at, status, title, description, metadata, .. } = row;
        Self { id: Id(id), at: Moment(at), status, title, description, metadata }
    }
}

impl From<ActivityEntry> for Entry {
    fn from(entry: ActivityEntry) -> Self {
        let ActivityEntry { id, at, status, title, description, metadata, .. } = entry;
        Self { id: Id(id), at: Moment(at), status: status.as_str().to_owned(), title, description, metadata }
    }
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct Look {
    /// Only those that nobody has looked at.
    open: Option<bool>,
    /// 100 without it.
    limit: Option<Most>,
}

/// Somebody called a target without the gatekeeper.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Bypass {
    /// Who did.
    by: Name,
    target: Name,
    reason: Reason,
}

/// Somebody has looked at an entry.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ReviewOrder {
    /// Who has.
    by: Name,
    note: Note,
}

#[derive(Serialize, ToSchema)]
pub struct Reviewed {
    id: Id,
    by: String,
    note: String,
    at: Moment,
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Path)]
pub struct OfEntry {
    id: Id,
}

/// The fixes that were triggered for rejected schema operations, and what came of them.
#[utoipa::path(
    get, path = "/api/admin/auto-fixes", operation_id = "listAutoFixes", tag = "reviews", params(Look),
    responses((status = 200, description = "The newest first.", body = Entries), NeedsDatabase)
)]
pub async fn auto_fixes(State(gatekeeper): State<Arc<Gatekeeper>>, Query(look): Query<Look>) -> Said<Entries> {
    list(&gatekeeper, EntryKind::AutoFix, &look).await
}

/// The calls that were made without the gatekeeper.
#[utoipa::path(
    get, path = "/api/admin/bypasses", operation_id = "listBypasses", tag = "reviews", params(Look),
    responses((status = 200, description = "The newest first.", body = Entries), NeedsDatabase)
)]
pub async fn bypasses(State(gatekeeper): State<Arc<Gatekeeper>>, Query(look): Query<Look>) -> Said<Entries> {
    list(&gatekeeper, EntryKind::ManualBypass, &look).await
}

async fn list(gatekeeper: &Gatekeeper, kind: EntryKind, look: &Look) -> Said<Entries> {
    let most = look.limit.map_or(SHOWN, |limit| limit.0);
    let rows = gatekeeper.control.entries(kind, look.open.unwrap_or(false), most).await?;
    Ok(Answer::Ok(Entries { entries: rows.into_iter().map(Entry::from).collect() }))
}

/// Puts on record that somebody calls a target without the gatekeeper. It stays open until it is reviewed.
#[utoipa::path(
    post, path = "/api/admin/bypasses", operation_id = "logBypass", tag = "reviews", params(By), request_body = Bypass,
    responses((status = 201, description = "The entry.", body = Entry), NeedsDatabase)
)]
pub async fn log_bypass(
    State(gatekeeper): State<Arc<Gatekeeper>>,
    By(actor): By,
    _: Query<Nothing>,
    Json { value: Bypass { by: Name(by), target: Name(target), reason: Reason(reason) }, .. }: Json<Bypass>,
) -> Said<Entry> {
    let entry = ActivityEntry::bypass(gatekeeper.pipeline.clock.now(), &by, &target, &reason);
    gatekeeper.control.log_bypass(&entry, &actor).await?;
    Ok(Answer::Created(entry.into()))
}

/// Notes that somebody has looked at a bypass or a fix.
#[utoipa::path(
    post, path = "/api/admin/reviews/{id}", operation_id = "review", tag = "reviews", params(OfEntry, By), request_body = ReviewOrder,
    responses((status = 200, description = "What is kept of it.", body = Reviewed), NotFound, NeedsDatabase)
)]
pub async fn review(
    State(gatekeeper): State<Arc<Gatekeeper>>,
    By(actor): By,
    Part(OfEntry { id }): Part<OfEntry>,
    _: Query<Nothing>,
    Json { value: order, .. }: Json<ReviewOrder>,
) -> Said<Reviewed> {
    let review = Review { by: order.by.0, note: order.note.0, at: gatekeeper.pipeline.clock.now() };
    if !gatekeeper.control.review(id.0, &review, &actor).await? {
        return Err(Refused::NotFound("Nothing that is open goes by this id"));
    }
    let Review { by, note, at } = review;
    Ok(Answer::Ok(Reviewed { id, by, note, at: Moment(at) }))
}
