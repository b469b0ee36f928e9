//! The ways to the targets, each with connections of its own. What was opened for one target's certificates is never used for another's.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use http::Uri;
use http::uri::{Authority, Scheme};
use hyper_util::client::legacy;
use hyper_util::rt::{TokioExecutor, TokioTimer};

use super::dial::{Connector, Dial, Dialler};
use super::link::READ_BUFFER;
use super::links::{IDLE, IDLE_PER_TARGET, Links};
use super::upload::RequestBody;
use crate::policy::{Link, Protocol, Target, Targets, Terms};

/// What [`READ_BUFFER`] is to HTTP/1.1: bounds the head of an answer over HTTP/2.
const HEAD: u32 = 64 * 1024;
/// A connection that carries every call of a target must not be dead for long without anybody noticing.
const PING: Duration = Duration::from_secs(10);

pub(super) type SharedClient = legacy::Client<Connector, RequestBody>;

pub(super) struct Clients {
    dialler: Dialler,
    /// For targets of which policy says nothing.
    usual: (Way, Client),
    others: ArcSwap<HashMap<Way, Client>>,
}

/// How a target is reached.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Way {
    link: Link,
    connect_timeout: Duration,
}

/// All connections of one way.
#[derive(Clone)]
enum Client {
    Apart(Arc<Addresses>),
    Shared(Arc<SharedClient>),
}

/// The addresses that are called over HTTP/1.1.
struct Addresses {
    connector: Connector,
    links: Mutex<HashMap<Origin, Arc<Links>>>,
}

type Origin = (Option<Scheme>, Option<Authority>);

/// The way to one address.
#[derive(Clone)]
pub(super) enum Door {
    /// Each call has a connection for itself.
    Apart(Arc<Links>),
    /// Calls may share one.
    Shared(Arc<SharedClient>),
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
        Self { usual: (way.clone(), Client::new(&dialler, &way)), dialler, others: ArcSwap::default() }
    }

    /// For every way to these targets a client: those there are stay, with their connections; those nobody needs any more go.
    pub fn follow(&self, targets: &Targets) {
        let before = self.others.load_full();
        let mut after: HashMap<Way, Client> = HashMap::new();
        for target in targets.by_name.values().filter(|target| !self.usual.0.leads_to(target)) {
            let way = Way::to(target);
            let kept = before.get(&way).cloned();
            after.entry(way).or_insert_with_key(|way| kept.unwrap_or_else(|| Client::new(&self.dialler, way)));
        }
        self.others.store(Arc::new(after));
    }

    /// To be told once a new policy is in force: what nobody calls any more is forgotten.
    pub fn tidy(&self) {
        self.usual.1.tidy();
        self.others.load().values().for_each(Client::tidy);
    }

    /// The way to one of the target's addresses.
    pub fn door(&self, target: &Target, url: &Uri) -> Door {
        let (usual, client_of_most) = &self.usual;
        if usual.leads_to(target) {
            return client_of_most.door(url);
        }
        let way = Way::to(target);
        match self.others.load().get(&way) {
            Some(client) => client.door(url),
            // A call that began under a policy that is gone goes by connections of its own.
            None => Client::new(&self.dialler, &way).door(url),
        }
    }
}

impl Client {
    fn new(dialler: &Dialler, way: &Way) -> Self {
        let connector = dialler.connector(&way.link, way.connect_timeout);
        match way.link.protocol {
            Protocol::Http1 => Self::Apart(Arc::new(Addresses { connector, links: Mutex::default() })),
            Protocol::Http2 | Protocol::Auto => Self::Shared(Arc::new(shared(connector, way.link.protocol))),
        }
    }

    fn door(&self, url: &Uri) -> Door {
        match self {
            Self::Apart(addresses) => Door::Apart(addresses.links_to(url)),
            Self::Shared(client) => Door::Shared(Arc::clone(client)),
        }
    }

    fn tidy(&self) {
        if let Self::Apart(addresses) = self {
            // Whoever calls there holds it.
            addresses.lock().retain(|_, links| Arc::strong_count(links) > 1);
        }
    }
}

impl Addresses {
    fn links_to(&self, url: &Uri) -> Arc<Links> {
        let mut all = self.lock();
        let links = all.entry(origin(url)).or_insert_with(|| Links::new(self.connector.clone(), url));
        Arc::clone(links)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Origin, Arc<Links>>> {
        self.links.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn origin(url: &Uri) -> Origin {
    (url.scheme().cloned(), url.authority().cloned())
}

fn shared(connector: Connector, protocol: Protocol) -> SharedClient {
    legacy::Client::builder(TokioExecutor::new())
        .timer(TokioTimer::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(IDLE)
        .pool_max_idle_per_host(IDLE_PER_TARGET)
        .http1_max_buf_size(READ_BUFFER)
        .http2_only(protocol == Protocol::Http2)
        .http2_max_header_list_size(HEAD)
        .http2_keep_alive_interval(PING)
        .http2_keep_alive_timeout(PING)
        // Safe for every call: hyper hands a request back only while it still lies in the queue of a connection that turned out
        // dead, before a byte of it was written. Once a connection has taken it, its loss is an error and no second try.
        .retry_canceled_requests(true)
        .build(connector)
}
