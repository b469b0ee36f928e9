//! One connection: bounded in what it may send before it is a call, in how long it may stand still, and in what it may open at once.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http::Request;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::net::TcpStream;
use tokio::time::sleep;

use super::leaving::Guest;
use super::patience::{Patience, Watched};
use super::planes::{Planes, Serving};
use super::tls::{Greeted, greet};

/// The idle time is longer than any call should take: a call that waits for its target moves no byte.
const PATIENCE: Patience = Patience { write: Duration::from_secs(60), idle: Duration::from_secs(900) };
const MAX_HEAD_BYTES: u32 = 64 * 1024;
const MAX_HEADERS: usize = 100;
/// HTTP/2 streams one connection may have open.
const MAX_STREAMS: u32 = 256;
pub(super) async fn serve(stream: TcpStream, peer: SocketAddr, serving: Serving, planes: Arc<Planes>, guest: Guest) {
    // Small answers must not wait for company; a socket that cannot be told so still works.
    let _slower = stream.set_nodelay(true);
    let greeted = tokio::select! {
        greeted = greet(stream, planes.lock(serving), planes.head, &planes.gatekeeper.metrics) => greeted,
        () = guest.cut() => None,
    };
    let Some(Greeted { stream, certificate }) = greeted else { return };
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(planes.head)
        .max_buf_size(MAX_HEAD_BYTES as usize)
        .max_headers(MAX_HEADERS);
    builder.http2().timer(TokioTimer::new()).max_concurrent_streams(MAX_STREAMS).max_header_list_size(MAX_HEAD_BYTES);
    let (heard, cut) = (guest.clone(), guest.clone());
    let patience = planes.head;
    let called = Arc::new(AtomicBool::new(false));
    let calls = Arc::clone(&called);
    let service = service_fn(move |request: Request<Incoming>| {
        calls.store(true, Ordering::Relaxed);
        heard.heard(request.version());
        let (planes, certificate) = (Arc::clone(&planes), certificate.clone());
        async move { Ok::<_, Infallible>(planes.answer(request, peer, serving, certificate).await) }
    });
    let connection = builder.serve_connection_with_upgrades(TokioIo::new(Watched::new(stream, PATIENCE)), service).into_owned();
    tokio::select! {
        served = guest.watch(connection) => {
            if let Err(error) = served {
                tracing::debug!(%error, %peer, "a connection ended early");
            }
        }
        // hyper's own timer starts once it knows which HTTP this is, and HTTP/2 has none: whoever connects and says too little
        // to be a call would keep its place for ever.
        () = silence(patience, &called) => tracing::debug!(%peer, "a connection on which no call came"),
        // Dropping the connection drops its calls, and with them their trails: what was cut off is recorded.
        () = cut.cut() => {}
    }
}

/// Ends if nothing was called within this time.
async fn silence(patience: Duration, called: &AtomicBool) {
    sleep(patience).await;
    if called.load(Ordering::Relaxed) {
        std::future::pending::<()>().await;
    }
}
