//! What a verified client certificate says of whoever holds it. Verifying is the connection's business; here there are names alone.

use std::fmt::{self, Write as _};
use std::sync::Arc;

use super::KeyId;
use crate::sha256::sha256;

/// The longest name; SPIFFE's own bound.
const LIMIT: usize = 2048;
/// Names of one certificate that count. Nobody's has as many.
const MOST: usize = 64;
const FINGERPRINT: &str = "sha256:";

/// A name by which policy may know a certificate.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum CertificateName {
    /// A subject alternative name of the kind URI, to the letter.
    Uri(Arc<str>),
    /// One of the kind DNS, in small letters.
    Dns(Arc<str>),
    /// SHA-256 of the certificate itself: this one and none that comes after it.
    Fingerprint([u8; 32]),
}

impl CertificateName {
    /// As policy writes it: `spiffe://…` or any other URI, a DNS name, `sha256:` and 64 hex digits.
    pub fn parse(text: &str) -> Option<Self> {
        if let Some(digits) = text.strip_prefix(FINGERPRINT) {
            return fingerprint(digits).map(Self::Fingerprint);
        }
        if text.contains(':') { Self::uri(text) } else { Self::dns(text) }
    }

    pub fn uri(text: &str) -> Option<Self> {
        let (scheme, rest) = text.split_once(':')?;
        let begins = scheme.starts_with(|first: char| first.is_ascii_alphabetic());
        let is_scheme = begins && scheme.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.'));
        let fits = text.len() <= LIMIT && !rest.is_empty() && text.bytes().all(|b| b.is_ascii_graphic());
        (is_scheme && fits).then(|| Self::Uri(text.into()))
    }

    /// No wildcards: what a certificate says for many hosts says nothing of who this one is.
    pub fn dns(text: &str) -> Option<Self> {
        let label =
            |label: &str| (1..=63).contains(&label.len()) && label.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'));
        (text.len() <= 253 && text.split('.').all(label)).then(|| Self::Dns(text.to_ascii_lowercase().into()))
    }
}

/// 64 hex digits, with colons between the bytes or without, as tools differ.
fn fingerprint(digits: &str) -> Option<[u8; 32]> {
    let plain = digits.replace(':', "");
    let mut bytes = [0; 32];
    if plain.len() != 64 || !plain.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    for (at, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(plain.get(2 * at..2 * at + 2)?, 16).ok()?;
    }
    Some(bytes)
}

impl fmt::Display for CertificateName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Uri(text) | Self::Dns(text) => f.write_str(text),
            Self::Fingerprint(bytes) => {
                let digits = bytes.iter().fold(String::new(), |mut hex, byte| {
                    let _ = write!(hex, "{byte:02x}");
                    hex
                });
                write!(f, "{FINGERPRINT}{digits}")
            }
        }
    }
}

/// A certificate that the connection has verified, by all the names it has. Nothing that a caller writes becomes one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerCertificate {
    names: Box<[CertificateName]>,
}

impl PeerCertificate {
    /// The certificate's own bytes, and what stands in it.
    pub fn new(der: &[u8], names: impl IntoIterator<Item = CertificateName>) -> Self {
        let own = CertificateName::Fingerprint(sha256(der));
        Self { names: names.into_iter().take(MOST).chain([own]).collect() }
    }

    /// One that is imagined, for a call that is only explained.
    pub fn imagined(name: CertificateName) -> Self {
        Self { names: Box::new([name]) }
    }

    pub fn names(&self) -> &[CertificateName] {
        &self.names
    }

    /// What to call it: its first name, or its fingerprint.
    pub fn name(&self) -> Option<&CertificateName> {
        self.names.first()
    }
}

/// What a source showed to be let in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Proof {
    Key(KeyId),
    Certificate(CertificateName),
    Both(KeyId, CertificateName),
}

impl Proof {
    pub fn key(&self) -> Option<&KeyId> {
        match self {
            Self::Key(key) | Self::Both(key, _) => Some(key),
            Self::Certificate(_) => None,
        }
    }

    pub fn certificate(&self) -> Option<&CertificateName> {
        match self {
            Self::Certificate(name) | Self::Both(_, name) => Some(name),
            Self::Key(_) => None,
        }
    }
}

impl fmt::Display for Proof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Key(key) => write!(f, "the key {key}"),
            Self::Certificate(name) => write!(f, "the certificate {name}"),
            Self::Both(key, name) => write!(f, "the key {key} and the certificate {name}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_read_as_operators_write_them() {
        let hex = "0f".repeat(32);
        let colons = ["0F"; 32].join(":");
        for (text, said) in [
            ("spiffe://agents/gemini-chat", "spiffe://agents/gemini-chat".to_owned()),
            ("urn:agent:Gemini", "urn:agent:Gemini".to_owned()),
            ("Gemini.Agents.internal", "gemini.agents.internal".to_owned()),
            ("gemini-chat", "gemini-chat".to_owned()),
            (&format!("sha256:{hex}"), format!("sha256:{hex}")),
            (&format!("sha256:{colons}"), format!("sha256:{hex}")),
        ] {
            assert_eq!(CertificateName::parse(text).map(|name| name.to_string()), Some(said), "{text}");
        }
        let long = format!("spiffe://{}", "a".repeat(LIMIT));
        for bad in ["", "*.agents", "a b", "a..b", ".a", "sha256:", "sha256:0f", "://x", "spiffe:", "spiffe://a b", "1x:y", "é", &long] {
            assert_eq!(CertificateName::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_certificate_without_names_is_known_by_its_fingerprint() {
        let dns = CertificateName::dns("a.example").unwrap();
        let (bare, named) = (PeerCertificate::new(b"der", []), PeerCertificate::new(b"der", [dns.clone()]));
        assert_eq!(named.names(), [dns.clone(), bare.name().unwrap().clone()]);
        assert_eq!(named.name(), Some(&dns));
        assert!(bare.name().unwrap().to_string().starts_with("sha256:"));
    }

    proptest! {
        #[test]
        fn what_is_said_is_read_back(text in "\\PC{0,80}") {
            if let Some(name) = CertificateName::parse(&text) {
                prop_assert_eq!(CertificateName::parse(&name.to_string()), Some(name));
            }
        }
    }
}
