//! A call that may pass goes to its target, and an answer comes back: as callers of its door expect it.

use http::{HeaderMap, Method};

use super::route::{Onward, Sent};
use super::{Admitted, Pipeline};
use crate::call::Head;
use crate::gates::authenticate::Authenticated;
use crate::identity::{Action, Caller};
use crate::record::Trail;
use crate::upstream::{Order, Outgoing, Settled, Towards, settle, shape};
use crate::verdict::Refusal;

impl Pipeline {
    pub(super) fn forward<'a>(
        &'a self,
        admitted: Admitted<'a>,
        head: &'a Head,
        headers: &'a HeaderMap,
        trail: &'a mut Trail,
    ) -> impl Future<Output = Result<Settled, Refusal>> + Send {
        // What has shown that the call may pass is let go of here: the future would hold, and move, all of it to the end.
        let Admitted { caller, target, onward: Onward { form, memory }, .. } = admitted;
        let (method, rest, body, action) = match form {
            Sent::Shaped(envelope) => {
                let action = shape::executed_action(&target, &envelope).cloned();
                (Method::POST, "", Outgoing::Shaped(shape::body(&target, &envelope)), action)
            }
            Sent::AsItCame { method, rest, body } => (method.clone(), rest, body, None),
        };
        async move {
            let (towards, timeout) = (self.towards(&caller), target.timeout);
            let is_shaped = matches!(body, Outgoing::Shaped(_));
            let (caller, action) = (Some(caller.caller().recorded_as()), action.as_ref().map(Action::as_str));
            let order = Order { head, target: &target, method, rest, headers, body, towards, caller, action, timeout };
            self.in_step().await;
            let began = self.clock.monotonic_nanos();
            let settled = match self.upstream.forward_noting(order, &mut trail.note().passage).await {
                // Apart: few answers are errors, and all would hold room for reading one.
                Ok(answer) if is_shaped && answer.is_error() => Ok(Box::pin(settle(answer, &target, head.id)).await),
                Ok(answer) => Ok(Settled::AsIs(answer)),
                Err(failure) => Err(failure.into()),
            };
            trail.note().upstream = Some(self.since(began));
            drop(memory);
            settled
        }
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
