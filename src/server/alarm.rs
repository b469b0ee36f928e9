//! A timer that is asked far more often than it goes off, and mostly by the same task: once it knows whom to wake, it is left alone.

use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

use tokio::task::unconstrained;
use tokio::time::{Instant, Sleep, sleep_until};

#[derive(Debug)]
pub(super) struct Alarm {
    timer: Pin<Box<Sleep>>,
    wakes: Option<Waker>,
}

impl Alarm {
    pub fn at(end: Instant) -> Self {
        Self { timer: Box::pin(sleep_until(end)), wakes: None }
    }

    pub fn end(&self) -> Instant {
        self.timer.deadline()
    }

    /// Whether it has gone off.
    pub fn is_over(&self) -> bool {
        self.timer.is_elapsed()
    }

    pub fn set(&mut self, end: Instant) {
        self.timer.as_mut().reset(end);
        self.wakes = None;
    }

    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let knows = self.wakes.as_ref().is_some_and(|waker| waker.will_wake(cx.waker()));
        if knows && !self.timer.is_elapsed() {
            return Poll::Pending;
        }
        self.wakes = Some(cx.waker().clone());
        // Of a task that has done much already it would otherwise not even be set, and it is not asked again by the same one.
        pin!(unconstrained(self.timer.as_mut())).poll(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::poll_fn;
    use std::time::Duration;
    use tokio::task::consume_budget;
    use tokio::time::timeout;

    #[tokio::test(start_paused = true)]
    async fn an_alarm_goes_off_for_a_task_that_had_done_much_before_it_asked() {
        let mut alarm = Alarm::at(Instant::now() + Duration::from_secs(60));
        poll_fn(|cx| {
            while pin!(consume_budget()).poll(cx).is_ready() {}
            assert!(alarm.poll(cx).is_pending());
            Poll::Ready(())
        })
        .await;
        let began = Instant::now();
        let over = timeout(Duration::from_secs(120), poll_fn(|cx| alarm.poll(cx))).await;
        assert_eq!((over.is_ok(), began.elapsed().as_secs()), (true, 60));
    }

    /// Whoever asked last is woken, as by any timer.
    #[tokio::test(start_paused = true)]
    async fn an_alarm_goes_off_for_whoever_asked_last_and_not_before_its_time() {
        let mut alarm = Alarm::at(Instant::now() + Duration::from_secs(60));
        for (waits, goes_off) in [(59, false), (1, true)] {
            // Each of these is another task.
            let asked = tokio::spawn(async move {
                let began = Instant::now();
                let over = timeout(Duration::from_secs(waits), poll_fn(|cx| alarm.poll(cx))).await.is_ok();
                (alarm, over, began.elapsed())
            });
            let (back, over, took) = asked.await.unwrap();
            assert_eq!((over, took.as_secs()), (goes_off, waits));
            alarm = back;
        }
        alarm.set(Instant::now() + Duration::from_secs(60));
        let began = Instant::now();
        poll_fn(|cx| alarm.poll(cx)).await;
        assert_eq!(began.elapsed().as_secs(), 60);
    }
}
