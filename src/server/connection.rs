//! One connection: bounded in what it may send before it is a call, in how long it may stand still, and in what it may open at once.
//!
//! In what it speaks shows in its first bytes. Of HTTP/1, it is taken apart after a while without a call, and put together again for the next.

use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::{Buf, Bytes};
use futures_util::future::BoxFuture;
use http::{Request, Response, Version};
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::Service;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tokio::time::Instant;

use super::attention::{Aside, Attention};
use super::cut::Cut;
use super::doze::{Ended, Spoken, doze, first_words, part};
use super::ear::Ear;
use super::ending::Ending;
use super::leaving::Guest;
use super::patience::{Patience, Watched};
use super::planes::{Caller, Planes};
use super::presence::Presence;
use super::seats::{Manner, Seat};
use super::tls::{Greeted, MaybeTls, greet};
use crate::doors::{Door, Said};
use crate::identity::PeerCertificate;

/// The idle time is longer than any call should take: a call that waits for its target moves no byte.
const STILL: Duration = Duration::from_secs(900);
const MAX_HEAD_BYTES: u32 = 64 * 1024;
/// HTTP/2 streams one connection may have open.
const MAX_STREAMS: u32 = 256;
/// Streams that an HTTP/2 peer took back before they were looked at, and streams that broke its rules, until the connection ends.
const MAX_TAKEN_BACK: usize = 20;
const MAX_AT_FAULT: usize = 100;
/// An HTTP/2 peer that is gone without a word is found out by asking; on HTTP/1.1 it is found out when it is answered.
const ASK_EVERY: Duration = Duration::from_secs(60);
/// Who holds a connection's [`Presence`] while no call does: whoever attends to it, its stream, and its reception.
const KEEPERS: usize = 3;

/// Where a connection's calls are taken.
struct Reception {
    planes: Arc<Planes>,
    caller: Caller,
    certificate: Option<Arc<PeerCertificate>>,
    presence: Presence,
}

/// The same, as hyper asks it.
struct Receiving {
    reception: Arc<Reception>,
    /// None where hyper is driven without one.
    ear: Option<Arc<Ear>>,
}

type Answered = Result<Response<Ending<Said>>, Infallible>;

/// A call, to hyper. A connection has room for the one under way for as long as it lasts: a few pointers', so that thousands of idle ones are
/// cheap.
struct Answering {
    answer: BoxFuture<'static, Answered>,
    call: u64,
    reception: Arc<Reception>,
    ear: Option<Arc<Ear>>,
}

impl Future for Answering {
    type Output = Answered;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Answered> {
        let Self { answer, call, reception, ear } = self.get_mut();
        match ear {
            Some(ear) => ear.overhear(|| reception.presence.awaits_body(*call), |cx| answer.as_mut().poll(cx)),
            None => answer.as_mut().poll(cx),
        }
    }
}

impl Service<Request<Incoming>> for Receiving {
    type Response = Response<Ending<Said>>;
    type Error = Infallible;
    type Future = Answering;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let Reception { caller, presence, .. } = &*self.reception;
        let under_way = presence.call(request.version());
        // HTTP/1 is told by a header of its answer.
        if caller.manner == Manner::Standing && request.version() == Version::HTTP_2 && Door::of(&request).is_some() {
            presence.is_unwelcome();
        }
        let (call, reception) = (presence.calls(), Arc::clone(&self.reception));
        let answer = Box::pin(async move {
            let Reception { planes, caller, certificate, presence } = &*reception;
            let answer = planes.answer(request, *caller, certificate.clone(), presence).await;
            Ok(answer.map(|body| under_way.until_the_end_of(body)))
        });
        Answering { answer, call, reception: Arc::clone(&self.reception), ear: self.ear.clone() }
    }
}

