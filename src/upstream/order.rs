//! One call to a target, and the request it becomes.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, Request};
use http_body_util::Full;

use super::address;
use super::headers::{self, Form, Towards};
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
}

pub(super) fn request(order: Order<'_>) -> Result<Request<Full<Bytes>>, Failure> {
    let not_configured = || Failure::TargetNotConfigured { target: order.target.name.clone() };
    let base = order.target.url.as_ref().ok_or_else(not_configured)?;
    let uri = address::join(base, order.rest).ok_or_else(|| Failure::UnknownTarget { name: order.target.name.to_string() })?;
    let (form, body) = match order.body {
        Outgoing::Shaped(body) => (Form::Shaped, body),
        Outgoing::AsSent(body) => (Form::AsSent, body),
    };
    let headers = headers::towards_target(order.headers, order.head, order.target, order.towards, form).map_err(|_| not_configured())?;
    let mut request = Request::new(Full::new(body));
    *request.method_mut() = order.method;
    *request.uri_mut() = uri;
    *request.headers_mut() = headers;
    Ok(request)
}
