//! Running a program to its end.
//!
//! Not by [`Command::status`]: that passes the supervisor's mask on, in which every signal is blocked, and the container
//! would inherit it.

use rustix::process::{Pid, WaitOptions, waitpid};
use std::io::{self, Read, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Command, ExitStatus};

/// Runs it with no signal blocked. An error is that of its execution.
pub(super) fn run(command: &mut Command) -> io::Result<ExitStatus> {
    // Closed by a successful execve; otherwise it carries the error.
    let (mut trouble, mut report) = io::pipe()?;
    let Some(pid) = sys::own::fork()? else {
        let _ = sys::signal::set_mask(sys::signal::Set::default());
        let errno = command.exec().raw_os_error().unwrap_or(0);
        let _ = report.write_all(&errno.to_ne_bytes());
        sys::process::exit_now(127);
    };
    drop(report);
    let mut errno = [0; 4];
    let told = trouble.read_exact(&mut errno);
    let status = loop {
        match waitpid(Pid::from_raw(pid), WaitOptions::empty()) {
            Ok(Some((_, status))) => break ExitStatus::from_raw(status.as_raw()),
            Ok(None) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    };
    match told {
        Ok(()) => Err(io::Error::from_raw_os_error(i32::from_ne_bytes(errno))),
        Err(_) => Ok(status),
    }
}
