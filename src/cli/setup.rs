//! What several commands need before they can begin: settings, policies, the store.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;

use super::Exit;
use super::output::Output;
use crate::control::PolicySource;
use crate::policy::Policy;
use crate::policy::load::{CredentialInputs, Origin, load};
use crate::policy::problems::Problems;
use crate::seal::Sealer;
use crate::settings::{DatabaseSettings, Environment, LogSettings, Secrets};
use crate::store::{self, OpenOptions, Store, StoreError};
use crate::telemetry::logging::Log;

/// Where policies are found: the argument, the variable, the working directory, the shipped ones.
pub fn origin(argument: Option<PathBuf>, settings: Option<&Path>) -> Origin {
    let here = PathBuf::from("policies");
    match argument.or_else(|| settings.map(Path::to_path_buf)) {
        Some(directory) => Origin::Directory(directory),
        None if here.is_dir() => Origin::Directory(here),
        None => Origin::Shipped,
    }
}

/// The policies of `serve`, to be compiled with whatever secrets are in force by then.
pub fn policies(origin: Origin, environment: &Arc<Environment<'static>>, secrets: &Arc<ArcSwap<Secrets>>) -> PolicySource {
    let (environment, secrets, from) = (Arc::clone(environment), Arc::clone(secrets), origin.clone());
    PolicySource::new(origin, Arc::new(move || policy(&from, &environment, &secrets.load())))
}

/// Policies, compiled with these secrets.
pub fn policy(origin: &Origin, environment: &Environment<'_>, secrets: &Secrets) -> Result<Policy, Vec<String>> {
    let credentials = CredentialInputs { service_role: secrets.service_role_key.clone() };
    load(origin, &|name| environment.variable(name), &credentials)
        .map_err(|problems| problems.as_slice().iter().map(ToString::to_string).collect())
}

/// The policies as a command finds them, whatever else of the environment is there.
pub fn local_policy(environment: &Environment<'_>, argument: Option<PathBuf>) -> (Origin, Result<Policy, Problems>) {
    let directory = environment.variable("GATEKEEPER_POLICIES").map(PathBuf::from);
    let origin = origin(argument, directory.as_deref());
    let credentials = CredentialInputs { service_role: environment.secret_variable("SUPABASE_SERVICE_ROLE_KEY") };
    let policy = load(&origin, &|name| environment.variable(name), &credentials);
    (origin, policy)
}

pub fn start_log(settings: &LogSettings) -> Log {
    Log::start(settings.level, settings.format)
}

/// The store as a command needs it: there, and with its schema complete.
pub async fn ready_store(output: &Output) -> Result<Arc<dyn Store>, Exit> {
    let store = any_store(output).await?;
    match store.migrations().await {
        Ok(migrations) if migrations.iter().all(|migration| migration.applied) => Ok(store),
        Ok(_) => {
            output.problem("the database is not prepared: run `gatekeeper db deploy` first");
            Err(Exit::NotSo)
        }
        Err(error) => Err(failed(output, &error)),
    }
}

/// The store as it is.
pub async fn any_store(output: &Output) -> Result<Arc<dyn Store>, Exit> {
    let environment = Environment::process();
    let settings = DatabaseSettings::read(&environment).map_err(|problems| {
        output.problems(&problems.0);
        Exit::Configuration
    })?;
    open(&settings).await.map_err(|error| failed(output, &error))
}

pub async fn open(settings: &DatabaseSettings) -> Result<Arc<dyn Store>, StoreError> {
    store::open(settings.url.reveal(), options(settings)).await
}

/// The store of a gatekeeper, which seals what is audited.
pub async fn open_sealing(settings: &DatabaseSettings, sealer: Sealer) -> Result<Arc<dyn Store>, StoreError> {
    store::open_sealing(settings.url.reveal(), options(settings), sealer).await
}

fn options(settings: &DatabaseSettings) -> OpenOptions {
    OpenOptions { pool_size: settings.pool_size, max_overflow: settings.max_overflow }
}

pub fn failed(output: &Output, error: &StoreError) -> Exit {
    output.problem(&error.to_string());
    Exit::NotSo
}

/// Who is at the terminal, for the audit: as far as the machine knows.
pub fn operator(environment: &Environment<'_>) -> String {
    let user = ["USER", "LOGNAME"].into_iter().find_map(|name| environment.variable(name));
    let user = user.or_else(|| Some(format!("uid {}", std::fs::metadata("/proc/self").ok()?.uid())));
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").ok().map(|name| name.trim().to_owned());
    let host = host.filter(|name| !name.is_empty()).or_else(|| environment.variable("HOSTNAME"));
    format!("{}@{}", user.as_deref().unwrap_or("somebody"), host.as_deref().unwrap_or("somewhere"))
}
