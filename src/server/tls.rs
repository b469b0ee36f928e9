//! The beginning of a connection: its handshake, where the listener has a lock. Bounded in time, and off the accept loop.

mod stream;

use std::sync::Arc;
use std::time::Duration;

use tokio::io::{self, AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use crate::identity::PeerCertificate;
use crate::telemetry::metrics::{HandshakeLabel, Metrics};
use crate::tls::{self, Lock};
pub use stream::MaybeTls;

/// The first byte of every TLS connection: a record of the kind handshake.
const HANDSHAKE: u8 = 0x16;
/// For somebody who asks in plain HTTP, in words that every client shows.
const SPEAK_TLS: &str = "HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain\r\ncontent-length: 38\r\nconnection: close\r\n\r\n\
                         This address speaks TLS: use https://\n";

/// So much of what else it has to say is let run out, and so long.
const HEARD_OUT: u64 = 64 * 1024;
pub(super) const PARTING: Duration = Duration::from_secs(1);

/// A connection that is ready for HTTP.
pub struct Greeted {
    pub stream: MaybeTls,
    /// What its peer showed, verified.
    pub certificate: Option<Arc<PeerCertificate>>,
}

/// None if there is nothing to be served: why is counted, and in the log for whoever looks closely.
pub async fn greet(stream: TcpStream, lock: &Lock, patience: Duration, metrics: &Metrics) -> Option<Greeted> {
    let (outcome, greeted) = match timeout(patience, shake_hands(stream, lock)).await {
        Ok(Ok(Some(greeted))) => ("done", Some(greeted)),
        Ok(Ok(None)) => ("not_tls", None),
        Ok(Err(error)) => {
            tracing::debug!(%error, listener = lock.listener(), "a TLS handshake failed");
            ("failed", None)
        }
        Err(_) => ("too_slow", None),
    };
    metrics.tls_handshakes.get_or_create(&HandshakeLabel { listener: lock.listener(), outcome }).inc();
    greeted
}

async fn shake_hands(mut stream: TcpStream, lock: &Lock) -> io::Result<Option<Greeted>> {
    let mut first = [0];
    if stream.peek(&mut first).await? == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    if first != [HANDSHAKE] {
        stream.write_all(SPEAK_TLS.as_bytes()).await?;
        stream.shutdown().await?;
        // What lies unread when a connection is closed turns its end into a reset, and takes the answer along.
        let _heard_out = timeout(PARTING, io::copy(&mut stream.take(HEARD_OUT), &mut io::sink())).await;
        return Ok(None);
    }
    let stream = TlsAcceptor::from(lock.config()).accept(stream).await?;
    let shown = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first());
    let certificate = shown.map(|certificate| Arc::new(tls::peer(certificate)));
    Ok(Some(Greeted { stream: MaybeTls::Tls(Box::new(stream)), certificate }))
}
