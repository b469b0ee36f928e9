//! Targets for tests: a real HTTP server on the loopback, on which functions behave as the platform's do, until a test lets one
//! misbehave. Everything that arrives is kept for the test to look at.
//!
//! ```ignore
//! let targets = Targets::like_the_platform().but("brain", Conduct::html_500()).start().await;
//! …a call to targets.url("brain")…
//! assert_eq!(targets.received("brain").len(), 1);
//! targets.mend("brain");
//! ```

mod conduct;
mod functions;

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

pub use conduct::{Conduct, Gate, Misdeed};
pub use functions::SPEECH;

/// The key that the functions ask for, unless a test says otherwise.
pub const SERVICE_KEY: &str = "service-role-key-of-these-tests";

/// Longer than anything here should take: a test that waits this long has failed.
const DEADLINE: Duration = Duration::from_secs(10);

pub type Body = http_body_util::combinators::UnsyncBoxBody<Bytes, Infallible>;

pub async fn within<F: Future>(what: &str, future: F) -> F::Output {
    tokio::time::timeout(DEADLINE, future).await.unwrap_or_else(|_| panic!("{what}: not within {DEADLINE:?}"))
}

/// Running targets. They stop when this is dropped.
pub struct Targets {
    address: SocketAddr,
    scheme: &'static str,
    house: Arc<House>,
    server: JoinHandle<()>,
    /// Bound but not listening, so that its port refuses for as long as the targets live.
    closed: TcpSocket,
}

/// Something that a target was sent.
#[derive(Clone, Debug)]
pub struct Received {
    pub target: String,
    pub method: Method,
    pub path: String,
    pub query: Option<String>,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Received {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|why| panic!("{} got no JSON ({why}): {:?}", self.target, self.body))
    }

    /// The one value of a header; `None` where it is absent.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.headers.get_all(name).iter();
        let value = values.next().map(|value| value.to_str().unwrap());
        assert!(values.next().is_none(), "{name} arrived twice at {}", self.target);
        value
    }
}

/// Targets that are not running yet.
pub struct Plan {
    service_key: Option<String>,
    conducts: HashMap<String, Conduct>,
    tls: Option<TlsAcceptor>,
}

impl Plan {
    /// The functions ask for this key instead of [`SERVICE_KEY`].
    pub fn asking_for(mut self, service_key: &str) -> Self {
        self.service_key = Some(service_key.to_owned());
        self
    }

    /// The functions ask for no key.
    pub fn open_to_all(mut self) -> Self {
        self.service_key = None;
        self
    }

    pub fn but(mut self, target: &str, conduct: Conduct) -> Self {
        self.conducts.insert(target.to_owned(), conduct);
        self
    }

    pub fn over_tls(mut self, config: rustls::ServerConfig) -> Self {
        self.tls = Some(TlsAcceptor::from(Arc::new(config)));
        self
    }

    pub async fn start(self) -> Targets {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let closed = TcpSocket::new_v4().unwrap();
        closed.bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
        let address = listener.local_addr().unwrap();
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        let house = Arc::new(House {
            service_key: self.service_key,
            conducts: Mutex::new(self.conducts),
            received: Mutex::default(),
            arrivals: watch::Sender::default(),
            memory: Mutex::default(),
        });
        let server = tokio::spawn(accept(listener, self.tls, Arc::clone(&house)));
        Targets { address, scheme, house, server, closed }
    }
}

impl Targets {
    pub fn like_the_platform() -> Plan {
        Plan { service_key: Some(SERVICE_KEY.to_owned()), conducts: HashMap::new(), tls: None }
    }

    /// What `SUPABASE_URL` is set to.
    pub fn origin(&self) -> String {
        format!("{}://{}", self.scheme, self.address)
    }

    pub fn url(&self, target: &str) -> Uri {
        format!("{}/functions/v1/{target}", self.origin()).parse().unwrap()
    }

    /// An address of this target at which every connection is refused.
    pub fn refusing_url(&self, target: &str) -> Uri {
        format!("http://{}/functions/v1/{target}", self.closed.local_addr().unwrap()).parse().unwrap()
    }

    /// A way to the same functions without a network.
    pub fn in_memory(&self) -> Arc<dyn Fn(&Uri) -> DuplexStream + Send + Sync> {
        let house = Arc::clone(&self.house);
        Arc::new(move |_| {
            let (near, far) = tokio::io::duplex(64 * 1024);
            tokio::spawn(serve(far, Arc::clone(&house)));
            near
        })
    }

    /// From now on this target behaves so.
    pub fn let_be(&self, target: &str, conduct: Conduct) {
        self.house.conducts.lock().unwrap().insert(target.to_owned(), conduct);
    }

    /// From now on this target behaves as the function it is.
    pub fn mend(&self, target: &str) {
        self.house.conducts.lock().unwrap().remove(target);
    }

    /// No target can be reached any more, and every connection is lost.
    pub async fn stop(&mut self) {
        self.server.abort();
        let _ = (&mut self.server).await;
    }

    /// What this target has been sent so far, in order.
    pub fn received(&self, target: &str) -> Vec<Received> {
        self.house.received.lock().unwrap().iter().filter(|received| received.target == target).cloned().collect()
    }

