//! Whether denials stand, gate by gate.

use std::sync::Arc;

use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::refused::Refused;
use super::request::{By, Json, Nothing, Query};
use super::said::{Answer, Said};
use super::words::{Gate, Mode, Moment, Reason, Span};
use crate::clock::Timestamp;
use crate::control::{EnforceOrder, GateStanding};
use crate::enforcement::GateMode;
use crate::gatekeeper::Gatekeeper;

/// How enforcement stands.
#[derive(Serialize, ToSchema)]
#[schema(as = Enforcement)]
pub struct Standing {
    /// Whether the denials of every gate stand.
    enforcing: bool,
    started_with: Mode,
    /// In the order a call meets them.
    gates: Vec<GateView>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = GateStanding)]
struct GateView {
    gate: Gate,
    mode: Mode,
    /// Since when somebody's word holds; null where there is none, or it has ended.
    since: Option<Moment>,
    until: Option<Moment>,
    reason: Option<String>,
    actor: Option<String>,
    /// The feature flag that switches the gate off.
    flag: Option<String>,
}

impl GateView {
    fn of(standing: &GateStanding, now: Timestamp) -> Self {
        let ruling = standing.ruling.as_ref().filter(|ruling| !ruling.has_ended(now));
        let words = |text: &String| (!text.is_empty()).then(|| text.clone());
        Self {
            gate: Gate(standing.gate),
            mode: standing.mode.into(),
            since: ruling.map(|ruling| Moment(ruling.at)),
            until: ruling.and_then(|ruling| ruling.until).map(Moment),
            reason: ruling.and_then(|ruling| words(&ruling.reason)),
            actor: ruling.and_then(|ruling| words(&ruling.actor)),
            flag: standing.flag.as_ref().map(|flag| flag.name.clone()),
        }
    }
}

/// What is to hold. `for` and `until` exclude each other; without either it holds until somebody says otherwise.
#[derive(Deserialize, ToSchema)]
#[schema(as = EnforcementOrder)]
#[serde(deny_unknown_fields)]
pub struct Order {
    mode: OnOff,
    /// One gate; without it, every gate.
    gate: Option<Gate>,
    r#for: Option<Span>,
    /// Must lie ahead.
    until: Option<Moment>,
    reason: Option<Reason>,
}

#[derive(Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum OnOff {
    On,
    Off,
}

/// When something ends that was asked to end at a moment, after a time, or not at all.
pub fn end(length: Option<Span>, until: Option<Moment>, now: Timestamp) -> Result<Option<Timestamp>, Refused> {
    match (length, until) {
        (Some(_), Some(_)) => Err(Refused::Invalid("\"for\" and \"until\" exclude each other".into())),
        (Some(Span(length)), None) => Ok(Some(now.plus(length))),
        (None, Some(Moment(until))) if until <= now => Err(Refused::Invalid("\"until\" must lie ahead".into())),
        (None, until) => Ok(until.map(|until| until.0)),
    }
}

/// Whether denials stand, and who said so.
#[utoipa::path(
    get, path = "/api/admin/enforcement", operation_id = "getEnforcement", tag = "enforcement",
    responses((status = 200, description = "How enforcement stands.", body = Standing))
)]
pub async fn show(State(gatekeeper): State<Arc<Gatekeeper>>, _: Query<Nothing>) -> Said<Standing> {
    Ok(Answer::Ok(standing(&gatekeeper, &gatekeeper.control.enforcement())))
}

/// Switches enforcement on or off, for every gate or for one; at once, and whether or not the database is there.
#[utoipa::path(
    post, path = "/api/admin/enforcement", operation_id = "setEnforcement", tag = "enforcement", params(By), request_body = Order,
    responses((status = 200, description = "How enforcement stands now.", body = Standing))
)]
pub async fn change(
    State(gatekeeper): State<Arc<Gatekeeper>>,
    By(actor): By,
    _: Query<Nothing>,
    Json { value: order, .. }: Json<Order>,
) -> Said<Standing> {
    let order = EnforceOrder {
        mode: match order.mode {
            OnOff::On => GateMode::Enforce,
            OnOff::Off => GateMode::Observe,
        },
        gate: order.gate.map(|gate| gate.0),
        until: end(order.r#for, order.until, gatekeeper.pipeline.clock.now())?,
        reason: order.reason.map(|reason| reason.0).unwrap_or_default(),
    };
    Ok(Answer::Ok(standing(&gatekeeper, &gatekeeper.control.enforce(&order, &actor).await)))
}

fn standing(gatekeeper: &Gatekeeper, gates: &[GateStanding]) -> Standing {
    let now = gatekeeper.pipeline.clock.now();
    Standing {
        enforcing: gates.iter().all(|standing| standing.mode == GateMode::Enforce),
        started_with: gatekeeper.pipeline.live.current().enforcement.start().into(),
        gates: gates.iter().map(|standing| GateView::of(standing, now)).collect(),
    }
}
