//! A bare connection, for callers that no HTTP library would be: that stop in the middle, hang up, or send what is not HTTP.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::house::KEY;

const PATIENCE: Duration = Duration::from_secs(20);

pub struct Wire(TcpStream);

impl Wire {
    pub async fn to(at: SocketAddr) -> Self {
        Self(TcpStream::connect(at).await.unwrap())
    }

    pub async fn say(&mut self, text: &str) {
        self.0.write_all(text.as_bytes()).await.unwrap();
    }

    /// False once the other side has ended the connection.
    pub async fn try_say(&mut self, text: &str) -> bool {
        self.0.write_all(text.as_bytes()).await.is_ok()
    }

    /// The head of a call with the house's key, announcing a body of this length.
    pub async fn begin_call(&mut self, source: &str, length: usize) {
        self.say(&format!(
            "POST /functions/v1/eliza-gatekeeper HTTP/1.1\r\nhost: gatekeeper\r\ncontent-type: application/json\r\n\
             x-eliza-key: {KEY}\r\nx-eliza-source: {source}\r\ncontent-length: {length}\r\n\r\n"
        ))
        .await;
    }

    pub async fn call(&mut self, source: &str, envelope: &Value) {
        let body = envelope.to_string();
        self.begin_call(source, body.len()).await;
        self.say(&body).await;
    }

    /// Reads until this has come; returns all that came.
    pub async fn hear(&mut self, text: &str) -> String {
        let mut heard = Vec::new();
        while !String::from_utf8_lossy(&heard).contains(text) {
            let mut piece = [0; 4096];
            let read = timeout(PATIENCE, self.0.read(&mut piece)).await.unwrap_or_else(|_| panic!("never heard {text:?}"));
            let read = read.unwrap();
            assert!(read > 0, "the connection ended before {text:?} came: {:?}", String::from_utf8_lossy(&heard));
            heard.extend_from_slice(&piece[..read]);
        }
        String::from_utf8(heard).unwrap()
    }

    /// Reads until the other side ends the connection, in order or not; returns what came before.
    pub async fn hear_the_end(&mut self) -> String {
        let mut heard = Vec::new();
        let end = timeout(PATIENCE, self.0.read_to_end(&mut heard)).await.expect("the other side ends the connection");
        drop(end);
        String::from_utf8_lossy(&heard).into_owned()
    }
}
