//! Connections that carry one HTTP/1.1 call at a time, kept for the next call to the same address. No task runs behind such a connection:
//! the call that uses it drives it, so that a call costs no switching between tasks, and while it is kept it is looked at when a call
//! takes it, and once a second. Only an answer that goes on arriving behind its head gets a task, which brings the connection back.

use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use http::header::HOST;
use http::uri::PathAndQuery;
use http::{HeaderValue, Request, Response, Uri};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use tokio::sync::oneshot;
use tokio::task::unconstrained;
use tokio::time::{Instant, Sleep, sleep};
use tower::ServiceExt;

use super::dial::Connector;
use super::loss::{Lost, SendError};
use super::upload::{Patience, RequestBody};

/// Shorter than the shortest keep-alive in common use (five seconds), so that a target hardly ever closes a connection just as a call
/// is written to it: such a call may have been read, and could not be sent again.
pub(super) const IDLE: Duration = Duration::from_secs(4);
pub(super) const IDLE_PER_TARGET: usize = 256;
/// Bounds the head of an answer, and how much of its body is held at once. hyper itself bounds the number of headers, at 100.
pub(super) const READ_BUFFER: usize = 64 * 1024;
/// How often kept connections are looked at: what a target has closed is not held for longer.
const SWEEP: Duration = Duration::from_secs(1);

/// The connections to one address.
pub(super) struct Links {
    connector: Connector,
    origin: Uri,
    host: Option<HeaderValue>,
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    /// The one used last at the end; calls take from there.
    idle: Vec<Idle>,
    /// Calls that have begun to open a connection, and take one that becomes free before.
    waiting: VecDeque<oneshot::Sender<Link>>,
    /// Whether a task looks after the idle ones.
    swept: bool,
}

struct Idle {
    link: Link,
    since: Instant,
}

/// One connection.
struct Link {
    sender: SendRequest<RequestBody>,
    /// Gone once it has ended.
    connection: Option<Pin<Box<dyn Future<Output = hyper::Result<()>> + Send>>>,
    /// For the time that its call has. It stays with the connection, for to put off a timer that runs costs next to nothing.
    timer: Option<Pin<Box<Sleep>>>,
}

impl Links {
    /// To where this address is, whatever its path.
    pub fn new(connector: Connector, url: &Uri) -> Arc<Self> {
        let mut parts = url.clone().into_parts();
        parts.path_and_query = Some(PathAndQuery::from_static("/"));
        // An address that is none leads nowhere, which the connector says.
        let origin = Uri::from_parts(parts).unwrap_or_default();
        Arc::new(Self { connector, host: host(&origin), origin, kept: Mutex::default() })
    }

    /// Sends a request, whose address is a path, and waits until its answer begins.
    pub async fn send(self: &Arc<Self>, mut request: Request<RequestBody>, patience: &Patience) -> Result<Response<Incoming>, Lost> {
        if let Some(host) = &self.host {
            request.headers_mut().insert(HOST, host.clone());
        }
        loop {
            let (mut link, was_used) = match self.take() {
                Some(link) => (link, true),
                // In a box, for few calls need it, and all would carry it along.
                None => Box::pin(self.one_more(patience)).await?,
            };
            match link.carry(request, patience).await {
                Carried::Answered(response) => {
                    self.release(link);
                    return Ok(response);
                }
                // No byte of it was written: the connection was dead before.
                Carried::Back(unsent, _) if was_used => request = *unsent,
                Carried::Back(_, error) => return Err(SendError::Unstarted(error).into()),
                Carried::Lost(error) => return Err(SendError::Broken(error).into()),
                Carried::TooSlow => return Err(Lost::no_answer_in_time()),
            }
        }
    }

    /// One that is idle, and not closed as far as can be known.
    fn take(&self) -> Option<Link> {
        loop {
            let Idle { mut link, since } = self.lock().idle.pop()?;
            if since.elapsed() > IDLE {
                // All others are older still.
                let old = std::mem::take(&mut self.lock().idle);
                drop(old);
                return None;
            }
            if link.is_open() {
                return Some(link);
            }
        }
    }

    /// A connection that is opened for a call, or one that becomes free before; and whether it has carried a call.
    async fn one_more(self: &Arc<Self>, patience: &Patience) -> Result<(Link, bool), Lost> {
        let mut opening = Box::pin(open(self.connector.clone(), self.origin.clone()));
        let mut timer = None;
        let (mut link, was_used) = tokio::select! {
            biased;
            Ok(link) = self.wait() => {
                // The one that is being opened will serve another call.
                let links = Arc::downgrade(self);
                tokio::spawn(async move {
                    if let (Ok(link), Some(links)) = (opening.await, links.upgrade()) {
                        links.put(link);
                    }
                });
                return Ok((link, true));
            }
            opened = &mut opening => (opened?, false),
            () = patience.over(&mut timer) => return Err(Lost::no_answer_in_time()),
        };
        link.timer = timer;
        Ok((link, was_used))
    }

