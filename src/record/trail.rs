//! The trail of one call: notes on the way, one record at the end.
//!
//! It travels in the answer's body, so a call ends when its last byte is out, and dropping it records what was cut short: a caller
//! that hung up, a stream that broke, a handler that panicked. Every call leaves exactly one record.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::Buf;
use futures_util::future::{BoxFuture, FutureExt};
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::timeout;

use super::Recorder;
use super::compose::compose;
use super::notes::{Ending, Notes, WouldDeny};
use crate::call::Traffic;
use crate::identity::{Caller, TargetName};
use crate::journal::{Class, Durable};
use crate::telemetry::metrics::{GateLabel, Metrics};
use crate::verdict::{Denial, Failure, GateName, Refusal, SqlFinding};

/// How long an answer waits for the disk at most.
const PATIENCE: Duration = Duration::from_secs(10);

/// More than the texts of most records take, and less than what an allocator gives away with more ado.
const TEXTS: usize = 1000;

/// In a box from the beginning: it is moved from hand to hand all the way.
#[derive(Debug)]
pub struct Trail {
    notes: Notes,
    recorder: Recorder,
    started: Instant,
    keep: Keep,
    /// The call's place among those under way; given back when the call ends.
    place: Option<OwnedSemaphorePermit>,
    /// What streams while nobody takes notes.
    traffic: Option<Arc<Traffic>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Keep {
    Record,
    /// Counted elsewhere, with others like it.
    Folded,
    Done,
}

impl Trail {
    pub fn new(notes: Notes, recorder: Recorder) -> Box<Self> {
        recorder.metrics().in_flight.inc();
        Box::new(Self { notes, recorder, started: Instant::now(), keep: Keep::Record, place: None, traffic: None })
    }

    /// Of a call that is not made: takes notes, and leaves neither record nor metric.
    pub fn of_nothing(notes: Notes, recorder: Recorder) -> Box<Self> {
        Box::new(Self { notes, recorder, started: Instant::now(), keep: Keep::Done, place: None, traffic: None })
    }

    pub fn notes(&self) -> &Notes {
        &self.notes
    }

    pub fn note(&mut self) -> &mut Notes {
        &mut self.notes
    }

    /// A denial that enforcement let pass.
    pub fn would_deny(&mut self, gate: GateName, denial: &Denial) {
        if self.keep != Keep::Done {
            self.recorder.metrics().would_deny.get_or_create(&GateLabel { gate: gate.as_str() }).inc();
        }
        self.notes.would_deny.push(WouldDeny { gate, denial: denial.clone() });
    }

    pub fn hold(&mut self, place: OwnedSemaphorePermit) {
        self.place = Some(place);
    }

    /// Counts what streams past the notes among the call's bytes.
    pub fn follow(&mut self, traffic: Arc<Traffic>) {
        self.traffic = Some(traffic);
    }

    /// The answer can go out. Returns what of the call's time was the gatekeeper's own.
    pub fn answer_begins(&mut self) -> Duration {
        let Notes { asking, upstream, reading, overhead, .. } = &mut self.notes;
        *overhead.get_or_insert_with(|| {
            let others = asking.unwrap_or_default() + upstream.unwrap_or_default() + *reading;
            self.started.elapsed().saturating_sub(others)
        })
    }

    /// Leaves no record of its own: the call is one of a counted many.
    pub fn fold(&mut self) {
        self.keep = Keep::Folded;
        self.recorder.metrics().strangers_folded.inc();
    }

    pub fn is_folded(&self) -> bool {
        self.keep == Keep::Folded
    }

    /// What the caller must wait for before it has the last of the answer, if anything.
    fn finish(&mut self) -> Option<Durable> {
        let keep = std::mem::replace(&mut self.keep, Keep::Done);
        if keep == Keep::Done {
            return None;
        }
        let took = self.started.elapsed();
        if let Some(traffic) = self.traffic.take() {
            self.notes.request_bytes += traffic.up();
            self.notes.response_bytes += traffic.down();
        }
        let ending = self.notes.ending.take().unwrap_or_else(|| {
            if std::thread::panicking() { Ending::Refused(Refusal::Failed(Failure::Internal)) } else { Ending::Abandoned { status: None } }
        });
        self.log(&ending);
        let metrics = self.recorder.metrics();
        metrics.in_flight.dec();
        metrics.count_call(self.notes.door, ending.label());
        metrics.call_seconds.observe(took.as_secs_f64());
        if let Some(upstream) = self.notes.upstream {
            metrics.target_seconds.observe(upstream.as_secs_f64());
        }
        if let Some(overhead) = self.notes.overhead {
            metrics.overhead_seconds.observe(overhead.as_secs_f64());
        }
        if self.notes.request_bytes > 0 {
            metrics.request_bytes.observe(self.notes.request_bytes as f64);
        }
        let durable = match keep {
            Keep::Record => {
                let mut texts = String::with_capacity(TEXTS);
                let record = compose(&self.notes, &ending, took, &mut texts);
                let class = self.class_after(&ending);
                match &self.place {
                    Some(_) => self.recorder.record(class, &record),
                    None => self.recorder.record_turned_away(class, &record),
                }
            }
            Keep::Folded | Keep::Done => None,
        };
        self.place = None;
        durable.filter(|durable| !durable.is_kept())
    }

