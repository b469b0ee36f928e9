//! PEM files: bounded, and files indeed.

use std::fs;
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// Every authority there is fits in.
const MOST: u64 = 1 << 20;

pub fn read(path: &Path) -> Result<Vec<u8>, String> {
    let failed = |error: io::Error| format!("{} cannot be read: {error}", path.display());
    // A pipe or device by that name would be waited for.
    if !fs::metadata(path).map_err(failed)?.is_file() {
        return Err(format!("{} is no file", path.display()));
    }
    let mut bytes = Vec::new();
    fs::File::open(path).map_err(failed)?.take(MOST + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > MOST {
        return Err(format!("{} is larger than 1 MiB, too large for certificates", path.display()));
    }
    Ok(bytes)
}

/// What is doubtful about how a key is kept: whoever reads it can be us.
pub fn exposed(key: &Path) -> Option<String> {
    let mode = fs::metadata(key).ok()?.mode();
    (mode & 0o027 != 0).then(|| format!("{} can be read by anybody, or written by its group: chmod 640, or 600", key.display()))
}

/// The certificates of a file, in its order; at least one.
pub fn chain(path: &Path, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let certificates = certificates.map_err(|_| format!("{} is no PEM: a section in it is broken or cut off", path.display()))?;
    if certificates.is_empty() {
        return Err(format!("{} holds no certificate in PEM, which begins with -----BEGIN CERTIFICATE-----", path.display()));
    }
    Ok(certificates)
}

pub fn key(path: &Path, pem: &[u8]) -> Result<PrivateKeyDer<'static>, String> {
    PrivateKeyDer::from_pem_slice(pem).map_err(|_| {
        format!("{} holds no private key in PEM that could be used as it is: PKCS #8, PKCS #1 or SEC 1, without a password", path.display())
    })
}

/// The authorities of a file. One that cannot be used is a mistake, not a lesser list.
pub fn roots(path: &Path, pem: &[u8]) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    for certificate in chain(path, pem)? {
        roots.add(certificate).map_err(|_| format!("{} holds a certificate that cannot be an authority's", path.display()))?;
    }
    Ok(roots)
}
