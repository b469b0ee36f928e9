//! What a whole call costs, in one thread and without a network: from its door through every gate to a target that
//! is reached in memory, its answer back to the last byte, and the call's record off the queue. Reading the request off a socket and
//! writing the record to a database are not in it.
#![allow(clippy::unwrap_used, reason = "a benchmark that does not measure what it says stops")]

mod support;

use std::convert::Infallible;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use divan::{AllocProfiler, Bencher, Divan};
use eliza_gatekeeper::clock::{Clock, Timestamp};
use eliza_gatekeeper::control::PolicySource;
use eliza_gatekeeper::doors::{Arrival, Arrived, Door, enter};
use eliza_gatekeeper::gatekeeper::{Gatekeeper, Parts};
use eliza_gatekeeper::identity::CallId;
use eliza_gatekeeper::journal::{Journal, Limits, Syncing};
use eliza_gatekeeper::policy::load::Origin;
use eliza_gatekeeper::settings::{Environment, Settings};
use eliza_gatekeeper::store::{self, OpenOptions};
use eliza_gatekeeper::telemetry::logging::{Level, Log};
use eliza_gatekeeper::tls::Locks;
use eliza_gatekeeper::upstream::Dial;
use futures_util::stream;
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Request, Response};
use http_body::Frame;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::Incoming;
use hyper::client::conn::http1::SendRequest;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use support::{KEY, LARGE, PEER, PLATFORM, SERVICE_KEY, SMALL};
use tempfile::TempDir;
use tokio::io::DuplexStream;
use tokio::runtime::{Builder, Runtime};
use tokio::task::yield_now;

#[global_allocator]
static ALLOCATIONS: AllocProfiler = AllocProfiler::system();

/// What a target answers, whatever it is asked.
const ANSWER: &str = r#"{"success":true,"id":"5d0c0b1e-7f0a-4c39-9e0a-2f6f0e0f3a55","stored":1}"#;
/// A connection's buffers, larger than any body here.
const WIRE: usize = 128 * 1024;
/// What a server reads off a socket at once.
const CHUNK: usize = 16 * 1024;

fn main() {
    Divan::default().min_time(Duration::from_secs(2)).max_time(Duration::from_secs(4)).config_with_args().main();
}

