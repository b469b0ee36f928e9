//! One call to a target, and the request it becomes.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request};

use super::address;
use super::headers::{self, Form, Towards};
use super::upload::{Patience, RequestBody, Upload};
use crate::call::Head;
use crate::policy::Target;
use crate::verdict::Failure;

/// One call to a target.
#[derive(Debug)]
pub struct Order<'a> {
    pub head: &'a Head,
    pub target: &'a Target,
    pub method: Method,
    /// What follows the target's name in the address that was called, query included. Nothing on the envelope door.
    pub rest: &'a str,
    /// The caller's headers, as they came.
    pub headers: &'a HeaderMap,
    pub body: Outgoing,
    pub towards: Towards,
    /// Until the answer begins.
    pub timeout: Duration,
}

#[derive(Debug)]
pub enum Outgoing {
    /// Made by [`shape::body`](super::shape::body).
    Shaped(Bytes),
    /// The caller's own, any content encoding taken off.
    AsSent(Bytes),
    /// The same, with what came behind it.
    WithTrailers(Bytes, HeaderMap),
    /// The caller's own as it arrives, and in whatever encoding.
    Streaming(Upload),
    /// None: the caller asks to go on in this protocol.
    Upgrade(HeaderValue),
}

impl Order<'_> {
    pub(super) fn patience(&self) -> Patience {
        let progress = match &self.body {
            Outgoing::Streaming(upload) => Some(upload.progress()),
            Outgoing::Shaped(_) | Outgoing::AsSent(_) | Outgoing::WithTrailers(..) | Outgoing::Upgrade(_) => None,
        };
        Patience { timeout: self.timeout, progress }
    }

    pub(super) fn asks_for_upgrade(&self) -> bool {
        matches!(self.body, Outgoing::Upgrade(_))
    }
}

pub(super) fn request(order: Order<'_>) -> Result<Request<RequestBody>, Failure> {
    let not_configured = || Failure::TargetNotConfigured { target: order.target.name.clone() };
    let base = order.target.url.as_ref().ok_or_else(not_configured)?;
    let uri = address::join(base, order.rest).ok_or(Failure::BadTarget { what: "it leads out of its target" })?;
    let (form, body) = match order.body {
        Outgoing::Shaped(body) => (Form::Shaped, RequestBody::whole(body)),
        Outgoing::AsSent(body) => (Form::AsSent, RequestBody::whole(body)),
        Outgoing::WithTrailers(body, trailers) => {
            let trailers = Some(headers::fit_for_trailers(trailers));
            (Form::WithTrailers, RequestBody::Whole { data: Some(body), trailers })
        }
        Outgoing::Streaming(upload) => (Form::Streaming, RequestBody::Streaming(upload)),
        Outgoing::Upgrade(protocol) => (Form::Upgrade(protocol), RequestBody::whole(Bytes::new())),
    };
    let headers = headers::towards_target(order.headers, order.head, order.target, order.towards, form).map_err(|_| not_configured())?;
    let mut request = Request::new(body);
    *request.method_mut() = order.method;
    *request.uri_mut() = uri;
    *request.headers_mut() = headers;
    Ok(request)
}
