//! The side of the new process.

use std::io;
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::path::Path;

use tokio::net::UnixStream;

use super::socket_of;
use super::successors::Successors;
use super::wire::{ANSWER, Passed, Predecessor as Said, Successor as Say, VERSION, Wire};
use crate::gates::rate_limit::{Held, MOST_HELD};
use crate::server::listeners::Given;

/// Why nothing could be taken over. The running process serves on.
#[derive(Debug, thiserror::Error)]
pub enum TakeoverError {
    #[error("the running process cannot be asked for its sockets: {0}")]
    Unasked(io::Error),
    #[error("the running process serves on: {0}")]
    Refused(String),
    #[error("the running process did not hand over: {0}")]
    Failed(io::Error),
}

/// The process whose place this one is about to take.
pub struct Predecessor {
    wire: Wire,
    process: i32,
}

/// What the running process has passed. It serves by it too, until this one is ready.
pub(in crate::server) struct Offered {
    pub predecessor: Predecessor,
    pub sockets: Vec<Given>,
    pub successors: Successors,
}

impl Predecessor {
    /// Asks the process that serves with this state directory. `None`: none does.
    pub(in crate::server) async fn ask(state: &Path) -> Result<Option<Offered>, TakeoverError> {
        let stream = match UnixStream::connect(socket_of(state)).await {
            Ok(stream) => stream,
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) => return Ok(None),
            Err(error) => return Err(TakeoverError::Unasked(error)),
        };
        let wire = Wire::with(stream).map_err(TakeoverError::Unasked)?;
        let mut predecessor = Self { process: wire.peer(), wire };
        let passed = predecessor.offer().await?;
        let (mut sockets, mut successors) = (Vec::new(), None);
        for (what, descriptor) in passed.into_iter().zip(predecessor.wire.descriptors()) {
            match what {
                Passed::Handover => successors = Some(Successors::inherited(descriptor).map_err(TakeoverError::Failed)?),
                Passed::Plane(plane) => sockets.push(Given { plane, socket: listening(descriptor).map_err(TakeoverError::Failed)? }),
            }
        }
        let nowhere = || TakeoverError::Failed(io::Error::other("it does not pass the socket at which it is asked"));
        let successors = successors.ok_or_else(nowhere)?;
        tracing::info!(
            process = predecessor.process,
            sockets = sockets.len(),
            "the running process passes its sockets, and serves on until this one is ready"
        );
        Ok(Some(Offered { predecessor, sockets, successors }))
    }

    async fn offer(&mut self) -> Result<Vec<Passed>, TakeoverError> {
        self.wire.say(&Say::Asks { version: VERSION }).await.map_err(TakeoverError::Unasked)?;
        match self.wire.hear(ANSWER).await.map_err(TakeoverError::Unasked)? {
            Said::Offers { passed } => Ok(passed),
            Said::Refuses { why } => Err(TakeoverError::Refused(why)),
            Said::Counts { .. } | Said::CountsEnd | Said::Yours => Err(TakeoverError::Failed(out_of_turn())),
        }
    }

    /// Says that this process is ready, and takes what was counted: `take` must be through with it before this one serves. Whatever it
    /// returns without an error, this process is the one that serves from now on.
    pub async fn take_over(mut self, take: impl AsyncFnOnce(Vec<Held>)) -> Result<(), TakeoverError> {
        match self.counts().await {
            Ok(held) => take(held).await,
            Err(TakeoverError::Failed(error)) if is_gone(&error) => return self.is_alone(),
            Err(error) => return Err(error),
        }
        match self.confirmed().await {
            Err(TakeoverError::Failed(error)) if is_gone(&error) => self.is_alone(),
            Err(error) => Err(error),
            Ok(()) => {
                tracing::warn!(process = self.process, "taken over: this process serves, the one before it ends");
                Ok(())
            }
        }
    }

    async fn counts(&mut self) -> Result<Vec<Held>, TakeoverError> {
        self.say(&Say::Ready).await?;
        let mut all = Vec::new();
        loop {
            match self.wire.hear(ANSWER).await.map_err(TakeoverError::Failed)? {
                Said::Counts { held } => all.extend(held),
                Said::CountsEnd => return Ok(all),
                Said::Refuses { why } => return Err(TakeoverError::Refused(why)),
                Said::Offers { .. } | Said::Yours => return Err(TakeoverError::Failed(out_of_turn())),
            }
            if all.len() > MOST_HELD {
                return Err(TakeoverError::Failed(io::Error::other("it sends more counts than anybody may have")));
            }
        }
    }

    async fn confirmed(&mut self) -> Result<(), TakeoverError> {
        self.say(&Say::Taken).await?;
        match self.wire.hear(ANSWER).await.map_err(TakeoverError::Failed)? {
            Said::Yours => Ok(()),
            Said::Refuses { why } => Err(TakeoverError::Refused(why)),
            Said::Offers { .. } | Said::Counts { .. } | Said::CountsEnd => Err(TakeoverError::Failed(out_of_turn())),
        }
    }

    /// What the other end has said before it closed is still to be heard.
    async fn say(&mut self, said: &Say) -> Result<(), TakeoverError> {
        match self.wire.say(said).await {
            Err(error) if !is_gone(&error) => Err(TakeoverError::Failed(error)),
            Ok(()) | Err(_) => Ok(()),
        }
    }

    fn is_alone(&self) -> Result<(), TakeoverError> {
        let process = self.process;
        tracing::error!(
            process,
            "the process before this one ended before it had handed everything over: this one serves, by the counts it knows"
        );
        Ok(())
    }
}

/// Whoever serves on says so first: an end without a word is the end of a process.
fn is_gone(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe)
}

fn out_of_turn() -> io::Error {
    io::Error::other("what it says does not belong here")
}

fn listening(descriptor: OwnedFd) -> io::Result<TcpListener> {
    let socket = TcpListener::from(descriptor);
    socket.local_addr()?;
    Ok(socket)
}
