//! `db`: is the database there, and does its schema fit this binary?

use clap::Subcommand;
use serde_json::json;

use super::Exit;
use super::output::Output;
use super::setup::{any_store, failed};

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Connectivity and migrations; exit 1 if either wants something.
    Status,
    /// Apply the migrations that are missing.
    Deploy,
}

pub async fn run(output: &Output, command: Command) -> Exit {
    let store = match any_store(output).await {
        Ok(store) => store,
        Err(exit) => return exit,
    };
    if matches!(command, Command::Deploy)
        && let Err(error) = store.migrate().await
    {
        return failed(output, &error);
    }
    let migrations = match store.migrations().await {
        Ok(migrations) => migrations,
        Err(error) => return failed(output, &error),
    };
    store.close().await;
    let word = |applied: bool| if applied { "applied" } else { "missing" };
    let rows: Vec<_> = migrations.iter().map(|m| vec![m.version.to_string(), m.name.clone(), word(m.applied).to_owned()]).collect();
    output.table(&["version", "migration", "state"], &rows);
    let complete = migrations.iter().all(|migration| migration.applied);
    let values: Vec<_> = migrations.iter().map(|m| json!({ "version": m.version, "name": m.name, "applied": m.applied })).collect();
    output.value(&json!({ "connected": true, "complete": complete, "migrations": values }));
    if complete {
        output.say("connected; the schema is complete");
        return Exit::Fine;
    }
    output.problem("connected; migrations are missing: run `gatekeeper db deploy`");
    Exit::NotSo
}
