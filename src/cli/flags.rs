//! `flags`: switching targets and gates off and on. Flags live in the operators' own table, so a change reaches every gatekeeper on it.

use clap::{ArgGroup, Args, Subcommand};
use http::Method;
use serde_json::{Map, Value, json};

use super::Exit;
use super::arguments::{name, words};
use super::ops::{At, PATIENCE};
use super::output::{Output, member, plain};
use super::setup::{failed, operator};
use super::way::Way;
use crate::audit::{Actor, AuditAction, AuditEntry};
use crate::clock::Clock;
use crate::settings::Environment;
use crate::store::control::FlagChange;
use crate::switches::{Flag, Governs};

const PATH: &str = "/api/admin/feature-flags";
const COLUMNS: [(&str, &str); 5] =
    [("name", "name"), ("enabled", "enabled"), ("kill switch", "kill_switch"), ("rollout", "rollout_percentage"), ("governs", "governs")];

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Every flag: `target:NAME` governs a target, `stage:GATE` a gate.
    List {
        #[command(flatten)]
        at: At,
    },
    /// Change a flag, or make it; what is not said stays.
    Set(Set),
}

#[derive(Debug, Args)]
#[command(group = ArgGroup::new("change").args(["enabled", "kill", "unkill", "rollout"]).required(true).multiple(true))]
pub struct Set {
    /// Such as target:vercel-manager or stage:sql_filter.
    #[arg(value_parser = name)]
    name: String,
    #[arg(long, value_name = "BOOL")]
    enabled: Option<bool>,
    /// Off at once, whatever else the flag says.
    #[arg(long)]
    kill: bool,
    /// No longer so.
    #[arg(long, conflicts_with = "kill")]
    unkill: bool,
    /// For how many of a hundred sources it is on.
    #[arg(long, value_name = "PERCENT", value_parser = clap::value_parser!(u8).range(0..=100))]
    rollout: Option<u8>,
    /// Why: for the audit.
    #[arg(long, value_parser = words)]
    reason: Option<String>,
    #[command(flatten)]
    at: At,
}

impl Set {
    const fn kill_switch(&self) -> Option<bool> {
        match (self.kill, self.unkill) {
            (true, _) => Some(true),
            (false, true) => Some(false),
            (false, false) => None,
        }
    }
}

pub async fn run(output: &Output, command: Command) -> Exit {
    let (Command::List { at } | Command::Set(Set { at, .. })) = &command;
    let way = match Way::find(output, at).await {
        Ok(way) => way,
        Err(exit) => return exit,
    };
    let done = match &command {
        Command::List { .. } => list(output, &way).await,
        Command::Set(set) => change(output, &way, set).await,
    };
    way.close().await;
    done.unwrap_or_else(|exit| exit)
}

async fn list(output: &Output, way: &Way) -> Result<Exit, Exit> {
    let flags = match way {
        Way::Gatekeeper(ops) => ops.get(PATH, PATIENCE).await.map_err(|error| error.tell(output))?,
        Way::Database { store, .. } => {
            let flags = store.flags().await.map_err(|error| failed(output, &error))?;
            json!({ "flags": flags.iter().map(describe).collect::<Vec<_>>() })
        }
    };
    output.list(&COLUMNS, member(&flags, "flags"));
    way.say(output);
    way.value(output, flags);
    Ok(Exit::Fine)
}

async fn change(output: &Output, way: &Way, set: &Set) -> Result<Exit, Exit> {
    let changed = match way {
        Way::Gatekeeper(ops) => {
            let mut order = Map::from_iter([("name".to_owned(), json!(set.name))]);
            let said = [
                ("enabled", set.enabled.map(Value::from)),
                ("kill_switch", set.kill_switch().map(Value::from)),
                ("rollout_percentage", set.rollout.map(Value::from)),
                ("reason", set.reason.clone().map(Value::from)),
            ];
            order.extend(said.into_iter().filter_map(|(member, value)| Some((member.to_owned(), value?))));
            ops.send(Method::POST, PATH, &order, PATIENCE).await.map_err(|error| error.tell(output))?
        }
        Way::Database { store, .. } => {
            let change = FlagChange {
                name: set.name.clone(),
                enabled: set.enabled,
                kill_switch: set.kill_switch(),
                rollout_percentage: set.rollout,
            };
            let actor = Actor::named(&operator(&Environment::process()));
            let entry = AuditEntry::new(Clock::system().now(), &actor, AuditAction::FlagChanged, &set.name).because(set.reason.as_deref());
            let (before, after) = store.set_flag(&change, &entry).await.map_err(|error| failed(output, &error))?;
            json!({ "flag": describe(&after), "before": before.as_ref().map(describe) })
        }
    };
    let flag = member(&changed, "flag");
    output.list(&COLUMNS, &json!([flag]));
    output.say(&match member(&changed, "before") {
        Value::Null => "it is new".to_owned(),
        before => format!(
            "before: enabled {}, kill switch {}, rollout {}",
            plain(member(before, "enabled")),
            plain(member(before, "kill_switch")),
            plain(member(before, "rollout_percentage"))
        ),
    });
    if member(flag, "governs").is_null() {
        output.say("it governs no target and no gate: those are called target:NAME and stage:GATE");
    }
    way.say(output);
    way.value(output, changed);
    Ok(Exit::Fine)
}

fn describe(flag: &Flag) -> Value {
    let governs = match flag.governs() {
        Governs::Target(_) => Some("target"),
        Governs::Gate(_) => Some("gate"),
        Governs::Nothing => None,
    };
    json!({
        "name": flag.name, "enabled": flag.enabled, "kill_switch": flag.kill_switch, "rollout_percentage": flag.rollout_percentage,
        "governs": governs,
    })
}
