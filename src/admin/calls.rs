//! The calls that were recorded.

use std::sync::Arc;

use axum::extract::State;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

use super::explain::StepView;
use super::refused::{NeedsDatabase, NotFound, Refused};
use super::request::{Nothing, Part, Query};
use super::said::{Answer, Said};
use super::words::{Id, Moment, Most, Name};
use crate::control::ControlError;
use crate::gatekeeper::Gatekeeper;
use crate::pipeline::{judged_by, retrace};
use crate::policy::Policy;
use crate::store::{ActivityType, CallQuery, CallRow};

const SHOWN: u32 = 20;

#[derive(Serialize, ToSchema)]
pub struct Calls {
    calls: Vec<Call>,
}

/// What is kept of a call.
#[derive(Serialize, ToSchema)]
pub struct Call {
    /// What its `x-call-id` carried.
    id: Id,
    at: Moment,
    r#type: String,
    outcome: String,
    title: String,
    description: String,
    /// An object.
    metadata: Value,
}

impl From<CallRow> for Call {
    fn from(row: CallRow) -> Self {
        let CallRow { id, at, activity_type, status, title, description, metadata } = row;
        Self { id: Id(id), at: Moment(at), r#type: activity_type, outcome: status, title, description, metadata }
    }
}

/// A call, and what each gate made of it.
#[derive(Serialize, ToSchema)]
pub struct CallInFull {
    #[serde(flatten)]
    call: Call,
    /// Every gate, in the order a call meets them; none for entries of the log that were no calls.
    steps: Vec<StepView>,
}

impl CallInFull {
    /// `policy`: the one in force. If the call was judged by another, only lines that refused are known.
    fn of(row: CallRow, policy: &Policy) -> Self {
        let is_call = ActivityType::ALL.iter().any(|kind| kind.as_str() == row.activity_type);
        let policy = Some(policy).filter(|policy| judged_by(&row.metadata, policy));
        let steps = if is_call { retrace(&row.metadata, policy) } else { Vec::new() };
        Self { call: row.into(), steps: steps.into_iter().map(StepView::from).collect() }
    }
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct Look {
    source: Option<Name>,
    target: Option<Name>,
    /// 20 without it.
    limit: Option<Most>,
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Path)]
pub struct OfCall {
    id: Id,
}

/// The latest calls.
#[utoipa::path(
    get, path = "/api/admin/calls", operation_id = "listCalls", tag = "calls", params(Look),
    responses((status = 200, description = "The newest first.", body = Calls), NeedsDatabase)
)]
pub async fn list(State(gatekeeper): State<Arc<Gatekeeper>>, Query(look): Query<Look>) -> Said<Calls> {
    let query = CallQuery {
        source: look.source.map(|source| source.0),
        target: look.target.map(|target| target.0),
        most: look.limit.map_or(SHOWN, |limit| limit.0),
        ..CallQuery::default()
    };
    let rows = gatekeeper.store.calls(&query).await.map_err(ControlError::from)?;
    Ok(Answer::Ok(Calls { calls: rows.into_iter().map(Call::from).collect() }))
}

/// Everything kept of one call, and its way through the gates.
#[utoipa::path(
    get, path = "/api/admin/calls/{id}", operation_id = "getCall", tag = "calls", params(OfCall),
    responses((status = 200, description = "The call.", body = CallInFull), NotFound, NeedsDatabase)
)]
pub async fn show(State(gatekeeper): State<Arc<Gatekeeper>>, Part(OfCall { id }): Part<OfCall>, _: Query<Nothing>) -> Said<CallInFull> {
    let row = gatekeeper.store.call(id.0).await.map_err(ControlError::from)?;
    let row = row.ok_or(Refused::NotFound("No call is recorded by this id"))?;
    let policy = Arc::clone(&gatekeeper.pipeline.live.current().policy);
    Ok(Answer::Ok(CallInFull::of(row, &policy)))
}
