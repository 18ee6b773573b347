//! What can go wrong with layers, as far as a caller acts differently on it.

use oci::Digest;
use std::io;
use std::path::PathBuf;

/// Result of this room.
pub type Result<T> = std::result::Result<T, Error>;

/// Why something about layers was not done.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No such layer, blob or writable layer.
    #[error("no such {what}: {name}")]
    NotFound {
        /// `layer`, `blob` …
        what: &'static str,
        /// Which.
        name: String,
    },
    /// Somebody else writes it right now.
    #[error("{0} is being written already")]
    Busy(String),
    /// It is there already.
    #[error("{0} exists already")]
    Conflict(String),
    /// Something else still needs it.
    #[error("{name} is in use by {by}")]
    InUse {
        /// What was to be removed.
        name: String,
        /// What needs it.
        by: String,
    },
    /// An archive that is malformed, or that different programs would read differently.
    #[error("invalid tar archive: {0}")]
    Archive(String),
    /// One entry of an archive asks for something that is never done.
    #[error("tar entry {path:?}: {why}")]
    Entry {
        /// The entry's name as the archive has it.
        path: String,
        /// Why it is refused.
        why: String,
    },
    /// A limit was reached.
    #[error("{what} exceeds the limit of {limit}")]
    Limit {
        /// What was counted.
        what: &'static str,
        /// The limit.
        limit: u64,
    },
    /// The compressed stream is malformed.
    #[error("cannot decompress: {0}")]
    Compressed(String),
    /// The content is not what its digest says.
    #[error("{what}: digest is {found}, but {expected} was asked for")]
    Digest {
        /// `blob` or `layer`.
        what: &'static str,
        /// What was asked for.
        expected: Digest,
        /// What came.
        found: Digest,
    },
    /// The content has another size than was said.
    #[error("blob {digest}: size is {found}, but {expected} was said")]
    Size {
        /// Which blob.
        digest: Digest,
        /// What was said.
        expected: u64,
        /// What came.
        found: u64,
    },
    /// The writer of a stream went away before its end.
    #[error("the stream was cut off")]
    Cut,
    /// A name that cannot be used.
    #[error("invalid {what}: {name:?}")]
    Name {
        /// Of what.
        what: &'static str,
        /// The name.
        name: String,
    },
    /// The directory was written by a newer version.
    #[error("{path} has format version {version}, which is newer than this program knows", path = path.display())]
    Version {
        /// Which record.
        path: PathBuf,
        /// Its version.
        version: u32,
    },
    /// The system refused.
    #[error("{doing} {path}: {source}", path = path.display())]
    Io {
        /// Which step.
        doing: &'static str,
        /// On what.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
}

impl Error {
    /// An I/O error of `doing` something to `path`.
    pub(crate) fn io(doing: &'static str, path: impl Into<PathBuf>, source: impl Into<io::Error>) -> Error {
        Error::Io { doing, path: path.into(), source: source.into() }
    }

    /// An I/O error on an entry's path, which is bytes.
    pub(crate) fn at(doing: &'static str, path: &[u8], source: impl Into<io::Error>) -> Error {
        use std::os::unix::ffi::OsStrExt;
        Error::io(doing, std::ffi::OsStr::from_bytes(path), source)
    }

    /// A refusal of one entry.
    pub(crate) fn entry(path: &[u8], why: impl Into<String>) -> Error {
        let shown = path.get(..200).unwrap_or(path);
        Error::Entry { path: String::from_utf8_lossy(shown).into_owned(), why: why.into() }
    }

    /// Whether the disk (or a quota) is full.
    pub fn is_full(&self) -> bool {
        matches!(self, Error::Io { source, .. } if matches!(source.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded))
    }
}
