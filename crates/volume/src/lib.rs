//! The volume room: named directories that outlive containers.
//!
//! ```text
//! volumes.rs   create, get, list, remove; names; the driver's options
//! copy.rs      what an image has at a path goes into a new volume
//! check.rs     is every volume whole
//! tree.rs      a copy of a tree of files by directory descriptors
//! ```
//!
//! On disk, below the room's directory:
//!
//! ```text
//! <name>/volume.json   the record: format version, labels, options, when it was made
//! <name>/_data/        what containers see
//! <name>/_copy.tmp/    an image's content while it is copied; worthless after a crash
//! <name>/_copy/        the same, complete and durable, on its way into _data
//! .new-…/  .gone-…/    a volume that is being made or removed; cleared away at start
//! ```
//!
//! Invariants
//! - A volume appears whole and durable, by one rename, and goes the same way.
//! - What a user stored is never thrown away because a record is unreadable.
//! - No path inside a volume or an image is ever resolved as a string: single names below descriptors, links not
//!   followed.
//!
//! It must never know which container uses a volume: who asks for a removal has made sure that none does.

mod check;
mod copy;
mod tree;
mod volumes;

pub use volumes::{Volume, Volumes};

use std::path::{Path, PathBuf};

/// The room's result.
pub type Result<T> = std::result::Result<T, Error>;

/// What can go wrong, by what a caller does about it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no such volume.
    #[error("get {0}: no such volume")]
    NotFound(String),
    /// The name or an option makes no sense, or is one that this engine does not have.
    #[error("{0}")]
    Invalid(String),
    /// It clashes with something that is there.
    #[error("{0}")]
    Conflict(String),
    /// A file or a directory.
    #[error("{doing} {}: {source}", path.display())]
    Io {
        /// What was being done.
        doing: &'static str,
        /// To what.
        path: PathBuf,
        /// Why it failed.
        source: std::io::Error,
    },
}

impl Error {
    fn io(doing: &'static str, path: impl AsRef<Path>) -> impl FnOnce(std::io::Error) -> Error {
        move |source| Error::Io { doing, path: path.as_ref().to_owned(), source }
    }

    fn os(doing: &'static str, path: impl AsRef<Path>) -> impl FnOnce(rustix::io::Errno) -> Error {
        move |errno| Error::Io { doing, path: path.as_ref().to_owned(), source: errno.into() }
    }
}
