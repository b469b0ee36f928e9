//! `health`: asks a running gatekeeper how it is, as a monitor would.

use std::time::Duration;

use bytes::Bytes;
use clap::Args;
use http_body_util::{BodyExt, Empty, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;
use tokio::time::timeout;

use super::Exit;
use super::ops::environment_url;
use super::output::Output;
use crate::settings::Environment;

const PATIENCE: Duration = Duration::from_secs(5);
const MOST: usize = 1024 * 1024;

#[derive(Debug, Args)]
pub struct Options {
    /// The gatekeeper's ops address, over plain http; else $GATEKEEPER_OPS_LISTEN.
    #[arg(long, value_name = "URL")]
    url: Option<String>,
}

pub async fn run(output: &Output, options: Options) -> Exit {
    let base = match options.url {
        Some(url) => url,
        None => match environment_url(&Environment::process()) {
            Ok(url) => url,
            Err(why) => {
                output.problem(&why);
                return Exit::Configuration;
            }
        },
    };
    let base = base.trim_end_matches('/').to_owned();
    let uri = match format!("{base}/health").parse::<http::Uri>() {
        Ok(uri) if uri.scheme_str() == Some("http") && uri.host().is_some() => uri,
        _ => {
            output.problem(&format!("'{base}' is not an address such as http://127.0.0.1:9090"));
            return Exit::Usage;
        }
    };
    let asked = timeout(PATIENCE, ask(uri)).await.unwrap_or_else(|_| Err("no answer in time".into()));
    match asked {
        Ok((healthy, body)) => {
            if let Value::Object(members) = &body {
                let rows: Vec<_> = members.iter().map(|(name, value)| vec![name.clone(), value.to_string()]).collect();
                output.table(&["what", "value"], &rows);
            }
            output.value(&body);
            if healthy { Exit::Fine } else { Exit::NotSo }
        }
        Err(why) => {
            output.problem(&format!("offline: {base}: {why}"));
            output.value(&serde_json::json!({ "status": "offline" }));
            Exit::NotSo
        }
    }
}

async fn ask(uri: http::Uri) -> Result<(bool, Value), String> {
    let client: Client<HttpConnector, Empty<Bytes>> = Client::builder(TokioExecutor::new()).build_http();
    let answer = client.get(uri).await.map_err(|error| error.to_string())?;
    let healthy = answer.status().is_success();
    let body = Limited::new(answer.into_body(), MOST).collect().await.map_err(|error| error.to_string())?.to_bytes();
    let body = serde_json::from_slice(&body).map_err(|_| "the answer is not JSON: is this a gatekeeper?".to_owned())?;
    Ok((healthy, body))
}
