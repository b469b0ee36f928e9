//! Which targets and addresses are being left alone, and why.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use super::request::{Nothing, Query};
use super::said::{Answer, Said};
use crate::gatekeeper::Gatekeeper;
use crate::identity::TargetName;
use crate::upstream::breaker::{BreakerState, BreakerView};
use crate::upstream::{CacheView, Probe, SiteCondition, SiteView, TargetView};

#[derive(Serialize, ToSchema)]
pub struct Breakers {
    breakers: Vec<Breaker>,
}

/// What keeps calls from a target that fails again and again, and how its addresses fare.
#[derive(Serialize, ToSchema)]
struct Breaker {
    target: String,
    state: Position,
    /// In a row.
    failures: u32,
    /// How often it has opened since start.
    opened: u64,
    /// Calls under way.
    in_flight: u32,
    /// Calls sent again on its budget since start.
    retries: u64,
    /// Calls not sent again because that would have been too many.
    retries_refused: u64,
    urls: Vec<Address>,
    cache: Option<Cache>,
}

/// One of a target's addresses.
#[derive(Serialize, ToSchema)]
struct Address {
    url: String,
    state: AddressState,
    /// Of one that is left out: for how many more seconds.
    seconds_left: Option<u64>,
    in_flight: usize,
    /// In a row.
    failures: u32,
    /// Calls that set out for it since start, each try counted.
    calls: u64,
    failed: u64,
    /// How often it was left out since start.
    ejections: u64,
    /// What its health path says, `up` or `down`; nothing without one.
    probe: Option<&'static str>,
}

/// Answers of a target that are kept.
#[derive(Serialize, ToSchema)]
struct Cache {
    answers: usize,
    bytes: usize,
    hits: u64,
    misses: u64,
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

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum AddressState {
    Well,
    /// Its health path says so: it gets no calls while another is well.
    Down,
    /// It kept failing and is left out for a while.
    Ejected,
    /// One call may try.
    Trial,
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

impl Breaker {
    fn of(target: &TargetName, view: BreakerView, known: TargetView) -> Self {
        Self {
            target: target.to_string(),
            state: view.state.into(),
            failures: view.failures,
            opened: view.opened,
            in_flight: known.under_way,
            retries: known.retries.retries,
            retries_refused: known.retries.refused,
            urls: known.sites.into_iter().map(Address::from).collect(),
            cache: known.cache.map(|CacheView { answers, bytes, hits, misses }| Cache { answers, bytes, hits, misses }),
        }
    }
}

impl From<SiteView> for Address {
    fn from(site: SiteView) -> Self {
        let (state, seconds_left) = match site.condition {
            SiteCondition::Well => (AddressState::Well, None),
            SiteCondition::Down => (AddressState::Down, None),
            SiteCondition::Ejected { left } => (AddressState::Ejected, Some(left.as_secs().saturating_add(1))),
            SiteCondition::OnTrial => (AddressState::Trial, None),
        };
        Self {
            url: site.url.to_string(),
            state,
            seconds_left,
            in_flight: site.under_way,
            failures: site.failures_in_a_row,
            calls: site.calls,
            failed: site.failures,
            ejections: site.ejections,
            probe: site.probe.map(Probe::as_str),
        }
    }
}

/// Every target's breaker, and its addresses.
#[utoipa::path(
    get, path = "/api/admin/breakers", operation_id = "listBreakers", tag = "calls",
    responses((status = 200, description = "Every target's breaker, and its addresses.", body = Breakers))
)]
pub async fn list(State(gatekeeper): State<Arc<Gatekeeper>>, _: Query<Nothing>) -> Said<Breakers> {
    let upstream = &gatekeeper.pipeline.upstream;
    let mut known: BTreeMap<_, _> = upstream.targets().into_iter().collect();
    let breakers = upstream.breakers().into_iter();
    let breakers = breakers.filter_map(|(target, view)| Some(Breaker::of(&target, view, known.remove(&target)?)));
    Ok(Answer::Ok(Breakers { breakers: breakers.collect() }))
}
