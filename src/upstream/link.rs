//! One HTTP/1.1 connection. No task runs behind it: the call that it carries drives it, so that a call costs no switching between tasks.
//! While it is kept nobody does; that something happened on it is remembered until somebody looks.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use futures_util::task::AtomicWaker;
use http::{Request, Response, Uri};
use hyper::body::Incoming;
use hyper::client::conn::TrySendError;
use hyper::client::conn::http1::{self, SendRequest};
use tokio::task::unconstrained;
use tokio::time::Sleep;
use tower::ServiceExt;

use super::dial::Connector;
use super::loss::SendError;
use super::upload::{Patience, RequestBody};

/// Bounds the head of an answer, and how much of its body is held at once. hyper itself bounds the number of headers, at 100.
pub(super) const READ_BUFFER: usize = 64 * 1024;
/// How often in a row a connection is driven on that has more to do each time, before others get their turn.
const ROUNDS: usize = 4;

pub(super) struct Link {
    sender: SendRequest<RequestBody>,
    /// Gone once it has ended.
    connection: Option<Pin<Box<dyn Future<Output = hyper::Result<()>> + Send>>>,
    bell: Arc<Bell>,
    /// The same, as the connection needs it.
    waker: Waker,
    /// For the time that its call has. It stays with the connection, for to put off a timer that runs costs next to nothing.
    timer: Option<Pin<Box<Sleep>>>,
    /// How often it was driven on.
    driven: u64,
}

/// What a connection calls whoever drives it with. It is the same for all calls that it carries, so nothing has to be told of a new one,
/// and it wakes nobody whose call is over.
#[derive(Default)]
struct Bell {
    rung: AtomicBool,
    listener: AtomicWaker,
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.rung.store(true, Ordering::Release);
        self.listener.wake();
    }
}

/// What became of a request on a connection.
pub(super) enum Carried {
    Answered(Response<Incoming>),
    /// It was not begun.
    Back(Box<Request<RequestBody>>, hyper::Error),
    Lost(hyper::Error),
    TooSlow,
}

impl Carried {
    fn of(answered: Result<Response<Incoming>, TrySendError<Request<RequestBody>>>) -> Self {
        match answered {
            Ok(response) => Self::Answered(response),
            Err(mut error) => match error.take_message() {
                Some(request) => Self::Back(Box::new(request), error.into_error()),
                None => Self::Lost(error.into_error()),
            },
        }
    }
}

impl Link {
    pub async fn open(connector: Connector, origin: Uri) -> Result<Self, SendError> {
        let wire = connector.oneshot(origin).await.map_err(SendError::Connect)?;
        let handshake = http1::Builder::new().max_buf_size(READ_BUFFER).handshake(wire).await;
        let (sender, connection) = handshake.map_err(SendError::Opening)?;
        let bell = Arc::new(Bell::default());
        let waker = Waker::from(Arc::clone(&bell));
        let mut link = Self { sender, connection: Some(Box::pin(connection.with_upgrades())), bell, waker, timer: None, driven: 0 };
        link.ring();
        // Whoever speaks before it is asked does not speak HTTP.
        let ready = poll_fn(|cx| {
            link.drive(cx, |link, polled| match polled {
                Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
                Poll::Ready(Ok(())) | Poll::Pending => link.sender.poll_ready(&mut nobody()),
            })
        });
        ready.await.map_err(SendError::Opening)?;
        Ok(link)
    }

    pub async fn carry(&mut self, request: Box<Request<RequestBody>>, patience: &Patience) -> Carried {
        // It becomes ready while the connection is driven, here and nowhere else, so it has nobody to wake; and it must not be kept from
        // being seen by a budget that is used up.
        let mut answered = pin!(unconstrained(self.sender.try_send_request(*request)));
        self.ring();
        let mut timer = self.timer.take();
        let carried = {
            // Driving may use the task's budget up each time, and the time is to be up all the same.
            let mut over = pin!(unconstrained(patience.over(&mut timer)));
            poll_fn(|cx| match self.drive(cx, |_, _| answered.as_mut().poll(&mut nobody()).map(Carried::of)) {
                Poll::Ready(carried) => Poll::Ready(carried),
                Poll::Pending => over.as_mut().poll(cx).map(|()| Carried::TooSlow),
            })
            .await
        };
        self.timer = timer;
        carried
    }

    /// Until its call has nothing more to do with it: whether it can carry another.
    pub async fn is_done(&mut self) -> bool {
        self.ring();
        poll_fn(|cx| {
            self.drive(cx, |link, polled| match polled {
                Poll::Ready(_) => Poll::Ready(false),
                Poll::Pending if link.is_free() => Poll::Ready(true),
                Poll::Pending => Poll::Pending,
            })
        })
        .await
    }

    /// Grows with whatever happens on it, and once each time that somebody begins to look after it.
    pub fn driven(&self) -> u64 {
        self.driven
    }

    pub fn has_ended(&self) -> bool {
        self.connection.is_none()
    }

    /// Whether nothing is under way on it.
    pub fn is_free(&self) -> bool {
        self.sender.is_ready()
    }

    /// Of one that is kept: whether it can carry a call, as far as can be known.
    pub fn is_open(&mut self) -> bool {
        !self.is_rung() || self.poll().is_pending() && self.is_free()
    }

    fn is_rung(&self) -> bool {
        self.bell.rung.load(Ordering::Acquire)
    }

    fn ring(&self) {
        self.bell.rung.store(true, Ordering::Release);
    }

    /// By its call.
    pub fn is_left(&self) {
        drop(self.bell.listener.take());
    }

    /// A timer that has run for this call, and goes on with it.
    pub fn keeps(&mut self, timer: Option<Pin<Box<Sleep>>>) {
        self.timer = timer;
    }

    /// Drives it as far as it goes now, or until this says that it has gone far enough. To be rung before it is driven for another end.
    fn drive<T>(&mut self, cx: &mut Context<'_>, mut far_enough: impl FnMut(&mut Self, Poll<hyper::Result<()>>) -> Poll<T>) -> Poll<T> {
        for _ in 0..ROUNDS {
            // Whoever drives it is asked for other reasons, too.
            if self.is_rung() {
                let polled = self.poll();
                if let Poll::Ready(far_enough) = far_enough(self, polled) {
                    return Poll::Ready(far_enough);
                }
            }
            self.bell.listener.register(cx.waker());
            if !self.is_rung() {
                return Poll::Pending;
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// It is ready once the connection has ended.
    fn poll(&mut self) -> Poll<hyper::Result<()>> {
        let Some(connection) = &mut self.connection else { return Poll::Ready(Ok(())) };
        self.bell.rung.swap(false, Ordering::AcqRel);
        self.driven = self.driven.wrapping_add(1);
        let polled = connection.as_mut().poll(&mut Context::from_waker(&self.waker));
        if polled.is_ready() {
            // With it goes what it still owes, so that nobody waits for that.
            self.connection = None;
        }
        polled
    }
}

/// To look at what nobody is to be woken for.
fn nobody() -> Context<'static> {
    Context::from_waker(Waker::noop())
}
