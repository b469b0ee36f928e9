//! The side of the running process.

use std::fs::{self, DirBuilder, Permissions};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, PermissionsExt};
use std::os::unix::net;
use std::path::Path;
use std::time::Duration;

use tokio::net::{UnixListener, UnixStream};
use tokio::time::sleep;

use super::socket_of;
use super::wire::{ANSWER, Passed, Predecessor as Say, Successor as Said, VERSION, Wire};
use crate::gates::rate_limit::Held;
use crate::server::listeners::Listeners;

/// How long a new process may take to start. One that asks meanwhile gets no answer, and gives up.
const START: Duration = Duration::from_secs(120);
/// Counts in one frame.
const COUNTS: usize = 250;
/// After what cannot be accepted: trying again at once would only spin.
const PAUSE: Duration = Duration::from_secs(1);

/// Where new processes ask for the sockets.
pub struct Successors {
    listener: UnixListener,
}

impl Successors {
    /// In the state directory, which is made if it is not there. For whoever has the sockets of callers already: so of two processes that
    /// start at once only one comes here.
    pub async fn expected_in(state: &Path) -> io::Result<Self> {
        let path = socket_of(state);
        if UnixStream::connect(&path).await.is_ok() {
            return Err(io::Error::other("another process serves with this state directory, and is asked there: each must have its own"));
        }
        DirBuilder::new().recursive(true).mode(0o700).create(state)?;
        // Left by a process that is gone. Nothing else is taken away.
        if fs::symlink_metadata(&path).is_ok_and(|there| there.file_type().is_socket()) {
            fs::remove_file(&path)?;
        }
        let listener = UnixListener::bind(&path)?;
        fs::set_permissions(&path, Permissions::from_mode(0o600))?;
        Ok(Self { listener })
    }

    /// As the process before this one expected them.
    pub(super) fn inherited(listener: OwnedFd) -> io::Result<Self> {
        let listener = net::UnixListener::from(listener);
        listener.set_nonblocking(true)?;
        Ok(Self { listener: UnixListener::from_std(listener)? })
    }

    /// Waits for a new process that has been given the sockets and is ready to serve by them. Those that ask and do not come so far are in
    /// the log, and nothing else becomes of it.
    pub async fn ready(&self, listeners: &Listeners) -> Ready {
        loop {
            let stream = match self.listener.accept().await {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::warn!(%error, "a new process that asks for the sockets cannot be heard");
                    sleep(PAUSE).await;
                    continue;
                }
            };
            let wire = match Wire::with(stream) {
                Ok(wire) => wire,
                Err(error) => {
                    tracing::warn!(%error, "the sockets were asked for by somebody who may not have them");
                    continue;
                }
            };
            let mut ready = Ready { process: wire.peer(), wire };
            match ready.prepare(self, listeners).await {
                Ok(()) => return ready,
                Err(error) => {
                    let why = ready.tell(error).await;
                    tracing::error!(process = ready.process, why, "a new process was not ready to take over: this one serves on");
                }
            }
        }
    }
}

/// A new process that could serve now.
pub struct Ready {
    process: i32,
    wire: Wire,
}

impl Ready {
    async fn prepare(&mut self, successors: &Successors, listeners: &Listeners) -> io::Result<()> {
        match self.wire.hear(ANSWER).await? {
            Said::Asks { version: VERSION } => {}
            Said::Asks { version } => return Err(io::Error::other(format!("it asks in version {version}, not {VERSION}"))),
            Said::Ready | Said::Taken => return Err(io::Error::other("it did not ask first")),
        }
        let handover = (Passed::Handover, successors.listener.as_fd());
        let sockets = listeners.sockets().map(|(plane, socket)| (Passed::Plane(plane), socket));
        let (passed, sockets): (Vec<Passed>, Vec<BorrowedFd<'_>>) = [handover].into_iter().chain(sockets).unzip();
        self.wire.say_passing(&Say::Offers { passed }, &sockets).await?;
        tracing::info!(process = self.process, "a new process is about to take over: this one serves until it is ready");
        match self.wire.hear(START).await? {
            Said::Ready => Ok(()),
            Said::Asks { .. } | Said::Taken => Err(io::Error::other("it did not say that it is ready")),
        }
    }

    /// Hands everything over. After an error this process must serve on. No connection may be taken meanwhile, so that nothing is counted
    /// here any more.
    pub async fn hand_over(mut self, held: Vec<Held>) -> Result<(), String> {
        match self.try_hand_over(held).await {
            Ok(()) => {
                tracing::warn!(process = self.process, "handed over: the new process serves, calls under way here may end");
                Ok(())
            }
            Err(error) => Err(self.tell(error).await),
        }
    }

    async fn try_hand_over(&mut self, held: Vec<Held>) -> io::Result<()> {
        let mut rest = held.into_iter().peekable();
        while rest.peek().is_some() {
            self.wire.say(&Say::Counts { held: rest.by_ref().take(COUNTS).collect() }).await?;
        }
        self.wire.say(&Say::CountsEnd).await?;
        match self.wire.hear(ANSWER).await? {
            Said::Taken => {}
            Said::Asks { .. } | Said::Ready => return Err(io::Error::other("it did not say that it has taken everything")),
        }
        // It has everything: whether it hears this or finds nobody here, it serves.
        let _heard = self.wire.say(&Say::Yours).await;
        Ok(())
    }

    /// Tells the new process, if it is there, that this one serves on; returns why.
    async fn tell(&mut self, error: io::Error) -> String {
        let why = match error.kind() {
            io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => "it has ended".to_owned(),
            io::ErrorKind::TimedOut => "it took too long".to_owned(),
            _ => error.to_string(),
        };
        let _heard = self.wire.say(&Say::Refuses { why: why.clone() }).await;
        why
    }
}
