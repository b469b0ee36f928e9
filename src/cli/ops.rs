//! The client of a running gatekeeper: its admin API, as the commands use it.

use std::time::Duration;

use bytes::Bytes;
use clap::Args;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderValue, Method, Request, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use serde::Serialize;
use serde_json::Value;
use tokio::time::timeout;

use super::Exit;
use super::output::{Output, member};
use super::reach::{Link, Reach, Unclear};
use super::setup::operator;
use crate::settings::{Environment, Problems};

/// For what the gatekeeper knows at once.
pub const PATIENCE: Duration = Duration::from_secs(5);
/// For what it has to compile or judge first.
pub const LONG_PATIENCE: Duration = Duration::from_secs(30);
/// Longer than any answer of the admin API.
const MOST: usize = 64 * 1024 * 1024;

const TOKENS: [&str; 2] = ["GATEKEEPER_ADMIN_TOKEN", "ADMIN_TOKEN"];

/// Which gatekeeper a command talks to.
#[derive(Debug, Args)]
pub struct At {
    /// The gatekeeper's ops address, http:// or https://; else $GATEKEEPER_OPS_LISTEN.
    #[arg(long, value_name = "URL")]
    url: Option<String>,
}

impl At {
    pub fn is_given(&self) -> bool {
        self.url.is_some()
    }
}

/// Why a running gatekeeper did not do what it was asked for.
#[derive(Debug)]
pub enum OpsError {
    /// The address given is none.
    Misused(String),
    Misconfigured(String),
    NoToken,
    /// Nothing was sent: nobody took the connection.
    Unreachable {
        base: String,
        why: String,
    },
    /// What became of it is not known.
    NoAnswer {
        base: String,
        why: String,
    },
    Refused {
        status: StatusCode,
        body: Value,
    },
}

impl OpsError {
    /// Says what is wrong and what to do about it; a refusal's own JSON for machines.
    pub fn tell(&self, output: &Output) -> Exit {
        match self {
            Self::Misused(why) => {
                output.problem(why);
                Exit::Usage
            }
            Self::Misconfigured(_) | Self::NoToken => {
                output.problem(&self.words());
                Exit::Configuration
            }
            Self::Unreachable { .. } | Self::NoAnswer { .. } => {
                output.problem(&self.words());
                Exit::NotSo
            }
            Self::Refused { status, body } => {
                output.problem(&self.words());
                let problems = member(body, "problems").as_array().into_iter().flatten();
                problems.filter_map(Value::as_str).for_each(|problem| output.problem(problem));
                output.value(body);
                if *status == StatusCode::BAD_REQUEST { Exit::Usage } else { Exit::NotSo }
            }
        }
    }

    fn words(&self) -> String {
        match self {
            Self::Misused(why) | Self::Misconfigured(why) => why.clone(),
            Self::NoToken => "GATEKEEPER_ADMIN_TOKEN is not set: it must be the one that the gatekeeper was started with".into(),
            Self::Unreachable { base, why } => {
                format!("{base} cannot be reached ({why}): is a gatekeeper running, and is this its ops address?")
            }
            Self::NoAnswer { base, why } => format!("{base}: {why}"),
            Self::Refused { status, body } => match (*status, member(body, "code").as_str()) {
                (StatusCode::UNAUTHORIZED, _) => {
                    "the gatekeeper does not accept this token: GATEKEEPER_ADMIN_TOKEN must be the one that it was started with".into()
                }
                (StatusCode::FORBIDDEN, Some("admin_api_off")) => {
                    "the gatekeeper's admin API is off: start it with GATEKEEPER_ADMIN_TOKEN set".into()
                }
                (_, Some("no_such_address")) => "the gatekeeper knows no such address: is this its ops address?".into(),
                (status, _) => member(body, "message").as_str().map_or_else(|| format!("the gatekeeper answered {status}"), str::to_owned),
            },
        }
    }

