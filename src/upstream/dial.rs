//! How a connection to a target comes about: over the network, or in memory where a test or a benchmark holds the other end.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::Uri;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_rustls::{ConfigBuilderExt, FixedServerNameResolver, HttpsConnector, HttpsConnectorBuilder, MaybeHttpsStream};
use hyper_util::client::legacy::connect::{Connected, Connection, HttpConnector};
use hyper_util::rt::TokioIo;
use rustls::client::WantsClientCert;
use rustls::sign::SingleCertAndKey;
use rustls::{ClientConfig, ConfigBuilder, RootCertStore};
use tokio::io::DuplexStream;
use tokio::net::TcpStream;
use tower::Service;

use crate::policy::{Link, Protocol, Trust};

/// TCP and TLS together. A call's own timeout may be shorter; this one also ends connections that no call waits for any more.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

type MemoryDial = Arc<dyn Fn(&Uri) -> DuplexStream + Send + Sync>;
type BoxError = Box<dyn std::error::Error + Send + Sync>;

#[derive(Clone)]
pub enum Dial {
    /// The network, with the certificate authorities this machine trusts (or those of `SSL_CERT_FILE`).
    Network,
    /// The network, trusting these authorities and no others.
    NetworkTrusting(Arc<RootCertStore>),
    Memory(MemoryDial),
}

#[derive(Clone)]
pub(super) enum Connector {
    Network(HttpsConnector<HttpConnector>),
    Memory(MemoryDial),
}

/// What all connectors begin with. Authorities of this machine are read once.
pub(super) enum Dialler {
    Network(ConfigBuilder<ClientConfig, WantsClientCert>),
    Memory(MemoryDial),
}

impl Dialler {
    pub fn new(dial: Dial) -> Self {
        match dial {
            Dial::Network => Self::Network(trusting_this_machine()),
            Dial::NetworkTrusting(roots) => Self::Network(ClientConfig::builder().with_root_certificates(roots)),
            Dial::Memory(memory) => Self::Memory(memory),
        }
    }

    pub fn connector(&self, link: &Link) -> Connector {
        match self {
            Self::Network(usual) => Connector::Network(network(usual, link)),
            Self::Memory(memory) => Connector::Memory(Arc::clone(memory)),
        }
    }
}

fn network(usual: &ConfigBuilder<ClientConfig, WantsClientCert>, link: &Link) -> HttpsConnector<HttpConnector> {
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    // Shared out among the addresses of a name, so one that swallows everything does not use up the time of the rest.
    tcp.set_connect_timeout(Some(CONNECT_TIMEOUT));
    let over_tls = HttpsConnectorBuilder::new().with_tls_config(tls(usual, &link.trust)).https_or_http();
    let over_tls = match &link.trust.server_name {
        Some(name) => over_tls.with_server_name_resolver(FixedServerNameResolver::new(name.clone())),
        None => over_tls,
    };
    match link.protocol {
        Protocol::Http1 => over_tls.enable_http1().wrap_connector(tcp),
        Protocol::Http2 => over_tls.enable_http2().wrap_connector(tcp),
        Protocol::Auto => over_tls.enable_all_versions().wrap_connector(tcp),
    }
}

fn tls(usual: &ConfigBuilder<ClientConfig, WantsClientCert>, trust: &Trust) -> ClientConfig {
    let trusting = match &trust.ca {
        Some(ca) => ClientConfig::builder().with_root_certificates(Arc::clone(&ca.roots)),
        None => usual.clone(),
    };
    match &trust.client {
        Some(client) => trusting.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(Arc::clone(&client.pair.certified)))),
        None => trusting.with_no_client_auth(),
    }
}

/// Where no authority is known, every https target is unreachable, and http ones still work: a fresh machine can run the demo.
fn trusting_this_machine() -> ConfigBuilder<ClientConfig, WantsClientCert> {
    ClientConfig::builder().with_native_roots().unwrap_or_else(|why| {
        tracing::warn!(error = %why, "no certificate authorities on this machine: targets over https are unreachable");
        ClientConfig::builder().with_root_certificates(RootCertStore::empty())
    })
}

impl Service<Uri> for Connector {
    type Response = Wire;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Wire, BoxError>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        match self {
            Self::Network(https) => https.poll_ready(cx),
            Self::Memory(_) => Poll::Ready(Ok(())),
        }
    }

    fn call(&mut self, origin: Uri) -> Self::Future {
        match self {
            Self::Network(https) => {
                let connecting = https.call(origin);
                Box::pin(async move {
                    match tokio::time::timeout(CONNECT_TIMEOUT, connecting).await {
                        Ok(stream) => Ok(Wire::Network(Box::new(stream?))),
                        Err(_) => Err(io::Error::from(io::ErrorKind::TimedOut).into()),
                    }
                })
            }
            Self::Memory(dial) => {
                let stream = dial(&origin);
                Box::pin(async move { Ok(Wire::Memory(TokioIo::new(stream))) })
            }
        }
    }
}

pub(super) enum Wire {
    Network(Box<MaybeHttpsStream<TokioIo<TcpStream>>>),
    Memory(TokioIo<DuplexStream>),
}

impl Connection for Wire {
    fn connected(&self) -> Connected {
        match self {
            Self::Network(stream) => stream.connected(),
            Self::Memory(_) => Connected::new(),
        }
    }
}

impl Read for Wire {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Network(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Memory(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl Write for Wire {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Network(stream) => Pin::new(stream).poll_write(cx, buf),
            Self::Memory(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Network(stream) => Pin::new(stream).poll_flush(cx),
            Self::Memory(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Network(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Memory(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Network(stream) => stream.is_write_vectored(),
            Self::Memory(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_write_vectored(self: Pin<&mut Self>, cx: &mut Context<'_>, bufs: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Network(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
            Self::Memory(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
        }
    }
}
