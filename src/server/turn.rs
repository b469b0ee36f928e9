//! How long a connection that has something to do waits until it is its turn. When more arrives than can be done, this is what
//! grows first, and it grows with nothing else: not with slow targets, and not with connections that only wait.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use pin_project_lite::pin_project;
use tokio::time::Instant;

/// The last wait of one connection, for those who serve it.
#[derive(Clone, Debug)]
pub(super) struct Waited(Arc<Clock>);

#[derive(Debug)]
struct Clock {
    begun: Instant,
    /// When there was something to do first, in nanoseconds since the beginning and one; 0 while there is nothing.
    called: AtomicU64,
    waited: AtomicU64,
}

pin_project! {
    /// Does what the future does, and notes how long it waited each time.
    pub(super) struct Timed<F> {
        #[pin]
        future: F,
        clock: Arc<Clock>,
        waker: Option<Called>,
    }
}

struct Called {
    /// Who is called in the end.
    whom: Waker,
    waker: Waker,
}

struct Note {
    clock: Arc<Clock>,
    whom: Waker,
}

impl Waited {
    /// A connection has been accepted: it waits for its first turn.
    pub fn begin() -> Self {
        let clock = Clock { begun: Instant::now(), called: AtomicU64::new(0), waited: AtomicU64::new(0) };
        clock.call();
        Self(Arc::new(clock))
    }

    pub fn last(&self) -> Duration {
        Duration::from_nanos(self.0.waited.load(Ordering::Relaxed))
    }

    pub fn time<F>(&self, future: F) -> Timed<F> {
        Timed { future, clock: Arc::clone(&self.0), waker: None }
    }
}

impl Clock {
    fn now(&self) -> u64 {
        u64::try_from(self.begun.elapsed().as_nanos()).unwrap_or(u64::MAX - 1) + 1
    }

    fn call(&self) {
        // The first call counts: whatever comes after it waits for the same turn.
        if self.called.load(Ordering::Relaxed) == 0 {
            self.called.store(self.now(), Ordering::Relaxed);
        }
    }

    fn turn(&self) {
        let called = self.called.swap(0, Ordering::Relaxed);
        let waited = if called == 0 { 0 } else { self.now().saturating_sub(called) };
        self.waited.store(waited, Ordering::Relaxed);
    }
}

impl Wake for Note {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.clock.call();
        self.whom.wake_by_ref();
    }
}

impl<F: Future> Future for Timed<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        this.clock.turn();
        let waker = match this.waker {
            Some(called) if called.whom.will_wake(cx.waker()) => &called.waker,
            other => {
                let note = Note { clock: Arc::clone(this.clock), whom: cx.waker().clone() };
                &other.insert(Called { whom: cx.waker().clone(), waker: Waker::from(Arc::new(note)) }).waker
            }
        };
        this.future.poll(&mut Context::from_waker(waker))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;
    use std::pin::pin;
    use std::task::ready;
    use tokio::sync::mpsc;
    use tokio::time::advance;

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn the_wait_is_from_the_first_call_to_the_turn() {
        let waited = Waited::begin();
        let (send, mut come) = mpsc::channel(10);
        let mut timed = pin!(waited.time(std::future::poll_fn(|cx| {
            while ready!(come.poll_recv(cx)).is_some() {}
            Poll::Ready(())
        })));
        let mut turn = || timed.as_mut().now_or_never();
        advance(5 * SECOND).await;
        assert_eq!((turn(), waited.last()), (None, 5 * SECOND), "since it was accepted");

        advance(60 * SECOND).await;
        assert_eq!((turn(), waited.last()), (None, Duration::ZERO), "it had nothing to do");

        for _ in 0..3 {
            send.try_send(()).unwrap();
            advance(SECOND).await;
        }
        assert_eq!((turn(), waited.last()), (None, 3 * SECOND));

        drop(send);
        advance(SECOND).await;
        assert_eq!((turn(), waited.last()), (Some(()), SECOND));
    }
}
