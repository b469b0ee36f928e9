//! Failed authentication, per network and minute: the first are recorded one by one, the rest are only counted, so that a flood of
//! strangers cannot fill the disk. Nobody is refused by it: whoever has valid credentials never comes here.

use std::collections::{BTreeMap, HashMap};
use std::mem;
use std::sync::Mutex;
use std::time::Duration;

use super::lock;
use crate::clock::Timestamp;
use crate::identity::Network;
use crate::policy::Limits;

/// Networks told apart in one minute.
const NETWORKS: usize = 4096;
/// Minutes that may wait to be drained. Far more than ever do: the drain runs once a minute.
const MINUTES: usize = 10;
/// In one minute, all networks together are recorded one by one this many times as often as a single one.
const TOGETHER: u32 = 10;
const MINUTE_SECS: u32 = 60;

/// What becomes of one failed authentication.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fold {
    /// It gets a record of its own.
    Record,
    /// It is in the count that [`Strangers::drain`] yields.
    Counted,
}

/// The failures of one network in one minute that got no record of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Folded {
    /// None for the networks beyond those that are told apart.
    pub network: Option<Network>,
    /// The start of the minute.
    pub minute: Timestamp,
    pub count: u32,
}

#[derive(Debug, Default)]
pub struct Strangers(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    minutes: BTreeMap<Timestamp, Minute>,
    /// What came before was drained: whatever is late for it counts into this minute, so that each is folded once.
    open_from: Timestamp,
}

#[derive(Debug, Default)]
struct Minute {
    networks: HashMap<Network, Tally>,
    recorded: u32,
    others: u32,
}

#[derive(Debug, Default)]
struct Tally {
    recorded: u32,
    folded: u32,
}

impl Strangers {
    pub fn note(&self, network: Network, at: Timestamp, limits: &Limits) -> Fold {
        let most = limits.stranger_records_per_minute;
        lock(&self.0).minute(at).note(network, most)
    }

    /// The folded counts of every minute that has ended.
    pub fn drain(&self, now: Timestamp) -> Vec<Folded> {
        let this = now.floor(MINUTE_SECS);
        let mut state = lock(&self.0);
        state.open_from = this;
        // The next one may just have begun. Anything further ahead was noted by a clock that has been set back since.
        let runs = this..=this.plus(Duration::from_secs(MINUTE_SECS.into()));
        let (running, ended) = mem::take(&mut state.minutes).into_iter().partition(|(minute, _)| runs.contains(minute));
        state.minutes = running;
        drop(state);
        fold(ended)
    }

    /// The folded counts of every minute: for shutdown.
    pub fn drain_all(&self) -> Vec<Folded> {
        fold(mem::take(&mut lock(&self.0).minutes))
    }
}

impl State {
    fn minute(&mut self, at: Timestamp) -> &mut Minute {
        let mut start = at.floor(MINUTE_SECS).max(self.open_from);
        if self.minutes.len() >= MINUTES
            && !self.minutes.contains_key(&start)
            && let Some((newest, _)) = self.minutes.last_key_value()
        {
            start = *newest;
        }
        self.minutes.entry(start).or_default()
    }
}

impl Minute {
    fn note(&mut self, network: Network, most: u32) -> Fold {
        if self.networks.len() >= NETWORKS && !self.networks.contains_key(&network) {
            self.others = self.others.saturating_add(1);
            return Fold::Counted;
        }
        let tally = self.networks.entry(network).or_default();
        if tally.recorded < most && self.recorded < most.saturating_mul(TOGETHER) {
            tally.recorded += 1;
            self.recorded += 1;
            return Fold::Record;
        }
        tally.folded = tally.folded.saturating_add(1);
        Fold::Counted
    }
}

fn fold(minutes: BTreeMap<Timestamp, Minute>) -> Vec<Folded> {
    let mut all = Vec::new();
    for (minute, noted) in minutes {
        let told_apart = noted.networks.into_iter().map(|(network, tally)| (Some(network), tally.folded));
        let counts = told_apart.chain([(None, noted.others)]).filter(|(_, count)| *count > 0);
        all.extend(counts.map(|(network, count)| Folded { network, minute, count }));
    }
    all
}
