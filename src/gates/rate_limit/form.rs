//! What is held of a source, in a few bytes: the form it has while the source does not call. Nothing is lost in it but bursts that are
//! whole again, by the clock that is never set back.

use std::num::NonZeroU32;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::bucket::Bucket;
use super::burst::Smoother;
use super::entry::{Entry, Home, Named};
use super::pool::Slots;
use super::texts::Texts;
use super::window::{Counter, Tally};
use crate::clock::Timestamp;
use crate::policy::Burst;

/// When entries are packed and unpacked, and from where their windows are numbered: a small number is packed into one byte.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moments {
    /// When this limiter began.
    pub began: Timestamp,
    /// Now, on the clock's monotonic side.
    pub nanos: u64,
}

/// The name stands first, and is never empty.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Form<'a> {
    name: &'a str,
    pub is_guest: bool,
    total: BucketForm,
    others: BucketForm,
    endpoints: Vec<NamedForm>,
}

#[derive(Debug, Serialize, Deserialize)]
struct NamedForm {
    label: u32,
    since: i64,
    bucket: BucketForm,
}

/// What most buckets are comes first: without a window, or with one.
#[derive(Debug, Serialize, Deserialize)]
enum BucketForm {
    Unused,
    One(WindowForm),
    OneSmoothed(WindowForm, SmootherForm),
    Any(Vec<WindowForm>, Option<SmootherForm>),
}

#[derive(Debug, Serialize, Deserialize)]
struct WindowForm {
    secs: u32,
    /// How many windows after the one that ran when the limiter began.
    number: i64,
    calls: u32,
    /// The calls of the window before it: a byte, also where there were none. Who calls again in the next window is packed into as many bytes,
    /// so a crowd that does finds the room that it has left.
    before: u32,
}

#[derive(Debug, Serialize, Deserialize)]
struct SmootherForm {
    size: NonZeroU32,
    per_second: NonZeroU32,
    full_at: u64,
}

impl<'a> Form<'a> {
    /// None if its labels cannot be held. What was held of them already is let go of with [`Self::let_go`].
    pub fn of(entry: &'a Entry, is_guest: bool, texts: &mut Texts, moments: Moments) -> Option<Self> {
        let mut form = Self {
            name: &entry.identifier,
            is_guest,
            total: BucketForm::of(&entry.total, moments),
            others: BucketForm::of(&entry.others, moments),
            endpoints: Vec::with_capacity(entry.endpoints.len()),
        };
        for Named { label, since, bucket } in entry.endpoints.values() {
            let Some(label) = texts.hold(label) else {
                form.let_go(texts);
                return None;
            };
            form.endpoints.push(NamedForm { label, since: since.as_micros(), bucket: BucketForm::of(bucket, moments) });
        }
        Some(form)
    }

    /// Of what was packed, whatever lies behind it.
    pub fn read(bytes: &'a [u8]) -> Option<Self> {
        postcard::take_from_bytes(bytes).ok().map(|(form, _)| form)
    }

    /// The name alone.
    pub fn name(bytes: &[u8]) -> &str {
        postcard::take_from_bytes(bytes).map_or("", |(name, _)| name)
    }

    /// The entry it was made of.
    pub fn entry(&self, home: Home, identifier: Arc<str>, slots: Slots, texts: &Texts, moments: Moments) -> Entry {
        let mut entry = Entry::new(home, identifier, slots);
        entry.total = self.total.bucket(moments);
        entry.others = self.others.bucket(moments);
        entry.endpoints.reserve(self.endpoints.len());
        for NamedForm { label, since, bucket } in &self.endpoints {
            if let Some(label) = texts.get(*label).map(Arc::clone) {
                let named = Named { label: Arc::clone(&label), since: Timestamp::from_micros(*since), bucket: bucket.bucket(moments) };
                entry.endpoints.insert(label, named);
            }
        }
        entry
    }

    pub fn endpoints(&self) -> usize {
        self.endpoints.len()
    }

    pub fn let_go(&self, texts: &mut Texts) {
        for named in &self.endpoints {
            texts.let_go(named.label);
        }
    }

    /// Whether a sweep would let go of any of it.
    pub fn has_spent(&self, now: Timestamp, moments: Moments) -> bool {
        let spent = |bucket: &BucketForm| bucket.has_spent(now, moments);
        spent(&self.total) || spent(&self.others) || self.endpoints.iter().any(|named| spent(&named.bucket))
    }
}

impl BucketForm {
    fn of(bucket: &Bucket, moments: Moments) -> Self {
        // A burst that is whole again is as good as none.
        let smoother = bucket.smoother.filter(|smoother| smoother.full_at > moments.nanos).map(SmootherForm::of);
        match (bucket.counters.as_slice(), smoother) {
            ([], None) => Self::Unused,
            ([one], None) => Self::One(WindowForm::of(one, moments)),
            ([one], Some(smoother)) => Self::OneSmoothed(WindowForm::of(one, moments), smoother),
            (counters, smoother) => Self::Any(counters.iter().map(|counter| WindowForm::of(counter, moments)).collect(), smoother),
        }
    }

    fn bucket(&self, moments: Moments) -> Bucket {
        let of = |window: &WindowForm| Counter::of(window.tally(moments));
        let (counters, smoother) = match self {
            Self::Unused => (Vec::new(), None),
            Self::One(window) => (vec![of(window)], None),
            Self::OneSmoothed(window, smoother) => (vec![of(window)], Some(smoother)),
            Self::Any(windows, smoother) => (windows.iter().map(of).collect(), smoother.as_ref()),
        };
        Bucket { counters, smoother: smoother.map(SmootherForm::smoother) }
    }

    fn has_spent(&self, now: Timestamp, moments: Moments) -> bool {
        let is_spent = |window: &WindowForm| Counter::of(window.tally(moments)).is_spent(now);
        match self {
            Self::Unused => false,
            Self::One(window) | Self::OneSmoothed(window, _) => is_spent(window),
            Self::Any(windows, _) => windows.iter().any(is_spent),
        }
    }
}

impl WindowForm {
    fn of(counter: &Counter, moments: Moments) -> Self {
        let Tally { secs, start, current, previous } = counter.whole();
        Self { secs, number: number(start, secs) - number(moments.began, secs), calls: current, before: previous }
    }

    fn tally(&self, moments: Moments) -> Tally {
        let number = number(moments.began, self.secs).saturating_add(self.number);
        let start = Timestamp::from_secs(number.saturating_mul(i64::from(self.secs)));
        Tally { secs: self.secs, start, current: self.calls, previous: self.before }
    }
}

/// Of the window that holds this moment. Windows are whole seconds, so those that begin with one are no less exact for it.
fn number(at: Timestamp, secs: u32) -> i64 {
    at.as_secs().div_euclid(i64::from(secs.max(1)))
}

impl SmootherForm {
    fn of(smoother: Smoother) -> Self {
        let Smoother { burst: Burst { size, per_second }, full_at } = smoother;
        Self { size, per_second, full_at }
    }

    fn smoother(&self) -> Smoother {
        Smoother { burst: Burst { size: self.size, per_second: self.per_second }, full_at: self.full_at }
    }
}
