//! The commands, one file each. Every one prints a table for people or, with `--json`, JSON for machines, and ends with one of
//! four exit codes.

mod arguments;
mod audit;
mod audit_key;
mod block;
mod bypass;
mod calls;
mod check;
mod db;
mod demo;
mod demo_targets;
mod enforce;
mod entries;
mod explain;
mod fixes;
mod flags;
mod health;
mod inspect;
mod keys;
mod limits;
mod log_level;
mod openapi;
mod ops;
mod output;
mod policy;
mod reach;
mod retention;
mod serve;
mod setup;
mod verify;
mod way;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::server::Inherited;
use output::Output;

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    Fine,
    /// The check failed, or the thing asked for is not so.
    NotSo,
    Usage,
    Configuration,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(match exit {
            Exit::Fine => 0,
            Exit::NotSo => 1,
            Exit::Usage => 2,
            Exit::Configuration => 78,
        })
    }
}

#[derive(Debug, Parser)]
#[command(
    name = "gatekeeper",
    version,
    about = "The gatekeeper between AI agents: checks who calls, limits them, stops dangerous SQL, routes, records."
)]
struct Arguments {
    /// Print JSON instead of tables.
    #[arg(long, global = true, display_order = 900)]
    json: bool,
    /// The directory of policies; else $GATEKEEPER_POLICIES, else ./policies, else the shipped ones.
    #[arg(long, global = true, display_order = 900, value_name = "DIR")]
    policies: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the gatekeeper.
    Serve(serve::Options),
    /// Run with a throw-away key and built-in targets on loopback, for a first look.
    Demo(demo::Options),
    /// Validate environment and policies; print every problem at once.
    Check,
    /// Judge SQL: one text for people, or a stream of JSON lines.
    ///
    /// Without a text, each line of standard input is an object, `{"id": …, "text": "…", "as": "sql"|"string"}` or
    /// `{"id": …, "envelope": {…}}`, and gets a line of standard output, in order, with --json and without:
    /// `{"id": …, "verdict": "allow"|"deny", "findings": […]}`. Any other line gets `{"line": …, "error": "…"}`, and the stream goes on.
    ///
    /// Exit codes of a stream: 0, whatever the verdicts are; 1 if a line was wrong; 78 if the policies are. Of one text: 0 allowed, 1 denied.
    Inspect(inspect::Options),
    /// The keys that callers show.
    #[command(subcommand)]
    Keys(keys::Command),
    /// What sources have used of their limits.
    #[command(subcommand)]
    Limits(limits::Command),
    /// The calls that were recorded.
    #[command(subcommand)]
    Calls(calls::Command),
    /// The database's schema.
    #[command(subcommand)]
    Db(db::Command),
    /// Rows that policy keeps no longer.
    #[command(subcommand)]
    Retention(retention::Command),
    /// Ask a running gatekeeper how it is.
    Health(health::Options),
    /// Whether the gates' denials stand, in a running gatekeeper.
    #[command(subcommand)]
    Enforce(enforce::Command),
    /// What is allowed: the files, and what is in force.
    #[command(subcommand)]
    Policy(policy::Command),
    /// What would become of a call, gate by gate, without making it.
    Explain(explain::Options),
    /// Switch targets and gates off and on.
    #[command(subcommand)]
    Flags(flags::Command),
    /// Keep networks and sources out.
    #[command(subcommand)]
    Block(block::Command),
    /// Calls made without the gatekeeper: write them down, look at them.
    #[command(subcommand)]
    Bypass(bypass::Command),
    /// Automatic fixes that failed: look at them.
    #[command(subcommand)]
    Fixes(fixes::Command),
    /// Show or set how much a running gatekeeper logs.
    LogLevel(log_level::Options),
    /// What operators have changed: who, when, why.
    Audit(audit::Options),
    /// Print the description of the ops listener: OpenAPI 3.1.
    Openapi,
}

/// The whole program.
pub fn main() -> ExitCode {
    let command = Arguments::command().after_help(crate::settings::table::help());
    let arguments = match command.try_get_matches().and_then(|matches| Arguments::from_arg_matches(&matches)) {
        Ok(arguments) => arguments,
        Err(error) => {
            // Help asked for is no error; a stream that is closed cannot be complained to.
            let _closed = error.print();
            return if error.use_stderr() { Exit::Usage.into() } else { Exit::Fine.into() };
        }
    };
    // Before there are other threads.
    let inherited = if matches!(arguments.command, Command::Serve(_)) { Inherited::take() } else { Inherited::none() };
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            Output::new(false).problem(&format!("the runtime cannot start: {error}"));
            return Exit::NotSo.into();
        }
    };
    runtime.block_on(run(arguments, inherited)).into()
}

async fn run(arguments: Arguments, inherited: Inherited) -> Exit {
    let output = Output::new(arguments.json);
    let policies = arguments.policies;
    match arguments.command {
        Command::Serve(options) => serve::run(&output, policies, &options, inherited).await,
        Command::Demo(options) => demo::run(&output, policies, options).await,
        Command::Check => check::run(&output, policies),
        Command::Inspect(options) => inspect::run(&output, policies, options),
        Command::Keys(command) => keys::run(&output, command).await,
        Command::Limits(command) => limits::run(&output, command).await,
        Command::Calls(command) => calls::run(&output, policies, command).await,
        Command::Db(command) => db::run(&output, command).await,
        Command::Retention(command) => retention::run(&output, policies, command).await,
        Command::Health(options) => health::run(&output, options).await,
        Command::Enforce(command) => enforce::run(&output, command).await,
        Command::Policy(command) => policy::run(&output, policies, command).await,
        Command::Explain(options) => explain::run(&output, options).await,
        Command::Flags(command) => flags::run(&output, command).await,
        Command::Block(command) => block::run(&output, command).await,
        Command::Bypass(command) => bypass::run(&output, command).await,
        Command::Fixes(command) => fixes::run(&output, command).await,
        Command::LogLevel(options) => log_level::run(&output, options).await,
        Command::Audit(options) => audit::run(&output, options).await,
        Command::Openapi => openapi::run(&output),
    }
}
