//! Waiting until there may be more to read.

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::inotify;
use rustix::io::Errno;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::path::Path;

/// How often to look when the system gives out no inotify instance (there are 128 for a user by default).
const INTERVAL_MS: i64 = 100;

/// Wakes when something in the log's directory changes, or when there is nothing left to wait for.
#[derive(Debug)]
pub(super) struct Follow {
    changes: Option<OwnedFd>,
    stop: OwnedFd,
    ended: bool,
}

impl Follow {
    /// Watches from now on. `stop` becomes readable, or hangs up, when nothing more will be written.
    pub(super) fn new(path: &Path, stop: OwnedFd) -> io::Result<Follow> {
        let directory = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let changes = match inotify::init(inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK) {
            Ok(fd) => {
                // The directory and not the file: one watch tells of writes, truncation and rotation alike.
                let events = inotify::WatchFlags::MODIFY
                    | inotify::WatchFlags::CREATE
                    | inotify::WatchFlags::MOVED_TO
                    | inotify::WatchFlags::DELETE;
                inotify::add_watch(&fd, directory, events).ok().map(|_| fd)
            }
            Err(_) => None,
        };
        Ok(Follow { changes, stop, ended: false })
    }

    /// Whether [`Follow::wait`] has seen the end: what is in the files now is all there will be.
    pub(super) fn ended(&self) -> bool {
        self.ended
    }

    /// Waits for a change, the end, or `timeout_ns` to pass. `false` when the time has passed.
    pub(super) fn wait(&mut self, timeout_ns: Option<i64>) -> io::Result<bool> {
        let interval = self.changes.is_none().then_some(INTERVAL_MS * 1_000_000);
        let shortest = match (timeout_ns, interval) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
        let timeout =
            shortest.map(|ns| Timespec { tv_sec: ns.max(0) / 1_000_000_000, tv_nsec: ns.max(0) % 1_000_000_000 });
        let mut fds = vec![PollFd::new(&self.stop, PollFlags::IN)];
        if let Some(changes) = &self.changes {
            fds.push(PollFd::new(changes, PollFlags::IN));
        }
        let ready = match poll(&mut fds, timeout.as_ref()) {
            Ok(ready) => ready,
            Err(Errno::INTR) => return Ok(true),
            Err(errno) => return Err(errno.into()),
        };
        self.ended = !fds[0].revents().is_empty();
        drop(fds);
        if let Some(changes) = &self.changes {
            let mut events = [MaybeUninit::<u8>::uninit(); 4096];
            while rustix::io::read(changes, &mut events[..]).is_ok_and(|(filled, _)| filled.len() > 2048) {}
        }
        Ok(ready > 0 || timeout_ns != shortest)
    }
}
