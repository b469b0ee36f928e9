//! Whether there are too many calls, and how many are let in. Times are those since the beginning.

use std::time::Duration;

use super::turnstile::{Admitted, Turnstile};

const INTERVAL: Duration = Duration::from_millis(100);
/// Fewer calls in an interval do not crowd each other: what they wait for is not in here.
const CROWD: u32 = 16;
/// A crowd that is gone after fewer intervals was none.
const STANDING: u32 = 2;
/// Nobody was refused for so many: it is over.
const OVER: u32 = 5;

/// Of what gets done, how much is let in until what waits is gone; and while it waits this many times too long, how much.
const LESS: f64 = 0.95;
const FAR_TOO_LONG: u32 = 4;
const FAR_LESS: f64 = 0.75;
/// Of the most that ever got done, how much more is let in after an interval in which nothing waited; twice that after the second of them in a
/// row, and so on: what is just enough is found slowly, and what is far too little left soon.
const MORE: f64 = 0.005;
/// Of the most that ever got done, how much is let in whatever happens.
const LEAST: f64 = 0.1;
/// The most falls so slowly: a machine may become slower.
const FORGET: f64 = 0.99;
#[derive(Debug)]
pub struct Crowd {
    longest_wait: Duration,
    /// The last two. A single long one may be somebody else's doing.
    waits: [Duration; 2],
    asked: Option<Duration>,
    interval: Interval,
    /// The most calls a second that got done.
    most: f64,
    state: State,
}

#[derive(Debug)]
enum State {
    /// Everybody is let in. So many intervals in a row were bad.
    Open { bad: u32 },
    /// So many intervals in a row nothing waited too long; in so many nobody was refused.
    Crowded { turnstile: Turnstile, good: u32, quiet: u32 },
}

#[derive(Debug, Default)]
struct Interval {
    from: Duration,
    calls: u32,
    made: u32,
    refused: u32,
}

impl Crowd {
    pub fn of_those_who_wait(longest_wait: Duration) -> Self {
        Self {
            longest_wait,
            waits: [Duration::ZERO; 2],
            asked: None,
            interval: Interval::default(),
            most: 0.0,
            state: State::Open { bad: 0 },
        }
    }

    /// Something is ready and waits to be taken up.
    pub fn asked(&mut self, at: Duration) {
        self.asked = Some(at);
    }

    /// It was taken up.
    pub fn answered(&mut self, at: Duration) {
        if let Some(asked) = self.asked.take() {
            self.waits = [self.waits[1], at.saturating_sub(asked)];
        }
        self.look(at);
    }

    pub fn made(&mut self) {
        self.interval.made = self.interval.made.saturating_add(1);
    }

    pub fn judge(&mut self, at: Duration) -> Admitted {
        self.look(at);
        self.interval.calls = self.interval.calls.saturating_add(1);
        match &mut self.state {
            State::Open { .. } => Admitted::Yes,
            State::Crowded { turnstile, .. } => {
                let admitted = turnstile.judge(at);
                self.interval.refused += u32::from(admitted != Admitted::Yes);
                admitted
            }
        }
    }

