//! The envelope door: `{target, action?, payload?, operation?}` in, the target's answer out. The original's clients come this way.

use http::{Method, Request};

use super::Arrived;
use super::answer::{answer, turned_away};
use super::said::Begun;
use crate::call::Head;
use crate::gatekeeper::Gatekeeper;
use crate::pipeline::{Arriving, Call, Form, Purpose};
use crate::record::{Notes, Trail};
use crate::verdict::Failure;

const ALLOW: &str = "POST, OPTIONS";

pub async fn call<B: Arriving>(gatekeeper: &Gatekeeper, arrived: Arrived, request: Request<B>) -> Begun {
    let (pipeline, arrival) = (&gatekeeper.pipeline, arrived.arrival);
    let mut trail = Trail::new(Notes::new(arrival.id, arrival.at, arrival.peer, "envelope"), pipeline.recorder.clone());
    let (parts, body) = request.into_parts();
    let mut body = Some(body);
    let outcome = match head_of(&parts, arrived) {
        Ok(head) => {
            let call = Call { head: &head, headers: &parts.headers, form: Form::Envelope, body: &mut body, purpose: Purpose::Make };
            pipeline.admit_and_forward(call, &mut trail).await
        }
        Err(failure) => turned_away(pipeline, failure, &mut trail),
    };
    answer(outcome, trail, arrival, &parts, body)
}

fn head_of(parts: &http::request::Parts, arrived: Arrived) -> Result<Head, Failure> {
    if parts.method != Method::POST {
        return Err(Failure::MethodNotAllowed { allow: ALLOW });
    }
    arrived.head_of(parts)
}
