//! How connections are told that the server is about to end, so that no caller loses a call to it.
//!
//! A connection of HTTP/1 that is closed while it is idle may meet the call that was just sent on it. So it is not closed at first: the
//! next answer on it says `Connection: close`. HTTP/2 can say beforehand which calls it will still take, and is told at once.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;
use std::time::Duration;

use futures_util::future::{BoxFuture, FutureExt};
use futures_util::stream::{FuturesUnordered, StreamExt};
use http::Version;
use hyper_util::server::graceful::GracefulConnection;
use tokio::sync::watch;
use tokio::time::timeout;

use super::cut::Cut;

/// How long the first call of a connection may be on its way.
const FIRST_CALL: Duration = Duration::from_secs(1);

/// How far the end has come; each stage comes after those above it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
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
        Guest { stage: self.stage.subscribe(), called: Arc::default(), speaks_http2: Arc::default(), unwelcome: Arc::default() }
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

/// How a connection ended.
pub(super) type Served<C> = Result<(), <C as GracefulConnection>::Error>;

/// What is said to a connection while it is served.
enum Aside {
    Leaving,
    Cut(Cut),
}

/// One connection's view of it.
#[derive(Clone)]
pub(super) struct Guest {
    stage: watch::Receiver<Stage>,
    called: Arc<AtomicBool>,
    speaks_http2: Arc<AtomicBool>,
    unwelcome: Arc<AtomicBool>,
}

impl Guest {
    /// There is no room for it: it ends with the calls that it has brought.
    pub fn is_unwelcome(&self) {
        self.unwelcome.store(true, Ordering::Relaxed);
    }

    /// A call came, spoken so.
    pub fn heard(&self, version: Version) {
        self.called.store(true, Ordering::Relaxed);
        self.speaks_http2.store(version == Version::HTTP_2, Ordering::Relaxed);
    }

    /// Serves the connection to its end, which comes in an orderly way when it is time, or when it is `overdue`.
    pub async fn watch<C: GracefulConnection>(
        self,
        mut connection: Pin<Box<C>>,
        overdue: impl Future<Output = Cut> + Send,
    ) -> Result<Served<C>, Cut> {
        // A connection moves several times for each call. Whoever waits in here is asked when there is something to say, and not each time.
        let mut aside: FuturesUnordered<BoxFuture<'_, Aside>> = FuturesUnordered::new();
        aside.push(overdue.map(Aside::Cut).boxed());
        aside.push(self.cut().map(|()| Aside::Cut(Cut::Drained)).boxed());
        aside.push(self.comes_to(Stage::Leaving).map(|()| Aside::Leaving).boxed());
        let is_unwelcome = tokio::select! {
            biased;
            served = connection.as_mut() => return Ok(served),
            () = says(&self.unwelcome) => true,
            Some(said) = aside.next() => match said {
                Aside::Cut(cut) => return Err(cut),
                Aside::Leaving => false,
            },
        };
        if !is_unwelcome {
            tokio::select! {
                biased;
                served = connection.as_mut() => return Ok(served),
                () = says(&self.unwelcome) => {}
                () = self.time_to_go() => {}
                Some(Aside::Cut(cut)) = aside.next() => return Err(cut),
            }
        }
        connection.as_mut().graceful_shutdown();
        loop {
            tokio::select! {
                biased;
                served = connection.as_mut() => return Ok(served),
                Some(said) = aside.next() => match said {
                    Aside::Cut(cut) => return Err(cut),
                    Aside::Leaving => {}
                },
            }
        }
    }

    async fn time_to_go(&self) {
        self.comes_to(Stage::Leaving).await;
        let closing = async {
            self.comes_to(Stage::Closing).await;
            // It may have been opened a moment ago, with its first call on the way.
            let _either = timeout(FIRST_CALL, says(&self.called)).await;
        };
        tokio::select! {
            () = says(&self.speaks_http2) => {}
            () = closing => {}
        }
    }

    /// Waits until there is no more time.
    pub async fn cut(&self) {
        self.comes_to(Stage::Cut).await;
    }

    async fn comes_to(&self, stage: Stage) {
        // Without a sender nobody will ever say so.
        if self.stage.clone().wait_for(|now| *now >= stage).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

/// Waits for something that only the connection itself can change: whoever waits beside it in one task is asked whenever it has moved.
async fn says(flag: &AtomicBool) {
    poll_fn(|_| if flag.load(Ordering::Relaxed) { Poll::Ready(()) } else { Poll::Pending }).await;
}
