//! The limiter's dealings with what lies in `rate_limits`: taking over the counts of an earlier run, taking back what somebody deleted,
//! and showing where a source stands.

use std::sync::Arc;

use super::entry::{Entry, Home, Terms, is_counted};
use super::held::Of;
use super::{RateLimiter, lock};
use crate::clock::Timestamp;
use crate::identity::SourceName;
use crate::policy::{Limits, Source, Sources};
use crate::verdict::Standing;

/// Where a source stands: one standing per window.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    pub total: Vec<Standing>,
    /// Per endpoint that has been used in a window still running.
    pub endpoints: Vec<(Arc<str>, Vec<Standing>)>,
}

impl RateLimiter {
    /// Takes over what was counted before a restart: for one of policy's window lengths, the sums per identifier and endpoint since
    /// the window that now runs began. Rows of sources that policy no longer lists are passed over.
    pub fn restore<'r>(
        &self,
        sources: &Sources,
        limits: &Limits,
        window_secs: u32,
        window_start: Timestamp,
        rows: impl IntoIterator<Item = (&'r str, &'r str, u64)>,
    ) {
        for (identifier, endpoint, count) in rows {
            let calls = u32::try_from(count).unwrap_or(u32::MAX);
            let row: Vec<_> = Of::of_row(endpoint).collect();
            let counts = |source: &Source| row.iter().any(|of| is_counted(of, window_secs, source));
            let load =
                |entry: &mut Entry, terms: Terms<'_>| row.iter().for_each(|of| entry.load(of, window_secs, window_start, calls, terms));
            self.with_listed(sources, limits, identifier, counts, load);
        }
    }

    /// Does something with the entry of whoever is counted under this name, if policy lists it and `counts` says that it counts there.
    pub(super) fn with_listed(
        &self,
        sources: &Sources,
        limits: &Limits,
        identifier: &str,
        counts: impl Fn(&Source) -> bool,
        act: impl FnOnce(&mut Entry, Terms<'_>),
    ) {
        let at = self.clock.now();
        let by_text = sources.patterns.iter().find(|source| source.pattern.as_str() == identifier);
        if let Some(source) = by_text {
            if counts(source) {
                let terms = Terms { source, limits, at, clock: &self.clock };
                self.with_home(Home::Shared, &identifier.into(), |entry| act(entry, terms));
            }
        } else if let Some(name) = SourceName::parse(identifier)
            && let Some(source) = sources.find(&name).filter(|source| counts(source))
        {
            let terms = Terms { source, limits, at, clock: &self.clock };
            self.with_entry(&name, terms, |entry| act(entry, terms));
        }
    }

    /// A row of `rate_limits` was deleted: what it counted, in the minute that starts at `minute`, is as if it had not been.
    pub fn take_back(&self, identifier: &str, endpoint: &str, minute: Timestamp, count: u64) {
        let calls = u32::try_from(count).unwrap_or(u32::MAX);
        self.with_known(identifier, |entry| entry.take_back(endpoint, minute, calls));
    }

    /// The whole table was emptied. A part of all counts for each that is taken of what this returns.
    pub fn take_back_all(&self) -> impl Iterator<Item = ()> {
        self.own.iter().chain([&self.shared]).map(|shard| lock(shard).clear(&self.pools))
    }

    /// Where a source, or the sources that share a pattern's entry, stand at `now`. Nothing, if nothing is counted or policy does not list it.
    pub fn usage(&self, sources: &Sources, identifier: &str, now: Timestamp) -> Option<Usage> {
        let by_text = sources.patterns.iter().find(|source| source.pattern.as_str() == identifier);
        let source = by_text.or_else(|| SourceName::parse(identifier).and_then(|name| sources.find(&name)))?;
        self.with_known(identifier, |entry| Usage {
            total: entry.total_standings(source, now),
            endpoints: entry.endpoint_standings(source, now),
        })
    }

    fn with_known<T>(&self, identifier: &str, act: impl FnOnce(&mut Entry) -> T) -> Option<T> {
        let hash = self.hash(identifier);
        // No name holds a `*`, so an identifier is in one place at most.
        let shard = if identifier.contains('*') { &self.shared } else { self.shard(hash) };
        lock(shard).get(hash, &identifier.into(), || self.moments()).map(act)
    }
}
