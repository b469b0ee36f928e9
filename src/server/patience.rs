//! A connection that ends when its peer stands still: one that does not read its answer, one that is left open.
//!
//! How long a connection may do without a call is bounded in [`super::presence`]; here, what goes out and what is just kept, so that
//! peers who stand still cannot hold every seat.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

use super::alarm::Alarm;
use super::cut::{Cut, Impatience};
use super::ear::Ear;
use super::presence::Presence;

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
    kept: K,
    /// What was read from it already, and comes first.
    early: Bytes,
    presence: Presence,
    /// None where hyper is driven without one.
    ear: Option<Arc<Ear>>,
    patience: Patience,
    last: Instant,
    // None until somebody waits: few connections wait for long.
    reading: Option<Alarm>,
    writing: Option<Alarm>,
    stuck: bool,
}

impl<S, K> Watched<S, K> {
    pub fn new(stream: S, early: Bytes, presence: Presence, ear: Option<Arc<Ear>>, patience: Patience, kept: K) -> Self {
        Self { stream, kept, early, presence, ear, patience, last: Instant::now(), reading: None, writing: None, stuck: false }
    }

    pub fn into_parts(self) -> (S, K) {
        (self.stream, self.kept)
    }

    /// Counted here: of the error that a stream ends with, HTTP/2 keeps only the words, and of an upgraded one nobody is told.
    fn cut(&self, cut: Cut) -> io::Error {
        cut.count(self.presence.metrics());
        Impatience(cut).into()
    }

    /// What a write came to, or the end of patience with a peer that does not take it.
    fn written<T>(&mut self, written: Poll<io::Result<T>>, cx: &mut Context<'_>) -> Poll<io::Result<T>> {
        self.presence.owes();
        if written.is_ready() {
            self.stuck = false;
            self.last = Instant::now();
            self.presence.took(self.last);
            return written;
        }
        let writing = if self.stuck { None } else { Some(Instant::now() + self.patience.write) };
        self.stuck = true;
        ready!(poll_alarm(&mut self.writing, writing, &mut overheard(&self.ear, cx)));
        Poll::Ready(Err(self.cut(Cut::SlowReader)))
    }
}

/// For whom the stream is polled, where hyper passes on whom it is driven with.
fn overheard<'a>(ear: &'a Option<Arc<Ear>>, cx: &'a Context<'_>) -> Context<'a> {
    Context::from_waker(ear.as_ref().map_or(cx.waker(), |ear| ear.behind(cx.waker())))
}

/// Set to this end, if there is a new one.
fn poll_alarm(alarm: &mut Option<Alarm>, end: Option<Instant>, cx: &mut Context<'_>) -> Poll<()> {
    match (alarm.as_mut(), end) {
        (Some(alarm), Some(end)) => alarm.set(end),
        (None, Some(end)) => *alarm = Some(Alarm::at(end)),
        (_, None) => {}
    }
    alarm.as_mut().map_or(Poll::Pending, |alarm| alarm.poll(cx))
}

impl<S: AsyncRead + Unpin, K: Unpin> AsyncRead for Watched<S, K> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let cx = &mut overheard(&this.ear, cx);
        if !this.early.is_empty() {
            let early = this.early.split_to(this.early.len().min(buffer.remaining()));
            buffer.put_slice(&early);
            return Poll::Ready(Ok(()));
        }
        if let Poll::Ready(read) = Pin::new(&mut this.stream).poll_read(cx, buffer) {
            this.last = Instant::now();
            this.presence.heard(this.last);
            return Poll::Ready(read);
        }
        this.presence.waits();
        if this.reading.is_none() {
            this.reading = Some(Alarm::at(this.last + this.patience.idle));
        }
        loop {
            ready!(poll_alarm(&mut this.reading, None, cx));
            let end = this.last + this.patience.idle;
            if end <= Instant::now() {
                return Poll::Ready(Err(this.cut(Cut::Still)));
            }
            if let Some(reading) = &mut this.reading {
                reading.set(end);
            }
        }
    }
}

impl<S: AsyncWrite + Unpin, K: Unpin> AsyncWrite for Watched<S, K> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.stream).poll_write(&mut overheard(&this.ear, cx), bytes);
        this.written(written, cx)
    }

    fn poll_write_vectored(self: Pin<&mut Self>, cx: &mut Context<'_>, slices: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.stream).poll_write_vectored(&mut overheard(&this.ear, cx), slices);
        this.written(written, cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let flushed = Pin::new(&mut this.stream).poll_flush(&mut overheard(&this.ear, cx));
        if let Poll::Ready(Ok(())) = flushed {
            this.presence.owes_nothing();
        }
        flushed
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        // Until it has ended it is not at rest, however little there is to write.
        this.presence.owes();
        Pin::new(&mut this.stream).poll_shutdown(&mut overheard(&this.ear, cx))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    const PATIENCE: Patience = Patience { write: Duration::from_secs(60), idle: Duration::from_secs(900) };

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_does_not_read_is_let_go() {
        let (ours, _theirs) = duplex(4);
        let mut ours = Watched::new(ours, Bytes::new(), Presence::begin(Arc::default()), None, PATIENCE, ());
        let began = Instant::now();
        let error = ours.write_all(b"more than fits").await.unwrap_err();
        assert_eq!((error.kind(), began.elapsed().as_secs()), (io::ErrorKind::TimedOut, 60));
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_in_use_lives_on_and_an_idle_one_ends() {
        let (ours, mut theirs) = duplex(1024);
        let mut ours = Watched::new(ours, Bytes::new(), Presence::begin(Arc::default()), None, PATIENCE, ());
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
