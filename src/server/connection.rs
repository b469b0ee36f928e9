//! One connection: bounded in what it may send before it is a call, in how long it may stand still, and in what it may open at once.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Version};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::net::TcpStream;

use super::cut::Cut;
use super::leaving::Guest;
use super::patience::{Patience, Watched};
use super::planes::{Caller, Planes};
use super::presence::Presence;
use super::seats::{Manner, Seat};
use super::tls::{Greeted, greet};
use crate::doors::Door;

/// The idle time is longer than any call should take: a call that waits for its target moves no byte.
const STILL: Duration = Duration::from_secs(900);
const MAX_HEAD_BYTES: u32 = 64 * 1024;
const MAX_HEADERS: usize = 100;
/// HTTP/2 streams one connection may have open.
const MAX_STREAMS: u32 = 256;
/// Streams that an HTTP/2 peer took back before they were looked at, and streams that broke its rules, until the connection ends.
const MAX_TAKEN_BACK: usize = 20;
const MAX_AT_FAULT: usize = 100;
/// An HTTP/2 peer that is gone without a word is found out by asking; on HTTP/1.1 it is found out when it is answered.
const ASK_EVERY: Duration = Duration::from_secs(60);

pub(super) async fn serve(stream: TcpStream, caller: Caller, planes: Arc<Planes>, guest: Guest, seat: Seat) {
    // Small answers must not wait for company; a socket that cannot be told so still works.
    let _slower = stream.set_nodelay(true);
    let metrics = &planes.gatekeeper.metrics;
    let greeted = tokio::select! {
        greeted = greet(stream, planes.lock(caller.serving), planes.limits.head, metrics) => greeted,
        () = guest.cut() => None,
    };
    let Some(Greeted { stream, certificate }) = greeted else { return };
    let (presence, heard) = (Presence::begin(), guest.clone());
    let service = {
        let (planes, presence) = (Arc::clone(&planes), presence.clone());
        service_fn(move |request: Request<Incoming>| {
            heard.heard(request.version());
            // HTTP/1 is told by a header of its answer.
            if caller.manner == Manner::Standing && request.version() == Version::HTTP_2 && Door::of(&request).is_some() {
                heard.is_unwelcome();
            }
            let under_way = presence.call(request.version());
            let (planes, certificate) = (Arc::clone(&planes), certificate.clone());
            // A connection has room for the call under way for as long as it lasts: a pointer's, so that thousands of idle ones are cheap.
            let answering = async move {
                let answer = planes.answer(request, caller, certificate).await;
                Ok::<_, Infallible>(answer.map(|body| under_way.until_the_end_of(body)))
            };
            Box::pin(answering)
        })
    };
    let patience = Patience { write: planes.limits.taking, idle: STILL };
    let stream = TokioIo::new(Watched::new(stream, presence.clone(), patience, Arc::clone(metrics), seat));
    // In a place of its own, or it would have room in every future that hands it on.
    let connection = Box::pin(builder().serve_connection_with_upgrades(stream, service).into_owned());
    // Dropping the connection drops its calls, and with them their trails: what was cut off is recorded.
    let cut = match guest.watch(connection, presence.overdue(planes.limits)).await {
        Ok(served) => served.err().and_then(|error| {
            tracing::debug!(%error, peer = %caller.address, "a connection ended early");
            Cut::why(&*error)
        }),
        Err(cut) => Some(cut),
    };
    if let Some(cut) = cut {
        tracing::debug!(?cut, peer = %caller.address, "a connection is cut");
        cut.count(metrics);
    }
}

/// Heads are timed by [`Presence`].
fn builder() -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(None).max_buf_size(MAX_HEAD_BYTES as usize).max_headers(MAX_HEADERS);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(MAX_STREAMS)
        .max_header_list_size(MAX_HEAD_BYTES)
        .max_pending_accept_reset_streams(MAX_TAKEN_BACK)
        .max_local_error_reset_streams(MAX_AT_FAULT)
        .keep_alive_interval(ASK_EVERY);
    builder
}
