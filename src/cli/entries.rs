//! What people must look at, whichever kind: listing it, and noting who has looked. Asked of the database itself, for it is looked at
//! when gatekeepers are down, too.

use clap::Args;
use serde_json::{Value, json};
use uuid::Uuid;

use super::Exit;
use super::arguments::{name, words};
use super::output::Output;
use super::setup::{failed, operator};
use crate::audit::Actor;
use crate::clock::Clock;
use crate::settings::Environment;
use crate::store::control::{EntryKind, Review};
use crate::store::{CallRow, Store, StoreError};

/// Rows shown at once.
const SHOWN: u32 = 1000;

#[derive(Debug, Args)]
pub struct Listing {
    /// Those that were looked at, too.
    #[arg(long)]
    all: bool,
}

#[derive(Debug, Args)]
pub struct Reviewed {
    /// As `list` shows it.
    id: Uuid,
    /// Who looked.
    #[arg(long, value_parser = name)]
    by: String,
    /// What came of it.
    #[arg(long, value_parser = words)]
    note: String,
}

pub async fn list(
    output: &Output,
    store: &dyn Store,
    kind: EntryKind,
    listing: &Listing,
    columns: &[(&str, &str)],
) -> Result<Exit, StoreError> {
    let entries = store.entries(kind, !listing.all, SHOWN).await?;
    let values: Vec<Value> = entries.iter().map(describe).collect();
    let flat: Vec<Value> = entries.iter().map(flat).collect();
    output.list(columns, &Value::Array(flat));
    output.value(&json!({ "entries": values }));
    Ok(Exit::Fine)
}

pub async fn review(output: &Output, store: &dyn Store, kind: EntryKind, reviewed: &Reviewed) -> Result<Exit, StoreError> {
    let id = reviewed.id;
    // An id of the other kind is a mistake: nobody looked at that.
    let known = store.call(id).await?.is_some_and(|row| row.activity_type == kind.as_str());
    let at = Clock::system().now();
    let review = Review::new(&reviewed.by, &reviewed.note, at);
    let entry = review.of(id, &Actor::named(&operator(&Environment::process())));
    if !known || !store.review(id, &review, &entry).await? {
        output.problem(&format!("nothing open has the id {id}: see `list`"));
        return Ok(Exit::NotSo);
    }
    output.say(&format!("{id} is reviewed by {}", review.by));
    output.value(&json!({ "reviewed": id.to_string(), "by": review.by, "note": review.note, "at": at.to_string() }));
    Ok(Exit::Fine)
}

/// The store's errors in words, and its end.
pub async fn finish(output: &Output, store: &dyn Store, done: Result<Exit, StoreError>) -> Exit {
    store.close().await;
    done.unwrap_or_else(|error| failed(output, &error))
}

pub fn describe(row: &CallRow) -> Value {
    json!({
        "id": row.id.to_string(), "at": row.at.to_string(), "status": row.status, "title": row.title, "description": row.description,
        "metadata": row.metadata,
    })
}

/// The metadata's members beside the row's own.
fn flat(row: &CallRow) -> Value {
    let mut members = row.metadata.as_object().cloned().unwrap_or_default();
    for (name, value) in [("id", row.id.to_string()), ("at", row.at.to_string()), ("status", row.status.clone())] {
        members.insert(name.into(), json!(value));
    }
    members.insert("description".into(), json!(row.description));
    let reviewer = members.get("reviewed").and_then(|reviewed| reviewed.get("by")).cloned().unwrap_or_default();
    members.insert("reviewer".into(), reviewer);
    Value::Object(members)
}
