//! The client: a call goes out to one of its target's addresses, or is answered with what was kept, and its answer is streamed back.
//! Redirects are the caller's to follow.

use std::time::Duration;

use http::header::UPGRADE;
use http::{HeaderMap, HeaderValue, StatusCode};
use hyper::upgrade::OnUpgrade;
use tokio::time::Instant;

use super::body::{AnswerBody, WhileItLasts};
use super::breaker::BreakerView;
use super::cache::{Keeping, mark};
use super::clients::Clients;
use super::crowd::InCrowd;
use super::dial::Dial;
use super::headers;
use super::known::KnownTargets;
use super::order::Order;
use super::site::OnSite;
use super::trying::Begun;
use super::views::TargetView;
use crate::call::{CacheUse, Passage};
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
    pub upgrade: Option<Box<Upgrade>>,
}

impl Answer {
    pub fn is_error(&self) -> bool {
        self.status.is_client_error() || self.status.is_server_error()
    }
}

/// What becomes of a connection behind its last answer.
#[derive(Debug)]
pub struct Upgrade {
    pub protocol: HeaderValue,
    /// The connection, once the answer has been read.
    pub connection: OnUpgrade,
    /// How long nothing may move on it.
    pub idle: Duration,
    /// The call counts at its address, and among those of its target.
    pub(super) _under_way: (OnSite, InCrowd),
}

pub struct Upstream {
    pub(super) clients: Clients,
    pub(super) clock: Clock,
    pub(super) known: KnownTargets,
}

impl Upstream {
    pub fn new(dial: Dial, clock: Clock) -> Self {
        Self { clients: Clients::new(dial), known: KnownTargets::new(clock.clone()), clock }
    }

    pub async fn forward(&self, order: Order<'_>) -> Result<Answer, Failure> {
        self.forward_noting(order, &mut Passage::default()).await
    }

    /// Notes on the way how the call fares.
    pub async fn forward_noting(&self, mut order: Order<'_>, passage: &mut Passage) -> Result<Answer, Failure> {
        let (target, call) = (order.target, order.head.id);
        if target.sites.is_empty() {
            return Err(Failure::TargetNotConfigured { target: target.name.clone() });
        }
        let known = self.known.of(target, &self.clients);
        let keeping = match &known.cache {
            Some(cache) => Keeping::of(cache, &order, &known.phrases)?,
            None => None,
        };
        if let Some(keeping) = &keeping {
            passage.cache = Some(CacheUse::Miss);
            if let Some(again) = keeping.find() {
                passage.cache = Some(CacheUse::Hit);
                let body = AnswerBody::kept(again.body, call, target);
                return Ok(Answer { status: StatusCode::OK, headers: again.headers, body, upgrade: None });
            }
        }
        let in_crowd = known.crowded.enter(order.caller, target.terms.crowd);
        let in_crowd = in_crowd.map_err(|whose| Failure::TargetBusy { target: target.name.clone(), whose })?;
        let all_until = target.terms.total_timeout.map(|total| Instant::now() + total);
        let Begun { mut response, arriving, on_site } = self.begin(&mut order, &known, all_until, passage).await?;

        let on_upgrade = (response.status() == StatusCode::SWITCHING_PROTOCOLS).then(|| hyper::upgrade::on(&mut response));
        let (mut parts, incoming) = response.into_parts();
        if let Some(connection) = on_upgrade {
            let protocol = parts.headers.get(UPGRADE).cloned().unwrap_or(HeaderValue::from_static(""));
            let upgrade = Upgrade { protocol, connection, idle: target.idle_timeout, _under_way: (on_site, in_crowd) };
            headers::towards_caller(&mut parts.headers, parts.version);
            let body = AnswerBody::new(incoming, call, target, WhileItLasts::default());
            return Ok(Answer { status: parts.status, headers: parts.headers, body, upgrade: Some(Box::new(upgrade)) });
        }
        headers::towards_caller(&mut parts.headers, parts.version);
        let copying = keeping.as_ref().and_then(|keeping| keeping.copying(parts.status, &parts.headers));
        if keeping.is_some() {
            mark(&mut parts.headers, CacheUse::Miss);
        }
        let while_it_lasts = WhileItLasts { _under_way: Some((on_site, in_crowd)), until: all_until, copying, _arriving: arriving };
        let body = AnswerBody::new(incoming, call, target, while_it_lasts);
        Ok(Answer { status: parts.status, headers: parts.headers, body, upgrade: None })
    }

    /// Why a call to this target would be refused before anything is sent; asks without taking a trial's place.
    pub fn would_refuse(&self, target: &Target) -> Option<Failure> {
        if target.sites.is_empty() {
            return Some(Failure::TargetNotConfigured { target: target.name.clone() });
        }
        let retry_after = self.known.breaker(&target.name)?.would_refuse()?;
        Some(Failure::BreakerOpen { target: target.name.clone(), retry_after })
    }

    /// To be told of every policy before it comes into force: only of its targets anything is known, and connections kept.
    pub fn follow(&self, targets: &Targets) {
        self.clients.follow(targets);
        self.known.follow(targets, &self.clients);
        self.clients.tidy();
    }

    pub fn breakers(&self) -> Vec<(TargetName, BreakerView)> {
        self.known.breakers()
    }

    /// By name, in order, as the breakers are.
    pub fn targets(&self) -> Vec<(TargetName, TargetView)> {
        self.known.view()
    }
}
