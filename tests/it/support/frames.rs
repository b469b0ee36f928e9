//! HTTP/2 frame by frame: for what no client library would put into one.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::targets::within;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RESET: u8 = 3;
const SETTINGS: u8 = 4;
const GO_AWAY: u8 = 7;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
/// How HPACK writes `:status: 200`, which an encoder puts first.
const STATUS_200: u8 = 0x88;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// 200.
    Passed,
    /// Answered with any other status.
    Turned,
    /// Not answered: the stream, or the whole connection, was ended.
    Cut,
}

pub struct Frames {
    stream: TcpStream,
    next: u32,
}

impl Frames {
    pub async fn to(at: SocketAddr) -> Self {
        let mut frames = Self { stream: TcpStream::connect(at).await.unwrap(), next: 1 };
        frames.stream.write_all(PREFACE).await.unwrap();
        frames.put(SETTINGS, 0, 0, &[]).await;
        frames
    }

    /// One request, its header fields as they are given, and what came of it.
    pub async fn request(&mut self, head: &[(&str, &str)], body: &str, trailers: &[(&str, &str)]) -> Outcome {
        let id = self.next;
        self.next += 2;
        self.put(HEADERS, END_HEADERS, id, &block(head)).await;
        let last = if trailers.is_empty() { END_STREAM } else { 0 };
        self.put(DATA, last, id, body.as_bytes()).await;
        if !trailers.is_empty() {
            self.put(HEADERS, END_HEADERS | END_STREAM, id, &block(trailers)).await;
        }
        within("the end of an HTTP/2 stream", self.outcome(id)).await
    }

    async fn outcome(&mut self, id: u32) -> Outcome {
        let mut outcome = Outcome::Cut;
        loop {
            let mut head = [0; 9];
            if self.stream.read_exact(&mut head).await.is_err() {
                return outcome;
            }
            let [a, b, c, kind, flags, d, e, f, g] = head;
            let mut payload = vec![0; u32::from_be_bytes([0, a, b, c]) as usize];
            if self.stream.read_exact(&mut payload).await.is_err() {
                return outcome;
            }
            match kind {
                SETTINGS if flags == 0 => self.put(SETTINGS, 1, 0, &[]).await,
                GO_AWAY => return outcome,
                _ if u32::from_be_bytes([d, e, f, g]) != id => {}
                RESET => return outcome,
                HEADERS if outcome == Outcome::Cut => {
                    outcome = if payload[0] == STATUS_200 { Outcome::Passed } else { Outcome::Turned };
                }
                _ => {}
            }
            if matches!(kind, DATA | HEADERS) && flags & END_STREAM != 0 && u32::from_be_bytes([d, e, f, g]) == id {
                return outcome;
            }
        }
    }

    /// Whether the other side listens is for the reading to find out.
    async fn put(&mut self, kind: u8, flags: u8, id: u32, payload: &[u8]) {
        let [_, a, b, c] = (payload.len() as u32).to_be_bytes();
        let [d, e, f, g] = id.to_be_bytes();
        let mut frame = vec![a, b, c, kind, flags, d, e, f, g];
        frame.extend_from_slice(payload);
        let _ = self.stream.write_all(&frame).await;
    }
}

/// Each field as a literal with a name of its own: no table, no Huffman code.
fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        for text in [name, value] {
            assert!(text.len() < 127, "a length in one byte");
            block.push(text.len() as u8);
            block.extend_from_slice(text.as_bytes());
        }
    }
    block
}
