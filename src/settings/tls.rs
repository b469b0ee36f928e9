//! The files of certificates and keys by which the listeners speak TLS. What they hold is read by whoever needs it, and again when it
//! changes; here it is only said where they are.

use std::path::PathBuf;

use super::{Environment, Problems};

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsSettings {
    /// `None`: calls arrive over plain HTTP.
    pub data: Option<PairFiles>,
    /// Whose certificates callers may show.
    pub client_ca: Option<PathBuf>,
    pub ops: Option<PairFiles>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PairFiles {
    pub certificate: PathBuf,
    pub key: PathBuf,
}

impl TlsSettings {
    /// `shared`: both planes are on the data listener.
    pub(super) fn collect(environment: &Environment<'_>, p: &mut Problems, shared: bool) -> Self {
        let data = pair(environment, p, "GATEKEEPER_TLS_CERT", "GATEKEEPER_TLS_KEY");
        let ops = pair(environment, p, "GATEKEEPER_OPS_TLS_CERT", "GATEKEEPER_OPS_TLS_KEY");
        let client_ca = environment.parsed(p, "GATEKEEPER_TLS_CLIENT_CA", path);
        if client_ca.is_some() && data.is_none() && !p.name("GATEKEEPER_TLS_CERT") && !p.name("GATEKEEPER_TLS_KEY") {
            p.add("GATEKEEPER_TLS_CLIENT_CA", "says nothing without GATEKEEPER_TLS_CERT: certificates are shown over TLS alone");
        }
        if shared && ops.is_some() {
            p.add("GATEKEEPER_OPS_TLS_CERT", "says nothing where calls and operators share an address: GATEKEEPER_TLS_CERT is for both");
        }
        Self { data, client_ca, ops }
    }
}

fn pair(environment: &Environment<'_>, p: &mut Problems, certificate: &str, key: &str) -> Option<PairFiles> {
    match (environment.parsed(p, certificate, path), environment.parsed(p, key, path)) {
        (Some(certificate), Some(key)) => Some(PairFiles { certificate, key }),
        (Some(_), None) if !p.name(key) => {
            p.add(key, &format!("is not set, and {certificate} is: both are needed"));
            None
        }
        (None, Some(_)) if !p.name(certificate) => {
            p.add(certificate, &format!("is not set, and {key} is: both are needed"));
            None
        }
        _ => None,
    }
}

fn path(text: &str) -> Result<PathBuf, String> {
    if text.contains("-----BEGIN") {
        return Err("is to name a PEM file, not to hold one".into());
    }
    Ok(PathBuf::from(text))
}
