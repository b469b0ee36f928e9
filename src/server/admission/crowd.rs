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

/// How much of itself the rate grows in an interval in which nothing waited. The longer the wait the less; when it is just as long as it may be,
/// the rate stays; when it is longer, the rate falls in the same measure, and at most so many times as fast. In small steps, so that what waits
/// is always enough to keep the machine busy: a rate that jumps leaves it idle every other time.
const STEP: f64 = 0.02;
const STEEPEST: f64 = 3.0;
/// After so many intervals in a row with next to nothing that waits, the growth of each is twice that of the one before, up to this: the rate
/// was found in worse times. (Where it swings about what can be done, there are fewer.)
const FOR_LONG: i32 = 10;
const SOONEST: f64 = 0.5;
/// What part of the longest wait is next to nothing.
const NEXT_TO_NOTHING: u32 = 4;
/// How much of what is known of the rate at which calls get done is from the last interval: in one, somebody else may have had the machine.
const NEWS: f64 = 0.3;
/// Of the most that ever got done, how much is let in whatever happens; and as many calls a second as are no crowd.
const LEAST: f64 = 0.1;
const FEWEST: f64 = 160.0;
/// The most falls so slowly: a machine may become slower.
const FORGET: f64 = 0.99;

#[derive(Debug)]
pub struct Crowd {
    longest_wait: Duration,
    asked: Option<Duration>,
    /// What the last answer took.
    last_wait: Duration,
    interval: Interval,
    /// The most calls a second that got done.
    most: f64,
    /// The same of late.
    of_late: f64,
    state: State,
}

#[derive(Debug)]
enum State {
    /// Everybody is let in. So many intervals in a row were bad.
    Open { bad: u32 },
    /// In so many intervals in a row nobody was refused; in so many next to nothing waited.
    Crowded { turnstile: Turnstile, quiet: u32, easy: i32 },
}

#[derive(Debug, Default)]
struct Interval {
    from: Duration,
    calls: u32,
    made: u32,
    refused: u32,
    /// Of all that was taken up in it, what waited the least: a crowd stands the whole time, a single long wait may be somebody else's doing.
    shortest_wait: Option<Duration>,
}

