//! What handlers take of a request: its body, its query, the parts of its address, and who asks. Each is read strictly, and what is
//! wrong is said by name.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{FromRequest, FromRequestParts, Path, Request};
use http::request::Parts;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use utoipa::IntoParams;
use utoipa::openapi::path::{Parameter, ParameterBuilder, ParameterIn};
use utoipa::openapi::{ObjectBuilder, Required, Type};

use super::members::{self, Member};
use super::refused::Refused;
use crate::audit::Actor;
use crate::call::envelope::{decode, invalid_json};
use crate::doors::Arrival;
use crate::gatekeeper::Gatekeeper;
use crate::intake::{MEMORY_UNIT, Taken, read_body, see_off};
use crate::verdict::Failure;

const LARGEST: usize = 1 << 20;
/// What may stand beside an envelope.
const BESIDE: usize = 64 << 10;
const IN_TIME: Duration = Duration::from_secs(30);
/// What all bodies under way here may take together: a share of its own, so that operators are heard when callers have filled theirs.
const MEMORY: usize = 64 << 20;
const ACTOR: &str = "X-Actor";

/// The memory for bodies, carried by every request.
#[derive(Clone)]
pub struct Memory(Arc<Semaphore>);

impl Default for Memory {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(MEMORY / MEMORY_UNIT)))
    }
}

/// A JSON body, whatever its content type says: `curl -d` says it is a form.
pub struct Json<T> {
    pub value: T,
    _memory: Option<OwnedSemaphorePermit>,
}

impl<T: DeserializeOwned> FromRequest<Arc<Gatekeeper>> for Json<T> {
    type Rejection = Refused;

    async fn from_request(request: Request, _: &Arc<Gatekeeper>) -> Result<Self, Refused> {
        read_json(request, LARGEST).await
    }
}

/// The same with an envelope in it, which may be as long as callers' may.
pub struct WithEnvelope<T>(pub Json<T>);

impl<T: DeserializeOwned> FromRequest<Arc<Gatekeeper>> for WithEnvelope<T> {
    type Rejection = Refused;

    async fn from_request(request: Request, gatekeeper: &Arc<Gatekeeper>) -> Result<Self, Refused> {
        let envelope = gatekeeper.pipeline.live.current().policy.body.max_bytes;
        read_json(request, envelope.saturating_add(BESIDE)).await.map(Self)
    }
}

async fn read_json<T: DeserializeOwned>(request: Request, largest: usize) -> Result<Json<T>, Refused> {
    let (parts, mut body) = request.into_parts();
    let memory = parts.extensions.get::<Memory>().ok_or(Failure::Internal)?;
    let Taken { bytes, memory, .. } = match read_body(&parts.headers, &mut body, largest, IN_TIME, &memory.0).await {
        Ok(taken) => taken,
        Err(failure) => {
            see_off(body);
            return Err(failure.into());
        }
    };
    let members = members::of_json(decode(&bytes)?).map_err(|error| invalid_json(&error))?;
    let members = members.ok_or_else(|| Refused::Invalid("The body must be a JSON object".into()))?;
    Ok(Json { value: members::read(members).map_err(Refused::Invalid)?, _memory: memory })
}

/// The query.
pub struct Query<T>(pub T);

impl<T: DeserializeOwned, S: Sync> FromRequestParts<S> for Query<T> {
    type Rejection = Refused;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Refused> {
        let query = parts.uri.query().unwrap_or_default();
        let members = form_urlencoded::parse(query.as_bytes()).map(|(name, value)| (name, Member::Text(value))).collect();
        members::read(members).map(Self).map_err(Refused::Invalid)
    }
}

/// For addresses that take no query.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Nothing {}

/// The parts of the address that stand for something.
pub struct Part<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Part<T> {
    type Rejection = Refused;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refused> {
        let unreadable = |_| Refused::Invalid("The address must be UTF-8".into());
        let Path(named) = Path::<BTreeMap<String, String>>::from_request_parts(parts, state).await.map_err(unreadable)?;
        let members = named.into_iter().map(|(name, value)| (Cow::Owned(name), Member::Text(Cow::Owned(value)))).collect();
        members::read(members).map(Self).map_err(Refused::Invalid)
    }
}

/// Who makes a change: the name in `X-Actor`, made fit to be kept, and where the request comes from.
pub struct By(pub Actor);

impl<S: Sync> FromRequestParts<S> for By {
    type Rejection = Refused;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Refused> {
        let arrival = parts.extensions.get::<Arrival>().ok_or(Failure::Internal)?;
        let name = parts.headers.get(ACTOR).map(|name| String::from_utf8_lossy(name.as_bytes()));
        Ok(Self(Actor::admin(name.as_deref(), arrival.peer)))
    }
}

impl IntoParams for By {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        let name = ObjectBuilder::new().schema_type(Type::String).examples(["alice@laptop"]);
        let header = ParameterBuilder::new().name(ACTOR).parameter_in(ParameterIn::Header).required(Required::False);
        vec![header.description(Some("Who makes the change, for the audit.")).schema(Some(name)).build()]
    }
}
