//! That no record is lost, and how the database shows it: every record a gatekeeper makes has a number, and every number either has its
//! row in the activity log or a reason why it has none.

use std::collections::BTreeMap;

use uuid::Uuid;

use super::Record;
use super::control::ActivityEntry;
use crate::clock::Timestamp;
use crate::identity::Origin;

/// What is written in one transaction.
#[derive(Clone, Copy, Debug, Default)]
pub struct Batch<'a> {
    pub calls: &'a [Record<'a>],
    pub entries: &'a [ActivityEntry],
    pub losses: &'a [Loss],
}

impl Batch<'_> {
    pub fn is_empty(&self) -> bool {
        self.calls.is_empty() && self.entries.is_empty() && self.losses.is_empty()
    }

    /// The highest number of each instance in it.
    pub(super) fn reached(&self) -> BTreeMap<Uuid, u64> {
        let calls = self.calls.iter().filter_map(|call| call.origin);
        let entries = self.entries.iter().filter_map(|entry| entry.origin);
        let losses = self.losses.iter().map(|loss| Origin { instance: loss.instance, seq: loss.last });
        let mut reached = BTreeMap::new();
        let mut reach = |Origin { instance, seq }| {
            let highest = reached.entry(instance).or_insert(seq);
            *highest = seq.max(*highest);
        };
        // Those of one instance come one behind the other: most times all are one run.
        let mut run: Option<Origin> = None;
        for origin in calls.chain(entries).chain(losses) {
            match &mut run {
                Some(run) if run.instance == origin.instance => run.seq = run.seq.max(origin.seq),
                _ => run.replace(origin).into_iter().for_each(&mut reach),
            }
        }
        run.into_iter().for_each(reach);
        reached
    }
}

/// Numbers of an instance, from the first to the last, that will never have a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Loss {
    pub instance: Uuid,
    pub first: u64,
    pub last: u64,
    pub reason: LossReason,
    pub at: Timestamp,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LossReason {
    /// There was no room for them.
    Shed,
    /// The database took them as they are for wrong.
    Refused,
    /// The journal they lay in is damaged.
    Damaged,
}

impl LossReason {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Shed => "shed",
            Self::Refused => "refused",
            Self::Damaged => "damaged",
        }
    }
}

/// A row of `gatekeeper_log_gaps`: numbers that have no row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gap {
    pub instance: Uuid,
    pub first: u64,
    pub last: u64,
    /// None of a gap that nobody has explained.
    pub reason: Option<String>,
}

/// When an instance began, as its name tells. One that tells nothing began with what it was first heard of.
pub(super) fn began(instance: Uuid) -> Timestamp {
    let (secs, nanos) = instance.get_timestamp().map_or((0, 0), |at| at.to_unix());
    Timestamp::from_micros(i64::try_from(secs).unwrap_or(0).saturating_mul(1_000_000).saturating_add(i64::from(nanos / 1000)))
}

/// A number as databases count, which is far enough.
pub(super) fn number(seq: u64) -> i64 {
    i64::try_from(seq).unwrap_or(i64::MAX)
}