/// A call, and how it must end.
struct Case {
    name: &'static str,
    status: u16,
    key: &'static str,
    source: &'static str,
    body: &'static str,
    /// Failed authentications that get a record of their own.
    stranger_records: u32,
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

const GOOD: Case = Case { name: "200, 500 B", status: 200, key: KEY, source: "agent", body: SMALL, stranger_records: u32::MAX };

const CASES: &[Case] = &[
    GOOD,
    Case { name: "200, 64 KB", body: LARGE, ..GOOD },
    Case { name: "401, recorded", status: 401, key: "a wrong key", ..GOOD },
    Case { name: "401, folded", status: 401, key: "a wrong key", stranger_records: 0, ..GOOD },
    Case { name: "403, dangerous SQL", status: 403, body: r#"{"target":"brain","payload":{"sql":"DELETE FROM memories"}}"#, ..GOOD },
    Case { name: "404, unknown target", status: 404, body: r#"{"target":"brian","action":"store_memory","payload":{}}"#, ..GOOD },
    Case { name: "429, limit used up", status: 429, source: "spent", ..GOOD },
];

#[divan::bench(args = CASES)]
fn call(bencher: Bencher<'_, '_>, case: &Case) {
    let house = House::open(case);
    // Opens the connection to the target, and uses up what there is to be used up.
    house.runtime.block_on(house.send(house.request(case)));
    bencher.with_inputs(|| house.request(case)).bench_local_values(|request| {
        let status = house.runtime.block_on(house.send(request));
        assert_eq!(status, case.status);
    });
    assert_eq!(house.gatekeeper.metrics.records_dropped.get(), 0, "every record was carried off");
    assert!(house.connections.load(Ordering::Relaxed) <= 1, "the connection to the target was used again");
}

/// The same request and answer over one connection, with nobody in between: what of a call is the target and HTTP itself.
#[divan::bench(args = [SMALL, LARGE].map(str::len))]
fn target_alone(bencher: Bencher<'_, '_>, bytes: usize) {
    let body = if bytes == SMALL.len() { SMALL } else { LARGE };
    let runtime = runtime();
    let mut target: SendRequest<Full<Bytes>> = runtime.block_on(async {
        let (target, connection) = hyper::client::conn::http1::handshake(TokioIo::new(target())).await.unwrap();
        tokio::spawn(connection);
        target
    });
    let request = || {
        let mut request = Request::post("/functions/v1/brain").body(Full::new(Bytes::from_static(body.as_bytes()))).unwrap();
        *request.headers_mut() = support::headers(KEY, "agent", body);
        request
    };
    bencher.with_inputs(request).bench_local_values(|request| {
        runtime.block_on(async {
            target.ready().await.unwrap();
            let answer = target.send_request(request).await.unwrap();
            assert_eq!(answer.into_body().collect().await.unwrap().to_bytes().len(), ANSWER.len());
        });
    });
}

/// A gatekeeper as `serve` runs it, but for its listeners and its database.
struct House {
    runtime: Runtime,
    gatekeeper: Arc<Gatekeeper>,
    connections: Arc<AtomicUsize>,
    /// One moment for all calls, so that no window ends between two of them.
    at: Timestamp,
    /// Of its journal.
    _directory: TempDir,
}

impl House {
    fn open(case: &Case) -> Self {
        let runtime = runtime();
        let entered = runtime.enter();
        let connections = Arc::new(AtomicUsize::new(0));
        let dialled = Arc::clone(&connections);
        let mut policy = support::policy();
        policy.limits.stranger_records_per_minute = case.stranger_records;
        let directory = TempDir::new().unwrap();
        let parts = Parts {
            policy,
            policies: PolicySource::new(Origin::Shipped, Arc::new(|| Ok(support::policy()))),
            // Never connected: records are taken out of the journal before they get to it, and nothing else asks.
            store: runtime
                .block_on(store::open("postgres://nobody@127.0.0.1:9/none", OpenOptions { pool_size: 1, max_overflow: 0 }))
                .unwrap(),
            journal: Journal::open(directory.path(), Limits::default(), Syncing::Os, Clock::system()).unwrap(),
            clock: Clock::system(),
            dial: Dial::Memory(Arc::new(move |_| {
                dialled.fetch_add(1, Ordering::Relaxed);
                target()
            })),
            locks: Locks::default(),
            log: Log::unstarted(Level::Info),
        };
        let variables = [("INTERNAL_ELIZA_KEY", KEY), ("SUPABASE_SERVICE_ROLE_KEY", SERVICE_KEY), ("SUPABASE_URL", PLATFORM)];
        let lookup = |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
        let settings = Settings::read(&Environment::from_lookup(lookup)).unwrap();
        let (gatekeeper, queues) = Gatekeeper::build(&settings, parts);
        let mut records = queues.records;
        runtime.spawn(async move {
            while let Some(batch) = records.next(1024, 4 << 20).await {
                records.written(&batch);
            }
        });
        drop(entered);
        Self { runtime, gatekeeper, connections, at: Clock::system().now(), _directory: directory }
    }

    fn request(&self, case: &Case) -> Request<Body> {
        let chunks = case.body.as_bytes().chunks(CHUNK).map(|chunk| Ok::<_, Infallible>(Frame::data(Bytes::from_static(chunk))));
        let body = Body::new(StreamBody::new(stream::iter(chunks)));
        let mut request = Request::post("/functions/v1/eliza-gatekeeper").body(body).unwrap();
        *request.headers_mut() = support::headers(case.key, case.source, case.body);
        request
    }

    /// As the server does it: the call's id, its door, and the answer to its last byte.
    async fn send(&self, request: Request<Body>) -> u16 {
        let arrived = Arrived { arrival: Arrival::new(CallId::new(), self.at, PEER), certificate: None };
        let answer = enter(&self.gatekeeper, Door::of(&request).unwrap(), arrived, request).await;
        let status = answer.status().as_u16();
        let mut body = answer.into_body();
        while let Some(frame) = body.frame().await {
            drop(frame.unwrap());
        }
        // To whoever takes the record off the queue, and the connection back into its pool.
        yield_now().await;
        status
    }
}

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

/// The near end of a connection to a target that reads every request to its end and answers it.
fn target() -> DuplexStream {
    let (near, far) = tokio::io::duplex(WIRE);
    tokio::spawn(hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(far), service_fn(answer)));
    near
}

async fn answer(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, hyper::Error> {
    let mut body = request.into_body();
    while let Some(frame) = body.frame().await {
        drop(frame?);
    }
    let mut answer = Response::new(Full::new(Bytes::from_static(ANSWER.as_bytes())));
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(answer)
}