impl Crowd {
    pub fn of_those_who_wait(longest_wait: Duration) -> Self {
        Self {
            longest_wait,
            asked: None,
            last_wait: Duration::ZERO,
            interval: Interval::default(),
            most: 0.0,
            of_late: 0.0,
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
            let wait = at.saturating_sub(asked);
            self.last_wait = wait;
            self.interval.shortest_wait = Some(self.interval.shortest_wait.map_or(wait, |shortest| shortest.min(wait)));
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
        let Interval { calls, made, refused, shortest_wait, .. } =
            std::mem::replace(&mut self.interval, Interval { from: at, ..Interval::default() });
        // A question that is open waits at least as long as it has, and as likely as not as long as the one before it.
        let waits_still = || self.asked.map(|asked| at.saturating_sub(asked).max(self.last_wait));
        let wait = shortest_wait.or_else(waits_still).unwrap_or_default();
        let (done, is_bad) = (f64::from(made) / since.as_secs_f64(), wait > self.longest_wait);
        self.most = done.max(self.most * FORGET);
        self.of_late += (done - self.of_late) * NEWS;
        match &mut self.state {
            State::Open { bad } => {
                *bad = if is_bad && calls >= CROWD { *bad + 1 } else { 0 };
                if *bad >= STANDING {
                    // What got done says little at first: calls may take long elsewhere.
                    let came = f64::from(calls) / since.as_secs_f64();
                    let rate = done.max(self.of_late).max(came * LEAST).max(FEWEST);
                    self.state = State::Crowded { turnstile: Turnstile::turning(rate, at), quiet: 0, easy: 0 };
                }
            }
            State::Crowded { turnstile, quiet, easy } => {
                *easy = if wait < self.longest_wait / NEXT_TO_NOTHING { easy.saturating_add(1) } else { 0 };
                let step = (STEP * 2_f64.powi((*easy - FOR_LONG).max(0))).min(SOONEST);
                let direction = (1.0 - wait.as_secs_f64() / self.longest_wait.as_secs_f64()).max(-STEEPEST);
                let rate = turnstile.calls_a_second;
                let base = if is_bad { rate.min(done.max(self.of_late)) } else { rate.max(done) };
                turnstile.calls_a_second = (base * (1.0 + step * direction)).max(self.most * LEAST).max(FEWEST);
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
        /// How long a call takes elsewhere once it is done here, and when those under way end.
        elsewhere: Duration,
        under_way: VecDeque<Duration>,
        /// For so long of each tenth of a second somebody else has the machine.
        others: Duration,
        others_had_it: u128,
    }

    #[derive(Debug, Default)]
    struct Day {
        done: u32,
        refused: u32,
        longest: Duration,
    }

    impl Shop {
        fn new(others: Duration) -> Self {
            let (now, queue) = (Duration::ZERO, VecDeque::new());
            Self {
                crowd: Crowd::of_those_who_wait(WAIT),
                now,
                queue,
                arrived: 0.0,
                asked_behind: None,
                elsewhere: Duration::ZERO,
                under_way: VecDeque::new(),
                others,
                others_had_it: 0,
            }
        }

        /// A call takes a millisecond to do, a twentieth of it to refuse; who is refused comes no more.
        fn open(&mut self, long: Duration, a_second: f64) -> Day {
            let (end, mut day) = (self.now + long, Day::default());
            while self.now < end {
                let tenth = self.now.as_millis() / 100;
                if tenth > self.others_had_it {
                    self.others_had_it = tenth;
                    self.pass(self.others, a_second);
                }
                self.ask();
                while self.under_way.pop_front_if(|ends| *ends <= self.now).is_some() {
                    self.crowd.made();
                }
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
                        self.under_way.push_back(self.now + self.elsewhere);
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
        let table = [(1.2, 0), (2.0, 0), (5.0, 0), (1.2, 10), (2.0, 10), (2.0, 20), (5.0, 20)];
        for (factor, others) in table {
            let mut shop = Shop::new(A_MILLI * others);
            let begins = shop.open(Duration::from_secs(3), 1000.0 * factor);
            assert!(begins.longest < Duration::from_secs(1), "{factor} {others}: {begins:?}");
            let day = shop.open(Duration::from_secs(30), 1000.0 * factor);
            assert!(day.longest < 6 * WAIT, "{factor} {others}: {day:?}");
            let left_for_calls = 30_000.0 * (1.0 - f64::from(others) / 100.0) - f64::from(day.refused) / 20.0;
            assert!(f64::from(day.done) > 0.97 * left_for_calls, "{factor} {others}: {day:?}");
        }
    }

    #[test]
    fn nobody_is_refused_for_what_can_be_done_and_soon_after_nobody_any_more() {
        let mut shop = Shop::new(Duration::ZERO);
        assert_eq!(shop.open(Duration::from_secs(10), 990.0).refused, 0);
        shop.open(Duration::from_secs(10), 3000.0);
        shop.open(Duration::from_secs(1), 600.0);
        assert_eq!(shop.open(Duration::from_secs(10), 600.0).refused, 0);
    }

    #[test]
    fn a_rush_of_calls_that_take_long_elsewhere_keeps_nobody_out_afterwards() {
        let mut shop = Shop::new(Duration::ZERO);
        shop.elsewhere = Duration::from_secs(20);
        shop.open(Duration::from_millis(500), 3000.0);
        shop.open(Duration::from_millis(1500), 700.0);
        assert_eq!(shop.open(Duration::from_secs(10), 700.0).refused, 0);
    }

    #[test]
    fn when_somebody_else_had_the_machine_for_seconds_all_is_as_before_soon_after() {
        let mut shop = Shop::new(Duration::ZERO);
        shop.open(Duration::from_secs(5), 800.0);
        for _ in 0..10 {
            shop.pass(A_MILLI * 180, 800.0);
            shop.open(A_MILLI * 20, 800.0);
        }
        shop.open(Duration::from_secs(3), 800.0);
        assert_eq!(shop.open(Duration::from_secs(10), 800.0).refused, 0);
    }

    #[test]
    fn however_long_the_wait_that_is_allowed_a_longer_one_is_noticed() {
        for longest in [50, 200, 1000] {
            let mut shop = Shop::new(Duration::ZERO);
            shop.crowd = Crowd::of_those_who_wait(A_MILLI * longest);
            shop.open(Duration::from_secs(20), 2000.0);
            let day = shop.open(Duration::from_secs(20), 2000.0);
            assert!(day.longest < A_MILLI * longest * 4, "{longest}: {day:?}");
            assert!(day.done > 17_500, "{longest}: {day:?}");
        }
    }

    #[test]
    fn a_rush_that_ends_by_itself_is_waited_out() {
        let mut shop = Shop::new(Duration::ZERO);
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