pub(super) async fn serve(stream: TcpStream, caller: Caller, planes: Arc<Planes>, guest: Guest, seat: Seat) {
    // Small answers must not wait for company; a socket that cannot be told so still works.
    let _slower = stream.set_nodelay(true);
    let Some(Greeted { stream, certificate }) = greeted(stream, caller, &planes, &guest).await else { return };
    let presence = Presence::begin(Arc::clone(&planes.gatekeeper.metrics));
    let attention = Attention::begin(guest, presence.clone(), planes.limits);
    let reception = Arc::new(Reception { planes, caller, certificate, presence });
    // Dropping the connection drops its calls, and with them their trails: what was cut off is recorded.
    let cut = match converse(stream, seat, &reception, attention).await {
        Ok(served) => served.err().and_then(|error| {
            tracing::debug!(%error, peer = %caller.address, "a connection ended early");
            Cut::why(&error)
        }),
        Err(cut) => Some(cut),
    };
    if let Some(cut) = cut {
        tracing::debug!(?cut, peer = %caller.address, "a connection is cut");
        cut.count(reception.presence.metrics());
    }
}

async fn greeted(stream: TcpStream, caller: Caller, planes: &Planes, guest: &Guest) -> Option<Greeted> {
    let Some(lock) = planes.lock(caller.serving) else { return Some(Greeted { stream: MaybeTls::Plain(stream), certificate: None }) };
    // In a place of its own, which is gone once hands are shaken.
    let greeting = Box::pin(async {
        tokio::select! {
            greeted = greet(stream, lock, planes.limits.head, &planes.gatekeeper.metrics) => greeted,
            () = guest.cut() => None,
        }
    });
    greeting.await
}

type Served = Result<(), hyper::Error>;

type Stream = TokioIo<Watched<MaybeTls, Seat>>;

/// A connection of hyper's that can be told to end with what it has begun.
trait Conversation: Future<Output = Served> {
    fn leave(self: Pin<&mut Self>);
}

/// One of HTTP/1, driven with an ear.
struct Overheard {
    connection: http1::UpgradeableConnection<Stream, Receiving>,
    ear: Arc<Ear>,
    waker: Waker,
}

impl Future for Overheard {
    type Output = Served;

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Served> {
        let Self { connection, ear, waker } = self.get_mut();
        ear.drive(waker, |cx| Pin::new(connection).poll(cx))
    }
}

impl Conversation for Overheard {
    fn leave(self: Pin<&mut Self>) {
        Pin::new(&mut self.get_mut().connection).graceful_shutdown();
    }
}

impl Conversation for http2::Connection<Stream, Receiving, TokioExecutor> {
    fn leave(self: Pin<&mut Self>) {
        self.graceful_shutdown();
    }
}

/// Serves the connection to its end, which comes in an orderly way when it is time, or when it is overdue.
async fn converse(mut stream: MaybeTls, mut seat: Seat, reception: &Arc<Reception>, mut attention: Attention) -> Result<Served, Cut> {
    let presence = &reception.presence;
    let mut early = match first_words(&mut stream, presence, &mut attention).await {
        Ok(Spoken::Http1(early)) => early,
        Ok(Spoken::Http2(early)) => return converse_in_http2(stream, early, seat, reception, &mut attention).await,
        Err(ended) => return part_from(stream, ended).await,
    };
    let ear = Ear::of_this_task().await;
    loop {
        let receiving = Receiving { reception: Arc::clone(reception), ear: Some(Arc::clone(&ear)) };
        let connection = http1().serve_connection(watched(stream, early, seat, &receiving), receiving).with_upgrades();
        // In a place of its own, which is free for others while there is nothing to do.
        let mut connection = Box::new(Overheard { connection, waker: Arc::clone(&ear).into(), ear: Arc::clone(&ear) });
        if let Some(served) = attend(Pin::new(&mut *connection), presence, &mut attention, Rests::AfterCalls).await? {
            return Ok(served);
        }
        let mut left = {
            // One that was upgraded has ended, and has no parts.
            let Some(parts) = connection.connection.into_parts() else { return Ok(Ok(())) };
            (stream, seat) = parts.io.into_inner().into_parts();
            parts.read_buf
        };
        // What some callers put behind a call, and nobody owes an answer (RFC 9112, section 2.2).
        left.advance(left.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count());
        early = if left.is_empty() {
            // It has all the room that was there to read into.
            drop(left);
            match doze(&mut stream, presence, &mut attention).await {
                Ok(bytes) => bytes,
                Err(ended) => return part_from(stream, ended).await,
            }
        } else {
            // The beginning of a call that came with the one before it.
            presence.heard(Instant::now());
            left
        };
    }
}

