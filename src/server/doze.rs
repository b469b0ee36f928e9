//! A connection that has nothing to do: the socket and a few words, without what HTTP needs to read and write on it. Most connections
//! of most callers are so most of the time.

use std::future::poll_fn;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncWriteExt, ReadBuf};
use tokio::time::{Instant, timeout};

use super::attention::{Aside, Attention};
use super::cut::Cut;
use super::presence::Presence;
use super::tls::PARTING;

/// What a connection of HTTP/2 begins with (RFC 9113, section 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// As much as is read before HTTP reads: most calls, so that they are not read in two pieces.
const FIRST: usize = 2048;

/// What ended a connection that nothing came on any more.
pub(super) enum Ended {
    /// Nothing more is to come.
    Over,
    /// It is to end.
    Leave,
    Cut(Cut),
}

/// In what a connection speaks.
pub(super) enum Spoken {
    Http1(Bytes),
    Http2(Bytes),
}

/// Until something comes: the first bytes of it, every one.
pub(super) async fn doze<S: AsyncRead + Unpin>(stream: &mut S, presence: &Presence, attention: &mut Attention) -> Result<Bytes, Ended> {
    poll_fn(|cx| {
        if let Poll::Ready(read) = poll_read(stream, cx) {
            presence.heard(Instant::now());
            return Poll::Ready(read.ok_or(Ended::Over));
        }
        attention.poll(cx).map(|aside| match aside {
            Aside::Cut(cut) => Err(Ended::Cut(cut)),
            Aside::Leave => Err(Ended::Leave),
        })
    })
    .await
}

/// None if it has ended. On the stack, which is there anyway: thousands wait here.
fn poll_read<S: AsyncRead + Unpin>(stream: &mut S, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
    let mut room = [MaybeUninit::uninit(); FIRST];
    let mut room = ReadBuf::uninit(&mut room);
    Pin::new(stream).poll_read(cx, &mut room).map(|read| match read {
        Ok(()) if !room.filled().is_empty() => Some(Bytes::copy_from_slice(room.filled())),
        Ok(()) | Err(_) => None,
    })
}

/// The beginning of a connection: as much of it as tells in what it speaks. What is not HTTP/2 is for HTTP/1 to make sense of.
pub(super) async fn first_words<S: AsyncRead + Unpin>(
    stream: &mut S,
    presence: &Presence,
    attention: &mut Attention,
) -> Result<Spoken, Ended> {
    let mut heard = BytesMut::new();
    loop {
        match doze(stream, presence, attention).await {
            Ok(more) if heard.is_empty() && !PREFACE.starts_with(&more) && !more.starts_with(PREFACE) => {
                return Ok(Spoken::Http1(more));
            }
            Ok(more) => heard.extend_from_slice(&more),
            // Somebody broke off while speaking, and may be told so.
            Err(Ended::Over) if !heard.is_empty() => return Ok(Spoken::Http1(heard.freeze())),
            Err(ended) => return Err(ended),
        }
        if heard.starts_with(PREFACE) {
            return Ok(Spoken::Http2(heard.freeze()));
        }
        if !PREFACE.starts_with(&heard) {
            return Ok(Spoken::Http1(heard.freeze()));
        }
    }
}

/// In order, as far as the peer lets it.
pub(super) async fn part(mut stream: impl AsyncWriteExt + Unpin) {
    let _tried = timeout(PARTING, stream.shutdown()).await;
}
