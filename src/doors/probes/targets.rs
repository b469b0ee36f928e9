//! What the pages of health say of the targets.

use std::collections::BTreeMap;

use serde::Serialize;
use utoipa::ToSchema;

use crate::gatekeeper::Gatekeeper;
use crate::upstream::{BreakerState, Probe, SiteCondition, SiteView};

#[derive(Serialize, ToSchema)]
pub struct TargetSaid {
    breaker: &'static str,
    failures: u32,
    /// Nothing of a target that names no health path, or was not asked yet.
    probe: Option<&'static str>,
    /// Each of its addresses, and how it is.
    urls: BTreeMap<String, &'static str>,
}

pub fn targets(gatekeeper: &Gatekeeper) -> BTreeMap<String, TargetSaid> {
    let upstream = &gatekeeper.pipeline.upstream;
    let breakers: BTreeMap<_, _> = upstream.breakers().into_iter().collect();
    let said = |(target, view): (_, crate::upstream::TargetView)| {
        let breaker = breakers.get(&target)?;
        let said = TargetSaid {
            breaker: breaker.state.as_str(),
            failures: breaker.failures,
            probe: view.probe().map(Probe::as_str),
            urls: view.sites.iter().map(|site| (site.url.to_string(), site.condition.as_str())).collect(),
        };
        Some((target.to_string(), said))
    };
    upstream.targets().into_iter().filter_map(said).collect()
}

/// What an operator should look at, one sentence each.
pub fn warnings(gatekeeper: &Gatekeeper) -> Vec<String> {
    let mut warnings = Vec::new();
    for (target, view) in gatekeeper.pipeline.upstream.breakers() {
        if view.state != BreakerState::Closed {
            warnings.push(format!("{target} keeps failing: its breaker is {}", view.state.as_str()));
        }
    }
    for (target, view) in gatekeeper.pipeline.upstream.targets() {
        if view.probe() == Some(Probe::Down) {
            warnings.push(format!("{target} does not answer at its health address"));
        } else {
            warnings.extend(view.sites.iter().filter_map(concern).map(|concern| format!("{target}: {concern}")));
        }
    }
    warnings
}

fn concern(site: &SiteView) -> Option<String> {
    let url = &site.url;
    match site.condition {
        SiteCondition::Well => None,
        SiteCondition::Down => Some(format!("{url} does not answer at its health address and gets no calls")),
        SiteCondition::Ejected { left } => {
            Some(format!("{url} keeps failing and gets no calls for {} s", left.as_secs().saturating_add(1)))
        }
        SiteCondition::OnTrial => Some(format!("{url} kept failing, a call tries it")),
    }
}
