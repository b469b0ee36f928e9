//! The ways in. A door turns HTTP into a call and an outcome back into HTTP; what happens in between is the pipeline's.

mod answer;
mod direct;
mod envelope;
mod overloaded;
pub mod probes;
mod said;

use std::net::IpAddr;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::Extension;
use http::header::CONTENT_LENGTH;
use http::request::Parts;
use http::{HeaderValue, Method, Request, Response};
use http_body::Body as _;

use crate::call::{DIRECT, Head, Scheme};
use crate::clock::Timestamp;
use crate::gatekeeper::Gatekeeper;
use crate::identity::{CallId, PeerCertificate};
use crate::pipeline::Arriving;
use crate::reply;
use crate::verdict::Failure;

use answer::ends_with_its_head;
pub use overloaded::overloaded;
pub use said::Said;

/// What the server knows of a request before anybody reads it.
#[derive(Clone, Copy, Debug)]
pub struct Arrival {
    pub id: CallId,
    pub at: Timestamp,
    /// Who calls: the other end of the connection, or whom a trusted proxy speaks for.
    pub peer: IpAddr,
    /// The other end, if that is a proxy that is trusted.
    pub proxy: Option<IpAddr>,
    /// What the connection speaks.
    pub scheme: Scheme,
}

impl Arrival {
    /// Straight from the caller, in the clear.
    pub const fn new(id: CallId, at: Timestamp, peer: IpAddr) -> Self {
        Self { id, at, peer, proxy: None, scheme: Scheme::Http }
    }
}

/// A call's arrival, and what the connection that brought it has verified.
#[derive(Clone, Debug)]
pub struct Arrived {
    pub arrival: Arrival,
    pub certificate: Option<Arc<PeerCertificate>>,
}

impl Arrived {
    /// The request's head, as the gates read it.
    fn head_of(self, parts: &Parts) -> Result<Head, Failure> {
        let Self { arrival: Arrival { id, at, peer, proxy, scheme }, certificate } = self;
        let mut head = Head::parse(&parts.headers, parts.version, id, at, peer, certificate)?;
        (head.hop.proxy, head.hop.scheme) = (proxy, scheme);
        // Where the address names a host, that one is meant, whatever `Host` says (RFC 9112, section 3.2.2; RFC 9113, section 8.3.1).
        if let Some(authority) = parts.uri.authority() {
            head.hop.host = HeaderValue::try_from(authority.as_str()).ok();
        }
        Ok(head)
    }
}

/// Where calls come in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Door {
    Envelope,
    Direct,
}

impl Door {
    /// The door that a request is at, if it is a call. Probes, preflights and addresses where nothing is are none.
    pub fn of<B>(request: &Request<B>) -> Option<Self> {
        if request.method() == Method::OPTIONS {
            return None;
        }
        match request.uri().path() {
            "/" | "/functions/v1/eliza-gatekeeper" => Some(Self::Envelope),
            other => other.starts_with(DIRECT).then_some(Self::Direct),
        }
    }

    const fn as_str(self) -> &'static str {
        match self {
            Self::Envelope => "envelope",
            Self::Direct => "direct",
        }
    }
}

/// Through a door. Calls do without a router: they are nearly all there is, and two comparisons find their door.
pub async fn enter<B: Arriving>(gatekeeper: &Gatekeeper, door: Door, arrived: Arrived, request: Request<B>) -> Response<Said> {
    let method = request.method().clone();
    let begun = match door {
        Door::Envelope => envelope::call(gatekeeper, arrived, request).await,
        Door::Direct => direct::call(gatekeeper, arrived, request).await,
    };
    let mut response = begun.there().await;
    gatekeeper.pipeline.in_step().await;
    // As a router would; but of a body that does not come, how long it would be is not ours to say.
    if !ends_with_its_head(&method, response.status())
        && let (Some(length), false) = (response.body().size_hint().exact(), response.headers().contains_key(CONTENT_LENGTH))
    {
        response.headers_mut().insert(CONTENT_LENGTH, length.into());
    }
    response
}

/// What the data listener answers that is no call.
pub fn router(gatekeeper: Arc<Gatekeeper>) -> Router {
    Router::from(probes::routes(probes::Reader::Anybody))
        .method_not_allowed_fallback(probes::wrong_method)
        .fallback(nothing_here)
        .with_state(gatekeeper)
}

async fn nothing_here(Extension(arrival): Extension<Arrival>, request: Request<Body>) -> Response<Body> {
    if request.method() == Method::OPTIONS {
        return preflight();
    }
    if [Method::TRACE, Method::CONNECT].contains(request.method()) {
        return whole(reply::refusal(&Failure::MethodNotAllowed { allow: "OPTIONS" }.into(), arrival.id));
    }
    whole(reply::no_such_address(arrival.id))
}

/// The original answered any OPTIONS so; the headers that matter are on every answer of this listener.
pub fn preflight() -> Response<Body> {
    Response::new(Body::empty())
}

pub fn whole(answer: reply::Answer) -> Response<Body> {
    answer.map(Body::from)
}
