//! A gatekeeper in front of a target that reads by the letter, and tables of what is said to it.

use crate::support::house::{House, KEY};
use crate::support::line::Line;
use crate::support::strict::{Request, StrictTarget};

/// Two targets on the direct door: of one the bodies are read whole and judged, of the other they stream.
const TARGETS: &str = r#"
[target_defaults]
url = "${SUPABASE_URL}/functions/v1/{target}"
credentials = "none"

[[target]]
names = ["judged"]

[[target]]
names = ["streamed"]
inspect = "skip"
"#;

pub const SOURCE: &str = "gemini-chat";
/// What every target is to get in the end, whatever it was wrapped in.
pub const CONTENT: &str = r#"{"text":"hello"}"#;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Door {
    Envelope,
    Judged,
    Streamed,
}

pub const DOORS: [Door; 3] = [Door::Envelope, Door::Judged, Door::Streamed];

impl Door {
    pub fn path(self) -> &'static str {
        match self {
            Self::Envelope => "/functions/v1/eliza-gatekeeper",
            Self::Judged => "/functions/v1/judged",
            Self::Streamed => "/functions/v1/streamed",
        }
    }

    pub fn body(self) -> String {
        match self {
            Self::Envelope => format!(r#"{{"target":"judged","payload":{CONTENT}}}"#),
            Self::Judged | Self::Streamed => CONTENT.to_owned(),
        }
    }
}

#[derive(Clone, Copy, Debug)]
pub enum Expected {
    /// One request with the content; what follows on the connection is read.
    Passes,
    /// The same, and the connection ends with it.
    PassesAlone,
    /// Answered with this status; the connection goes on.
    Turned(u16),
    /// Answered with this status, and nothing after it is read.
    Refused(u16),
}

/// What is said, in these words: `{start}` is the request line and the head without framing, of which `{path}` and `{keys}` are parts;
/// `{body}` the door's body, `{len}` and `{hex}` its length; `{hidden}` a request without credentials to be smuggled in.
pub type Row = (&'static str, &'static str, Expected);

pub struct World {
    pub house: House,
    pub target: StrictTarget,
}

impl World {
    pub async fn open() -> Self {
        let target = StrictTarget::start().await;
        let house = House::plan().policy("targets.toml", TARGETS).variable("SUPABASE_URL", &target.origin()).open().await;
        Self { house, target }
    }

    /// Says each row on a connection of its own, right behind it a whole call, and behind that one without credentials.
    pub async fn hold(&self, door: Door, table: &[Row]) {
        for (name, text, expected) in table {
            let name = format!("{name}, {door:?}");
            let mut line = Line::to(self.house.data).await;
            line.say(fill(door, text)).await;
            // Whether the other side still listens is the row's business.
            line.try_say(fill(door, "{start}x-which: second\r\ncontent-length: {len}\r\n\r\n{body}{hidden}")).await;
            let answers = statuses(&name, &line.hear_the_end().await);
            let seen = self.target.take();
            let (answered, reached): (&[u16], &[&str]) = match expected {
                Expected::Passes => (&[200, 200, 401], &["first", "second"]),
                Expected::PassesAlone => (&[200], &["first"]),
                Expected::Turned(status) => (&[*status, 200, 401], &["second"]),
                Expected::Refused(status) => (&[*status], &[]),
            };
            assert_eq!(answers, answered, "{name}: {seen:?}");
            let which: Vec<_> = seen.iter().map(|request| request.header("x-which").unwrap_or("first")).collect();
            assert_eq!(which, reached, "{name}: {seen:?}");
            assert!(seen.iter().all(|request| request.body == CONTENT), "{name}: {seen:?}");
            assert!(seen.iter().all(is_plain), "{name}: {seen:?}");
        }
        assert!(!self.target.was_told(KEY), "{door:?}: the key reached a target");
        assert!(!self.target.was_told("hidden"), "{door:?}: something was smuggled");
    }
}

fn is_plain(request: &Request) -> bool {
    request.method == "POST" && request.path.starts_with("/functions/v1/")
}

pub fn fill(door: Door, text: &str) -> String {
    let body = door.body();
    text.replace("{start}", "POST {path} HTTP/1.1\r\nhost: gatekeeper\r\n{keys}content-type: application/json\r\n")
        .replace("{hidden}", "GET /functions/v1/judged/hidden HTTP/1.1\r\nhost: gatekeeper\r\nconnection: close\r\n\r\n")
        .replace("{keys}", &format!("x-eliza-key: {KEY}\r\nx-eliza-source: {SOURCE}\r\n"))
        .replace("{path}", door.path())
        .replace("{len}", &body.len().to_string())
        .replace("{hex}", &format!("{:x}", body.len()))
        .replace("{body}", &body)
}

/// The statuses of these answers, each of which must be whole.
fn statuses(name: &str, heard: &str) -> Vec<u16> {
    let mut statuses = Vec::new();
    let mut rest = heard;
    while !rest.is_empty() {
        let (head, behind) = rest.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{name}: an answer without an end: {heard}"));
        let mut lines = head.split("\r\n");
        let line = lines.next().unwrap();
        statuses.push(line.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or_else(|| panic!("{name}: {line}")));
        if statuses.last() == Some(&100) {
            statuses.pop();
        }
        let length = lines.find_map(|line| line.strip_prefix("content-length: ")).unwrap_or("0");
        rest = behind.get(length.parse().unwrap()..).unwrap_or_else(|| panic!("{name}: half an answer: {heard}"));
    }
    statuses
}
