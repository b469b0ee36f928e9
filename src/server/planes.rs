//! Which plane a request is for, and what every answer carries.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN, CONNECTION, HeaderValue, ORIGIN, VARY,
};
use http::{Request, Response, StatusCode, Version};
use hyper::body::Incoming;
use tower::ServiceExt;

use super::leaving::Exit;
use super::proxies;
use crate::admin;
use crate::call::Scheme;
use crate::doors::{self, Arrival};
use crate::gatekeeper::Gatekeeper;
use crate::identity::{CallId, PeerCertificate};
use crate::policy::Cors;
use crate::reply::{self, X_CALL_ID};
use crate::tls::Lock;
use crate::verdict::Failure;

const ALLOW_METHODS: HeaderValue = HeaderValue::from_static("GET, POST, PUT, PATCH, DELETE, HEAD, OPTIONS");
const ALLOW_HEADERS: HeaderValue = HeaderValue::from_static(
    "authorization, x-client-info, apikey, content-type, x-eliza-key, x-eliza-source, x-region, x-request-id, traceparent, idempotency-key",
);

/// The two planes, and which of them a request is for.
pub(super) struct Planes {
    pub gatekeeper: Arc<Gatekeeper>,
    pub data: Router,
    pub ops: Router,
    /// For a request's head to arrive.
    pub head: Duration,
    pub exit: Exit,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Serving {
    Data,
    Ops,
    Both,
}

impl Planes {
    /// Of the listeners that share an address, the data listener's is for both.
    pub fn lock(&self, serving: Serving) -> Option<&Lock> {
        match serving {
            Serving::Data | Serving::Both => self.gatekeeper.locks.data.as_ref(),
            Serving::Ops => self.gatekeeper.locks.ops.as_ref(),
        }
    }

    pub async fn answer(
        &self,
        request: Request<Incoming>,
        peer: SocketAddr,
        serving: Serving,
        certificate: Option<Arc<PeerCertificate>>,
    ) -> Response<Body> {
        let id = CallId::new();
        let at = self.gatekeeper.pipeline.clock.now();
        let mut request = request.map(Body::new);
        let for_ops = match serving {
            Serving::Data => false,
            Serving::Ops => true,
            Serving::Both => admin::is_ops(request.method(), request.uri().path()),
        };
        let trusted = if for_ops { &[] } else { self.gatekeeper.trusted_proxies.as_slice() };
        let proxy = proxies::trusted(peer.ip(), trusted);
        let peer = proxies::caller(peer.ip(), request.headers(), trusted);
        let scheme = if self.lock(serving).is_some() { Scheme::Https } else { Scheme::Http };
        request.extensions_mut().insert(Arrival { proxy, scheme, ..Arrival::new(id, at, peer) });
        if let Some(certificate) = certificate {
            request.extensions_mut().insert(certificate);
        }
        let origin = request.headers().get(ORIGIN).cloned();
        let version = request.version();
        let router = if for_ops { &self.ops } else { &self.data };
        let mut response = match router.clone().oneshot(request).await {
            Ok(response) => response,
            Err(never) => match never {},
        };
        if response.extensions().get::<Panicked>().is_some() {
            response = doors::whole(reply::refusal(&Failure::Internal.into(), id));
        }
        if let Ok(value) = HeaderValue::from_str(&id.to_string()) {
            response.headers_mut().insert(X_CALL_ID, value);
        }
        // An upgrade has ended the connection as HTTP, and needs that header itself.
        let is_http1 = version < Version::HTTP_2 && response.status() != StatusCode::SWITCHING_PROTOCOLS;
        if is_http1 && self.exit.is_leaving() {
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        if !for_ops {
            allow_origin(&mut response, &self.gatekeeper.pipeline.live.current().policy.cors, origin);
        }
        response
    }
}

/// CORS as the original's browsers know it, on every answer of the data plane.
fn allow_origin(response: &mut Response<Body>, cors: &Cors, origin: Option<HeaderValue>) {
    let headers = response.headers_mut();
    if cors.origins.iter().any(|allowed| allowed == "*") {
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    } else {
        headers.append(VARY, HeaderValue::from_static("origin"));
        let Some(origin) = origin.filter(|origin| cors.origins.iter().any(|allowed| allowed.as_bytes() == origin.as_bytes())) else {
            return;
        };
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    }
    headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, ALLOW_HEADERS);
    headers.insert(ACCESS_CONTROL_ALLOW_METHODS, ALLOW_METHODS);
}

/// Marks an answer whose handler panicked; the planes put the real one in its place, with the call's id.
#[derive(Clone)]
struct Panicked;

pub(super) fn panicked(_: Box<dyn std::any::Any + Send>) -> Response<Body> {
    tracing::error!("a handler panicked: the call is answered 500 and recorded");
    let mut response = Response::new(Body::empty());
    response.extensions_mut().insert(Panicked);
    response
}
