//! Targets and their addresses as operators see them.

use std::time::Duration;

use http::Uri;

use super::budget::BudgetView;
use super::cache::CacheView;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TargetView {
    pub sites: Vec<SiteView>,
    pub retries: BudgetView,
    /// Calls under way.
    pub under_way: u32,
    /// Nothing of targets whose answers are not kept.
    pub cache: Option<CacheView>,
}

impl TargetView {
    /// Whether it answers at any of its health addresses, if it was asked.
    pub fn probe(&self) -> Option<Probe> {
        let probes = || self.sites.iter().filter_map(|site| site.probe);
        if probes().any(|probe| probe == Probe::Up) { Some(Probe::Up) } else { probes().next() }
    }
}

/// How it stands with an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SiteCondition {
    Well,
    Down,
    /// Left out, for so much longer.
    Ejected {
        left: Duration,
    },
    /// The next call tries it, or one is trying.
    OnTrial,
}

impl SiteCondition {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Well => "well",
            Self::Down => "down",
            Self::Ejected { .. } => "ejected",
            Self::OnTrial => "trial",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SiteView {
    pub url: Uri,
    pub condition: SiteCondition,
    pub under_way: usize,
    pub failures_in_a_row: u32,
    /// Since start, as the following.
    pub calls: u64,
    pub failures: u64,
    pub ejections: u64,
    /// What its health path says, if it was asked.
    pub probe: Option<Probe>,
}

/// What an address says at its health path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Probe {
    Up,
    Down,
}

impl Probe {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Down => "down",
        }
    }
}
