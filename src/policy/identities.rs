//! By which certificates sources are known.

use std::collections::HashMap;

use super::{Source, Sources};
use crate::identity::{CertificateName, PeerCertificate, SourceName};

/// What policy says of a source's certificates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceCertificates {
    pub names: Box<[CertificateName]>,
    pub need: CertificateNeed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CertificateNeed {
    /// A certificate or a key: either is enough.
    Either,
    /// A certificate beside the key: neither is enough.
    BesideKey,
}

/// Every certificate that policy names, and the one source that it must be of; none if several share it.
pub type Certified = HashMap<CertificateName, Option<SourceName>>;

impl Source {
    /// The name by which this source is known by a certificate.
    pub fn known_by<'c>(&self, certificate: &'c PeerCertificate) -> Option<&'c CertificateName> {
        let own = &self.certificates.as_ref()?.names;
        certificate.names().iter().find(|name| own.contains(name))
    }

    pub fn needs_certificate(&self) -> bool {
        self.certificates.as_ref().is_some_and(|certificates| certificates.need == CertificateNeed::BesideKey)
    }
}

impl Sources {
    /// Whether a certificate is any source's.
    pub fn know(&self, certificate: &PeerCertificate) -> bool {
        certificate.names().iter().any(|name| self.certified.contains_key(name))
    }

    /// The one source that a certificate can be of.
    pub fn only_one_of(&self, certificate: &PeerCertificate) -> Option<&SourceName> {
        let mut all = certificate.names().iter().filter_map(|name| self.certified.get(name));
        let first = all.next()?.as_ref()?;
        all.all(|other| other.as_ref() == Some(first)).then_some(first)
    }
}
