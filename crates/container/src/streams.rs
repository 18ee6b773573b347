//! Attach, logs, the size of the terminal.

use crate::containers::{Container, Containers, lock};
use crate::error::{Error, Result, conflict, text};
use crate::state::Phase;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use supervisor::log::{Query, Reader};
use supervisor::protocol::{PassedFd, Reply, Request};

/// Which streams to attach to.
#[derive(Debug, Clone, Copy, Default)]
#[allow(missing_docs)]
pub struct Attach {
    pub stdin: bool,
    pub stdout: bool,
    pub stderr: bool,
}

/// The streams of a container.
pub struct Attached {
    /// Frames from it, raw bytes to it; they begin when it starts, if it does not run yet.
    pub stream: UnixStream,
    /// It has a terminal: only stdout frames come, to be sent on without Docker's header.
    pub tty: bool,
}

/// Which part of a log to read.
#[derive(Debug, Clone, Copy, Default)]
pub struct LogQuery {
    /// Only the last so many lines.
    pub tail: Option<u64>,
    /// Nanoseconds since the epoch.
    pub since_ns: Option<i64>,
    /// Nanoseconds since the epoch.
    pub until_ns: Option<i64>,
    /// Wait for more until the container has ended.
    pub follow: bool,
}

/// A log that is being read.
pub struct Logs {
    /// The records.
    pub reader: Reader,
    /// The container has a terminal: lines are sent on without Docker's header.
    pub tty: bool,
    /// Of a log that is followed: shutting this down, or dropping it, ends the reading.
    pub stop: Option<Arc<UnixStream>>,
}

impl Containers {
    /// Attaches to a container, whether it runs or not.
    ///
    /// # Errors
    /// `Conflict` when it is paused or restarting.
    pub fn attach(&self, name: &str, which: Attach) -> Result<Attached> {
        sys::step::reached(sys::step::Step::AttachBegun);
        let c = self.shared.find(name)?;
        let record = c.record();
        let tty = record.config.tty;
        let stdin = which.stdin && record.config.open_stdin;
        let stream = {
            // While the list is locked a start cannot take it, so it is in the list or the start is over.
            let mut streams = lock(&c.streams);
            let state = c.state();
            match state.phase {
                Phase::Running if state.paused => {
                    return Err(conflict!("container {} is paused, unpause the container before attach", c.id));
                }
                Phase::Restarting => {
                    return Err(conflict!("container {} is restarting, wait until the container is running", c.id));
                }
                Phase::Running => None,
                _ => {
                    let (ours, theirs) = UnixStream::pair()?;
                    let meaning = PassedFd::Attach { stdin, stdout: which.stdout, stderr: which.stderr };
                    streams.pending.push((meaning, theirs));
                    Some(ours)
                }
            }
        };
        let stream = match stream {
            Some(stream) => stream,
            None => c.attach_running(stdin, which)?,
        };
        sys::step::reached(sys::step::Step::AttachConnected);
        self.shared.tell(&c, "attach", &[]);
        Ok(Attached { stream, tty })
    }

    /// Tells that a client has detached.
    pub fn detached(&self, name: &str) {
        if let Ok(c) = self.shared.find(name) {
            self.shared.tell(&c, "detach", &[]);
        }
    }

    /// Opens a container's log.
    ///
    /// # Errors
    /// `Unsupported` when its driver keeps none.
    pub fn logs(&self, name: &str, query: LogQuery) -> Result<Logs> {
        let c = self.shared.find(name)?;
        let record = c.record();
        let log = c.log(&record.host_config.log_config)?;
        let Some((format, file)) = log.files() else {
            return Err(Error::Unsupported("configured logging driver does not support reading".into()));
        };
        let path = &file.path;
        let (mut follow, mut stop) = (None, None);
        if query.follow {
            let (ours, readers) = UnixStream::pair()?;
            let ours = Arc::new(ours);
            // Of a container that does not run nothing more comes: its end of the pair closes at once.
            let mut streams = lock(&c.streams);
            if c.peek(|s| s.is_running()) {
                streams.followers.retain(|f| f.strong_count() > 0);
                streams.followers.push(Arc::downgrade(&ours));
            } else {
                let _ = ours.shutdown(std::net::Shutdown::Both);
            }
            (follow, stop) = (Some(readers.into()), Some(ours));
        }
        let query = Query { tail: query.tail, since_ns: query.since_ns, until_ns: query.until_ns, follow };
        let reader = Reader::open(path, format, query).map_err(Error::io("open", path))?;
        Ok(Logs { reader, tty: record.config.tty, stop })
    }

    /// Sets the size of the container's terminal.
    ///
    /// # Errors
    /// `Conflict` when it does not run.
    pub fn resize(&self, name: &str, height: u16, width: u16) -> Result<()> {
        let c = self.shared.find(name)?;
        if !c.peek(|s| s.phase == Phase::Running) {
            return Err(text::not_running(&c.id));
        }
        c.ask(&Request::Resize { exec: None, height, width })?;
        self.shared.tell(&c, "resize", &[("height", height.to_string()), ("width", width.to_string())]);
        Ok(())
    }
}

impl Container {
    fn attach_running(&self, stdin: bool, which: Attach) -> Result<UnixStream> {
        let unreachable =
            |e: std::io::Error| Error::System(format!("cannot reach the supervisor of container {}: {e}", self.id));
        let socket = supervisor::connect(&self.run).map_err(unreachable)?;
        let request = Request::Attach { stdin, stdout: which.stdout, stderr: which.stderr };
        match supervisor::request(&socket, &request).map_err(unreachable)? {
            Reply::Failed(failure) => Err(Error::System(failure.text)),
            _ => Ok(socket),
        }
    }
}
