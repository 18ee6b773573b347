//! The one socket pair between parent and child. Each message is a packet: one letter, then JSON or nothing.
//!
//! ```text
//!  parent                                  child
//!    clone3 ──────────────────────────────▶
//!    uid_map, gid_map                       waits, if it has a new user namespace
//!    Mapped ──────────────────────────────▶
//!    makes the cgroup, moves the child in   joins namespaces, mounts the root file system and all that
//!    oom_score_adj                          does not show a cgroup
//!    Joined(views) ───────────────────────▶ cgroup namespace, cgroup mounts; enters the root; becomes its user
//!    ◀──────────────────────────── Terminal  the pty's master, if there is one
//!    ◀─────────────────────────────── Ready  nothing is left but seccomp and execve
//!  create() has returned; start() is called
//!    Go ──────────────────────────────────▶ execve closes the socket
//!    ◀────────────────────────── end of file
//! ```
//!
//! With hooks, the child reports `Mounted` before it enters the root and waits for `Hooked`. A process that waits by itself for its
//! start gets `Park` in place of `Go`, answers `Parked`, lets go of this socket, and accepts others, on which then come
//! `Go` and the end of file (`gate.rs`).
//!
//! At any time instead: `Failed` and the child's end. A child whose parent has died reads the end of file and ends.

use crate::cgroup::View;
use crate::{Failure, FailureKind};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SendFlags, SocketFlags, SocketType};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

/// The longest packet; a failure's text is cut to fit.
const MAX: usize = 64 << 10;

/// What the parent tells.
#[derive(Debug)]
pub(crate) enum Order {
    Mapped,
    Joined(Vec<View>),
    /// The hooks that run in the runtime's namespaces have run.
    Hooked,
    /// Wait for the go without this parent.
    Park,
    Go,
}

/// What the child tells.
#[derive(Debug)]
pub(crate) enum Report {
    Terminal(OwnedFd),
    /// The mounts are there, and the host's root is too: it is the time of the runtime's hooks.
    Mounted,
    Ready,
    /// It needs its parent no more.
    Parked,
    /// A process that another one has made for this one.
    Made(i32, OwnedFd),
    /// The descriptor of a filter's notifications.
    Listener(OwnedFd),
    Failed(Failure),
    /// The socket is closed: execve, or the child's end.
    Closed,
}

/// One end.
#[derive(Debug)]
pub(crate) struct Socket(pub(crate) OwnedFd);

/// Both ends: the parent's, the child's.
pub(crate) fn pair() -> Result<(Socket, Socket), Failure> {
    let pair = rustix::net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None);
    let (parent, child) = pair.map_err(|e| Failure::system("start", "socketpair", e))?;
    Ok((Socket(parent), Socket(child)))
}

impl Socket {
    pub fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }

    /// Reports are not waited for any longer than this.
    pub fn set_patience(&self, patience: Duration) -> Result<(), Failure> {
        use rustix::net::sockopt::{Timeout, set_socket_timeout};
        set_socket_timeout(&self.0, Timeout::Recv, Some(patience))
            .map_err(|e| Failure::system("start", "set the patience", e))
    }

    fn send(&self, letter: u8, rest: &[u8]) -> Result<(), Errno> {
        let mut packet = Vec::with_capacity(rest.len() + 1);
        packet.push(letter);
        packet.extend_from_slice(rest);
        rustix::io::retry_on_intr(|| rustix::net::send(&self.0, &packet, SendFlags::NOSIGNAL)).map(|_| ())
    }

    fn send_fd(&self, letter: &[u8], fd: BorrowedFd) -> Result<(), Errno> {
        sys::socket::send_with_fds(self.as_fd(), letter, &[fd]).map(drop)
    }

    /// Parent → child. That the child has gone is noticed by whoever reads next.
    pub fn order(&self, order: &Order) -> Result<(), Failure> {
        let sent = match order {
            Order::Mapped => self.send(b'm', b""),
            Order::Joined(views) => {
                let named: Vec<_> = views.iter().map(|view| (&view.name, &view.path)).collect();
                let mut packet = vec![b'j'];
                packet.extend(serde_json::to_vec(&named).unwrap_or_default());
                let trees: Vec<_> = views.iter().filter_map(|view| view.tree.as_ref().map(AsFd::as_fd)).collect();
                sys::socket::send_with_fds(self.as_fd(), &packet, &trees).map(drop)
            }
            Order::Hooked => self.send(b'h', b""),
            Order::Park => self.send(b'p', b""),
            Order::Go => self.send(b'g', b""),
        };
        match sent {
            Ok(()) | Err(Errno::PIPE | Errno::CONNRESET) => Ok(()),
            Err(e) => Err(Failure::system("start", "send to the container's process", e)),
        }
    }

    /// The parent's next order; an error when the parent is gone.
    pub fn await_order(&self) -> Result<Order, Failure> {
        let lost = || Failure::system("start", "wait for the supervisor", Errno::PIPE);
        let mut packet = vec![0; MAX];
        let received = sys::socket::recv_with_fds(self.as_fd(), &mut packet);
        let (length, trees) = received.map_err(|e| Failure::system("start", "wait for the supervisor", e))?;
        match &packet[..length] {
            b"m" => Ok(Order::Mapped),
            b"h" => Ok(Order::Hooked),
            b"p" => Ok(Order::Park),
            b"g" => Ok(Order::Go),
            [b'j', views @ ..] => {
                let views: Vec<(String, std::path::PathBuf)> = serde_json::from_slice(views).map_err(|_| lost())?;
                // For each of them or for none.
                let mut trees = trees.into_iter();
                let view = |(name, path)| View { name, path, tree: trees.next() };
                Ok(Order::Joined(views.into_iter().map(view).collect()))
            }
            _ => Err(lost()),
        }
    }

    /// Child → parent.
    pub fn report(&self, report: &Report) -> Result<(), Failure> {
        let gone = |e| Failure::system("start", "report to the supervisor", e);
        match report {
            Report::Ready => self.send(b'r', b"").map_err(gone),
            Report::Mounted => self.send(b'm', b"").map_err(gone),
            Report::Parked => self.send(b'p', b"").map_err(gone),
            Report::Made(pid, pidfd) => {
                let [a, b, c, d] = pid.to_le_bytes();
                self.send_fd(&[b'c', a, b, c, d], pidfd.as_fd()).map_err(gone)
            }
            Report::Terminal(master) => self.send_fd(b"t", master.as_fd()).map_err(gone),
            Report::Listener(listener) => self.send_fd(b"l", listener.as_fd()).map_err(gone),
            Report::Failed(f) => {
                let text: String = f.text.chars().take(MAX / 16).collect();
                let parts = (&f.stage, f.kind as u8, f.errno, text);
                self.send(b'f', &serde_json::to_vec(&parts).unwrap_or_default()).map_err(gone)
            }
            Report::Closed => Ok(()),
        }
    }

    /// The child's next report.
    pub fn await_report(&self) -> Result<Report, Failure> {
        let mut packet = vec![0; MAX];
        // A child that ends with an order unread resets the connection; what it reported before comes after that.
        let received = match sys::socket::recv_with_fds(self.as_fd(), &mut packet) {
            Err(Errno::CONNRESET) => sys::socket::recv_with_fds(self.as_fd(), &mut packet),
            other => other,
        };
        let (length, fds) = received.map_err(|e| match e {
            Errno::AGAIN => {
                Failure::system("start", "the process waits in the kernel for a file system", Errno::TIMEDOUT)
            }
            e => Failure::system("start", "wait for the container's process", e),
        })?;
        let mut fds = fds.into_iter();
        match (&packet[..length], fds.next()) {
            (b"", _) => Ok(Report::Closed),
            (b"r", _) => Ok(Report::Ready),
            (b"m", _) => Ok(Report::Mounted),
            (b"p", _) => Ok(Report::Parked),
            (&[b'c', a, b, c, d], Some(pidfd)) => Ok(Report::Made(i32::from_le_bytes([a, b, c, d]), pidfd)),
            (b"t", Some(master)) => Ok(Report::Terminal(master)),
            (b"l", Some(listener)) => Ok(Report::Listener(listener)),
            ([b'f', failure @ ..], _) => Ok(Report::Failed(read_failure(failure))),
            _ => Err(Failure::system("start", "the container's process reported nonsense", Errno::PROTO)),
        }
    }
}

