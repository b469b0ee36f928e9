//! What many calls to a target say alike, written once: the credentials it is shown, and the way that the calls of one caller come. What
//! was written counts only for what it was written from, which is compared each time.

use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

use http::HeaderValue;
use http::header::InvalidHeaderValue;

use super::forwarded::Way;
use crate::call::Hop;
use crate::identity::Secret;
use crate::policy::Credentials;

/// Callers of a target whose way is remembered. Of those that share a place, the one that called last has it.
const PLACES: usize = 16;

/// What a caller may have called us to be remembered: as long as a name can be, and a port.
const HOST: usize = 253 + 6;

/// A credential of policy that no header can carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnfitCredential;

pub struct Phrases {
    credentials: Credentials,
    shown: Result<Shown, UnfitCredential>,
    ways: [Mutex<Option<(Way, Told)>>; PLACES],
}

/// Credentials as headers carry them.
#[derive(Clone, Default)]
pub(super) struct Shown {
    pub authorization: Option<HeaderValue>,
    pub apikey: Option<HeaderValue>,
}

/// The headers that tell of a way.
#[derive(Clone)]
pub(super) struct Told {
    pub x_forwarded_for: HeaderValue,
    pub x_forwarded_host: Option<HeaderValue>,
    pub forwarded: HeaderValue,
}

impl Phrases {
    pub fn showing(credentials: &Credentials) -> Self {
        Self { credentials: credentials.clone(), shown: Shown::of(credentials), ways: Default::default() }
    }

    /// `credentials`: of the policy that the call is under.
    pub(super) fn shown(&self, credentials: &Credentials) -> Result<Shown, UnfitCredential> {
        if self.credentials == *credentials { self.shown.clone() } else { Shown::of(credentials) }
    }

    /// Of a call that came by no proxy. `None` where headers cannot tell of it, and there is no such way.
    pub(super) fn told(&self, peer: IpAddr, hop: &Hop) -> Option<Told> {
        let mut place = self.ways.get(place(peer))?.lock().unwrap_or_else(PoisonError::into_inner);
        match &*place {
            Some((way, told)) if way.is_of(peer, hop) => Some(told.clone()),
            _ => {
                let way = Way::of(peer, hop);
                let told = way.told().ok()?;
                if hop.host.as_ref().is_none_or(|host| host.len() <= HOST) {
                    *place = Some((way, told.clone()));
                }
                Some(told)
            }
        }
    }
}

/// Neighbours have different ones.
fn place(peer: IpAddr) -> usize {
    let last = match peer {
        IpAddr::V4(v4) => v4.octets()[3],
        IpAddr::V6(v6) => v6.octets()[15],
    };
    usize::from(last) % PLACES
}

impl Shown {
    fn of(credentials: &Credentials) -> Result<Self, UnfitCredential> {
        Ok(match credentials {
            Credentials::None => Self::default(),
            Credentials::Bearer(token) => Self { authorization: Some(bearer(token)?), apikey: None },
            Credentials::ServiceRole(key) => Self { authorization: Some(bearer(key)?), apikey: Some(secret(key.reveal())?) },
        })
    }
}

fn bearer(token: &Secret) -> Result<HeaderValue, UnfitCredential> {
    secret(&format!("Bearer {}", token.reveal()))
}

/// Marked so that it prints as `Sensitive`, and so that no header compression table keeps it.
fn secret(text: &str) -> Result<HeaderValue, UnfitCredential> {
    let mut value = HeaderValue::from_str(text).map_err(|_: InvalidHeaderValue| UnfitCredential)?;
    value.set_sensitive(true);
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::call::Scheme;

    fn hop(scheme: Scheme, host: &str) -> Hop {
        Hop { scheme, host: Some(HeaderValue::from_str(host).unwrap()), ..Hop::default() }
    }

    /// Callers that share a place, and calls of one caller that came otherwise, never get what was written for another.
    #[test]
    fn what_is_told_of_a_way_is_of_that_way() {
        let phrases = Phrases::showing(&Credentials::None);
        let long = "a".repeat(HOST + 1);
        for _twice in 0..2 {
            for peer in ["192.0.2.1", "192.0.2.17", "198.51.100.1", "2001:db8::1"] {
                for host in ["gate.example", "other.example:81", &long, "not \"plain\""] {
                    for scheme in [Scheme::Http, Scheme::Https] {
                        let (peer, hop) = (peer.parse().unwrap(), hop(scheme, host));
                        for _again in 0..2 {
                            let told = phrases.told(peer, &hop).unwrap();
                            let expected = Way::of(peer, &hop).told().unwrap();
                            assert_eq!(told.x_forwarded_for, peer.to_string());
                            assert_eq!(told.x_forwarded_host, expected.x_forwarded_host);
                            assert_eq!(told.forwarded, expected.forwarded);
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn credentials_are_those_of_the_policy_that_a_call_is_under() {
        let of = |key: &str| Credentials::Bearer(Secret::new(key));
        let phrases = Phrases::showing(&of("then"));
        for (now, expected) in [("then", "Bearer then"), ("now", "Bearer now")] {
            let shown = phrases.shown(&of(now)).unwrap();
            assert_eq!(shown.authorization.unwrap(), expected);
        }
        assert!(phrases.shown(&of("two\r\nlines")).is_err());
    }
}
