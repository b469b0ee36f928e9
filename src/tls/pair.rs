//! A certificate with its chain, and the key to it.

use std::path::Path;
use std::sync::Arc;

use rustls::Error;
use rustls::pki_types::CertificateDer;
use rustls::sign::CertifiedKey;
use x509_parser::parse_x509_certificate;

use super::{pem, provider};
use crate::clock::Timestamp;

const DAY: i64 = 24 * 3600;

/// A pair that belongs together, and for how long it is good.
#[derive(Clone, Debug)]
pub struct Pair {
    pub certified: Arc<CertifiedKey>,
    pub validity: Validity,
}

impl Pair {
    pub fn read(certificate: &Path, key: &Path) -> Result<Self, String> {
        Self::of((certificate, &pem::read(certificate)?), (key, &pem::read(key)?))
    }

    /// Of what two files hold.
    pub fn of((certificate, chain): (&Path, &[u8]), (key, secret): (&Path, &[u8])) -> Result<Self, String> {
        let chain = pem::chain(certificate, chain)?;
        let unreadable = || format!("the first certificate of {} cannot be read", certificate.display());
        let validity = chain.first().and_then(Validity::of).ok_or_else(unreadable)?;
        let secret = pem::key(key, secret)?;
        let certified = CertifiedKey::from_der(chain, secret, &provider()).map_err(|error| match error {
            Error::InconsistentKeys(_) => {
                format!("{} is not the key to the first certificate of {}", key.display(), certificate.display())
            }
            Error::InvalidCertificate(_) => unreadable(),
            _ => format!("{} holds a key of a kind that cannot be used: RSA, P-256, P-384 or Ed25519", key.display()),
        })?;
        Ok(Self { certified: Arc::new(certified), validity })
    }
}

/// When a certificate is good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity {
    pub from: Timestamp,
    pub until: Timestamp,
}

impl Validity {
    pub fn of(certificate: &CertificateDer<'_>) -> Option<Self> {
        let (_, read) = parse_x509_certificate(certificate).ok()?;
        let validity = read.validity();
        let [from, until] = [validity.not_before, validity.not_after].map(|time| Timestamp::from_secs(time.timestamp()));
        Some(Self { from, until })
    }

    /// Why it is not good at this moment.
    pub fn fault(&self, at: Timestamp) -> Option<String> {
        if at > self.until {
            return Some(format!("ended on {}", self.until));
        }
        (at < self.from).then(|| format!("is not good before {}", self.from))
    }

    /// Whole days; below zero once it has ended.
    pub fn days_left(&self, at: Timestamp) -> i64 {
        self.until.as_secs().saturating_sub(at.as_secs()).div_euclid(DAY)
    }
}
