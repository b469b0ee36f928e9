//! What would become of a call, without making it.

use std::fmt;
use std::sync::Arc;

use axum::extract::{Extension, State};
use bytes::Bytes;
use http::Method;
use serde::de::{self, Deserializer, Visitor};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::refused::Refused;
use super::request::{Json, Nothing, Query, WithEnvelope};
use super::said::{Answer, Said};
use super::words::{Address, Certificate, Gate, Name};
use crate::call::DIRECT;
use crate::doors::Arrival;
use crate::gatekeeper::Gatekeeper;
use crate::gates::authenticate::Assumed;
use crate::identity::{CertificateName, KeyId};
use crate::pipeline::{Asked, Decision, Explanation, Question, Step};

/// The key that the environment gives.
const USUAL_KEY: &str = "env:current";

/// A call that is not made: its envelope, either in parts or whole, and what is to be assumed of whoever makes it.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CallToExplain {
    /// Who calls; null for somebody who shows nothing.
    source: Option<Name>,
    /// Needed unless there is an `envelope`.
    #[schema(value_type = Value, required = false)]
    target: Option<AnyJson>,
    #[schema(value_type = Value, required = false)]
    action: Option<AnyJson>,
    #[schema(value_type = Value, required = false)]
    payload: Option<AnyJson>,
    #[schema(value_type = Value, required = false)]
    operation: Option<AnyJson>,
    /// Of a call to `/functions/v1/{target}` itself: its method. Its body is the `payload`.
    method: Option<Name>,
    /// What stands behind the target in the address of such a call: a path, a query, or both.
    rest: Option<String>,
    /// The whole body of the call, instead of the parts above.
    #[schema(value_type = Value, required = false)]
    envelope: Option<AnyJson>,
    /// The id of the key that the source shows; the environment's without it.
    key: Option<Name>,
    /// What a certificate of its connection says, as policy names certificates; without `key`, nothing is shown beside it.
    certificate: Option<Certificate>,
    /// It shows the platform's service role key instead.
    service_role: Option<bool>,
    /// Where it calls from; without it, where this request comes from.
    network: Option<Address>,
}

#[derive(Serialize, ToSchema)]
pub struct Explained {
    would: Would,
    /// What the caller would be answered, if it would be refused.
    #[schema(minimum = 400, maximum = 599)]
    status: Option<u16>,
    code: Option<String>,
    message: Option<String>,
    /// Whether the denials of every gate stand.
    enforced: bool,
    /// Every gate, in the order a call meets them.
    steps: Vec<StepView>,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum Would {
    Forward,
    Refuse,
}

/// What one gate makes of a call.
#[derive(Serialize, ToSchema)]
#[schema(as = Step)]
pub struct StepView {
    gate: Gate,
    decision: DecisionView,
    saw: String,
    why: String,
    /// Where what decided is written down.
    policy: Option<String>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = Decision)]
#[serde(rename_all = "snake_case")]
enum DecisionView {
    Allow,
    Deny,
    /// Denied, but the gate only observes.
    WouldDeny,
    /// The gate asks somebody else, who was not asked.
    NotAsked,
    NotReached,
}

impl From<Step> for StepView {
    fn from(step: Step) -> Self {
        let decision = match step.decision {
            Decision::Allow => DecisionView::Allow,
            Decision::Deny => DecisionView::Deny,
            Decision::WouldDeny => DecisionView::WouldDeny,
            Decision::NotAsked => DecisionView::NotAsked,
            Decision::NotReached => DecisionView::NotReached,
        };
        let Step { gate, saw, why, place, .. } = step;
        Self { gate: Gate(gate), decision, saw, why, policy: place.map(|place| place.to_string()) }
    }
}

impl From<Explanation> for Explained {
    fn from(explanation: Explanation) -> Self {
        Self {
            would: if explanation.refusal.is_some() { Would::Refuse } else { Would::Forward },
            status: explanation.status(),
            code: explanation.code().map(str::to_owned),
            message: explanation.message(),
            enforced: explanation.enforced,
            steps: explanation.steps.into_iter().map(StepView::from).collect(),
        }
    }
}

