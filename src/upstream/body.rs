//! The body of an answer as it arrives: frame by frame, and ended where it stands still.

use std::error::Error;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::{Instant, Sleep};

use super::headers::fit_for_trailers;
use super::loss::chain;
use crate::identity::{CallId, TargetName};
use crate::policy::Target;

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
    pub(super) fn new(incoming: Incoming, call: CallId, target: &Target) -> Self {
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
        let Some(incoming) = &mut this.incoming else { return Poll::Ready(None) };
        match Pin::new(incoming).poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => {
                this.waiting = false;
                Poll::Ready(Some(Ok(match frame.into_trailers() {
                    Ok(trailers) => Frame::trailers(fit_for_trailers(trailers)),
                    Err(frame) => frame,
                })))
            }
            Poll::Ready(Some(Err(error))) => Poll::Ready(Some(Err(this.broken(AnswerBroken::Reset, &chain(&error))))),
            Poll::Ready(None) => Poll::Ready(None),
            Poll::Pending => {
                ready!(this.poll_idle(cx));
                Poll::Ready(Some(Err(this.broken(AnswerBroken::Idle, "idle"))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.as_ref().map_or_else(|| SizeHint::with_exact(0), Body::size_hint)
    }
}
