//! Counting in aligned windows: exact, whatever order calls are judged in.

use std::time::Duration;

use crate::clock::{Clock, Timestamp};

/// How late a call may still be judged: longer than any body may take to arrive. What ended longer ago is of no use.
pub(super) const LATEST: Duration = Duration::from_secs(300);

/// The count of one window length: of the window that holds the newest call, and of the one before it, because a call is
/// judged by its arrival and one with a slow body is judged after its window has ended.
#[derive(Clone, Debug)]
pub(super) struct Counter {
    secs: u32,
    start: Timestamp,
    current: u32,
    previous: u32,
}

impl Counter {
    pub fn new(secs: u32, at: Timestamp) -> Self {
        Self { secs, start: at.floor(secs), current: 0, previous: 0 }
    }

    pub fn secs(&self) -> u32 {
        self.secs
    }

    pub fn ends(&self) -> Timestamp {
        self.start.plus(self.width())
    }

    pub fn count(&mut self, at: Timestamp, calls: u32, clock: &Clock) {
        self.turn_to(at, clock);
        let count = if at < self.start { &mut self.previous } else { &mut self.current };
        *count = count.saturating_add(calls);
    }

    /// What was counted in the window that holds `at`, and when that window ends.
    pub fn used(&self, at: Timestamp) -> (u32, Timestamp) {
        if at < self.start {
            (self.previous, self.start)
        } else if at < self.ends() {
            (self.current, self.ends())
        } else {
            (0, at.floor(self.secs).plus(self.width()))
        }
    }

    /// Takes back what was counted in the minute that starts at `minute`.
    pub fn take_back(&mut self, minute: Timestamp, calls: u32) {
        if minute >= self.ends() {
            return;
        }
        if minute >= self.start {
            self.current = self.current.saturating_sub(calls);
        } else if minute >= self.start.minus(self.width()) {
            self.previous = self.previous.saturating_sub(calls);
        }
    }

    /// Neither a call that is still to come nor one that is late can be judged by it; or it lies in a future that a clock
    /// now set right had made up.
    pub fn is_spent(&self, now: Timestamp) -> bool {
        self.ends().plus(LATEST) <= now || self.start > now.plus(self.width())
    }

    fn turn_to(&mut self, at: Timestamp, clock: &Clock) {
        let before = self.start.minus(self.width());
        if at >= self.ends() {
            let start = at.floor(self.secs);
            self.previous = if start == self.ends() { self.current } else { 0 };
            self.current = 0;
            self.start = start;
        } else if at < before && clock.now() < before {
            // The clock was set back by more than a window. Without this the gate would stay as it is until the clock
            // is there again. A call that is merely late meets a clock that is ahead of it, and counts into `previous`.
            *self = Self::new(self.secs, at);
        }
    }

    fn width(&self) -> Duration {
        Duration::from_secs(u64::from(self.secs))
    }
}
