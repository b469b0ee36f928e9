//! A target at several addresses is as good as the best of them: calls go where there is least to do, what fails is left out and comes
//! back, nothing is sent twice that may not be, no outage becomes a storm, and operators see all of it.

mod cache;
mod crowds;
mod operators;
mod outages;
mod reloads;
mod retries;

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use eliza_gatekeeper::clock::{Clock, ManualClock, Timestamp};
use eliza_gatekeeper::policy::{Ejection, Site, Target, Targets as PolicyTargets};
use eliza_gatekeeper::upstream::{Dial, SiteCondition, SiteView, Upstream};
use eliza_gatekeeper::verdict::Failure;
use http::{Method, Uri};

use crate::support::targets::{Conduct, Targets};
use crate::upstream::{body, call};

const BRAIN: &str = "brain";
/// Left out for so long at first.
const FIRST: Duration = Duration::from_secs(10);

fn count(number: u32) -> NonZeroU32 {
    NonZeroU32::new(number).unwrap()
}

/// A target with an address on each of some servers, and a clock that stands still.
struct Scene {
    servers: Vec<Targets>,
    target: Target,
    upstream: Upstream,
    hand: ManualClock,
}

impl Scene {
    /// Each server behaves as told; its address is left out at the third failure in a row.
    async fn set(conducts: impl IntoIterator<Item = Conduct>) -> Self {
        let mut servers = Vec::new();
        for conduct in conducts {
            servers.push(Targets::like_the_platform().but(BRAIN, conduct).start().await);
        }
        let hand = ManualClock::at(Timestamp::from_secs(1_772_000_000));
        let upstream = Upstream::new(Dial::Network, Clock::Manual(hand.clone()));
        let mut target = crate::upstream::target(BRAIN, servers[0].url(BRAIN));
        target.sites = servers.iter().map(|server| server.url(BRAIN).into()).collect();
        target.terms.ejection = Ejection { failures: count(3), first: FIRST, longest: Duration::from_secs(60) };
        let scene = Self { servers, target, upstream, hand };
        scene.follow();
        scene
    }

    /// With these addresses instead, in this order.
    fn at(mut self, urls: impl IntoIterator<Item = Uri>) -> Self {
        self.target.sites = urls.into_iter().map(Site::from).collect();
        self.follow();
        self
    }

    /// The target as it is now is the policy from now on.
    fn follow(&self) {
        let sites = self.target.sites.clone();
        let target = Target { sites, terms: self.target.terms.clone(), ..crate::upstream::target(BRAIN, self.servers[0].url(BRAIN)) };
        let by_name = [(Arc::from(BRAIN), Arc::new(Target { breaker: self.target.breaker, ..target }))].into_iter().collect();
        self.upstream.follow(&PolicyTargets { by_name });
    }

    async fn send(&self, method: Method) -> Result<u16, Failure> {
        let answer = call(&self.target).directly(method, "", "{}").through(&self.upstream).await?;
        let status = answer.status.as_u16();
        body(answer).await;
        Ok(status)
    }

    async fn post(&self) -> Result<u16, Failure> {
        self.send(Method::POST).await
    }

    /// So many calls one after the other, and how many did not come out well.
    async fn posts(&self, times: usize) -> usize {
        let mut failed = 0;
        for _ in 0..times {
            failed += usize::from(self.post().await != Ok(200));
        }
        failed
    }

    fn view(&self) -> Vec<SiteView> {
        let mut targets = self.upstream.targets();
        assert_eq!(targets.len(), 1);
        targets.remove(0).1.sites
    }

    fn condition(&self, at: usize) -> SiteCondition {
        self.view()[at].condition
    }

    /// What each server was sent.
    fn arrived(&self) -> Vec<usize> {
        self.servers.iter().map(|server| server.received(BRAIN).len()).collect()
    }

    fn arrived_in_all(&self) -> usize {
        self.arrived().into_iter().sum()
    }
}
