//! `policy`: what is allowed, as the files say it and as the running gatekeeper has it.

use std::path::PathBuf;

use clap::Subcommand;
use http::Method;
use serde_json::{Value, json};

use super::ops::{At, LONG_PATIENCE, Ops, OpsError, PATIENCE};
use super::output::{Output, member, plain};
use super::{Exit, setup};
use crate::clock::Clock;
use crate::policy::describe::describe;
use crate::policy::load::Origin;
use crate::policy::problems::Problems;
use crate::settings::Environment;

const PATH: &str = "/api/admin/policy";

type Columns = &'static [(&'static str, &'static str)];
const TABLES: [(&str, &str, Columns); 8] = [
    (
        "sources",
        "sources",
        &[
            ("source", "name"),
            ("in all", "total/limit"),
            ("burst", "total/burst"),
            ("each endpoint", "endpoint/limit"),
            ("burst", "endpoint/burst"),
            ("listed at", "place"),
        ],
    ),
    (
        "overrides",
        "sources/overrides",
        &[
            ("source", "of"),
            ("endpoint", "endpoint"),
            ("limit", "allowance/limit"),
            ("burst", "allowance/burst"),
            ("listed at", "allowance/place"),
        ],
    ),
    (
        "targets",
        "targets",
        &[
            ("target", "name"),
            ("urls", "urls"),
            ("body", "shape"),
            ("credentials", "credentials"),
            ("callers", "callers"),
            ("timeout", "timeout"),
            ("listed at", "place"),
        ],
    ),
    (
        "SQL rules",
        "sql/rules",
        &[("rule", "id"), ("tier", "tier"), ("mode", "mode"), ("what it refuses", "refuses"), ("listed at", "place")],
    ),
    (
        "SQL rules, for some calls",
        "sql/rules/overrides",
        &[("rule", "of"), ("mode", "mode"), ("sources", "sources"), ("targets", "targets"), ("reason", "reason"), ("listed at", "place")],
    ),
    (
        "SQL rules of your own",
        "sql/patterns",
        &[("rule", "id"), ("mode", "mode"), ("why", "why"), ("sources", "sources"), ("targets", "targets"), ("listed at", "place")],
    ),
    (
        "exceptions",
        "sql/exceptions",
        &[
            ("rules", "rules"),
            ("sources", "sources"),
            ("targets", "targets"),
            ("objects", "objects"),
            ("statements", "statements"),
            ("until", "until"),
            ("reason", "reason"),
            ("by", "by"),
            ("listed at", "place"),
        ],
    ),
    ("blocks", "blocks", &[("kind", "kind"), ("subject", "subject"), ("until", "until"), ("reason", "reason"), ("listed at", "place")]),
];

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Compile the policies; print every problem with file, line and column.
    Check,
    /// All of it, compiled: what the files say, or what is in force.
    Show {
        /// Ask the running gatekeeper.
        #[arg(long)]
        running: bool,
        #[command(flatten)]
        at: At,
    },
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
        Command::Show { running: true, at } => return shown(output, running(at).await),
        Command::Show { running: false, .. } => return show(output, policies),
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
                policy.sql.rule_count(),
                policy.fingerprint
            ));
            output.value(&json!({
                "ok": true, "origin": origin.to_string(), "fingerprint": policy.fingerprint.as_ref(), "problems": [],
                "warnings": warnings,
            }));
            Exit::Fine
        }
        Err(problems) => wrong(output, &origin, &problems),
    }
}

fn wrong(output: &Output, origin: &Origin, problems: &Problems) -> Exit {
    if output.is_json() {
        let problems: Vec<String> = problems.as_slice().iter().map(ToString::to_string).collect();
        output.value(&json!({ "ok": false, "origin": origin.to_string(), "problems": problems }));
    } else {
        output.problems(problems.as_slice());
    }
    Exit::Configuration
}

fn show(output: &Output, policies: Option<PathBuf>) -> Exit {
    let (origin, policy) = setup::local_policy(&Environment::process(), policies);
    match policy {
        Ok(policy) => shown(output, Ok(describe(&policy))),
        Err(problems) => wrong(output, &origin, &problems),
    }
}

async fn running(at: &At) -> Result<Value, OpsError> {
    Ops::new(at, &Environment::process())?.get(&format!("{PATH}/show"), PATIENCE).await
}

/// What decides about calls, each with its line; the rest is for `--json`.
fn shown(output: &Output, policy: Result<Value, OpsError>) -> Exit {
    let policy = match policy {
        Ok(policy) => policy,
        Err(error) => return error.tell(output),
    };
    for (heading, path, columns) in TABLES {
        let items = match path {
            "sources/overrides" => overrides(member(&policy, "sources"), "name"),
            "sql/rules/overrides" => overrides(member(member(&policy, "sql"), "rules"), "id"),
            path => path.split('/').fold(&policy, member).clone(),
        };
        if items.as_array().is_some_and(Vec::is_empty) {
            continue;
        }
        output.say(&format!("{heading}:"));
        output.list(columns, &items);
        output.say("");
    }
    output.say(&format!("fingerprint {}", plain(member(&policy, "fingerprint"))));
    output.value(&policy);
    Exit::Fine
}

/// Those of all entries of a list, each with the entry that it is of.
fn overrides(entries: &Value, id: &str) -> Value {
    let items = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let of_entry = |entry: Value| {
        let named = |mut own: Value| {
            own.as_object_mut().map(|own| own.insert("of".to_owned(), member(&entry, id).clone()));
            own
        };
        items(member(&entry, "overrides")).into_iter().map(named).collect::<Vec<_>>()
    };
    items(entries).into_iter().flat_map(of_entry).collect()
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
