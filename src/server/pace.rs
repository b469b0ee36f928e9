//! A body that ends when it comes too slowly: whoever sends a byte a second would hold its call's place for as long as it likes.
//!
//! Only time counts in which somebody waits for the body, so a target that takes it slowly is not the caller's fault.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::BoxError;
use bytes::{Buf, Bytes};
use http_body::{Body, Frame, SizeHint};
use tokio::time::{Instant, Sleep, sleep_until};

use super::cut::{Cut, Impatience};
use super::presence::Presence;
use crate::settings::Pace;

pub(super) struct Paced<B> {
    body: B,
    pace: Option<Pace>,
    /// What is left of the time that may be waited for it. Bytes give time back, up to what there was at first.
    left: Duration,
    waiting_since: Option<Instant>,
    end: Option<Pin<Box<Sleep>>>,
    /// Nothing more comes of it.
    ended: bool,
    /// Whose body it is. Bodies of HTTP/2 come at once, and nobody asks which of them is whole.
    call: u64,
    /// Dropped behind the body: whoever finds it gone finds the body gone, too.
    presence: Presence,
}

impl<B> Paced<B> {
    pub fn new(body: B, pace: Option<Pace>, presence: Presence) -> Self {
        presence.has_body(true);
        let (left, call) = (pace.map_or(Duration::ZERO, |pace| pace.grace), presence.calls());
        Self { body, pace, left, waiting_since: None, end: None, ended: false, call, presence }
    }

    fn came(&mut self, bytes: usize) {
        let Some(pace) = self.pace else { return };
        let waited = self.waiting_since.take().map_or(Duration::ZERO, |since| since.elapsed());
        let earned = Duration::from_secs_f64(bytes as f64 / f64::from(pace.bytes_a_second.get()));
        self.left = (self.left.saturating_sub(waited) + earned).min(pace.grace);
    }

    /// Whether it has been waited for long enough.
    fn is_over(&mut self, cx: &mut Context<'_>) -> bool {
        if self.pace.is_none() {
            return false;
        }
        let wanted = self.waiting_since.get_or_insert_with(Instant::now);
        let over = *wanted + self.left;
        let end = self.end.get_or_insert_with(|| Box::pin(sleep_until(over)));
        if end.deadline() != over {
            end.as_mut().reset(over);
        }
        end.as_mut().poll(cx).is_ready()
    }
}

impl<B> Drop for Paced<B> {
    fn drop(&mut self) {
        self.presence.has_body(false);
    }
}

impl<B> Body for Paced<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.get_mut();
        if this.ended {
            return Poll::Ready(None);
        }
        match Pin::new(&mut this.body).poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => {
                this.came(frame.data_ref().map_or(0, Buf::remaining));
                if this.body.is_end_stream() {
                    this.presence.has_whole_body(this.call);
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(end) => {
                this.ended = true;
                Poll::Ready(end.map(|frame| frame.map_err(Into::into)))
            }
            Poll::Pending if this.is_over(cx) => {
                this.ended = true;
                Cut::SlowBody.count(this.presence.metrics());
                Poll::Ready(Some(Err(Impatience(Cut::SlowBody).into())))
            }
            Poll::Pending => Poll::Pending,
        }
    }

    fn is_end_stream(&self) -> bool {
        self.ended || self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::{BodyExt, StreamBody};
    use std::convert::Infallible;
    use std::num::NonZeroU32;
    use std::sync::Arc;
    use tokio::sync::mpsc;
    use tokio::time::sleep;

    const PACE: Pace = Pace { grace: Duration::from_secs(30), bytes_a_second: NonZeroU32::new(100).unwrap() };

    /// The seconds until a body ended that came in such pieces, and whether it was ended for being slow.
    async fn ended(pieces: usize, bytes: usize, every: Duration, taken_every: Duration) -> (u64, bool) {
        let (send, mut come) = mpsc::channel::<Bytes>(1);
        let body = StreamBody::new(futures_util::stream::poll_fn(move |cx| {
            come.poll_recv(cx).map(|piece| piece.map(|piece| Ok::<_, Infallible>(Frame::data(piece))))
        }));
        let mut body = Paced::new(body, Some(PACE), Presence::begin(Arc::default()));
        let begun = Instant::now();
        tokio::spawn(async move {
            for _ in 0..pieces {
                sleep(every).await;
                if send.send(Bytes::from(vec![0; bytes])).await.is_err() {
                    return;
                }
            }
        });
        loop {
            match body.frame().await {
                Some(Ok(_)) => sleep(taken_every).await,
                end => return (begun.elapsed().as_secs(), end.is_some()),
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_trickles_ends_and_one_that_flows_does_not() {
        let second = Duration::from_secs(1);
        for (name, pieces, bytes, every, expected) in [
            ("a byte a second", 10_000, 1, second, (30, true)),
            ("nothing at all", 1, 1, 1000 * second, (30, true)),
            ("half the pace", 10_000, 50, second, (60, true)),
            ("the pace", 200, 100, second, (200, false)),
            ("in bursts", 20, 3000, 29 * second, (580, false)),
            ("a burst, and nothing more", 2, 1_000_000, 40 * second, (30, true)),
        ] {
            let (took, slow) = ended(pieces, bytes, every, Duration::ZERO).await;
            assert!(slow == expected.1 && took.abs_diff(expected.0) <= 1, "{name}: {took} s, {slow}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_takes_it_slowly_has_nobody_else_to_blame() {
        let (took, slow) = ended(20, 1, Duration::ZERO, Duration::from_secs(60)).await;
        assert_eq!((took, slow), (20 * 60, false));
    }
}
