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

/// The same, on its way to another process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tally {
    pub secs: u32,
    pub start: Timestamp,
    pub current: u32,
    pub previous: u32,
}

impl Tally {
    pub fn ends(&self) -> Timestamp {
        self.start.plus(width(self.secs))
    }
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

    /// What is counted, for whoever counts on from there. Nothing, if nothing was.
    pub fn tally(&self) -> Option<Tally> {
        Some(self.whole()).filter(|tally| tally.current > 0 || tally.previous > 0)
    }

    /// All that this is, be it nothing: [`Self::of`] makes the same of it again.
    pub fn whole(&self) -> Tally {
        let Self { secs, start, current, previous } = *self;
        Tally { secs, start, current, previous }
    }

    pub fn of(tally: Tally) -> Self {
        let Tally { secs, start, current, previous } = tally;
        Self { secs, start, current, previous }
    }

    /// Of what is counted here and what another has counted of the same calls, the greater.
    pub fn raise_to(&mut self, tally: Tally) {
        let Tally { start, current, previous, .. } = tally;
        if start > self.start {
            let before = if start == self.ends() { self.current } else { 0 };
            (self.start, self.current, self.previous) = (start, current, previous.max(before));
        } else if start == self.start {
            (self.current, self.previous) = (self.current.max(current), self.previous.max(previous));
        } else if start.plus(self.width()) == self.start {
            self.previous = self.previous.max(current);
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
        width(self.secs)
    }
}

fn width(secs: u32) -> Duration {
    Duration::from_secs(u64::from(secs))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_two_counts_the_greater_stays_in_each_window() {
        let minute = |n: i64| Timestamp::from_secs(60 * n);
        let tally = |n, current, previous| Tally { secs: 60, start: minute(n), current, previous };
        // There, what comes, and what is there then: each the minute, its count, and that of the minute before.
        let cases = [
            ((5, 3, 1), (5, 7, 0), (5, 7, 1)),
            ((5, 9, 1), (5, 7, 4), (5, 9, 4)),
            ((5, 3, 1), (6, 7, 2), (6, 7, 3)),
            ((5, 3, 1), (6, 7, 4), (6, 7, 4)),
            ((5, 3, 1), (8, 7, 2), (8, 7, 2)),
            ((5, 3, 1), (4, 7, 9), (5, 3, 7)),
            ((5, 3, 1), (3, 7, 9), (5, 3, 1)),
            ((5, u32::MAX, 0), (5, 1, 0), (5, u32::MAX, 0)),
        ];
        for ((at, current, previous), (n, more, before), expected) in cases {
            let mut counter = Counter { secs: 60, start: minute(at), current, previous };
            counter.raise_to(tally(n, more, before));
            let (n, current, previous) = expected;
            assert_eq!(counter.tally(), Some(tally(n, current, previous)), "{at} {n}");
        }
        assert_eq!(Counter::new(60, minute(1)).tally(), None);
    }
}
