//! A target that is nothing but a socket: the test itself says what it answers, byte by byte, and sees what it is sent.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::TcpListener;

use super::line::Line;

pub struct Bare {
    listener: TcpListener,
}

impl Bare {
    pub async fn listen() -> Self {
        Self { listener: TcpListener::bind(("127.0.0.1", 0)).await.unwrap() }
    }

    pub fn address(&self) -> SocketAddr {
        self.listener.local_addr().unwrap()
    }

    /// Policy for a target of this name that is here; `more` is lines of its entry.
    pub fn target(&self, name: &str, more: &str) -> String {
        format!("[[target]]\nnames = [\"{name}\"]\nurl = \"http://{}/at\"\ncredentials = \"none\"\n{more}\n", self.address())
    }

    /// The next connection that is made.
    pub async fn accept(&self) -> Line {
        let accepted = tokio::time::timeout(Duration::from_secs(20), self.listener.accept()).await;
        Line::of(accepted.expect("somebody calls").unwrap().0)
    }

    /// Whether nobody has called.
    pub async fn is_left_alone(&self) -> bool {
        tokio::time::timeout(Duration::from_millis(100), self.listener.accept()).await.is_err()
    }
}
