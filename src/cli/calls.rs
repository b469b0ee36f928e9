//! `calls`: what was recorded, newest at the bottom as in any log.

use std::collections::HashMap;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};
use serde_json::{Value, json};
use tokio::time::sleep;
use uuid::Uuid;

use super::explain::steps;
use super::output::{Output, plain};
use super::setup::{failed, ready_store};
use super::{Exit, setup, verify};
use crate::clock::{Clock, Timestamp};
use crate::identity::Place;
use crate::pipeline::{Step, judged_by, retrace};
use crate::record::compose::parse_id;
use crate::settings::Environment;
use crate::store::{ActivityType, CallQuery, CallRow, Store, StoreError};

const POLL: Duration = Duration::from_secs(1);
const LOOK_BACK: Duration = Duration::from_secs(300);

/// Rows asked for at once.
const LOOK: u32 = 1000;

#[derive(Debug, Subcommand)]
pub enum Command {
    /// The latest calls.
    Tail(Tail),
    /// Everything kept of one call, gate by gate, by the id that `x-call-id` carried.
    Show { id: String },
    /// Prove that the audit log is as it was sealed, or name what is not: exit 1.
    ///
    /// Blocked calls and what operators changed are sealed, row by row, under a key that is not in the database. What was changed, removed,
    /// added or cut off since shows, whoever did it; so does a row of the logs that says something else than was recorded.
    Verify(verify::Options),
}

/// What is answered from the logs.
enum Asked {
    Tail(Tail),
    Show(String),
}

#[derive(Debug, Args)]
pub struct Tail {
    /// How many.
    #[arg(short = 'n', long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    number: u32,
    /// Go on showing calls as they come.
    #[arg(short, long)]
    follow: bool,
    #[arg(long)]
    source: Option<String>,
    #[arg(long)]
    target: Option<String>,
}

pub async fn run(output: &Output, policies: Option<PathBuf>, command: Command) -> Exit {
    let command = match command {
        Command::Tail(tail) => Asked::Tail(tail),
        Command::Show { id } => Asked::Show(id),
        Command::Verify(options) => return verify::run(output, policies, options).await,
    };
    let store = match ready_store(output).await {
        Ok(store) => store,
        Err(exit) => return exit,
    };
    let done = match command {
        Asked::Tail(tail) => follow(output, store.as_ref(), tail).await,
        Asked::Show(id) => show(output, store.as_ref(), policies, &id).await,
    };
    store.close().await;
    done.unwrap_or_else(|error| failed(output, &error))
}

async fn follow(output: &Output, store: &dyn Store, tail: Tail) -> Result<Exit, StoreError> {
    let mut query = CallQuery { source: tail.source, target: tail.target, activity_type: None, after: None, most: tail.number };
    let mut rows = store.calls(&query).await?;
    rows.reverse();
    print(output, &rows);
    if !tail.follow {
        return Ok(Exit::Fine);
    }
    // A row bears the time of its call's arrival, but is there when the call has ended: each look reaches back over the longest calls.
    let mut shown: HashMap<Uuid, Timestamp> = rows.iter().map(|row| (row.id, row.at)).collect();
    let clock = Clock::system();
    query.most = LOOK;
    loop {
        sleep(POLL).await;
        let since = clock.now().minus(LOOK_BACK);
        shown.retain(|_, at| *at >= since);
        let mut from = Some((since, Uuid::nil()));
        while let Some(after) = from {
            query.after = Some(after);
            rows = store.calls(&query).await?;
            from = rows.last().filter(|_| rows.len() == LOOK as usize).map(|last| (last.at, last.id));
            rows.retain(|row| shown.insert(row.id, row.at).is_none());
            print(output, &rows);
        }
    }
}

fn print(output: &Output, rows: &[CallRow]) {
    for row in rows {
        let text = |name: &str| row.metadata.get(name).map(plain).unwrap_or_default();
        output.say(&format!(
            "{}  {}  {:<9}  {:>3} {:<22}  {} \u{2192} {}  {}ms  {}",
            row.at,
            row.id,
            row.status,
            text("status"),
            text("code"),
            text("source"),
            text("target"),
            text("execution_time_ms"),
            text("error")
        ));
        output.value(&describe(row));
    }
}

async fn show(output: &Output, store: &dyn Store, policies: Option<PathBuf>, id: &str) -> Result<Exit, StoreError> {
    let Some(call) = parse_id(id) else {
        output.problem("an id looks like 0192f0c1-2345-7abc-8def-0123456789ab: it is what x-call-id carried");
        return Ok(Exit::Usage);
    };
    let Some(row) = store.call(call.0).await? else {
        output.problem(&format!("no call {id} is recorded"));
        return Ok(Exit::NotSo);
    };
    output.say(&row.title);
    output.say(&row.description);
    output.say("");
    let mut rows = vec![
        vec!["id".to_owned(), row.id.to_string()],
        vec!["at".into(), row.at.to_string()],
        vec!["type".into(), row.activity_type.clone()],
        vec!["outcome".into(), row.status.clone()],
    ];
    if let Value::Object(members) = &row.metadata {
        rows.extend(members.iter().filter(|(_, value)| !value.is_null()).map(|(name, value)| vec![name.clone(), plain(value)]));
    }
    output.table(&["what", "value"], &rows);
    let mut described = describe(&row);
    // Other entries of the log have an id too, and met no gate.
    if ActivityType::ALL.iter().any(|kind| kind.as_str() == row.activity_type) {
        let policy = setup::local_policy(&Environment::process(), policies).1.ok();
        let policy = policy.as_ref().filter(|policy| judged_by(&row.metadata, policy));
        let gates = Value::Array(retrace(&row.metadata, policy).iter().map(step).collect());
        output.say("");
        steps(output, &gates);
        if policy.is_none() {
            output.say("the policies found here are not those it was judged by: only lines that refused are known");
        }
        if let Value::Object(members) = &mut described {
            members.insert("steps".into(), gates);
        }
    }
    output.value(&described);
    Ok(Exit::Fine)
}

fn describe(row: &CallRow) -> Value {
    json!({
        "id": row.id.to_string(), "at": row.at.to_string(), "type": row.activity_type, "outcome": row.status,
        "title": row.title, "description": row.description, "metadata": row.metadata,
    })
}

fn step(step: &Step) -> Value {
    json!({
        "gate": step.gate.as_str(), "decision": step.decision.as_str(), "saw": step.saw, "why": step.why,
        "policy": step.place.as_ref().map(Place::as_str),
    })
}
