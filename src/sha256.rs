//! SHA-256, by the crate that TLS comes with: it is computed for every call, of the key that was shown.

use ring::digest::{Context, SHA256, SHA256_OUTPUT_LEN, digest};

pub type Hash = [u8; SHA256_OUTPUT_LEN];

pub fn sha256(bytes: &[u8]) -> Hash {
    array(digest(&SHA256, bytes).as_ref())
}

/// Of bytes that come in pieces.
#[derive(Clone)]
pub struct Sha256(Context);

impl Sha256 {
    pub fn new() -> Self {
        Self(Context::new(&SHA256))
    }

    pub fn update(&mut self, bytes: impl AsRef<[u8]>) {
        self.0.update(bytes.as_ref());
    }

    pub fn chain(mut self, bytes: impl AsRef<[u8]>) -> Self {
        self.update(bytes);
        self
    }

    pub fn finish(self) -> Hash {
        array(self.0.finish().as_ref())
    }
}

impl Default for Sha256 {
    fn default() -> Self {
        Self::new()
    }
}

/// Of what the crate calculates: its own types do not say how long it is.
pub fn array(digest: &[u8]) -> Hash {
    let mut hash = [0; SHA256_OUTPUT_LEN];
    hash.copy_from_slice(digest);
    hash
}

#[cfg(test)]
mod tests {
    use super::*;

    /// FIPS 180-4's first example; in the database are hashes of keys that must stay what they are.
    #[test]
    fn it_is_sha_256_whole_and_in_pieces() {
        let known = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        let hex = |hash: Hash| hash.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        assert_eq!(hex(sha256(b"abc")), known);
        assert_eq!(hex(Sha256::new().chain("a").chain([]).chain(b"bc").finish()), known);
    }
}
