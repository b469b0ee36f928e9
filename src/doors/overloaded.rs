//! The door that is shut: what calls get while more arrive than can be carried.
//!
//! Refusing must cost next to nothing, or it would be the load itself. So it comes before authentication, nobody is known to stand behind the
//! call, and it is accounted for as those of strangers are: the first of a network and minute are recorded one by one, the rest in
//! one record with their number.

use std::sync::Arc;

use axum::extract::Request;
use axum::response::Response;
use http::Method;
use http::header::EXPECT;

use super::answer::refuse;
use super::{Arrival, whole};
use crate::gatekeeper::Gatekeeper;
use crate::gates::rate_limit::strangers::Fold;
use crate::identity::Network;
use crate::intake::let_run_out;
use crate::record::{Ending, Notes, Trail};
use crate::reply;
use crate::telemetry::metrics::{DoorLabel, OutcomeLabel};
use crate::verdict::{Failure, Refusal};

/// Whether it would become a call. Probes, preflights and addresses where nothing is cost less than a refusal.
pub fn is_call<B>(request: &http::Request<B>) -> bool {
    door(request.uri().path()).is_some() && request.method() != Method::OPTIONS
}

fn door(path: &str) -> Option<&'static str> {
    match path {
        "/" | "/functions/v1/eliza-gatekeeper" => Some("envelope"),
        other => other.starts_with("/functions/v1/").then_some("direct"),
    }
}

/// Refuses a call once it was kept for long enough. It is accounted for before that: who is kept may go away meanwhile.
pub async fn overloaded(gatekeeper: &Arc<Gatekeeper>, arrival: Arrival, request: Request, kept: impl Future<Output = ()>) -> Response {
    let (parts, body) = request.into_parts();
    gatekeeper.metrics.shed.inc();
    let refusal: Refusal = Failure::Overloaded.into();
    let pipeline = &gatekeeper.pipeline;
    let fold = gatekeeper.shed.note(Network::of(arrival.peer), arrival.at, &pipeline.live.current().policy.limits);
    let door = door(parts.uri.path()).unwrap_or_default();
    let trail = match fold {
        Fold::Counted => {
            gatekeeper.metrics.calls_by_door.get_or_create(&DoorLabel { door }).inc();
            gatekeeper.metrics.calls.get_or_create(&OutcomeLabel { outcome: refusal.code() }).inc();
            None
        }
        Fold::Record => {
            let mut trail = Trail::new(Notes::new(arrival.id, arrival.at, arrival.peer, door), pipeline.recorder.clone());
            trail.note().ending = Some(Ending::Refused(refusal.clone()));
            Some(trail)
        }
    };
    if parts.headers.contains_key(EXPECT) {
        // Its body is not asked for.
        kept.await;
    } else {
        tokio::join!(kept, let_run_out(body));
    }
    match trail {
        Some(trail) => refuse(refusal, trail, arrival, &parts.method).await,
        None => whole(reply::refusal(&refusal, arrival.id)),
    }
}
