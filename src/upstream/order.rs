//! One call to a target, and the request it becomes.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::CONTENT_LENGTH;
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, Method, Request, Uri};

use super::address;
use super::clients::Door;
use super::headers::{self, Form, Towards};
use super::phrases::Phrases;
use super::upload::{Progress, RequestBody, Upload};
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
    /// Whose call it is, as it is recorded. Nothing of what the gatekeeper asks on its own account.
    pub caller: Option<&'a str>,
    /// On the envelope door, what the target will carry out.
    pub action: Option<&'a str>,
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

impl Outgoing {
    /// The same once more, for another try. `None` of what can be sent only once.
    pub fn again(&self) -> Option<Self> {
        match self {
            Self::Shaped(body) => Some(Self::Shaped(body.clone())),
            Self::AsSent(body) => Some(Self::AsSent(body.clone())),
            Self::WithTrailers(body, trailers) => Some(Self::WithTrailers(body.clone(), trailers.clone())),
            Self::Upgrade(protocol) => Some(Self::Upgrade(protocol.clone())),
            Self::Streaming(_) => None,
        }
    }

    /// Of one that is still on its way: whose turn it is.
    pub(super) fn progress(&self) -> Option<Arc<Progress>> {
        match self {
            Self::Streaming(upload) => Some(upload.progress()),
            Self::Shaped(_) | Self::AsSent(_) | Self::WithTrailers(..) | Self::Upgrade(_) => None,
        }
    }
}

impl Order<'_> {
    /// What goes out is taken from it for each try.
    pub(super) fn take_body(&mut self) -> Outgoing {
        std::mem::replace(&mut self.body, Outgoing::AsSent(Bytes::new()))
    }
}

/// What the target sees beside the body.
pub(super) fn outgoing_headers(order: &Order<'_>, body: &Outgoing, phrases: &Phrases) -> Result<HeaderMap, Failure> {
    let form = match body {
        Outgoing::Shaped(_) => Form::Shaped,
        Outgoing::AsSent(_) => Form::AsSent,
        Outgoing::WithTrailers(..) => Form::WithTrailers,
        Outgoing::Streaming(_) => Form::Streaming,
        Outgoing::Upgrade(protocol) => Form::Upgrade(protocol.clone()),
    };
    let headers = headers::towards_known(order.headers, order.head, order.target, order.towards, form, phrases);
    headers.map_err(|_| Failure::TargetNotConfigured { target: order.target.name.clone() })
}

/// One of the target's addresses, and the way there.
pub struct Approach {
    pub(super) door: Door,
    /// What a request over HTTP/1.1 says of it that has nothing behind it.
    path: Uri,
}

impl Approach {
    pub(super) fn to(url: &Uri, door: Door) -> Self {
        let path = url.path_and_query().cloned().unwrap_or(PathAndQuery::from_static("/"));
        Self { door, path: path.into() }
    }

    /// What the request is for: a path where its connection says the rest, a whole address where that is yet to be read from it.
    pub(super) fn uri(&self, url: &Uri, rest: &str) -> Option<Uri> {
        match self.door {
            Door::Apart(_) if rest.is_empty() => Some(self.path.clone()),
            Door::Apart(_) => address::path(url, rest).map(Uri::from),
            Door::Shared(_) => address::join(url, rest),
        }
    }
}

/// The request at one of the target's addresses. In a box, for it goes through many hands.
pub(super) fn request(
    order: &Order<'_>,
    phrases: &Phrases,
    at: &Approach,
    url: &Uri,
    body: Outgoing,
) -> Result<Box<Request<RequestBody>>, Failure> {
    let uri = at.uri(url, order.rest).ok_or(Failure::BadTarget { what: "it leads out of its target" })?;
    let mut headers = outgoing_headers(order, &body, phrases)?;
    let body = match body {
        Outgoing::Shaped(body) | Outgoing::AsSent(body) => {
            // hyper would say it as well, and ask for memory twice. Of no body it knows whether to say so.
            if !body.is_empty()
                && let Ok(length) = HeaderValue::from_str(itoa::Buffer::new().format(body.len()))
            {
                headers.insert(CONTENT_LENGTH, length);
            }
            RequestBody::whole(body)
        }
        Outgoing::WithTrailers(body, trailers) => {
            RequestBody::Whole { data: Some(body), trailers: Some(Box::new(headers::fit_for_trailers(trailers))) }
        }
        Outgoing::Streaming(upload) => RequestBody::Streaming(upload),
        Outgoing::Upgrade(_) => RequestBody::whole(Bytes::new()),
    };
    let mut request = Box::new(Request::new(body));
    *request.method_mut() = order.method.clone();
    *request.uri_mut() = uri;
    *request.headers_mut() = headers;
    Ok(request)
}
