//! What the two processes say to each other: frames of JSON behind their length, and descriptors beside them.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncWriteExt, Interest};
use tokio::net::UnixStream;
use tokio::time::timeout;

use crate::gates::rate_limit::Held;
use crate::server::listeners::Plane;

/// Raised when an older process could not make sense of what a newer one says.
pub const VERSION: u32 = 1;
/// For whoever is asked to answer what takes no time.
pub const ANSWER: Duration = Duration::from_secs(5);
/// No frame is longer.
const FRAME: usize = 1 << 20;
const CHUNK: usize = 64 * 1024;
/// Descriptors that are passed at once.
const DESCRIPTORS: usize = 4;

/// What the starting process says.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Successor {
    Asks {
        version: u32,
    },
    /// It could serve now. From here on the one before it takes no more connections.
    Ready,
    /// It has all it needs.
    Taken,
}

/// What the running process says.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Predecessor {
    /// The descriptors beside this frame, in this order.
    Offers {
        passed: Vec<Passed>,
    },
    /// What was counted; more may follow.
    Counts {
        held: Vec<Held>,
    },
    CountsEnd,
    /// From here on the sockets are the other's alone.
    Yours,
    /// It serves on.
    Refuses {
        why: String,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Passed {
    /// Where the next successor will ask.
    Handover,
    Plane(Plane),
}

pub struct Wire {
    stream: UnixStream,
    read: Vec<u8>,
    descriptors: Vec<OwnedFd>,
}

impl Wire {
    /// With a process of this user, and of no other.
    pub fn with(stream: UnixStream) -> io::Result<Self> {
        let peer = stream.peer_cred()?.uid();
        if peer != rustix::process::geteuid().as_raw() {
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, format!("a process of the user {peer} is at the other end")));
        }
        Ok(Self { stream, read: Vec::new(), descriptors: Vec::new() })
    }

    /// The process at the other end, for the log.
    pub fn peer(&self) -> i32 {
        self.stream.peer_cred().ok().and_then(|peer| peer.pid()).unwrap_or(0)
    }

    pub async fn say(&mut self, said: &impl Serialize) -> io::Result<()> {
        self.say_passing(said, &[]).await
    }

    /// The other end must take it within the time of an answer.
    pub async fn say_passing(&mut self, said: &impl Serialize, passed: &[BorrowedFd<'_>]) -> io::Result<()> {
        let text = serde_json::to_vec(said).map_err(io::Error::other)?;
        let length = u32::try_from(text.len()).ok().filter(|length| *length as usize <= FRAME);
        let length = length.ok_or_else(|| io::Error::other("there is too much to say at once"))?;
        let frame = [&length.to_be_bytes(), text.as_slice()].concat();
        within(ANSWER, async {
            let sent = match passed {
                [] => 0,
                _ => self.stream.async_io(Interest::WRITABLE, || send(&self.stream, &frame, passed)).await?,
            };
            self.stream.write_all(frame.get(sent..).unwrap_or_default()).await
        })
        .await
    }

    /// The next that is said. The end of the connection is an `UnexpectedEof`.
    pub async fn hear<T: DeserializeOwned>(&mut self, patience: Duration) -> io::Result<T> {
        within(patience, async {
            loop {
                if let Some(frame) = self.frame()? {
                    return serde_json::from_slice(&frame).map_err(|error| io::Error::other(format!("it cannot be understood: {error}")));
                }
                self.read_on().await?;
            }
        })
        .await
    }

    /// The descriptors that came with what was heard.
    pub fn descriptors(&mut self) -> Vec<OwnedFd> {
        std::mem::take(&mut self.descriptors)
    }

    fn frame(&mut self) -> io::Result<Option<Vec<u8>>> {
        let Some(length) = self.read.first_chunk::<4>() else { return Ok(None) };
        let end = 4 + u32::from_be_bytes(*length) as usize;
        if end > 4 + FRAME {
            return Err(io::Error::other("it is too long"));
        }
        if self.read.len() < end {
            return Ok(None);
        }
        let rest = self.read.split_off(end);
        let mut frame = std::mem::replace(&mut self.read, rest);
        frame.drain(..4);
        Ok(Some(frame))
    }

    async fn read_on(&mut self) -> io::Result<()> {
        let mut chunk = vec![0; CHUNK];
        let (length, descriptors) = self.stream.async_io(Interest::READABLE, || receive(&self.stream, &mut chunk)).await?;
        if length == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.read.extend(chunk.iter().take(length));
        self.descriptors.extend(descriptors);
        self.descriptors.truncate(DESCRIPTORS);
        Ok(())
    }
}

fn send(stream: &UnixStream, bytes: &[u8], passed: &[BorrowedFd<'_>]) -> io::Result<usize> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !control.push(SendAncillaryMessage::ScmRights(passed)) {
        return Err(io::Error::other("there are too many descriptors"));
    }
    Ok(sendmsg(stream, &[IoSlice::new(bytes)], &mut control, SendFlags::NOSIGNAL)?)
}

fn receive(stream: &UnixStream, bytes: &mut [u8]) -> io::Result<(usize, Vec<OwnedFd>)> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    // No child of ours is to listen too.
    let received = recvmsg(stream, &mut [IoSliceMut::new(bytes)], &mut control, RecvFlags::CMSG_CLOEXEC)?;
    let descriptors = control.drain().filter_map(|message| match message {
        RecvAncillaryMessage::ScmRights(descriptors) => Some(descriptors),
        _ => None,
    });
    Ok((received.bytes, descriptors.flatten().collect()))
}

async fn within<T>(patience: Duration, what: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    timeout(patience, what).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}