    /// At the end of each interval, what it says.
    fn look(&mut self, at: Duration) {
        let since = at.saturating_sub(self.interval.from);
        if since < INTERVAL {
            return;
        }
        let Interval { calls, made, refused, .. } = std::mem::replace(&mut self.interval, Interval { from: at, ..Interval::default() });
        let [before, last] = self.waits;
        let wait = self.asked.map_or(Duration::ZERO, |asked| at.saturating_sub(asked)).max(before.min(last));
        let (done, is_bad) = (f64::from(made) / since.as_secs_f64(), wait > self.longest_wait);
        self.most = done.max(self.most * FORGET);
        match &mut self.state {
            State::Open { bad } => {
                *bad = if is_bad && calls >= CROWD { *bad + 1 } else { 0 };
                if *bad >= STANDING {
                    self.state = State::Crowded { turnstile: Turnstile::turning(done * LESS, at), good: 0, quiet: 0 };
                }
            }
            State::Crowded { turnstile, good, quiet } => {
                *good = if is_bad { 0 } else { *good + 1 };
                let rate = turnstile.calls_a_second;
                let rate = match is_bad {
                    true if wait > self.longest_wait * FAR_TOO_LONG => rate.min(done * FAR_LESS),
                    true => rate.min(done * LESS),
                    false => rate + self.most * MORE * f64::from(*good),
                };
                turnstile.calls_a_second = rate.max(self.most * LEAST);
                *quiet = if refused == 0 { *quiet + 1 } else { 0 };
                if *quiet >= OVER {
                    self.state = State::Open { bad: 0 };
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::VecDeque;

    const WAIT: Duration = Duration::from_millis(20);
    const A_MILLI: Duration = Duration::from_millis(1);

    /// One worker with a queue, as time goes by.
    struct Shop {
        crowd: Crowd,
        now: Duration,
        queue: VecDeque<Duration>,
        arrived: f64,
        /// What was asked stands behind these many.
        asked_behind: Option<usize>,
    }

    #[derive(Debug, Default)]
    struct Day {
        done: u32,
        refused: u32,
        longest: Duration,
    }

    impl Shop {
        fn new() -> Self {
            let (now, queue) = (Duration::ZERO, VecDeque::new());
            Self { crowd: Crowd::of_those_who_wait(WAIT), now, queue, arrived: 0.0, asked_behind: None }
        }

        /// A call takes a millisecond to do, a twentieth of it to refuse; who is refused comes no more.
        fn open(&mut self, long: Duration, a_second: f64) -> Day {
            let (end, mut day) = (self.now + long, Day::default());
            while self.now < end {
                self.ask();
                let Some(came) = self.queue.pop_front() else {
                    self.pass(A_MILLI, a_second);
                    continue;
                };
                // Judged when its turn comes, made after that.
                match self.crowd.judge(self.now) {
                    Admitted::No(_) => {
                        day.refused += 1;
                        self.pass(A_MILLI / 20, a_second);
                    }
                    Admitted::Yes => {
                        day.done += 1;
                        day.longest = day.longest.max(self.now - came);
                        self.pass(A_MILLI, a_second);
                        self.crowd.made();
                    }
                }
            }
            day
        }

        fn ask(&mut self) {
            match self.asked_behind {
                Some(0) => {
                    self.crowd.answered(self.now);
                    self.asked_behind = None;
                }
                Some(before) => self.asked_behind = Some(before - 1),
                None if self.now.as_millis().is_multiple_of(20) => {
                    self.crowd.asked(self.now);
                    self.asked_behind = Some(self.queue.len());
                }
                None => {}
            }
        }

        fn pass(&mut self, time: Duration, a_second: f64) {
            self.arrived += time.as_secs_f64() * a_second;
            while self.arrived >= 1.0 {
                self.arrived -= 1.0;
                self.queue.push_back(self.now);
            }
            self.now += time;
        }
    }

    #[test]
    fn with_more_than_can_be_done_the_wait_stays_short_and_little_is_wasted() {
        for factor in [1.2, 2.0, 5.0] {
            let mut shop = Shop::new();
            let begins = shop.open(Duration::from_secs(3), 1000.0 * factor);
            assert!(begins.longest < Duration::from_secs(1), "{factor}: {begins:?}");
            let day = shop.open(Duration::from_secs(30), 1000.0 * factor);
            assert!(day.longest < 6 * WAIT, "{factor}: {day:?}");
            let left_for_calls = 30_000.0 - f64::from(day.refused) / 20.0;
            assert!(f64::from(day.done) > 0.93 * left_for_calls, "{factor}: {day:?}");
        }
    }

    #[test]
    fn nobody_is_refused_for_what_can_be_done_and_soon_after_nobody_any_more() {
        let mut shop = Shop::new();
        assert_eq!(shop.open(Duration::from_secs(10), 990.0).refused, 0);
        shop.open(Duration::from_secs(10), 3000.0);
        shop.open(Duration::from_secs(1), 600.0);
        assert_eq!(shop.open(Duration::from_secs(10), 600.0).refused, 0);
    }

    #[test]
    fn a_rush_that_ends_by_itself_is_waited_out() {
        let mut shop = Shop::new();
        for _ in 0..20 {
            shop.queue.extend(std::iter::repeat_n(shop.now, 80));
            assert_eq!(shop.open(Duration::from_secs(1), 500.0).refused, 0);
        }
    }

    #[test]
    fn few_calls_are_no_crowd_however_long_they_wait() {
        let mut crowd = Crowd::of_those_who_wait(WAIT);
        for n in 0..1000 {
            crowd.asked(10 * A_MILLI * n);
            crowd.answered(10 * A_MILLI * n + 5 * WAIT);
            assert_eq!(crowd.judge(10 * A_MILLI * n + 5 * WAIT), Admitted::Yes);
        }
    }
}
