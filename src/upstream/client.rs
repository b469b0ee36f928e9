//! The client: one call, sent once, and its answer streamed back. Redirects are the caller's to follow.

use std::time::Duration;

use http::header::UPGRADE;
use http::{HeaderMap, HeaderValue, StatusCode};
use hyper::upgrade::OnUpgrade;
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioTimer};

use super::body::AnswerBody;
use super::breaker::{BreakerView, Breakers, Conduct};
use super::dial::{Connector, Dial};
use super::headers;
use super::loss::{Loss, chain, is_targets_failure};
use super::order::{Order, request};
use super::upload::RequestBody;
use crate::clock::Clock;
use crate::identity::TargetName;
use crate::policy::{Target, Targets};
use crate::verdict::Failure;

/// Shorter than the shortest keep-alive in common use (five seconds), so that a target hardly ever closes a connection just as a call
/// is written to it: such a call may have been read, and could not be sent again.
const POOL_IDLE: Duration = Duration::from_secs(4);
const POOL_IDLE_PER_TARGET: usize = 256;
/// Bounds the head of an answer, and how much of its body is held at once. hyper itself bounds the number of headers, at 100.
const READ_BUFFER: usize = 64 * 1024;

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

#[derive(Debug)]
pub struct Upstream {
    pub(super) client: Client<Connector, RequestBody>,
    breakers: Breakers,
}

impl Upstream {
    pub fn new(dial: Dial, clock: Clock) -> Self {
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(POOL_IDLE)
            .pool_max_idle_per_host(POOL_IDLE_PER_TARGET)
            .http1_max_buf_size(READ_BUFFER)
            // Safe for every call: hyper hands a request back only while it still lies in the queue of a connection that turned out
            // dead, before a byte of it was written. Once a connection has taken it, its loss is an error and no second try.
            .retry_canceled_requests(true)
            .build(Connector::new(dial));
        Self { client, breakers: Breakers::new(clock) }
    }

    pub async fn forward(&self, order: Order<'_>) -> Result<Answer, Failure> {
        let target = order.target;
        let (id, patience, may_upgrade) = (order.head.id, order.patience(), order.asks_for_upgrade());
        let request = request(order)?;
        let pass = self.breakers.admit(target).map_err(|retry_after| Failure::BreakerOpen { target: target.name.clone(), retry_after })?;

        let outcome = tokio::select! {
            biased;
            answered = self.client.request(request) => match answered {
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

    /// To be told of every policy before it comes into force: only its targets have breakers.
    pub fn follow(&self, targets: &Targets) {
        self.breakers.follow(targets);
    }

    pub fn breakers(&self) -> Vec<(TargetName, BreakerView)> {
        self.breakers.view()
    }
}
