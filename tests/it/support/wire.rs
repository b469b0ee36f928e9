//! A bare connection, for callers that no HTTP library would be: that stop in the middle, hang up, or send what is not HTTP; and for
//! watching an answer arrive.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::house::{KEY, Reply};

const PATIENCE: Duration = Duration::from_secs(20);

pub struct Wire {
    stream: TcpStream,
    /// What has come and nobody has asked for yet.
    heard: Vec<u8>,
}

impl Wire {
    pub async fn to(at: SocketAddr) -> Self {
        Self { stream: TcpStream::connect(at).await.unwrap(), heard: Vec::new() }
    }

    pub async fn say(&mut self, bytes: impl AsRef<[u8]>) -> &mut Self {
        self.stream.write_all(bytes.as_ref()).await.unwrap();
        self
    }

    /// False once the other side has ended the connection.
    pub async fn try_say(&mut self, text: &str) -> bool {
        self.stream.write_all(text.as_bytes()).await.is_ok()
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
        while !String::from_utf8_lossy(&self.heard).contains(text) {
            let heard = String::from_utf8_lossy(&self.heard).into_owned();
            assert!(self.more().await, "the connection ended before {text:?} came: {heard:?}");
        }
        String::from_utf8(std::mem::take(&mut self.heard)).unwrap()
    }

    /// Reads one whole answer, which must say how long it is.
    pub async fn reply(&mut self) -> Reply {
        let head = loop {
            match self.heard.windows(4).position(|window| window == b"\r\n\r\n") {
                Some(end) => break String::from_utf8(self.heard.drain(..end + 4).collect()).unwrap(),
                None => assert!(self.more().await, "the connection ended without an answer"),
            }
        };
        let mut lines = head.trim_end().split("\r\n");
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let mut headers = HeaderMap::new();
        for (name, value) in lines.map(|line| line.split_once(':').unwrap()) {
            headers.append(name.parse::<HeaderName>().unwrap(), HeaderValue::from_str(value.trim()).unwrap());
        }
        let length = headers["content-length"].to_str().unwrap().parse().unwrap();
        while self.heard.len() < length {
            assert!(self.more().await, "the connection ended in the middle of an answer");
        }
        Reply { status, headers, body: Bytes::from_iter(self.heard.drain(..length)) }
    }

    /// Reads until the other side ends the connection, in order or not; returns what came before.
    pub async fn hear_the_end(&mut self) -> String {
        while self.more().await {}
        String::from_utf8_lossy(&std::mem::take(&mut self.heard)).into_owned()
    }

    /// Reads a piece. False once the other side has ended the connection.
    async fn more(&mut self) -> bool {
        let read = timeout(PATIENCE, self.stream.read_buf(&mut self.heard)).await;
        read.expect("the other side says something, or ends the connection").is_ok_and(|read| read > 0)
    }
}
