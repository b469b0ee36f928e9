//! `serve`: everything put together and run until told to stop.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use clap::Args;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tokio::task::spawn_blocking;
use uuid::Uuid;

use super::output::Output;
use super::{Exit, audit_key, setup};
use crate::audit::Actor;
use crate::clock::Clock;
use crate::control::PolicySource;
use crate::gatekeeper::{Gatekeeper, Parts, hashes};
use crate::gates::rate_limit::Held;
use crate::journal::Journal;
use crate::policy::Policy;
use crate::server::{Beginning, Inherited, Listeners, OpenError, Opened, Stop, Supervisor, open, serve};
use crate::settings::{Changeable, Environment, Secrets, Settings};
use crate::store::Store;
use crate::telemetry::logging::Log;
use crate::tls::{Locks, Look};
use crate::upkeep::Upkeep;
use crate::upkeep::counts::take_over;
use crate::upstream::Dial;

/// How long the last records may wait for the database at the end.
const LAST_RECORDS: Duration = Duration::from_secs(10);

#[derive(Debug, Args)]
pub struct Options {
    /// Take the place of the gatekeeper that serves with the same $GATEKEEPER_STATE: it passes its listening sockets and what it has
    /// counted, and ends. Without one, start as usual.
    #[arg(long)]
    take_over: bool,
}

pub async fn run(output: &Output, policies: Option<PathBuf>, options: &Options, inherited: Inherited) -> Exit {
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
    let secrets = Arc::new(ArcSwap::from_pointee(settings.secrets.clone()));
    let policies = setup::policies(origin, &environment, &secrets);
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
    let beginning = if options.take_over { Beginning::TakingOver } else { Beginning::Afresh };
    let prepared = Prepared { environment, settings, secrets, policy, policies, log, beginning, inherited };
    run_with(output, prepared, |_| {}).await
}

/// All that serving needs and that may be wrong.
pub struct Prepared {
    pub environment: Arc<Environment<'static>>,
    pub settings: Settings,
    /// Those in force, which the policies are compiled with.
    pub secrets: Arc<ArcSwap<Secrets>>,
    pub policy: Policy,
    pub policies: PolicySource,
    pub log: Log,
    pub beginning: Beginning,
    pub inherited: Inherited,
}

/// Serves with what was prepared; `ready` hears the addresses once calls are taken.
pub async fn run_with(output: &Output, prepared: Prepared, ready: impl FnOnce(&Listeners)) -> Exit {
    let Prepared { environment, settings, secrets, policy, policies, log, beginning, inherited } = prepared;
    // Whatever gives calls their ids can only panic without it.
    if let Err(error) = getrandom::u64() {
        output.problem(&format!("the system gives no randomness: {error}"));
        return Exit::NotSo;
    }
    let Opened { listeners, predecessor, successors } = match open(&settings, beginning, inherited).await {
        Ok(opened) => opened,
        Err(error) => {
            output.problem(&error.to_string());
            return if matches!(error, OpenError::Inherited(_)) { Exit::Configuration } else { Exit::NotSo };
        }
    };
    let locks = match Locks::open(&settings.tls) {
        Ok(locks) => locks,
        Err(problems) => {
            problems.iter().for_each(|problem| output.problem(problem));
            return Exit::Configuration;
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
            let (journal, reader) = journal;
            journal.give_up(reader).await;
            return exit;
        }
    };
    let parts = Parts { policy, policies, store, journal, clock: Clock::system(), dial: Dial::Network, locks, log };
    let (gatekeeper, queues) = Gatekeeper::build(&settings, parts);
    let upkeep = match Upkeep::start(&gatekeeper, queues, settings.database.migrate).await {
        Ok(upkeep) => upkeep,
        Err(error) => {
            output.problem(&error.to_string());
            return Exit::Configuration;
        }
    };
    if let Some(predecessor) = predecessor
        && let Err(error) = predecessor.take_over(async |held| take(&gatekeeper, &held).await).await
    {
        output.problem(&error.to_string());
        upkeep.stop(&gatekeeper, LAST_RECORDS).await;
        return Exit::NotSo;
    }
    if let (Ok(data), Ok(ops)) = (listeners.data_address(), listeners.ops_address()) {
        tracing::info!(%data, %ops, database = %settings.database.url, "serving");
    }
    ready(&listeners);
    let supervisor = Supervisor::of_this_process();
    supervisor.hears_ready();
    let reloading = tokio::spawn(reread_on_hangup(Arc::clone(&gatekeeper), environment, secrets, hangups));
    serve(Arc::clone(&gatekeeper), listeners, successors, settings.bounds, stop).await;
    supervisor.hears_stopping();
    reloading.abort();
    upkeep.stop(&gatekeeper, LAST_RECORDS).await;
    tracing::info!("stopped");
    Exit::Fine
}

