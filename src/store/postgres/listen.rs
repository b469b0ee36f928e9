//! Listening for signals, on a connection of its own. What is missed while nobody listens is found by polling, so trouble here is never an
//! error: a pooler that passes no notifications on, or a role that may not connect once more, only makes changes slower to arrive.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgListener, PgPoolOptions};
use tokio::sync::Notify;
use tokio::task::AbortHandle;
use tokio::time::{sleep, timeout};

use crate::store::fault::CONNECT;

const CHANNEL: &str = "gatekeeper_signals";
/// Before a lost connection is tried for again.
const PAUSE: Duration = Duration::from_secs(2);
/// A connection that died without a word looks like one on which nothing happens.
const RENEWAL: Duration = Duration::from_secs(600);

pub(super) struct Ear {
    connect: PgConnectOptions,
    heard: Arc<Notify>,
    /// Begun by whoever waits first: commands that only ask something never listen.
    listening: OnceLock<AbortHandle>,
}

impl Ear {
    pub(super) fn new(connect: PgConnectOptions) -> Self {
        Self { connect, heard: Arc::new(Notify::new()), listening: OnceLock::new() }
    }

    /// A notification that comes while nobody waits ends the next wait at once.
    pub(super) async fn hears(&self) {
        self.listening.get_or_init(|| tokio::spawn(listen(self.connect.clone(), Arc::clone(&self.heard))).abort_handle());
        self.heard.notified().await;
    }

    pub(super) fn close(&self) {
        if let Some(listening) = self.listening.get() {
            listening.abort();
        }
    }
}

impl Drop for Ear {
    fn drop(&mut self) {
        self.close();
    }
}

async fn listen(connect: PgConnectOptions, heard: Arc<Notify>) {
    loop {
        match timeout(CONNECT, begin(&connect)).await {
            Ok(Ok(listener)) => {
                // Whatever came before this moment was not heard.
                heard.notify_one();
                let error = follow(listener, &heard).await;
                tracing::debug!(error, "listening for signals anew");
            }
            Ok(Err(error)) => tracing::debug!(%error, "signals are asked for, not listened to"),
            Err(_) => tracing::debug!("signals are asked for, not listened to: no connection in time"),
        }
        sleep(PAUSE).await;
    }
}

/// On a pool of its own, so that a connection that cannot be ended in order keeps no later one waiting.
async fn begin(connect: &PgConnectOptions) -> sqlx::Result<PgListener> {
    let pool = PgPoolOptions::new().max_connections(1).max_lifetime(None).idle_timeout(None).connect_with(connect.clone()).await?;
    let mut listener = PgListener::connect_with(&pool).await?;
    listener.eager_reconnect(false);
    listener.listen(CHANNEL).await?;
    Ok(listener)
}

/// Until it is over, and why.
async fn follow(mut listener: PgListener, heard: &Notify) -> String {
    loop {
        match timeout(RENEWAL, listener.try_recv()).await {
            Ok(Ok(Some(_))) => heard.notify_one(),
            Ok(Ok(None)) => return "the connection is lost".into(),
            Ok(Err(error)) => return error.to_string(),
            Err(_) => return "nothing was heard for long".into(),
        }
    }
}
