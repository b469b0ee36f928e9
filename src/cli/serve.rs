//! `serve`: everything put together and run until told to stop.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tokio::task::spawn_blocking;
use uuid::Uuid;

use super::output::Output;
use super::{Exit, audit_key, setup};
use crate::audit::Actor;
use crate::clock::Clock;
use crate::control::PolicySource;
use crate::gatekeeper::{Gatekeeper, Parts};
use crate::journal::{Journal, Reader};
use crate::policy::Policy;
use crate::server::{Listeners, serve};
use crate::settings::{Changeable, Environment, Settings};
use crate::store::Store;
use crate::telemetry::logging::Log;
use crate::upkeep::Upkeep;
use crate::upstream::Dial;

/// How long the last records may wait for the database at the end.
const LAST_RECORDS: Duration = Duration::from_secs(10);

pub async fn run(output: &Output, policies: Option<PathBuf>) -> Exit {
    let environment = Arc::new(Environment::process());
    let settings = match Settings::read(&environment) {
        Ok(settings) => settings,
        Err(problems) => {
            output.problems(&problems.0);
            output.problem("`gatekeeper check` prints every problem at once, those of the policies too");
            return Exit::Configuration;
        }
    };
    let origin = setup::origin(policies, settings.policies.directory.as_deref());
    let policies = {
        let (environment, settings) = (Arc::clone(&environment), settings.clone());
        PolicySource::new(origin.clone(), Arc::new(move || setup::policy(&origin, &environment, &settings)))
    };
    let policy = match (policies.compile)() {
        Ok(policy) => policy,
        Err(problems) => {
            output.problems(&problems);
            return Exit::Configuration;
        }
    };
    let log = setup::start_log(&settings.log);
    for warning in settings.warnings.iter().chain(&policy.warnings) {
        tracing::warn!("{warning}");
    }
    tracing::info!(policies = %policies.origin, fingerprint = %policy.fingerprint, sources = policy.sources.entries(), targets = policy.targets.by_name.len(), "policies are compiled");
    run_with(output, Prepared { environment, settings, policy, policies, log }, |_| {}).await
}

/// All that serving needs and that may be wrong.
pub struct Prepared {
    pub environment: Arc<Environment<'static>>,
    pub settings: Settings,
    pub policy: Policy,
    pub policies: PolicySource,
    pub log: Log,
}

/// Serves with what was prepared; `ready` hears the addresses once calls are taken.
pub async fn run_with(output: &Output, prepared: Prepared, ready: impl FnOnce(&Listeners)) -> Exit {
    let Prepared { environment, settings, policy, policies, log } = prepared;
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
    let journals = settings.journals();
    let opened = {
        let (journals, policy) = (journals.clone(), policy.journal);
        spawn_blocking(move || Journal::open(&journals, policy.limits, policy.syncing, Clock::system())).await
    };
    let journal = match opened {
        Ok(Ok(journal)) => journal,
        Ok(Err(error)) => {
            output.problem(&format!("no call could be recorded: {error}; GATEKEEPER_JOURNAL says where the journal lies"));
            return Exit::Configuration;
        }
        Err(_) => return Exit::NotSo,
    };
    let store = match open_store(output, &settings, journal.0.instance()).await {
        Ok(store) => store,
        Err(exit) => {
            give_up(journal).await;
            return exit;
        }
    };
    let parts = Parts { policy, policies, store, journal, clock: Clock::system(), dial: Dial::Network, log };
    let (gatekeeper, queues) = Gatekeeper::build(&settings, parts);
    let upkeep = match Upkeep::start(&gatekeeper, queues, settings.database.migrate).await {
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
    let reloading = tokio::spawn(reread_on_hangup(Arc::clone(&gatekeeper), environment, hangups));
    serve(Arc::clone(&gatekeeper), listeners, settings.bounds, stop).await;
    reloading.abort();
    upkeep.stop(&gatekeeper, LAST_RECORDS).await;
    tracing::info!("stopped");
    Exit::Fine
}

async fn open_store(output: &Output, settings: &Settings, instance: Uuid) -> Result<Arc<dyn Store>, Exit> {
    let sealer = audit_key::sealer(settings, instance).await.map_err(|error| {
        output.problem(&error.to_string());
        Exit::Configuration
    })?;
    setup::open_sealing(&settings.database, sealer).await.map_err(|error| setup::failed(output, &error))
}

/// A start that fails leaves nothing behind, however often it is tried.
async fn give_up((journal, reader): (Journal, Reader)) {
    if let Err(error) = journal.give_up(reader).await {
        tracing::warn!(%error, "the directory of a journal that was not used is still there");
    }
}

fn hangups() -> Option<Signal> {
    let hangups = signal(SignalKind::hangup());
    if hangups.is_err() {
        tracing::error!("SIGHUP cannot be heard: policies change at a restart only");
    }
    hangups.ok()
}

/// At SIGHUP everything is read again that can change while calls go on. What is wrong with it is in the log, and what was in force stays.
async fn reread_on_hangup(gatekeeper: Arc<Gatekeeper>, environment: Arc<Environment<'static>>, hangups: Option<Signal>) {
    let Some(mut hangup) = hangups else { return };
    let by = Actor::cause("SIGHUP");
    let mut known = Changeable::read(&environment).ok();
    while hangup.recv().await.is_some() {
        // Its outcome is in the log already.
        let _told = gatekeeper.control.reload(&by).await;
        let read = match Changeable::read(&environment) {
            Ok(read) => read,
            Err(problems) => {
                problems.0.iter().for_each(|problem| tracing::error!("{problem}"));
                continue;
            }
        };
        gatekeeper.control.start_with(read.enforce.into(), &by);
        // What was set since stays, unless the environment says something new.
        if known.is_none_or(|known| known.level != read.level) {
            let _set = gatekeeper.control.set_log_level(read.level.as_str(), &by).await;
        }
        known = Some(read);
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
