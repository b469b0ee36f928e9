//! Connections that go on in another protocol: bytes in both directions, unread, until either side ends, nothing moves for too long, or the
//! gatekeeper stops.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, split};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use super::client::Upgrade;
use crate::call::Traffic;

/// What is held of each direction.
const BUFFER: usize = 16 * 1024;

/// The tunnels of a gatekeeper: how many there are is bounded by the calls that may be under way.
pub struct Tunnels {
    cut: watch::Sender<bool>,
}

impl Default for Tunnels {
    fn default() -> Self {
        Self { cut: watch::Sender::new(false) }
    }
}

impl fmt::Debug for Tunnels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tunnels").field("open", &self.cut.receiver_count()).finish()
    }
}

/// How a tunnel ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TunnelEnd {
    /// One side ended it, in order or not.
    Closed,
    /// Nothing moved in either direction.
    Idle,
    /// The gatekeeper stops.
    Cut,
    /// The caller was gone before it began.
    NeverOpened,
}

/// Leave to open one. It counts until it is dropped.
#[derive(Debug)]
pub struct Tunnel {
    cut: watch::Receiver<bool>,
}

impl Tunnels {
    pub fn enter(&self) -> Tunnel {
        Tunnel { cut: self.cut.subscribe() }
    }

    /// Ends when none is open.
    pub async fn ended(&self) {
        self.cut.closed().await;
    }

    /// Ends all that are open, and all that are opened from now on.
    pub fn cut(&self) {
        self.cut.send_replace(true);
    }
}

impl Tunnel {
    /// `traffic` is told of every byte.
    pub async fn carry(mut self, callers: OnUpgrade, targets: Upgrade, traffic: &Traffic) -> TunnelEnd {
        let Upgrade { connection, idle, .. } = targets;
        let carried = async {
            match tokio::try_join!(callers, connection) {
                Ok((caller, target)) => between(caller, target, idle, traffic).await,
                Err(_) => TunnelEnd::NeverOpened,
            }
        };
        tokio::select! {
            ended = carried => ended,
            _ = self.cut.wait_for(|cut| *cut) => TunnelEnd::Cut,
        }
    }
}

async fn between(caller: Upgraded, target: Upgraded, idle: Duration, traffic: &Traffic) -> TunnelEnd {
    let (from_caller, to_caller) = split(TokioIo::new(caller));
    let (from_target, to_target) = split(TokioIo::new(target));
    let moved = LastMoved::new();
    let both = async {
        // The other direction may go on behind the end of one, but not behind its loss.
        let up = copy(from_caller, to_target, |bytes| moved.now(|| traffic.goes_up(bytes)));
        let down = copy(from_target, to_caller, |bytes| moved.now(|| traffic.goes_down(bytes)));
        let _either_lost = tokio::try_join!(up, down);
    };
    tokio::select! {
        () = both => TunnelEnd::Closed,
        () = moved.stands_still(idle) => TunnelEnd::Idle,
    }
}

/// To the end of what comes, which it passes on.
async fn copy(mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin, moved: impl Fn(usize)) -> std::io::Result<()> {
    let mut buffer = Vec::with_capacity(BUFFER);
    loop {
        buffer.clear();
        if from.read_buf(&mut buffer).await? == 0 {
            return to.shutdown().await;
        }
        to.write_all(&buffer).await?;
        to.flush().await?;
        moved(buffer.len());
    }
}

/// When something moved last, in milliseconds since the beginning.
struct LastMoved {
    began: Instant,
    millis: AtomicU64,
}

impl LastMoved {
    fn new() -> Self {
        Self { began: Instant::now(), millis: AtomicU64::new(0) }
    }

    fn now(&self, count: impl FnOnce()) {
        count();
        let millis = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.millis.store(millis, Ordering::Relaxed);
    }

    async fn stands_still(&self, idle: Duration) {
        loop {
            let end = self.began + Duration::from_millis(self.millis.load(Ordering::Relaxed)) + idle;
            if end <= Instant::now() {
                return;
            }
            sleep_until(end).await;
        }
    }
}
