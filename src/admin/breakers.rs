//! Which targets are being left alone, and why.

use std::sync::Arc;

use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use super::request::{Nothing, Query};
use super::said::{Answer, Said};
use crate::gatekeeper::Gatekeeper;
use crate::upstream::breaker::BreakerState;

#[derive(Serialize, ToSchema)]
pub struct Breakers {
    breakers: Vec<Breaker>,
}

/// What keeps calls from a target that fails again and again.
#[derive(Serialize, ToSchema)]
struct Breaker {
    target: String,
    state: Position,
    /// In a row.
    failures: u32,
    /// How often it has opened since start.
    opened: u64,
}

#[derive(Serialize, ToSchema)]
#[schema(as = BreakerState)]
#[serde(rename_all = "snake_case")]
enum Position {
    Closed,
    Open,
    /// One call may try.
    HalfOpen,
}

impl From<BreakerState> for Position {
    fn from(state: BreakerState) -> Self {
        match state {
            BreakerState::Closed => Self::Closed,
            BreakerState::Open => Self::Open,
            BreakerState::HalfOpen => Self::HalfOpen,
        }
    }
}

/// Every target's breaker.
#[utoipa::path(
    get, path = "/api/admin/breakers", operation_id = "listBreakers", tag = "calls",
    responses((status = 200, description = "Every target's breaker.", body = Breakers))
)]
pub async fn list(State(gatekeeper): State<Arc<Gatekeeper>>, _: Query<Nothing>) -> Said<Breakers> {
    let breakers = gatekeeper.pipeline.upstream.breakers().into_iter();
    let breakers = breakers.map(|(target, view)| Breaker {
        target: target.to_string(),
        state: view.state.into(),
        failures: view.failures,
        opened: view.opened,
    });
    Ok(Answer::Ok(Breakers { breakers: breakers.collect() }))
}
