//! The sockets, bound before anything else starts, so that a port in use is found at once.

use std::io;
use std::net::SocketAddr;

use tokio::net::TcpListener;

pub struct Listeners {
    pub(super) data: TcpListener,
    /// `None`: both planes share the data listener.
    pub(super) ops: Option<TcpListener>,
}

impl Listeners {
    pub async fn bind(data: SocketAddr, ops: SocketAddr) -> io::Result<Self> {
        let bind = |at: SocketAddr| async move {
            TcpListener::bind(at).await.map_err(|error| io::Error::new(error.kind(), format!("{at} cannot be listened on: {error}")))
        };
        let shared = data == ops && data.port() != 0;
        let data = bind(data).await?;
        let ops = if shared { None } else { Some(bind(ops).await?) };
        Ok(Self { data, ops })
    }

    pub fn data_address(&self) -> io::Result<SocketAddr> {
        self.data.local_addr()
    }

    pub fn ops_address(&self) -> io::Result<SocketAddr> {
        self.ops.as_ref().unwrap_or(&self.data).local_addr()
    }
}
