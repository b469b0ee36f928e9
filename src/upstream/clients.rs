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
use crate::policy::{Link, Protocol, Target, Targets, Terms};

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
    usual: (Way, Arc<HttpClient>),
    others: ArcSwap<HashMap<Way, Arc<HttpClient>>>,
}

/// How a target is reached.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Way {
    link: Link,
    connect_timeout: Duration,
}

impl Way {
    fn to(target: &Target) -> Self {
        Self { link: target.link.clone(), connect_timeout: target.terms.connect_timeout }
    }

    fn leads_to(&self, target: &Target) -> bool {
        self.link == target.link && self.connect_timeout == target.terms.connect_timeout
    }
}

impl Clients {
    pub fn new(dial: Dial) -> Self {
        let dialler = Dialler::new(dial);
        let way = Way { link: Link::default(), connect_timeout: Terms::default().connect_timeout };
        Self { usual: (way.clone(), Arc::new(client(&dialler, &way))), dialler, others: ArcSwap::default() }
    }

    /// For every way to these targets a client: those there are stay, with their connections; those nobody needs any more go.
    pub fn follow(&self, targets: &Targets) {
        let before = self.others.load_full();
        let mut after: HashMap<Way, Arc<HttpClient>> = HashMap::new();
        for target in targets.by_name.values().filter(|target| !self.usual.0.leads_to(target)) {
            let way = Way::to(target);
            let kept = before.get(&way).cloned();
            after.entry(way).or_insert_with_key(|way| kept.unwrap_or_else(|| Arc::new(client(&self.dialler, way))));
        }
        self.others.store(Arc::new(after));
    }

    pub fn of(&self, target: &Target) -> Arc<HttpClient> {
        let (usual, client_of_most) = &self.usual;
        if usual.leads_to(target) {
            return Arc::clone(client_of_most);
        }
        let way = Way::to(target);
        // A call that began under a policy that is gone goes by connections of its own.
        self.others.load().get(&way).cloned().unwrap_or_else(|| Arc::new(client(&self.dialler, &way)))
    }
}

fn client(dialler: &Dialler, way: &Way) -> HttpClient {
    Client::builder(TokioExecutor::new())
        .timer(TokioTimer::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(POOL_IDLE)
        .pool_max_idle_per_host(POOL_IDLE_PER_TARGET)
        .http1_max_buf_size(READ_BUFFER)
        .http2_only(way.link.protocol == Protocol::Http2)
        .http2_max_header_list_size(HEAD)
        .http2_keep_alive_interval(PING)
        .http2_keep_alive_timeout(PING)
        // Safe for every call: hyper hands a request back only while it still lies in the queue of a connection that turned out
        // dead, before a byte of it was written. Once a connection has taken it, its loss is an error and no second try.
        .retry_canceled_requests(true)
        .build(dialler.connector(&way.link, way.connect_timeout))
}
