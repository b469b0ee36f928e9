//! What is known of the targets in force: their addresses and how those fare, what may be sent again, who is with them, what was kept of
//! their answers. A new policy changes none of it for the addresses that stay.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use http::Uri;

use super::budget::Budget;
use super::cache::Cache;
use super::crowd::Crowded;
use super::site::SiteState;
use super::sites::Sites;
use super::views::TargetView;
use crate::clock::Clock;
use crate::identity::TargetName;
use crate::policy::{Site, Target, Targets};

#[derive(Debug)]
pub struct Known {
    /// As policy says.
    listed: Vec<Site>,
    pub sites: Sites,
    pub budget: Arc<Budget>,
    pub crowded: Arc<Crowded>,
    pub cache: Option<Arc<Cache>>,
}

#[derive(Debug)]
pub struct KnownTargets {
    clock: Clock,
    by_target: RwLock<HashMap<TargetName, Arc<Known>>>,
}

impl KnownTargets {
    pub fn new(clock: Clock) -> Self {
        Self { clock, by_target: RwLock::default() }
    }

    /// What is known of a target. A call that set out under a former policy, whose target was elsewhere, finds the addresses that are
    /// left of it, and brings none back.
    pub fn of(&self, target: &Target) -> Arc<Known> {
        let known = self.by_target.read().unwrap_or_else(PoisonError::into_inner).get(&target.name).cloned();
        match known {
            Some(known) if known.is_of(target) => known,
            known => Arc::new(self.learn(target, known.as_deref())),
        }
    }

    /// A new policy comes into force.
    pub fn follow(&self, targets: &Targets) {
        let mut by_target = self.by_target.write().unwrap_or_else(PoisonError::into_inner);
        let before = std::mem::take(&mut *by_target);
        *by_target = targets
            .by_name
            .values()
            .map(|target| {
                let known = match before.get(&target.name) {
                    Some(known) if known.is_of(target) => Arc::clone(known),
                    known => {
                        let known = self.learn(target, known.map(AsRef::as_ref));
                        for (site, listed) in known.sites.all().iter().zip(&target.sites) {
                            site.is_asked_at(listed.health.as_ref());
                        }
                        Arc::new(known)
                    }
                };
                (target.name.clone(), known)
            })
            .collect();
    }

    /// By name, in order.
    pub fn view(&self) -> Vec<(TargetName, TargetView)> {
        let by_target = self.by_target.read().unwrap_or_else(PoisonError::into_inner);
        let mut views: Vec<_> = by_target.iter().map(|(name, known)| (name.clone(), known.view())).collect();
        views.sort_by(|a, b| a.0.cmp(&b.0));
        views
    }

    fn learn(&self, target: &Target, before: Option<&Known>) -> Known {
        let site = |url: &Uri| {
            let known = before.and_then(|before| before.sites.all().iter().find(|site| site.url == *url));
            known.map_or_else(|| Arc::new(SiteState::new(&target.name, url, &self.clock)), Arc::clone)
        };
        // What was kept under another policy may not be what this one would keep.
        let cache = target.terms.cache.clone().map(|policy| Arc::new(Cache::new(policy, self.clock.clone())));
        Known {
            listed: target.sites.clone(),
            sites: Sites::new(target.sites.iter().map(|known| site(&known.url)), self.clock.clone()),
            budget: before.map(|before| Arc::clone(&before.budget)).unwrap_or_default(),
            crowded: before.map(|before| Arc::clone(&before.crowded)).unwrap_or_default(),
            cache,
        }
    }
}

impl Known {
    fn is_of(&self, target: &Target) -> bool {
        self.listed == target.sites && self.cache.as_ref().map(|cache| cache.policy()) == target.terms.cache.as_ref()
    }

    fn view(&self) -> TargetView {
        TargetView {
            sites: self.sites.view(),
            retries: self.budget.view(),
            under_way: self.crowded.in_all(),
            cache: self.cache.as_ref().map(|cache| cache.view()),
        }
    }
}
