//! What a caller can tell apart.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The result of this room.
pub type Result<T> = std::result::Result<T, Error>;

/// Why something did not happen. Cloned to everyone who waited for the same layer.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// No such image, or nothing for the platform.
    #[error("{0}")]
    NotFound(String),
    /// It is used, or named, in a way that forbids it.
    #[error("{0}")]
    Conflict(String),
    /// The request makes no sense, or asks for what this engine does not do.
    #[error("{0}")]
    Invalid(String),
    /// An image that contradicts itself.
    #[error("{0}")]
    Corrupt(String),
    /// The registry's answer.
    #[error(transparent)]
    Registry(#[from] registry::Error),
    /// A layer or a blob.
    #[error("{0}")]
    Layer(Arc<layer::Error>),
    /// The operating system.
    #[error("{doing} {}: {source}", path.display())]
    Io {
        /// What was being done.
        doing: &'static str,
        /// To what.
        path: PathBuf,
        /// Why it failed.
        source: Arc<io::Error>,
    },
}

impl From<layer::Error> for Error {
    fn from(error: layer::Error) -> Error {
        Error::Layer(Arc::new(error))
    }
}

impl From<oci::Error> for Error {
    fn from(error: oci::Error) -> Error {
        match error {
            oci::Error::Document { .. } => Error::Corrupt(error.to_string()),
            _ => Error::Invalid(error.to_string()),
        }
    }
}

impl Error {
    pub(crate) fn io(doing: &'static str, path: &Path, source: impl Into<io::Error>) -> Error {
        Error::Io { doing, path: path.into(), source: Arc::new(source.into()) }
    }

    /// Docker's words for an unknown image. `text` is what the user typed.
    pub(crate) fn no_such_image(text: &str) -> Error {
        let shown = match text.parse::<oci::Reference>() {
            // A digest alone stands for itself; everything else is shown as the name it would be.
            Ok(reference) if !text.starts_with("sha256:") => reference.or_latest().familiar(),
            _ => text.to_owned(),
        };
        Error::NotFound(format!("No such image: {shown}"))
    }
}
