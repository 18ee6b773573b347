//! The OCI documents as pure data: image-spec 1.1, runtime-spec 1.3, distribution-spec 1.1, and the names they use.
//!
//! ```text
//! digest.rs     sha256:… and sha512:…            image-spec descriptor.md#digests
//! reference.rs  [host/]path[:tag][@digest]       distribution/reference grammar, Docker's normal form
//! platform.rs   os/arch[/variant]                image-spec image-index.md#platform-object
//! image.rs      descriptors, manifests, indexes, the image configuration
//! duration.rs   10m, 1h30m                     Go's time.ParseDuration
//! runtime.rs    config.json of a container       runtime-spec config.md, config-linux.md
//! scope.rs      slice:prefix:name                systemd's names of a container's cgroup
//! json.rs       what JSON readers differ on, refused
//! ```
//!
//! Invariants: a value that exists is valid (parsed once, at the edge); nothing here does I/O; labels, annotations and
//! environment that come from an image are data that this room gives no meaning to.

pub mod digest;
pub mod duration;
pub mod image;
mod json;
pub mod platform;
pub mod reference;
pub mod runtime;
pub mod scope;

pub use digest::Digest;
pub use platform::Platform;
pub use reference::Reference;
pub use scope::Scope;

/// A document or a name that does not have the form its specification asks for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The text does not follow the reference grammar. Docker's own wording, which clients search for.
    #[error("invalid reference format")]
    ReferenceFormat,
    /// A repository name has capital letters.
    #[error("invalid reference format: repository name ({0}) must be lowercase")]
    ReferenceCase(String),
    /// A repository name is longer than 255 bytes.
    #[error("repository name must not be more than 255 characters")]
    ReferenceLength,
    /// 64 hexadecimal digits alone are an image ID, not a name.
    #[error("invalid repository name ({0}), cannot specify 64-byte hexadecimal strings")]
    ReferenceIsId(String),
    /// The text is not `algorithm:hex` of a known algorithm and its exact length.
    #[error("invalid digest {0:?}: expected sha256:<64 lowercase hex digits>")]
    Digest(String),
    /// The text is not `os[/arch[/variant]]`.
    #[error("{0:?} is an invalid OS/architecture specifier: expected os[/arch[/variant]]")]
    Platform(String),
    /// A `cgroupsPath` that names no scope, where systemd makes the cgroup.
    #[error("expected cgroupsPath to be of format \"slice:prefix:name\" for systemd cgroups, got {0:?} instead")]
    CgroupsPath(String),
    /// The text is not `name.slice`.
    #[error("invalid slice name: {0}")]
    Slice(String),
    /// systemd could have no unit of this name.
    #[error("invalid name of a systemd unit: {0}")]
    UnitName(String),
    /// A JSON document has the wrong shape.
    #[error("invalid {what}: {why}")]
    Document {
        /// Which document, for instance `image manifest`.
        what: &'static str,
        /// What is wrong with it.
        why: String,
    },
}