    fn wait(&self) -> oneshot::Receiver<Link> {
        let (sender, receiver) = oneshot::channel();
        let mut kept = self.lock();
        kept.waiting.retain(|waiting| !waiting.is_closed());
        kept.waiting.push_back(sender);
        receiver
    }

    /// Behind a call.
    fn release(self: &Arc<Self>, mut link: Link) {
        if link.connection.is_none() {
            return;
        }
        if link.sender.is_ready() {
            return self.put(link);
        }
        // The rest of the answer, or of the request, or another protocol; and the end of the connection, should it come to that.
        let links = Arc::downgrade(self);
        tokio::spawn(async move {
            let is_free = poll_fn(|cx| match link.poll(cx) {
                Poll::Ready(_) => Poll::Ready(false),
                Poll::Pending if link.sender.is_ready() => Poll::Ready(true),
                Poll::Pending => Poll::Pending,
            });
            if is_free.await
                && let Some(links) = links.upgrade()
            {
                links.put(link);
            }
        });
    }

    /// Keeps it for the next call, or gives it to one that waits.
    fn put(self: &Arc<Self>, mut link: Link) {
        let since = Instant::now();
        let mut kept = self.lock();
        while let Some(waiting) = kept.waiting.pop_front() {
            match waiting.send(link) {
                Ok(()) => return,
                Err(back) => link = back,
            }
        }
        if kept.idle.len() >= IDLE_PER_TARGET {
            return;
        }
        kept.idle.push(Idle { link, since });
        if !std::mem::replace(&mut kept.swept, true) {
            tokio::spawn(sweep(Arc::downgrade(self)));
        }
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Lets go of what was idle for too long, and of what the target has closed, for as long as anything is kept.
async fn sweep(links: Weak<Links>) {
    loop {
        sleep(SWEEP).await;
        let Some(links) = links.upgrade() else { return };
        let mut kept = links.lock();
        kept.idle.retain_mut(|Idle { link, since }| since.elapsed() <= IDLE && link.is_open());
        if kept.idle.is_empty() {
            kept.swept = false;
            return;
        }
    }
}

async fn open(connector: Connector, origin: Uri) -> Result<Link, SendError> {
    let wire = connector.oneshot(origin).await.map_err(SendError::Connect)?;
    let handshake = http1::Builder::new().max_buf_size(READ_BUFFER).handshake(wire).await;
    let (sender, connection) = handshake.map_err(SendError::Broken)?;
    let mut link = Link { sender, connection: Some(Box::pin(connection.with_upgrades())), timer: None };
    // Whoever speaks before it is asked does not speak HTTP.
    let ready = poll_fn(|cx| match link.poll(cx) {
        Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
        Poll::Ready(Ok(())) | Poll::Pending => link.sender.poll_ready(cx),
    });
    ready.await.map_err(SendError::Broken)?;
    Ok(link)
}

/// What became of a request on a connection.
enum Carried {
    Answered(Response<Incoming>),
    /// It was not begun.
    Back(Box<Request<RequestBody>>, hyper::Error),
    Lost(hyper::Error),
    TooSlow,
}

impl Link {
    /// Drives the connection. It is ready once the connection has ended.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<hyper::Result<()>> {
        let Some(connection) = &mut self.connection else { return Poll::Ready(Ok(())) };
        let polled = connection.as_mut().poll(cx);
        if polled.is_ready() {
            // With it goes what it still owes, so that nobody waits for that.
            self.connection = None;
        }
        polled
    }

    /// Of one that is kept. Whoever used it last is not to be woken for it any more, and nobody else yet.
    fn is_open(&mut self) -> bool {
        self.poll(&mut Context::from_waker(Waker::noop())).is_pending() && self.sender.is_ready()
    }

    async fn carry(&mut self, request: Request<RequestBody>, patience: &Patience) -> Carried {
        // It becomes ready while the connection is driven, here and nowhere else: looked at behind that, without a budget that could
        // keep the answer from being seen, it has nobody to wake.
        let mut answered = pin!(unconstrained(self.sender.try_send_request(request)));
        let mut timer = self.timer.take();
        let answered = {
            let mut over = pin!(patience.over(&mut timer));
            poll_fn(|cx| {
                let _ended = self.poll(cx);
                match answered.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
                    Poll::Ready(answered) => Poll::Ready(Some(answered)),
                    Poll::Pending => over.as_mut().poll(cx).map(|()| None),
                }
            })
            .await
        };
        self.timer = timer;
        match answered {
            Some(Ok(response)) => Carried::Answered(response),
            Some(Err(mut error)) => match error.take_message() {
                Some(request) => Carried::Back(Box::new(request), error.into_error()),
                None => Carried::Lost(error.into_error()),
            },
            None => Carried::TooSlow,
        }
    }
}

/// What the header of that name says: the address without a port that goes without saying.
fn host(origin: &Uri) -> Option<HeaderValue> {
    let name = origin.host()?;
    let usual = if origin.scheme_str() == Some("https") { 443 } else { 80 };
    match origin.port().filter(|port| port.as_u16() != usual) {
        Some(port) => HeaderValue::try_from(format!("{name}:{}", port.as_str())).ok(),
        None => HeaderValue::from_str(name).ok(),
    }
}
