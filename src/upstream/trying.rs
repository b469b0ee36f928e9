//! Sending a call until its answer begins: to one address of its target after the other, as often as is worth it and does no harm.

use std::time::Duration;

use http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper_util::client::legacy::connect::capture_connection;
use tokio::time::{Instant, sleep};

use super::breaker::{Conduct, Pass};
use super::client::Upstream;
use super::clients::{Door, SharedClient};
use super::known::Known;
use super::links::Arriving;
use super::loss::{Loss, Lost, SendError, Sent, is_targets_failure};
use super::order::{Order, Outgoing, request};
use super::site::OnSite;
use super::sites::Nth;
use super::tries::{Next, Paying, Tried, Twice, Went, jittered};
use super::upload::{Patience, RequestBody};
use crate::call::Passage;
use crate::policy::Target;
use crate::verdict::Failure;

/// An answer that has begun, and where.
pub(super) struct Begun {
    pub response: Response<Incoming>,
    /// To be held until it is over.
    pub arriving: Option<Arriving>,
    pub on_site: OnSite,
}

type Outcome = Result<(Response<Incoming>, Option<Arriving>), Lost>;

impl Upstream {
    /// Tries until an answer begins, or no further try is worth it or safe. The target's breaker hears of the outcome alone.
    pub(super) async fn begin(
        &self,
        order: &mut Order<'_>,
        known: &Known,
        all_until: Option<Instant>,
        passage: &mut Passage,
    ) -> Result<Begun, Failure> {
        let target = order.target;
        let twice = Twice::of(&order.method, target.terms.retry);
        let mut body = order.take_body();
        let patience = Patience::of(order, &body, all_until);
        let may_upgrade = matches!(body, Outgoing::Upgrade(_));
        let mut pass: Option<Pass<'_>> = None;
        let mut tried: Vec<Nth> = Vec::new();
        let mut now = self.clock.monotonic_nanos();
        known.budget.note_call(now);
        let mut times = 0;
        loop {
            times += 1;
            let chosen = known.sites.choose(&tried, now).or_else(|| known.sites.choose(&[], now));
            let chosen = chosen.and_then(|(nth, on_site)| Some((nth, on_site, known.approaches.get(nth.at())?)));
            let (nth, mut on_site, approach) = chosen.ok_or_else(|| Failure::TargetNotConfigured { target: target.name.clone() })?;
            let again = body.again();
            let request = request(order, &known.phrases, approach, &on_site.site.url, body)?;
            if pass.is_none() {
                let admitted = known.breaker.admit(target.breaker, now);
                pass = Some(admitted.map_err(|retry_after| Failure::BreakerOpen { target: target.name.clone(), retry_after })?);
            }
            passage.tries = times;
            on_site.sets_out();
            let answered = match &approach.door {
                Door::Apart(links) => links.send(request, &patience).await,
                Door::Shared(client) => Box::pin(share(client, target, request, &patience)).await,
            };
            let outcome = if may_upgrade { answered } else { not_switching(answered) };
            if let (Err(_), Some(failure)) = (&outcome, patience.callers_fault()) {
                return Err(failure);
            }
            let went = went(&outcome);
            let conduct = if went == Went::Answered { Conduct::Answered } else { Conduct::Failed };
            let is_the_targets = known.sites.report(&mut on_site, conduct, target.terms.ejection);
            if let Err(Lost { loss, sent, error }) = &outcome {
                let (call, url) = (order.head.id, &on_site.site.url);
                tracing::warn!(%call, target_name = %target.name, %url, ?loss, ?sent, error, "target gave no answer");
            }
            let next = match went {
                Went::Answered => Next::Back,
                Went::Down | Went::Lost(..) => {
                    if !tried.contains(&nth) {
                        tried.push(nth);
                    }
                    let others = known.sites.has_others(&tried);
                    Tried { went, times, others, twice, retry: target.terms.retry }.next()
                }
            };
            if let Some(wait) = self.may_go_on(next, known, &patience)
                && let Some(again) = again
            {
                drop((outcome, on_site));
                sleep(wait).await;
                now = self.clock.monotonic_nanos();
                body = again;
                continue;
            }
            if let Some(pass) = pass.filter(|_| is_the_targets) {
                pass.report(conduct);
            }
            return match outcome {
                Ok((response, arriving)) => Ok(Begun { response, arriving, on_site }),
                Err(lost) => Err(lost.loss.to_failure(&target.name)),
            };
        }
    }

    /// How long to wait before the next try, if there may be one.
    fn may_go_on(&self, next: Next, known: &Known, patience: &Patience) -> Option<Duration> {
        let (wait, paying) = match next {
            Next::Back => return None,
            Next::Elsewhere(paying) => (Duration::ZERO, paying),
            Next::Again(wait) => (jittered(wait), Paying::FromBudget),
        };
        let in_time = patience.lasts(wait);
        let paid = || paying == Paying::Free || known.budget.take(self.clock.monotonic_nanos());
        (in_time && paid()).then_some(wait)
    }
}

/// One try on a connection that other calls may be on. Getting there has a time of its own, for an address that swallows everything must
/// not use up the time of the others.
async fn share(client: &SharedClient, target: &Target, mut request: Box<Request<RequestBody>>, patience: &Patience) -> Outcome {
    let connection = capture_connection(&mut request);
    let unconnected = async {
        sleep(target.terms.connect_timeout).await;
        if connection.connection_metadata().is_some() {
            std::future::pending::<()>().await;
        }
    };
    let mut timer = None;
    tokio::select! {
        biased;
        answered = client.request(*request) => answered.map(|response| (response, None)).map_err(|error| SendError::Shared(error).into()),
        () = unconnected => Err(Lost::too_slow(Sent::Never, "no connection in time")),
        () = patience.over(&mut timer) => Err(Lost::no_answer_in_time()),
    }
}

/// Another protocol is spoken only if the caller asked for it.
fn not_switching(outcome: Outcome) -> Outcome {
    match outcome {
        Ok((response, _)) if response.status() == StatusCode::SWITCHING_PROTOCOLS => {
            Err(Lost { loss: Loss::Nonsense, sent: Sent::Perhaps, error: "101 unasked".to_owned() })
        }
        outcome => outcome,
    }
}

fn went(outcome: &Outcome) -> Went {
    match outcome {
        Ok((response, _)) if is_targets_failure(response.status()) => Went::Down,
        Ok(_) => Went::Answered,
        Err(lost) => Went::Lost(lost.loss, lost.sent),
    }
}
