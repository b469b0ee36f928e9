//! A caller over TLS, and connections that carry many calls: hyper's own client, so that what is promised holds with a real one.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, Version};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::authority::{NAME, Pair};
use crate::support::house::{KEY, Reply};

const PATIENCE: Duration = Duration::from_secs(20);

/// Whom it trusts, and who it says it is.
#[derive(Clone)]
pub struct Caller {
    roots: Arc<RootCertStore>,
    shown: Option<Pair>,
}

impl Caller {
    pub fn trusting(roots: Arc<RootCertStore>) -> Self {
        Self { roots, shown: None }
    }

    pub fn showing(mut self, pair: &Pair) -> Self {
        self.shown = Some(pair.clone());
        self
    }

    fn config(&self, alpn: &[&str]) -> ClientConfig {
        let trusting = ClientConfig::builder().with_root_certificates(Arc::clone(&self.roots));
        let mut config = match &self.shown {
            Some(pair) => trusting.with_client_auth_cert(pair.chain(), pair.secret()).unwrap(),
            None => trusting.with_no_client_auth(),
        };
        config.alpn_protocols = alpn.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
        config
    }

    /// A connection whose handshake is over, as far as this end can tell.
    pub async fn connect(&self, at: SocketAddr, alpn: &[&str]) -> std::io::Result<TlsStream<TcpStream>> {
        let stream = TcpStream::connect(at).await?;
        let name = ServerName::try_from(NAME).unwrap();
        let connecting = TlsConnector::from(Arc::new(self.config(alpn))).connect(name, stream);
        timeout(PATIENCE, connecting).await.expect("a handshake in time")
    }

    /// The certificate that is in force for a connection that begins now.
    pub async fn sees(&self, at: SocketAddr) -> CertificateDer<'static> {
        let stream = self.connect(at, &[]).await.unwrap();
        stream.get_ref().1.peer_certificates().unwrap()[0].clone()
    }

    /// One request on a connection of its own.
    pub async fn asks(&self, at: SocketAddr, request: Request<Full<Bytes>>) -> Result<Reply, String> {
        let said = |error: &dyn std::fmt::Display| error.to_string();
        let stream = self.connect(at, &["http/1.1"]).await.map_err(|error| said(&error))?;
        let (mut send, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|error| said(&error))?;
        let connection = tokio::spawn(connection);
        let response = timeout(PATIENCE, send.send_request(request)).await.expect("an answer in time").map_err(|error| said(&error))?;
        let (parts, body) = response.into_parts();
        let body = body.collect().await.map_err(|error| said(&error))?.to_bytes();
        connection.abort();
        Ok(Reply { status: parts.status.as_u16(), headers: parts.headers, body })
    }
}

/// A call of this source with the house's key, as HTTP/1.1 sends it.
pub fn call(source: &str, target: &str) -> Request<Full<Bytes>> {
    call_with(&[("x-eliza-key", KEY), ("x-eliza-source", source)], target)
}

/// A call with these credentials.
pub fn call_with(credentials: &[(&str, &str)], target: &str) -> Request<Full<Bytes>> {
    let mut request = Request::post("/functions/v1/eliza-gatekeeper").header("host", NAME).header("content-type", "application/json");
    for (name, value) in credentials {
        request = request.header(*name, *value);
    }
    request.body(Full::from(json!({ "target": target, "payload": { "n": 1 } }).to_string())).unwrap()
}

/// One HTTP/2 connection, over whatever carries it.
pub struct Streams {
    send: SendRequest<Full<Bytes>>,
}

impl Streams {
    pub async fn over(stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static) -> Self {
        let (send, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        Self { send }
    }

    /// The answer on a stream of its own. Nothing else is waited for.
    pub fn call(
        &self,
        scheme: &str,
        source: &str,
        target: &str,
        n: usize,
    ) -> impl Future<Output = (u16, HeaderMap, Value)> + Send + 'static {
        let mut send = self.send.clone();
        let body = json!({ "target": target, "payload": { "n": n } }).to_string();
        let request = Request::post(format!("{scheme}://{NAME}/functions/v1/eliza-gatekeeper"))
            .version(Version::HTTP_2)
            .header("content-type", "application/json")
            .header("x-eliza-key", KEY)
            .header("x-eliza-source", source)
            .body(Full::from(body))
            .unwrap();
        async move {
            let response = send.send_request(request).await.unwrap();
            let (parts, body) = response.into_parts();
            let body = body.collect().await.unwrap().to_bytes();
            (parts.status.as_u16(), parts.headers, serde_json::from_slice(&body).unwrap())
        }
    }
}
