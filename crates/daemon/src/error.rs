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
        Error { status, message: words(message.into()) }
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

/// The operating system's sentences as Docker's clients search for them: `no space left on device`, without a number.
fn words(mut message: String) -> String {
    const NUMBER: &str = " (os error ";
    while let Some(at) = message.find(NUMBER) {
        let Some(end) = message[at..].find(')').map(|n| at + n) else { break };
        let start = message[..at].rfind(": ").map_or(0, |n| n + 2);
        message.replace_range(at..=end, "");
        if let Some(first) = message.get_mut(start..start + 1) {
            first.make_ascii_lowercase();
        }
    }
    message
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}

impl From<network::Error> for Error {
    fn from(error: network::Error) -> Error {
        let message = error.to_string();
        match error {
            network::Error::Invalid(_) => Error::invalid(message),
            // dockerd answers a port in use with 500, too.
            network::Error::Conflict(_) => Error::conflict(message),
            network::Error::PortInUse(_)
            | network::Error::Exhausted(_)
            | network::Error::Corrupt(_)
            | network::Error::Kernel { .. }
            | network::Error::Io { .. } => Error::internal(message),
        }
    }
}

impl From<container::Error> for Error {
    fn from(error: container::Error) -> Error {
        let message = error.to_string();
        match error {
            container::Error::NotFound(_) => Error::not_found(message),
            container::Error::Conflict(_) => Error::conflict(message),
            container::Error::Invalid(_) => Error::invalid(message),
            container::Error::NotModified(_) => Error::new(StatusCode::NOT_MODIFIED, message),
            container::Error::Unsupported(_) => Error::new(StatusCode::NOT_IMPLEMENTED, message),
            container::Error::System(_) | container::Error::Io { .. } => Error::internal(message),
        }
    }
}

impl From<registry::Error> for Error {
    fn from(error: registry::Error) -> Error {
        let message = error.to_string();
        match error {
            registry::Error::NotFound(_) | registry::Error::Denied(_) => Error::not_found(message),
            registry::Error::Unauthorized(_) => Error::new(StatusCode::UNAUTHORIZED, message),
            registry::Error::TooManyRequests(_) => Error::new(StatusCode::TOO_MANY_REQUESTS, message),
            registry::Error::Invalid(_) => Error::invalid(message),
            registry::Error::Unreachable(_)
            | registry::Error::Corrupt(_)
            | registry::Error::Protocol(_)
            | registry::Error::Server(_) => Error::internal(message),
        }
    }
}

impl From<image::Error> for Error {
    fn from(error: image::Error) -> Error {
        let message = error.to_string();
        match error {
            image::Error::NotFound(_) => Error::not_found(message),
            image::Error::Conflict(_) => Error::conflict(message),
            image::Error::Invalid(_) => Error::invalid(message),
            image::Error::Registry(error) => error.into(),
            image::Error::Corrupt(_) | image::Error::Layer(_) | image::Error::Io { .. } => Error::internal(message),
        }
    }
}

impl From<volume::Error> for Error {
    fn from(error: volume::Error) -> Error {
        let message = error.to_string();
        match error {
            volume::Error::NotFound(_) => Error::not_found(message),
            volume::Error::Invalid(_) => Error::invalid(message),
            volume::Error::Conflict(_) => Error::conflict(message),
            volume::Error::Io { .. } => Error::internal(message),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_systems_words() {
        let full = std::io::Error::from_raw_os_error(28);
        assert_eq!(words(format!("write big: {full}")), "write big: no space left on device");
        assert_eq!(words(full.to_string()), "no space left on device");
        assert_eq!(words(format!("a: {full}: B: {full}")), "a: no space left on device: B: no space left on device");
        assert_eq!(words("plain: Text".into()), "plain: Text");
        assert_eq!(words("x (os error ".into()), "x (os error ");
    }
}
