//! The client side of the distribution protocol (distribution-spec 1.1): from a reference to verified manifests and to
//! blobs as streams that survive cut connections.
//!
//! ```text
//! config.rs       what the administrator decides: insecure registries, mirrors, certificate directories, patience
//! credentials.rs  who the user says he is at one registry (X-Registry-Auth)
//! url.rs          the few URLs of the protocol, and the origin that credentials are bound to
//! resolve.rs      host name → addresses: literal, /etc/hosts, DNS; never getaddrinfo
//! tls.rs          trust: system roots, certs.d directories, insecure registries
//! transport.rs    one request, one response, connections kept alive
//! challenge.rs    WWW-Authenticate
//! auth.rs         Basic, Bearer tokens and their cache
//! session.rs      endpoint choice, redirects, authorization, retries
//! manifest.rs     manifests and indexes by tag or digest
//! blob.rs         a blob as a stream with resume
//! wording.rs      Docker's words for what a registry answers
//! ```
//!
//! Invariants
//! - Credentials go to the origin they belong to and to the token realm it names, if that is https or the same host;
//!   never along a redirect to another origin.
//! - Plain http and unverified certificates only for registries on the insecure list (loopback is on it).
//! - Whatever a registry sends has a limit: headers, manifest, token, error body, redirects, retries, idle time. A blob
//!   is exactly as long as its descriptor says.
//! - A manifest is returned only when its bytes hash to the digest it was asked by. The bytes of a blob are hashed by
//!   the one who stores them.
//!
//! This room knows nothing of disks, layers or images.

mod auth;
mod blob;
mod challenge;
mod config;
mod credentials;
mod manifest;
mod resolve;
mod session;
mod tls;
mod transport;
mod url;
mod wording;

pub use blob::Blob;
pub use config::{Config, Patience};
pub use credentials::Credentials;
pub use manifest::{MANIFEST_LIMIT, Manifest, digest};
pub use session::{Client, Repository};

/// What a caller can tell apart about a request that failed. The text is what Docker's users know.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The registry knows no such manifest, repository or blob.
    #[error("{0}")]
    NotFound(String),
    /// The registry knows who asks and does not let him, or hides that the repository is not there.
    #[error("{0}")]
    Denied(String),
    /// Credentials are missing or wrong.
    #[error("{0}")]
    Unauthorized(String),
    /// The registry asks for fewer requests, for longer than is worth waiting.
    #[error("{0}")]
    TooManyRequests(String),
    /// No connection: name resolution, network, TLS, or it broke too often.
    #[error("{0}")]
    Unreachable(String),
    /// Bytes that are not what their digest or size says.
    #[error("{0}")]
    Corrupt(String),
    /// An answer that the protocol does not allow, or that is beyond a limit.
    #[error("{0}")]
    Protocol(String),
    /// The registry failed.
    #[error("{0}")]
    Server(String),
    /// The configuration or the request makes no sense.
    #[error("{0}")]
    Invalid(String),
}