    /// Calls of those who failed authentication cannot take the room of the others.
    pub fn class(&self) -> Class {
        match &self.notes.caller {
            None | Some(Caller::Stranger { .. }) => Class::Stranger,
            Some(Caller::Source { .. } | Caller::ServiceRole { .. }) => Class::Ordinary,
        }
    }

    /// Nor can calls of which a caller can make any number, whoever it is: those that a limit or a block refuses.
    fn class_after(&self, ending: &Ending) -> Class {
        match ending {
            Ending::Refused(Refusal::Denied(Denial::Limited(_) | Denial::Blocked(_))) => Class::Stranger,
            _ => self.class(),
        }
    }

    /// Of refusals, those that somebody may want to look into at once; the record has them all.
    fn log(&self, ending: &Ending) {
        if let Ending::Refused(Refusal::Denied(Denial::DangerousSql(found))) = ending {
            let source = self.notes.caller.as_ref().map(Caller::recorded_as);
            let target = self.notes.target.as_ref().map(TargetName::as_str);
            let SqlFinding { rule, pointer, fingerprint, .. } = &**found;
            tracing::info!(call = %self.notes.id, source, target_name = target, rule, fingerprint, pointer, "SQL is refused");
        }
    }
}

impl Drop for Trail {
    fn drop(&mut self) {
        // Nobody is left to wait for it.
        let _nobody_waits = self.finish();
    }
}

impl Ending {
    /// A word of a bounded set, for metrics.
    pub fn label(&self) -> &'static str {
        match self {
            Self::Answered { status } if *status < 400 => "answered",
            Self::Answered { .. } => "target_error",
            Self::AnswerBroken { .. } => "answer_broken",
            Self::Refused(refusal) => refusal.code(),
            Self::Abandoned { .. } => "abandoned",
        }
    }
}

pin_project! {
    /// A body that carries its call's trail to the end. Its last frame leaves once the record is in the journal.
    pub struct Recorded<B: Body> {
        #[pin]
        body: B,
        trail: Box<Trail>,
        status: u16,
        // In a box: most never hold anything back, and all of them are moved about.
        held: Option<Box<Held<B>>>,
    }
}

/// The last there is of a body, until the record is as durable as policy promises.
struct Held<B: Body> {
    last: Option<Result<Frame<B::Data>, B::Error>>,
    until: BoxFuture<'static, ()>,
}

impl<B> Recorded<B>
where
    B: Body<Data: Send, Error: Send> + Send + 'static,
{
    /// With what the answer waits for, if it has no body to hold back.
    pub fn begin(body: B, mut trail: Box<Trail>, status: u16) -> (Self, Option<BoxFuture<'static, ()>>) {
        trail.answer_begins();
        let empty = body.is_end_stream();
        if trail.notes.ending.is_none() {
            // Until the last byte is out, dropping the body means that the caller went away.
            trail.notes.ending = Some(if empty { Ending::Answered { status } } else { Ending::Abandoned { status: Some(status) } });
        }
        // An empty body is never asked for.
        let durable = if empty { trail.finish() } else { None };
        let until = durable.map(|durable| confirmed(durable, Arc::clone(trail.recorder.metrics())).boxed());
        (Self { body, trail, status, held: None }, until)
    }
}

/// Until the disk has the record, or has had long enough: the caller is not to blame for a disk that hangs.
async fn confirmed(durable: Durable, metrics: Arc<Metrics>) {
    if !matches!(timeout(PATIENCE, durable.wait()).await, Ok(Ok(()))) {
        metrics.journal_unconfirmed.inc();
    }
}

