//! Reading only where there may be something to read. The HTTP library looks for more whenever it looks at a connection, some five times
//! a call, and each look takes a lock and a place in a queue. Here one that found nothing counts until the connection says something.

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

use hyper::rt::{Read, ReadBufCursor, Write};

use super::dial::Wire;

pub(super) struct Listening {
    wire: Wire,
    ear: Arc<Ear>,
    /// The same. The wire is never shown another, whatever it is asked: whatever it has to say, reading is tried again.
    waker: Waker,
    /// Who asked last. Nearly always it is the same.
    listener: Waker,
}

struct Ear {
    /// Whether there may be something to read.
    heard: AtomicBool,
    listener: Mutex<Waker>,
}

impl Ear {
    fn listener(&self) -> MutexGuard<'_, Waker> {
        self.listener.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Wake for Ear {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.heard.store(true, Ordering::Release);
        let listener = self.listener().clone();
        listener.wake();
    }
}

impl Listening {
    pub fn to(wire: Wire) -> Self {
        let ear = Arc::new(Ear { heard: AtomicBool::new(true), listener: Mutex::new(Waker::noop().clone()) });
        Self { wire, waker: Waker::from(Arc::clone(&ear)), ear, listener: Waker::noop().clone() }
    }

    /// The wire, and what it is to be asked with by whoever asks.
    fn asked(&mut self, cx: &Context<'_>) -> (Pin<&mut Wire>, Context<'_>) {
        if !self.listener.will_wake(cx.waker()) {
            self.listener.clone_from(cx.waker());
            self.ear.listener().clone_from(cx.waker());
        }
        (Pin::new(&mut self.wire), Context::from_waker(&self.waker))
    }
}

impl Read for Listening {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        // Whoever asks is known before this is looked at, so nothing is missed in between.
        self.asked(cx);
        if !self.ear.heard.swap(false, Ordering::AcqRel) {
            return Poll::Pending;
        }
        let (wire, mut asked) = self.asked(cx);
        let read = wire.poll_read(&mut asked, buf);
        if read.is_ready() {
            // There may be more.
            self.ear.heard.store(true, Ordering::Release);
        }
        read
    }
}

impl Write for Listening {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let (wire, mut asked) = self.asked(cx);
        wire.poll_write(&mut asked, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let (wire, mut asked) = self.asked(cx);
        wire.poll_flush(&mut asked)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let (wire, mut asked) = self.asked(cx);
        wire.poll_shutdown(&mut asked)
    }

    fn is_write_vectored(&self) -> bool {
        self.wire.is_write_vectored()
    }

    fn poll_write_vectored(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bufs: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let (wire, mut asked) = self.asked(cx);
        wire.poll_write_vectored(&mut asked, bufs)
    }
}
