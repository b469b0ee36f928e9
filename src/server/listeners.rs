//! The sockets, there before anything else starts, so that a port in use is found at once. Those that somebody else listens on already,
//! and passes on, are taken as they are: whoever waits in their queues is served.

use std::io;
use std::net::{SocketAddr, TcpListener as Socket};
use std::os::fd::{AsFd, BorrowedFd};

use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;

pub struct Listeners {
    pub(super) data: TcpListener,
    /// `None`: both planes share the data listener.
    pub(super) ops: Option<TcpListener>,
}

/// Whose socket it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Plane {
    Data,
    Ops,
}

/// A socket that listens already.
#[derive(Debug)]
pub(super) struct Given {
    pub plane: Plane,
    pub socket: Socket,
}

impl Listeners {
    pub async fn bind(data: SocketAddr, ops: SocketAddr) -> io::Result<Self> {
        Self::at(data, ops, Vec::new()).await
    }

    /// Listens at these addresses: by the sockets that were given, where they do so, else by new ones.
    pub(super) async fn at(data: SocketAddr, ops: SocketAddr, mut given: Vec<Given>) -> io::Result<Self> {
        let shared = data == ops && data.port() != 0;
        let data = listen(Plane::Data, data, &mut given).await?;
        let ops = if shared { None } else { Some(listen(Plane::Ops, ops, &mut given).await?) };
        for Given { socket, .. } in given {
            let address = socket.local_addr()?;
            tracing::warn!(%address, "the process before this one listened here, this one does not");
        }
        Ok(Self { data, ops })
    }

    /// Listens by the sockets that were given, whatever their addresses. Without one for the ops plane, that one is bound as configured.
    pub(super) async fn by(given: Vec<Given>, ops: SocketAddr) -> io::Result<Self> {
        let (mut data_socket, mut ops_socket) = (None, None);
        for Given { plane, socket } in given {
            match plane {
                Plane::Data => data_socket = Some(socket),
                Plane::Ops => ops_socket = Some(socket),
            }
        }
        let data = ready(data_socket.ok_or_else(|| io::Error::other("none of the sockets given is for calls"))?)?;
        let ops = match ops_socket {
            Some(socket) => Some(ready(socket)?),
            None if data.local_addr()? == ops => None,
            None => Some(bind(ops).await?),
        };
        Ok(Self { data, ops })
    }

    pub fn data_address(&self) -> io::Result<SocketAddr> {
        self.data.local_addr()
    }

    pub fn ops_address(&self) -> io::Result<SocketAddr> {
        self.ops.as_ref().unwrap_or(&self.data).local_addr()
    }

    pub(super) fn sockets(&self) -> impl Iterator<Item = (Plane, BorrowedFd<'_>)> {
        let ops = self.ops.as_ref().map(|listener| (Plane::Ops, listener.as_fd()));
        [(Plane::Data, self.data.as_fd())].into_iter().chain(ops)
    }
}

async fn listen(plane: Plane, at: SocketAddr, given: &mut Vec<Given>) -> io::Result<TcpListener> {
    let serves = |given: &Given| match given.socket.local_addr() {
        // Any port would do, so the one that callers know is the best.
        Ok(there) if at.port() == 0 => given.plane == plane && there.ip() == at.ip(),
        Ok(there) => there == at,
        Err(_) => false,
    };
    match given.iter().position(serves) {
        Some(found) => ready(given.swap_remove(found).socket),
        None => bind(at).await,
    }
}

async fn bind(at: SocketAddr) -> io::Result<TcpListener> {
    TcpListener::bind(at).await.map_err(|error| io::Error::new(error.kind(), format!("{at} cannot be listened on: {error}")))
}

fn ready(socket: Socket) -> io::Result<TcpListener> {
    socket.set_nonblocking(true)?;
    TcpListener::from_std(socket)
}
