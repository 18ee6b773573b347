//! How a command ends when it does not end well.

use std::fmt;

/// What is printed to standard error, and the exit code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// Nothing is printed when it is empty.
    pub text: String,
    /// The exit code.
    pub code: u8,
    /// The daemon's HTTP status, when it was the daemon that refused.
    pub status: Option<u16>,
}

/// The result of anything that can end a command.
pub type Result<T> = std::result::Result<T, Failure>;

impl Failure {
    /// An ordinary failure: exit code 1.
    pub fn new(text: impl Into<String>) -> Failure {
        Failure { text: text.into(), code: 1, status: None }
    }

    /// Exit with a code, without words.
    pub fn exit(code: u8) -> Failure {
        Failure { text: String::new(), code, status: None }
    }

    /// What the daemon said.
    pub fn daemon(status: u16, message: &str) -> Failure {
        Failure { text: format!("Error response from daemon: {message}"), code: 1, status: Some(status) }
    }

    /// The same with another exit code.
    pub fn with_code(mut self, code: u8) -> Failure {
        self.code = code;
        self
    }

    /// Whether the daemon knows no such thing.
    pub fn is_not_found(&self) -> bool {
        self.status == Some(404)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Failure {
        Failure::new(describe(&error))
    }
}

/// An I/O error in the words of C's library and Go, without Rust's `(os error N)`.
pub fn describe(error: &std::io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or(&text);
    let mut chars = text.chars();
    match (error.raw_os_error(), chars.next()) {
        (Some(_), Some(first)) => first.to_lowercase().chain(chars).collect(),
        _ => text.to_string(),
    }
}
