//! The client: one call, sent once, and its answer streamed back. Redirects are the caller's to follow.

use std::error::Error;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode};
use http_body::{Body, Frame, SizeHint};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_util::client::legacy::{Client, Error as SendError};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio::time::{Instant, Sleep};

use super::address;
use super::breaker::{BreakerView, Breakers, Conduct};
use super::dial::{Connector, Dial};
use super::headers::{self, Form, Towards};
use crate::call::Head;
use crate::clock::Clock;
use crate::identity::{CallId, TargetName};
use crate::policy::{Target, Targets};
use crate::verdict::Failure;

/// Shorter than the shortest keep-alive in common use (five seconds), so that a target hardly ever closes a connection just as a call
/// is written to it: such a call may have been read, and could not be sent again.
const POOL_IDLE: Duration = Duration::from_secs(4);
const POOL_IDLE_PER_TARGET: usize = 256;
/// Bounds the head of an answer, and how much of its body is held at once. hyper itself bounds the number of headers, at 100.
const READ_BUFFER: usize = 64 * 1024;

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

/// A target's answer: its head, and a body that is still arriving.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: AnswerBody,
}

#[derive(Debug)]
pub struct Upstream {
    pub(super) client: Client<Connector, Full<Bytes>>,
    breakers: Breakers,
}

impl Upstream {
    pub fn new(dial: Dial, clock: Clock) -> Self {
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(POOL_IDLE)
            .pool_max_idle_per_host(POOL_IDLE_PER_TARGET)
            .http1_max_buf_size(READ_BUFFER)
            // Safe for every call: hyper hands a request back only while it still lies in the queue of a connection that turned out
            // dead, before a byte of it was written. Once a connection has taken it, its loss is an error and no second try.
            .retry_canceled_requests(true)
            .build(Connector::new(dial));
        Self { client, breakers: Breakers::new(clock) }
    }

    pub async fn forward(&self, order: Order<'_>) -> Result<Answer, Failure> {
        let target = order.target;
        let (id, timeout) = (order.head.id, order.timeout);
        let request = request(order)?;
        let pass = self.breakers.admit(target).map_err(|retry_after| Failure::BreakerOpen { target: target.name.clone(), retry_after })?;

        let outcome = match tokio::time::timeout(timeout, self.client.request(request)).await {
            // Nothing that is sent from here asks for another protocol.
            Ok(Ok(response)) if response.status() == StatusCode::SWITCHING_PROTOCOLS => Err((Loss::Nonsense, "101 unasked".to_owned())),
            Ok(Ok(response)) => Ok(response),
            Ok(Err(error)) => Err((Loss::of(&error), chain(&error))),
            Err(_) => Err((Loss::TooSlow, format!("nothing within {timeout:?}"))),
        };
        pass.report(match &outcome {
            Ok(response) if is_targets_failure(response.status()) => Conduct::Failed,
            Ok(_) => Conduct::Answered,
            Err(_) => Conduct::Failed,
        });

        let lost = |(loss, error): (Loss, String)| {
            tracing::warn!(call = %id, target_name = %target.name, ?loss, error, "target gave no answer");
            loss.to_failure(&target.name)
        };
        let (mut parts, incoming) = outcome.map_err(lost)?.into_parts();
        headers::towards_caller(&mut parts.headers);
        let body = AnswerBody::new(incoming, id, target);
        Ok(Answer { status: parts.status, headers: parts.headers, body })
    }

    /// Why a call to this target would be refused before anything is sent; asks without taking a trial's place.
    pub fn would_refuse(&self, target: &Target) -> Option<Failure> {
        if target.url.is_none() {
            return Some(Failure::TargetNotConfigured { target: target.name.clone() });
        }
        let retry_after = self.breakers.would_refuse(&target.name)?;
        Some(Failure::BreakerOpen { target: target.name.clone(), retry_after })
    }

    /// To be told of every policy before it comes into force: only its targets have breakers.
    pub fn follow(&self, targets: &Targets) {
        self.breakers.follow(targets);
    }

    pub fn breakers(&self) -> Vec<(TargetName, BreakerView)> {
        self.breakers.view()
    }
}

