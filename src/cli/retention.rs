//! `retention`: are rows older than policy keeps them, and letting go of those that are.

use std::path::PathBuf;

use clap::Subcommand;
use serde_json::{Value, json};

use super::Exit;
use super::output::Output;
use super::setup::{failed, local_policy, operator, ready_store};
use crate::audit::Actor;
use crate::clock::{Clock, Timestamp};
use crate::retention::Keep;
use crate::settings::Environment;
use crate::store::{Maintained, Store, StoreError};

#[derive(Debug, Subcommand)]
pub enum Command {
    /// How old rows have grown; exit 1 if some should be gone.
    Check,
    /// Archive and delete what policy keeps no longer, in tables that are not scheduled too.
    Run,
}

pub async fn run(output: &Output, policies: Option<PathBuf>, command: Command) -> Exit {
    let keep = match local_policy(&Environment::process(), policies).1 {
        Ok(policy) => policy.retention,
        Err(problems) => {
            output.problems(problems.as_slice());
            return Exit::Configuration;
        }
    };
    let store = match ready_store(output).await {
        Ok(store) => store,
        Err(exit) => return exit,
    };
    let done = match command {
        Command::Check => check(output, store.as_ref(), &keep).await,
        Command::Run => let_go(output, store.as_ref(), &keep).await,
    };
    store.close().await;
    done.unwrap_or_else(|error| failed(output, &error))
}

async fn check(output: &Output, store: &dyn Store, keep: &Keep) -> Result<Exit, StoreError> {
    let ages = store.ages(Clock::system().now(), keep).await?;
    let moment = |at: Option<Timestamp>, none: &str| at.map_or_else(|| none.to_owned(), |at| at.to_string());
    let rows: Vec<_> = ages
        .iter()
        .map(|age| {
            let state = match &age.trouble {
                Some(why) => why.clone(),
                None if age.is_overdue() => "OVERDUE".into(),
                None => "fine".into(),
            };
            vec![age.table.clone(), moment(age.oldest, "-"), moment(age.due, "forever"), state]
        })
        .collect();
    output.table(&["table", "oldest row", "kept from", "state"], &rows);
    let overdue: Vec<_> = ages.iter().filter(|age| age.is_overdue()).map(|age| age.table.as_str()).collect();
    let unseen: Vec<_> = ages.iter().filter(|age| age.trouble.is_some()).map(|age| age.table.as_str()).collect();
    let values: Vec<_> = ages
        .iter()
        .map(|age| {
            json!({
                "table": age.table, "oldest": age.oldest.map(|at| at.to_string()), "kept_from": age.due.map(|at| at.to_string()),
                "overdue": age.is_overdue(), "trouble": age.trouble,
            })
        })
        .collect();
    output.value(&json!({ "ok": overdue.is_empty() && unseen.is_empty(), "tables": values }));
    if overdue.is_empty() && unseen.is_empty() {
        output.say("no row is older than policy keeps it");
        return Ok(Exit::Fine);
    }
    if !overdue.is_empty() {
        output.problem(&format!("older than policy keeps: {}; let go of it with `gatekeeper retention run`", overdue.join(", ")));
    }
    if !unseen.is_empty() {
        output.problem(&format!("cannot be looked at: {}", unseen.join(", ")));
    }
    Ok(Exit::NotSo)
}

async fn let_go(output: &Output, store: &dyn Store, keep: &Keep) -> Result<Exit, StoreError> {
    let now = Clock::system().now();
    let done = store.maintain(now, keep).await?;
    if let Some(entry) = done.audited(now, &Actor::named(&operator(&Environment::process()))) {
        store.audit(&[entry]).await?;
    }
    let mut rows = Vec::new();
    for retained in &done.tables {
        let state = match (&retained.trouble, retained.busy) {
            (Some(why), _) => why.clone(),
            (None, true) => "busy: run again".into(),
            (None, false) => "fine".into(),
        };
        let counts = [
            u64::from(retained.partitions_archived),
            u64::from(retained.partitions_dropped),
            retained.rows_archived,
            retained.rows_deleted,
        ];
        rows.push(std::iter::once(retained.table.clone()).chain(counts.map(|count| count.to_string())).chain([state]).collect());
    }
    output.table(&["table", "days archived", "days dropped", "rows archived", "rows deleted", "state"], &rows);
    output.value(&described(&done));
    let troubles: Vec<_> = done.troubles().map(|(table, why)| format!("{table}: {why}")).collect();
    troubles.iter().for_each(|trouble| output.problem(trouble));
    if done.tables.iter().any(|retained| retained.busy) {
        output.problem("somebody reads what should go, or another gatekeeper is at work on it: run again");
    }
    Ok(if done.is_done() { Exit::Fine } else { Exit::NotSo })
}

fn described(done: &Maintained) -> Value {
    let tables: Vec<_> = done
        .tables
        .iter()
        .map(|retained| {
            json!({
                "table": retained.table,
                "days_archived": retained.partitions_archived, "days_dropped": retained.partitions_dropped,
                "rows_archived": retained.rows_archived, "rows_deleted": retained.rows_deleted,
                "busy": retained.busy, "trouble": retained.trouble,
            })
        })
        .collect();
    json!({ "ok": done.is_done(), "days_made": done.partitions_made, "tables": tables })
}
