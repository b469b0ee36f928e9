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
        if self.recorder.under_way() >= MANY {
            yield_now().await;
        }
    }
}
