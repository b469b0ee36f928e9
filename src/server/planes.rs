//! Which plane a request is for, and what every answer carries.

use std::any::Any;
use std::future::ready;
use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN, CONNECTION, HeaderValue, ORIGIN, VARY,
};
use http::{HeaderMap, Method, Request, Response, StatusCode, Version};
use hyper::body::Incoming;
use tower::ServiceExt;
use uuid::Uuid;

use super::admission::{Admission, Admitted};
use super::cut::Cut;
use super::leaving::Exit;
use super::pace::Paced;
use super::presence::{Limits, Presence};
use super::proxies;
use super::seats::Manner;
use crate::admin;
use crate::call::Scheme;
use crate::doors::{Arrival, Arrived, Door, Said, enter, overloaded, whole};
use crate::gatekeeper::Gatekeeper;
use crate::identity::{CallId, PeerCertificate};
use crate::policy::Cors;
use crate::reply::{self, X_CALL_ID};
use crate::settings::Pace;
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
    pub admission: Arc<Admission>,
    /// How long connections may do without a call.
    pub limits: Limits,
    /// How fast bodies must come.
    pub pace: Option<Pace>,
    pub exit: Exit,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Serving {
    Data,
    Ops,
    Both,
}

/// What becomes of a request before anybody looks at it.
enum Welcome {
    Yes(Door),
    /// It is no call: whoever asks how the gatekeeper is must be told.
    Always,
    /// There are too many calls: it is refused after this time.
    NotNow(Door, Duration),
    /// There are too many connections: it is refused, and its connection ends.
    Sorry(Door),
}

/// Whose connection it is, and how it is served.
#[derive(Clone, Copy)]
pub(super) struct Caller {
    pub address: SocketAddr,
    pub serving: Serving,
    pub manner: Manner,
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
        Caller { address, serving, manner }: Caller,
        certificate: Option<Arc<PeerCertificate>>,
        presence: &Presence,
    ) -> Response<Said> {
        let id = CallId::new();
        let at = self.gatekeeper.pipeline.clock.now();
        let request = request.map(|body| Paced::new(body, self.pace, presence.clone()));
        let for_ops = match serving {
            Serving::Data => false,
            Serving::Ops => true,
            Serving::Both => admin::is_ops(request.method(), request.uri().path()),
        };
        let trusted = if for_ops { &[] } else { self.gatekeeper.trusted_proxies.as_slice() };
        let proxy = proxies::trusted(address.ip(), trusted);
        let peer = proxies::caller(address.ip(), request.headers(), trusted);
        let scheme = if self.lock(serving).is_some() { Scheme::Https } else { Scheme::Http };
        let arrival = Arrival { proxy, scheme, ..Arrival::new(id, at, peer) };
        let origin = request.headers().get(ORIGIN).cloned();
        let (version, is_head) = (request.version(), request.method() == Method::HEAD);
        let door = if for_ops { None } else { Door::of(&request) };
        let welcome = self.welcome(door, manner);
        let mut response = match welcome {
            Welcome::Yes(door) => {
                // Where it is, from its beginning to its end: it is large, and would be moved by all that is put around it.
                let entered = pin!(enter(&self.gatekeeper, door, Arrived { arrival, certificate }, request));
                let response = caught(id, entered).await;
                self.admission.made();
                response
            }
            Welcome::Always => {
                let router = if for_ops { &self.ops } else { &self.data };
                self.route(router, arrival, certificate, request).await
            }
            Welcome::NotNow(door, long) => {
                // What is rare takes no room in what is kept of every call.
                Box::pin(overloaded(&self.gatekeeper, door, arrival, request, self.admission.keep(long))).await
            }
            Welcome::Sorry(door) => Box::pin(overloaded(&self.gatekeeper, door, arrival, request, ready(()))).await,
        };
        if is_head {
            // Over HTTP/2, hyper would send it.
            *response.body_mut() = Said::nothing();
        }
        let mut text = Uuid::encode_buffer();
        if let Ok(value) = HeaderValue::from_str(id.0.hyphenated().encode_lower(&mut text)) {
            response.headers_mut().insert(X_CALL_ID, value);
        }
        // An upgrade has ended the connection as HTTP, and needs that header itself.
        let is_http1 = version < Version::HTTP_2 && response.status() != StatusCode::SWITCHING_PROTOCOLS;
        if is_http1 && (self.exit.is_leaving() || matches!(welcome, Welcome::Sorry(_))) {
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        if !for_ops {
            allow_origin(response.headers_mut(), &self.gatekeeper.pipeline.live.current().policy.cors, origin);
        }
        response
    }

    fn welcome(&self, door: Option<Door>, manner: Manner) -> Welcome {
        match (door, manner) {
            (None, _) => Welcome::Always,
            // They take nobody's turn.
            (Some(door), Manner::Standing) => {
                Cut::NoRoom.count(&self.gatekeeper.metrics);
                Welcome::Sorry(door)
            }
            (Some(door), Manner::Seated) => match self.admission.judge() {
                Admitted::No(long) => Welcome::NotNow(door, long),
                Admitted::Yes => Welcome::Yes(door),
            },
        }
    }

    /// What is no call.
    fn route(
        &self,
        router: &Router,
        arrival: Arrival,
        certificate: Option<Arc<PeerCertificate>>,
        request: Request<Paced<Incoming>>,
    ) -> BoxFuture<'static, Response<Said>> {
        let (router, mut request) = (router.clone(), request.map(Body::new));
        request.extensions_mut().insert(arrival);
        if let Some(certificate) = certificate {
            request.extensions_mut().insert(certificate);
        }
        let answered = router.oneshot(request).map(move |Ok(response)| match response.extensions().get::<Panicked>() {
            None => response.map(Said::from),
            Some(Panicked) => internal(arrival.id),
        });
        answered.boxed()
    }
}

