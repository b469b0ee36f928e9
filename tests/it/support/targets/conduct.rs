//! How a target behaves, well or badly.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream;
use http::{HeaderValue, Response, StatusCode, header};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use serde_json::Value;
use tokio::sync::Semaphore;

use super::{Body, functions, whole};

/// Holds a target back until the test says so.
#[derive(Clone, Debug)]
pub struct Gate(Arc<Semaphore>);

impl Gate {
    pub fn shut() -> Self {
        Self(Arc::new(Semaphore::new(0)))
    }

    /// Lets one waiter, or one piece, through.
    pub fn let_one(&self) {
        self.0.add_permits(1);
    }

    /// Lets everything through from now on.
    pub fn open(&self) {
        self.0.close();
    }

    pub(super) async fn pass(&self) {
        if let Ok(permit) = self.0.acquire().await {
            permit.forget();
        }
    }
}

/// What is done with the bare connection, once a call has been read from it whole.
#[derive(Clone, Debug)]
pub struct Misdeed {
    pub says: Bytes,
    /// What to wait for between saying it and closing.
    pub holds: Option<Gate>,
    /// Whether the connection is reset rather than closed.
    pub cuts: bool,
}

#[derive(Clone, Debug)]
pub enum Conduct {
    /// As the platform's function of that name does.
    Function,
    /// As the function does, but not before the gate is open.
    Hang(Gate),
    /// The head at once, then a piece for each pass of the gate.
    Drip {
        gate: Gate,
        content_type: &'static str,
        pieces: Vec<&'static str>,
    },
    Answer {
        status: StatusCode,
        headers: Vec<(&'static str, String)>,
        body: Bytes,
    },
    /// A body of so many bytes and no announced length.
    Large(usize),
    Misbehave(Misdeed),
}

impl Conduct {
    pub fn html_500() -> Self {
        Self::status(500, "text/html", "<html><body><h1>Internal Server Error</h1><pre>at /srv/app/index.ts:42</pre></body></html>")
    }

    pub fn empty_502() -> Self {
        Self::status(502, "text/plain", "")
    }

    pub fn no_content() -> Self {
        Self::Answer { status: StatusCode::NO_CONTENT, headers: vec![], body: Bytes::new() }
    }

    pub fn redirect(to: &str) -> Self {
        Self::Answer { status: StatusCode::FOUND, headers: vec![("location", to.to_owned())], body: Bytes::new() }
    }

    pub fn json(status: u16, body: &Value) -> Self {
        Self::status(status, "application/json", body.to_string())
    }

    pub fn status(status: u16, content_type: &'static str, body: impl Into<Bytes>) -> Self {
        let headers = vec![("content-type", content_type.to_owned())];
        Self::Answer { status: StatusCode::from_u16(status).unwrap(), headers, body: body.into() }
    }

    /// The answer carries this header too.
    pub fn with(mut self, name: &'static str, value: &str) -> Self {
        match &mut self {
            Self::Answer { headers, .. } => headers.push((name, value.to_owned())),
            other => panic!("{other:?} has no headers to set"),
        }
        self
    }

    /// Closes without a word.
    pub fn close() -> Self {
        Self::raw("")
    }

    /// Resets without a word.
    pub fn reset() -> Self {
        Self::Misbehave(Misdeed { says: Bytes::new(), holds: None, cuts: true })
    }

    pub fn reset_mid_head() -> Self {
        Self::Misbehave(Misdeed { says: "HTTP/1.1 200 OK\r\ncontent-le".into(), holds: None, cuts: true })
    }

    pub fn close_mid_head() -> Self {
        Self::raw("HTTP/1.1 200 OK\r\ncontent-le")
    }

    /// Half of the body, and the reset once the gate lets it.
    pub fn reset_mid_body(gate: &Gate) -> Self {
        let says = "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf.".into();
        Self::Misbehave(Misdeed { says, holds: Some(gate.clone()), cuts: true })
    }

    pub fn close_mid_body() -> Self {
        Self::raw("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf.")
    }

    pub fn broken_chunk() -> Self {
        Self::raw("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhalf.\r\nNOT HEX\r\n")
    }

    pub fn garbage() -> Self {
        Self::raw("\u{1}\u{2}\u{3} this was never HTTP\r\n\r\n")
    }

    pub fn huge_head() -> Self {
        Self::raw(format!("HTTP/1.1 200 OK\r\nx-long: {}\r\ncontent-length: 0\r\n\r\n", "x".repeat(1 << 20)))
    }

    pub fn countless_headers() -> Self {
        let headers: String = (0..1000).map(|n| format!("x-{n}: {n}\r\n")).collect();
        Self::raw(format!("HTTP/1.1 200 OK\r\n{headers}content-length: 0\r\n\r\n"))
    }

    /// These bytes for an answer, and then the connection closes.
    pub fn raw(says: impl Into<Bytes>) -> Self {
        Self::Misbehave(Misdeed { says: says.into(), holds: None, cuts: false })
    }

    pub(super) fn answer(self) -> Response<Body> {
        match self {
            Self::Answer { status, headers, body } => {
                let mut response = Response::new(whole(body));
                *response.status_mut() = status;
                for (name, value) in headers {
                    response.headers_mut().append(name, HeaderValue::from_str(&value).unwrap());
                }
                response
            }
            Self::Drip { gate, content_type, pieces } => {
                let pieces = stream::unfold((gate, pieces.into_iter()), |(gate, mut pieces)| async move {
                    let piece = pieces.next()?;
                    gate.pass().await;
                    Some((Ok(Frame::data(Bytes::from_static(piece.as_bytes()))), (gate, pieces)))
                });
                Response::builder().header(header::CONTENT_TYPE, content_type).body(StreamBody::new(pieces).boxed_unsync()).unwrap()
            }
            Self::Large(size) => {
                let full = std::iter::repeat_n(Bytes::from(vec![b'x'; 64 * 1024]), size / (64 * 1024));
                let rest = (size % (64 * 1024) > 0).then(|| Bytes::from(vec![b'x'; size % (64 * 1024)]));
                functions::in_pieces("application/octet-stream", full.chain(rest))
            }
            Self::Function | Self::Hang(_) | Self::Misbehave(_) => unreachable!("handled where the call is"),
        }
    }
}
