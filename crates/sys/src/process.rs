//! A process's last steps before execve(2), and who is who afterwards.

use crate::{Errno, Result, last_errno, result};
use std::ffi::{CStr, CString};
use std::os::fd::{AsRawFd, BorrowedFd};

/// The arguments and the environment of execve(2), laid out beforehand so that the call itself allocates nothing.
#[derive(Debug)]
pub struct Command {
    args: Vec<*const libc::c_char>,
    env: Vec<*const libc::c_char>,
    /// What the pointers point to; never changed after `new`.
    _strings: Vec<CString>,
}

impl Command {
    /// Lays out `args` (the first is the name the program sees itself called by) and `env` (`NAME=value`).
    pub fn new(args: Vec<CString>, env: Vec<CString>) -> Command {
        let pointers = |strings: &[CString]| {
            strings.iter().map(|s| s.as_ptr()).chain(std::iter::once(std::ptr::null())).collect::<Vec<_>>()
        };
        let (arg_pointers, env_pointers) = (pointers(&args), pointers(&env));
        // Moving a CString does not move the bytes it owns.
        let _strings = args.into_iter().chain(env).collect();
        Command { args: arg_pointers, env: env_pointers, _strings }
    }

    /// execve(2); returns only when it fails.
    pub fn execve(&self, path: &CStr) -> Errno {
        // SAFETY: both arrays end with a null pointer, and their other elements point to NUL-terminated strings that
        // `_strings` owns.
        unsafe { libc::execve(path.as_ptr(), self.args.as_ptr(), self.env.as_ptr()) };
        last_errno()
    }
}

impl Command {
    /// execveat(2) of what `file` is; returns only when it fails. A script cannot be run so when `file` is close-on-exec.
    pub fn execveat(&self, file: BorrowedFd) -> Errno {
        // SAFETY: as in `execve`; the path is the empty string.
        unsafe {
            libc::syscall(
                libc::SYS_execveat,
                file.as_raw_fd(),
                c"".as_ptr(),
                self.args.as_ptr(),
                self.env.as_ptr(),
                libc::AT_EMPTY_PATH,
            )
        };
        last_errno()
    }
}

/// Ends the calling process at once: no destructors, no exit functions, no flushing of buffers it shares with its parent.
pub fn exit_now(code: i32) -> ! {
    // SAFETY: never returns.
    unsafe { libc::_exit(code) }
}

/// close_range(2) with `CLOSE_RANGE_CLOEXEC` (Linux 5.11): every descriptor from `first` on will be closed by execve.
pub fn cloexec_from(first: i32) -> Result<()> {
    const CLOEXEC: libc::c_uint = 4;
    let first = libc::c_uint::try_from(first).map_err(|_| Errno::INVAL)?;
    // SAFETY: closes nothing by itself, so no descriptor that someone owns changes its meaning.
    result(unsafe { libc::syscall(libc::SYS_close_range, first, libc::c_uint::MAX, CLOEXEC) })?;
    Ok(())
}

/// kill(2); `pid` as there: 0 and negative numbers are groups.
pub fn kill(pid: i32, signal: i32) -> Result<()> {
    // SAFETY: numbers only.
    result(unsafe { libc::kill(pid, signal) }.into())?;
    Ok(())
}

/// pidfd_send_signal(2), for any signal number; 0 only asks whether the process is there.
pub fn pidfd_send_signal(pidfd: BorrowedFd, signal: i32) -> Result<()> {
    let none = std::ptr::null::<libc::siginfo_t>();
    // SAFETY: a null siginfo makes the kernel fill in its own.
    result(unsafe { libc::syscall(libc::SYS_pidfd_send_signal, pidfd.as_raw_fd(), signal, none, 0) })?;
    Ok(())
}

/// personality(2): sets the execution domain of the calling process.
pub fn personality(persona: u32) -> Result<()> {
    // SAFETY: numbers only; it changes how later mappings are laid out, not those there are.
    result(unsafe { libc::syscall(libc::SYS_personality, libc::c_ulong::from(persona)) })?;
    Ok(())
}

/// keyctl(KEYCTL_JOIN_SESSION_KEYRING): a new session keyring of that name.
pub fn join_session_keyring(name: &CStr) -> Result<()> {
    const JOIN_SESSION_KEYRING: libc::c_int = 1;
    // SAFETY: the kernel reads a NUL-terminated string.
    result(unsafe { libc::syscall(libc::SYS_keyctl, JOIN_SESSION_KEYRING, name.as_ptr()) })?;
    Ok(())
}

/// When process `pid` started, in clock ticks since boot (field 22 of `/proc/<pid>/stat`); `None` when it is not there.
/// With the number it names a process that no other will ever be.
pub fn start_time(pid: i32) -> Option<u64> {
    let stat = std::fs::read(format!("/proc/{pid}/stat")).ok()?;
    start_time_of(&stat)
}

fn start_time_of(stat: &[u8]) -> Option<u64> {
    // The name (field 2) is in parentheses and may hold anything, parentheses too: count from the last one.
    let after_name = stat.iter().rposition(|b| *b == b')')? + 1;
    let text = std::str::from_utf8(&stat[after_name..]).ok()?;
    text.split_ascii_whitespace().nth(19)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn start_time_is_counted_from_the_last_parenthesis() {
        let stat = b"7 (a) R (x) S 1 7 7 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 4242 9 9 9";
        assert_eq!(start_time_of(stat), Some(4242));
        assert_eq!(start_time_of(b"7 (a"), None);
        assert_eq!(start_time_of(b"7 (a) S"), None);
        assert!(start_time(std::process::id() as i32).unwrap() > 0);
        assert_eq!(start_time(0), None);
    }

    #[test]
    fn execve_of_what_is_not_there() {
        let command = Command::new(vec![c"x".into()], vec![]);
        assert_eq!(command.execve(c"/nonexistent/x"), Errno::NOENT);
    }
}
