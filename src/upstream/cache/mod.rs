//! Answers of one target that are given again to whoever asks the same, for as long as its policy says. All that is kept, and all that
//! is being copied to be kept, together stays within the policy's bound; what is oldest goes first.

mod copying;
mod fitness;
mod keeping;
mod key;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::header::AGE;
use http::{HeaderMap, HeaderName, HeaderValue};

use crate::call::CacheUse;
use crate::clock::Clock;
use crate::policy::CachePolicy;

pub use copying::Copying;
pub use keeping::Keeping;

use fitness::{Keepable, Wish, wish};
use key::{Key, key};

const X_CACHE: HeaderName = HeaderName::from_static("x-cache");
/// What an entry takes beside its body and headers.
const OVERHEAD: usize = 512;
/// One answer may take this part of all there is.
const LARGEST: usize = 4;

#[derive(Debug)]
pub struct Cache {
    policy: CachePolicy,
    clock: Clock,
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    by_key: HashMap<Key, Entry>,
    /// The keys by the number of their entries, which only ever grows.
    by_age: BTreeMap<u64, Key>,
    next: u64,
    /// Of all entries, and of what is being copied.
    bytes: usize,
    hits: u64,
    misses: u64,
}

#[derive(Debug)]
struct Entry {
    number: u64,
    headers: HeaderMap,
    body: Bytes,
    /// What the answer says that it depends on, and what the request said there.
    varies: Vec<(HeaderName, Vec<HeaderValue>)>,
    since_nanos: u64,
    until_nanos: u64,
    bytes: usize,
}

/// An answer that was kept.
#[derive(Debug)]
pub struct Again {
    pub headers: HeaderMap,
    pub body: Bytes,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CacheView {
    pub answers: usize,
    pub bytes: usize,
    pub hits: u64,
    pub misses: u64,
}

impl Cache {
    pub fn new(policy: CachePolicy, clock: Clock) -> Self {
        Self { policy, clock, kept: Mutex::default() }
    }

    pub fn policy(&self) -> &CachePolicy {
        &self.policy
    }

    /// What was kept for a request of this key, if `asking`, the headers that the target would see, are what that answer depends on.
    pub fn find(&self, key: Key, asking: &HeaderMap) -> Option<Again> {
        let now = self.clock.monotonic_nanos();
        let mut kept = self.lock();
        if kept.by_key.get(&key).is_some_and(|entry| entry.until_nanos <= now) {
            kept.remove(key);
        }
        let found = kept.by_key.get(&key).filter(|entry| entry.answers(asking)).map(|entry| {
            let mut headers = entry.headers.clone();
            let age = Duration::from_nanos(now.saturating_sub(entry.since_nanos)).as_secs();
            headers.insert(AGE, HeaderValue::from(age));
            mark(&mut headers, CacheUse::Hit);
            Again { headers, body: entry.body.clone() }
        });
        let count = if found.is_some() { &mut kept.hits } else { &mut kept.misses };
        *count = count.saturating_add(1);
        found
    }

    pub fn view(&self) -> CacheView {
        let kept = self.lock();
        CacheView { answers: kept.by_key.len(), bytes: kept.bytes, hits: kept.hits, misses: kept.misses }
    }

    fn keep(&self, key: Key, keepable: Keepable, headers: HeaderMap, body: Bytes, bytes: usize) {
        let now = self.clock.monotonic_nanos();
        let fresh = u64::try_from(keepable.fresh_for.as_nanos()).unwrap_or(u64::MAX);
        let mut kept = self.lock();
        kept.remove(key);
        let number = kept.next;
        kept.next = number.wrapping_add(1);
        let entry =
            Entry { number, headers, body, varies: keepable.varies, since_nanos: now, until_nanos: now.saturating_add(fresh), bytes };
        kept.by_age.insert(number, key);
        kept.by_key.insert(key, entry);
    }

    /// Makes room by letting go of what is oldest. `false` if there is none even so.
    fn reserve(&self, bytes: usize) -> bool {
        let mut kept = self.lock();
        while kept.bytes.saturating_add(bytes) > self.policy.max_bytes {
            let Some((_, oldest)) = kept.by_age.pop_first() else { return false };
            kept.remove(oldest);
        }
        kept.bytes += bytes;
        true
    }

    fn release(&self, bytes: usize) {
        let mut kept = self.lock();
        kept.bytes = kept.bytes.saturating_sub(bytes);
    }

    fn largest(&self) -> usize {
        self.policy.max_bytes / LARGEST
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    fn remove(&mut self, key: Key) {
        let Some(entry) = self.by_key.remove(&key) else { return };
        self.by_age.remove(&entry.number);
        self.bytes = self.bytes.saturating_sub(entry.bytes);
    }
}

impl Entry {
    fn answers(&self, asking: &HeaderMap) -> bool {
        self.varies.iter().all(|(name, said)| asking.get_all(name).iter().eq(said.iter()))
    }
}

/// Says on an answer whether it was kept.
pub fn mark(headers: &mut HeaderMap, cache_use: CacheUse) {
    headers.insert(X_CACHE, HeaderValue::from_static(cache_use.as_str()));
}

#[cfg(test)]
mod tests;