/// A call's answer, whatever becomes of whoever makes it: a panic stays one call's, which has left its record on the way out. Without the
/// layer that catches those of everything else: that one would put every answer's body into a box.
fn caught(id: CallId, answering: impl Future<Output = Response<Said>>) -> impl Future<Output = Response<Said>> {
    AssertUnwindSafe(answering).catch_unwind().map(move |answered| {
        answered.unwrap_or_else(|_| {
            tracing::error!("a call panicked: it is answered 500 and recorded");
            internal(id)
        })
    })
}

/// Marks an answer whose handler panicked; the real one, which has the call's id, is put in its place.
#[derive(Clone)]
struct Panicked;

pub(super) fn panicked(_: Box<dyn Any + Send>) -> Response<Body> {
    tracing::error!("a handler panicked: the request is answered 500");
    let mut response = Response::new(Body::empty());
    response.extensions_mut().insert(Panicked);
    response
}

fn internal(id: CallId) -> Response<Said> {
    whole(reply::refusal(&Failure::Internal.into(), id)).map(Said::from)
}

/// CORS as the original's browsers know it, on every answer of the data plane.
fn allow_origin(headers: &mut HeaderMap, cors: &Cors, origin: Option<HeaderValue>) {
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

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;
    use crate::clock::Timestamp;
    use crate::record::{Notes, Recorder, Trail};

    #[tokio::test]
    async fn a_call_that_panics_is_answered_and_recorded() {
        let directory = tempfile::tempdir().unwrap();
        let recorder = Recorder::within(directory.path());
        let id = CallId::new();
        let trail = Trail::new(Notes::new(id, Timestamp::default(), [192, 0, 2, 7].into(), "envelope"), recorder.clone());
        let answer = caught(id, async move {
            let _trail = trail;
            tokio::task::yield_now().await;
            panic!("as a gate with a fault in it would");
        });
        let answer = answer.await;
        assert_eq!(answer.status(), StatusCode::INTERNAL_SERVER_ERROR);
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        assert!(String::from_utf8_lossy(&body).contains(&id.to_string()), "{body:?}");
        assert_eq!(recorder.journal().standing().waiting, 1);
    }
}