fn request(order: Order<'_>) -> Result<Request<Full<Bytes>>, Failure> {
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

/// The answers that speak of a target that is down rather than of the call. An application's own 500 is its answer.
fn is_targets_failure(status: StatusCode) -> bool {
    matches!(status, StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT)
}

/// How an answer was lost before it began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Loss {
    Unreachable,
    TooSlow,
    Reset,
    Nonsense,
}

impl Loss {
    fn of(error: &SendError) -> Self {
        let causes = || causes(error);
        let io = || causes().find_map(|cause| cause.downcast_ref::<std::io::Error>());
        if error.is_connect() {
            let timed_out = io().is_some_and(|io| io.kind() == std::io::ErrorKind::TimedOut);
            return if timed_out { Self::TooSlow } else { Self::Unreachable };
        }
        match causes().find_map(|cause| cause.downcast_ref::<hyper::Error>()) {
            Some(http) if http.is_parse() => Self::Nonsense,
            Some(http) if http.is_incomplete_message() || http.is_canceled() || http.is_closed() => Self::Reset,
            _ if io().is_some() => Self::Reset,
            // What is left are bytes that came before anything was asked.
            _ => Self::Nonsense,
        }
    }

    fn to_failure(self, target: &TargetName) -> Failure {
        let target = target.clone();
        match self {
            Self::Unreachable => Failure::Unreachable { target },
            Self::TooSlow => Failure::TargetTooSlow { target },
            Self::Reset => Failure::TargetReset { target },
            Self::Nonsense => Failure::TargetNonsense { target },
        }
    }
}

fn causes<'a>(error: &'a dyn Error) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(error.source(), |cause: &&'a (dyn Error + 'static)| (*cause).source())
}

/// An error with everything that caused it, on one line, for the log.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    for cause in causes(error) {
        text.push_str(": ");
        text.push_str(&cause.to_string());
    }
    text
}

/// Why an answer ended before its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AnswerBroken {
    /// The connection was lost, or its framing made no sense.
    Reset,
    /// Nothing came for as long as the target's policy lets an answer stand still.
    Idle,
}

impl fmt::Display for AnswerBroken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Reset => "the target's answer broke off",
            Self::Idle => "the target's answer stood still",
        })
    }
}

impl Error for AnswerBroken {}

/// The body of an answer, frame by frame as it arrives. Time only counts against the target while something is asked of it: a caller
/// that reads slowly does not break its own answer.
#[derive(Debug)]
pub struct AnswerBody {
    /// Gone once it has ended badly, and the connection with it.
    incoming: Option<Incoming>,
    idle: Duration,
    /// Made when a body first has to be waited for, and used again for every further wait.
    timer: Option<Pin<Box<Sleep>>>,
    waiting: bool,
    call: CallId,
    target: TargetName,
}

impl AnswerBody {
    fn new(incoming: Incoming, call: CallId, target: &Target) -> Self {
        Self { incoming: Some(incoming), idle: target.idle_timeout, timer: None, waiting: false, call, target: target.name.clone() }
    }

    fn poll_idle(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep(self.idle)));
        if !self.waiting {
            timer.as_mut().reset(Instant::now() + self.idle);
            self.waiting = true;
        }
        timer.as_mut().poll(cx)
    }

    fn broken(&mut self, why: AnswerBroken, error: &str) -> AnswerBroken {
        tracing::warn!(call = %self.call, target_name = %self.target, ?why, error, "target's answer broke off");
        self.incoming = None;
        why
    }
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = AnswerBroken;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, AnswerBroken>>> {
        let this = &mut *self;
        while let Some(incoming) = &mut this.incoming {
            match Pin::new(incoming).poll_frame(cx) {
                // Trailers end with the hop, as the `Trailer` header does that would announce them.
                Poll::Ready(Some(Ok(frame))) if !frame.is_data() => {}
                Poll::Ready(Some(Ok(frame))) => {
                    this.waiting = false;
                    return Poll::Ready(Some(Ok(frame)));
                }
                Poll::Ready(Some(Err(error))) => return Poll::Ready(Some(Err(this.broken(AnswerBroken::Reset, &chain(&error))))),
                Poll::Ready(None) => return Poll::Ready(None),
                Poll::Pending => {
                    ready!(this.poll_idle(cx));
                    return Poll::Ready(Some(Err(this.broken(AnswerBroken::Idle, "idle"))));
                }
            }
        }
        Poll::Ready(None)
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.as_ref().map_or_else(|| SizeHint::with_exact(0), Body::size_hint)
    }
}
