//! The body that a target is sent: whole, or a caller's as it arrives. Of one that arrives it is always known who keeps whom waiting, so
//! that neither a slow caller is counted against the target nor the other way round.

use std::error::Error;
use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use http_body_util::combinators::UnsyncBoxBody;
use tokio::time::{Instant, Sleep, sleep, sleep_until};

use super::headers::fit_for_trailers;
use super::links::IDLE;
use super::order::{Order, Outgoing};
use crate::call::Traffic;
use crate::verdict::Failure;

type BoxError = Box<dyn Error + Send + Sync>;

/// What goes out.
#[derive(Debug)]
pub enum RequestBody {
    Whole {
        data: Option<Bytes>,
        /// With these, its length is not announced: it ends with them. In a box, for few have any, and every request is moved often.
        trailers: Option<Box<HeaderMap>>,
    },
    Streaming(Upload),
}

impl RequestBody {
    pub const fn whole(data: Bytes) -> Self {
        Self::Whole { data: Some(data), trailers: None }
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match self.get_mut() {
            Self::Whole { data, trailers } => {
                let rest = data.take().filter(|data| !data.is_empty()).map(Frame::data);
                Poll::Ready(rest.or_else(|| trailers.take().map(|trailers| Frame::trailers(*trailers))).map(Ok))
            }
            Self::Streaming(upload) => Pin::new(upload).poll_frame(cx).map_err(Into::into),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole { data, trailers } => data.as_ref().is_none_or(Bytes::is_empty) && trailers.is_none(),
            Self::Streaming(upload) => upload.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole { data, trailers: None } => SizeHint::with_exact(data.as_ref().map_or(0, Bytes::len) as u64),
            Self::Whole { trailers: Some(_), .. } => SizeHint::default(),
            Self::Streaming(upload) => upload.size_hint(),
        }
    }
}

/// A caller's body on its way, piece by piece as the target takes it.
pub struct Upload {
    /// Gone once it has ended badly.
    body: Option<UnsyncBoxBody<Bytes, BoxError>>,
    /// How long the caller may stand still.
    idle: Duration,
    timer: Option<Pin<Box<Sleep>>>,
    progress: Arc<Progress>,
    traffic: Arc<Traffic>,
}

impl fmt::Debug for Upload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upload").field("progress", &self.progress).finish_non_exhaustive()
    }
}

impl Upload {
    /// `traffic` is told of every byte that goes out.
    pub fn new<B>(body: B, idle: Duration, traffic: Arc<Traffic>) -> Self
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let body = body.map_err(Into::into).boxed_unsync();
        Self { body: Some(body), idle, timer: None, progress: Arc::new(Progress::new()), traffic }
    }

    pub(super) fn progress(&self) -> Arc<Progress> {
        Arc::clone(&self.progress)
    }

    fn broken(&mut self, why: UploadBroken) -> UploadBroken {
        self.body = None;
        self.progress.now(Turn::Over(why));
        why
    }
}

impl Body for Upload {
    type Data = Bytes;
    type Error = UploadBroken;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, UploadBroken>>> {
        let this = &mut *self;
        let Some(body) = &mut this.body else { return Poll::Ready(None) };
        match Pin::new(body).poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => {
                this.progress.now(Turn::Targets);
                this.traffic.goes_up(frame.data_ref().map_or(0, Bytes::len));
                Poll::Ready(Some(Ok(match frame.into_trailers() {
                    Ok(trailers) => Frame::trailers(fit_for_trailers(trailers)),
                    Err(frame) => frame,
                })))
            }
            Poll::Ready(Some(Err(_))) => Poll::Ready(Some(Err(this.broken(UploadBroken::Reset)))),
            Poll::Ready(None) => {
                this.progress.now(Turn::Targets);
                Poll::Ready(None)
            }
            Poll::Pending => {
                let timer = this.timer.get_or_insert_with(|| Box::pin(sleep(this.idle)));
                if this.progress.wait_for_caller() {
                    timer.as_mut().reset(Instant::now() + this.idle);
                }
                ready!(timer.as_mut().poll(cx));
                Poll::Ready(Some(Err(this.broken(UploadBroken::Idle))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or_else(SizeHint::default, Body::size_hint)
    }
}

/// Why a caller's body ended before its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UploadBroken {
    Reset,
    Idle,
}

impl fmt::Display for UploadBroken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Reset => "the caller's body broke off",
            Self::Idle => "the caller's body stood still",
        })
    }
}

