//! How targets are reached: files are read here, so that what cannot be used is a problem of the policy that names it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use http::Uri;
use http::uri::Scheme;
use rustls::pki_types::ServerName;

use crate::policy::file::{self, Text};
use crate::policy::problems::Report;
use crate::policy::{Authorities, ClientPair, Link, Protocol, Trust};
use crate::tls::{Pair, exposed, read, roots};

/// As `ca`: the authorities that this machine trusts.
const SYSTEM: &str = "system";

pub fn compile(settings: &file::Target, report: &mut Report<'_>) -> Option<Link> {
    let protocol = settings.protocol.as_ref().map_or(Protocol::default(), |stated| match stated.get_ref() {
        file::Protocol::Http1 => Protocol::Http1,
        file::Protocol::Http2 => Protocol::Http2,
        file::Protocol::Auto => Protocol::Auto,
    });
    let ca = match settings.ca.as_ref().filter(|text| text.get_ref() != SYSTEM) {
        Some(text) => Some(report.parsed(text, authorities)?),
        None => None,
    };
    let client = client(settings, report)?;
    let server_name = match &settings.server_name {
        Some(text) => Some(report.parsed(text, name)?),
        None => None,
    };
    Some(Link { protocol, trust: Trust::new(ca, client, server_name) })
}

/// Says so where what is said of TLS says nothing.
pub fn check(link: &Link, url: &Text, address: Option<&Uri>, report: &mut Report<'_>) {
    if link.trust.is_stated() && address.is_some_and(|address| address.scheme() == Some(&Scheme::HTTP)) {
        let place = report.place(url.span());
        report.warn(format!("{place}: this target is called over plain http, where `ca`, `client_cert` and `server_name` say nothing"));
    }
}

/// The outer `None`: what is said cannot be followed.
fn client(settings: &file::Target, report: &mut Report<'_>) -> Option<Option<ClientPair>> {
    match (&settings.client_cert, &settings.client_key) {
        (None, None) => Some(None),
        (Some(certificate), Some(key)) => {
            let (certificate_file, key_file) = (report.parsed(certificate, path), report.parsed(key, path));
            let (certificate_file, key_file) = (certificate_file?, key_file?);
            let pair = report.parsed(certificate, |_| Pair::read(&certificate_file, &key_file))?;
            if let Some(doubt) = exposed(&key_file) {
                report.warn(doubt);
            }
            Some(Some(ClientPair { certificate: certificate_file, key: key_file, pair }))
        }
        (Some(alone), None) => {
            report.problem(alone.span(), "a certificate without its key proves nothing: write `client_key` too");
            None
        }
        (None, Some(alone)) => {
            report.problem(alone.span(), "a key without its certificate says nothing: write `client_cert` too");
            None
        }
    }
}

fn authorities(text: &str) -> Result<Authorities, String> {
    let file = path(text)?;
    let roots = Arc::new(roots(&file, &read(&file)?)?);
    Ok(Authorities { file, roots })
}

/// The same file wherever the gatekeeper, or a command, is started.
fn path(text: &str) -> Result<PathBuf, String> {
    let path = Path::new(text);
    if path.is_absolute() {
        Ok(path.to_owned())
    } else {
        Err(format!("`{text}` is no absolute path: write one, as in \"/etc/gatekeeper/ca.pem\""))
    }
}

fn name(text: &str) -> Result<ServerName<'static>, String> {
    ServerName::try_from(text.to_owned()).map_err(|_| format!("`{text}` is no name of a server: write a DNS name or an address"))
}