async fn converse_in_http2(
    stream: MaybeTls,
    early: Bytes,
    seat: Seat,
    reception: &Arc<Reception>,
    attention: &mut Attention,
) -> Result<Served, Cut> {
    let presence = &reception.presence;
    let receiving = Receiving { reception: Arc::clone(reception), ear: None };
    let mut connection = Box::pin(http2().serve_connection(watched(stream, early, seat, &receiving), receiving));
    let served = attend(connection.as_mut(), presence, attention, Rests::Never).await?;
    Ok(served.unwrap_or(Ok(())))
}

fn watched(stream: MaybeTls, early: Bytes, seat: Seat, receiving: &Receiving) -> Stream {
    let Reception { planes, presence, .. } = &*receiving.reception;
    let patience = Patience { write: planes.limits.taking, idle: STILL };
    TokioIo::new(Watched::new(stream, early, presence.clone(), receiving.ear.clone(), patience, seat))
}

async fn part_from(stream: MaybeTls, ended: Ended) -> Result<Served, Cut> {
    match ended {
        Ended::Cut(cut) => Err(cut),
        Ended::Over | Ended::Leave => {
            part(stream).await;
            Ok(Ok(()))
        }
    }
}

/// Whether a connection is taken apart once it has nothing to do.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Rests {
    AfterCalls,
    Never,
}

/// To the end of the connection, or until it can rest, which is None.
async fn attend(
    mut connection: Pin<&mut impl Conversation>,
    presence: &Presence,
    attention: &mut Attention,
    rests: Rests,
) -> Result<Option<Served>, Cut> {
    poll_fn(|cx| {
        // If nobody had anything of a call before this, hyper knows of it now, and is through with all of them.
        let is_alone = rests == Rests::AfterCalls && attention.is_due() && presence.is_kept_by_no_more_than(KEEPERS);
        if let Poll::Ready(served) = connection.as_mut().poll(cx) {
            return Poll::Ready(Ok(Some(served)));
        }
        if is_alone && attention.may_rest() && presence.is_quiet() {
            return Poll::Ready(Ok(None));
        }
        while let Poll::Ready(aside) = attention.poll(cx) {
            match aside {
                Aside::Cut(cut) => return Poll::Ready(Err(cut)),
                Aside::Leave => connection.as_mut().leave(),
            }
            if let Poll::Ready(served) = connection.as_mut().poll(cx) {
                return Poll::Ready(Ok(Some(served)));
            }
        }
        if rests == Rests::AfterCalls {
            attention.sees_to_its_rest(cx);
        }
        Poll::Pending
    })
    .await
}

/// Heads are timed by [`Presence`]. hyper itself bounds the number of headers, at 100: to say so would have it clear the room for them each
/// time.
fn http1() -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder.header_read_timeout(None).max_buf_size(MAX_HEAD_BYTES as usize);
    builder
}

fn http2() -> http2::Builder<TokioExecutor> {
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(MAX_STREAMS)
        .max_header_list_size(MAX_HEAD_BYTES)
        .max_pending_accept_reset_streams(MAX_TAKEN_BACK)
        .max_local_error_reset_streams(MAX_AT_FAULT)
        .keep_alive_interval(ASK_EVERY);
    builder
}

#[cfg(test)]
mod tests;
