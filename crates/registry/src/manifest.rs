//! Manifests and indexes: fetched whole, limited, and never returned unless they are what was asked for.

use crate::session::Ask;
use crate::transport::CollectError;
use crate::wording::Subject;
use crate::{Error, Repository};
use http::{Method, header};
use oci::Digest;
use oci::digest::Algorithm;
use oci::image::{Descriptor, media};
use sha2::{Digest as _, Sha256, Sha512};

/// The largest manifest that is read; what distribution-spec asks registries to take at least.
pub const MANIFEST_LIMIT: usize = 4 << 20;

const ACCEPT: [&str; 4] = [media::OCI_INDEX, media::DOCKER_INDEX, media::OCI_MANIFEST, media::DOCKER_MANIFEST];

/// A manifest or an index as the registry keeps it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    /// What the digest names, byte for byte.
    pub bytes: Vec<u8>,
    /// What the registry says it is.
    pub media_type: String,
    /// Computed from the bytes, never copied from a header.
    pub digest: Digest,
}

/// The digest of some bytes.
pub fn digest(algorithm: Algorithm, bytes: &[u8]) -> Digest {
    match algorithm {
        Algorithm::Sha256 => Digest::from_sha256(&Sha256::digest(bytes).into()),
        Algorithm::Sha512 => {
            let hex: String = Sha512::digest(bytes).iter().map(|b| format!("{b:02x}")).collect();
            // 128 lowercase hexadecimal digits are a valid digest.
            format!("sha512:{hex}").parse().unwrap_or_else(|_| digest(Algorithm::Sha256, bytes))
        }
    }
}

fn name(tag: &str, by: Option<&Digest>) -> String {
    format!("manifests/{}", by.map_or(tag, Digest::as_str))
}

impl Repository {
    fn tag(&self) -> &str {
        self.reference().tag().unwrap_or("latest")
    }

    /// The manifest or index with a digest, or else the one that the reference's tag names now.
    ///
    /// # Errors
    /// In Docker's words; `Corrupt` when the bytes are not what the digest says.
    pub async fn manifest(&self, by: Option<&Digest>) -> Result<Manifest, Error> {
        let ask = Ask {
            method: Method::GET,
            path: name(self.tag(), by),
            subject: Subject::Manifest,
            accept: &ACCEPT,
            range: None,
        };
        let mut tries = 0;
        loop {
            let mut answer = self.request(&ask).await?;
            let bytes = match answer.collect(MANIFEST_LIMIT, "manifest").await {
                Ok(bytes) => bytes,
                Err(CollectError::Final(error)) => return Err(error),
                Err(CollectError::Fault(fault)) if tries >= self.patience().retries => {
                    return Err(Error::Unreachable(format!(
                        "reading manifest of {}: {}",
                        self.reference().familiar(),
                        fault.text()
                    )));
                }
                Err(CollectError::Fault(_)) => {
                    crate::session::pause(self.patience(), tries, None).await;
                    tries += 1;
                    continue;
                }
            };
            let claimed: Option<Digest> =
                answer.headers.get("docker-content-digest").and_then(|v| v.to_str().ok()?.parse().ok());
            let expected = by.or(claimed.as_ref());
            let digest = digest(expected.map_or(Algorithm::Sha256, Digest::algorithm), &bytes);
            if let Some(expected) = expected.filter(|e| **e != digest) {
                return Err(Error::Corrupt(format!(
                    "manifest verification failed for digest {expected}: got {digest}"
                )));
            }
            let media_type = answer.header(header::CONTENT_TYPE).unwrap_or_default();
            let media_type = media_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
            return Ok(Manifest { bytes, media_type, digest });
        }
    }

    /// What a tag names, without fetching it.
    ///
    /// # Errors
    /// In Docker's words; `Protocol` when the registry does not say digest and size.
    pub async fn head(&self, by: Option<&Digest>) -> Result<Descriptor, Error> {
        let ask = Ask {
            method: Method::HEAD,
            path: name(self.tag(), by),
            subject: Subject::Manifest,
            accept: &ACCEPT,
            range: None,
        };
        let mut answer = self.request(&ask).await?;
        let missing = |what: &str| Error::Protocol(format!("registry does not say the {what} of a manifest"));
        let digest = answer.headers.get("docker-content-digest").and_then(|v| v.to_str().ok()?.parse().ok());
        let size = answer.header(header::CONTENT_LENGTH).and_then(|v| v.parse().ok()).ok_or_else(|| missing("size"))?;
        let media_type = answer.header(header::CONTENT_TYPE).unwrap_or_default().to_owned();
        let _ = answer.chunk().await;
        Ok(Descriptor {
            media_type,
            digest: digest.or_else(|| by.cloned()).ok_or_else(|| missing("digest"))?,
            size,
            urls: Vec::new(),
            annotations: Default::default(),
            platform: None,
            artifact_type: None,
        })
    }

    /// A small blob (an image configuration), whole and verified.
    ///
    /// # Errors
    /// `Corrupt` when the bytes are not what the descriptor says; `Protocol` when it is larger than `limit`.
    pub async fn document(&self, descriptor: &Descriptor, limit: usize) -> Result<Vec<u8>, Error> {
        if descriptor.size > limit as u64 {
            let size = descriptor.size;
            return Err(Error::Protocol(format!(
                "blob {} of {size} bytes is larger than {limit} bytes",
                descriptor.digest
            )));
        }
        let mut blob = self.blob(&descriptor.digest, descriptor.size, 0);
        let mut bytes = Vec::with_capacity(descriptor.size as usize);
        while let Some(chunk) = blob.chunk().await? {
            bytes.extend_from_slice(&chunk);
        }
        let got = digest(descriptor.digest.algorithm(), &bytes);
        if got != descriptor.digest {
            return Err(Error::Corrupt(format!(
                "image config verification failed for digest {}: got {got}",
                descriptor.digest
            )));
        }
        Ok(bytes)
    }
}
