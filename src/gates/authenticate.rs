//! Who is calling: from the headers alone, before a byte of the body is read.
//!
//! `x-eliza-key` with `x-eliza-source`, or the service role key whole. A wrong `x-eliza-key` is refused whatever stands beside it;
//! beside a right one, a bearer token that is not ours is somebody else's business.

use std::sync::Arc;

use crate::call::Head;
use crate::identity::{Caller, KeyHash, KeyId, Secret, SourceName};
use crate::keys::{Key, KeyRing};
use crate::policy::{Policy, Source};
use crate::verdict::{AuthFault, Denial, Verdict};

/// Proof that the credentials were judged.
#[derive(Debug)]
pub struct Authenticated {
    caller: Caller,
    standing: Standing,
    shows_service_key: bool,
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

    /// Whether the platform's own key stands among its credentials, whatever let it in.
    pub fn shows_service_key(&self) -> bool {
        self.shows_service_key
    }

    pub fn key(&self) -> Option<&Arc<Key>> {
        match &self.standing {
            Standing::Listed { key, .. } => Some(key),
            Standing::ServiceRole | Standing::None => None,
        }
    }
}

pub fn authenticate(head: &Head, policy: &Policy, keys: &KeyRing, service_role: Option<&KeyHash>) -> Verdict<Authenticated> {
    verdict(judge(head, policy, keys, service_role), head)
}

/// What the credentials of a call that is only explained are taken to be: nobody who asks for an explanation shows a key.
#[derive(Clone, Debug)]
pub enum Assumed {
    /// The source's, with the key of this id.
    Key(KeyId),
    ServiceRole,
    Nothing,
}

/// The same judgement as [`authenticate`]'s, on what is assumed.
pub fn assume(assumed: &Assumed, head: &Head, policy: &Policy, keys: &KeyRing) -> Verdict<Authenticated> {
    let claimed = head.credentials.eliza_source.clone();
    let judged = match assumed {
        Assumed::Key(id) => keys.by_id(id, head.at).and_then(|key| listed(key, head, policy)),
        Assumed::ServiceRole => Ok(service_role_itself(claimed)),
        Assumed::Nothing if claimed.is_some() => Err(AuthFault::KeyMissing),
        Assumed::Nothing => Err(AuthFault::NoCredentials),
    };
    verdict(judged, head)
}

fn verdict(judged: Result<Authenticated, AuthFault>, head: &Head) -> Verdict<Authenticated> {
    match judged {
        Ok(authenticated) => Verdict::Allow(authenticated),
        Err(fault) => Verdict::Deny {
            denial: Denial::Unauthorized(fault),
            onward: Authenticated {
                caller: Caller::Stranger { claimed: head.credentials.eliza_source.clone() },
                standing: Standing::None,
                shows_service_key: false,
            },
        },
    }
}

/// Whether a good key lets the source in that the caller says it is.
fn listed(key: &Arc<Key>, head: &Head, policy: &Policy) -> Result<Authenticated, AuthFault> {
    let claimed = head.credentials.eliza_source.as_deref().ok_or(AuthFault::SourceMissing)?;
    let name = SourceName::parse(claimed).ok_or(AuthFault::UnknownSource)?;
    let source = policy.sources.find(&name).ok_or(AuthFault::UnknownSource)?;
    if !key.scope.covers_source(&name) {
        return Err(AuthFault::SourceNotOfKey);
    }
    let caller = Caller::Source { name, key: key.id.clone() };
    let standing = Standing::Listed { key: Arc::clone(key), source: Arc::clone(source) };
    Ok(Authenticated { caller, standing, shows_service_key: false })
}

fn service_role_itself(claimed: Option<Arc<str>>) -> Authenticated {
    Authenticated { caller: Caller::ServiceRole { claimed }, standing: Standing::ServiceRole, shows_service_key: true }
}

fn judge(head: &Head, policy: &Policy, keys: &KeyRing, service_role: Option<&KeyHash>) -> Result<Authenticated, AuthFault> {
    let shown = &head.credentials;
    let is_ours = |secret: &Secret| service_role.is_some_and(|hash| secret.hash() == *hash);
    let tokens = [&shown.bearer, &shown.apikey];
    let shows_service_key = tokens.iter().any(|token| token.as_ref().is_some_and(is_ours));
    if let Some(secret) = &shown.eliza_key {
        let key = keys.find(secret, head.at)?;
        let listed = listed(key, head, policy)?;
        key.note_use(head.at);
        return Ok(Authenticated { shows_service_key, ..listed });
    }
    if shows_service_key {
        return Ok(service_role_itself(shown.eliza_source.clone()));
    }
    Err(match (&shown.eliza_source, tokens.iter().any(|token| token.is_some())) {
        (Some(_), _) => AuthFault::KeyMissing,
        (None, true) => AuthFault::WrongServiceKey,
        (None, false) => AuthFault::NoCredentials,
    })
}
