//! The client: one call, sent once, and its answer streamed back. Redirects are the caller's to follow.

use std::time::Duration;

use http::header::UPGRADE;
use http::{HeaderMap, HeaderValue, StatusCode};
use hyper::upgrade::OnUpgrade;

use super::body::AnswerBody;
use super::breaker::{BreakerView, Breakers, Conduct};
use super::clients::Clients;
use super::dial::Dial;
use super::headers;
use super::loss::{Loss, chain, is_targets_failure};
use super::order::{Order, request};
use crate::clock::Clock;
use crate::identity::TargetName;
use crate::policy::{Target, Targets};
use crate::verdict::Failure;

/// A target's answer: its head, and a body that is still arriving.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: AnswerBody,
    /// Of an answer that goes on in another protocol, as the caller asked.
    pub upgrade: Option<Upgrade>,
}

/// What becomes of a connection behind its last answer.
#[derive(Debug)]
pub struct Upgrade {
    pub protocol: HeaderValue,
    /// The connection, once the answer has been read.
    pub connection: OnUpgrade,
    /// How long nothing may move on it.
    pub idle: Duration,
}

pub struct Upstream {
    pub(super) clients: Clients,
    breakers: Breakers,
}

impl Upstream {
    pub fn new(dial: Dial, clock: Clock) -> Self {
        Self { clients: Clients::new(dial), breakers: Breakers::new(clock) }
    }

    pub async fn forward(&self, order: Order<'_>) -> Result<Answer, Failure> {
        let target = order.target;
        let (id, patience, may_upgrade) = (order.head.id, order.patience(), order.asks_for_upgrade());
        let request = request(order)?;
        let pass = self.breakers.admit(target).map_err(|retry_after| Failure::BreakerOpen { target: target.name.clone(), retry_after })?;

        let client = self.clients.of(&target.link);
        let outcome = tokio::select! {
            biased;
            answered = client.request(request) => match answered {
                Ok(response) if response.status() == StatusCode::SWITCHING_PROTOCOLS && !may_upgrade => {
                    Err((Loss::Nonsense, "101 unasked".to_owned()))
                }
                Ok(response) => Ok(response),
                Err(error) => Err((Loss::of(&error), chain(&error))),
            },
            () = patience.over() => Err((Loss::TooSlow, format!("nothing within {:?}", patience.timeout))),
        };
        if let (Err(_), Some(failure)) = (&outcome, patience.callers_fault()) {
            return Err(failure);
        }
        pass.report(match &outcome {
            Ok(response) if is_targets_failure(response.status()) => Conduct::Failed,
            Ok(_) => Conduct::Answered,
            Err(_) => Conduct::Failed,
        });

        let lost = |(loss, error): (Loss, String)| {
            tracing::warn!(call = %id, target_name = %target.name, ?loss, error, "target gave no answer");
            loss.to_failure(&target.name)
        };
        let mut response = outcome.map_err(lost)?;
        let upgrade = (response.status() == StatusCode::SWITCHING_PROTOCOLS).then(|| Upgrade {
            protocol: response.headers().get(UPGRADE).cloned().unwrap_or(HeaderValue::from_static("")),
            connection: hyper::upgrade::on(&mut response),
            idle: target.idle_timeout,
        });
        let (mut parts, incoming) = response.into_parts();
        headers::towards_caller(&mut parts.headers, parts.version);
        let body = AnswerBody::new(incoming, id, target);
        Ok(Answer { status: parts.status, headers: parts.headers, body, upgrade })
    }

    /// Why a call to this target would be refused before anything is sent; asks without taking a trial's place.
    pub fn would_refuse(&self, target: &Target) -> Option<Failure> {
        if target.url.is_none() {
            return Some(Failure::TargetNotConfigured { target: target.name.clone() });
        }
        let retry_after = self.breakers.would_refuse(&target.name)?;
        Some(Failure::BreakerOpen { target: target.name.clone(), retry_after })
    }

    /// To be told of every policy before it comes into force: only its targets have breakers, and connections.
    pub fn follow(&self, targets: &Targets) {
        self.clients.follow(targets);
        self.breakers.follow(targets);
    }

    pub fn breakers(&self) -> Vec<(TargetName, BreakerView)> {
        self.breakers.view()
    }
}
