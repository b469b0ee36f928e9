//! `audit`: what operators have changed, newest at the bottom as in any log.

use clap::Args;
use serde_json::{Value, json};

use super::Exit;
use super::output::{Output, plain};
use super::setup::{failed, ready_store};
use crate::audit::AuditEntry;

#[derive(Debug, Args)]
pub struct Options {
    /// How many.
    #[arg(short = 'n', long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    number: u32,
}

pub async fn run(output: &Output, options: Options) -> Exit {
    let store = match ready_store(output).await {
        Ok(store) => store,
        Err(exit) => return exit,
    };
    let entries = store.audit_entries(options.number).await;
    store.close().await;
    let mut entries = match entries {
        Ok(entries) => entries,
        Err(error) => return failed(output, &error),
    };
    output.value(&json!({ "entries": entries.iter().map(describe).collect::<Vec<_>>() }));
    entries.reverse();
    let rows: Vec<_> = entries.iter().map(row).collect();
    output.table(&["at", "actor", "action", "subject", "reason", "before", "after"], &rows);
    Exit::Fine
}

fn row(entry: &AuditEntry) -> Vec<String> {
    let reason = entry.reason.as_deref().unwrap_or("-").to_owned();
    let (before, after) = (plain(&entry.before), plain(&entry.after));
    vec![entry.at.to_string(), entry.actor.clone(), entry.action.clone(), entry.subject.clone(), reason, before, after]
}

fn describe(entry: &AuditEntry) -> Value {
    json!({
        "id": entry.id.to_string(), "at": entry.at.to_string(), "actor": entry.actor, "action": entry.action,
        "subject": entry.subject, "reason": entry.reason, "before": entry.before, "after": entry.after,
    })
}
