//! `calls verify`: is the audit log as it was sealed?

use std::collections::HashMap;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use serde_json::{Value, json};
use uuid::Uuid;

use super::Exit;
use super::output::Output;
use super::setup::{failed, local_policy, ready_store};
use crate::clock::Clock;
use crate::retention::{Age, TableKeep};
use crate::seal::kept::{Heads, Published, read_heads, read_key, state_keys};
use crate::seal::walk::Finding;
use crate::seal::{AuditKeys, Head};
use crate::settings::{AuditSettings, Environment};
use crate::store::verify::{Entries, Verified, verify};

/// Told one by one; what is beyond is counted.
const MOST_TOLD: usize = 1000;
/// A gatekeeper looks at all entries once an hour, and at new ones all the time.
const SEALED_WITHIN: Duration = Duration::from_secs(2 * 3600);

#[derive(Debug, Args)]
pub struct Options {
    /// A file that holds an older key; repeat for more. The key set, and those in $GATEKEEPER_STATE, are known anyway.
    #[arg(long = "key-file", value_name = "FILE")]
    key_files: Vec<PathBuf>,
    /// The audit.heads of another gatekeeper, or its log in JSON; repeat for more. That of $GATEKEEPER_STATE is read anyway.
    #[arg(long = "heads", value_name = "FILE")]
    heads: Vec<PathBuf>,
}

/// What the audit log is held against.
struct Known {
    keys: AuditKeys,
    heads: HashMap<Uuid, Head>,
    /// What could not be used, and is not needed for certain.
    warnings: Vec<String>,
}

/// What policy lets go of by age is no finding. Policies that cannot be read let go of nothing.
fn entries(policies: Option<PathBuf>) -> Entries {
    let ages = |table: &TableKeep| table.table == "security_audit" && matches!(table.span.here, Age::Days(_));
    match local_policy(&Environment::process(), policies).1 {
        Ok(policy) if policy.retention.tables.iter().any(ages) => Entries::MayGo,
        Ok(_) | Err(_) => Entries::Stay,
    }
}

pub async fn run(output: &Output, policies: Option<PathBuf>, options: Options) -> Exit {
    let settings = match AuditSettings::read(&Environment::process()) {
        Ok(settings) => settings,
        Err(problems) => {
            output.problems(&problems.0);
            return Exit::Configuration;
        }
    };
    let known = match tokio::task::spawn_blocking(move || gather(settings, options)).await {
        Ok(Ok(known)) => known,
        Ok(Err(problem)) => {
            output.problem(&problem);
            return Exit::Usage;
        }
        Err(error) => {
            output.problem(&error.to_string());
            return Exit::NotSo;
        }
    };
    known.warnings.iter().for_each(|warning| output.problem(&format!("warning: {warning}")));
    let store = match ready_store(output).await {
        Ok(store) => store,
        Err(exit) => return exit,
    };
    let mut told = Vec::new();
    let verified = verify(store.as_ref(), &known.keys, &known.heads, entries(policies), &mut |finding| {
        if told.len() < MOST_TOLD {
            output.say(&finding.to_string());
            told.push(describe(&finding));
        }
    })
    .await;
    store.close().await;
    match verified {
        Ok(verified) => report(output, &known, &verified, told),
        Err(error) => failed(output, &error),
    }
}

/// Heads first of all: what is published after the walk has passed would look cut off.
fn gather(settings: AuditSettings, options: Options) -> Result<Known, String> {
    let mut known = Known { keys: AuditKeys::default(), heads: HashMap::new(), warnings: Vec::new() };
    let own = Heads::of(&settings.state);
    match read_heads(own.path()) {
        Ok(published) => known.take(published),
        Err(error) => known.warnings.push(format!(
            "{} cannot be read ({}): a chain that was cut off at its end, or removed, may not show",
            own.path().display(),
            error.kind()
        )),
    }
    for file in options.heads {
        let published = read_heads(&file).map_err(|error| format!("{} cannot be read: {}", file.display(), error.kind()))?;
        known.take(published);
    }
    known.warnings.extend(state_keys(&settings.state, &mut known.keys));
    settings.key.into_iter().for_each(|key| known.keys.add(key));
    for file in options.key_files {
        known.keys.add(read_key(&file).map_err(|error| format!("{} is no key: {error}", file.display()))?);
    }
    if known.keys.is_empty() {
        known.warnings.push("there is no key here: set GATEKEEPER_AUDIT_KEY, or GATEKEEPER_STATE to where audit.key lies".into());
    }
    Ok(known)
}

impl Known {
    fn take(&mut self, published: Published) {
        for (instance, head) in published.heads {
            let known = self.heads.entry(instance).or_insert(head);
            if known.n < head.n {
                *known = head;
            }
        }
    }
}

fn report(output: &Output, known: &Known, verified: &Verified, told: Vec<Value>) -> Exit {
    let Verified { chains, rows, breaks, heads, compared, calls_gone, entries_gone, unsealed, unsealed_since } = *verified;
    let since = unsealed_since.map(|since| since.to_string());
    output.value(&json!({
        "holds": breaks == 0, "breaks": breaks, "chains": chains, "rows": rows, "heads": heads, "compared": compared,
        "calls_gone": calls_gone, "entries_gone": entries_gone, "unsealed": unsealed, "unsealed_since": since,
        "findings": told, "warnings": known.warnings,
    }));
    output.say(&format!("{rows} rows in {chains} chains; {heads} published heads looked for; {compared} rows of the logs compared"));
    if calls_gone > 0 {
        output.say(&format!("{calls_gone} sealed calls are in the audit log alone: the logs have let go of them"));
    }
    if entries_gone > 0 {
        output.say(&format!("{entries_gone} sealed entries are in the audit log alone: security_audit has let go of them, as policy says"));
    }
    if unsealed > 0 {
        output.say(&format!("{unsealed} entries of security_audit are not sealed yet: a running gatekeeper does that within seconds"));
    }
    if unsealed_since.is_some_and(|since| Clock::system().now().since(since) > SEALED_WITHIN) {
        let since = since.unwrap_or_default();
        output.problem(&format!(
            "warning: entries have waited for their seal since {since}: does a gatekeeper run, and what does its log say?"
        ));
    }
    if breaks == 0 {
        output.say("the audit log holds");
        return Exit::Fine;
    }
    output.problem(&format!("the audit log does not hold: it breaks in {breaks} places; of each chain the first is told"));
    Exit::NotSo
}

fn describe(finding: &Finding) -> Value {
    json!({
        "instance": finding.instance, "n": finding.n, "id": finding.id.map(|id| id.to_string()), "wrong": finding.wrong.as_str(),
        "words": finding.to_string(),
    })
}