    /// Whether the same could be done without a gatekeeper, and why it should be.
    pub fn way_around(&self) -> Option<String> {
        match self {
            Self::NoToken => Some("GATEKEEPER_ADMIN_TOKEN is not set".into()),
            Self::Unreachable { base, .. } => Some(format!("no gatekeeper answers at {base}")),
            Self::Misused(_) | Self::Misconfigured(_) | Self::NoAnswer { .. } | Self::Refused { .. } => None,
        }
    }
}

pub struct Ops {
    base: String,
    token: HeaderValue,
    actor: HeaderValue,
    client: Link,
}

impl Ops {
    /// Nothing is sent yet.
    pub fn new(at: &At, environment: &Environment<'_>) -> Result<Self, OpsError> {
        let reach = Reach::to(at.url.as_deref(), environment).map_err(|unclear| match unclear {
            Unclear::Given(why) => OpsError::Misused(why),
            Unclear::Environment(why) => OpsError::Misconfigured(why),
        })?;
        let (token, actor) = (token(environment)?, actor(environment));
        Ok(Self { base: reach.base.clone(), token, actor, client: reach.link(PATIENCE) })
    }

    pub fn base(&self) -> &str {
        &self.base
    }

    /// Whether a gatekeeper is there at all. Asked without the token, which is nobody else's business.
    pub async fn reach(&self) -> Result<(), OpsError> {
        let probe = Request::get(format!("{}/livez", self.base)).body(Full::default());
        let probe = probe.map_err(|error| OpsError::Misused(format!("'{}' is not an address: {error}", self.base)))?;
        let answer = timeout(PATIENCE, self.client.request(probe)).await;
        let why = match answer {
            Ok(Ok(answer)) if answer.status().is_success() => return Ok(()),
            Ok(Ok(answer)) => format!("whatever is there answers {}", answer.status()),
            Ok(Err(error)) => because(&error),
            Err(_) => "no answer in time".into(),
        };
        Err(OpsError::Unreachable { base: self.base.clone(), why })
    }

    pub async fn get(&self, path: &str, patience: Duration) -> Result<Value, OpsError> {
        self.ask(Method::GET, path, Bytes::new(), patience).await
    }

    pub async fn delete(&self, path: &str, patience: Duration) -> Result<Value, OpsError> {
        self.ask(Method::DELETE, path, Bytes::new(), patience).await
    }

    pub async fn send(&self, method: Method, path: &str, body: &impl Serialize, patience: Duration) -> Result<Value, OpsError> {
        let body = serde_json::to_vec(body).map_err(|error| OpsError::Misused(error.to_string()))?;
        self.ask(method, path, body.into(), patience).await
    }

    async fn ask(&self, method: Method, path: &str, body: Bytes, patience: Duration) -> Result<Value, OpsError> {
        let request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.base))
            .header(AUTHORIZATION, &self.token)
            .header(CONTENT_TYPE, "application/json")
            .header("x-actor", &self.actor)
            .body(Full::new(body))
            .map_err(|error| OpsError::Misused(format!("'{}{path}' is not an address: {error}", self.base)))?;
        let unknown = |why: String| OpsError::NoAnswer { base: self.base.clone(), why };
        let asked = async {
            let answer = self.client.request(request).await.map_err(|error| match error.is_connect() {
                true => OpsError::Unreachable { base: self.base.clone(), why: because(&error) },
                false => unknown(because(&error)),
            })?;
            let status = answer.status();
            let body = Limited::new(answer.into_body(), MOST).collect().await.map_err(|error| unknown(error.to_string()))?.to_bytes();
            let body = match body.is_empty() {
                true => Value::Null,
                false => serde_json::from_slice(&body)
                    .map_err(|_| unknown(format!("the answer ({status}) is not JSON: is this a gatekeeper's ops address?")))?,
            };
            if status.is_success() { Ok(body) } else { Err(OpsError::Refused { status, body }) }
        };
        timeout(patience, asked).await.unwrap_or_else(|_| {
            Err(unknown(format!("no answer within {} seconds; it may have been done all the same", patience.as_secs())))
        })
    }
}

/// The innermost reason: "Connection refused" says more than "client error".
fn because(error: &dyn std::error::Error) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}

