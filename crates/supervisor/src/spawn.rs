//! The daemon's side of a start.

use crate::connect::read_line;
use crate::protocol::{AHEAD, Launch, MAX_MESSAGE, PassedFd, Started};
use oci::runtime::Seccomp;
use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

/// What `ps` calls it; the path that is executed is a descriptor's.
const NAME: &str = "dhow-init";

/// Starts supervisors, and keeps one that waits for its launch, with the last filter compiled: a start then costs no
/// execve. It ends by itself when this process has ended, however it did.
#[derive(Debug)]
pub struct Spawner {
    init: PathBuf,
    kept: Mutex<Kept>,
    /// A mount namespace without the host's mounts, where one can be had.
    bare: OnceLock<Option<OwnedFd>>,
}

#[derive(Debug, Default)]
struct Kept {
    spare: Option<Fresh>,
    /// Somebody is making it.
    making: bool,
    /// The filter that the last launch had.
    filter: Option<Seccomp>,
}

/// A supervisor that waits.
#[derive(Debug)]
struct Fresh {
    socket: UnixStream,
    child: Child,
    /// The filter that it has been told of.
    ahead: Option<Seccomp>,
}

impl Spawner {
    /// For the program `init`.
    pub fn new(init: PathBuf) -> Spawner {
        Spawner { init, kept: Mutex::default(), bare: OnceLock::new() }
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn bare(&self) -> Option<&OwnedFd> {
        self.bare.get_or_init(|| sys::bare::mounts().ok()).as_ref()
    }

    /// The process that waits for a launch.
    pub fn waiting(&self) -> Option<u32> {
        self.kept().spare.as_ref().map(|spare| spare.child.id())
    }

    /// As [`spawn`], by the one that is kept ready if there is one.
    ///
    /// # Errors
    /// As [`spawn`].
    pub fn spawn(&self, mut launch: Launch, mut fds: Vec<OwnedFd>) -> io::Result<(Started, UnixStream, Child)> {
        if launch.runtime.is_none()
            && let Some(bare) = self.bare()
        {
            launch.fds.push(PassedFd::BareMounts);
            fds.push(bare.try_clone()?);
        }
        let spare = self.kept().spare.take();
        let Some(mut spare) = spare.and_then(Fresh::alive) else {
            self.remember(&launch);
            return spawn(&self.init, &launch, fds);
        };
        let linux = launch.spec.linux.as_mut();
        let told = linux.and_then(|l| l.seccomp.take_if(|wanted| spare.ahead.as_ref() == Some(wanted)));
        launch.filter_ahead = told.is_some();
        let sent = check(&launch, &fds).and_then(|body| send(&spare.socket, &body, &fds));
        if let Some(linux) = launch.spec.linux.as_mut().filter(|_| told.is_some()) {
            linux.seccomp = told;
            launch.filter_ahead = false;
        }
        self.remember(&launch);
        match sent {
            Ok(()) => spare.outcome(),
            // What is not whole starts nothing: it died a moment ago.
            Err(_) => {
                spare.end();
                spawn(&self.init, &launch, fds)
            }
        }
    }

    fn remember(&self, launch: &Launch) {
        let filter = launch.spec.linux.as_ref().and_then(|l| l.seccomp.as_ref());
        let mut kept = self.kept();
        if filter.is_some() && kept.filter.as_ref() != filter {
            kept.filter = filter.cloned();
        }
    }

    /// Makes the one that is kept ready, if there is none. If it fails, the next start tries again.
    pub fn refill(&self) {
        let filter = {
            let mut kept = self.kept();
            if kept.spare.is_some() || std::mem::replace(&mut kept.making, true) {
                return;
            }
            kept.filter.clone()
        };
        self.bare();
        let fresh = Fresh::new(&self.init).ok().map(|fresh| fresh.told(filter));
        let mut kept = self.kept();
        kept.making = false;
        kept.spare = fresh;
    }
}

impl Drop for Spawner {
    fn drop(&mut self) {
        if let Some(mut spare) = self.kept().spare.take() {
            spare.end();
        }
    }
}

impl Fresh {
    fn new(init: &Path) -> io::Result<Fresh> {
        let (socket, theirs) = UnixStream::pair()?;
        // No environment, and nothing that would keep this call from posix_spawn (which does not copy page tables).
        let mut command = Command::new(init);
        command.arg0(NAME).arg("supervise").env_clear();
        if cfg!(debug_assertions)
            && let Some(step) = std::env::var_os(sys::step::VARIABLE)
        {
            command.env(sys::step::VARIABLE, step);
        }
        let child = command.stdin(OwnedFd::from(theirs)).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
        Ok(Fresh { socket, child, ahead: None })
    }

