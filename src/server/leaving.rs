//! How connections are told that the server is about to end, so that no caller loses a call to it.
//!
//! A connection of HTTP/1 that is closed while it is idle may meet the call that was just sent on it. So it is not closed at first: the
//! next answer on it says `Connection: close`. HTTP/2 can say beforehand which calls it will still take, and is told at once.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::timeout;

/// How far the end has come; each stage comes after those above it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Stage {
    Open,
    /// Whoever calls once more is told to go elsewhere.
    Leaving,
    /// Idle connections are closed, calls under way end.
    Closing,
    /// Whatever is left ends now.
    Cut,
}

/// The stage, and how many connections are left.
pub(super) struct Exit {
    stage: watch::Sender<Stage>,
}

impl Exit {
    pub fn new() -> Self {
        Self { stage: watch::Sender::new(Stage::Open) }
    }

    /// For one connection, which keeps it to its end.
    pub fn guest(&self) -> Guest {
        Guest { stage: self.stage.subscribe() }
    }

    /// Whether answers of HTTP/1 say that they are the last on their connection.
    pub fn is_leaving(&self) -> bool {
        *self.stage.borrow() >= Stage::Leaving
    }

    pub fn leave(&self) {
        self.come_to(Stage::Leaving);
    }

    /// Ends all connections: so long they may take to leave by themselves, so long their last calls may take. False if some had to be cut off.
    pub async fn close(&self, leaving: Duration, calls: Duration) -> bool {
        self.leave();
        if timeout(leaving, self.stage.closed()).await.is_ok() {
            return true;
        }
        self.come_to(Stage::Closing);
        timeout(calls, self.stage.closed()).await.is_ok()
    }

    /// Ends those that are left.
    pub async fn cut(&self) {
        self.come_to(Stage::Cut);
        self.stage.closed().await;
    }

    fn come_to(&self, stage: Stage) {
        self.stage.send_if_modified(|now| {
            let is_news = *now < stage;
            *now = stage.max(*now);
            is_news
        });
    }
}

/// One connection's view of it.
#[derive(Clone)]
pub(super) struct Guest {
    stage: watch::Receiver<Stage>,
}

impl Guest {
    /// Whether anything has changed since the connection began.
    pub fn has_news(&self) -> bool {
        self.stage.has_changed().unwrap_or(false)
    }

    /// Waits until there is no more time.
    pub async fn cut(&self) {
        self.comes_to(Stage::Cut).await;
    }

    /// Ends when it has come so far.
    pub fn comes_to(&self, stage: Stage) -> impl Future<Output = ()> + Send + 'static {
        let mut stages = self.stage.clone();
        async move {
            // Without a sender nobody will ever say so.
            if stages.wait_for(|now| *now >= stage).await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }
}
