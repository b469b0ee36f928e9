//! `demo`: the whole gatekeeper for a first look, with nothing to set up. Throw-away keys, built-in targets, loopback only.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use arc_swap::ArcSwap;
use clap::Args;
use serde_json::json;

use super::output::Output;
use super::{Exit, demo_targets, serve, setup};
use crate::keys::generate;
use crate::server::{Beginning, Inherited, Listeners};
use crate::settings::{Environment, Settings};

#[derive(Debug, Args)]
pub struct Options {
    /// Where calls are recorded.
    #[arg(long, default_value = "data/demo.db", value_name = "FILE")]
    database: PathBuf,
}

/// What of the caller's environment a demo heeds; everything else is its own.
const HEEDED: [&str; 5] = ["GATEKEEPER_LISTEN", "GATEKEEPER_OPS_LISTEN", "GATEKEEPER_POLICIES", "LOG_LEVEL", "LOG_FORMAT"];

pub async fn run(output: &Output, policies: Option<PathBuf>, options: Options) -> Exit {
    match prepare(output, policies, options).await {
        Ok(exit) | Err(exit) => exit,
    }
}

async fn prepare(output: &Output, policies: Option<PathBuf>, options: Options) -> Result<Exit, Exit> {
    let not_so = |why: String| {
        output.problem(&why);
        Exit::NotSo
    };
    let fresh = || generate().map_err(|error| not_so(format!("the system gives no randomness: {error}")));
    let (key, service_key, admin_token) = (fresh()?, fresh()?, fresh()?);
    let targets = demo_targets::start().await.map_err(|error| not_so(format!("the demo targets cannot start: {error}")))?;
    let database = format!("sqlite://{}", options.database.display());

    let own = HashMap::from([
        ("INTERNAL_ELIZA_KEY", key.reveal().to_owned()),
        ("SUPABASE_SERVICE_ROLE_KEY", service_key.reveal().to_owned()),
        ("GATEKEEPER_ADMIN_TOKEN", admin_token.reveal().to_owned()),
        ("SUPABASE_URL", format!("http://{targets}")),
        ("DATABASE_URL", database.clone()),
        ("GATEKEEPER_STATE", options.database.with_extension("state").display().to_string()),
    ]);
    let environment = Arc::new(Environment::from_lookup(move |name| {
        let heeded = || HEEDED.contains(&name).then(|| std::env::var(name).ok()).flatten();
        own.get(name).cloned().or_else(heeded)
    }));
    let settings = Settings::read(&environment).map_err(|problems| {
        output.problems(&problems.0);
        Exit::Configuration
    })?;
    if !settings.listen.ip().is_loopback() || !settings.ops_listen.ip().is_loopback() {
        output.problem("a demo is for loopback only: use `gatekeeper serve` elsewhere");
        return Err(Exit::Configuration);
    }
    let origin = setup::origin(policies, settings.policies.directory.as_deref());
    let secrets = Arc::new(ArcSwap::from_pointee(settings.secrets.clone()));
    let policies = setup::policies(origin, &environment, &secrets);
    let policy = (policies.compile)().map_err(|problems| {
        output.problems(&problems);
        Exit::Configuration
    })?;
    let log = setup::start_log(&settings.log);
    let greeting = |listeners: &Listeners| {
        let (Ok(data), Ok(ops)) = (listeners.data_address(), listeners.ops_address()) else { return };
        let program = std::env::current_exe().map_or_else(|_| "gatekeeper".into(), |path| path.display().to_string());
        let url = format!("http://{data}/functions/v1/eliza-gatekeeper");
        output.say(&format!(
            "The gatekeeper is up, with built-in targets, a key and an admin token for this run only.

Make a call:

  curl -s {url} \\
    -H 'content-type: application/json' \\
    -H 'x-eliza-key: {key}' \\
    -H 'x-eliza-source: gemini-chat' \\
    -d '{{\"target\":\"agent-manager\",\"action\":\"list_agents\",\"payload\":{{}}}}'

See it recorded, and look after it, from another terminal in this folder:

  export DATABASE_URL={database} GATEKEEPER_OPS_LISTEN={ops}
  export GATEKEEPER_ADMIN_TOKEN={token}
  {program} calls tail
  {program} enforce status
  {program} explain --source gemini-chat --target agent-manager --operation 'DROP TABLE users'

Operators look at http://{ops}/health and http://{ops}/metrics. Stop with Ctrl-C.
",
            token = admin_token.reveal(),
            key = key.reveal()
        ));
        output.value(&json!({
            "url": url, "ops": format!("http://{ops}/"), "key": key.reveal(), "source": "gemini-chat", "database": database,
            "admin_token": admin_token.reveal(),
        }));
    };
    let (beginning, inherited) = (Beginning::Afresh, Inherited::none());
    let prepared = serve::Prepared { environment, settings, secrets, policy, policies, log, beginning, inherited };
    Ok(serve::run_with(output, prepared, greeting).await)
}
