//! Promises: no call whose answer came whole is ever without its record, and none has two. Not when the gatekeeper is killed at any moment, not while
//! the database is away, not when the journal's disk decays. Where there is no room left, what policy chose happens: calls go on and it is
//! known how many have no record, or they are refused; either way it says so, and is over by itself.
//!
//! All of it through the program itself, with real databases, under load.

mod away;
mod damage;
mod full;
mod kills;
pub mod load;
pub mod rows;
mod sync;

use std::path::{Path, PathBuf};

use eliza_gatekeeper::clock::Clock;
use tempfile::TempDir;

use crate::support::house::{SERVICE_KEY, lay_policies};
use crate::support::program::{Program, Serving};
use crate::support::targets::Targets;
use crate::support::{Database, postgres};

/// What one gatekeeper after the other runs with: the same database, the same journals.
pub struct Site {
    pub program: Program,
    pub targets: Targets,
    pub database: String,
    pub folder: TempDir,
}

impl Site {
    pub async fn on(database: Database) -> Self {
        match database {
            Database::Sqlite => Self::with(None, &[]).await,
            Database::Postgres => Self::with(Some(postgres::database()), &[]).await,
        }
    }

    /// `service` is what `service.toml` says otherwise than as shipped.
    pub async fn with(database: Option<String>, service: &[(&str, &str)]) -> Self {
        Self::within(tempfile::tempdir().unwrap(), database, service).await
    }

    async fn within(folder: TempDir, database: Option<String>, service: &[(&str, &str)]) -> Self {
        let targets = Targets::like_the_platform().asking_for(SERVICE_KEY).start().await;
        let database = database.unwrap_or_else(|| format!("sqlite://{}", folder.path().join("calls.db").display()));
        // So that nothing but what is tested here refuses a call, and every call has a record of its own.
        let limits = include_str!("../../policies/limits.toml")
            .replace("00/1m\"", "00000/1m\"")
            .replace("stranger_records_per_minute = 100", "stranger_records_per_minute = 1000000");
        let service = service.iter().fold(include_str!("../../policies/service.toml").to_owned(), |text, (name, value)| {
            let start = format!("{name} = ");
            assert_eq!(text.lines().filter(|line| line.starts_with(&start)).count(), 1, "{name}");
            text.lines().map(|line| if line.starts_with(&start) { format!("{start}\"{value}\"\n") } else { format!("{line}\n") }).collect()
        });
        let own = [("limits.toml".to_owned(), limits), ("service.toml".to_owned(), service)];
        let policies = lay_policies(folder.path(), &own);
        let program = Program::new()
            .variable("DATABASE_URL", &database)
            .variable("SUPABASE_URL", &targets.origin())
            .variable("SUPABASE_SERVICE_ROLE_KEY", SERVICE_KEY)
            .variable("GATEKEEPER_POLICIES", &policies.display().to_string())
            .variable("GATEKEEPER_STATE", &folder.path().join("state").display().to_string());
        Self { program, targets, database, folder }
    }

    pub async fn serve(&self) -> Serving {
        self.program.serve().await
    }

    fn journals(&self) -> PathBuf {
        self.folder.path().join("state/journal")
    }
}

/// The segments of all journals there, those of the oldest first.
fn segments(journals: &Path) -> Vec<PathBuf> {
    let list = |folder: &Path| std::fs::read_dir(folder).into_iter().flatten().map(|file| file.unwrap().path()).collect::<Vec<_>>();
    let mut files: Vec<_> = list(journals).iter().flat_map(|folder| list(folder)).collect();
    files.retain(|file| file.extension().is_some_and(|end| end == "segment"));
    files.sort();
    files
}

/// A number to begin with, which a failed run can be given again.
#[expect(clippy::print_stdout, reason = "a run that fails prints it")]
fn seed() -> u64 {
    let seed = std::env::var("LEDGER_FAULTS_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = seed.unwrap_or_else(|| Clock::system().now().as_micros().unsigned_abs());
    println!("LEDGER_FAULTS_SEED={seed}");
    seed
}
