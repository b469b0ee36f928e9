//! `block`: keeping a network or a source out at a moment's notice. For good, policy says so.

use clap::{Args, Subcommand};
use http::Method;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::Exit;
use super::arguments::{Term, words};
use super::ops::{At, PATIENCE};
use super::output::{Output, member};
use super::setup::{failed, operator};
use super::way::Way;
use crate::audit::Actor;
use crate::blocklist::Subject;
use crate::clock::Clock;
use crate::settings::Environment;
use crate::store::control::StoredBlock;

const PATH: &str = "/api/admin/blocks";
const COLUMNS: [(&str, &str); 7] = [
    ("id", "id"),
    ("kind", "kind"),
    ("subject", "subject"),
    ("reason", "reason"),
    ("actor", "actor"),
    ("since", "since"),
    ("until", "until"),
];

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Who is kept out; a running gatekeeper tells what its policies say too.
    List {
        #[command(flatten)]
        at: At,
    },
    /// Keep somebody out.
    Add(Add),
    /// Let somebody in again.
    Remove(Remove),
}

#[derive(Debug, Args)]
pub struct Add {
    /// An address, a network such as 203.0.113.0/24, a source, or a pattern of sources.
    #[arg(value_parser = subject)]
    subject: Subject,
    /// Why: for the audit, and for whoever wonders.
    #[arg(long, value_parser = words)]
    reason: String,
    #[command(flatten)]
    term: Term,
    #[command(flatten)]
    at: At,
}

#[derive(Debug, Args)]
pub struct Remove {
    /// As `block list` shows it.
    id: Uuid,
    /// Why: for the audit.
    #[arg(long, value_parser = words)]
    reason: Option<String>,
    #[command(flatten)]
    at: At,
}

pub async fn run(output: &Output, command: Command) -> Exit {
    let (Command::List { at } | Command::Remove(Remove { at, .. }) | Command::Add(Add { at, .. })) = &command;
    let way = match Way::find(output, at).await {
        Ok(way) => way,
        Err(exit) => return exit,
    };
    let done = match &command {
        Command::List { .. } => list(output, &way).await,
        Command::Add(add) => block(output, &way, add).await,
        Command::Remove(block) => remove(output, &way, block).await,
    };
    way.close().await;
    done.unwrap_or_else(|exit| exit)
}

async fn list(output: &Output, way: &Way) -> Result<Exit, Exit> {
    let blocks = match way {
        Way::Gatekeeper(ops) => ops.get(PATH, PATIENCE).await.map_err(|error| error.tell(output))?,
        Way::Database { store, .. } => {
            let blocks = store.blocks(Clock::system().now()).await.map_err(|error| failed(output, &error))?;
            json!({ "blocks": blocks.iter().map(describe).collect::<Vec<_>>() })
        }
    };
    output.list(&COLUMNS, member(&blocks, "blocks"));
    way.say(output);
    way.value(output, blocks);
    Ok(Exit::Fine)
}

async fn block(output: &Output, way: &Way, add: &Add) -> Result<Exit, Exit> {
    let block = match way {
        Way::Gatekeeper(ops) => {
            let mut order = Map::from_iter([("subject".to_owned(), json!(add.subject.text())), ("reason".to_owned(), json!(add.reason))]);
            add.term.put(&mut order);
            ops.send(Method::POST, PATH, &order, PATIENCE).await.map_err(|error| error.tell(output))?
        }
        Way::Database { store, .. } => {
            let (now, actor) = (Clock::system().now(), Actor::named(&operator(&Environment::process())));
            let others = store.blocks(now).await.map_err(|error| failed(output, &error))?.len();
            let block = StoredBlock::new(&add.subject, &add.reason, now, add.term.ends(now), &actor, others).map_err(|unfit| {
                output.problem(&unfit.to_string());
                Exit::Usage
            })?;
            store.insert_block(&block, &block.added(&actor)).await.map_err(|error| failed(output, &error))?;
            describe(&block)
        }
    };
    output.list(&COLUMNS, &json!([block]));
    way.say(output);
    way.value(output, block);
    Ok(Exit::Fine)
}

async fn remove(output: &Output, way: &Way, block: &Remove) -> Result<Exit, Exit> {
    let (id, reason) = (block.id, block.reason.as_deref());
    match way {
        Way::Gatekeeper(ops) => {
            let why = reason.map(|reason| format!("?reason={}", utf8_percent_encode(reason, NON_ALPHANUMERIC)));
            ops.delete(&format!("{PATH}/{id}{}", why.unwrap_or_default()), PATIENCE).await.map_err(|error| error.tell(output))?;
        }
        Way::Database { store, .. } => {
            let (now, actor) = (Clock::system().now(), Actor::named(&operator(&Environment::process())));
            let blocks = store.blocks(now).await.map_err(|error| failed(output, &error))?;
            let ended = match blocks.iter().find(|block| block.id == id) {
                Some(block) => {
                    let ended = store.end_block(id, now, &block.ended(now, reason, &actor)).await;
                    ended.map_err(|error| failed(output, &error))?
                }
                None => false,
            };
            if !ended {
                output.problem(&format!("there is no block {id} in force: see `gatekeeper block list`"));
                return Err(Exit::NotSo);
            }
        }
    }
    output.say(&format!("the block {id} is ended"));
    way.say(output);
    way.value(output, json!({ "ended": id.to_string() }));
    Ok(Exit::Fine)
}

fn describe(block: &StoredBlock) -> Value {
    json!({
        "id": block.id.to_string(), "kind": block.kind.as_str(), "subject": block.subject, "reason": block.reason, "actor": block.actor,
        "since": block.at.to_string(), "until": block.until.map(|until| until.to_string()),
    })
}

fn subject(text: &str) -> Result<Subject, String> {
    let found = Subject::network(text).or_else(|| Subject::source(text));
    found.ok_or_else(|| "this is neither an address, nor a network such as 203.0.113.0/24, nor a source".to_owned())
}
