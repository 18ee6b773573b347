//! How a container's process waits for its start when its maker has gone: on a listening socket that it inherited and that
//! only its engine can reach.

use crate::Failure;
use crate::sync::{Order, Report, Socket};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::net::SocketFlags;
use std::os::fd::{AsFd, BorrowedFd};

/// Signals that end nobody.
const HARMLESS: [i32; 4] = [libc::SIGCHLD, libc::SIGWINCH, libc::SIGURG, libc::SIGCONT];

fn failed(what: &'static str) -> impl Fn(Errno) -> Failure {
    move |e| Failure::system("start", what, e)
}

/// Tells the parent that it may go, lets go of everything but the standard streams, `gate` and `kept`, and waits for a
/// connection that brings the go. One that is closed without it was a question whether anybody still waits.
pub(crate) fn wait(parent: &Socket, gate: BorrowedFd, kept: &[BorrowedFd]) -> Result<Socket, Failure> {
    // As the first process of a pid namespace it would not notice a signal that it has not asked for.
    sys::signal::set_mask(sys::signal::Set::ALL).map_err(failed("sigprocmask"))?;
    let signals = sys::signal::signalfd(sys::signal::Set::ALL).map_err(failed("signalfd"))?;
    sys::caps::set_pdeathsig(0).map_err(failed("prctl(PR_SET_PDEATHSIG)"))?;
    parent.report(&Report::Parked)?;
    // From here on nothing that this memory owns may be dropped: see `execute`.
    let all: Vec<BorrowedFd> = kept.iter().copied().chain([gate, signals.as_fd()]).collect();
    if sys::own::close_all_but(&all).is_err() {
        sys::process::exit_now(1);
    }
    let signals = std::mem::ManuallyDrop::new(signals);
    loop {
        let mut fds = [PollFd::from_borrowed_fd(gate, PollFlags::IN), PollFd::new(&*signals, PollFlags::IN)];
        if poll(&mut fds, None).is_err() {
            continue;
        }
        let opened = !fds[0].revents().is_empty();
        while let Ok(Some(info)) = sys::signal::read_signalfd(signals.as_fd()) {
            if !HARMLESS.contains(&info.signal) {
                sys::process::exit_now(128 + info.signal);
            }
        }
        if !opened {
            continue;
        }
        let Ok(connection) = rustix::net::accept_with(gate, SocketFlags::CLOEXEC) else { continue };
        let opener = Socket(connection);
        if matches!(opener.await_order(), Ok(Order::Go)) {
            let _ = sys::signal::set_mask(sys::signal::Set::default());
            return Ok(opener);
        }
    }
}
