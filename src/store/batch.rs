//! A batch of records, seen as what it adds: which records are new, what they add to the stats and to the counts.
//! Sums come in the order of their keys, so that two gatekeepers that write at once take their locks in one order.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashSet};

use uuid::Uuid;

use super::{CallRecord, Counted, StatsOutcome};
use crate::clock::Timestamp;

/// What makes two records the same.
pub(super) type RecordKey = (Uuid, Timestamp);

/// The function that the log names: the gatekeeper, as the original called itself.
pub(super) const FUNCTION: &str = "eliza-gatekeeper";

/// Each record once, however often the batch repeats it.
pub(super) fn distinct(batch: &[CallRecord]) -> Vec<&CallRecord> {
    let mut seen = HashSet::with_capacity(batch.len());
    batch.iter().filter(|record| seen.insert((record.id, record.at))).collect()
}

/// What a batch adds to one row of the rollup.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct StatsSum<'a> {
    pub hour: Timestamp,
    pub source: &'a str,
    pub target: &'a str,
    pub successful: i64,
    pub failed: i64,
    pub denied: i64,
    pub duration_ms: i64,
    pub longest_ms: i64,
    pub first: Timestamp,
    pub last: Timestamp,
}

pub(super) fn sum_stats<'a>(records: &[&'a CallRecord]) -> Vec<StatsSum<'a>> {
    let mut sums = BTreeMap::new();
    for record in records {
        let hour = record.at.floor(3600);
        let (source, target) = (record.stats.source.as_str(), record.stats.target.as_str());
        let sum = sums.entry((hour, source, target)).or_insert(StatsSum {
            hour,
            source,
            target,
            successful: 0,
            failed: 0,
            denied: 0,
            duration_ms: 0,
            longest_ms: 0,
            first: record.at,
            last: record.at,
        });
        sum.take(record);
    }
    sums.into_values().collect()
}

impl StatsSum<'_> {
    fn take(&mut self, record: &CallRecord) {
        let times = i64::from(record.times);
        match record.stats.outcome {
            StatsOutcome::Successful => self.successful += times,
            StatsOutcome::Failed => self.failed += times,
            StatsOutcome::Denied => self.denied += times,
        }
        if record.stats.outcome != StatsOutcome::Denied {
            let took = i64::from(record.execution_ms);
            self.duration_ms = self.duration_ms.saturating_add(took.saturating_mul(times));
            self.longest_ms = self.longest_ms.max(took);
        }
        self.first = self.first.min(record.at);
        self.last = self.last.max(record.at);
    }
}

/// What a batch adds to the rollup by action. Names of actions are bounded as they are counted for limits.
pub(super) fn sum_actions<'a>(records: &[&'a CallRecord]) -> Vec<(&'a str, StatsSum<'a>)> {
    let mut by_action: BTreeMap<&str, Vec<&CallRecord>> = BTreeMap::new();
    for record in records {
        let endpoint = record.counted.as_ref().map_or("", |counted| counted.endpoint.as_ref());
        let action = endpoint.split_once(':').map_or(endpoint, |(_, action)| action);
        by_action.entry(action).or_default().push(record);
    }
    let sums = by_action.into_iter().flat_map(|(action, records)| sum_stats(&records).into_iter().map(move |sum| (action, sum)));
    let mut sums: Vec<_> = sums.collect();
    sums.sort_by_key(|(action, sum)| (sum.hour, sum.source, sum.target, *action));
    sums
}

/// Ends of the steps by which durations are counted, in milliseconds: each about a half longer than the one before.
const STEPS: [i32; 28] = [
    1, 2, 3, 5, 7, 10, 15, 20, 30, 50, 70, 100, 150, 200, 300, 500, 700, 1000, 1500, 2000, 3000, 5000, 7000, 10_000, 15_000, 20_000,
    30_000, 60_000,
];

/// What a batch adds to one step of one day's durations.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct DurationSum<'a> {
    pub day: Timestamp,
    pub source: &'a str,
    pub target: &'a str,
    pub up_to_ms: i32,
    pub calls: i64,
}

/// Denials take no time worth knowing, and are in none of them.
pub(super) fn sum_durations<'a>(records: &[&'a CallRecord]) -> Vec<DurationSum<'a>> {
    let mut sums = BTreeMap::new();
    for record in records.iter().filter(|record| record.stats.outcome != StatsOutcome::Denied) {
        let up_to = STEPS.into_iter().find(|step| record.execution_ms <= *step).unwrap_or(i32::MAX);
        let key = (record.at.floor(86_400), record.stats.source.as_str(), record.stats.target.as_str(), up_to);
        *sums.entry(key).or_insert(0) += i64::from(record.times);
    }
    sums.into_iter().map(|((day, source, target, up_to_ms), calls)| DurationSum { day, source, target, up_to_ms, calls }).collect()
}

/// What a batch adds to `rate_limits`.
pub(super) fn sum_counts<'a>(records: &[&'a CallRecord]) -> Vec<(&'a Counted, i64)> {
    let mut sums = BTreeMap::new();
    for record in records {
        if let Some(counted) = &record.counted {
            *sums.entry(counted).or_insert(0) += i64::from(record.times);
        }
    }
    sums.into_iter().collect()
}

/// The text as both databases can hold it. Postgres knows no NUL, and a caller who sends one must not keep a record from being written.
pub(super) fn plain(text: &str) -> Cow<'_, str> {
    if text.contains('\0') { Cow::Owned(text.replace('\0', "\u{fffd}")) } else { Cow::Borrowed(text) }
}

/// The same for JSON, where a NUL comes as an escape.
pub(super) fn plain_json(json: &str) -> Cow<'_, str> {
    if !json.contains("\\u0000") {
        return Cow::Borrowed(json);
    }
    let mut clean = String::with_capacity(json.len());
    let mut rest = json;
    while let Some((before, escape)) = rest.split_once('\\') {
        clean.push_str(before);
        // Whatever follows a backslash belongs to it, a second backslash too.
        if let Some(after) = escape.strip_prefix("u0000") {
            clean.push_str("\\ufffd");
            rest = after;
        } else {
            let mut chars = escape.chars();
            clean.push('\\');
            clean.extend(chars.next());
            rest = chars.as_str();
        }
    }
    clean.push_str(rest);
    Cow::Owned(clean)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_real_nuls_are_replaced() {
        assert_eq!(plain("a\0b"), "a\u{fffd}b");
        for (json, expected) in [
            (r#"{"a":"x\u0000y"}"#, r#"{"a":"x\ufffdy"}"#),
            (r#"{"a":"\\u0000"}"#, r#"{"a":"\\u0000"}"#),
            (r#"{"a":"\\\u0000\"\n"}"#, r#"{"a":"\\\ufffd\"\n"}"#),
            (r#"{"a":"é\u00001"}"#, r#"{"a":"é\ufffd1"}"#),
            (r#"{"a":1}"#, r#"{"a":1}"#),
        ] {
            assert_eq!(plain_json(json), expected);
            let clean: serde_json::Value = serde_json::from_str(&plain_json(json)).unwrap();
            assert!(!clean["a"].as_str().unwrap_or_default().contains('\0'));
        }
    }
}
