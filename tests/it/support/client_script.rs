//! A client of `tests/clients`, in Node: it is given what it needs as JSON, and tells what it sees in lines of JSON.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::time::timeout;

/// Node itself may take a while to come up beside all other tests.
const PATIENCE: Duration = Duration::from_secs(60);

/// Ends with the test.
pub struct ClientScript {
    name: String,
    said: Lines<BufReader<ChildStdout>>,
    wishes: ChildStdin,
    _node: Child,
}

impl ClientScript {
    pub async fn start(script: &str, given: &Value) -> Self {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients");
        assert!(folder.join("node_modules").exists(), "the clients' packages are not there: `make test` installs them (tests/install.sh)");
        let mut command = Command::new("node");
        command.arg(folder.join(script)).arg(given.to_string());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut node = command.spawn().expect("node: `make test` installs it (tests/install.sh)");
        let said = BufReader::new(node.stdout.take().unwrap()).lines();
        let mut started = Self { name: script.to_owned(), said, wishes: node.stdin.take().unwrap(), _node: node };
        assert_eq!(started.tells().await, json!({"ready": true}));
        started
    }

    pub async fn wish(&mut self, wish: &Value) -> &mut Self {
        self.wishes.write_all(format!("{wish}\n").as_bytes()).await.unwrap();
        self
    }

    /// The next thing that it sees.
    pub async fn tells(&mut self) -> Value {
        let line = timeout(PATIENCE, self.said.next_line()).await.unwrap_or_else(|_| panic!("{} says nothing", self.name)).unwrap();
        let line = line.unwrap_or_else(|| panic!("{} ended: what went wrong is on the standard error", self.name));
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"))
    }
}
