//! What sources have used of their limits, and giving it back.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::refused::NeedsDatabase;
use super::request::{By, Nothing, Part, Query};
use super::said::{Answer, Said};
use super::words::{Moment, Name};
use crate::control::ControlError;
use crate::gatekeeper::Gatekeeper;
use crate::store::LimitRow;

const SHOWN: u32 = 1000;
const LOOK_BACK: Duration = Duration::from_secs(3600);

#[derive(Serialize, ToSchema)]
pub struct Limits {
    limits: Vec<Used>,
}

/// The calls of a source to an endpoint in a clock minute, refused ones too.
#[derive(Serialize, ToSchema)]
struct Used {
    source: String,
    endpoint: String,
    minute: Moment,
    calls: u64,
}

impl From<LimitRow> for Used {
    fn from(row: LimitRow) -> Self {
        Self { source: row.identifier, endpoint: row.endpoint, minute: Moment(row.window_start), calls: row.count }
    }
}

#[derive(Serialize, ToSchema)]
pub struct Cleared {
    source: String,
    /// How many were forgotten.
    rows: u64,
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct Whose {
    source: Option<Name>,
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Path)]
pub struct Of {
    source: Name,
}

/// What was used in the last hour.
#[utoipa::path(
    get, path = "/api/admin/limits", operation_id = "listLimits", tag = "limits", params(Whose),
    responses((status = 200, description = "At most 1000 rows, the newest first.", body = Limits), NeedsDatabase)
)]
pub async fn list(State(gatekeeper): State<Arc<Gatekeeper>>, Query(Whose { source }): Query<Whose>) -> Said<Limits> {
    let since = gatekeeper.pipeline.clock.now().minus(LOOK_BACK);
    let source = source.as_ref().map(|source| source.0.as_str());
    let rows = gatekeeper.store.limit_rows(source, since, SHOWN).await.map_err(ControlError::from)?;
    Ok(Answer::Ok(Limits { limits: rows.into_iter().map(Used::from).collect() }))
}

/// Forgets what a source has used: it may call again within a second.
#[utoipa::path(
    delete, path = "/api/admin/limits/{source}", operation_id = "clearLimits", tag = "limits", params(Of, By),
    responses((status = 200, description = "How much was forgotten.", body = Cleared), NeedsDatabase)
)]
pub async fn clear(
    State(gatekeeper): State<Arc<Gatekeeper>>,
    By(actor): By,
    Part(Of { source: Name(source) }): Part<Of>,
    _: Query<Nothing>,
) -> Said<Cleared> {
    let rows = gatekeeper.control.clear_limits(&source, &actor).await?;
    Ok(Answer::Ok(Cleared { source, rows }))
}
