//! The listeners: connections in, requests to the right plane, and an orderly end.
//!
//! Every wait has an end here: for a request's head, for a slow reader, for calls under way at shutdown. The bounds keep a crowd
//! of connections from becoming a crowd of buffers.

mod patience;
mod proxies;

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use http::header::{ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue, ORIGIN, VARY};
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::time::{sleep, timeout};
use tower::ServiceExt;
use tower_http::catch_panic::CatchPanicLayer;

use patience::{Patience, Watched};

use crate::admin;
use crate::doors::{self, Arrival};
use crate::gatekeeper::Gatekeeper;
use crate::identity::CallId;
use crate::policy::Cors;
use crate::reply::{self, X_CALL_ID};
use crate::settings::Bounds;
use crate::verdict::Failure;

/// The idle time is longer than any call should take: a call that waits for its target moves no byte.
const PATIENCE: Patience = Patience { write: Duration::from_secs(60), idle: Duration::from_secs(900) };
const MAX_HEAD_BYTES: u32 = 64 * 1024;
const MAX_HEADERS: usize = 100;
/// HTTP/2 streams one connection may have open.
const MAX_STREAMS: u32 = 256;
/// Out of descriptors or the like: accepting again at once would only spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

const ALLOW_METHODS: HeaderValue = HeaderValue::from_static("GET, POST, PUT, PATCH, DELETE, HEAD, OPTIONS");
const ALLOW_HEADERS: HeaderValue = HeaderValue::from_static(
    "authorization, x-client-info, apikey, content-type, x-eliza-key, x-eliza-source, x-region, x-request-id, traceparent, idempotency-key",
);

/// The sockets, bound before anything else starts, so that a port in use is found at once.
pub struct Listeners {
    data: TcpListener,
    /// `None`: both planes share the data listener.
    ops: Option<TcpListener>,
}

impl Listeners {
    pub async fn bind(data: SocketAddr, ops: SocketAddr) -> io::Result<Self> {
        let bind = |at: SocketAddr| async move {
            TcpListener::bind(at).await.map_err(|error| io::Error::new(error.kind(), format!("{at} cannot be listened on: {error}")))
        };
        let shared = data == ops && data.port() != 0;
        let data = bind(data).await?;
        let ops = if shared { None } else { Some(bind(ops).await?) };
        Ok(Self { data, ops })
    }

    pub fn data_address(&self) -> io::Result<SocketAddr> {
        self.data.local_addr()
    }

    pub fn ops_address(&self) -> io::Result<SocketAddr> {
        self.ops.as_ref().unwrap_or(&self.data).local_addr()
    }
}

