//! How connections to a target are made: in which protocol, whom they trust, and who they say they are.

use std::hash::{Hash, Hasher};
use std::path::PathBuf;
use std::sync::Arc;

use rustls::RootCertStore;
use rustls::pki_types::ServerName;

use super::{Policy, Target, Targets};
use crate::clock::Timestamp;
use crate::sha256::Sha256;
use crate::tls::Pair;

/// Whoever renews certificates does it before this many days are left.
const SOON: i64 = 14;

/// Targets whose links are equal share connections.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Link {
    pub protocol: Protocol,
    pub trust: Trust,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// As many connections as there are calls at once.
    #[default]
    Http1,
    /// One connection for all calls: by ALPN over TLS, by prior knowledge without.
    Http2,
    /// Over TLS what the target prefers, HTTP/1.1 without.
    Auto,
}

impl Protocol {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Http1 => "http1",
            Self::Http2 => "http2",
            Self::Auto => "auto",
        }
    }
}

/// Over TLS. What is left out is as this machine has it: its authorities, the target's own name, no certificate of ours.
#[derive(Clone, Debug, Default)]
pub struct Trust {
    pub ca: Option<Authorities>,
    pub client: Option<ClientPair>,
    pub server_name: Option<ServerName<'static>>,
    /// Of all that is public in it: the same certificates have the same key.
    digest: Option<[u8; 32]>,
}

/// These and no others.
#[derive(Clone, Debug)]
pub struct Authorities {
    pub file: PathBuf,
    pub roots: Arc<RootCertStore>,
}

/// What the gatekeeper shows to a target that asks for a certificate.
#[derive(Clone, Debug)]
pub struct ClientPair {
    pub certificate: PathBuf,
    pub key: PathBuf,
    pub pair: Pair,
}

impl Trust {
    pub fn new(ca: Option<Authorities>, client: Option<ClientPair>, server_name: Option<ServerName<'static>>) -> Self {
        if ca.is_none() && client.is_none() && server_name.is_none() {
            return Self::default();
        }
        let mut hash = Sha256::new();
        let mut part = |bytes: &[u8]| {
            hash.update((bytes.len() as u64).to_be_bytes());
            hash.update(bytes);
        };
        let roots = ca.iter().flat_map(|ca| &ca.roots.roots);
        roots.for_each(|root| [&root.subject, &root.subject_public_key_info].into_iter().for_each(|bytes| part(bytes)));
        part(b"client");
        client.iter().flat_map(|client| &client.pair.certified.cert).for_each(|certificate| part(certificate));
        part(server_name.as_ref().map(ServerName::to_str).unwrap_or_default().as_bytes());
        // A list of authorities, however short, is not the machine's own.
        part(&[u8::from(ca.is_some())]);
        Self { digest: Some(hash.finish()), ca, client, server_name }
    }

    pub fn is_stated(&self) -> bool {
        self.digest.is_some()
    }

    fn files(&self) -> impl Iterator<Item = &PathBuf> {
        let client = self.client.iter().flat_map(|client| [&client.certificate, &client.key]);
        self.ca.iter().map(|ca| &ca.file).chain(client)
    }
}

impl PartialEq for Trust {
    fn eq(&self, other: &Self) -> bool {
        self.digest == other.digest
    }
}

impl Eq for Trust {}

impl Hash for Trust {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.digest.hash(state);
    }
}

impl Targets {
    /// The certificates and keys that targets are called with, each file once.
    pub fn certificate_files(&self) -> Vec<PathBuf> {
        let mut files: Vec<PathBuf> = self.by_name.values().flat_map(|target| target.link.trust.files().cloned()).collect();
        files.sort();
        files.dedup();
        files
    }
}

impl Policy {
    /// The certificates shown to targets that are not good at this moment, or will soon not be.
    pub(super) fn certificates_ending(&self, now: Timestamp) -> Vec<String> {
        let ending = |target: &Arc<Target>| {
            let client = target.link.trust.client.as_ref()?;
            let (file, validity) = (client.certificate.display(), client.pair.validity);
            match validity.fault(now) {
                Some(fault) => Some(format!("{file}, which targets are shown, {fault}: put a new one there")),
                None => (validity.days_left(now) < SOON).then(|| format!("{file}, which targets are shown, ends on {}", validity.until)),
            }
        };
        let mut warnings: Vec<String> = self.targets.by_name.values().filter_map(ending).collect();
        warnings.sort();
        warnings.dedup();
        warnings
    }
}
