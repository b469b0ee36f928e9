//! The program itself, as an operator runs it: a process of its own, its log in a file.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};

use serde_json::Value;
use tokio::process::{Child, Command};

use super::house::eventually;

pub struct Program {
    child: Child,
    log: PathBuf,
    pub data: SocketAddr,
    pub ops: SocketAddr,
}

pub fn command(arguments: &[&str], variables: &[(&str, &str)], directory: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_gatekeeper"));
    command.args(arguments).env_clear().envs(variables.iter().copied()).current_dir(directory).kill_on_drop(true);
    command
}

impl Program {
    /// `serve` on free ports, in this directory, once it takes calls.
    pub async fn serve(variables: &[(&str, &str)], directory: &Path) -> Self {
        let log = directory.join("gatekeeper.log");
        let ports = [("GATEKEEPER_LISTEN", "127.0.0.1:0"), ("GATEKEEPER_OPS_LISTEN", "127.0.0.1:0"), ("LOG_FORMAT", "json")];
        let mut command = command(&["serve"], &[&ports[..], variables].concat(), directory);
        let mut child = command.stderr(std::fs::File::create(&log).unwrap()).stdout(Stdio::null()).spawn().unwrap();
        let mut addresses = None;
        eventually("the program serves", || {
            let text = std::fs::read_to_string(&log).unwrap();
            assert!(child.try_wait().unwrap().is_none(), "it ended: {text}");
            let serving =
                text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()).find(|line| line["message"] == "serving");
            let address = |name: &str| serving.as_ref().map(|line| line[name].as_str().unwrap().parse().unwrap());
            addresses = address("data").zip(address("ops"));
            std::future::ready(addresses.is_some())
        })
        .await;
        let (data, ops) = addresses.unwrap();
        Self { child, log, data, ops }
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap()
    }

    /// As a supervisor does it.
    pub async fn terminate(&mut self) -> ExitStatus {
        let id = self.child.id().unwrap().to_string();
        assert!(Command::new("kill").args(["-TERM", &id]).status().await.unwrap().success());
        self.child.wait().await.unwrap()
    }
}
