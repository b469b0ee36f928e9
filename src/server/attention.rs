//! What may end a connection while it is served, or let it rest: the server's leaving, a bound that is reached, nothing to do.
//!
//! A connection moves several times for each call, so whoever waits in here is asked when there is something to say, and not each time. There
//! is one timer for everything.

use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::future::{BoxFuture, FutureExt};
use tokio::task::unconstrained;
use tokio::time::Instant;

use super::alarm::Alarm;
use super::cut::Cut;
use super::leaving::{Guest, Stage};
use super::presence::{Limits, Presence};

/// How long the first call of a connection may be on its way.
const FIRST_CALL: Duration = Duration::from_secs(1);
/// What is kept between two calls that follow each other costs nothing to keep.
const REST: Duration = Duration::from_millis(100);

/// What is said to a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Aside {
    Cut(Cut),
    /// It ends in an orderly way. Said once.
    Leave,
}

pub(super) struct Attention {
    guest: Guest,
    presence: Presence,
    limits: Limits,
    /// The stage that is waited for, and who waits.
    next: Stage,
    comes: Option<BoxFuture<'static, ()>>,
    /// When its first call must have come.
    closing: Option<Instant>,
    is_told_to_leave: bool,
    alarm: Alarm,
}

impl Attention {
    pub fn begin(guest: Guest, presence: Presence, limits: Limits) -> Self {
        let alarm = Alarm::at(Instant::now() + limits.shortest());
        Self { guest, presence, limits, next: Stage::Leaving, comes: None, closing: None, is_told_to_leave: false, alarm }
    }

    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Aside> {
        // It is asked once so that it knows whom to wake, and from then on if there is news.
        if (self.comes.is_none() || self.guest.has_news())
            && let Poll::Ready(cut) = self.poll_stage(cx)
        {
            return Poll::Ready(Aside::Cut(cut));
        }
        loop {
            if !self.is_told_to_leave && self.is_to_leave() {
                self.is_told_to_leave = true;
                return Poll::Ready(Aside::Leave);
            }
            if self.alarm.poll(cx).is_pending() {
                return Poll::Pending;
            }
            let now = Instant::now();
            match self.presence.look(self.limits, now) {
                Err(cut) => return Poll::Ready(Aside::Cut(cut)),
                Ok(look) => self.alarm.set(self.closing.filter(|end| *end > now).map_or(look, |end| look.min(end))),
            }
        }
    }

    fn poll_stage(&mut self, cx: &mut Context<'_>) -> Poll<Cut> {
        loop {
            let (guest, next) = (&self.guest, self.next);
            let comes = self.comes.get_or_insert_with(|| unconstrained(guest.comes_to(next)).boxed());
            if comes.poll_unpin(cx).is_pending() {
                return Poll::Pending;
            }
            self.comes = None;
            self.next = match self.next {
                Stage::Open | Stage::Leaving => Stage::Closing,
                Stage::Closing => {
                    let end = Instant::now() + FIRST_CALL;
                    self.closing = Some(end);
                    self.alarm.set(self.alarm.end().min(end));
                    Stage::Cut
                }
                Stage::Cut => return Poll::Ready(Cut::Drained),
            };
        }
    }

    fn is_to_leave(&self) -> bool {
        let presence = &self.presence;
        if self.next == Stage::Leaving || presence.was_told_that_it_is_unwelcome() {
            return presence.was_told_that_it_is_unwelcome();
        }
        // It may have been opened a moment ago, with its first call on the way.
        presence.speaks_http2() || self.closing.is_some_and(|end| presence.has_called() || end <= Instant::now())
    }

    /// Whether it is time to see if it can rest.
    pub fn is_due(&self) -> bool {
        !self.is_told_to_leave && self.alarm.is_over()
    }

    /// Whether nothing has been under way for long enough.
    pub fn may_rest(&self) -> bool {
        self.presence.idle_since().is_some_and(|since| since + REST <= Instant::now())
    }

    /// It is seen to soon after it has nothing to do any more. One that is called all the time has its timer set once in that time,
    /// and not for each call; one that still has something to write or to read comes by here again when it has done so.
    pub fn sees_to_its_rest(&mut self, cx: &mut Context<'_>) {
        if self.presence.is_quiet() && self.presence.idle_since().is_some_and(|since| self.alarm.end() > since + 2 * REST) {
            self.alarm.set(self.alarm.end().min(Instant::now() + REST));
            // It is over with time, not by now.
            let _later = self.alarm.poll(cx);
        }
    }
}
