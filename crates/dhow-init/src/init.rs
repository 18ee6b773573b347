//! PID 1 inside a container that was started with `--init`: one child, to which every signal goes on, and every zombie
//! that falls to it.

use rustix::process::{Pid, WaitOptions, WaitStatus};
use std::ffi::OsString;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::process::Command;

const SIGCHLD: i32 = rustix::process::Signal::CHILD.as_raw();
const SIGTTIN: i32 = rustix::process::Signal::TTIN.as_raw();
const SIGTTOU: i32 = rustix::process::Signal::TTOU.as_raw();

/// Runs `command` to its end and returns its exit code: 128 + n when signal n ended it, 127 when it does not exist, 126
/// when it cannot be executed.
pub fn run(command: &[OsString]) -> io::Result<i32> {
    let Some((program, arguments)) = command.split_first() else {
        eprintln!("dhow-init: no command");
        return Ok(127);
    };
    // Blocked before the child is there, so that no signal to it is lost.
    let before = sys::signal::set_mask(sys::signal::Set::ALL)?;
    let signals = sys::signal::signalfd(sys::signal::Set::ALL)?;
    let Some(pid) = sys::own::fork()? else { become_command(program, arguments, before) };
    let Some(pid) = Pid::from_raw(pid) else { return Ok(125) };
    loop {
        if let Some(code) = reap(pid) {
            return Ok(code);
        }
        wait(signals.as_fd())?;
        while let Some(info) = sys::signal::read_signalfd(signals.as_fd())? {
            if ![SIGCHLD, SIGTTIN, SIGTTOU].contains(&info.signal) {
                // It may have ended this very moment: then the next look finds out.
                let _ = sys::process::kill(pid.as_raw_nonzero().get(), info.signal);
            }
        }
    }
}

/// The child's side.
fn become_command(program: &OsString, arguments: &[OsString], mask: sys::signal::Set) -> ! {
    // A group of its own, and the terminal's, so that what the terminal sends reaches it once and not twice. Without a
    // terminal the second fails, and nothing is lost.
    let _ = rustix::process::setpgid(None, None);
    let _ = rustix::termios::tcsetpgrp(rustix::stdio::stdin(), rustix::process::getpid());
    let _ = sys::signal::set_mask(mask);
    let error = Command::new(program).args(arguments).exec();
    eprintln!("dhow-init: {}: {error}", program.to_string_lossy());
    sys::process::exit_now(if error.kind() == io::ErrorKind::NotFound { 127 } else { 126 })
}

fn wait(signals: std::os::fd::BorrowedFd) -> io::Result<()> {
    use rustix::event::{PollFd, PollFlags, poll};
    rustix::io::retry_on_intr(|| poll(&mut [PollFd::from_borrowed_fd(signals, PollFlags::IN)], None))?;
    Ok(())
}

/// Collects every process that has ended; the exit code once the child is among them.
fn reap(child: Pid) -> Option<i32> {
    let mut code = None;
    while let Ok(Some((pid, status))) = rustix::process::wait(WaitOptions::NOHANG) {
        if pid == child {
            code = Some(exit_code(status));
        }
    }
    code
}

fn exit_code(status: WaitStatus) -> i32 {
    match status.terminating_signal() {
        Some(signal) => 128 + signal,
        None => status.exit_status().unwrap_or(255),
    }
}
