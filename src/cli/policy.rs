//! `policy`: what is allowed, as the files say it and as the running gatekeeper has it.

use std::path::PathBuf;

use clap::Subcommand;
use http::Method;
use serde_json::{Value, json};

use super::ops::{At, LONG_PATIENCE, Ops, OpsError, PATIENCE};
use super::output::{Output, plain};
use super::{Exit, setup};
use crate::clock::Clock;
use crate::settings::Environment;

const PATH: &str = "/api/admin/policy";

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Compile the policies; print every problem with file, line and column.
    Check,
    /// What is in force, since when, and what is wrong with the files; exit 1 if anything is.
    Status {
        #[command(flatten)]
        at: At,
    },
    /// Have the files read again; if anything is wrong with them, what is in force stays.
    Reload {
        #[command(flatten)]
        at: At,
    },
}

pub async fn run(output: &Output, policies: Option<PathBuf>, command: Command) -> Exit {
    let status = match &command {
        Command::Check => return check(output, policies),
        Command::Status { at } => status(at).await,
        Command::Reload { at } => reload(at).await,
    };
    match status {
        Ok(status) => show_status(output, &status),
        Err(error) => error.tell(output),
    }
}

fn check(output: &Output, policies: Option<PathBuf>) -> Exit {
    let (origin, policy) = setup::local_policy(&Environment::process(), policies);
    match policy {
        Ok(policy) => {
            let warnings = policy.warnings_at(Clock::system().now());
            warnings.iter().for_each(|warning| output.say(&format!("warning: {warning}")));
            output.say(&format!(
                "{origin}: {} sources, {} targets, {} SQL rules ({})",
                policy.sources.entries(),
                policy.targets.by_name.len(),
                policy.sql.rules.len(),
                policy.fingerprint
            ));
            output.value(&json!({
                "ok": true, "origin": origin.to_string(), "fingerprint": policy.fingerprint.as_ref(), "problems": [],
                "warnings": warnings,
            }));
            Exit::Fine
        }
        Err(problems) => {
            let problems: Vec<String> = problems.as_slice().iter().map(ToString::to_string).collect();
            if output.is_json() {
                output.value(&json!({ "ok": false, "origin": origin.to_string(), "problems": problems }));
            } else {
                output.problems(&problems);
            }
            Exit::Configuration
        }
    }
}

async fn status(at: &At) -> Result<Value, OpsError> {
    Ops::new(at, &Environment::process())?.get(PATH, PATIENCE).await
}

async fn reload(at: &At) -> Result<Value, OpsError> {
    Ops::new(at, &Environment::process())?.send(Method::POST, &format!("{PATH}/reload"), &json!({}), LONG_PATIENCE).await
}

fn show_status(output: &Output, status: &Value) -> Exit {
    let rows = ["origin", "fingerprint", "loaded_at", "sources", "targets", "rules"];
    let rows: Vec<_> = rows.into_iter().map(|name| vec![name.replace('_', " "), plain(&status[name])]).collect();
    output.table(&["what", "value"], &rows);
    let words = |name: &str| status[name].as_array().into_iter().flatten().map(plain).collect::<Vec<_>>();
    words("warnings").iter().for_each(|warning| output.say(&format!("warning: {warning}")));
    output.value(status);
    let problems = words("problems");
    if problems.is_empty() {
        return Exit::Fine;
    }
    if !output.is_json() {
        output.problem("the files have problems, so what was in force before them still is:");
        output.problems(&problems);
    }
    Exit::NotSo
}
