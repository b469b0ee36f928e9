//! Connections that carry one HTTP/1.1 call at a time, kept for the next call to the same address. What a target closes while it is kept
//! is noticed when a call takes it, and once a second. Only an answer that goes on arriving behind its head gets a task, which brings the
//! connection back.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use http::header::HOST;
use http::uri::PathAndQuery;
use http::{HeaderValue, Request, Response, Uri};
use hyper::body::Incoming;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep, timeout};

use super::dial::Connector;
use super::link::{Carried, Link};
use super::loss::{Lost, SendError};
use super::upload::{Patience, RequestBody};

/// Shorter than the shortest keep-alive in common use (five seconds), so that a target hardly ever closes a connection just as a call
/// is written to it: such a call may have been read, and could not be sent again.
pub(super) const IDLE: Duration = Duration::from_secs(4);
pub(super) const IDLE_PER_TARGET: usize = 256;
/// Fewer calls that have given up waiting than this are not worth taking out.
const WAITING: usize = 16;
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
    /// So many of them were still there when those that had given up were last taken out.
    still_waiting: usize,
    /// Whether a task looks after the idle ones.
    swept: bool,
}

/// An answer of which something is left. It is held by whoever reads it.
#[derive(Debug)]
pub(super) struct Arriving(Arc<()>);

struct Idle {
    link: Link,
    since: Instant,
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

    /// Sends a request, whose address is a path, and waits until its answer begins. What comes with the answer is to be held until it is
    /// over.
    pub async fn send(
        self: &Arc<Self>,
        mut request: Box<Request<RequestBody>>,
        patience: &Patience,
    ) -> Result<(Response<Incoming>, Option<Arriving>), Lost> {
        // A caller's own says how it called us, and does not go on.
        if let Some(host) = &self.host {
            request.headers_mut().append(HOST, host.clone());
        }
        loop {
            let (mut link, was_used) = match self.take() {
                Some(link) => (link, true),
                // In a box, for few calls need it, and all would carry it along.
                None => Box::pin(self.one_more(patience)).await?,
            };
            match link.carry(request, patience).await {
                Carried::Answered(response) => {
                    let arriving = self.release(link, patience.of_the_rest());
                    return Ok((response, arriving));
                }
                // No byte of it was written: the connection was dead before.
                Carried::Back(unsent, _) if was_used => request = unsent,
                Carried::Back(_, error) => return Err(SendError::Unstarted(error).into()),
                Carried::Lost(error) => return Err(SendError::Broken(error).into()),
                Carried::TooSlow => return Err(Lost::no_answer_in_time()),
            }
        }
    }

    /// One that is idle. It may be closed by now: that shows before it takes a request, and costs less than to look each time.
    fn take(&self) -> Option<Link> {
        let Idle { link, since } = self.lock().idle.pop()?;
        if since.elapsed() <= IDLE {
            return Some(link);
        }
        // All others are older still.
        let old = std::mem::take(&mut self.lock().idle);
        drop(old);
        None
    }

    /// A connection that is opened for a call, or one that becomes free before; and whether it has carried a call.
    async fn one_more(self: &Arc<Self>, patience: &Patience) -> Result<(Link, bool), Lost> {
        let mut opening = Box::pin(Link::open(self.connector.clone(), self.origin.clone()));
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
        link.keeps(timer);
        Ok((link, was_used))
    }

    fn wait(&self) -> oneshot::Receiver<Link> {
        let (sender, receiver) = oneshot::channel();
        let mut kept = self.lock();
        // Once as many have come as there were: each is looked at about twice, however many there are.
        if kept.waiting.len() >= 2 * kept.still_waiting.max(WAITING) {
            kept.waiting.retain(|waiting| !waiting.is_closed());
            kept.still_waiting = kept.waiting.len();
        }
        kept.waiting.push_back(sender);
        receiver
    }

    /// Behind a call, of which something may be left.
    fn release(self: &Arc<Self>, link: Link, standing_still: Duration) -> Option<Arriving> {
        if link.has_ended() {
            return None;
        }
        if link.is_free() {
            self.put(link);
            return None;
        }
        let arriving = Arriving(Arc::new(()));
        tokio::spawn(see_to_the_rest(link, Arc::downgrade(self), Arc::downgrade(&arriving.0), standing_still));
        Some(arriving)
    }

    /// Keeps it for the next call, or gives it to one that waits.
    fn put(self: &Arc<Self>, mut link: Link) {
        link.is_left();
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

/// The rest of the answer, or of the request, or another protocol; and the end of the connection, should it come to that. Whoever reads
/// the answer sees to it that it does not arrive for ever; a target that answers and then does not read what it is sent is left.
async fn see_to_the_rest(mut link: Link, links: Weak<Links>, answer: Weak<()>, standing_still: Duration) {
    loop {
        let driven = link.driven();
        match timeout(standing_still, link.is_done()).await {
            Ok(false) => return,
            Ok(true) => {
                if let Some(links) = links.upgrade() {
                    links.put(link);
                }
                return;
            }
            Err(_) if answer.strong_count() == 0 && link.driven() <= driven.wrapping_add(1) => return,
            Err(_) => {}
        }
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

/// What the header of that name says: the address without a port that goes without saying.
fn host(origin: &Uri) -> Option<HeaderValue> {
    let name = origin.host()?;
    let usual = if origin.scheme_str() == Some("https") { 443 } else { 80 };
    match origin.port().filter(|port| port.as_u16() != usual) {
        Some(port) => HeaderValue::try_from(format!("{name}:{}", port.as_str())).ok(),
        None => HeaderValue::from_str(name).ok(),
    }
}
