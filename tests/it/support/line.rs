//! A bare connection: for what no HTTP client would send or leave unsaid, and for watching an answer arrive.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::house::{KEY, Reply};

const PATIENCE: Duration = Duration::from_secs(20);

pub struct Line {
    stream: TcpStream,
    heard: Vec<u8>,
}

impl Line {
    pub async fn to(at: SocketAddr) -> Self {
        Self { stream: TcpStream::connect(at).await.unwrap(), heard: Vec::new() }
    }

    /// The other end of somebody's connection.
    pub fn of(stream: TcpStream) -> Self {
        Self { stream, heard: Vec::new() }
    }

    pub async fn say(&mut self, bytes: impl AsRef<[u8]>) -> &mut Self {
        self.stream.write_all(bytes.as_ref()).await.unwrap();
        self
    }

    /// False once the other side has ended the connection.
    pub async fn try_say(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        self.stream.write_all(bytes.as_ref()).await.is_ok()
    }

    /// Ends this side of the connection; the other may still speak.
    pub async fn finish(&mut self) -> &mut Self {
        self.stream.shutdown().await.unwrap();
        self
    }

    /// The head of a call with the house's key, announcing a body of this length.
    pub async fn begin_call(&mut self, source: &str, length: usize) -> &mut Self {
        self.say(format!(
            "POST /functions/v1/eliza-gatekeeper HTTP/1.1\r\nhost: gatekeeper\r\ncontent-type: application/json\r\n\
             x-eliza-key: {KEY}\r\nx-eliza-source: {source}\r\ncontent-length: {length}\r\n\r\n"
        ))
        .await
    }

    pub async fn call(&mut self, source: &str, envelope: &Value) -> &mut Self {
        let body = envelope.to_string();
        self.begin_call(source, body.len()).await.say(body).await
    }

    /// Waits until this has arrived, and returns what else has by then.
    pub async fn hear(&mut self, text: &str) -> String {
        loop {
            let heard = String::from_utf8_lossy(&self.heard).into_owned();
            if heard.contains(text) {
                return heard;
            }
            assert!(self.more().await, "the connection closed before {text:?} came: {heard}");
        }
    }

    /// Waits until this has arrived; takes it and all before it, and leaves what is behind it.
    pub async fn hear_up_to(&mut self, text: &str) -> String {
        self.hear(text).await;
        let end = self.heard.windows(text.len()).position(|window| window == text.as_bytes()).unwrap() + text.len();
        let rest = self.heard.split_off(end);
        String::from_utf8(std::mem::replace(&mut self.heard, rest)).unwrap()
    }

    /// The head of a message.
    pub async fn hear_head(&mut self) -> String {
        self.hear_up_to("\r\n\r\n").await
    }

    /// Takes these bytes, which must come next.
    pub async fn take(&mut self, bytes: &[u8]) {
        while self.heard.len() < bytes.len() {
            assert!(self.more().await, "the connection closed");
        }
        let rest = self.heard.split_off(bytes.len());
        assert_eq!(std::mem::replace(&mut self.heard, rest), bytes);
    }

    /// Takes so many bytes and forgets them.
    pub async fn skip(&mut self, mut bytes: usize) {
        while bytes > 0 {
            if self.heard.is_empty() {
                assert!(self.more().await, "the connection closed");
            }
            let taken = self.heard.len().min(bytes);
            self.heard.drain(..taken);
            bytes -= taken;
        }
    }

    /// What has arrived and was not taken.
    pub fn left(&self) -> String {
        String::from_utf8_lossy(&self.heard).into_owned()
    }

    /// Waits until the other side ends the connection, in order or not; returns what came before.
    pub async fn hear_the_end(&mut self) -> String {
        while self.more().await {}
        String::from_utf8_lossy(&self.heard).into_owned()
    }

    /// The answer, which must say how long it is.
    pub async fn reply(&mut self) -> Reply {
        self.hear("\r\n\r\n").await;
        let end = self.heard.windows(4).position(|window| window == b"\r\n\r\n").unwrap();
        let head = String::from_utf8(self.heard[..end].to_vec()).unwrap();
        let mut lines = head.split("\r\n");
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let mut headers = HeaderMap::new();
        for (name, value) in lines.map(|line| line.split_once(':').unwrap()) {
            headers.append(name.parse::<HeaderName>().unwrap(), HeaderValue::from_str(value.trim()).unwrap());
        }
        let length: usize = headers["content-length"].to_str().unwrap().parse().unwrap();
        let body = end + 4..end + 4 + length;
        while self.heard.len() < body.end {
            assert!(self.more().await, "the connection closed in the middle of an answer");
        }
        let rest = self.heard.split_off(body.end);
        let body = Bytes::copy_from_slice(&self.heard[body]);
        self.heard = rest;
        Reply { status, headers, body }
    }

    async fn more(&mut self) -> bool {
        let read = tokio::time::timeout(PATIENCE, self.stream.read_buf(&mut self.heard)).await;
        read.expect("something in time").is_ok_and(|read| read > 0)
    }
}
