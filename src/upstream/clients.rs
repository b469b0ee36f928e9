//! The HTTP clients: one for each way in which targets are reached, each with connections of its own. What was opened for one target's
//! certificates is never used for another's.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioTimer};

use super::dial::{Connector, Dial, Dialler};
use super::upload::RequestBody;
use crate::policy::{Link, Protocol, Targets};

/// Shorter than the shortest keep-alive in common use (five seconds), so that a target hardly ever closes a connection just as a call
/// is written to it: such a call may have been read, and could not be sent again.
const POOL_IDLE: Duration = Duration::from_secs(4);
const POOL_IDLE_PER_TARGET: usize = 256;
/// Bounds the head of an answer, and how much of its body is held at once. hyper itself bounds the number of headers, at 100.
const READ_BUFFER: usize = 64 * 1024;
/// The same for the head of an answer over HTTP/2.
const HEAD: u32 = 64 * 1024;
/// A connection that carries every call of a target must not be dead for long without anybody noticing.
const PING: Duration = Duration::from_secs(10);

pub(super) type HttpClient = Client<Connector, RequestBody>;

pub(super) struct Clients {
    dialler: Dialler,
    /// For targets of which policy says nothing.
    usual: Arc<HttpClient>,
    others: ArcSwap<HashMap<Link, Arc<HttpClient>>>,
}

impl Clients {
    pub fn new(dial: Dial) -> Self {
        let dialler = Dialler::new(dial);
        Self { usual: Arc::new(client(&dialler, &Link::default())), dialler, others: ArcSwap::default() }
    }

    /// For every link of these targets a client: those there are stay, with their connections; those nobody needs any more go.
    pub fn follow(&self, targets: &Targets) {
        let before = self.others.load_full();
        let mut after: HashMap<Link, Arc<HttpClient>> = HashMap::new();
        for target in targets.by_name.values().filter(|target| target.link != Link::default()) {
            let kept = || before.get(&target.link).cloned();
            after.entry(target.link.clone()).or_insert_with(|| kept().unwrap_or_else(|| Arc::new(client(&self.dialler, &target.link))));
        }
        self.others.store(Arc::new(after));
    }

    pub fn of(&self, link: &Link) -> Arc<HttpClient> {
        if *link == Link::default() {
            return Arc::clone(&self.usual);
        }
        // A call that began under a policy that is gone goes by connections of its own.
        self.others.load().get(link).cloned().unwrap_or_else(|| Arc::new(client(&self.dialler, link)))
    }
}

fn client(dialler: &Dialler, link: &Link) -> HttpClient {
    Client::builder(TokioExecutor::new())
        .timer(TokioTimer::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(POOL_IDLE)
        .pool_max_idle_per_host(POOL_IDLE_PER_TARGET)
        .http1_max_buf_size(READ_BUFFER)
        .http2_only(link.protocol == Protocol::Http2)
        .http2_max_header_list_size(HEAD)
        .http2_keep_alive_interval(PING)
        .http2_keep_alive_timeout(PING)
        // Safe for every call: hyper hands a request back only while it still lies in the queue of a connection that turned out
        // dead, before a byte of it was written. Once a connection has taken it, its loss is an error and no second try.
        .retry_canceled_requests(true)
        .build(dialler.connector(link))
}
