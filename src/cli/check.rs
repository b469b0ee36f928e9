//! `check`: is this environment, with these policies, fit to serve? Every problem at once; values of secrets never.

use std::path::PathBuf;

use serde_json::json;

use super::output::Output;
use super::{Exit, setup};
use crate::clock::Clock;
use crate::settings::table::{Kind, VARIABLES};
use crate::settings::{Environment, Problems, Settings};
use crate::tls;

pub fn run(output: &Output, policies: Option<PathBuf>) -> Exit {
    let environment = Environment::process();
    let settings = Settings::read(&environment);
    let mut problems: Vec<String> =
        settings.as_ref().err().map(|problems| problems.0.iter().map(ToString::to_string).collect()).unwrap_or_default();
    let mut warnings = settings.as_ref().map(|settings| settings.warnings.clone()).unwrap_or_default();

    let now = Clock::system().now();
    if let Ok(settings) = &settings {
        let (wrong, doubtful) = tls::check(&settings.tls, now);
        problems.extend(wrong);
        warnings.extend(doubtful);
    }

    let (origin, compiled) = setup::local_policy(&environment, policies);
    match &compiled {
        Ok(policy) => warnings.extend(policy.warnings_at(now)),
        Err(found) => problems.extend(found.as_slice().iter().map(ToString::to_string)),
    }

    let rows: Vec<(String, String)> = VARIABLES
        .iter()
        .map(|variable| {
            let value = environment.value(&mut Problems::default(), variable.name);
            let shown = match (variable.kind, value) {
                (_, None) => "-".to_owned(),
                (Kind::Secret, Some(_)) => "set".to_owned(),
                (Kind::Plain, Some(value)) if variable.name == "DATABASE_URL" => {
                    crate::settings::DatabaseUrl::parse(&value).map_or_else(|_| "?".to_owned(), |url| url.to_string())
                }
                // The certificate or key itself, where its file's path belongs.
                (Kind::Plain, Some(value)) if value.contains("-----BEGIN") => "?".to_owned(),
                // Somebody's password, in a place where the policies refuse it.
                (Kind::Plain, Some(value)) if variable.name == "SUPABASE_URL" && value.contains('@') => "?".to_owned(),
                (Kind::Plain, Some(value)) => value,
            };
            (variable.name.to_owned(), shown)
        })
        .collect();

    output.table(&["variable", "value"], &rows.iter().map(|(name, value)| vec![name.clone(), value.clone()]).collect::<Vec<_>>());
    output.say("");
    if let Ok(policy) = &compiled {
        let (sources, targets) = (policy.sources.entries(), policy.targets.by_name.len());
        output.say(&format!(
            "policies: {origin}: {sources} sources, {targets} targets, {} SQL rules ({})",
            policy.sql.rule_count(),
            policy.fingerprint
        ));
    }
    for warning in &warnings {
        output.say(&format!("warning: {warning}"));
    }
    output.value(&json!({
        "ok": problems.is_empty(),
        "problems": problems,
        "warnings": warnings,
        "policies": origin.to_string(),
        "fingerprint": compiled.as_ref().ok().map(|policy| policy.fingerprint.as_ref()),
        "environment": rows.iter().map(|(name, value)| (name.clone(), json!(value))).collect::<serde_json::Map<_, _>>(),
    }));
    if problems.is_empty() {
        output.say("fit to serve");
        return Exit::Fine;
    }
    if !output.is_json() {
        problems.iter().for_each(|problem| output.problem(&format!("problem: {problem}")));
    }
    Exit::Configuration
}