/// The two planes, and which of them a request is for.
struct Planes {
    gatekeeper: Arc<Gatekeeper>,
    data: Router,
    ops: Router,
    /// For a request's head to arrive.
    head: Duration,
    /// Turns true when the connections that are left must end at once.
    cut: watch::Sender<bool>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Serving {
    Data,
    Ops,
    Both,
}

/// Serves until `stop` says so, then lets the calls under way end, at most `bounds.drain` long.
pub async fn serve(gatekeeper: Arc<Gatekeeper>, listeners: Listeners, bounds: Bounds, mut stop: watch::Receiver<bool>) {
    let planes = Arc::new(Planes {
        data: doors::router(Arc::clone(&gatekeeper)).layer(CatchPanicLayer::custom(panicked)),
        ops: admin::router(Arc::clone(&gatekeeper)).layer(CatchPanicLayer::custom(panicked)),
        gatekeeper: Arc::clone(&gatekeeper),
        head: bounds.head,
        cut: watch::Sender::new(false),
    });
    let connections = GracefulShutdown::new();
    let places = Arc::new(Semaphore::new(bounds.connections));
    // Operators must get in when callers fill every place.
    let ops_places = Arc::new(Semaphore::new(256));
    let data_serving = if listeners.ops.is_some() { Serving::Data } else { Serving::Both };
    gatekeeper.health.started();
    tokio::select! {
        () = accept(&listeners.data, data_serving, &planes, &places, &connections) => {}
        () = accept_ops(listeners.ops.as_ref(), &planes, &ops_places, &connections) => {}
        _ = stop.wait_for(|stop| *stop) => {}
    }
    gatekeeper.health.draining();
    drop(listeners);
    let ended = connections.shutdown();
    tokio::pin!(ended);
    if timeout(bounds.drain, &mut ended).await.is_err() {
        tracing::warn!("calls were still under way when the time to drain was over: they are cut off, and recorded so");
        planes.cut.send_replace(true);
        ended.await;
    }
}

async fn accept_ops(listener: Option<&TcpListener>, planes: &Arc<Planes>, places: &Arc<Semaphore>, connections: &GracefulShutdown) {
    match listener {
        Some(listener) => accept(listener, Serving::Ops, planes, places, connections).await,
        None => std::future::pending().await,
    }
}

async fn accept(listener: &TcpListener, serving: Serving, planes: &Arc<Planes>, places: &Arc<Semaphore>, connections: &GracefulShutdown) {
    loop {
        let Ok(place) = Arc::clone(places).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, peer)) => {
                let connection = serve_connection(stream, peer, serving, Arc::clone(planes), connections.watcher());
                tokio::spawn(async move {
                    connection.await;
                    drop(place);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn serve_connection(
    stream: TcpStream,
    peer: SocketAddr,
    serving: Serving,
    planes: Arc<Planes>,
    watcher: hyper_util::server::graceful::Watcher,
) {
    // Small answers must not wait for company; a socket that cannot be told so still works.
    let _slower = stream.set_nodelay(true);
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(planes.head)
        .max_buf_size(MAX_HEAD_BYTES as usize)
        .max_headers(MAX_HEADERS);
    builder.http2().timer(TokioTimer::new()).max_concurrent_streams(MAX_STREAMS).max_header_list_size(MAX_HEAD_BYTES);
    let mut cut = planes.cut.subscribe();
    let patience = planes.head;
    let called = Arc::new(AtomicBool::new(false));
    let calls = Arc::clone(&called);
    let service = service_fn(move |request| {
        calls.store(true, Ordering::Relaxed);
        let planes = Arc::clone(&planes);
        async move { Ok::<_, Infallible>(planes.answer(request, peer, serving).await) }
    });
    let connection = builder.serve_connection(TokioIo::new(Watched::new(stream, PATIENCE)), service).into_owned();
    tokio::select! {
        served = watcher.watch(connection) => {
            if let Err(error) = served {
                tracing::debug!(%error, %peer, "a connection ended early");
            }
        }
        // hyper's own timer starts once it knows which HTTP this is, and HTTP/2 has none: whoever connects and says too little
        // to be a call would keep its place for ever.
        () = silence(patience, &called) => tracing::debug!(%peer, "a connection on which no call came"),
        // Dropping the connection drops its calls, and with them their trails: what was cut off is recorded.
        _ = cut.wait_for(|cut| *cut) => {}
    }
}

/// Ends if nothing was called within this time.
async fn silence(patience: Duration, called: &AtomicBool) {
    sleep(patience).await;
    if called.load(Ordering::Relaxed) {
        std::future::pending::<()>().await;
    }
}

impl Planes {
    async fn answer(&self, request: Request<Incoming>, peer: SocketAddr, serving: Serving) -> Response<Body> {
        let id = CallId::new();
        let at = self.gatekeeper.pipeline.clock.now();
        let mut request = request.map(Body::new);
        let for_ops = match serving {
            Serving::Data => false,
            Serving::Ops => true,
            Serving::Both => admin::is_ops(request.method(), request.uri().path()),
        };
        let trusted = if for_ops { &[] } else { self.gatekeeper.trusted_proxies.as_slice() };
        let peer = proxies::caller(peer.ip(), request.headers(), trusted);
        request.extensions_mut().insert(Arrival { id, at, peer });
        let origin = request.headers().get(ORIGIN).cloned();
        let router = if for_ops { &self.ops } else { &self.data };
        let mut response = match router.clone().oneshot(request).await {
            Ok(response) => response,
            Err(never) => match never {},
        };
        if response.extensions().get::<Panicked>().is_some() {
            response = doors::whole(reply::refusal(&Failure::Internal.into(), id));
        }
        if let Ok(value) = HeaderValue::from_str(&id.to_string()) {
            response.headers_mut().insert(X_CALL_ID, value);
        }
        if !for_ops {
            allow_origin(&mut response, &self.gatekeeper.pipeline.live.current().policy.cors, origin);
        }
        response
    }
}

/// CORS as the original's browsers know it, on every answer of the data plane.
fn allow_origin(response: &mut Response<Body>, cors: &Cors, origin: Option<HeaderValue>) {
    let headers = response.headers_mut();
    if cors.origins.iter().any(|allowed| allowed == "*") {
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    } else {
        headers.append(VARY, HeaderValue::from_static("origin"));
        let Some(origin) = origin.filter(|origin| cors.origins.iter().any(|allowed| allowed.as_bytes() == origin.as_bytes())) else {
            return;
        };
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    }
    headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, ALLOW_HEADERS);
    headers.insert(ACCESS_CONTROL_ALLOW_METHODS, ALLOW_METHODS);
}

/// Marks an answer whose handler panicked; the planes put the real one in its place, with the call's id.
#[derive(Clone)]
struct Panicked;

fn panicked(_: Box<dyn std::any::Any + Send>) -> Response<Body> {
    tracing::error!("a handler panicked: the call is answered 500 and recorded");
    let mut response = Response::new(Body::empty());
    response.extensions_mut().insert(Panicked);
    response
}