    /// Itself, with the filter that is likely to be needed.
    fn told(mut self, filter: Option<Seccomp>) -> Fresh {
        if let Some(filter) = filter
            && let Ok(body) = serde_json::to_vec(&filter)
            && body.len() <= MAX_MESSAGE
        {
            let mut message = (body.len() as u32 | AHEAD).to_be_bytes().to_vec();
            message.extend_from_slice(&body);
            if (&self.socket).write_all(&message).is_ok() {
                self.ahead = Some(filter);
            }
        }
        self
    }

    /// Itself, if nobody has killed it.
    fn alive(mut self) -> Option<Fresh> {
        match self.child.try_wait() {
            Ok(None) => Some(self),
            _ => None,
        }
    }

    /// Its socket's end makes it end.
    fn end(&mut self) {
        let _ = self.socket.shutdown(std::net::Shutdown::Both);
        let _ = self.child.wait();
    }

    /// The answer to the launch.
    fn outcome(mut self) -> io::Result<(Started, UnixStream, Child)> {
        match answer(&self.socket) {
            Ok(started) => {
                if matches!(started, Started::Failed(_)) {
                    self.child.wait()?;
                }
                Ok((started, self.socket, self.child))
            }
            Err(error) => {
                // Without an answer it has not started anything, or is dead: its end of the socket closed.
                drop(self.socket);
                self.child.wait()?;
                Err(error)
            }
        }
    }
}

fn check(launch: &Launch, fds: &[OwnedFd]) -> io::Result<Vec<u8>> {
    if fds.len() != launch.fds.len() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "as many descriptors as the launch names are needed"));
    }
    let body = serde_json::to_vec(launch)?;
    if body.len() > MAX_MESSAGE {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "the configuration of the container is too large"));
    }
    Ok(body)
}

/// Runs `init supervise`, hands it the launch with its descriptors and waits for the one answer.
///
/// The socket's end of file tells later that the supervisor has ended. `Child` must then be waited for, or it stays a
/// zombie; after [`Started::Failed`] this has already happened.
pub fn spawn(init: &Path, launch: &Launch, fds: Vec<OwnedFd>) -> io::Result<(Started, UnixStream, Child)> {
    let body = check(launch, &fds)?;
    let mut fresh = Fresh::new(init)?;
    if let Err(error) = send(&fresh.socket, &body, &fds) {
        fresh.end();
        return Err(error);
    }
    drop(fds);
    fresh.outcome()
}

fn send(socket: &UnixStream, body: &[u8], fds: &[OwnedFd]) -> io::Result<()> {
    let mut message = Vec::with_capacity(4 + body.len());
    message.extend_from_slice(&(body.len() as u32).to_be_bytes());
    message.extend_from_slice(body);
    let borrowed: Vec<_> = fds.iter().map(AsFd::as_fd).collect();
    // One message carries only so many descriptors: the first ones ride on a byte each.
    let mut sent = 0;
    for group in borrowed.chunks(sys::socket::MAX_FDS) {
        sent += sys::socket::send_with_fds(socket.as_fd(), &message[sent..=sent], group)?;
    }
    (&mut &*socket).write_all(&message[sent..])
}

fn answer(socket: &UnixStream) -> io::Result<Started> {
    Ok(serde_json::from_slice(&read_line(socket)?)?)
}
