//! What is held of one source: its total and its endpoints.

use std::sync::Arc;

use foldhash::HashMap;

use super::bucket::{Bucket, Judgement};
use super::held::Of;
use super::pool::Slots;
use super::window::Tally;
use crate::clock::{Clock, Timestamp};
use crate::identity::Endpoint;
use crate::policy::{Allowance, Limits, Source};
use crate::verdict::Standing;

/// What an entry holds before any endpoint: the total, and the bucket that further endpoints share.
pub(super) const BASE_BUCKETS: usize = 2;

/// By whose rules, and when: what judging needs beside the counts.
#[derive(Clone, Copy)]
pub(super) struct Terms<'a> {
    pub source: &'a Source,
    pub limits: &'a Limits,
    pub at: Timestamp,
    pub clock: &'a Clock,
}

impl Terms<'_> {
    /// Half of all buckets are for what policy lists by name, half for whoever a pattern lets in, so neither can crowd out the other.
    pub fn most_buckets(&self) -> usize {
        self.limits.buckets / 2
    }
}

/// Whether a source has an entry to itself or shares its pattern's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Home {
    Own,
    Shared,
}

/// Whether the window that something was counted in still runs.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Running {
    Yes,
    Ended,
}

#[derive(Debug)]
pub(super) struct Entry {
    pub home: Home,
    pub identifier: Arc<str>,
    pub total: Bucket,
    pub endpoints: HashMap<Arc<str>, Named>,
    /// For the endpoints beyond those that policy lets one source have at once.
    pub others: Bucket,
    pub slots: Slots,
}

#[derive(Clone, Debug)]
pub(super) struct Named {
    pub label: Arc<str>,
    /// Calls that arrived before may have been counted among the others.
    pub since: Timestamp,
    pub bucket: Bucket,
}

impl Entry {
    pub fn new(home: Home, identifier: Arc<str>, slots: Slots) -> Self {
        Self { home, identifier, total: Bucket::default(), endpoints: HashMap::default(), others: Bucket::default(), slots }
    }

    /// To be judged instead of this one: nothing that is counted in it is counted here.
    pub fn copy(&self) -> Self {
        Self {
            home: self.home,
            identifier: Arc::clone(&self.identifier),
            total: self.total.clone(),
            endpoints: self.endpoints.clone(),
            others: self.others.clone(),
            slots: self.slots.apart(),
        }
    }

    pub fn judge_total(&mut self, terms: Terms<'_>) -> Judgement {
        let allowance = &terms.source.total;
        self.total.judge(allowance, Some(allowance), terms.at, terms.clock)
    }

    /// The second value is the label the call was counted under; none if it shares a bucket with others.
    pub fn judge_endpoint(&mut self, endpoint: &Endpoint, terms: Terms<'_>) -> (Judgement, Option<Arc<str>>) {
        let Terms { source, at, clock, .. } = terms;
        let allowance = source.allowance_of(endpoint.as_str());
        if let Some(named) = self.endpoints.get_mut(endpoint.as_str())
            && named.bucket.is_live(at)
        {
            let label = Some(Arc::clone(&named.label));
            let judgement = named.bucket.judge(allowance, Some(allowance), at, clock);
            // A moment that the clock has not reached again is one from before it was set back: it says nothing any more.
            if at >= named.since || clock.now() < named.since {
                return (judgement, label);
            }
            // A late call of a window in which its endpoint may have been among the others: it has to pass there too.
            let among_others = self.others.judge(allowance, None, at, clock);
            return (if judgement.refused.is_some() { judgement } else { among_others }, label);
        }
        // An endpoint that may have been counted among the others in a window that still runs stays there until it ends: with a
        // bucket of its own it would start again from nothing.
        let shared_until = self.others.ends();
        if shared_until <= at
            && let Some(named) = self.own_bucket(endpoint.as_str(), shared_until, terms)
        {
            return (named.bucket.judge(allowance, Some(allowance), at, clock), Some(Arc::clone(&named.label)));
        }
        // All count together, but each is judged by its own allowance: hiding among others raises nobody's limit.
        self.others.open(lengths(source), at);
        (self.others.judge(allowance, Some(&source.endpoint), at, clock), None)
    }

    /// Takes over what an earlier run has counted of this in the window of `secs` that began at `start` and still runs.
    pub fn load(&mut self, of: &Of, secs: u32, start: Timestamp, calls: u32, terms: Terms<'_>) {
        if let Some(bucket) = self.counting(of, secs, Running::Yes, terms) {
            bucket.load(secs, start, calls, terms.clock);
        }
    }

    /// Takes over what the process before this one has counted, where that is more than is known here.
    pub fn raise_to(&mut self, of: &Of, since: Timestamp, tally: Tally, terms: Terms<'_>) {
        let running = if tally.ends() > terms.at { Running::Yes } else { Running::Ended };
        if let Some(bucket) = self.counting(of, tally.secs, running, terms) {
            bucket.raise_to(tally);
        }
        if let Of::Endpoint(name) = of
            && let Some(named) = self.endpoints.get_mut(name.as_str())
        {
            named.since = named.since.max(since);
        }
    }

    /// What has been counted in windows that can still decide something.
    pub fn tallies(&self, now: Timestamp) -> impl Iterator<Item = (Of, Timestamp, Tally)> {
        let named = self.endpoints.values().map(|named| (Of::Endpoint(named.label.as_ref().to_owned()), named.since, &named.bucket));
        let always = Timestamp::default();
        let all = [(Of::Total, always, &self.total), (Of::Others, always, &self.others)].into_iter().chain(named);
        all.flat_map(move |(of, since, bucket)| bucket.tallies(now).map(move |tally| (of.clone(), since, tally)))
    }