fn token(environment: &Environment<'_>) -> Result<HeaderValue, OpsError> {
    let mut problems = Problems::default();
    let found = TOKENS.into_iter().find_map(|name| Some((name, environment.value(&mut problems, name)?)));
    if let Some(problem) = problems.0.first() {
        return Err(OpsError::Misconfigured(problem.to_string()));
    }
    let (name, token) = found.ok_or(OpsError::NoToken)?;
    let mut header = HeaderValue::try_from(format!("Bearer {token}"))
        .map_err(|_| OpsError::Misconfigured(format!("{name} must be printable ASCII: it travels in a header")))?;
    header.set_sensitive(true);
    Ok(header)
}

fn actor(environment: &Environment<'_>) -> HeaderValue {
    let plain: String = operator(environment).chars().map(|c| if c.is_ascii_graphic() || c == ' ' { c } else { '?' }).collect();
    HeaderValue::try_from(plain).unwrap_or_else(|_| HeaderValue::from_static("?"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(variables: &'static [(&'static str, &'static str)]) -> Environment<'static> {
        Environment::from_lookup(move |name| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned()))
    }

    fn at(url: Option<&str>) -> At {
        At { url: url.map(str::to_owned) }
    }

    #[test]
    fn the_address_is_the_one_given_or_the_environments() {
        const TOKEN: (&str, &str) = ("ADMIN_TOKEN", "t");
        let base = |url: Option<&str>, environment: Environment<'_>| Ops::new(&at(url), &environment).map(|ops| ops.base);
        assert_eq!(base(None, environment(&[TOKEN])).unwrap(), "http://127.0.0.1:9090");
        assert_eq!(base(None, environment(&[TOKEN, ("GATEKEEPER_OPS_LISTEN", "0.0.0.0:9")])).unwrap(), "http://127.0.0.1:9");
        assert_eq!(base(None, environment(&[TOKEN, ("GATEKEEPER_OPS_LISTEN", "[::]:9")])).unwrap(), "http://[::1]:9");
        assert_eq!(base(Some("http://ops.internal:9/"), environment(&[TOKEN])).unwrap(), "http://ops.internal:9");
        assert_eq!(base(Some("https://ops.internal:9"), environment(&[TOKEN])).unwrap(), "https://ops.internal:9");
        for wrong in ["ops.internal:9", "ftp://ops.internal", "http://", "not an address"] {
            assert!(matches!(base(Some(wrong), environment(&[TOKEN])), Err(OpsError::Misused(_))), "{wrong}");
        }
        assert!(matches!(base(None, environment(&[TOKEN, ("GATEKEEPER_OPS_LISTEN", "ops")])), Err(OpsError::Misconfigured(_))));
    }

    #[test]
    fn the_token_is_asked_for_by_name_and_never_shown() {
        let token = |environment: Environment<'_>| Ops::new(&at(None), &environment).map(|ops| ops.token);
        assert!(matches!(token(environment(&[])), Err(OpsError::NoToken)));
        let both = token(environment(&[("ADMIN_TOKEN", "second"), ("GATEKEEPER_ADMIN_TOKEN", "first")])).unwrap();
        assert_eq!((both.to_str().unwrap(), format!("{both:?}").contains("first")), ("Bearer first", false));
        assert!(matches!(token(environment(&[("ADMIN_TOKEN", "a\nb")])), Err(OpsError::Misconfigured(_))));
        assert!(matches!(token(environment(&[("ADMIN_TOKEN_FILE", "/nowhere")])), Err(OpsError::Misconfigured(_))));
    }

    #[test]
    fn who_asks_is_said_in_plain_ascii() {
        let said = |user: &'static [(&'static str, &'static str)]| actor(&environment(user)).to_str().unwrap().to_owned();
        assert!(said(&[("USER", "alice")]).starts_with("alice@"));
        assert!(said(&[("LOGNAME", "zo\u{eb} b")]).starts_with("zo? b@"));
        assert!(said(&[]).starts_with("uid "));
    }
}