fn read_failure(json: &[u8]) -> Failure {
    let (stage, kind, errno, text): (String, u8, i32, String) =
        serde_json::from_slice(json).unwrap_or_else(|_| ("start".into(), 3, 0, "an unreadable failure".into()));
    let kinds = [FailureKind::CommandNotFound, FailureKind::NotExecutable, FailureKind::Invalid, FailureKind::System];
    let kind = kinds.into_iter().find(|k| *k as u8 == kind).unwrap_or(FailureKind::System);
    Failure { stage, kind, errno, text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_and_reports_arrive_whole() {
        let (parent, child) = pair().unwrap();
        let view = |tree| View { name: "memory".into(), path: "/sys/fs/cgroup/memory/x".into(), tree };
        let tree = rustix::fs::open("/", rustix::fs::OFlags::PATH, rustix::fs::Mode::empty()).unwrap();
        parent.order(&Order::Joined(vec![view(None)])).unwrap();
        parent.order(&Order::Joined(vec![view(Some(tree))])).unwrap();
        parent.order(&Order::Go).unwrap();
        for with_tree in [false, true] {
            let Ok(Order::Joined(views)) = child.await_order() else { panic!("no views") };
            assert_eq!((views.len(), views[0].name.as_str(), &views[0].path), (1, "memory", &view(None).path));
            assert_eq!(views[0].tree.is_some(), with_tree);
        }
        assert!(matches!(child.await_order(), Ok(Order::Go)));
        let failure = Failure { stage: "exec".into(), kind: FailureKind::NotExecutable, errno: 13, text: "é".into() };
        child.report(&Report::Failed(failure.clone())).unwrap();
        child.report(&Report::Ready).unwrap();
        assert!(matches!(parent.await_report(), Ok(Report::Failed(f)) if f == failure));
        assert!(matches!(parent.await_report(), Ok(Report::Ready)));
        drop(child);
        assert!(matches!(parent.await_report(), Ok(Report::Closed)));
        parent.order(&Order::Go).unwrap();
    }

    #[test]
    fn a_failure_arrives_although_an_order_was_not_read() {
        let (parent, child) = pair().unwrap();
        parent.order(&Order::Go).unwrap();
        let failure = Failure::invalid("x", "why".into());
        child.report(&Report::Failed(failure.clone())).unwrap();
        drop(child);
        assert!(matches!(parent.await_report(), Ok(Report::Failed(f)) if f == failure));
        assert!(matches!(parent.await_report(), Ok(Report::Closed)));
    }

    #[test]
    fn a_child_without_parent_notices() {
        let (parent, child) = pair().unwrap();
        drop(parent);
        assert_eq!(child.await_order().unwrap_err().errno, Errno::PIPE.raw_os_error());
    }
}
