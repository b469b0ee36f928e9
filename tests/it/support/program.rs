//! The program itself, as a child process: what somebody at a terminal sees of it. It gets a folder and an environment of its own.
//!
//! ```ignore
//! let serving = Program::new().variable("INTERNAL_ELIZA_KEY", KEY).serve().await;
//! let ran = serving.program.run(&["calls", "tail", "--json"]).await;
//! assert_eq!(ran.code, 0);
//! ```

use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::process::{Child, Command};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::disk::BOUNDED_FILES;
use super::house::{KEY, eventually, get};

const PATIENCE: Duration = Duration::from_secs(30);
const GATEKEEPER: &str = env!("CARGO_BIN_EXE_gatekeeper");

#[derive(Clone)]
pub struct Program {
    variables: Vec<(String, String)>,
    folder: Arc<TempDir>,
    bounded_files: bool,
}

/// How a command ended, and what it printed.
#[derive(Debug)]
pub struct Ran {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl Ran {
    /// Fails with all that was printed unless the command ended so.
    #[track_caller]
    pub fn expect(self, code: i32) -> Self {
        assert_eq!(self.code, code, "{self:#?}");
        self
    }

    /// What `--json` printed: each line is a value.
    #[track_caller]
    pub fn values(&self) -> Vec<Value> {
        self.out.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line:?}"))).collect()
    }

    /// The one value of it.
    #[track_caller]
    pub fn value(&self) -> Value {
        let mut values = self.values();
        assert_eq!(values.len(), 1, "{self:#?}");
        values.remove(0)
    }
}

impl Program {
    /// With no settings at all.
    pub fn bare() -> Self {
        Self { variables: Vec::new(), folder: Arc::new(tempfile::tempdir().unwrap()), bounded_files: false }
    }

    /// With a key, and on free ports. However busy the machine is, no call is refused for it.
    pub fn new() -> Self {
        Self::bare()
            .variable("GATEKEEPER_LONGEST_WAIT_MS", "0")
            .variable("INTERNAL_ELIZA_KEY", KEY)
            .variable("GATEKEEPER_LISTEN", "127.0.0.1:0")
            .variable("GATEKEEPER_OPS_LISTEN", "127.0.0.1:0")
    }

    /// For the database that somebody else uses too.
    pub fn beside(database: &str) -> Self {
        Self::bare().variable("DATABASE_URL", database)
    }

    /// The last value given counts.
    pub fn variable(mut self, name: &str, value: &str) -> Self {
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    /// On a disk that takes no more than the beginning of each file.
    pub fn with_bounded_files(self) -> Self {
        Self { bounded_files: true, ..self }
    }

    /// Where it runs.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    fn command(&self, arguments: &[&str]) -> Command {
        if !self.bounded_files {
            return self.command_of(GATEKEEPER, arguments);
        }
        let bounded: Vec<_> = BOUNDED_FILES.iter().copied().chain([GATEKEEPER]).chain(arguments.iter().copied()).collect();
        self.command_of("/bin/sh", &bounded)
    }

    fn command_of(&self, program: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(program);
        command.args(arguments).env_clear().envs(self.variables.iter().cloned()).current_dir(self.folder());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        command
    }

    /// Runs a command to its end.
    pub async fn run(&self, arguments: &[&str]) -> Ran {
        Self::ended(self.command(arguments)).await
    }

    /// The same with something on its standard input.
    pub async fn fed(&self, arguments: &[&str], input: &str) -> Ran {
        let file = self.folder().join("standard-input");
        std::fs::write(&file, input).unwrap();
        let mut command = self.command(arguments);
        command.stdin(std::fs::File::open(file).unwrap());
        Self::ended(command).await
    }

    async fn ended(mut command: Command) -> Ran {
        let output = timeout(PATIENCE, command.output()).await.expect("the command ends").unwrap();
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        Ran { code: output.status.code().expect("no signal ended it"), out: text(&output.stdout), err: text(&output.stderr) }
    }

    /// Starts a command that goes on until it is told to stop.
    pub fn start(&self, arguments: &[&str]) -> Running {
        self.running(self.command(arguments))
    }

    /// The same by a program that starts this one: its path comes first among the arguments that are left to it.
    pub fn start_by(&self, launcher: &str, before: &[&str], arguments: &[&str]) -> Running {
        self.running(self.command_of(launcher, &[before, &[env!("CARGO_BIN_EXE_gatekeeper")], arguments].concat()))
    }

    fn running(&self, mut command: Command) -> Running {
        let mut child = command.spawn().unwrap();
        let (out, all_out) = gather(child.stdout.take().unwrap());
        let (err, all_err) = gather(child.stderr.take().unwrap());
        Running { program: self.clone(), child, out, err, all: [all_out, all_err] }
    }

    /// `serve`, ready for calls.
    pub async fn serve(&self) -> Serving {
        self.to_serve().start(&["serve"]).serving().await
    }