/// What would become of a call, gate by gate. Nothing is counted, kept, sent or asked.
#[utoipa::path(
    post, path = "/api/admin/explain", operation_id = "explainCall", tag = "calls", request_body = CallToExplain,
    responses((status = 200, description = "What would become of it.", body = Explained))
)]
pub async fn explain(
    State(gatekeeper): State<Arc<Gatekeeper>>,
    Extension(arrival): Extension<Arrival>,
    _: Query<Nothing>,
    WithEnvelope(Json { value: call, .. }): WithEnvelope<CallToExplain>,
) -> Said<Explained> {
    let question = Question {
        assumed: call.assumed()?,
        certificate: call.certificate()?,
        peer: call.network.map_or(arrival.peer, |network| network.0),
        call: call.asked()?,
        source: call.source.map(|source| source.0.into()),
    };
    Ok(Answer::Ok(gatekeeper.pipeline.explain(question).await.into()))
}

/// JSON of any kind, kept as it came.
#[derive(Clone, Debug)]
struct AnyJson(String);

impl<'de> Deserialize<'de> for AnyJson {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct AsItCame;
        impl Visitor<'_> for AsItCame {
            type Value = AnyJson;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("JSON")
            }

            fn visit_bytes<E: de::Error>(self, json: &[u8]) -> Result<AnyJson, E> {
                String::from_utf8(json.to_vec()).map(AnyJson).map_err(|_| E::custom("must be UTF-8"))
            }
        }
        deserializer.deserialize_bytes(AsItCame)
    }
}

impl CallToExplain {
    fn assumed(&self) -> Result<Assumed, Refused> {
        if self.certificate.is_some() && self.key.is_none() && !self.service_role.unwrap_or(false) {
            return Ok(Assumed::Certificate);
        }
        match (self.service_role.unwrap_or(false), &self.key, &self.source) {
            (true, Some(_), _) => Err(Refused::Invalid("\"key\" and \"service_role\" exclude each other".into())),
            (true, None, _) => Ok(Assumed::ServiceRole),
            (false, Some(key), _) => Ok(Assumed::Key(KeyId::new(&key.0))),
            (false, None, Some(_)) => Ok(Assumed::Key(KeyId::new(USUAL_KEY))),
            (false, None, None) => Ok(Assumed::Nothing),
        }
    }

    fn asked(&self) -> Result<Asked, Refused> {
        let Some(method) = &self.method else {
            return match self.rest {
                Some(_) => Err(Refused::Invalid("\"rest\" is for calls with a \"method\"".into())),
                None => self.body().map(Asked::Envelope),
            };
        };
        if self.envelope.is_some() || self.action.is_some() || self.operation.is_some() {
            return Err(Refused::Invalid("a call with a \"method\" has a target and a payload, and no envelope".into()));
        }
        let method = Method::from_bytes(method.0.as_bytes()).map_err(|_| Refused::Invalid("\"method\" is none".into()))?;
        let target = self.target.as_ref().and_then(|target| serde_json::from_str::<String>(&target.0).ok());
        let target = target.ok_or_else(|| Refused::Invalid("\"target\" must be a string".into()))?;
        let address = format!("{DIRECT}{target}{}", self.rest.as_deref().unwrap_or_default());
        let body = self.payload.as_ref().map_or_else(Bytes::new, |payload| Bytes::from(payload.0.clone()));
        Ok(Asked::Direct { method, address, body })
    }

    fn certificate(&self) -> Result<Option<CertificateName>, Refused> {
        let must = "\"certificate\" must be a URI, a DNS name without wildcards, or sha256: and 64 hex digits";
        let read = |name: &Certificate| CertificateName::parse(&name.0).ok_or_else(|| Refused::Invalid(must.into()));
        self.certificate.as_ref().map(read).transpose()
    }

    /// The members that were given are put together as they came: how a call is understood depends on every byte of it.
    fn body(&self) -> Result<Bytes, Refused> {
        let parts = [("target", &self.target), ("action", &self.action), ("payload", &self.payload), ("operation", &self.operation)];
        let given: Vec<String> =
            parts.iter().filter_map(|(name, value)| value.as_ref().map(|value| format!("\"{name}\":{}", value.0))).collect();
        match (&self.envelope, given.as_slice()) {
            (Some(envelope), []) => Ok(Bytes::from(envelope.0.clone())),
            (Some(_), _) => Err(Refused::Invalid("\"envelope\" stands for target, action, payload and operation".into())),
            (None, given) => Ok(Bytes::from(format!("{{{}}}", given.join(",")))),
        }
    }
}
