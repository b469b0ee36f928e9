//! A connection that ends when its peer stands still: one that does not read its answer, one that is left open.
//!
//! How long a connection may do without a call is bounded in [`super::presence`]; here, what goes out and what is just kept, so that
//! peers who stand still cannot hold every seat.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep};

use super::cut::{Cut, Impatience};
use super::presence::Presence;
use crate::telemetry::metrics::Metrics;

/// How long each kind of standing still may last.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// For the peer to take what is written to it.
    pub write: Duration,
    /// Without a byte in either direction.
    pub idle: Duration,
}

/// The stream, with its peer's clock running, and what is kept for as long as it is open: an upgraded connection outlives the server's.
#[derive(Debug)]
pub struct Watched<S, K> {
    stream: S,
    _kept: K,
    presence: Presence,
    patience: Patience,
    metrics: Arc<Metrics>,
    last: Instant,
    reading: Alarm,
    writing: Alarm,
    stuck: bool,
}

impl<S, K> Watched<S, K> {
    pub fn new(stream: S, presence: Presence, patience: Patience, metrics: Arc<Metrics>, kept: K) -> Self {
        let (reading, writing) = (Alarm::after(patience.idle), Alarm::after(patience.write));
        Self { stream, _kept: kept, presence, patience, metrics, last: Instant::now(), reading, writing, stuck: false }
    }

    /// Counted here: of the error that a stream ends with, HTTP/2 keeps only the words, and of an upgraded one nobody is told.
    fn cut(&self, cut: Cut) -> io::Error {
        cut.count(&self.metrics);
        Impatience(cut).into()
    }

    /// What a write came to, or the end of patience with a peer that does not take it.
    fn written<T>(&mut self, written: Poll<io::Result<T>>, cx: &mut Context<'_>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.stuck = false;
            self.last = Instant::now();
            self.presence.took();
            return written;
        }
        if !self.stuck {
            self.stuck = true;
            self.writing.set(Instant::now() + self.patience.write);
        }
        ready!(self.writing.poll(cx));
        Poll::Ready(Err(self.cut(Cut::SlowReader)))
    }
}

/// A timer that is asked far more often than it goes off, and mostly by the same task: once it knows whom to wake, it is left alone.
#[derive(Debug)]
struct Alarm {
    timer: Pin<Box<Sleep>>,
    wakes: Option<Waker>,
}

impl Alarm {
    fn after(long: Duration) -> Self {
        Self { timer: Box::pin(sleep(long)), wakes: None }
    }

    fn set(&mut self, at: Instant) {
        self.timer.as_mut().reset(at);
        self.wakes = None;
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let knows = self.wakes.as_ref().is_some_and(|waker| waker.will_wake(cx.waker()));
        if knows && !self.timer.is_elapsed() {
            return Poll::Pending;
        }
        self.wakes = Some(cx.waker().clone());
        self.timer.as_mut().poll(cx)
    }
}

impl<S: AsyncRead + Unpin, K: Unpin> AsyncRead for Watched<S, K> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if let Poll::Ready(read) = Pin::new(&mut this.stream).poll_read(cx, buffer) {
            this.last = Instant::now();
            this.presence.heard();
            return Poll::Ready(read);
        }
        loop {
            ready!(this.reading.poll(cx));
            let end = this.last + this.patience.idle;
            if end <= Instant::now() {
                return Poll::Ready(Err(this.cut(Cut::Still)));
            }
            this.reading.set(end);
        }
    }
}

impl<S: AsyncWrite + Unpin, K: Unpin> AsyncWrite for Watched<S, K> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.stream).poll_write(cx, bytes);
        this.written(written, cx)
    }

    fn poll_write_vectored(self: Pin<&mut Self>, cx: &mut Context<'_>, slices: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.stream).poll_write_vectored(cx, slices);
        this.written(written, cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::poll_fn;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
    use tokio::time::timeout;

    const PATIENCE: Patience = Patience { write: Duration::from_secs(60), idle: Duration::from_secs(900) };

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_does_not_read_is_let_go() {
        let (ours, _theirs) = duplex(4);
        let mut ours = Watched::new(ours, Presence::begin(), PATIENCE, Arc::default(), ());
        let began = Instant::now();
        let error = ours.write_all(b"more than fits").await.unwrap_err();
        assert_eq!((error.kind(), began.elapsed().as_secs()), (io::ErrorKind::TimedOut, 60));
    }

    /// Whoever asked last is woken, as by any timer.
    #[tokio::test(start_paused = true)]
    async fn an_alarm_goes_off_for_whoever_asked_last_and_not_before_its_time() {
        let mut alarm = Alarm::after(Duration::from_secs(60));
        for (waits, goes_off) in [(59, false), (1, true)] {
            // Each of these is another task.
            let asked = tokio::spawn(async move {
                let began = Instant::now();
                let over = timeout(Duration::from_secs(waits), poll_fn(|cx| alarm.poll(cx))).await.is_ok();
                (alarm, over, began.elapsed())
            });
            let (back, over, took) = asked.await.unwrap();
            assert_eq!((over, took.as_secs()), (goes_off, waits));
            alarm = back;
        }
        alarm.set(Instant::now() + Duration::from_secs(60));
        let began = Instant::now();
        poll_fn(|cx| alarm.poll(cx)).await;
        assert_eq!(began.elapsed().as_secs(), 60);
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_in_use_lives_on_and_an_idle_one_ends() {
        let (ours, mut theirs) = duplex(1024);
        let mut ours = Watched::new(ours, Presence::begin(), PATIENCE, Arc::default(), ());
        let mut buffer = [0; 24];
        for _ in 0..3 {
            theirs.write_all(&[b'x'; 24]).await.unwrap();
            ours.read_exact(&mut buffer).await.unwrap();
            tokio::time::advance(Duration::from_secs(800)).await;
            ours.write_all(b"y").await.unwrap();
        }
        let began = Instant::now();
        let error = ours.read_exact(&mut buffer).await.unwrap_err();
        assert_eq!((error.kind(), began.elapsed().as_secs()), (io::ErrorKind::TimedOut, 900));
    }
}