/// What the process before this one has counted, and what operators have said to it since this one began to start.
async fn take(gatekeeper: &Gatekeeper, held: &[Held]) {
    take_over(gatekeeper, held);
    gatekeeper.control.restore_again().await;
    tracing::info!(counts = held.len(), "the counts of the process before this one are taken over");
}

async fn open_store(output: &Output, settings: &Settings, instance: Uuid) -> Result<Arc<dyn Store>, Exit> {
    let sealer = audit_key::sealer(settings, instance).await.map_err(|error| {
        output.problem(&error.to_string());
        Exit::Configuration
    })?;
    setup::open_sealing(&settings.database, sealer).await.map_err(|error| setup::failed(output, &error))
}

fn hangups() -> Option<Signal> {
    let hangups = signal(SignalKind::hangup());
    if hangups.is_err() {
        tracing::error!("SIGHUP cannot be heard: policies change at a restart only");
    }
    hangups.ok()
}

/// At SIGHUP everything is read again that can change while calls go on. What is wrong with it is in the log, and what was in force stays.
async fn reread_on_hangup(
    gatekeeper: Arc<Gatekeeper>,
    environment: Arc<Environment<'static>>,
    secrets: Arc<ArcSwap<Secrets>>,
    hangups: Option<Signal>,
) {
    let Some(mut hangup) = hangups else { return };
    let by = Actor::cause("SIGHUP");
    let mut known = Changeable::read(&environment).ok();
    while hangup.recv().await.is_some() {
        let read = Changeable::read(&environment);
        if let Ok(read) = &read {
            // Before the policies, which are compiled with them.
            take_secrets(&gatekeeper, &environment, &secrets, &read.secrets, &by).await;
        }
        // Its outcome is in the log already.
        let _told = gatekeeper.control.reload(&by).await;
        gatekeeper.locks.look_apart(Look::Asked, gatekeeper.pipeline.clock.now(), &gatekeeper.metrics).await;
        let read = match read {
            Ok(read) => read,
            Err(problems) => {
                problems.0.iter().for_each(|problem| tracing::error!("{problem}"));
                tracing::error!("the settings have problems: secrets, enforcement and log level stay as they are");
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

/// Those that are new in their files. Those that stand in the environment itself are as they were at the start.
async fn take_secrets(gatekeeper: &Gatekeeper, environment: &Environment<'_>, in_force: &ArcSwap<Secrets>, read: &Secrets, by: &Actor) {
    let changed = read.changed_from(&in_force.load());
    if !changed.is_empty() {
        in_force.store(Arc::new(read.clone()));
        gatekeeper.control.change_secrets(hashes(read), &changed, by).await;
        tracing::info!(changed = changed.join(" "), "secrets are read again and in force");
    }
    let fixed = Secrets::fixed(environment);
    if !fixed.is_empty() {
        tracing::info!(fixed = fixed.join(" "), "these are set directly: only a new process can have others");
    }
}

/// Says so at SIGTERM, and at SIGINT, which comes from somebody who waits. A second one ends the process at once.
fn told_to_stop() -> watch::Receiver<Stop> {
    let (stop, stopping) = watch::channel(Stop::NotYet);
    let (term, int) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()));
    tokio::spawn(async move {
        let (Ok(mut term), Ok(mut int)) = (term, int) else {
            tracing::error!("signals cannot be heard: only a kill will end this process");
            std::future::pending::<()>().await;
            return;
        };
        let told = tokio::select! {
            _ = term.recv() => Stop::Announced,
            _ = int.recv() => Stop::Unannounced,
        };
        tracing::info!("stopping: readiness fails, calls under way may end");
        stop.send_replace(told);
        tokio::select! {
            _ = term.recv() => {}
            _ = int.recv() => {}
        }
        tracing::warn!("told twice: stopping at once");
        std::process::exit(1);
    });
    stopping
}
