//! Which plane a request is for, and what every answer carries.

use std::future::ready;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN, CONNECTION, HeaderValue, ORIGIN, VARY,
};
use http::{Request, Response};
use hyper::body::Incoming;
use tokio::sync::watch;
use tower::ServiceExt;

use super::admission::{Admission, Admitted};
use super::cut::Cut;
use super::pace::Paced;
use super::presence::Limits;
use super::proxies;
use super::seats::Manner;
use crate::admin;
use crate::doors::overloaded::{is_call, overloaded};
use crate::doors::{self, Arrival};
use crate::gatekeeper::Gatekeeper;
use crate::identity::CallId;
use crate::policy::Cors;
use crate::reply::{self, X_CALL_ID};
use crate::settings::Pace;
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
    pub admission: Arc<Admission>,
    /// How long connections may do without a call.
    pub limits: Limits,
    /// How fast bodies must come.
    pub pace: Option<Pace>,
    /// Turns true when the connections that are left must end at once.
    pub cut: watch::Sender<bool>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Serving {
    Data,
    Ops,
    Both,
}

/// What becomes of a request before anybody looks at it.
enum Welcome {
    Yes,
    /// There are too many calls: it is refused after this time.
    NotNow(Duration),
    /// There are too many connections: it is refused, and its connection ends.
    Sorry,
}

/// Whose connection it is, and how it is served.
#[derive(Clone, Copy)]
pub(super) struct Caller {
    pub address: SocketAddr,
    pub serving: Serving,
    pub manner: Manner,
}

impl Planes {
    pub async fn answer(&self, request: Request<Incoming>, caller: Caller) -> Response<Body> {
        let id = CallId::new();
        let at = self.gatekeeper.pipeline.clock.now();
        let mut request = request.map(|body| self.paced(body));
        let for_ops = match caller.serving {
            Serving::Data => false,
            Serving::Ops => true,
            Serving::Both => admin::is_ops(request.method(), request.uri().path()),
        };
        let trusted = if for_ops { &[] } else { self.gatekeeper.trusted_proxies.as_slice() };
        let peer = proxies::caller(caller.address.ip(), request.headers(), trusted);
        let arrival = Arrival { id, at, peer };
        request.extensions_mut().insert(arrival);
        let origin = request.headers().get(ORIGIN).cloned();
        let mut response = match self.welcome(&request, caller.manner, for_ops) {
            Welcome::Sorry => {
                let mut response = overloaded(&self.gatekeeper, arrival, request, ready(())).await;
                response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
                response
            }
            Welcome::NotNow(long) => overloaded(&self.gatekeeper, arrival, request, self.admission.keep(long)).await,
            Welcome::Yes => {
                let router = if for_ops { &self.ops } else { &self.data };
                let Ok(response) = router.clone().oneshot(request).await;
                self.admission.made();
                response
            }
        };
        if response.extensions().get::<Panicked>().is_some() {
            response = doors::whole(reply::refusal(&Failure::Internal.into(), id));
        }
        if let Ok(value) = HeaderValue::from_str(&id.to_string()) {
            response.headers_mut().insert(X_CALL_ID, value);
        }
        if !for_ops {
            allow_origin(&mut response, &self.gatekeeper.pipeline.live.current().policy.cors, origin);
        }
        response
    }

    /// Calls alone can be too many; whoever asks how the gatekeeper is must be told.
    fn welcome(&self, request: &Request<Body>, manner: Manner, for_ops: bool) -> Welcome {
        if for_ops || !is_call(request) {
            return Welcome::Yes;
        }
        match (manner, self.admission.judge()) {
            (Manner::Standing, _) => {
                Cut::NoRoom.count(&self.gatekeeper.metrics);
                Welcome::Sorry
            }
            (Manner::Seated, Admitted::No(long)) => Welcome::NotNow(long),
            (Manner::Seated, Admitted::Yes) => Welcome::Yes,
        }
    }

    fn paced(&self, body: Incoming) -> Body {
        match self.pace {
            Some(pace) if !http_body::Body::is_end_stream(&body) => Body::new(Paced::new(body, pace, Arc::clone(&self.gatekeeper.metrics))),
            Some(_) | None => Body::new(body),
        }
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
