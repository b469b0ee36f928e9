//! Certificates and keys: read from files, looked at, and made ready for connections on either side; those of the listeners are kept
//! fresh while they serve.
//!
//! What goes wrong is said by the file's path and in our own words: libraries quote what they could not read, and that may be a key.

mod files;
mod locks;
mod pair;
mod peer;
mod pem;

use std::sync::Arc;

use rustls::crypto::CryptoProvider;

pub use locks::{Lock, Locks, Look, check};
pub use pair::{Pair, Validity};
pub use peer::peer;
pub use pem::{chain, exposed, read, roots};

/// The cryptography, named: what else is compiled in must not decide it.
pub fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}
