//! `limits`: what sources have used, from the operators' own table, and giving it back.

use std::time::Duration;

use clap::Subcommand;
use serde_json::json;

use super::Exit;
use super::output::Output;
use super::setup::{failed, operator, ready_store};
use crate::audit::{Actor, AuditAction, AuditEntry};
use crate::clock::Clock;
use crate::settings::Environment;

const SHOWN: u32 = 200;

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Calls per endpoint and minute in the last hour, refused ones too.
    Show { source: Option<String> },
    /// Forget what a source has used: it may call again within a second.
    Clear { source: String },
}

pub async fn run(output: &Output, command: Command) -> Exit {
    let store = match ready_store(output).await {
        Ok(store) => store,
        Err(exit) => return exit,
    };
    let done = match command {
        Command::Show { source } => {
            let since = Clock::system().now().minus(Duration::from_secs(3600));
            store.limit_rows(source.as_deref(), since, SHOWN).await.map(|rows| {
                let cells: Vec<_> =
                    rows.iter().map(|row| vec![row.identifier.clone(), row.endpoint.clone(), row.window_start.to_string(), row.count.to_string()]).collect();
                output.table(&["source", "endpoint", "minute", "calls"], &cells);
                let values: Vec<_> = rows
                    .iter()
                    .map(|row| json!({ "source": row.identifier, "endpoint": row.endpoint, "minute": row.window_start.to_string(), "calls": row.count }))
                    .collect();
                output.value(&json!({ "limits": values }));
                Exit::Fine
            })
        }
        Command::Clear { source } => store.clear_limits(&source, &cleared(&source)).await.map(|rows| {
            output.say(&format!("{rows} rows of {source} are forgotten; running gatekeepers take the counts back within a second"));
            output.value(&json!({ "source": source, "rows": rows }));
            if rows == 0 { Exit::NotSo } else { Exit::Fine }
        }),
    };
    store.close().await;
    done.unwrap_or_else(|error| failed(output, &error))
}

fn cleared(source: &str) -> AuditEntry {
    let actor = Actor::named(&operator(&Environment::process()));
    AuditEntry::new(Clock::system().now(), &actor, AuditAction::LimitsCleared, source)
}
