//! Callers who go on calling, and remember what they were answered.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Full};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::support::house::{HttpClient, KEY, http_client};

const SOURCES: [&str; 3] = ["gemini-chat", "openai-chat", "superduper-router"];
/// What goes unanswered for this long counts as a failed call.
const PATIENCE: Duration = Duration::from_secs(10);

/// What is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mix {
    /// All is answered by its target.
    Fine,
    /// Of ten calls one is refused for its SQL, one for its key, one for its target, and one is answered in pieces.
    Everything,
}

/// An answer that came whole.
#[derive(Clone, Debug)]
pub struct Answer {
    pub id: String,
    pub status: u16,
    pub code: Option<String>,
    pub retry_after: Option<String>,
    /// When it was asked for, since the load began; later than it should have been, if the caller was kept waiting.
    pub due: Duration,
    pub took: Duration,
}

#[derive(Debug, Default)]
pub struct Heard {
    pub whole: Vec<Answer>,
    /// Calls without an answer, or with a part of one.
    pub broken: usize,
}

impl Heard {
    /// The ids of what was answered so.
    pub fn ids(&self, status: u16) -> Vec<&str> {
        self.whole.iter().filter(|answer| answer.status == status).map(|answer| answer.id.as_str()).collect()
    }

    pub fn and(mut self, more: Self) -> Self {
        self.whole.extend(more.whole);
        self.broken += more.broken;
        self
    }

    /// Fails unless every call was answered so.
    #[track_caller]
    pub fn all(self, status: u16) -> Self {
        let other = self.whole.iter().find(|answer| answer.status != status);
        assert!(
            self.broken == 0 && other.is_none(),
            "{} calls without an answer, and of {} one with {other:?}",
            self.broken,
            self.whole.len()
        );
        self
    }
}

/// Callers at work, each over a connection of its own.
pub struct Load {
    on: Arc<AtomicBool>,
    heard: Arc<AtomicUsize>,
    callers: Vec<JoinHandle<Heard>>,
}

impl Load {
    /// As fast as they get answers.
    pub fn full(at: SocketAddr, callers: usize, mix: Mix) -> Self {
        Self::start(at, callers, mix, Duration::ZERO, http_client)
    }

    /// So many calls a second in all, whether or not the answers come in time.
    pub fn steady(at: SocketAddr, callers: usize, a_second: u32) -> Self {
        Self::steady_by(http_client, at, callers, a_second)
    }

    /// The same by clients of another make.
    pub fn steady_by(client: fn() -> HttpClient, at: SocketAddr, callers: usize, a_second: u32) -> Self {
        Self::start(at, callers, Mix::Fine, Duration::from_secs(u64::try_from(callers).unwrap()) / a_second, client)
    }

    fn start(at: SocketAddr, callers: usize, mix: Mix, every: Duration, client: fn() -> HttpClient) -> Self {
        let (on, heard) = (Arc::new(AtomicBool::new(true)), Arc::new(AtomicUsize::new(0)));
        let begun = Instant::now();
        let caller = |caller: usize| {
            let (on, count) = (Arc::clone(&on), Arc::clone(&heard));
            async move {
                let client = client();
                let mut heard = Heard::default();
                let mut due = every * u32::try_from(caller).unwrap() / u32::try_from(callers).unwrap();
                for number in caller.. {
                    tokio::time::sleep_until((begun + due).into()).await;
                    if !on.load(Ordering::Relaxed) {
                        break;
                    }
                    match tokio::time::timeout(PATIENCE, call(&client, at, mix, number)).await.ok().flatten() {
                        Some(answer) => {
                            heard.whole.push(Answer { due, took: begun.elapsed().saturating_sub(due), ..answer });
                            count.fetch_add(1, Ordering::Relaxed);
                        }
                        None => {
                            heard.broken += 1;
                            tokio::time::sleep(Duration::from_millis(5)).await;
                        }
                    }
                    due = if every.is_zero() { begun.elapsed() } else { due + every };
                }
                heard
            }
        };
        let callers = (0..callers).map(|number| tokio::spawn(caller(number))).collect();
        Self { on, heard, callers }
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
            all = all.and(caller.await.unwrap());
        }
        all
    }
}

/// One call; nothing if its answer does not come whole.
async fn call(client: &HttpClient, at: SocketAddr, mix: Mix, number: usize) -> Option<Answer> {
    let fine = json!({"target": "agent-manager", "action": "list_agents"});
    let (envelope, key) = match (mix, number % 10) {
        (Mix::Everything, 1) => (json!({"target": "agent-manager", "action": "run", "operation": "DROP TABLE users"}), KEY),
        (Mix::Everything, 3) => (fine, "wrong"),
        (Mix::Everything, 5) => (json!({"target": "nobody-knows-it"}), KEY),
        (Mix::Everything, 7) => (json!({"target": "openai-tts", "payload": {"text": "hello"}}), KEY),
        _ => (fine, KEY),
    };
    ask(client, at, SOURCES[number % SOURCES.len()], key, &envelope).await
}

async fn ask(client: &HttpClient, at: SocketAddr, source: &str, key: &str, envelope: &Value) -> Option<Answer> {
    let request = Request::post(format!("http://{at}/functions/v1/eliza-gatekeeper"))
        .header("content-type", "application/json")
        .header("x-eliza-key", key)
        .header("x-eliza-source", source)
        .body(Full::new(Bytes::from(envelope.to_string())))
        .unwrap();
    let (head, body) = client.request(request).await.ok()?.into_parts();
    let body = body.collect().await.ok()?.to_bytes();
    let header = |name: &str| head.headers.get(name).map(|value| value.to_str().unwrap().to_owned());
    let code = serde_json::from_slice::<Value>(&body).ok().and_then(|body| body["code"].as_str().map(str::to_owned));
    Some(Answer {
        id: header("x-call-id").expect("every answer carries x-call-id"),
        status: head.status.as_u16(),
        code,
        retry_after: header("retry-after"),
        due: Duration::ZERO,
        took: Duration::ZERO,
    })
}
