//! Who is calling: from the headers alone, before a byte of the body is read.
//!
//! `x-eliza-key` with `x-eliza-source`, or the service role key whole. A wrong `x-eliza-key` is refused whatever stands beside it;
//! beside a right one, a bearer token that is not ours is somebody else's business. Or a certificate that the connection has verified,
//! instead of the key or beside it, as policy says of the source; one that is another source's than the caller says it is stops the call.

use std::sync::Arc;

use crate::call::Head;
use crate::identity::{Caller, KeyHash, KeyId, PeerCertificate, Proof, Secret, SourceName};
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
    Certified { source: Arc<Source> },
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
            Standing::Listed { source, .. } | Standing::Certified { source } => Some(source),
            Standing::ServiceRole | Standing::None => None,
        }
    }

    /// Whether the platform's own key stands among its credentials, whatever let it in.
    pub fn shows_service_key(&self) -> bool {
        self.shows_service_key
    }

    /// None of a source that is known by its certificate alone, which is bound to no targets.
    pub fn key(&self) -> Option<&Arc<Key>> {
        match &self.standing {
            Standing::Listed { key, .. } => Some(key),
            Standing::Certified { .. } | Standing::ServiceRole | Standing::None => None,
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
    /// The certificate of its head, and no key.
    Certificate,
    ServiceRole,
    Nothing,
}

/// The same judgement as [`authenticate`]'s, on what is assumed.
pub fn assume(assumed: &Assumed, head: &Head, policy: &Policy, keys: &KeyRing) -> Verdict<Authenticated> {
    let judged = undisputed(head, policy).and_then(|()| match assumed {
        Assumed::Key(id) => keys.by_id(id, head.at).and_then(|key| listed(key, head, policy)),
        Assumed::Certificate => certified(head, policy).unwrap_or(Err(AuthFault::NoCredentials)),
        Assumed::ServiceRole => Ok(service_role_of(head)),
        Assumed::Nothing if head.credentials.eliza_source.is_some() => Err(AuthFault::KeyMissing),
        Assumed::Nothing => Err(AuthFault::NoCredentials),
    });
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
    let claimed = head.credentials.eliza_source.as_ref().ok_or(AuthFault::SourceMissing)?;
    let name = SourceName::of(claimed).ok_or(AuthFault::UnknownSource)?;
    let source = policy.sources.find(&name).ok_or(AuthFault::UnknownSource)?;
    if !key.scope.covers_source(&name) {
        return Err(AuthFault::SourceNotOfKey);
    }
    let certificate = head.certificate.as_ref().and_then(|certificate| source.known_by(certificate)).cloned();
    let proof = match certificate {
        Some(certificate) => Proof::Both(key.id.clone(), certificate),
        None if source.needs_certificate() => return Err(without_its_own(head.certificate.as_deref())),
        None => Proof::Key(key.id.clone()),
    };
    let caller = Caller::Source { name, proof };
    let standing = Standing::Listed { key: Arc::clone(key), source: Arc::clone(source) };
    Ok(Authenticated { caller, standing, shows_service_key: false })
}

fn without_its_own(shown: Option<&PeerCertificate>) -> AuthFault {
    if shown.is_some() { AuthFault::CertificateUnknown } else { AuthFault::CertificateMissing }
}

/// Whether a certificate alone lets a source in: the one that the caller says it is, or the only one that it can be. None if there is no
/// certificate.
fn certified(head: &Head, policy: &Policy) -> Option<Result<Authenticated, AuthFault>> {
    let certificate = head.certificate.as_deref()?;
    Some(known_by(certificate, head, policy))
}

fn known_by(certificate: &PeerCertificate, head: &Head, policy: &Policy) -> Result<Authenticated, AuthFault> {
    let sources = &policy.sources;
    if !sources.know(certificate) {
        return Err(AuthFault::CertificateUnknown);
    }
    let name = match &head.credentials.eliza_source {
        Some(claimed) => SourceName::of(claimed).ok_or(AuthFault::UnknownSource)?,
        None => sources.only_one_of(certificate).cloned().ok_or(AuthFault::SourceMissing)?,
    };
    let source = sources.find(&name).ok_or(AuthFault::UnknownSource)?;
    let shown = source.known_by(certificate).ok_or(AuthFault::CertificateOfAnother)?;
    if source.needs_certificate() {
        return Err(AuthFault::KeyMissing);
    }
    let caller = Caller::Source { name, proof: Proof::Certificate(shown.clone()) };
    Ok(Authenticated { caller, standing: Standing::Certified { source: Arc::clone(source) }, shows_service_key: false })
}

/// Whoever shows one source's certificate and another's name is not believed, whatever else it shows.
fn undisputed(head: &Head, policy: &Policy) -> Result<(), AuthFault> {
    let (Some(certificate), Some(claimed)) = (&head.certificate, &head.credentials.eliza_source) else { return Ok(()) };
    let named = SourceName::of(claimed).and_then(|name| policy.sources.find(&name).cloned());
    let is_its_own = named.is_some_and(|source| source.known_by(certificate).is_some());
    if is_its_own || !policy.sources.know(certificate) { Ok(()) } else { Err(AuthFault::CertificateOfAnother) }
}

fn service_role_of(head: &Head) -> Authenticated {
    let caller = Caller::ServiceRole { claimed: head.credentials.eliza_source.clone() };
    Authenticated { caller, standing: Standing::ServiceRole, shows_service_key: true }
}

fn judge(head: &Head, policy: &Policy, keys: &KeyRing, service_role: Option<&KeyHash>) -> Result<Authenticated, AuthFault> {
    let shown = &head.credentials;
    undisputed(head, policy)?;
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
        return Ok(service_role_of(head));
    }
    if let Some(judged) = certified(head, policy) {
        return judged;
    }
    Err(match (&shown.eliza_source, tokens.iter().any(|token| token.is_some())) {
        (Some(_), _) => AuthFault::KeyMissing,
        (None, true) => AuthFault::WrongServiceKey,
        (None, false) => AuthFault::NoCredentials,
    })
}
