//! `enforce`: whether the gates' denials stand, in the gatekeeper that runs. It obeys whether or not its database is there.

use clap::{Args, Subcommand};
use http::Method;
use serde_json::{Map, Value, json};

use super::Exit;
use super::arguments::{Term, gate, words};
use super::ops::{At, Ops, OpsError, PATIENCE};
use super::output::{Output, member, plain};
use crate::settings::Environment;
use crate::verdict::GateName;

const PATH: &str = "/api/admin/enforcement";

#[derive(Debug, Subcommand)]
pub enum Command {
    /// How each gate stands; exit 1 unless every one enforces.
    Status {
        #[command(flatten)]
        at: At,
    },
    /// Denials end calls.
    On(Change),
    /// Denials are only recorded, as `would_deny`, and the calls go on.
    Off(Change),
}

#[derive(Debug, Args)]
pub struct Change {
    /// One gate, as `enforce status` names it; else every gate.
    #[arg(long, value_parser = gate)]
    gate: Option<GateName>,
    #[command(flatten)]
    term: Term,
    /// Why: for the audit, and for whoever wonders.
    #[arg(long, value_parser = words)]
    reason: Option<String>,
    #[command(flatten)]
    at: At,
}

pub async fn run(output: &Output, command: Command) -> Exit {
    let done = match &command {
        Command::Status { at } => standing(at).await,
        Command::On(change) => set("on", change).await,
        Command::Off(change) => set("off", change).await,
    };
    let standing = match done {
        Ok(standing) => standing,
        Err(error) => return error.tell(output),
    };
    let enforcing = show(output, &standing);
    match command {
        Command::Status { .. } if !enforcing => Exit::NotSo,
        Command::Off(change) if !change.term.has_end() => {
            output.say("it has no end: `gatekeeper enforce on` takes it back");
            Exit::Fine
        }
        Command::Status { .. } | Command::On(_) | Command::Off(_) => Exit::Fine,
    }
}

async fn standing(at: &At) -> Result<Value, OpsError> {
    Ops::new(at, &Environment::process())?.get(PATH, PATIENCE).await
}

async fn set(mode: &str, change: &Change) -> Result<Value, OpsError> {
    let mut order = Map::from_iter([("mode".to_owned(), json!(mode))]);
    if let Some(gate) = change.gate {
        order.insert("gate".into(), json!(gate.as_str()));
    }
    if let Some(reason) = &change.reason {
        order.insert("reason".into(), json!(reason));
    }
    change.term.put(&mut order);
    Ops::new(&change.at, &Environment::process())?.send(Method::POST, PATH, &order, PATIENCE).await
}

/// Whether every gate enforces.
fn show(output: &Output, standing: &Value) -> bool {
    let gates = member(standing, "gates").as_array().map(Vec::as_slice).unwrap_or_default();
    let rows: Vec<_> = gates
        .iter()
        .map(|gate| {
            let reason = match member(gate, "flag") {
                Value::Null => plain(member(gate, "reason")),
                flag => format!("switched off by the feature flag {}", plain(flag)),
            };
            vec![
                plain(member(gate, "gate")),
                plain(member(gate, "mode")),
                plain(member(gate, "until")),
                reason,
                plain(member(gate, "actor")),
            ]
        })
        .collect();
    output.table(&["gate", "mode", "until", "reason", "actor"], &rows);
    output.value(standing);
    let off: Vec<_> = gates.iter().filter(|gate| member(gate, "mode") != "enforce").map(|gate| plain(member(gate, "gate"))).collect();
    let enforcing = member(standing, "enforcing").as_bool().unwrap_or(off.is_empty());
    output.say(&match (enforcing, off.len() == gates.len()) {
        (true, _) => "enforcing".to_owned(),
        (false, true) => "enforcement is OFF".to_owned(),
        (false, false) => format!("enforcement is OFF for {}", off.join(", ")),
    });
    enforcing
}
