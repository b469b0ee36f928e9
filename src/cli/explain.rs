//! `explain`: what the running gatekeeper would make of a call, gate by gate, without making it.

use std::fs::File;
use std::io::Read;
use std::net::IpAddr;

use clap::Args;
use http::Method;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::Exit;
use super::ops::{At, LONG_PATIENCE, Ops, OpsError};
use super::output::{Output, member, plain};
use crate::settings::Environment;

const PATH: &str = "/api/admin/explain";
/// No policy lets larger bodies in.
const MOST: u64 = 1 << 30;

#[derive(Debug, Args)]
pub struct Options {
    /// Who would call.
    #[arg(long, required_unless_present_any = ["service_role", "certificate"])]
    source: Option<String>,
    /// Whom it would call.
    #[arg(long)]
    target: String,
    /// What it would ask for.
    #[arg(long)]
    action: Option<String>,
    /// A file with the payload, or with the whole envelope if its `target` is the one given; `-` is standard input.
    #[arg(long, value_name = "FILE")]
    body: Option<String>,
    /// It would call /functions/v1/TARGET itself, with this method and the payload for a body.
    #[arg(long, value_name = "METHOD", conflicts_with_all = ["action", "operation"])]
    method: Option<String>,
    /// What would stand behind the target in that address: a path, a query, or both.
    #[arg(long, value_name = "PATH?QUERY", requires = "method")]
    rest: Option<String>,
    /// SQL beside the payload.
    #[arg(long, value_name = "SQL")]
    operation: Option<String>,
    /// The key it would show, by its id in `keys list`; else the environment's.
    #[arg(long, value_name = "ID")]
    key: Option<String>,
    /// What its certificate would say, as policy names certificates; without --key, it would show no key beside it.
    #[arg(long, value_name = "NAME")]
    certificate: Option<String>,
    /// It would show the service role key.
    #[arg(long, conflicts_with = "key")]
    service_role: bool,
    /// Where it would come from.
    #[arg(long, value_name = "IP")]
    network: Option<IpAddr>,
    #[command(flatten)]
    at: At,
}

/// As the admin API takes it. The body's own bytes go as they are: what stands twice or too large in it is judged too.
#[derive(Serialize)]
struct Question<'a> {
    source: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    target: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    action: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    payload: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    operation: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    method: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rest: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    envelope: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    certificate: Option<&'a str>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    service_role: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    network: Option<IpAddr>,
}

pub async fn run(output: &Output, options: Options) -> Exit {
    let body = match options.body.as_deref().map(read).transpose() {
        Ok(body) => body,
        Err(why) => {
            output.problem(&why);
            return Exit::Usage;
        }
    };
    let is_envelope = options.method.is_none() && body.as_deref().is_some_and(|body| names(body, &options.target));
    if is_envelope && (options.action.is_some() || options.operation.is_some()) {
        output.problem("the body is a whole envelope, which says itself what --action and --operation would");
        return Exit::Usage;
    }
    match ask(&options, body.as_deref(), is_envelope).await {
        Ok(answer) => show(output, &answer),
        Err(error) => error.tell(output),
    }
}

async fn ask(options: &Options, body: Option<&RawValue>, is_envelope: bool) -> Result<Value, OpsError> {
    let question = Question {
        source: options.source.as_deref(),
        target: (!is_envelope).then_some(&options.target),
        action: options.action.as_deref(),
        payload: body.filter(|_| !is_envelope),
        operation: options.operation.as_deref(),
        method: options.method.as_deref(),
        rest: options.rest.as_deref(),
        envelope: body.filter(|_| is_envelope),
        key: options.key.as_deref(),
        certificate: options.certificate.as_deref(),
        service_role: options.service_role,
        network: options.network,
    };
    Ops::new(&options.at, &Environment::process())?.send(Method::POST, PATH, &question, LONG_PATIENCE).await
}

fn read(name: &str) -> Result<Box<RawValue>, String> {
    let mut text = String::new();
    let done = match name {
        "-" => std::io::stdin().take(MOST).read_to_string(&mut text),
        _ => File::open(name).and_then(|file| file.take(MOST).read_to_string(&mut text)),
    };
    done.map_err(|error| format!("{name} cannot be read: {error}"))?;
    serde_json::from_str(&text).map_err(|error| format!("{name} is not JSON: {error}"))
}

/// Whether this is an envelope to that target.
fn names(body: &RawValue, target: &str) -> bool {
    #[derive(Deserialize)]
    struct Envelope {
        target: Value,
    }
    serde_json::from_str::<Envelope>(body.get()).is_ok_and(|envelope| envelope.target == target)
}

fn show(output: &Output, answer: &Value) -> Exit {
    steps(output, member(answer, "steps"));
    let forwarded = member(answer, "would") == "forward";
    output.say("");
    if *member(answer, "enforced") == json!(false) {
        output.say("enforcement is not on for every gate: see `gatekeeper enforce status`");
    }
    output.say(&match forwarded {
        true => "it would be forwarded".to_owned(),
        false => format!(
            "it would be refused: {} {}: {}",
            plain(member(answer, "status")),
            plain(member(answer, "code")),
            plain(member(answer, "message"))
        ),
    });
    output.value(answer);
    if forwarded { Exit::Fine } else { Exit::NotSo }
}

/// Every gate: what it saw, what it decided, and what made it so.
pub fn steps(output: &Output, steps: &Value) {
    output.list(&[("gate", "gate"), ("decision", "decision"), ("saw", "saw"), ("why", "why"), ("policy", "policy")], steps);
}
