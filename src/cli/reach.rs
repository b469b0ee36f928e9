//! How commands reach the ops listener of a running gatekeeper: in plain HTTP, or over TLS where it speaks that.
//!
//! Over TLS it is known by the authorities of this machine (or those of `SSL_CERT_FILE`). Where the environment names the listener's own
//! certificate, that is believed too, and the listener is called by the name in it, for its address stands in few certificates.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use http::Uri;
use http_body_util::Full;
use hyper_rustls::{FixedServerNameResolver, HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};

use crate::identity::CertificateName;
use crate::settings::Environment;
use crate::tls;

pub type Link = Client<HttpsConnector<HttpConnector>, Full<Bytes>>;

/// Why there is no address to call.
#[derive(Debug)]
pub enum Unclear {
    /// The one given is none.
    Given(String),
    Environment(String),
}

/// Where the gatekeeper is, and how it is known over TLS.
#[derive(Debug)]
pub struct Reach {
    /// Without a slash at its end.
    pub base: String,
    roots: RootCertStore,
    name: Option<ServerName<'static>>,
}

impl Reach {
    /// At the address given, or where the gatekeeper of this environment listens for operators.
    pub fn to(given: Option<&str>, environment: &Environment<'_>) -> Result<Self, Unclear> {
        match given {
            Some(url) => Self::given(url),
            None => Self::of_environment(environment).map_err(Unclear::Environment),
        }
    }

    fn given(url: &str) -> Result<Self, Unclear> {
        let base = url.trim_end_matches('/').to_owned();
        let is_address = |uri: Uri| matches!(uri.scheme_str(), Some("http" | "https")) && uri.host().is_some();
        if !base.parse().is_ok_and(is_address) {
            return Err(Unclear::Given(format!("'{base}' is not an address such as http://127.0.0.1:9090")));
        }
        Ok(Self { base, roots: RootCertStore::empty(), name: None })
    }

    fn of_environment(environment: &Environment<'_>) -> Result<Self, String> {
        let listen = environment.variable("GATEKEEPER_OPS_LISTEN").unwrap_or_default();
        let is_shared = environment.variable("GATEKEEPER_LISTEN").is_some_and(|data| data == listen);
        let mut listen: SocketAddr =
            listen.parse().map_err(|_| "GATEKEEPER_OPS_LISTEN must be an address and a port, such as 127.0.0.1:9090".to_owned())?;
        // An address for all interfaces is asked on loopback.
        if listen.ip().is_unspecified() {
            listen.set_ip(if listen.is_ipv4() { Ipv4Addr::LOCALHOST.into() } else { Ipv6Addr::LOCALHOST.into() });
        }
        let Some(file) = environment.variable(if is_shared { "GATEKEEPER_TLS_CERT" } else { "GATEKEEPER_OPS_TLS_CERT" }) else {
            return Ok(Self { base: format!("http://{listen}"), roots: RootCertStore::empty(), name: None });
        };
        let file = Path::new(&file);
        let chain = tls::chain(file, &tls::read(file)?)?;
        let mut roots = RootCertStore::empty();
        let name = chain.first().and_then(|own| tls::peer(own).names().iter().find_map(host));
        roots.add_parsable_certificates(chain);
        Ok(Self { base: format!("https://{listen}"), roots, name })
    }

    /// Nothing is sent yet.
    pub fn link(self, patience: Duration) -> Link {
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_connect_timeout(Some(patience));
        let mut roots = self.roots;
        if self.base.starts_with("https:") {
            // What cannot be read of them verifies nothing, and that is told when it is missed.
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
        let config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        let over_tls = HttpsConnectorBuilder::new().with_tls_config(config).https_or_http();
        let over_tls = match self.name {
            Some(name) => over_tls.with_server_name_resolver(FixedServerNameResolver::new(name)),
            None => over_tls,
        };
        Client::builder(TokioExecutor::new()).build(over_tls.enable_http1().wrap_connector(tcp))
    }
}

fn host(name: &CertificateName) -> Option<ServerName<'static>> {
    match name {
        CertificateName::Dns(name) => ServerName::try_from(name.to_string()).ok(),
        CertificateName::Uri(_) | CertificateName::Fingerprint(_) => None,
    }
}
