//! A call that may pass goes to its target, and an answer comes back: as callers of its door expect it.

use http::{HeaderMap, Method};

use super::route::{Onward, Sent};
use super::{Admitted, Pipeline};
use crate::call::Head;
use crate::gates::authenticate::Authenticated;
use crate::identity::Caller;
use crate::record::Trail;
use crate::upstream::{Order, Outgoing, Settled, Towards, settle, shape};
use crate::verdict::Refusal;

impl Pipeline {
    pub(super) async fn forward(
        &self,
        admitted: Admitted<'_>,
        head: &Head,
        headers: &HeaderMap,
        trail: &mut Trail,
    ) -> Result<Settled, Refusal> {
        let Admitted { caller, target, onward: Onward { form, memory }, .. } = admitted;
        let (towards, timeout) = (self.towards(&caller), target.timeout);
        let (method, rest, body) = match form {
            Sent::Shaped(envelope) => (Method::POST, "", Outgoing::Shaped(shape::body(&target, &envelope))),
            Sent::AsItCame { method, rest, body } => (method.clone(), rest, body),
        };
        let is_shaped = matches!(body, Outgoing::Shaped(_));
        let order = Order { head, target: &target, method, rest, headers, body, towards, timeout };
        let began = self.clock.monotonic_nanos();
        let settled = match self.upstream.forward(order).await {
            Ok(answer) if is_shaped => Ok(settle(answer, &target, head.id).await),
            Ok(answer) => Ok(Settled::AsIs(answer)),
            Err(failure) => Err(failure.into()),
        };
        trail.note().upstream = Some(self.since(began));
        drop(memory);
        settled
    }

    /// Whose credentials a target is shown on this caller's behalf.
    pub(super) fn towards(&self, caller: &Authenticated) -> Towards {
        match caller.caller() {
            Caller::Source { .. } | Caller::ServiceRole { .. } if caller.shows_service_key() => Towards::InjectedAlone,
            Caller::Source { .. } | Caller::ServiceRole { .. } => Towards::Injected,
            Caller::Stranger { .. } => self.strangers_towards,
        }
    }
}
