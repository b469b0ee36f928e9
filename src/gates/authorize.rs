//! Who may call whom: what the key is good for, and which callers the target admits.
//!
//! Judged on the action that the target will execute, so that an action hidden in the payload widens nothing.

use crate::gates::authenticate::Authenticated;
use crate::identity::{Action, Caller};
use crate::policy::Target;
use crate::verdict::{Denial, Verdict};

/// Proof that caller, target and action were judged together.
#[derive(Debug)]
pub struct Authorized(());

pub fn authorize(authenticated: &Authenticated, target: &Target, action: Option<&Action>) -> Verdict<Authorized> {
    let denial = match authenticated.caller() {
        Caller::Source { name, .. } => {
            let in_scope = authenticated.key().is_none_or(|key| key.scope.covers(&target.name, action));
            if !in_scope {
                Some(Denial::KeyNotScoped { target: target.name.clone() })
            } else if !target.admits(name.as_str()) {
                Some(Denial::CallerNotAllowed { target: target.name.clone(), place: Some(target.place.clone()) })
            } else {
                None
            }
        }
        Caller::ServiceRole { .. } => None,
        Caller::Stranger { .. } if target.callers.is_empty() => None,
        Caller::Stranger { .. } => Some(Denial::CallerNotAllowed { target: target.name.clone(), place: Some(target.place.clone()) }),
    };
    match denial {
        None => Verdict::Allow(Authorized(())),
        Some(denial) => Verdict::Deny { denial, onward: Authorized(()) },
    }
}
