//! Long work among calls: a little of it, and then whatever has become ready goes first. What a million sources leave behind would keep calls
//! waiting for seconds otherwise; and with a thread of its own it would have the locks more often than they.

use tokio::task::yield_now;

/// Things of some microseconds each, such as a count that is changed and said so in the log.
const AT_ONCE: u32 = 16;

#[derive(Default)]
pub(super) struct Turns {
    done: u32,
}

impl Turns {
    /// One thing is done.
    pub async fn done(&mut self) {
        self.done += 1;
        if self.done == AT_ONCE {
            self.done = 0;
            yield_now().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[tokio::test]
    async fn others_have_their_turn_after_every_few_things() {
        const THINGS: u32 = 100_000;
        let (done, longest) = (Cell::new(0), Cell::new(0));
        let work = async {
            let mut turns = Turns::default();
            for n in 1..=THINGS {
                done.set(n);
                turns.done().await;
            }
        };
        let neighbour = async {
            let mut before = 0;
            while before < THINGS {
                longest.set(longest.get().max(done.get() - before));
                before = done.get();
                yield_now().await;
            }
        };
        tokio::join!(work, neighbour);
        // Which of the two is asked first changes from time to time.
        assert!(longest.get() <= 2 * AT_ONCE, "{} in between", longest.get());
    }
}
