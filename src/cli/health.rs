//! `health`: asks a running gatekeeper how it is, as a monitor would.

use std::time::Duration;

use clap::{Args, Subcommand};
use http_body_util::{BodyExt, Limited};
use serde_json::Value;
use tokio::time::timeout;

use super::Exit;
use super::output::Output;
use super::reach::{Link, Reach, Unclear};
use crate::settings::Environment;

const PATIENCE: Duration = Duration::from_secs(5);
const MOST: usize = 1024 * 1024;

#[derive(Debug, Args)]
pub struct Options {
    /// The gatekeeper's ops address, http:// or https://; else $GATEKEEPER_OPS_LISTEN.
    #[arg(long, global = true, value_name = "URL")]
    url: Option<String>,
    #[command(subcommand)]
    _command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// The same, as runbooks spell it.
    Check,
}

pub async fn run(output: &Output, options: Options) -> Exit {
    let reach = match Reach::to(options.url.as_deref(), &Environment::process()) {
        Ok(reach) => reach,
        Err(Unclear::Given(why)) => {
            output.problem(&why);
            return Exit::Usage;
        }
        Err(Unclear::Environment(why)) => {
            output.problem(&why);
            return Exit::Configuration;
        }
    };
    let base = reach.base.clone();
    let Ok(uri) = format!("{base}/health").parse() else {
        output.problem(&format!("'{base}' is not an address such as http://127.0.0.1:9090"));
        return Exit::Usage;
    };
    let asked = timeout(PATIENCE, ask(reach.link(PATIENCE), uri)).await.unwrap_or_else(|_| Err("no answer in time".into()));
    match asked {
        Ok((healthy, body)) => {
            output.table(&["what", "value"], &rows(&body));
            output.value(&body);
            if healthy { Exit::Fine } else { Exit::NotSo }
        }
        Err(why) => {
            output.problem(&format!("offline: {base}: {why}"));
            output.value(&serde_json::json!({ "status": "offline" }));
            Exit::NotSo
        }
    }
}

/// A row for everything that is not made of other things, under its path; the verdict first, and what to look at last.
fn rows(body: &Value) -> Vec<Vec<String>> {
    let mut rows = Vec::new();
    flatten(String::new(), body, &mut rows);
    rows.sort_by_key(|row| match row.first().map(String::as_str) {
        Some("status") => 0,
        Some("warnings") => 2,
        _ => 1,
    });
    rows
}

fn flatten(path: String, value: &Value, rows: &mut Vec<Vec<String>>) {
    match value {
        Value::Object(members) => {
            for (name, value) in members {
                flatten(if path.is_empty() { name.clone() } else { format!("{path}.{name}") }, value, rows);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| flatten(path.clone(), item, rows)),
        Value::String(text) => rows.push(vec![path, text.clone()]),
        Value::Null => rows.push(vec![path, "-".into()]),
        Value::Bool(_) | Value::Number(_) => rows.push(vec![path, value.to_string()]),
    }
}

async fn ask(client: Link, uri: http::Uri) -> Result<(bool, Value), String> {
    let answer = client.get(uri).await.map_err(|error| error.to_string())?;
    let healthy = answer.status().is_success();
    let body = Limited::new(answer.into_body(), MOST).collect().await.map_err(|error| error.to_string())?.to_bytes();
    let body = serde_json::from_slice(&body).map_err(|_| "the answer is not JSON: is this a gatekeeper?".to_owned())?;
    Ok((healthy, body))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn nested_members_become_rows_of_their_own() {
        let body = json!({
            "database": { "connected": true, "latency_ms": null }, "enforcement": { "enforcing": false, "gates": {} },
            "secrets": { "KEY": true }, "status": "healthy", "timestamp": "t", "warnings": ["one thing", "another"], "zone": 1,
        });
        let expected = [
            ["status", "healthy"],
            ["database.connected", "true"],
            ["database.latency_ms", "-"],
            ["enforcement.enforcing", "false"],
            ["secrets.KEY", "true"],
            ["timestamp", "t"],
            ["zone", "1"],
            ["warnings", "one thing"],
            ["warnings", "another"],
        ];
        assert_eq!(rows(&body), expected.map(|row| row.map(str::to_owned).to_vec()));
    }
}
