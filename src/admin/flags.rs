//! Feature flags: switching targets and gates off and on.

use std::sync::Arc;

use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::refused::NeedsDatabase;
use super::request::{By, Json, Nothing, Query};
use super::said::{Answer, Said};
use super::words::{Name, Percentage, Reason};
use crate::gatekeeper::Gatekeeper;
use crate::store::control::FlagChange;
use crate::switches::{Flag, Governs};

#[derive(Serialize, ToSchema)]
pub struct Flags {
    flags: Vec<FlagView>,
}

/// A feature flag.
#[derive(Serialize, ToSchema)]
#[schema(as = Flag)]
pub struct FlagView {
    name: String,
    enabled: bool,
    /// Wins over `enabled`.
    kill_switch: bool,
    /// Of a hundred sources, for how many it is on.
    #[schema(maximum = 100)]
    rollout_percentage: u8,
    /// What of the gatekeeper's it switches; null where that is none of its business.
    governs: Option<Governed>,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum Governed {
    Target,
    Gate,
}

impl From<Flag> for FlagView {
    fn from(flag: Flag) -> Self {
        let governs = match flag.governs() {
            Governs::Target(_) => Some(Governed::Target),
            Governs::Gate(_) => Some(Governed::Gate),
            Governs::Nothing => None,
        };
        let Flag { name, enabled, kill_switch, rollout_percentage } = flag;
        Self { name, enabled, kill_switch, rollout_percentage, governs }
    }
}

/// What is to become of a flag. What is left out stays, or is as a new flag is: on, for everybody.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct FlagOrder {
    name: Name,
    enabled: Option<bool>,
    kill_switch: Option<bool>,
    rollout_percentage: Option<Percentage>,
    reason: Option<Reason>,
}

#[derive(Serialize, ToSchema)]
pub struct FlagSet {
    flag: FlagView,
    /// What it was; null if it is new.
    before: Option<FlagView>,
}

/// All flags.
#[utoipa::path(
    get, path = "/api/admin/feature-flags", operation_id = "listFlags", tag = "switches",
    responses((status = 200, description = "By name.", body = Flags), NeedsDatabase)
)]
pub async fn list(State(gatekeeper): State<Arc<Gatekeeper>>, _: Query<Nothing>) -> Said<Flags> {
    let flags = gatekeeper.control.flags().await?;
    Ok(Answer::Ok(Flags { flags: flags.into_iter().map(FlagView::from).collect() }))
}

/// Changes a flag, or makes one. Every gatekeeper on the same database heeds it within a second.
#[utoipa::path(
    post, path = "/api/admin/feature-flags", operation_id = "setFlag", tag = "switches", params(By), request_body = FlagOrder,
    responses((status = 200, description = "What it is and what it was.", body = FlagSet), NeedsDatabase)
)]
pub async fn set(
    State(gatekeeper): State<Arc<Gatekeeper>>,
    By(actor): By,
    _: Query<Nothing>,
    Json { value: order, .. }: Json<FlagOrder>,
) -> Said<FlagSet> {
    let change = FlagChange {
        name: order.name.0,
        enabled: order.enabled,
        kill_switch: order.kill_switch,
        rollout_percentage: order.rollout_percentage.map(|percentage| percentage.0),
    };
    let reason = order.reason.as_ref().map(|reason| reason.0.as_str());
    let (before, flag) = gatekeeper.control.set_flag(&change, reason, &actor).await?;
    Ok(Answer::Ok(FlagSet { flag: flag.into(), before: before.map(FlagView::from) }))
}
