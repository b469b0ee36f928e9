//! A target that reads HTTP/1.1 by the letter: what admits a second reading is a fault, because some other server would read it the
//! other way. It answers every request, by the letter too unless a test says otherwise, and keeps the bytes of all of them.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 11\r\n\r\n{\"ok\":true}";

/// A whole request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    pub method: String,
    pub path: String,
    /// Names as they came, values trimmed.
    pub headers: Vec<(String, String)>,
    pub body: String,
    pub trailers: Vec<(String, String)>,
}

impl Request {
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.headers.iter().filter(|(there, _)| there.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str());
        let value = values.next();
        assert!(values.next().is_none(), "{name} arrived twice: {self:?}");
        value
    }
}

#[derive(Default)]
struct Heard {
    requests: Vec<Request>,
    faults: Vec<String>,
    bytes: Vec<u8>,
    answer: Option<&'static str>,
}

pub struct StrictTarget {
    address: SocketAddr,
    heard: Arc<Mutex<Heard>>,
    server: JoinHandle<()>,
}

impl StrictTarget {
    pub async fn start() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let heard = Arc::<Mutex<Heard>>::default();
        let server = tokio::spawn(accept(listener, Arc::clone(&heard)));
        Self { address, heard, server }
    }

    pub fn origin(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The whole requests that came since this was last asked; fails if anything else came.
    #[track_caller]
    pub fn take(&self) -> Vec<Request> {
        let mut heard = self.heard.lock().unwrap();
        assert!(heard.faults.is_empty(), "{:?}: {}", heard.faults, String::from_utf8_lossy(&heard.bytes));
        std::mem::take(&mut heard.requests)
    }

    /// The next request is answered with these bytes, and the connection goes on.
    pub fn answer_next(&self, bytes: &'static str) {
        self.heard.lock().unwrap().answer = Some(bytes);
    }

    /// Whether this text is anywhere in all that ever came, in any letter case.
    pub fn was_told(&self, text: &str) -> bool {
        let heard = self.heard.lock().unwrap();
        String::from_utf8_lossy(&heard.bytes).to_ascii_lowercase().contains(&text.to_ascii_lowercase())
    }
}

impl Drop for StrictTarget {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn accept(listener: TcpListener, heard: Arc<Mutex<Heard>>) {
    let mut connections = JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        connections.spawn(serve(stream, Arc::clone(&heard)));
    }
}

async fn serve(mut stream: TcpStream, heard: Arc<Mutex<Heard>>) {
    let mut unread = Vec::new();
    loop {
        match read(&unread) {
            Ok(Some((request, length))) => {
                unread.drain(..length);
                let answer = {
                    let mut heard = heard.lock().unwrap();
                    heard.requests.push(request);
                    heard.answer.take().map_or(ANSWER, str::as_bytes)
                };
                if stream.write_all(answer).await.is_err() {
                    return;
                }
            }
            Ok(None) => {
                let before = unread.len();
                match stream.read_buf(&mut unread).await {
                    // A request that was cut off is none: the end of the connection says so.
                    Ok(0) | Err(_) => return,
                    Ok(_) => heard.lock().unwrap().bytes.extend_from_slice(&unread[before..]),
                }
            }
            Err(fault) => return heard.lock().unwrap().faults.push(fault.to_owned()),
        }
    }
}

type Fault = &'static str;

/// The first request in these bytes and how long it is; `None` if there is more to come.
fn read(bytes: &[u8]) -> Result<Option<(Request, usize)>, Fault> {
    let Some(end) = find(bytes, b"\r\n\r\n") else { return Ok(None) };
    let head = std::str::from_utf8(&bytes[..end]).map_err(|_| "a head that is no text")?;
    let (line, headers) = head.split_once("\r\n").unwrap_or((head, ""));
    let words: Vec<_> = line.split(' ').collect();
    let [method, path, "HTTP/1.1"] = words[..] else { return Err("a request line of other than three words") };
    let headers = fields(headers)?;
    let named =
        |name: &str| headers.iter().filter(|(there, _)| there.eq_ignore_ascii_case(name)).map(|(_, v)| v.clone()).collect::<Vec<_>>();
    if named("host").len() != 1 {
        return Err("not one Host");
    }
    let rest = &bytes[end + 4..];
    let (lengths, codings) = (named("content-length"), named("transfer-encoding"));
    let body = match (&lengths[..], &codings[..]) {
        ([], []) => Some((Vec::new(), Vec::new(), 0)),
        ([length], []) if length.bytes().all(|byte| byte.is_ascii_digit()) => {
            let length: usize = length.parse().map_err(|_| "a length that is no number")?;
            rest.get(..length).map(|body| (body.to_vec(), Vec::new(), length))
        }
        ([], [coding]) if coding == "chunked" => chunks(rest)?,
        _ => return Err("framing that admits two readings"),
    };
    Ok(body.map(|(body, trailers, length)| {
        let body = String::from_utf8_lossy(&body).into_owned();
        (Request { method: method.to_owned(), path: path.to_owned(), headers, body, trailers }, end + 4 + length)
    }))
}

type Chunked = (Vec<u8>, Vec<(String, String)>, usize);

fn chunks(bytes: &[u8]) -> Result<Option<Chunked>, Fault> {
    let (mut body, mut at) = (Vec::new(), 0);
    loop {
        let Some(end) = find(&bytes[at..], b"\r\n") else { return Ok(None) };
        let size = std::str::from_utf8(&bytes[at..at + end]).map_err(|_| "a chunk size that is no text")?;
        if size.is_empty() || size.len() > 8 || !size.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err("a chunk size that is not a plain number");
        }
        let size = usize::from_str_radix(size, 16).map_err(|_| "a chunk size that is no number")?;
        at += end + 2;
        if size == 0 {
            break;
        }
        let Some(chunk) = bytes.get(at..at + size + 2) else { return Ok(None) };
        let Some(chunk) = chunk.strip_suffix(b"\r\n") else { return Err("a chunk longer than it says") };
        body.extend_from_slice(chunk);
        at += size + 2;
    }
    if bytes[at..].starts_with(b"\r\n") {
        return Ok(Some((body, Vec::new(), at + 2)));
    }
    let Some(end) = find(&bytes[at..], b"\r\n\r\n") else { return Ok(None) };
    let trailers = std::str::from_utf8(&bytes[at..at + end]).map_err(|_| "trailers that are no text")?;
    Ok(Some((body, fields(trailers)?, at + end + 4)))
}

fn fields(lines: &str) -> Result<Vec<(String, String)>, Fault> {
    let token =
        |name: &str| !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_!#$%&'*+.^`|~".contains(&byte));
    let mut fields = Vec::new();
    for line in lines.split("\r\n").filter(|line| !line.is_empty()) {
        let (name, value) = line.split_once(':').ok_or("a header line without a colon")?;
        if !token(name) {
            return Err("a header name that is no token");
        }
        if value.bytes().any(|byte| byte < b' ' && byte != b'\t') {
            return Err("a header value with control characters");
        }
        fields.push((name.to_owned(), value.trim().to_owned()));
    }
    Ok(fields)
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}
