//! A batch of records, seen as what it adds: which records are new, what they add to the stats and to the counts.
//! Sums come in the order of their keys, so that two gatekeepers that write at once take their locks in one order.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashSet};

use memchr::memchr;
use uuid::Uuid;

use super::{Counted, Record, StatsOutcome};
use crate::clock::Timestamp;

/// What makes two records the same.
pub(super) type RecordKey = (Uuid, Timestamp);

/// The function that the log names: the gatekeeper, as the original called itself.
pub(super) const FUNCTION: &str = "eliza-gatekeeper";

/// Each record once, however often the batch repeats it.
pub(super) fn distinct<'a>(batch: &'a [Record<'a>]) -> Vec<&'a Record<'a>> {
    let mut seen = HashSet::with_capacity(batch.len());
    batch.iter().filter(|record| seen.insert((record.id, record.at))).collect()
}

/// What a batch adds to one row of the rollup.
#[derive(Clone, Debug, PartialEq, Eq)]
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

/// What a batch adds to statistics and counts.
#[derive(Debug, Default)]
pub(super) struct Sums<'a> {
    pub stats: Vec<StatsSum<'a>>,
    /// By action. Names of actions are bounded as they are counted for limits.
    pub actions: Vec<(&'a str, StatsSum<'a>)>,
    pub durations: Vec<DurationSum<'a>>,
    /// For `rate_limits`.
    pub counts: Vec<(&'a Counted<'a>, i64)>,
}

/// Calls that every sum takes for alike, but for how long they took. They are few where calls are many, so each call is looked up once,
/// and the four sums are made of these.
struct Alike<'a> {
    calls: i64,
    sum: StatsSum<'a>,
    /// Calls that took up to so long and no less, and those that took longer than any step.
    steps: [i64; STEPS.len() + 1],
}

pub(super) fn sum<'a>(records: &[&'a Record<'a>]) -> Sums<'a> {
    let (mut kinds, mut places, mut last) = (Vec::new(), BTreeMap::new(), 0);
    for record in records {
        let (source, target): (&str, &str) = (&record.stats.source, &record.stats.target);
        let kind = (record.at.floor(60), source, target, record.counted.as_ref());
        // Calls that are alike come one behind the other, often.
        if kinds.get(last).is_none_or(|(known, _)| *known != kind) {
            last = *places.entry(kind).or_insert(kinds.len());
        }
        if last == kinds.len() {
            kinds.push((kind, Alike { calls: 0, sum: StatsSum::none(record), steps: [0; STEPS.len() + 1] }));
        }
        let Some((_, of)) = kinds.get_mut(last) else { continue };
        of.calls += i64::from(record.times);
        of.sum.take(record);
        // Denials take no time worth knowing, and are in none of them.
        if record.stats.outcome != StatsOutcome::Denied {
            let step = STEPS.iter().position(|step| record.execution_ms <= *step).unwrap_or(STEPS.len());
            if let Some(calls) = of.steps.get_mut(step) {
                *calls += i64::from(record.times);
            }
        }
    }
    let (mut stats, mut actions, mut durations, mut counts) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
    for ((minute, source, target, counted), Alike { calls, sum, steps }) in kinds {
        if let Some(counted) = counted {
            *counts.entry(counted).or_insert(0) += calls;
        }
        let endpoint = counted.map_or("", |counted| counted.endpoint.as_ref());
        let action = endpoint.split_once(':').map_or(endpoint, |(_, action)| action);
        add(&mut actions, (sum.hour, source, target, action), &sum);
        add(&mut stats, (sum.hour, source, target), &sum);
        let day = minute.floor(86_400);
        for (up_to, calls) in STEPS.into_iter().chain([i32::MAX]).zip(steps).filter(|(_, calls)| *calls > 0) {
            *durations.entry((day, source, target, up_to)).or_insert(0) += calls;
        }
    }
    Sums {
        stats: stats.into_values().collect(),
        actions: actions.into_iter().map(|((.., action), sum)| (action, sum)).collect(),
        durations: durations
            .into_iter()
            .map(|((day, source, target, up_to_ms), calls)| DurationSum { day, source, target, up_to_ms, calls })
            .collect(),
        counts: counts.into_iter().collect(),
    }
}

fn add<'a, K: Ord>(sums: &mut BTreeMap<K, StatsSum<'a>>, key: K, more: &StatsSum<'a>) {
    sums.entry(key).and_modify(|sum| sum.add(more)).or_insert_with(|| more.clone());
}

impl<'a> StatsSum<'a> {
    /// Nothing yet of calls like this one.
    fn none(like: &'a Record<'a>) -> Self {
        Self {
            hour: like.at.floor(3600),
            source: &like.stats.source,
            target: &like.stats.target,
            successful: 0,
            failed: 0,
            denied: 0,
            duration_ms: 0,
            longest_ms: 0,
            first: like.at,
            last: like.at,
        }
    }

    fn take(&mut self, record: &Record<'_>) {
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

    fn add(&mut self, more: &Self) {
        self.successful += more.successful;
        self.failed += more.failed;
        self.denied += more.denied;
        self.duration_ms = self.duration_ms.saturating_add(more.duration_ms);
        self.longest_ms = self.longest_ms.max(more.longest_ms);
        self.first = self.first.min(more.first);
        self.last = self.last.max(more.last);
    }
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

/// The text as both databases can hold it. Postgres knows no NUL, and a caller who sends one must not keep a record from being written.
pub(super) fn plain(text: &str) -> Cow<'_, str> {
    if memchr(0, text.as_bytes()).is_some() { Cow::Owned(text.replace('\0', "\u{fffd}")) } else { Cow::Borrowed(text) }
}

/// The same for JSON, where a NUL comes as an escape.
pub(super) fn plain_json(json: &str) -> Cow<'_, str> {
    // Few have any escape at all, and a byte is found sooner than six.
    if memchr(b'\\', json.as_bytes()).is_none() || !json.contains("\\u0000") {
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
