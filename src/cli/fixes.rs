//! `fixes`: automatic fixes of rejected schema operations that failed and wait for somebody to do them by hand.

use clap::Subcommand;

use super::Exit;
use super::entries::{Listing, Reviewed, finish, list, review};
use super::output::Output;
use super::setup::ready_store;
use crate::store::control::EntryKind;

const COLUMNS: [(&str, &str); 9] = [
    ("id", "id"),
    ("at", "at"),
    ("status", "status"),
    ("source", "source"),
    ("target", "target"),
    ("reason", "reason"),
    ("failure", "failure"),
    ("statement", "statement"),
    ("reviewed by", "reviewer"),
];

#[derive(Debug, Subcommand)]
pub enum Command {
    /// The fixes that failed and that nobody has looked at yet.
    List(Listing),
    /// Note who looked at one, and what was done.
    Review(Reviewed),
}

pub async fn run(output: &Output, command: Command) -> Exit {
    let store = match ready_store(output).await {
        Ok(store) => store,
        Err(exit) => return exit,
    };
    let done = match &command {
        Command::List(listing) => list(output, store.as_ref(), EntryKind::AutoFix, listing, &COLUMNS).await,
        Command::Review(reviewed) => review(output, store.as_ref(), EntryKind::AutoFix, reviewed).await,
    };
    finish(output, store.as_ref(), done).await
}