impl<B> Body for Recorded<B>
where
    B: Body,
{
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        let mut this = self.project();
        if let Some(held) = this.held {
            ready!(held.until.as_mut().poll(cx));
            return Poll::Ready(this.held.take().and_then(|held| held.last));
        }
        let frame = ready!(this.body.as_mut().poll_frame(cx));
        let notes = &mut this.trail.notes;
        let abandoned = matches!(notes.ending, Some(Ending::Abandoned { .. }));
        let is_last = match &frame {
            Some(Ok(frame)) => {
                if let Some(data) = frame.data_ref() {
                    notes.response_bytes += data.remaining() as u64;
                }
                // hyper does not ask again once a body says it has ended, all of its length is there, or its trailers are.
                frame.is_trailers() || this.body.is_end_stream() || this.body.size_hint().upper() == Some(0)
            }
            Some(Err(_)) => {
                notes.ending = Some(Ending::AnswerBroken { status: *this.status });
                true
            }
            None => true,
        };
        if is_last {
            if abandoned && !matches!(frame, Some(Err(_))) {
                notes.ending = Some(Ending::Answered { status: *this.status });
            }
            if let Some(durable) = this.trail.finish() {
                let until = confirmed(durable, Arc::clone(this.trail.recorder.metrics()));
                let held = this.held.insert(Box::new(Held { last: frame, until: until.boxed() }));
                ready!(held.until.as_mut().poll(cx));
                return Poll::Ready(this.held.take().and_then(|held| held.last));
            }
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.held.is_none() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use bytes::Bytes;
    use futures_util::stream::iter;
    use futures_util::task::noop_waker;
    use http_body_util::{BodyExt, Full, StreamBody};

    use super::*;
    use crate::clock::{Clock, Timestamp};
    use crate::identity::CallId;
    use crate::journal::{Journal, Limits, Syncing};

    fn notes() -> Notes {
        Notes::new(CallId::new(), Timestamp::default(), [192, 0, 2, 7].into(), "envelope")
    }

    /// What a body gives now, without waiting.
    fn poll<B: Body<Data = Bytes, Error = Infallible> + Unpin>(body: &mut Recorded<B>) -> Poll<Option<Bytes>> {
        let frame = Pin::new(body).poll_frame(&mut Context::from_waker(&noop_waker()));
        frame.map(|frame| frame.map(|frame| frame.unwrap().into_data().unwrap()))
    }

    #[tokio::test]
    async fn the_last_of_an_answer_leaves_once_the_disk_has_its_record() {
        let directory = tempfile::tempdir().unwrap();
        let (journal, _reader) = Journal::open(directory.path(), Limits::default(), Syncing::Always, Clock::system()).unwrap();
        let recorder = Recorder::new(journal.clone(), Arc::default());
        let trail = || Trail::new(notes(), recorder.clone());
        let [one, two] = ["one", "two"].map(Bytes::from);
        let mut whole = Recorded::begin(Full::new(one.clone()), trail(), 200).0;
        let frames = [one.clone(), two.clone()].map(|bytes| Ok::<_, Infallible>(Frame::data(bytes)));
        let mut stream = Recorded::begin(StreamBody::new(iter(frames)), trail(), 200).0;
        {
            let _held = journal.hold_syncs();
            assert_eq!(poll(&mut whole), Poll::Pending);
            assert_eq!((poll(&mut stream), poll(&mut stream)), (Poll::Ready(Some(one.clone())), Poll::Ready(Some(two))));
            assert_eq!(poll(&mut stream), Poll::Pending, "only the end waits");
            assert_eq!(journal.standing().waiting, 2, "both are in the journal");
            assert_eq!((poll(&mut whole), poll(&mut stream)), (Poll::Pending, Poll::Pending));
        }
        assert_eq!(whole.frame().await.unwrap().unwrap().into_data().unwrap(), one);
        assert!(stream.frame().await.is_none() && whole.frame().await.is_none());
        assert_eq!((journal.standing().waiting, recorder.metrics().journal_unconfirmed.get()), (2, 0));
    }

    #[test]
    fn a_call_whose_body_was_read_counts_in_the_sizes_of_bodies() {
        let directory = tempfile::tempdir().unwrap();
        let recorder = Recorder::within(directory.path());
        let metrics = Arc::clone(recorder.metrics());
        for request_bytes in [0, 496] {
            drop(Trail::new(Notes { request_bytes, ..notes() }, recorder.clone()));
        }
        let text = metrics.render();
        assert!(text.contains("gatekeeper_request_bytes_count 1\n"), "{text}");
        assert!(text.contains("gatekeeper_request_bytes_sum 496.0\n"), "{text}");
    }
}
