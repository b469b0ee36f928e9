//! The files behind a listener's TLS, and what is made of them.

use std::path::PathBuf;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::sign::SingleCertAndKey;

use super::{Pair, Validity, provider, read, roots};
use crate::settings::{PairFiles, TlsSettings};
use crate::sha256::Sha256;

#[derive(Debug)]
pub struct Files {
    /// `data` or `ops`.
    pub listener: &'static str,
    /// The variable that names the certificate.
    variable: &'static str,
    pub pair: PairFiles,
    client_ca: Option<PathBuf>,
}

/// The bytes of one moment. They may hold a key: nothing prints them.
pub struct Contents {
    certificate: Vec<u8>,
    key: Vec<u8>,
    client_ca: Option<Vec<u8>>,
}

/// Ready for connections.
#[derive(Debug)]
pub struct Loaded {
    pub config: Arc<ServerConfig>,
    pub validity: Validity,
    pub digest: [u8; 32],
}

impl Files {
    /// Of the data listener and of that for operators.
    pub fn of(settings: &TlsSettings) -> [Option<Self>; 2] {
        let TlsSettings { data, client_ca, ops } = settings.clone();
        let data = data.map(|pair| Self { listener: "data", variable: "GATEKEEPER_TLS_CERT", pair, client_ca });
        let ops = ops.map(|pair| Self { listener: "ops", variable: "GATEKEEPER_OPS_TLS_CERT", pair, client_ca: None });
        [data, ops]
    }

    /// With the setting that it is about.
    pub fn say(&self, what: &str) -> String {
        format!("{} ({}): {what}", self.variable, self.pair.certificate.display())
    }

    pub fn read(&self) -> Result<Contents, String> {
        Ok(Contents {
            certificate: read(&self.pair.certificate)?,
            key: read(&self.pair.key)?,
            client_ca: self.client_ca.as_deref().map(read).transpose()?,
        })
    }

    pub fn build(&self, contents: &Contents) -> Result<Loaded, String> {
        let Pair { certified, validity } = Pair::of((&self.pair.certificate, &contents.certificate), (&self.pair.key, &contents.key))?;
        let unfit = |error: rustls::Error| format!("TLS cannot be spoken with it: {error}");
        let builder = ServerConfig::builder_with_provider(provider()).with_safe_default_protocol_versions().map_err(unfit)?;
        let builder = match self.client_ca.as_ref().zip(contents.client_ca.as_ref()) {
            None => builder.with_no_client_auth(),
            Some((file, pem)) => {
                // Without a certificate a caller is who its key says; a wrong one ends the handshake.
                let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots(file, pem)?), provider()).allow_unauthenticated();
                builder.with_client_cert_verifier(verifier.build().map_err(|error| format!("{}: {error}", file.display()))?)
            }
        };
        let mut config = builder.with_cert_resolver(Arc::new(SingleCertAndKey::from(certified)));
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        if self.client_ca.is_some() {
            // A session that is taken up again would bring its certificate along unverified, whatever has become of it since.
            config.session_storage = Arc::new(NoServerSessionStorage {});
            config.send_tls13_tickets = 0;
        }
        Ok(Loaded { config: Arc::new(config), validity, digest: contents.digest() })
    }
}

impl Contents {
    pub fn digest(&self) -> [u8; 32] {
        let mut hash = Sha256::new();
        for part in [Some(&self.certificate), Some(&self.key), self.client_ca.as_ref()].into_iter().flatten() {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        hash.finish()
    }
}
