//! Who the other end is, by the certificate that it showed and that was verified.

use rustls::pki_types::CertificateDer;
use x509_parser::extensions::GeneralName;
use x509_parser::parse_x509_certificate;

use crate::identity::{CertificateName, PeerCertificate};

/// A name that cannot be read is no name: the certificate is then known by the others, or by its fingerprint alone.
pub fn peer(certificate: &CertificateDer<'_>) -> PeerCertificate {
    let Ok((_, read)) = parse_x509_certificate(certificate) else { return PeerCertificate::new(certificate, []) };
    let alternative = read.subject_alternative_name().ok().flatten();
    let names = alternative.iter().flat_map(|names| &names.value.general_names).filter_map(|name| match name {
        GeneralName::URI(text) => CertificateName::uri(text),
        GeneralName::DNSName(text) => CertificateName::dns(text),
        _ => None,
    });
    PeerCertificate::new(certificate, names)
}
