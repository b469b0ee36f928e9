//! Calls that are under way at once write at once. A write to whoever sleeps has to wake it, which costs several times what the write
//! does; whoever is written to while it is at work already takes that along. Written one by one, each as soon as it is ready, most calls
//! would find caller and target asleep again.

use tokio::task::yield_now;

use super::Pipeline;

/// So many calls under way that others are likely to be ready, too.
const MANY: u64 = 8;

impl Pipeline {
    /// Before a call writes: those that can go on at this moment do so first.
    pub async fn in_step(&self) {
        in_step_with(self.recorder.under_way()).await;
    }
}

async fn in_step_with(under_way: u64) {
    if under_way >= MANY {
        yield_now().await;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    /// Calls that become ready together: `r` for each that is ready to write, `w` for each that writes.
    async fn order(under_way: u64) -> String {
        let done = Arc::new(Mutex::new(String::new()));
        let calls = [(); 3].map(|()| {
            let done = Arc::clone(&done);
            tokio::spawn(async move {
                done.lock().unwrap().push('r');
                in_step_with(under_way).await;
                done.lock().unwrap().push('w');
            })
        });
        for call in calls {
            call.await.unwrap();
        }
        Arc::into_inner(done).unwrap().into_inner().unwrap()
    }

    #[tokio::test]
    async fn many_calls_write_one_behind_the_other_and_few_as_soon_as_they_are_ready() {
        assert_eq!((order(MANY).await, order(MANY - 1).await), ("rrrwww".to_owned(), "rwrwrw".to_owned()));
    }
}
