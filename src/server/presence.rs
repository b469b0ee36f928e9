//! What a connection is there for at the moment, and how long it may be: to bring a call's head, to have calls under way, or in case
//! of another call.
//!
//! hyper's own timer knows only one time for heads and for the quiet between calls, and has none on HTTP/2. There a caller may also leave one
//! answer untaken while all else on the connection moves: no write waits for it, and nobody asks its body for more.

use std::collections::HashMap;
use std::sync::atomic::Ordering::{Acquire, Relaxed};
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, fence};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::Version;
use tokio::time::Instant;

use super::cut::Cut;
use crate::telemetry::metrics::Metrics;

/// How long a connection may stay without a call under way.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// From the first byte of a call to the end of its head; and from the connection's beginning to the first call.
    pub head: Duration,
    /// Between calls.
    pub idle: Duration,
    /// For a piece of an answer to be taken.
    pub taking: Duration,
}

impl Limits {
    pub fn shortest(&self) -> Duration {
        self.head.min(self.idle).min(self.taking)
    }
}

#[derive(Clone, Debug)]
pub(super) struct Presence(Arc<State>);

/// What is written for every call is written without a lock.
#[derive(Debug)]
struct State {
    begun: Instant,
    /// A [`Doing`].
    doing: AtomicU64,
    /// A [`Spoken`].
    spoken: AtomicU8,
    is_unwelcome: AtomicBool,
    /// Whether hyper may have something that it has not written yet.
    owes: AtomicBool,
    /// Whether it has read all that came.
    waits: AtomicBool,
    /// Of answers over HTTP/2, by the number of their call: since when there is a piece that was not taken.
    untaken: Mutex<HashMap<u64, Instant>>,
    calls: AtomicU64,
    /// The number of the last call whose body has come whole, and was taken.
    whole: AtomicU64,
    /// Whether somebody still has the body of a call that came over HTTP/1.
    has_body: AtomicBool,
    metrics: Arc<Metrics>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Doing {
    /// Bringing a head since then, as the time since the beginning.
    Head(Duration),
    /// So many are under way.
    Calls(u32),
    Nothing(Duration),
}

/// In what calls came so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Spoken {
    Nothing = 0,
    Http1 = 1,
    Http2 = 2,
}

/// A call under way, until it is dropped.
#[derive(Debug)]
pub(super) struct UnderWay {
    presence: Presence,
    /// None where the connection itself tells when an answer is not taken.
    number: Option<u64>,
}

impl Doing {
    /// In one word: what it is in the last two bits, since when or how many in the others.
    fn packed(self) -> u64 {
        let nanos = |since: Duration| u64::try_from(since.as_nanos()).unwrap_or(u64::MAX);
        match self {
            Self::Head(since) => nanos(since) << 2,
            Self::Calls(many) => (u64::from(many) << 2) | 1,
            Self::Nothing(since) => (nanos(since) << 2) | 2,
        }
    }

    fn unpacked(word: u64) -> Self {
        let value = word >> 2;
        match word & 3 {
            0 => Self::Head(Duration::from_nanos(value)),
            1 => Self::Calls(u32::try_from(value).unwrap_or(u32::MAX)),
            _ => Self::Nothing(Duration::from_nanos(value)),
        }
    }
}

impl Presence {
    pub fn begin(metrics: Arc<Metrics>) -> Self {
        Self(Arc::new(State {
            begun: Instant::now(),
            doing: AtomicU64::new(Doing::Head(Duration::ZERO).packed()),
            spoken: AtomicU8::new(Spoken::Nothing as u8),
            is_unwelcome: AtomicBool::new(false),
            owes: AtomicBool::new(false),
            waits: AtomicBool::new(false),
            untaken: Mutex::default(),
            calls: AtomicU64::new(0),
            whole: AtomicU64::new(0),
            has_body: AtomicBool::new(false),
            metrics,
        }))
    }

    pub fn metrics(&self) -> &Arc<Metrics> {
        &self.0.metrics
    }

    /// Something arrived.
    pub fn heard(&self, now: Instant) {
        self.0.waits.store(false, Relaxed);
        // What comes of the body of a call that was answered early is no head.
        let doing = if self.0.has_body.load(Relaxed) { Doing::Nothing } else { Doing::Head };
        self.is_at_rest_no_more(now, doing);
    }

    /// Something was taken: what is left of an answer whose call has ended here.
    pub fn took(&self, now: Instant) {
        self.is_at_rest_no_more(now, Doing::Nothing);
    }

    /// On HTTP/2 bytes come and go without a call, too.
    fn is_at_rest_no_more(&self, now: Instant, doing: fn(Duration) -> Doing) {
        let was = self.0.doing.load(Relaxed);
        if matches!(Doing::unpacked(was), Doing::Nothing(_)) && self.spoken(Spoken::Http1) {
            // If a call came or ended just now, that counts.
            let _or_not = self.0.doing.compare_exchange(was, doing(self.since(now)).packed(), Relaxed, Relaxed);
        }
    }

