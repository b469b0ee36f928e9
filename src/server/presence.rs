//! What a connection is there for at the moment, and how long it may be: to bring a call's head, to have calls under way, or in case
//! of another call.
//!
//! hyper's own timer knows only one time for heads and for the quiet between calls, and has none on HTTP/2. There a caller may also leave one
//! answer untaken while all else on the connection moves: no write waits for it, and nobody asks its body for more.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
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
    /// For a piece of an answer to be taken.
    pub taking: Duration,
}

#[derive(Clone, Debug)]
pub(super) struct Presence(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    doing: Doing,
    /// On HTTP/2 bytes come and go without a call, too.
    bytes_are_calls: bool,
    /// Of answers over HTTP/2, by the number of their call: since when there is a piece that was not taken.
    untaken: HashMap<u64, Instant>,
    calls: u64,
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
pub(super) struct UnderWay {
    presence: Presence,
    /// None where the connection itself tells when an answer is not taken.
    number: Option<u64>,
}

impl Presence {
    pub fn begin() -> Self {
        let doing = Doing::Head(Instant::now());
        Self(Arc::new(Mutex::new(State { doing, bytes_are_calls: false, untaken: HashMap::new(), calls: 0 })))
    }

    /// Something arrived.
    pub fn heard(&self) {
        let mut state = self.state();
        if let State { doing: Doing::Nothing(_), bytes_are_calls: true, .. } = *state {
            state.doing = Doing::Head(Instant::now());
        }
    }

    /// Something was taken: what is left of an answer whose call has ended here.
    pub fn took(&self) {
        let mut state = self.state();
        if let State { doing: Doing::Nothing(_), bytes_are_calls: true, .. } = *state {
            state.doing = Doing::Nothing(Instant::now());
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
        state.calls += 1;
        let number = (!state.bytes_are_calls).then_some(state.calls);
        UnderWay { presence: self.clone(), number }
    }

    /// Ends when the connection should.
    pub async fn overdue(self, limits: Limits) -> Cut {
        loop {
            // Whatever it does next cannot be overdue any sooner.
            let next_look = Instant::now() + limits.head.min(limits.idle).min(limits.taking);
            let (doing, untaken) = {
                let state = self.state();
                (state.doing, state.untaken.values().min().copied())
            };
            let (end, cut) = match (doing, untaken) {
                (Doing::Head(since), _) => (since + limits.head, Cut::SlowHead),
                (Doing::Nothing(since), _) => (since + limits.idle, Cut::Idle),
                (Doing::Calls(_), Some(since)) => (since + limits.taking, Cut::SlowReader),
                (Doing::Calls(_), None) => (next_look + limits.idle, Cut::Idle),
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

/// A frame of data is handed out in pieces of at most this: hyper asks for more once it has room for more, and so it is known how far the
/// caller is.
const PIECE: usize = 64 * 1024;

pin_project! {
    /// An answer's body, with the call that it ends.
    pub(super) struct Ending<B> {
        #[pin]
        body: B,
        // Of the last frame, what was not handed out yet.
        rest: Bytes,
        call: UnderWay,
    }
}

impl UnderWay {
    pub fn until_the_end_of<B>(self, body: B) -> Ending<B> {
        Ending { body, rest: Bytes::new(), call: self }
    }

    fn note(&self, untaken: Option<Instant>) {
        let Some(number) = self.number else { return };
        let mut state = self.presence.state();
        match untaken {
            Some(since) => state.untaken.insert(number, since),
            None => state.untaken.remove(&number),
        };
    }
}

impl<B: Body<Data = Bytes>> Body for Ending<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let this = self.project();
        this.call.note(None);
        let frame = if this.rest.is_empty() { ready!(this.body.poll_frame(cx)) } else { Some(Ok(Frame::data(std::mem::take(this.rest)))) };
        let frame = frame.map(|frame| {
            frame.map(|frame| {
                frame.map_data(|mut data| {
                    *this.rest = data.split_off(data.len().min(PIECE));
                    data
                })
            })
        });
        if frame.is_some() {
            this.call.note(Some(Instant::now()));
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let rest = self.rest.len() as u64;
        let (of_body, mut hint) = (self.body.size_hint(), SizeHint::default());
        hint.set_lower(of_body.lower().saturating_add(rest));
        if let Some(upper) = of_body.upper() {
            hint.set_upper(upper.saturating_add(rest));
        }
        hint
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.note(None);
        let mut state = self.presence.state();
        state.doing = match state.doing {
            Doing::Calls(others @ 2..) => Doing::Calls(others - 1),
            Doing::Calls(_) | Doing::Head(_) | Doing::Nothing(_) => Doing::Nothing(Instant::now()),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::{BodyExt, Full};
    use std::pin::pin;
    use tokio::time::{advance, sleep};

    const LIMITS: Limits = Limits { head: Duration::from_secs(30), idle: Duration::from_secs(75), taking: Duration::from_secs(60) };

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

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_is_not_taken_is_not_under_way_for_ever() {
        let presence = Presence::begin();
        let mut left = pin!(presence.call(Version::HTTP_2).until_the_end_of(Full::new(Bytes::from_static(b"nobody takes it"))));
        let mut taken = pin!(presence.call(Version::HTTP_2).until_the_end_of(Full::new(Bytes::from_static(b"somebody takes it"))));
        left.frame().await.unwrap().unwrap();
        taken.frame().await.unwrap().unwrap();
        assert!(taken.frame().await.is_none());
        assert_eq!(end(&presence).await, (Cut::SlowReader, 60));
        assert!(left.frame().await.is_none());
        advance(Duration::from_secs(300)).await;
        let ends = tokio::time::timeout(Duration::from_secs(1000), presence.clone().overdue(LIMITS)).await;
        assert!(ends.is_err(), "two that wait for their targets");
    }

    #[tokio::test]
    async fn what_is_left_of_an_answer_that_is_being_taken_is_no_idleness() {
        let presence = Presence::begin();
        drop(presence.call(Version::HTTP_11));
        let Doing::Nothing(before) = presence.state().doing else { panic!("it has ended") };
        tokio::time::pause();
        advance(Duration::from_secs(70)).await;
        presence.took();
        assert!(matches!(presence.state().doing, Doing::Nothing(since) if since > before));
    }

    #[tokio::test]
    async fn a_long_frame_goes_out_in_pieces_and_whole() {
        let long: Vec<u8> = (0..=u8::MAX).cycle().take(200_000).collect();
        let mut body = pin!(Presence::begin().call(Version::HTTP_11).until_the_end_of(Full::new(Bytes::from(long.clone()))));
        let mut got = Vec::new();
        while got.len() < long.len() {
            assert!(!body.is_end_stream());
            assert_eq!(body.size_hint().exact(), Some((long.len() - got.len()) as u64));
            let piece = body.frame().await.unwrap().unwrap().into_data().unwrap();
            assert!(piece.len() <= PIECE);
            got.extend_from_slice(&piece);
        }
        assert!(got == long && body.is_end_stream());
    }
}
