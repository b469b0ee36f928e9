//! What hyper wakes a connection with for reasons of its own: that a piece of a request's body was taken, and the next may come.
//!
//! Of most bodies the piece is the last one, nothing comes behind it, and the connection would be looked at for nothing: once more a call, at
//! all its depth. So hyper is driven with a waker that can be overheard. Everything that is not hyper's own, the socket and the call, wakes the
//! task itself.

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::SeqCst;
use std::task::{Context, Poll, Wake, Waker};

#[derive(Debug)]
pub(super) struct Ear {
    task: Waker,
    rung: AtomicBool,
    /// Whoever drives hyper at the moment sees for itself what has rung meanwhile.
    is_driving: AtomicBool,
}

impl Wake for Ear {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.rung.store(true, SeqCst);
        if !self.is_driving.load(SeqCst) {
            self.task.wake_by_ref();
        }
    }
}

impl Ear {
    /// Of the task that this is asked in, which must be the one that drives.
    pub async fn of_this_task() -> Arc<Self> {
        let task = poll_fn(|cx| Poll::Ready(cx.waker().clone())).await;
        Arc::new(Self { task, rung: AtomicBool::new(false), is_driving: AtomicBool::new(false) })
    }

    /// Drives hyper.
    pub fn drive<T>(&self, waker: &Waker, drive: impl FnOnce(&mut Context<'_>) -> Poll<T>) -> Poll<T> {
        self.is_driving.store(true, SeqCst);
        // Whoever rang before this has done what it rang for, and that is seen from here on.
        let _rang = self.rung.swap(false, SeqCst);
        let driven = drive(&mut Context::from_waker(waker));
        self.is_driving.store(false, SeqCst);
        if self.rung.swap(false, SeqCst) {
            self.task.wake_by_ref();
        }
        driven
    }

    /// Does what has nothing to do with hyper but that it may take pieces of the request's body. Unless more of that is `to_come`, nobody needs
    /// to know that they were taken.
    pub fn overhear<T>(&self, to_come: impl FnOnce() -> bool, does: impl FnOnce(&mut Context<'_>) -> T) -> T {
        let had_rung = self.rung.load(SeqCst);
        let done = does(&mut Context::from_waker(&self.task));
        if !had_rung && !to_come() {
            self.rung.store(false, SeqCst);
        }
        done
    }

    /// Of whoever hyper passes on, the task that is meant. An upgraded connection is driven by others.
    pub fn behind<'a>(self: &'a Arc<Self>, waker: &'a Waker) -> &'a Waker {
        if std::ptr::addr_eq(waker.data(), Arc::as_ptr(self)) { &self.task } else { waker }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default)]
    struct Woken(AtomicBool);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.store(true, SeqCst);
        }
    }

    #[test]
    fn only_what_was_taken_last_goes_unheard() {
        // Who rings: hyper itself, its own body while more of it is to come or not, somebody outside.
        for (name, before, taken, to_come, outside, wakes) in [
            ("nothing", false, false, false, false, false),
            ("a piece that was the last", false, true, false, false, false),
            ("a piece, and there are more", false, true, true, false, true),
            ("hyper has more to do", true, true, false, false, true),
            ("somebody else, while nobody drives", false, true, false, true, true),
        ] {
            let woken = Arc::new(Woken::default());
            let task = Waker::from(Arc::clone(&woken));
            let ear = Arc::new(Ear { task, rung: AtomicBool::new(false), is_driving: AtomicBool::new(false) });
            let waker = Waker::from(Arc::clone(&ear));
            let driven = ear.drive(&waker, |cx| {
                if before {
                    cx.waker().wake_by_ref();
                }
                let rings = cx.waker().clone();
                ear.overhear(
                    || to_come,
                    |cx| {
                        assert!(!cx.waker().will_wake(&waker) && std::ptr::eq(ear.behind(&waker), &raw const ear.task));
                        if taken {
                            rings.wake_by_ref();
                        }
                    },
                );
                Poll::<()>::Pending
            });
            assert!(driven.is_pending());
            if outside {
                waker.wake_by_ref();
            }
            assert_eq!(woken.0.load(SeqCst), wakes, "{name}");
        }
    }
}
