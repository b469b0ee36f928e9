//! A target that speaks HTTP/2 and HTTP/1.1, over TLS or without, and keeps what it saw of connections.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{Request, Response, Version};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use rustls::ServerConfig;
use rustls::server::WebPkiClientVerifier;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

use super::authority::{Authority, Pair};

/// What came, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Came {
    pub version: Version,
    /// Counted from 1.
    pub connection: usize,
    pub has_certificate: bool,
}

/// It answers calls with their own bodies.
pub struct Callee {
    pub at: SocketAddr,
    seen: Arc<Seen>,
    server: JoinHandle<()>,
}

struct Seen {
    came: Mutex<Vec<Came>>,
    /// Calls that wait for their answers.
    waiting: watch::Sender<usize>,
    /// No answer before so many wait at once.
    crowd: usize,
}

pub enum Tls {
    None,
    With(Pair),
    /// And with nobody who shows no certificate of this authority.
    Asking(Pair, Arc<rustls::RootCertStore>),
}

impl Tls {
    pub fn of(authority: &Authority) -> Self {
        Self::With(authority.server(&["127.0.0.1"], 90))
    }

    fn acceptor(self, alpn: &[&str]) -> Option<TlsAcceptor> {
        let builder = ServerConfig::builder();
        let (builder, pair) = match self {
            Self::None => return None,
            Self::With(pair) => (builder.with_no_client_auth(), pair),
            Self::Asking(pair, roots) => (builder.with_client_cert_verifier(WebPkiClientVerifier::builder(roots).build().unwrap()), pair),
        };
        let mut config = builder.with_single_cert(pair.chain(), pair.secret()).unwrap();
        config.alpn_protocols = alpn.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
        Some(TlsAcceptor::from(Arc::new(config)))
    }
}

impl Callee {
    pub async fn start(tls: Tls, alpn: &[&str]) -> Self {
        Self::answering_a_crowd(tls, alpn, 0).await
    }

    /// Keeps every answer until so many calls are there at once.
    pub async fn answering_a_crowd(tls: Tls, alpn: &[&str], crowd: usize) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = listener.local_addr().unwrap();
        let seen = Arc::new(Seen { came: Mutex::default(), waiting: watch::Sender::new(0), crowd });
        let server = tokio::spawn(accept(listener, tls.acceptor(alpn), Arc::clone(&seen)));
        Self { at, seen, server }
    }

    pub fn came(&self) -> Vec<Came> {
        self.seen.came.lock().unwrap().clone()
    }

    /// How many connections calls came by.
    pub fn connections(&self) -> usize {
        let mut all: Vec<usize> = self.came().iter().map(|came| came.connection).collect();
        all.sort_unstable();
        all.dedup();
        all.len()
    }
}

impl Drop for Callee {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn accept(listener: TcpListener, tls: Option<TlsAcceptor>, seen: Arc<Seen>) {
    for connection in 1.. {
        let (stream, _) = listener.accept().await.unwrap();
        let (tls, seen) = (tls.clone(), Arc::clone(&seen));
        tokio::spawn(async move {
            match tls {
                None => serve(stream, connection, false, seen).await,
                Some(tls) => {
                    if let Ok(stream) = tls.accept(stream).await {
                        let has_certificate = stream.get_ref().1.peer_certificates().is_some();
                        serve(stream, connection, has_certificate, seen).await;
                    }
                }
            }
        });
    }
}

async fn serve(stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static, connection: usize, has_certificate: bool, seen: Arc<Seen>) {
    let service = service_fn(move |request: Request<Incoming>| {
        let seen = Arc::clone(&seen);
        async move {
            seen.came.lock().unwrap().push(Came { version: request.version(), connection, has_certificate });
            let body = request.into_body().collect().await.unwrap().to_bytes();
            seen.waiting.send_modify(|waiting| *waiting += 1);
            seen.waiting.subscribe().wait_for(|waiting| *waiting >= seen.crowd).await.unwrap();
            Ok::<_, Infallible>(Response::builder().header("content-type", "application/json").body(Full::<Bytes>::from(body)).unwrap())
        }
    });
    let _ended = auto::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service).await;
}