    /// What all targets have been sent so far, in order.
    pub fn received_in_all(&self) -> Vec<Received> {
        self.house.received.lock().unwrap().clone()
    }

    /// The one thing that this target has been sent.
    pub fn received_once(&self, target: &str) -> Received {
        let mut all = self.received(target);
        assert_eq!(all.len(), 1, "{target} was called this often");
        all.remove(0)
    }

    /// Waits until this target has been sent so many calls.
    pub async fn arrival(&self, target: &str, count: usize) -> Vec<Received> {
        let mut arrivals = self.house.arrivals.subscribe();
        let enough = async {
            while self.received(target).len() < count {
                arrivals.changed().await.unwrap();
            }
        };
        within(&format!("{count} calls of {target}"), enough).await;
        self.received(target)
    }
}

impl Drop for Targets {
    fn drop(&mut self) {
        self.server.abort();
    }
}

struct House {
    service_key: Option<String>,
    conducts: Mutex<HashMap<String, Conduct>>,
    received: Mutex<Vec<Received>>,
    arrivals: watch::Sender<u64>,
    memory: Mutex<functions::Memory>,
}

impl House {
    fn conduct_of(&self, target: &str) -> Conduct {
        self.conducts.lock().unwrap().get(target).cloned().unwrap_or(Conduct::Function)
    }

    /// As the platform does it in front of every function: the bearer is verified, and `apikey` names the project.
    fn admits(&self, call: &Received) -> bool {
        self.service_key
            .as_ref()
            .is_none_or(|key| call.header("authorization") == Some(&format!("Bearer {key}")) && call.header("apikey") == Some(key.as_str()))
    }

    fn function(&self, call: &Received) -> Response<Body> {
        if !self.admits(call) {
            return functions::json(StatusCode::UNAUTHORIZED, &serde_json::json!({"code": 401, "message": "Invalid JWT"}));
        }
        functions::answer(call, &mut self.memory.lock().unwrap())
    }
}

/// What a connection must be able to do beyond reading and writing.
trait Line: AsyncRead + AsyncWrite + Unpin + Send + 'static {
    /// Makes dropping it a reset, where there is such a thing.
    fn cut(&self) {}
}

impl Line for TcpStream {
    fn cut(&self) {
        self.set_zero_linger().unwrap();
    }
}

impl Line for TlsStream<TcpStream> {
    fn cut(&self) {
        self.get_ref().0.cut();
    }
}

impl Line for DuplexStream {}

/// The connections live in this task, so that they end with it.
async fn accept(listener: TcpListener, tls: Option<TlsAcceptor>, house: Arc<House>) {
    let mut connections = JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        stream.set_nodelay(true).unwrap();
        let (tls, house) = (tls.clone(), Arc::clone(&house));
        connections.spawn(async move {
            match tls {
                None => serve(stream, house).await,
                // A client that does not trust us breaks the handshake off.
                Some(tls) => {
                    if let Ok(stream) = tls.accept(stream).await {
                        serve(stream, house).await;
                    }
                }
            }
        });
        while connections.try_join_next().is_some() {}
    }
}

/// hyper reads the calls, and answers them too, until a target is to do what no HTTP server does: then it gets the bare connection.
async fn serve(stream: impl Line, house: Arc<House>) {
    let (misdeeds, mut misdeed) = mpsc::channel(1);
    let service = service_fn(|request| handle(request, Arc::clone(&house), misdeeds.clone()));
    let mut connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
    let deed = tokio::select! {
        _ = &mut connection => None,
        deed = misdeed.recv() => deed,
    };
    if let Some(Misdeed { says, holds, cuts }) = deed {
        let mut stream = connection.into_parts().io.into_inner();
        let _ = tokio::io::AsyncWriteExt::write_all(&mut stream, &says).await;
        let _ = tokio::io::AsyncWriteExt::flush(&mut stream).await;
        if let Some(gate) = holds {
            gate.pass().await;
        }
        if cuts {
            stream.cut();
        } else {
            let _ = tokio::io::AsyncWriteExt::shutdown(&mut stream).await;
        }
    }
}

async fn handle(request: Request<Incoming>, house: Arc<House>, misdeeds: mpsc::Sender<Misdeed>) -> Result<Response<Body>, hyper::Error> {
    let (parts, body) = request.into_parts();
    let path = parts.uri.path().to_owned();
    let target = path.strip_prefix("/functions/v1/").unwrap_or(&path).split('/').next().unwrap_or_default().to_owned();
    let body = body.collect().await?.to_bytes();
    let query = parts.uri.query().map(str::to_owned);
    let call = Received { target, method: parts.method, path, query, headers: parts.headers, body };
    house.received.lock().unwrap().push(call.clone());
    house.arrivals.send_modify(|count| *count += 1);

    Ok(match house.conduct_of(&call.target) {
        Conduct::Function => house.function(&call),
        Conduct::Hang(gate) => {
            gate.pass().await;
            house.function(&call)
        }
        Conduct::Misbehave(misdeed) => {
            misdeeds.send(misdeed).await.unwrap();
            std::future::pending().await
        }
        other => other.answer(),
    })
}

fn whole(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).boxed_unsync()
}
