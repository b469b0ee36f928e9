//! The ways in. A door turns HTTP into a call and an outcome back into HTTP; what happens in between is the pipeline's.

mod answer;
pub mod direct;
pub mod envelope;
pub mod overloaded;
pub mod probes;

use std::net::IpAddr;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Extension, Request, State};
use axum::response::Response;
use axum::routing::any;
use http::request::Parts;
use http::{HeaderValue, Method, StatusCode};

use crate::call::{DIRECT, Head, Scheme};
use crate::clock::Timestamp;
use crate::gatekeeper::Gatekeeper;
use crate::identity::{CallId, PeerCertificate};
use crate::reply;
use crate::verdict::Failure;

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

    /// The request's head, as the gates read it.
    fn head_of(self, parts: &Parts) -> Result<Head, Failure> {
        let certificate = parts.extensions.get().map(Arc::<PeerCertificate>::clone);
        let mut head = Head::parse(&parts.headers, parts.version, self.id, self.at, self.peer, certificate)?;
        (head.hop.proxy, head.hop.scheme) = (self.proxy, self.scheme);
        // Where the address names a host, that one is meant, whatever `Host` says (RFC 9112, section 3.2.2; RFC 9113, section 8.3.1).
        if let Some(authority) = parts.uri.authority() {
            head.hop.host = HeaderValue::try_from(authority.as_str()).ok();
        }
        Ok(head)
    }
}

/// The data listener's table of contents.
pub fn router(gatekeeper: Arc<Gatekeeper>) -> Router {
    Router::new()
        .route("/", any(envelope::call))
        .route("/functions/v1/eliza-gatekeeper", any(envelope::call))
        .route(DIRECT, any(direct::call))
        .route("/functions/v1/{*address}", any(direct::call))
        .merge(Router::from(probes::routes(probes::Reader::Anybody)))
        .method_not_allowed_fallback(probes::wrong_method)
        .fallback(nothing_here)
        .with_state(gatekeeper)
}

async fn nothing_here(State(_): State<Arc<Gatekeeper>>, Extension(arrival): Extension<Arrival>, request: Request) -> Response {
    if request.method() == Method::OPTIONS {
        return preflight();
    }
    if [Method::TRACE, Method::CONNECT].contains(request.method()) {
        return whole(reply::refusal(&Failure::MethodNotAllowed { allow: "OPTIONS" }.into(), arrival.id));
    }
    whole(reply::no_such_address(arrival.id))
}

/// The original answered any OPTIONS so; the headers that matter are on every answer of this listener.
pub fn preflight() -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::OK;
    response
}

pub fn whole(answer: reply::Answer) -> Response {
    answer.map(Body::from)
}