    /// The bucket in which this is counted in windows of this length, if it is by these terms.
    fn counting(&mut self, of: &Of, secs: u32, running: Running, terms: Terms<'_>) -> Option<&mut Bucket> {
        if !is_counted(of, secs, terms.source) {
            return None;
        }
        match of {
            Of::Total => Some(&mut self.total),
            Of::Endpoint(name) if self.has_own_bucket(name, running, terms) => {
                self.endpoints.get_mut(name.as_str()).map(|named| &mut named.bucket)
            }
            // There is no room for it among those with a bucket of their own.
            Of::Endpoint(_) | Of::Others => Some(&mut self.others),
        }
    }

    /// The counts go back; the bursts start anew.
    pub fn take_back(&mut self, endpoint: &str, minute: Timestamp, calls: u32) {
        self.total.take_back(minute, calls);
        match self.endpoints.get_mut(endpoint) {
            Some(named) => named.bucket.take_back(minute, calls),
            None if endpoint == Endpoint::OTHERS => self.others.take_back(minute, calls),
            None => {}
        }
        let named = self.endpoints.values_mut().map(|named| &mut named.bucket);
        named.chain([&mut self.total, &mut self.others]).for_each(Bucket::forget_burst);
    }

    pub fn is_live(&self, at: Timestamp) -> bool {
        let mut named = self.endpoints.values().map(|named| &named.bucket);
        self.total.is_live(at) || self.others.is_live(at) || named.any(|bucket| bucket.is_live(at))
    }

    /// Lets go of what can decide nothing any more; false if nothing is left.
    pub fn sweep(&mut self, now: Timestamp) -> bool {
        self.endpoints.retain(|_, named| named.bucket.sweep(now));
        self.slots.shrink_to(BASE_BUCKETS + self.endpoints.len());
        let total = self.total.sweep(now);
        let others = self.others.sweep(now);
        total || others || !self.endpoints.is_empty()
    }

    pub fn total_standings(&self, source: &Source, at: Timestamp) -> Vec<Standing> {
        self.total.standings(&source.total.windows, at)
    }

    pub fn endpoint_standings(&self, source: &Source, at: Timestamp) -> Vec<(Arc<str>, Vec<Standing>)> {
        let live = self.endpoints.values().filter(|named| named.bucket.is_live(at));
        let mut all: Vec<_> =
            live.map(|named| (Arc::clone(&named.label), named.bucket.standings(&source.allowance_of(&named.label).windows, at))).collect();
        if self.others.is_live(at) {
            all.push((Endpoint::OTHERS.into(), self.others.standings(&source.endpoint.windows, at)));
        }
        all
    }

    /// The endpoint's own bucket, if it has one or there is room for one. Only live buckets take up room: those of windows
    /// that have ended stay for late calls, as many again at most.
    fn own_bucket(&mut self, label: &str, since: Timestamp, terms: Terms<'_>) -> Option<&mut Named> {
        let was_live = self.endpoints.get(label).is_some_and(|named| named.bucket.is_live(terms.at));
        if !self.has_own_bucket(label, Running::Yes, terms) {
            return None;
        }
        let named = self.endpoints.get_mut(label)?;
        if !was_live {
            named.since = since;
        }
        Some(named)
    }

    /// Whether there is a bucket for what this endpoint counts in a window that runs, or has ended; made, if there is room for one.
    fn has_own_bucket(&mut self, label: &str, running: Running, terms: Terms<'_>) -> bool {
        let Terms { limits, at, .. } = terms;
        let known = self.endpoints.get(label).map(|named| named.bucket.is_live(at));
        if running == Running::Yes && known != Some(true) {
            let live = self.endpoints.values().filter(|named| named.bucket.is_live(at)).count();
            if live >= limits.endpoints_per_source {
                return false;
            }
        }
        if known.is_some() {
            return true;
        }
        if self.endpoints.len() >= limits.endpoints_per_source.saturating_mul(2) {
            self.drop_oldest(at);
        }
        let is_room = self.slots.grow(terms.most_buckets());
        if is_room {
            let label: Arc<str> = label.into();
            self.endpoints.insert(Arc::clone(&label), Named { label, since: Timestamp::default(), bucket: Bucket::default() });
        }
        is_room
    }

    fn drop_oldest(&mut self, at: Timestamp) {
        let oldest = self.endpoints.values().map(|named| named.bucket.ends()).min().unwrap_or_default();
        if oldest <= at {
            self.endpoints.retain(|_, named| named.bucket.ends() > oldest);
            self.slots.shrink_to(BASE_BUCKETS + self.endpoints.len());
        }
    }
}

/// Whether this is counted in windows of this length, by what policy says of its source.
pub(super) fn is_counted(of: &Of, secs: u32, source: &Source) -> bool {
    let counts_in = |allowance: &Allowance| allowance.windows.iter().any(|window| window.secs == secs);
    match of {
        Of::Total => counts_in(&source.total),
        Of::Endpoint(name) => counts_in(source.allowance_of(name)),
        Of::Others => lengths(source).any(|length| length == secs),
    }
}

/// Every window length that an endpoint of this source can be limited by.
fn lengths(source: &Source) -> impl Iterator<Item = u32> {
    let overrides = source.overrides.iter().map(|o| &o.allowance);
    overrides.chain([&source.endpoint]).flat_map(|allowance| allowance.windows.iter().map(|window| window.secs))
}
