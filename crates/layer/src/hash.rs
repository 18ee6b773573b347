//! The digest of a stream, by the algorithm of the digest that is expected.

use crate::error::{Error, Result};
use oci::Digest;
use oci::digest::Algorithm;
use sha2::{Digest as _, Sha256, Sha512};

/// A digest in the making.
pub enum Hasher {
    #[allow(missing_docs)]
    Sha256(Sha256),
    #[allow(missing_docs)]
    Sha512(Box<Sha512>),
}

impl Hasher {
    /// Of `algorithm`.
    pub fn new(algorithm: Algorithm) -> Hasher {
        match algorithm {
            Algorithm::Sha256 => Hasher::Sha256(Sha256::new()),
            Algorithm::Sha512 => Hasher::Sha512(Box::new(Sha512::new())),
        }
    }

    /// Goes on with `bytes`.
    pub fn update(&mut self, bytes: &[u8]) {
        match self {
            Hasher::Sha256(h) => h.update(bytes),
            Hasher::Sha512(h) => h.update(bytes),
        }
    }

    /// The digest of all of it.
    pub fn finish(self) -> Result<Digest> {
        let raw = match self {
            Hasher::Sha256(h) => return Ok(Digest::from_sha256(&h.finalize().into())),
            Hasher::Sha512(h) => h.finalize(),
        };
        let mut text = String::from("sha512:");
        for byte in raw {
            use std::fmt::Write;
            let _ = write!(text, "{byte:02x}");
        }
        text.parse().map_err(|_| Error::Name { what: "digest", name: text })
    }
}

/// Digest of `bytes` by SHA-256.
pub fn sha256(bytes: &[u8]) -> Digest {
    Digest::from_sha256(&Sha256::digest(bytes).into())
}
