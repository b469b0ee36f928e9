//! Looking whether a target is there, at the address that policy names for it: no credentials, no call, and nothing the breaker hears of.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Uri};

use super::client::Upstream;
use super::clients::Door;
use super::order::Approach;
use super::site::SiteState;
use super::upload::{Patience, RequestBody};
use super::views::Probe;
use crate::policy::{HealthCheck, Link, Target, Targets};

/// An address that is to be asked how it is, and all whose health it is.
#[derive(Debug)]
pub struct HealthPath {
    address: Uri,
    /// Whose way there it is asked by: any of those that name it and go the same way.
    target: Arc<Target>,
    timeout: Duration,
    of: Vec<(Arc<SiteState>, HealthCheck)>,
}

impl Upstream {
    /// What is due to be asked, each address once.
    pub fn to_be_asked(&self, targets: &Targets) -> Vec<HealthPath> {
        let mut paths: HashMap<(&Uri, &Link), HealthPath> = HashMap::new();
        for target in targets.by_name.values() {
            if target.sites.iter().all(|site| site.health.is_none()) {
                continue;
            }
            let (check, known) = (target.terms.check, self.known.of(target, &self.clients));
            for (site, state) in target.sites.iter().zip(known.sites.all()) {
                let Some(address) = site.health.as_ref().filter(|_| state.is_to_be_asked()) else { continue };
                let path = paths.entry((address, &target.link)).or_insert_with(|| {
                    let (address, target) = (address.clone(), Arc::clone(target));
                    HealthPath { address, target, timeout: check.timeout, of: Vec::new() }
                });
                path.of.push((Arc::clone(state), check));
            }
        }
        paths.into_values().collect()
    }

    /// Asks, and tells those whose health it is.
    pub async fn look_at(&self, path: HealthPath) {
        let probe = self.probe(&path.target, &path.address, path.timeout).await;
        for (site, check) in path.of {
            site.heard(probe, check);
        }
    }

    /// Well is what answers in time and speaks of no error. What it says beyond that is not read.
    pub async fn probe(&self, target: &Target, address: &Uri, patience: Duration) -> Probe {
        let approach = Approach::to(address, self.clients.door(target, address));
        let asked = async {
            let mut request = Request::new(RequestBody::whole(Bytes::new()));
            *request.uri_mut() = approach.uri(address, "")?;
            match &approach.door {
                Door::Apart(links) => links.send(Box::new(request), &Patience::endless()).await.ok().map(|(answer, _)| answer),
                Door::Shared(client) => client.request(request).await.ok(),
            }
        };
        match tokio::time::timeout(patience, asked).await {
            Ok(Some(answer)) if answer.status().is_success() || answer.status().is_redirection() => Probe::Up,
            Ok(_) | Err(_) => Probe::Down,
        }
    }
}