    /// `serve` in the place of the one that serves now.
    pub async fn take_over(&self) -> Serving {
        self.to_serve().start(&["serve", "--take-over"]).serving().await
    }

    /// With a log that tests can read, and in a hurry when it stops: no load balancer looks.
    pub fn to_serve(&self) -> Self {
        let mut program = self.clone().variable("LOG_FORMAT", "json");
        program.variables.insert(0, ("GATEKEEPER_LAME_DUCK_SECONDS".to_owned(), "0".to_owned()));
        program
    }
}

impl Running {
    /// Waits until it takes calls.
    pub async fn serving(self) -> Serving {
        let running = self;
        let address = |line: &Value, name: &str| -> SocketAddr { line[name].as_str().unwrap().parse().unwrap() };
        let said = running.log_line("serving").await;
        let (data, ops) = (address(&said, "data"), address(&said, "ops"));
        Serving { running, data, ops }
    }
}

type Lines = Arc<Mutex<String>>;

/// The second ends with the stream.
fn gather(stream: impl AsyncRead + Send + Unpin + 'static) -> (Lines, JoinHandle<()>) {
    let lines = Lines::default();
    let kept = Arc::clone(&lines);
    let all = tokio::spawn(async move {
        let mut stream = BufReader::new(stream).lines();
        while let Ok(Some(line)) = stream.next_line().await {
            let mut kept = kept.lock().unwrap();
            kept.push_str(&line);
            kept.push('\n');
        }
    });
    (lines, all)
}

/// A child that runs. It is killed when this is dropped.
pub struct Running {
    pub program: Program,
    child: Child,
    out: Lines,
    err: Lines,
    all: [JoinHandle<()>; 2],
}

impl Running {
    pub fn out(&self) -> String {
        self.out.lock().unwrap().clone()
    }

    pub fn err(&self) -> String {
        self.err.lock().unwrap().clone()
    }

    /// Waits for a line of the log (`LOG_FORMAT=json`) that says this.
    pub async fn log_line(&self, message: &str) -> Value {
        let find = || {
            let err = self.err();
            err.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()).find(|line| line["message"] == message)
        };
        eventually(&format!("the log says {message:?}"), || async { find().is_some() }).await;
        find().unwrap()
    }

    pub fn signal(&self, name: &str) {
        let id = self.id().to_string();
        assert!(std::process::Command::new("kill").args([&format!("-{name}"), &id]).status().unwrap().success());
    }

    pub fn id(&self) -> u32 {
        self.child.id().expect("it runs")
    }

    /// As the system does it that has no memory left. What it had said by then.
    pub async fn kill(mut self) -> String {
        self.child.kill().await.unwrap();
        self.err()
    }

    /// Its exit code, when it has ended.
    pub async fn end(mut self) -> Ran {
        let ended = timeout(PATIENCE, self.child.wait()).await;
        let status = ended.unwrap_or_else(|_| panic!("it does not end: {}", self.err())).unwrap();
        for all in self.all {
            timeout(PATIENCE, all).await.expect("nobody else holds its output").unwrap();
        }
        Ran {
            code: status.code().expect("no signal ended it"),
            out: self.out.lock().unwrap().clone(),
            err: self.err.lock().unwrap().clone(),
        }
    }
}

/// A gatekeeper that serves.
pub struct Serving {
    pub running: Running,
    pub data: SocketAddr,
    pub ops: SocketAddr,
}

impl Serving {
    /// Ends it as a supervisor does.
    pub async fn stop(self) -> Ran {
        self.running.signal("TERM");
        self.running.end().await
    }

    pub async fn metrics(&self) -> String {
        String::from_utf8(get(self.ops, "/metrics").await.expect(200).body.to_vec()).unwrap()
    }

    /// What the metric of this name says, without its prefix.
    pub async fn metric(&self, name: &str) -> f64 {
        let text = self.metrics().await;
        let start = format!("gatekeeper_{name} ");
        let counted = format!("gatekeeper_{name}_total ");
        let value = text.lines().find_map(|line| line.strip_prefix(&start).or_else(|| line.strip_prefix(&counted)));
        value.unwrap_or_else(|| panic!("no {name} in {text}")).parse().unwrap()
    }

    /// Until every record is in the database.
    pub async fn settled(&self) {
        eventually("nothing waits any more", || async {
            self.metric("records_waiting").await == 0.0 && self.metric("journal_adopted").await == 0.0
        })
        .await;
    }

    /// What of the process is in memory, in bytes.
    pub fn memory(&self) -> u64 {
        self.memory_by("VmRSS")
    }

    /// The most that ever was.
    pub fn peak_memory(&self) -> u64 {
        self.memory_by("VmHWM")
    }

    fn memory_by(&self, name: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.running.id())).unwrap();
        let value = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        value.trim_start_matches(':').trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10
    }
}