impl Error for UploadBroken {}

/// Whose turn it is, and since when.
#[derive(Debug)]
pub(super) struct Progress(Mutex<(Turn, Instant)>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Turn {
    Callers,
    Targets,
    Over(UploadBroken),
}

impl Progress {
    fn new() -> Self {
        Self(Mutex::new((Turn::Targets, Instant::now())))
    }

    fn lock(&self) -> MutexGuard<'_, (Turn, Instant)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self, turn: Turn) {
        *self.lock() = (turn, Instant::now());
    }

    /// Whether the wait begins now.
    fn wait_for_caller(&self) -> bool {
        let mut state = self.lock();
        let begins = state.0 != Turn::Callers;
        if begins {
            *state = (Turn::Callers, Instant::now());
        }
        begins
    }
}

/// How long a target may take until its answer begins, its time running only while it is its turn.
#[derive(Debug)]
pub(super) struct Patience {
    timeout: Duration,
    /// Whatever happens, and however often it is tried.
    until: Option<Instant>,
    /// Of a body that is still on its way.
    progress: Option<Arc<Progress>>,
    /// How long what is left of a call behind its answer may stand still.
    rest: Duration,
}

impl Patience {
    pub fn of(order: &Order<'_>, body: &Outgoing, all_until: Option<Instant>) -> Self {
        let (timeout, progress) = (order.timeout, body.progress());
        let until = match progress {
            // The caller's own time runs in the body.
            Some(_) => all_until,
            None => {
                let until = Instant::now() + timeout;
                Some(all_until.map_or(until, |all| all.min(until)))
            }
        };
        Self { timeout, until, progress, rest: order.target.idle_timeout }
    }

    /// Of whoever has a bound of its own.
    pub const fn endless() -> Self {
        Self { timeout: Duration::MAX, until: None, progress: None, rest: IDLE }
    }

    pub fn of_the_rest(&self) -> Duration {
        self.rest
    }

    /// Whether there is more than this left.
    pub fn lasts(&self, wait: Duration) -> bool {
        self.until.is_none_or(|until| Instant::now() + wait < until)
    }

    /// Ends when it does. `timer` may have run before, and be used again behind this.
    pub async fn over(&self, timer: &mut Option<Pin<Box<Sleep>>>) {
        let Some(progress) = &self.progress else { return at(self.until, timer).await };
        tokio::select! {
            () = self.turn_is_over(progress) => {}
            () = at(self.until, timer) => {}
        }
    }

    async fn turn_is_over(&self, progress: &Progress) {
        loop {
            let (turn, since) = *progress.lock();
            let end = match turn {
                Turn::Targets => since + self.timeout,
                // The caller's own time runs in the body.
                Turn::Callers | Turn::Over(_) => Instant::now() + self.timeout,
            };
            if end <= Instant::now() {
                return;
            }
            sleep_until(end).await;
        }
    }

    /// Why there is no answer, if the target is not to blame.
    pub fn callers_fault(&self) -> Option<Failure> {
        match self.progress.as_ref()?.lock().0 {
            Turn::Callers | Turn::Targets => None,
            Turn::Over(UploadBroken::Reset) => Some(Failure::BodyBroken),
            Turn::Over(UploadBroken::Idle) => Some(Failure::BodyTooSlow),
        }
    }
}

async fn at(moment: Option<Instant>, timer: &mut Option<Pin<Box<Sleep>>>) {
    let Some(moment) = moment else { return std::future::pending().await };
    let timer = timer.get_or_insert_with(|| Box::pin(sleep_until(moment)));
    if timer.deadline() > moment {
        timer.as_mut().reset(moment);
    }
    timer.as_mut().await;
    // One of a call before, which is put off only where it has run out: most calls are over by then.
    while timer.deadline() < moment {
        timer.as_mut().reset(moment);
        timer.as_mut().await;
    }
}
