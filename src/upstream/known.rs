//! What is known of the targets in force: their addresses and how those fare, the ways there, what may be sent again, who is with
//! them, what was kept of their answers. A new policy changes none of it for the addresses that stay.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use http::Uri;

use super::breaker::{Breaker, BreakerView};
use super::budget::Budget;
use super::cache::Cache;
use super::clients::Clients;
use super::crowd::Crowded;
use super::order::Approach;
use super::phrases::Phrases;
use super::site::SiteState;
use super::sites::Sites;
use super::views::TargetView;
use crate::clock::Clock;
use crate::identity::TargetName;
use crate::policy::{Target, Targets};

pub struct Known {
    pub sites: Arc<Sites>,
    /// The ways to them, in the same order.
    pub approaches: Box<[Approach]>,
    pub breaker: Arc<Breaker>,
    pub budget: Arc<Budget>,
    pub crowded: Arc<Crowded>,
    pub cache: Option<Arc<Cache>>,
    pub phrases: Phrases,
}

pub struct KnownTargets {
    clock: Clock,
    by_target: RwLock<HashMap<TargetName, Listed>>,
}

/// A target that is in the policy in force.
#[derive(Clone)]
struct Listed {
    target: Arc<Target>,
    known: Arc<Known>,
}

impl KnownTargets {
    pub fn new(clock: Clock) -> Self {
        Self { clock, by_target: RwLock::default() }
    }

    /// What is known of a target. A call that set out under a former policy, whose target was elsewhere, finds the addresses that are
    /// left of it, and brings none back.
    pub fn of(&self, target: &Target, clients: &Clients) -> Arc<Known> {
        let by_target = self.by_target.read().unwrap_or_else(PoisonError::into_inner);
        let listed = match by_target.get(&target.name) {
            Some(listed) if listed.is(target) => return Arc::clone(&listed.known),
            listed => listed.cloned(),
        };
        drop(by_target);
        Arc::new(self.learn(target, listed.as_ref(), clients))
    }

    /// A new policy comes into force.
    pub fn follow(&self, targets: &Targets, clients: &Clients) {
        let mut by_target = self.by_target.write().unwrap_or_else(PoisonError::into_inner);
        let before = std::mem::take(&mut *by_target);
        *by_target = targets
            .by_name
            .values()
            .map(|target| {
                let known = match before.get(&target.name) {
                    Some(listed) if listed.is(target) => Arc::clone(&listed.known),
                    listed => {
                        let known = self.learn(target, listed, clients);
                        for (site, listed) in known.sites.all().iter().zip(&target.sites) {
                            site.is_asked_at(listed.health.as_ref());
                        }
                        Arc::new(known)
                    }
                };
                (target.name.clone(), Listed { target: Arc::clone(target), known })
            })
            .collect();
    }

    /// By name, in order.
    pub fn view(&self) -> Vec<(TargetName, TargetView)> {
        self.each(Known::view)
    }

    /// The same.
    pub fn breakers(&self) -> Vec<(TargetName, BreakerView)> {
        self.each(|known| known.breaker.view())
    }

    /// Of a target that is in the policy.
    pub fn breaker(&self, target: &TargetName) -> Option<Arc<Breaker>> {
        let by_target = self.by_target.read().unwrap_or_else(PoisonError::into_inner);
        by_target.get(target).map(|listed| Arc::clone(&listed.known.breaker))
    }

    fn each<V>(&self, view: impl Fn(&Known) -> V) -> Vec<(TargetName, V)> {
        let by_target = self.by_target.read().unwrap_or_else(PoisonError::into_inner);
        let mut views: Vec<_> = by_target.iter().map(|(name, listed)| (name.clone(), view(&listed.known))).collect();
        views.sort_by(|a, b| a.0.cmp(&b.0));
        views
    }

    fn learn(&self, target: &Target, before: Option<&Listed>, clients: &Clients) -> Known {
        let same_sites = before.filter(|before| before.target.sites == target.sites).map(|before| &before.known);
        let before = before.map(|before| &before.known);
        let site = |url: &Uri| {
            let known = before.and_then(|before| before.sites.all().iter().find(|site| site.url == *url));
            known.map_or_else(|| Arc::new(SiteState::new(&target.name, url, &self.clock)), Arc::clone)
        };
        let sites = || Arc::new(Sites::new(target.sites.iter().map(|known| site(&known.url))));
        // What was kept under another policy may not be what this one would keep.
        let kept = same_sites.and_then(|before| before.cache.clone()).filter(|cache| Some(cache.policy()) == target.terms.cache.as_ref());
        let cache = || target.terms.cache.clone().map(|policy| Arc::new(Cache::new(policy, self.clock.clone())));
        Known {
            sites: same_sites.map_or_else(sites, |before| Arc::clone(&before.sites)),
            approaches: target.sites.iter().map(|site| Approach::to(&site.url, clients.door(target, &site.url))).collect(),
            breaker: before.map_or_else(|| Arc::new(Breaker::new(&target.name, &self.clock)), |before| Arc::clone(&before.breaker)),
            budget: before.map(|before| Arc::clone(&before.budget)).unwrap_or_default(),
            crowded: before.map(|before| Arc::clone(&before.crowded)).unwrap_or_default(),
            cache: kept.or_else(cache),
            phrases: Phrases::showing(&target.credentials),
        }
    }
}

impl Listed {
    /// Whether all that is known is of this target, too. Of a call under the policy in force that shows at a glance.
    fn is(&self, target: &Target) -> bool {
        let same = |a: &Target, b: &Target| {
            let same_way = a.link == b.link && a.terms.connect_timeout == b.terms.connect_timeout;
            a.sites == b.sites && a.terms.cache == b.terms.cache && same_way && a.credentials == b.credentials
        };
        std::ptr::eq(&raw const *self.target, target) || same(&self.target, target)
    }
}

impl Known {
    fn view(&self) -> TargetView {
        TargetView {
            sites: self.sites.view(),
            retries: self.budget.view(),
            under_way: self.crowded.in_all(),
            cache: self.cache.as_ref().map(|cache| cache.view()),
        }
    }
}
