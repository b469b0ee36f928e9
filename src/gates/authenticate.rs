//! Who is calling: from the headers alone, before a byte of the body is read.
//!
//! `x-eliza-key` with `x-eliza-source`, or the service role key whole. A wrong `x-eliza-key` is refused whatever stands beside it;
//! beside a right one, a bearer token that is not ours is somebody else's business.

use std::sync::Arc;

use crate::call::Head;
use crate::identity::{Caller, KeyHash, Secret, SourceName};
use crate::keys::{Key, KeyRing};
use crate::policy::{Policy, Source};
use crate::verdict::{AuthFault, Denial, Verdict};

/// Proof that the credentials were judged.
#[derive(Debug)]
pub struct Authenticated {
    caller: Caller,
    standing: Standing,
}

/// What stands behind a caller.
#[derive(Debug)]
enum Standing {
    Listed { key: Arc<Key>, source: Arc<Source> },
    ServiceRole,
    None,
}

impl Authenticated {
    pub fn caller(&self) -> &Caller {
        &self.caller
    }

    /// The policy's entry for a listed source; none for the service role and for strangers.
    pub fn source(&self) -> Option<&Arc<Source>> {
        match &self.standing {
            Standing::Listed { source, .. } => Some(source),
            Standing::ServiceRole | Standing::None => None,
        }
    }

    pub fn key(&self) -> Option<&Arc<Key>> {
        match &self.standing {
            Standing::Listed { key, .. } => Some(key),
            Standing::ServiceRole | Standing::None => None,
        }
    }
}

pub fn authenticate(head: &Head, policy: &Policy, keys: &KeyRing, service_role: Option<&KeyHash>) -> Verdict<Authenticated> {
    match judge(head, policy, keys, service_role) {
        Ok(authenticated) => Verdict::Allow(authenticated),
        Err(fault) => Verdict::Deny {
            denial: Denial::Unauthorized(fault),
            onward: Authenticated { caller: Caller::Stranger { claimed: head.credentials.eliza_source.clone() }, standing: Standing::None },
        },
    }
}

fn judge(head: &Head, policy: &Policy, keys: &KeyRing, service_role: Option<&KeyHash>) -> Result<Authenticated, AuthFault> {
    let shown = &head.credentials;
    if let Some(secret) = &shown.eliza_key {
        let key = keys.find(secret, head.at)?;
        let claimed = shown.eliza_source.as_deref().ok_or(AuthFault::SourceMissing)?;
        let name = SourceName::parse(claimed).ok_or(AuthFault::UnknownSource)?;
        let source = policy.sources.find(&name).ok_or(AuthFault::UnknownSource)?;
        if !key.scope.covers_source(&name) {
            return Err(AuthFault::SourceNotOfKey);
        }
        key.note_use(head.at);
        let caller = Caller::Source { name, key: key.id.clone() };
        return Ok(Authenticated { caller, standing: Standing::Listed { key: Arc::clone(key), source: Arc::clone(source) } });
    }
    let is_ours = |secret: &Secret| service_role.is_some_and(|hash| secret.hash() == *hash);
    let tokens = [&shown.bearer, &shown.apikey];
    if tokens.iter().any(|token| token.as_ref().is_some_and(is_ours)) {
        let caller = Caller::ServiceRole { claimed: shown.eliza_source.clone() };
        return Ok(Authenticated { caller, standing: Standing::ServiceRole });
    }
    Err(match (&shown.eliza_source, tokens.iter().any(|token| token.is_some())) {
        (Some(_), _) => AuthFault::KeyMissing,
        (None, true) => AuthFault::WrongServiceKey,
        (None, false) => AuthFault::NoCredentials,
    })
}