    /// All that came is read.
    pub fn waits(&self) {
        self.0.waits.store(true, Relaxed);
    }

    /// Something is or may be on its way out.
    pub fn owes(&self) {
        self.0.owes.store(true, Relaxed);
    }

    /// hyper has written all that it has.
    pub fn owes_nothing(&self) {
        self.0.owes.store(false, Relaxed);
    }

    /// There is no room for it: it ends with the calls that it has brought.
    pub fn is_unwelcome(&self) {
        self.0.is_unwelcome.store(true, Relaxed);
    }

    pub fn was_told_that_it_is_unwelcome(&self) -> bool {
        self.0.is_unwelcome.load(Relaxed)
    }

    pub fn has_called(&self) -> bool {
        !self.spoken(Spoken::Nothing)
    }

    pub fn speaks_http2(&self) -> bool {
        self.spoken(Spoken::Http2)
    }

    fn spoken(&self, what: Spoken) -> bool {
        self.0.spoken.load(Relaxed) == what as u8
    }

    /// The head of a call is there.
    pub fn call(&self, version: Version) -> UnderWay {
        let spoken = if version < Version::HTTP_2 { Spoken::Http1 } else { Spoken::Http2 };
        self.0.spoken.store(spoken as u8, Relaxed);
        self.change(|doing| match doing {
            Doing::Calls(others) => Doing::Calls(others.saturating_add(1)),
            Doing::Head(_) | Doing::Nothing(_) => Doing::Calls(1),
        });
        let number = self.0.calls.fetch_add(1, Relaxed) + 1;
        UnderWay { presence: self.clone(), number: (spoken == Spoken::Http2).then_some(number) }
    }

    /// The number of the last call that came.
    pub fn calls(&self) -> u64 {
        self.0.calls.load(Relaxed)
    }

    /// Whether there is somebody who has the last call's body. Of HTTP/1: there are several at once otherwise, and nobody asks.
    pub fn has_body(&self, has: bool) {
        self.0.has_body.store(has, Relaxed);
    }

    /// The body of that call has come, and was taken.
    pub fn has_whole_body(&self, call: u64) {
        self.0.whole.store(call, Relaxed);
    }

    /// Whether there may be more of the body of that call, which is the last one.
    pub fn awaits_body(&self, call: u64) -> bool {
        self.0.whole.load(Relaxed) != call
    }

    /// When to look again whether the connection should end, or why it should now.
    pub fn look(&self, limits: Limits, now: Instant) -> Result<Instant, Cut> {
        // Whatever it does next cannot be overdue any sooner.
        let next_look = now + limits.shortest();
        let (end, cut) = match self.doing() {
            Doing::Head(since) => (self.0.begun + since + limits.head, Cut::SlowHead),
            Doing::Nothing(since) => (self.0.begun + since + limits.idle, Cut::Idle),
            Doing::Calls(_) => match self.untaken().values().min() {
                Some(since) => (*since + limits.taking, Cut::SlowReader),
                None => return Ok(next_look),
            },
        };
        if end <= now { Err(cut) } else { Ok(end.min(next_look)) }
    }

    /// Since when nothing at all is under way.
    pub fn idle_since(&self) -> Option<Instant> {
        match self.doing() {
            Doing::Nothing(since) => Some(self.0.begun + since),
            Doing::Head(_) | Doing::Calls(_) => None,
        }
    }

    /// Whether nobody has anything of a call but those who keep the connection itself, who are so many: no handler, no body of a request,
    /// no answer.
    pub fn is_kept_by_no_more_than(&self, keepers: usize) -> bool {
        let is_left_alone = Arc::strong_count(&self.0) <= keepers;
        // Whatever they did before they left is seen from here on.
        fence(Acquire);
        is_left_alone
    }

    /// Whether nothing lies in hyper's buffers that is to go out, and it waits for more to come in.
    pub fn is_quiet(&self) -> bool {
        !self.0.owes.load(Relaxed) && self.0.waits.load(Relaxed)
    }

    fn doing(&self) -> Doing {
        Doing::unpacked(self.0.doing.load(Relaxed))
    }

    fn change(&self, next: impl Fn(Doing) -> Doing) {
        let next = |word| Some(next(Doing::unpacked(word)).packed());
        let _always = self.0.doing.fetch_update(Relaxed, Relaxed, next);
    }

