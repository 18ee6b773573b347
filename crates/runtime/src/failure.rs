//! Why a container or a process was not started, as data that crosses processes.

/// A failure with the step it happened in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The step that failed: `mount /proc`, `exec`, `cgroup memory` …
    pub stage: String,
    /// What it means to the caller.
    pub kind: FailureKind,
    /// The system call's error, or 0.
    pub errno: i32,
    /// The whole sentence for the user.
    pub text: String,
}

/// What a caller does about a [`Failure`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailureKind {
    /// The command does not exist: exit code 127.
    CommandNotFound,
    /// The command cannot be executed: exit code 126.
    NotExecutable,
    /// The configuration asks for something impossible.
    Invalid,
    /// The system refused.
    System,
}

impl Failure {
    /// The system refused `what`, with its error.
    pub fn system(stage: &str, what: &str, errno: rustix::io::Errno) -> Failure {
        let why = std::io::Error::from(errno).to_string();
        let why = why.split(" (os error").next().unwrap_or(&why).to_lowercase();
        Failure {
            stage: stage.into(),
            kind: FailureKind::System,
            errno: errno.raw_os_error(),
            text: format!("{what}: {why}"),
        }
    }

    /// The configuration asks for something that cannot be done.
    pub fn invalid(stage: &str, text: String) -> Failure {
        Failure { stage: stage.into(), kind: FailureKind::Invalid, errno: 0, text }
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for Failure {}
