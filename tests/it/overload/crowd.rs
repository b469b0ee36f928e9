//! A crowd of callers that costs next to nothing itself: bytes made beforehand over plain sockets, so that what is measured beside it is the
//! gatekeeper. And a target of the same kind.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use crate::support::house::KEY;

/// What goes unanswered for this long is no answer.
const PATIENCE: Duration = Duration::from_secs(20);
const ROOM: usize = 4 * 1024;

/// An answer that came whole.
#[derive(Clone, Copy, Debug)]
pub struct Answer {
    pub status: u16,
    /// Since the crowd began.
    pub at: Duration,
    pub took: Duration,
}

#[derive(Debug, Default)]
pub struct Heard {
    pub whole: Vec<Answer>,
    pub broken: usize,
}

impl Heard {
    pub fn of(&self, status: u16) -> impl Iterator<Item = &Answer> {
        self.whole.iter().filter(move |answer| answer.status == status)
    }

    pub fn count(&self, status: u16) -> usize {
        self.of(status).count()
    }

    /// How long so many of a thousand took at the most, in milliseconds.
    pub fn millis(&self, status: u16, per_mille: usize) -> f64 {
        let mut took: Vec<_> = self.of(status).map(|answer| answer.took).collect();
        took.sort_unstable();
        took.get(took.len() * per_mille / 1000).map_or(0.0, |took| took.as_secs_f64() * 1e3)
    }
}

/// Callers at work, each over a connection of its own.
pub struct Crowd {
    on: Arc<AtomicBool>,
    heard: Arc<AtomicUsize>,
    callers: Vec<JoinHandle<Heard>>,
}

impl Crowd {
    /// So many calls a second in all, or as many as are answered. A caller that is kept waiting calls again at once, until it is even.
    pub fn start(at: SocketAddr, callers: u32, a_second: Option<f64>) -> Self {
        Self::over(at, callers, 1, a_second)
    }

    /// The same, each over so many connections in turn.
    pub fn over(at: SocketAddr, callers: u32, connections: usize, a_second: Option<f64>) -> Self {
        let (on, count) = (Arc::new(AtomicBool::new(true)), Arc::new(AtomicUsize::new(0)));
        let every = a_second.map_or(Duration::ZERO, |a_second| Duration::from_secs_f64(f64::from(callers) / a_second));
        let begun = Instant::now();
        let text: Arc<str> = text().into();
        let callers = (0..callers).map(|number| {
            let (on, count, text, first) = (Arc::clone(&on), Arc::clone(&count), Arc::clone(&text), every * number / callers);
            tokio::spawn(async move {
                let mut lines: Vec<Option<TcpStream>> = (0..connections).map(|_| None).collect();
                let (mut heard, mut due) = (Heard::default(), first);
                for number in 0.. {
                    let line = &mut lines[number % connections];
                    tokio::time::sleep_until((begun + due).into()).await;
                    if !on.load(Ordering::Relaxed) {
                        break;
                    }
                    let called = begun.elapsed();
                    match tokio::time::timeout(PATIENCE, call(line, at, &text)).await.ok().flatten() {
                        Some(status) => {
                            heard.whole.push(Answer { status, at: begun.elapsed(), took: begun.elapsed() - called });
                            count.fetch_add(1, Ordering::Relaxed);
                        }
                        None => {
                            *line = None;
                            heard.broken += 1;
                            tokio::time::sleep(Duration::from_millis(20)).await;
                        }
                    }
                    due += every;
                }
                heard
            })
        });
        let callers = callers.collect();
        Self { on, heard: count, callers }
    }

    /// How many answers came so far.
    pub fn heard(&self) -> usize {
        self.heard.load(Ordering::Relaxed)
    }

    /// No more calls; those under way end.
    pub async fn end(self) -> Heard {
        self.on.store(false, Ordering::Relaxed);
        let mut all = Heard::default();
        for caller in self.callers {
            let heard = caller.await.unwrap();
            all.whole.extend(heard.whole);
            all.broken += heard.broken;
        }
        all
    }
}

/// A call as it goes over the line.
fn text() -> String {
    let envelope = json!({
        "target": "agent-manager", "action": "list_agents",
        "payload": { "note": "Please select what was updated since yesterday and tell me of it. ".repeat(6) },
    })
    .to_string();
    format!(
        "POST /functions/v1/eliza-gatekeeper HTTP/1.1\r\nhost: gatekeeper\r\ncontent-type: application/json\r\nx-eliza-key: {KEY}\r\n\
         x-eliza-source: gemini-chat\r\ncontent-length: {}\r\n\r\n{envelope}",
        envelope.len()
    )
}

async fn call(line: &mut Option<TcpStream>, at: SocketAddr, text: &str) -> Option<u16> {
    if line.is_none() {
        let stream = TcpStream::connect(at).await.ok()?;
        stream.set_nodelay(true).unwrap();
        *line = Some(stream);
    }
    let stream = line.as_mut()?;
    stream.write_all(text.as_bytes()).await.ok()?;
    let mut room = [0; ROOM];
    let message = read(stream, &mut room).await?;
    message.get(9..12)?.parse().ok()
}

/// The head of the next message, whose body is read too.
async fn read<'r>(stream: &mut TcpStream, room: &'r mut [u8; ROOM]) -> Option<&'r str> {
    let mut filled = 0;
    loop {
        let read = stream.read(&mut room[filled..]).await.ok().filter(|read| *read > 0)?;
        filled += read;
        let text = std::str::from_utf8(&room[..filled]).unwrap();
        let Some((head, _)) = text.split_once("\r\n\r\n") else { continue };
        let (_, length) = head.split_once("content-length: ").expect("it says how long it is");
        let (whole, end) = (head.len() + 4 + length.split("\r\n").next().unwrap().parse::<usize>().unwrap(), head.len());
        assert!(whole <= ROOM);
        while filled < whole {
            filled += stream.read(&mut room[filled..]).await.ok().filter(|read| *read > 0)?;
        }
        return Some(std::str::from_utf8(&room[..end]).unwrap());
    }
}

/// A target that answers everything the same.
pub async fn target() -> SocketAddr {
    const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 13\r\n\r\n{\"agents\":[]}";
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            stream.set_nodelay(true).unwrap();
            tokio::spawn(async move {
                let mut room = [0; ROOM];
                while read(&mut stream, &mut room).await.is_some() && stream.write_all(ANSWER).await.is_ok() {}
            });
        }
    });
    at
}
