//! `serve`: everything put together and run until told to stop.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

use super::output::Output;
use super::{Exit, setup};
use crate::audit::Actor;
use crate::clock::Clock;
use crate::control::PolicySource;
use crate::gatekeeper::{Gatekeeper, Parts};
use crate::policy::Policy;
use crate::server::{Listeners, serve};
use crate::settings::{Environment, Settings};
use crate::upkeep::Upkeep;
use crate::upstream::Dial;

/// How long the last records may wait for the database at the end.
const LAST_RECORDS: Duration = Duration::from_secs(10);

pub async fn run(output: &Output, policies: Option<PathBuf>) -> Exit {
    let environment = Environment::process();
    let settings = match Settings::read(&environment) {
        Ok(settings) => settings,
        Err(problems) => {
            output.problems(&problems.0);
            output.problem("`gatekeeper check` prints every problem at once, those of the policies too");
            return Exit::Configuration;
        }
    };
    let origin = setup::origin(policies, settings.policies.directory.as_deref());
    let policy = match setup::policy(&origin, &environment, &settings) {
        Ok(policy) => policy,
        Err(problems) => {
            output.problems(&problems);
            return Exit::Configuration;
        }
    };
    setup::start_log(&settings.log);
    for warning in settings.warnings.iter().chain(&policy.warnings) {
        tracing::warn!("{warning}");
    }
    tracing::info!(policies = %origin, fingerprint = %policy.fingerprint, sources = policy.sources.entries(), targets = policy.targets.by_name.len(), "policies are compiled");
    let policies = {
        let (origin, settings) = (origin.clone(), settings.clone());
        PolicySource { origin: origin.clone(), compile: Arc::new(move || setup::policy(&origin, &Environment::process(), &settings)) }
    };
    run_with(output, settings, policy, policies, |_| {}).await
}

/// Serves with what was prepared; `ready` hears the addresses once calls are taken.
pub async fn run_with(output: &Output, settings: Settings, policy: Policy, policies: PolicySource, ready: impl FnOnce(&Listeners)) -> Exit {
    let listeners = match Listeners::bind(settings.listen, settings.ops_listen).await {
        Ok(listeners) => listeners,
        Err(error) => {
            output.problem(&error.to_string());
            return Exit::NotSo;
        }
    };
    // Heard from here on, so that a stop during a long migration is an orderly one, and an early SIGHUP no end.
    let stop = told_to_stop();
    let hangups = hangups();
    let store = match setup::open(&settings.database).await {
        Ok(store) => store,
        Err(error) => return setup::failed(output, &error),
    };
    let parts = Parts { policy, policies, store, clock: Clock::system(), dial: Dial::Network };
    let (gatekeeper, records) = Gatekeeper::build(&settings, parts);
    let upkeep = match Upkeep::start(&gatekeeper, records, settings.database.migrate).await {
        Ok(upkeep) => upkeep,
        Err(error) => {
            output.problem(&error.to_string());
            return Exit::Configuration;
        }
    };
    if let (Ok(data), Ok(ops)) = (listeners.data_address(), listeners.ops_address()) {
        tracing::info!(%data, %ops, database = %settings.database.url, "serving");
    }
    ready(&listeners);
    let reloading = tokio::spawn(reload_on_hangup(Arc::clone(&gatekeeper), hangups));
    serve(Arc::clone(&gatekeeper), listeners, settings.bounds, stop).await;
    reloading.abort();
    upkeep.stop(&gatekeeper, LAST_RECORDS).await;
    tracing::info!("stopped");
    Exit::Fine
}

fn hangups() -> Option<Signal> {
    let hangups = signal(SignalKind::hangup());
    if hangups.is_err() {
        tracing::error!("SIGHUP cannot be heard: policies change at a restart only");
    }
    hangups.ok()
}

/// At SIGHUP the policies are read again. If anything is wrong with them, those in force stay, and the log says what.
async fn reload_on_hangup(gatekeeper: Arc<Gatekeeper>, hangups: Option<Signal>) {
    let Some(mut hangup) = hangups else { return };
    while hangup.recv().await.is_some() {
        match gatekeeper.control.reload(&Actor::cause("SIGHUP")).await {
            Ok(status) => {
                status.warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
                tracing::info!(fingerprint = %status.fingerprint, "policies are read again and in force");
            }
            Err(problems) => {
                problems.iter().for_each(|problem| tracing::error!("{problem}"));
                tracing::error!("the policies have problems: those in force stay");
            }
        }
    }
}

/// Turns true at SIGTERM or SIGINT. A second one ends the process at once.
fn told_to_stop() -> watch::Receiver<bool> {
    let (stop, stopping) = watch::channel(false);
    let (term, int) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()));
    tokio::spawn(async move {
        let (Ok(mut term), Ok(mut int)) = (term, int) else {
            tracing::error!("signals cannot be heard: only a kill will end this process");
            std::future::pending::<()>().await;
            return;
        };
        tokio::select! {
            _ = term.recv() => {}
            _ = int.recv() => {}
        }
        tracing::info!("stopping: no new connections, calls under way may end");
        stop.send_replace(true);
        tokio::select! {
            _ = term.recv() => {}
            _ = int.recv() => {}
        }
        tracing::warn!("told twice: stopping at once");
        std::process::exit(1);
    });
    stopping
}
