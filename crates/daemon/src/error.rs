//! What a request is refused with: the one place where room errors become statuses.

use http::StatusCode;

/// A status and the sentence a client prints.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    /// The status; 304 goes without a body.
    pub status: StatusCode,
    /// The whole sentence.
    pub message: String,
}

/// Shorthand of this room.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// Any status.
    pub fn new(status: StatusCode, message: impl Into<String>) -> Error {
        Error { status, message: message.into() }
    }

    /// 400
    pub fn invalid(message: impl Into<String>) -> Error {
        Error::new(StatusCode::BAD_REQUEST, message)
    }

    /// 404
    pub fn not_found(message: impl Into<String>) -> Error {
        Error::new(StatusCode::NOT_FOUND, message)
    }

    /// 409
    pub fn conflict(message: impl Into<String>) -> Error {
        Error::new(StatusCode::CONFLICT, message)
    }

    /// 500
    pub fn internal(message: impl Into<String>) -> Error {
        Error::new(StatusCode::INTERNAL_SERVER_ERROR, message)
    }

    /// 501
    pub fn absent(what: &str) -> Error {
        Error::new(StatusCode::NOT_IMPLEMENTED, format!("{what} is not implemented in this version of dhow"))
    }

    /// 404 of a path that is no route.
    pub fn page_not_found() -> Error {
        Error::not_found("page not found")
    }

    /// 503 of everything that is Swarm's.
    pub fn swarm() -> Error {
        Error::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "This node is not a swarm manager. Use \"docker swarm init\" or \"docker swarm join\" to connect this node to swarm and try again.",
        )
    }
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}
