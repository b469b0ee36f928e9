//! What is known of the targets in force: their addresses and how those fare, the ways there, what may be sent again, who is with
//! them, what was kept of their answers. A new policy changes none of it for the addresses that stay.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

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
    in_force: RwLock<InForce>,
}

/// The targets of the policy in force.
#[derive(Default)]
struct InForce {
    by_name: HashMap<TargetName, Listed>,
    /// The same, in the order in which they lie in memory: nearly every call is under the policy in force, and its target found so.
    by_place: Vec<Listed>,
}

/// A target that is in the policy in force.
#[derive(Clone)]
struct Listed {
    target: Arc<Target>,
    known: Arc<Known>,
}

impl KnownTargets {
    pub fn new(clock: Clock) -> Self {
        Self { clock, in_force: RwLock::default() }
    }

    /// What is known of a target. A call that set out under a former policy, whose target was elsewhere, finds the addresses that are
    /// left of it, and brings none back.
    pub fn of(&self, target: &Target, clients: &Clients) -> Arc<Known> {
        let in_force = self.read();
        if let Some(listed) = in_force.at(target) {
            return Arc::clone(&listed.known);
        }
        let listed = match in_force.by_name.get(&target.name) {
            Some(listed) if listed.is(target) => return Arc::clone(&listed.known),
            listed => listed.cloned(),
        };
        drop(in_force);
        Arc::new(self.learn(target, listed.as_ref(), clients))
    }

    /// A new policy comes into force.
    pub fn follow(&self, targets: &Targets, clients: &Clients) {
        let mut in_force = self.in_force.write().unwrap_or_else(PoisonError::into_inner);
        let before = std::mem::take(&mut in_force.by_name);
        in_force.by_name = targets
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
        in_force.by_place = in_force.by_name.values().cloned().collect();
        in_force.by_place.sort_by_key(Listed::place);
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
        self.read().by_name.get(target).map(|listed| Arc::clone(&listed.known.breaker))
    }

    fn each<V>(&self, view: impl Fn(&Known) -> V) -> Vec<(TargetName, V)> {
        let mut views: Vec<_> = self.read().by_name.iter().map(|(name, listed)| (name.clone(), view(&listed.known))).collect();
        views.sort_by(|a, b| a.0.cmp(&b.0));
        views
    }

    fn read(&self) -> RwLockReadGuard<'_, InForce> {
        self.in_force.read().unwrap_or_else(PoisonError::into_inner)
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

impl InForce {
    fn at(&self, target: &Target) -> Option<&Listed> {
        let nth = self.by_place.binary_search_by_key(&std::ptr::from_ref(target).addr(), Listed::place).ok()?;
        self.by_place.get(nth)
    }
}

impl Listed {
    /// No other target has it for as long as this one is held.
    fn place(&self) -> usize {
        Arc::as_ptr(&self.target).addr()
    }

    /// Whether all that is known is of this target, too.
    fn is(&self, target: &Target) -> bool {
        let same = |a: &Target, b: &Target| {
            let same_way = a.link == b.link && a.terms.connect_timeout == b.terms.connect_timeout;
            a.sites == b.sites && a.terms.cache == b.terms.cache && same_way && a.credentials == b.credentials
        };
        same(&self.target, target)
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
