//! The socket over which a runtime sends the master side of a terminal.

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

/// How long a runtime that has ended well may have taken to send it.
const PATIENCE: Timespec = Timespec { tv_sec: 5, tv_nsec: 0 };

/// Waits for one terminal.
#[derive(Debug)]
pub(super) struct Listener {
    socket: OwnedFd,
    file: PathBuf,
    path: PathBuf,
    _directory: OwnedFd,
}

impl Listener {
    pub fn new(directory: &Path) -> io::Result<Listener> {
        use rustix::fs::{Mode, OFlags};
        let file = directory.join("console");
        let _ = std::fs::remove_file(&file);
        // Through the descriptor, as the path itself may be longer than an address can be.
        let directory = rustix::fs::open(directory, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        let path = PathBuf::from(format!("/proc/{}/fd/{}/console", std::process::id(), directory.as_raw_fd()));
        let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
        rustix::net::bind(&socket, &SocketAddrUnix::new(&path)?)?;
        rustix::net::listen(&socket, 1)?;
        Ok(Listener { socket, file, path, _directory: directory })
    }

    /// What to tell the runtime.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Receives the terminal that the runtime has sent.
    pub fn receive(self) -> io::Result<OwnedFd> {
        let ready = |fd: &OwnedFd| -> io::Result<()> {
            if poll(&mut [PollFd::new(fd, PollFlags::IN)], Some(&PATIENCE))? == 0 {
                return Err(io::Error::new(io::ErrorKind::TimedOut, "the runtime has sent no terminal"));
            }
            Ok(())
        };
        ready(&self.socket)?;
        let connection = rustix::net::accept_with(&self.socket, SocketFlags::CLOEXEC)?;
        ready(&connection)?;
        let (_, fds) = sys::socket::recv_with_fds(connection.as_fd(), &mut [0; 4096])?;
        fds.into_iter().next().ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "a message without a terminal"))
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.file);
    }
}
