//! Pipes of a process.

use super::Stdio;
use oci::runtime::User;
use rustix::fs::{Gid, Mode, OFlags, Uid};
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};
use std::io;
use std::os::fd::{AsFd, OwnedFd};

/// Our ends of a process's streams.
#[derive(Debug, Default)]
pub(super) struct Ends {
    pub stdin: Option<Input>,
    pub outs: [Option<OwnedFd>; 2],
}

/// Which streams a process gets a pipe for; the others are `/dev/null`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wanted {
    pub stdin: bool,
    pub output: bool,
}

/// Makes the pipes of a process without a terminal.
pub(super) fn pipes(wanted: Wanted, user: &User) -> io::Result<(Stdio, Ends)> {
    let mut ends = Ends::default();
    let mut null: Option<OwnedFd> = None;
    let mut nothing = || -> io::Result<OwnedFd> {
        if null.is_none() {
            null = Some(rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?);
        }
        null.as_ref().map(OwnedFd::try_clone).unwrap_or(Err(io::ErrorKind::NotFound.into()))
    };
    let stdin = if wanted.stdin {
        let (theirs, ours) = pipe_with(PipeFlags::CLOEXEC)?;
        own(&theirs, user)?;
        ends.stdin = Some(Input::new(nonblocking(ours)?));
        theirs
    } else {
        nothing()?
    };
    let mut output = |side: usize| -> io::Result<OwnedFd> {
        if !wanted.output {
            return nothing();
        }
        let (ours, theirs) = pipe_with(PipeFlags::CLOEXEC)?;
        own(&theirs, user)?;
        ends.outs[side] = Some(nonblocking(ours)?);
        Ok(theirs)
    };
    let (stdout, stderr) = (output(0)?, output(1)?);
    Ok((Stdio { stdin: Some(stdin), stdout: Some(stdout), stderr: Some(stderr) }, ends))
}

/// Our ends of a terminal. Its one output carries everything.
pub(super) fn terminal(master: OwnedFd, stdin: bool) -> io::Result<Ends> {
    let master = nonblocking(master)?;
    let stdin = if stdin { Some(Input::new(master.try_clone()?)) } else { None };
    Ok(Ends { stdin, outs: [Some(master), None] })
}

/// A process that is not root can open its own `/dev/stdout` only if the pipe belongs to it.
fn own(pipe: &OwnedFd, user: &User) -> io::Result<()> {
    if user.uid != 0 || user.gid != 0 {
        rustix::fs::fchown(pipe, Some(Uid::from_raw(user.uid)), Some(Gid::from_raw(user.gid)))?;
    }
    Ok(())
}

/// The flag belongs to our end alone: the other end of a pipe is an open file of its own.
fn nonblocking(fd: OwnedFd) -> io::Result<OwnedFd> {
    rustix::fs::fcntl_setfl(&fd, rustix::fs::fcntl_getfl(&fd)? | OFlags::NONBLOCK)?;
    Ok(fd)
}

/// The stdin of a process, with what it has not taken yet.
#[derive(Debug)]
pub(super) struct Input {
    fd: OwnedFd,
    pending: Vec<u8>,
    at: usize,
    closing: bool,
}

impl Input {
    fn new(fd: OwnedFd) -> Input {
        Input { fd, pending: Vec::new(), at: 0, closing: false }
    }

    /// Whether there is something to write: until then no more is read from clients.
    pub fn waiting(&self) -> bool {
        self.at < self.pending.len()
    }

    pub fn fd(&self) -> &OwnedFd {
        &self.fd
    }

    /// Passes data on. `false` when the process reads no more: the input is to be dropped.
    #[must_use]
    pub fn feed(&mut self, data: &[u8]) -> bool {
        if self.closing {
            return true;
        }
        self.pending.extend_from_slice(data);
        self.flush()
    }

    /// No more comes. `false` when it can be dropped at once.
    #[must_use]
    pub fn close(&mut self) -> bool {
        self.closing = true;
        self.waiting()
    }

    /// Writes what the process takes. `false` when the input is to be dropped.
    #[must_use]
    pub fn flush(&mut self) -> bool {
        while self.waiting() {
            match rustix::io::write(self.fd.as_fd(), &self.pending[self.at..]) {
                Ok(length) => self.at += length,
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return true,
                Err(_) => return false,
            }
        }
        self.pending = Vec::new();
        self.at = 0;
        !self.closing
    }
}
