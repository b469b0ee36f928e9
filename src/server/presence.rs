//! What a connection is there for at the moment, and how long it may be: to bring a call's head, to have calls under way, or in case
//! of another call.
//!
//! hyper's own timer knows only one time for heads and for the quiet between calls, and has none on HTTP/2.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use http::Version;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;
use tokio::time::{Instant, sleep_until};

use super::cut::Cut;

/// How long a connection may stay without a call under way.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// From the first byte of a call to the end of its head; and from the connection's beginning to the first call.
    pub head: Duration,
    /// Between calls.
    pub idle: Duration,
}

#[derive(Clone, Debug)]
pub(super) struct Presence(Arc<Mutex<State>>);

#[derive(Clone, Copy, Debug)]
struct State {
    doing: Doing,
    /// On HTTP/2 bytes come without a call, too.
    bytes_are_calls: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Doing {
    /// Bringing a head since then.
    Head(Instant),
    /// So many are under way.
    Calls(u32),
    Nothing(Instant),
}

/// A call under way, until it is dropped.
#[derive(Debug)]
pub(super) struct UnderWay(Presence);

impl Presence {
    pub fn begin() -> Self {
        Self(Arc::new(Mutex::new(State { doing: Doing::Head(Instant::now()), bytes_are_calls: false })))
    }

    /// Something arrived.
    pub fn heard(&self) {
        let mut state = self.state();
        if let State { doing: Doing::Nothing(_), bytes_are_calls: true } = *state {
            state.doing = Doing::Head(Instant::now());
        }
    }

    /// The head of a call is there.
    pub fn call(&self, version: Version) -> UnderWay {
        let mut state = self.state();
        state.bytes_are_calls = version < Version::HTTP_2;
        state.doing = match state.doing {
            Doing::Calls(others) => Doing::Calls(others.saturating_add(1)),
            Doing::Head(_) | Doing::Nothing(_) => Doing::Calls(1),
        };
        UnderWay(self.clone())
    }

    /// Ends when the connection should.
    pub async fn overdue(self, limits: Limits) -> Cut {
        loop {
            // Whatever it does next cannot be overdue any sooner.
            let next_look = Instant::now() + limits.head.min(limits.idle);
            let (end, cut) = match self.state().doing {
                Doing::Head(since) => (since + limits.head, Cut::SlowHead),
                Doing::Nothing(since) => (since + limits.idle, Cut::Idle),
                Doing::Calls(_) => (next_look + limits.idle, Cut::Idle),
            };
            if end <= Instant::now() {
                return cut;
            }
            sleep_until(end.min(next_look)).await;
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pin_project! {
    /// An answer's body, with the call that it ends.
    pub(super) struct Ending<B> {
        #[pin]
        body: B,
        _call: UnderWay,
    }
}

impl UnderWay {
    pub fn until_the_end_of<B>(self, body: B) -> Ending<B> {
        Ending { body, _call: self }
    }
}

impl<B: Body> Body for Ending<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        self.project().body.poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.doing = match state.doing {
            Doing::Calls(others @ 2..) => Doing::Calls(others - 1),
            Doing::Calls(_) | Doing::Head(_) | Doing::Nothing(_) => Doing::Nothing(Instant::now()),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::{advance, sleep};

    const LIMITS: Limits = Limits { head: Duration::from_secs(30), idle: Duration::from_secs(75) };

    /// When the connection ends, and why, if from now on nothing more happens.
    async fn end(presence: &Presence) -> (Cut, u64) {
        let from = Instant::now();
        let cut = presence.clone().overdue(LIMITS).await;
        (cut, from.elapsed().as_secs())
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_and_heads_have_their_time() {
        let presence = Presence::begin();
        assert_eq!(end(&presence).await, (Cut::SlowHead, 30));

        drop(Presence::begin().call(Version::HTTP_11));
        let presence = Presence::begin();
        presence.heard();
        advance(Duration::from_secs(20)).await;
        presence.heard();
        assert_eq!(end(&presence).await, (Cut::SlowHead, 10), "the first byte begins it, not the last");

        drop(presence.call(Version::HTTP_11));
        assert_eq!(end(&presence).await, (Cut::Idle, 75));
        drop(presence.call(Version::HTTP_11));
        advance(Duration::from_secs(70)).await;
        presence.heard();
        assert_eq!(end(&presence).await, (Cut::SlowHead, 30));
    }

    #[tokio::test(start_paused = true)]
    async fn on_http_2_bytes_alone_keep_nothing_open() {
        let presence = Presence::begin();
        drop(presence.call(Version::HTTP_2));
        advance(Duration::from_secs(70)).await;
        presence.heard();
        assert_eq!(end(&presence).await, (Cut::Idle, 5));
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_under_way_is_not_idle() {
        let presence = Presence::begin();
        let (first, second) = (presence.call(Version::HTTP_2), presence.call(Version::HTTP_2));
        let watched = tokio::spawn(presence.clone().overdue(LIMITS));
        sleep(Duration::from_secs(3600)).await;
        drop(first);
        sleep(Duration::from_secs(3600)).await;
        assert!(!watched.is_finished());
        let from = Instant::now();
        drop(second);
        assert_eq!((watched.await.unwrap(), from.elapsed().as_secs()), (Cut::Idle, 75));
    }
}
