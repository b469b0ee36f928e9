//! The client: a call goes out to one of its target's addresses, or is answered with what was kept, and its answer is streamed back.
//! Redirects are the caller's to follow.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use http_body_util::Full;
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio::time::{Instant, sleep_until};

use super::body::{AnswerBody, WhileItLasts};
use super::breaker::{BreakerView, Breakers};
use super::cache::{Keeping, mark};
use super::dial::{Connector, Dial};
use super::headers;
use super::known::KnownTargets;
use super::order::Order;
use super::trying::Begun;
use super::views::TargetView;
use crate::call::{CacheUse, Passage};
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

pub(super) type HttpClient = Client<Connector, Full<Bytes>>;

/// A target's answer: its head, and a body that is still arriving.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: AnswerBody,
}

#[derive(Debug)]
pub struct Upstream {
    client: HttpClient,
    pub(super) clock: Clock,
    pub(super) breakers: Breakers,
    pub(super) known: KnownTargets,
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
        Self { client, breakers: Breakers::new(clock.clone()), known: KnownTargets::new(clock.clone()), clock }
    }

    /// The client that a target is called with.
    pub(super) fn client_for(&self, _target: &Target) -> &HttpClient {
        &self.client
    }

    pub async fn forward(&self, order: Order<'_>) -> Result<Answer, Failure> {
        self.forward_noting(order, &mut Passage::default()).await
    }

    /// Notes on the way how the call fares.
    pub async fn forward_noting(&self, order: Order<'_>, passage: &mut Passage) -> Result<Answer, Failure> {
        let (target, call) = (order.target, order.head.id);
        if target.sites.is_empty() {
            return Err(Failure::TargetNotConfigured { target: target.name.clone() });
        }
        let known = self.known.of(target);
        let keeping = match &known.cache {
            Some(cache) => Keeping::of(cache, &order)?,
            None => None,
        };
        if let Some(keeping) = &keeping {
            passage.cache = Some(CacheUse::Miss);
            if let Some(again) = keeping.find() {
                passage.cache = Some(CacheUse::Hit);
                let body = AnswerBody::kept(again.body, call, target);
                return Ok(Answer { status: StatusCode::OK, headers: again.headers, body });
            }
        }
        let in_crowd = known.crowded.enter(order.caller, target.terms.crowd);
        let in_crowd = in_crowd.map_err(|whose| Failure::TargetBusy { target: target.name.clone(), whose })?;
        let all_until = target.terms.total_timeout.map(|total| Instant::now() + total);
        let Begun { response, on_site } = self.begin(order, &known, all_until, passage).await?;

        let (mut parts, incoming) = response.into_parts();
        headers::towards_caller(&mut parts.headers);
        let copying = keeping.as_ref().and_then(|keeping| keeping.copying(parts.status, &parts.headers));
        if keeping.is_some() {
            mark(&mut parts.headers, CacheUse::Miss);
        }
        let until = all_until.map(|until| Box::pin(sleep_until(until)));
        let while_it_lasts = WhileItLasts { _under_way: Some((on_site, in_crowd)), until, copying };
        let body = AnswerBody::new(incoming, call, target, while_it_lasts);
        Ok(Answer { status: parts.status, headers: parts.headers, body })
    }

    /// Why a call to this target would be refused before anything is sent; asks without taking a trial's place.
    pub fn would_refuse(&self, target: &Target) -> Option<Failure> {
        if target.sites.is_empty() {
            return Some(Failure::TargetNotConfigured { target: target.name.clone() });
        }
        let retry_after = self.breakers.would_refuse(&target.name)?;
        Some(Failure::BreakerOpen { target: target.name.clone(), retry_after })
    }

    /// To be told of every policy before it comes into force: only of its targets anything is known.
    pub fn follow(&self, targets: &Targets) {
        self.breakers.follow(targets);
        self.known.follow(targets);
    }

    pub fn breakers(&self) -> Vec<(TargetName, BreakerView)> {
        self.breakers.view()
    }

    /// By name, in order, as the breakers are.
    pub fn targets(&self) -> Vec<(TargetName, TargetView)> {
        self.known.view()
    }
}
