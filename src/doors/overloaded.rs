//! The door that is shut: what calls get while more arrive than can be carried.
//!
//! Refusing must cost next to nothing, or it would be the load itself. So it comes before authentication, nobody is known to stand behind the
//! call, and it is accounted for as those of strangers are: the first of a network and minute are recorded one by one, the rest in
//! one record with their number.

use http::{Request, Response};

use super::answer::{is_not_asked, refuse, waits_to_be_asked};
use super::said::Said;
use super::{Arrival, Door, whole};
use crate::gatekeeper::Gatekeeper;
use crate::gates::rate_limit::strangers::Fold;
use crate::identity::Network;
use crate::intake::let_run_out;
use crate::pipeline::Arriving;
use crate::record::{Ending, Notes, Trail};
use crate::reply;
use crate::verdict::{Failure, Refusal};

/// Refuses a call once it was kept for long enough. It is accounted for before that: who is kept may go away meanwhile.
pub async fn overloaded<B: Arriving>(
    gatekeeper: &Gatekeeper,
    door: Door,
    arrival: Arrival,
    request: Request<B>,
    kept: impl Future<Output = ()>,
) -> Response<Said> {
    let (parts, body) = request.into_parts();
    gatekeeper.metrics.shed.inc();
    let refusal: Refusal = Failure::Overloaded.into();
    let pipeline = &gatekeeper.pipeline;
    let fold = gatekeeper.shed.note(Network::of(arrival.peer), arrival.at, &pipeline.live.current().policy.limits);
    let door = door.as_str();
    let trail = match fold {
        Fold::Counted => {
            gatekeeper.metrics.count_call(door, refusal.code());
            None
        }
        Fold::Record => {
            let mut trail = Trail::new(Notes::new(arrival.id, arrival.at, arrival.peer, door), pipeline.recorder.clone());
            trail.note().ending = Some(Ending::Refused(refusal.clone()));
            Some(trail)
        }
    };
    let waits = waits_to_be_asked(&parts, &body);
    if waits {
        kept.await;
    } else {
        tokio::join!(kept, let_run_out(body));
    }
    let mut response = match trail {
        Some(trail) => refuse(refusal, trail, arrival, &parts.method).there().await,
        None => whole(reply::refusal(&refusal, arrival.id)).map(Said::from),
    };
    if waits {
        is_not_asked(response.headers_mut(), parts.version);
    }
    response
}
