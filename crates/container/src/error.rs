//! What can go wrong here, in the few meanings a caller branches on. Texts are for the user, in Docker's words.

use std::path::{Path, PathBuf};

/// Why something about a container did not happen.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no such container, exec, image, volume or path.
    #[error("{0}")]
    NotFound(String),
    /// The request contradicts the present state: a name in use, a container that runs or does not.
    #[error("{0}")]
    Conflict(String),
    /// The request makes no sense, whatever the state.
    #[error("{0}")]
    Invalid(String),
    /// It is already so.
    #[error("{0}")]
    NotModified(String),
    /// Something of Docker's that this engine does not do.
    #[error("{0}")]
    Unsupported(String),
    /// The system, or another room, refused.
    #[error("{0}")]
    System(String),
    /// A file operation failed.
    #[error("{doing} {}: {source}", path.display())]
    Io {
        /// What was being done: `write`, `rename` …
        doing: &'static str,
        /// To which file.
        path: PathBuf,
        /// Why it failed.
        source: std::io::Error,
    },
}

/// The room's result.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// An [`Error::Io`] maker, for `map_err`.
    pub(crate) fn io(doing: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Error {
        let path = path.to_owned();
        move |source| Error::Io { doing, path, source }
    }

    /// The same meaning with words before its text.
    pub(crate) fn context(self, before: &str) -> Error {
        let text = |t: String| format!("{before}: {t}");
        match self {
            Error::NotFound(t) => Error::NotFound(text(t)),
            Error::Conflict(t) => Error::Conflict(text(t)),
            Error::Invalid(t) => Error::Invalid(text(t)),
            Error::NotModified(t) => Error::NotModified(text(t)),
            Error::Unsupported(t) => Error::Unsupported(text(t)),
            Error::System(t) => Error::System(text(t)),
            io @ Error::Io { .. } => Error::System(text(io.to_string())),
        }
    }
}

macro_rules! invalid { ($($arg:tt)*) => { $crate::error::Error::Invalid(format!($($arg)*)) }; }
macro_rules! conflict { ($($arg:tt)*) => { $crate::error::Error::Conflict(format!($($arg)*)) }; }
macro_rules! missing { ($($arg:tt)*) => { $crate::error::Error::NotFound(format!($($arg)*)) }; }
pub(crate) use {conflict, invalid, missing};

/// Docker's texts that more than one verb says.
pub(crate) mod text {
    use super::Error;

    pub fn no_such_container(name: &str) -> Error {
        missing!("No such container: {name}")
    }
    pub fn not_running(id: &str) -> Error {
        conflict!("container {id} is not running")
    }
    pub fn restarting(id: &str) -> Error {
        conflict!("Container {id} is restarting, wait until the container is running")
    }
    pub fn paused(id: &str) -> Error {
        conflict!("Container {id} is paused, unpause the container before exec")
    }
}
