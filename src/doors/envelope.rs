//! The envelope door: `{target, action?, payload?, operation?}` in, the target's answer out. The original's clients come this way.

use std::sync::Arc;

use axum::extract::{Extension, Request, State};
use axum::response::Response;
use http::Method;

use super::answer::{answer, turned_away};
use super::{Arrival, preflight};
use crate::call::Head;
use crate::gatekeeper::Gatekeeper;
use crate::pipeline::{Call, Form, Purpose};
use crate::record::{Notes, Trail};
use crate::verdict::Failure;

const ALLOW: &str = "POST, OPTIONS";

pub async fn call(State(gatekeeper): State<Arc<Gatekeeper>>, Extension(arrival): Extension<Arrival>, request: Request) -> Response {
    if request.method() == Method::OPTIONS {
        return preflight();
    }
    let pipeline = &gatekeeper.pipeline;
    let mut trail = Trail::new(Notes::new(arrival.id, arrival.at, arrival.peer, "envelope"), pipeline.recorder.clone());
    let (parts, body) = request.into_parts();
    let mut body = Some(body);
    let outcome = match head_of(&parts, arrival) {
        Ok(head) => {
            let call = Call { head: &head, headers: &parts.headers, form: Form::Envelope, body: &mut body, purpose: Purpose::Make };
            pipeline.admit_and_forward(call, &mut trail).await
        }
        Err(failure) => turned_away(pipeline, failure, &mut trail),
    };
    answer(outcome, trail, arrival, &parts, body).await
}

fn head_of(parts: &http::request::Parts, arrival: Arrival) -> Result<Head, Failure> {
    if parts.method != Method::POST {
        return Err(Failure::MethodNotAllowed { allow: ALLOW });
    }
    arrival.head_of(parts)
}
