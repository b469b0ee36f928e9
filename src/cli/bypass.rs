//! `bypass`: targets called without the gatekeeper, written down by whoever did it and looked at afterwards by somebody else.

use clap::{Args, Subcommand};

use super::Exit;
use super::arguments::{name, words};
use super::entries::{Listing, Reviewed, describe, finish, list, review};
use super::output::Output;
use super::setup::{operator, ready_store};
use crate::audit::Actor;
use crate::clock::Clock;
use crate::settings::Environment;
use crate::store::control::{ActivityEntry, EntryKind};
use crate::store::{CallRow, Store, StoreError};

const COLUMNS: [(&str, &str); 7] = [
    ("id", "id"),
    ("at", "at"),
    ("by", "by"),
    ("target", "target"),
    ("reason", "reason"),
    ("status", "status"),
    ("reviewed by", "reviewer"),
];

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Write down that a target was, or is about to be, called without the gatekeeper.
    Log(Log),
    /// The bypasses that nobody has looked at yet.
    List(Listing),
    /// Note who looked at one.
    Review(Reviewed),
}

#[derive(Debug, Args)]
pub struct Log {
    /// Who does it.
    #[arg(long, value_parser = name)]
    by: String,
    /// The target that is called.
    #[arg(long, value_parser = name)]
    target: String,
    /// Why.
    #[arg(long, value_parser = words)]
    reason: String,
}

pub async fn run(output: &Output, command: Command) -> Exit {
    let store = match ready_store(output).await {
        Ok(store) => store,
        Err(exit) => return exit,
    };
    let done = match &command {
        Command::Log(bypass) => log(output, store.as_ref(), bypass).await,
        Command::List(listing) => list(output, store.as_ref(), EntryKind::ManualBypass, listing, &COLUMNS).await,
        Command::Review(reviewed) => review(output, store.as_ref(), EntryKind::ManualBypass, reviewed).await,
    };
    finish(output, store.as_ref(), done).await
}

async fn log(output: &Output, store: &dyn Store, bypass: &Log) -> Result<Exit, StoreError> {
    let at = Clock::system().now();
    let entry = ActivityEntry::bypass(at, &bypass.by, &bypass.target, &bypass.reason);
    let actor = Actor::named(&operator(&Environment::process()));
    store.log_bypass(&entry, &entry.bypass_logged(&actor)).await?;
    output.say(&format!("logged as {id}; to be reviewed: gatekeeper bypass review {id} --by NAME --note NOTE", id = entry.id));
    output.value(&describe(&CallRow {
        id: entry.id,
        at: entry.at,
        activity_type: entry.kind.as_str().into(),
        status: entry.status.as_str().into(),
        title: entry.title,
        description: entry.description,
        metadata: entry.metadata,
    }));
    Ok(Exit::Fine)
}
