//! `log-level`: how much a running gatekeeper logs.

use clap::Args;
use http::Method;
use serde_json::{Value, json};

use super::Exit;
use super::ops::{At, Ops, OpsError, PATIENCE};
use super::output::{Output, member, plain};
use crate::settings::Environment;
use crate::telemetry::logging::Level;

const PATH: &str = "/api/admin/log-level";

#[derive(Debug, Args)]
pub struct Options {
    /// trace, debug, info, warn or error; without one, the level in force is shown.
    #[arg(value_parser = level)]
    level: Option<Level>,
    #[command(flatten)]
    at: At,
}

pub async fn run(output: &Output, options: Options) -> Exit {
    match ask(&options).await {
        Ok(answer) => {
            output.say(&plain(member(&answer, "level")));
            output.value(&answer);
            Exit::Fine
        }
        Err(error) => error.tell(output),
    }
}

async fn ask(options: &Options) -> Result<Value, OpsError> {
    let ops = Ops::new(&options.at, &Environment::process())?;
    match &options.level {
        Some(level) => ops.send(Method::PUT, PATH, &json!({ "level": level.as_str() }), PATIENCE).await,
        None => ops.get(PATH, PATIENCE).await,
    }
}

fn level(text: &str) -> Result<Level, &'static str> {
    Level::parse(text).ok_or(Level::WORDS)
}
