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

use super::cache::Copying;
use super::crowd::InCrowd;
use super::headers::fit_for_trailers;
use super::links::Arriving;
use super::loss::chain;
use super::site::OnSite;
use crate::identity::{CallId, TargetName};
use crate::policy::Target;

/// Why an answer ended before its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AnswerBroken {
    /// The connection was lost, or its framing made no sense.
    Reset,
    /// Nothing came for as long as the target's policy lets an answer stand still.
    Idle,
    /// It was not at its end when the time for the whole call was up.
    TooLong,
}

impl fmt::Display for AnswerBroken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Reset => "the target's answer broke off",
            Self::Idle => "the target's answer stood still",
            Self::TooLong => "the target's answer took too long in all",
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
    /// Of an answer that was kept: all there is.
    kept: Option<Bytes>,
    while_it_lasts: WhileItLasts,
    idle: Duration,
    /// Made when a body first has to be waited for, and used again for every further wait.
    timer: Option<Pin<Box<Sleep>>>,
    waiting: bool,
    call: CallId,
    target: TargetName,
}

/// What an answer holds until it is over.
#[derive(Debug, Default)]
pub(super) struct WhileItLasts {
    /// The call counts at its address, and among those of its target.
    pub _under_way: Option<(OnSite, InCrowd)>,
    /// When the whole call must be over.
    pub until: Option<Instant>,
    pub copying: Option<Box<Copying>>,
    pub _arriving: Option<Arriving>,
}

impl WhileItLasts {
    /// What is kept has no trailers, so an answer that has is not kept.
    fn copy(&mut self, frame: &Frame<Bytes>) {
        self.copying = self.copying.take().and_then(|copying| copying.with(frame.data_ref()?));
    }

    /// Nothing more comes.
    fn end(&mut self) {
        if let Some(copying) = self.copying.take() {
            copying.keep();
        }
        *self = Self::default();
    }
}

impl AnswerBody {
    pub(super) fn new(incoming: Incoming, call: CallId, target: &Target, mut while_it_lasts: WhileItLasts) -> Self {
        if incoming.is_end_stream() {
            while_it_lasts.end();
        }
        let (incoming, idle, target) = (Some(incoming), target.idle_timeout, target.name.clone());
        Self { incoming, kept: None, while_it_lasts, idle, timer: None, waiting: false, call, target }
    }

    /// Of an answer that was kept.
    pub(super) fn kept(body: Bytes, call: CallId, target: &Target) -> Self {
        let (kept, idle, target) = (Some(body).filter(|body| !body.is_empty()), target.idle_timeout, target.name.clone());
        Self { incoming: None, kept, while_it_lasts: WhileItLasts::default(), idle, timer: None, waiting: false, call, target }
    }

    fn is_out_of_time(&self) -> bool {
        self.while_it_lasts.until.is_some_and(|until| until <= Instant::now())
    }

    /// Ends when nothing came for too long, or the time for the whole call is up.
    fn poll_idle(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep(self.idle)));
        if !self.waiting {
            let idle = Instant::now() + self.idle;
            timer.as_mut().reset(self.while_it_lasts.until.map_or(idle, |until| until.min(idle)));
            self.waiting = true;
        }
        timer.as_mut().poll(cx)
    }

    fn broken(&mut self, why: AnswerBroken, error: &str) -> AnswerBroken {
        tracing::warn!(call = %self.call, target_name = %self.target, ?why, error, "target's answer broke off");
        self.incoming = None;
        self.while_it_lasts = WhileItLasts::default();
        why
    }
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = AnswerBroken;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, AnswerBroken>>> {
        let this = &mut *self;
        if let Some(kept) = this.kept.take() {
            return Poll::Ready(Some(Ok(Frame::data(kept))));
        }
        if this.incoming.is_some() && this.is_out_of_time() {
            return Poll::Ready(Some(Err(this.broken(AnswerBroken::TooLong, "the time for the whole call is up"))));
        }
        let Some(incoming) = &mut this.incoming else { return Poll::Ready(None) };
        match Pin::new(&mut *incoming).poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => {
                this.waiting = false;
                this.while_it_lasts.copy(&frame);
                // Nobody asks again once a body says that it has ended.
                if incoming.is_end_stream() {
                    this.while_it_lasts.end();
                }
                Poll::Ready(Some(Ok(match frame.into_trailers() {
                    Ok(trailers) => Frame::trailers(fit_for_trailers(trailers)),
                    Err(frame) => frame,
                })))
            }
            Poll::Ready(Some(Err(error))) => Poll::Ready(Some(Err(this.broken(AnswerBroken::Reset, &chain(&error))))),
            Poll::Ready(None) => {
                this.while_it_lasts.end();
                Poll::Ready(None)
            }
            Poll::Pending => {
                ready!(this.poll_idle(cx));
                let why = if this.is_out_of_time() {
                    this.broken(AnswerBroken::TooLong, "the time for the whole call is up")
                } else {
                    this.broken(AnswerBroken::Idle, "idle")
                };
                Poll::Ready(Some(Err(why)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.kept.is_none() && self.incoming.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        let kept = || self.kept.as_ref().map_or(0, |kept| kept.len() as u64);
        self.incoming.as_ref().map_or_else(|| SizeHint::with_exact(kept()), Body::size_hint)
    }
}