    fn since(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.0.begun)
    }

    fn untaken(&self) -> MutexGuard<'_, HashMap<u64, Instant>> {
        self.0.untaken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl UnderWay {
    /// What was handed out of its answer last was taken.
    pub fn is_taken(&self) {
        if let Some(number) = self.number {
            self.presence.untaken().remove(&number);
        }
    }

    pub fn is_handed_out(&self) {
        if let Some(number) = self.number {
            self.presence.untaken().insert(number, Instant::now());
        }
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.is_taken();
        let presence = &self.presence;
        // The end of its answer, at least.
        presence.owes();
        let now = presence.since(Instant::now());
        presence.change(|doing| match doing {
            Doing::Calls(others @ 2..) => Doing::Calls(others - 1),
            Doing::Calls(_) | Doing::Head(_) | Doing::Nothing(_) => Doing::Nothing(now),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use http_body_util::{BodyExt, Full};
    use std::pin::pin;
    use tokio::time::{advance, sleep, sleep_until};

    const LIMITS: Limits = Limits { head: Duration::from_secs(30), idle: Duration::from_secs(75), taking: Duration::from_secs(60) };

    fn begin() -> Presence {
        Presence::begin(Arc::default())
    }

    /// Ends when the connection should.
    async fn overdue(presence: Presence) -> Cut {
        loop {
            match presence.look(LIMITS, Instant::now()) {
                Ok(next) => sleep_until(next).await,
                Err(cut) => return cut,
            }
        }
    }

    /// When the connection ends, and why, if from now on nothing more happens.
    async fn end(presence: &Presence) -> (Cut, u64) {
        let from = Instant::now();
        let cut = overdue(presence.clone()).await;
        (cut, from.elapsed().as_secs())
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_and_heads_have_their_time() {
        let presence = begin();
        assert_eq!(end(&presence).await, (Cut::SlowHead, 30));

        drop(begin().call(Version::HTTP_11));
        let presence = begin();
        presence.heard(Instant::now());
        advance(Duration::from_secs(20)).await;
        presence.heard(Instant::now());
        assert_eq!(end(&presence).await, (Cut::SlowHead, 10), "the first byte begins it, not the last");

        drop(presence.call(Version::HTTP_11));
        assert_eq!(end(&presence).await, (Cut::Idle, 75));
        drop(presence.call(Version::HTTP_11));
        advance(Duration::from_secs(70)).await;
        presence.heard(Instant::now());
        assert_eq!(end(&presence).await, (Cut::SlowHead, 30));
    }

    #[tokio::test(start_paused = true)]
    async fn the_rest_of_a_body_is_no_head_and_no_idleness() {
        let presence = begin();
        let call = presence.call(Version::HTTP_11);
        presence.has_body(true);
        drop(call);
        advance(Duration::from_secs(70)).await;
        presence.heard(Instant::now());
        assert_eq!(end(&presence).await, (Cut::Idle, 75));

        drop(presence.call(Version::HTTP_11));
        presence.has_body(false);
        presence.heard(Instant::now());
        assert_eq!(end(&presence).await, (Cut::SlowHead, 30));
    }

    #[tokio::test(start_paused = true)]
    async fn on_http_2_bytes_alone_keep_nothing_open() {
        let presence = begin();
        drop(presence.call(Version::HTTP_2));
        advance(Duration::from_secs(70)).await;
        presence.heard(Instant::now());
        assert_eq!(end(&presence).await, (Cut::Idle, 5));
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_under_way_is_not_idle() {
        let presence = begin();
        let (first, second) = (presence.call(Version::HTTP_2), presence.call(Version::HTTP_2));
        let watched = tokio::spawn(overdue(presence.clone()));
        sleep(Duration::from_secs(3600)).await;
        drop(first);
        sleep(Duration::from_secs(3600)).await;
        assert!(!watched.is_finished());
        let from = Instant::now();
        drop(second);
        assert_eq!((watched.await.unwrap(), from.elapsed().as_secs()), (Cut::Idle, 75));
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_is_not_taken_is_not_under_way_for_ever() {
        let presence = begin();
        let mut left = pin!(presence.call(Version::HTTP_2).until_the_end_of(Full::new(Bytes::from_static(b"nobody takes it"))));
        let mut taken = pin!(presence.call(Version::HTTP_2).until_the_end_of(Full::new(Bytes::from_static(b"somebody takes it"))));
        left.frame().await.unwrap().unwrap();
        taken.frame().await.unwrap().unwrap();
        assert!(taken.frame().await.is_none());
        assert_eq!(end(&presence).await, (Cut::SlowReader, 60));
        assert!(left.frame().await.is_none());
        advance(Duration::from_secs(300)).await;
        let ends = tokio::time::timeout(Duration::from_secs(1000), overdue(presence.clone())).await;
        assert!(ends.is_err(), "two that wait for their targets");
    }

    #[tokio::test]
    async fn what_is_left_of_an_answer_that_is_being_taken_is_no_idleness() {
        let presence = begin();
        drop(presence.call(Version::HTTP_11));
        let Doing::Nothing(before) = presence.doing() else { panic!("it has ended") };
        tokio::time::pause();
        advance(Duration::from_secs(70)).await;
        presence.took(Instant::now());
        assert!(matches!(presence.doing(), Doing::Nothing(since) if since > before));
    }
}
