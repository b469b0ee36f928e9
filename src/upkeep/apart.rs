//! Work with a thread of its own. What is polled among all calls waits its turn among them at every await; when there are more calls than can
//! be made, a batch of records with its many statements would take seconds, and what waits in the journal would only grow.

use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::task::{JoinHandle, spawn_blocking};

/// Ends early when this is dropped, at the next await.
pub(super) struct Apart {
    ended: JoinHandle<()>,
    _wanted: oneshot::Sender<()>,
}

impl Apart {
    pub fn start(work: impl Future<Output = ()> + Send + 'static) -> Self {
        let (wanted, unwanted) = oneshot::channel();
        let runtime = Handle::current();
        let ended = spawn_blocking(move || {
            runtime.block_on(async {
                tokio::select! {
                    () = work => {}
                    _ = unwanted => {}
                }
            });
        });
        Self { ended, _wanted: wanted }
    }

    pub async fn ended(&mut self) {
        let _ended = (&mut self.ended).await;
    }
}
