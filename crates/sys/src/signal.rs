//! The signal mask, dispositions and signalfd(2).

use crate::{Result, last_errno, result};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// A set of signals as the kernel holds it: bit n - 1 is signal n.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Set(u64);

impl Set {
    /// Every signal.
    pub const ALL: Set = Set(!0);

    /// The set of `signals` (1 to 64; others are left out).
    pub fn of(signals: &[i32]) -> Set {
        let bit = |s: &i32| if (1..=64).contains(s) { 1u64 << (s - 1) } else { 0 };
        Set(signals.iter().map(bit).fold(0, |all, one| all | one))
    }
}

/// What signalfd(2) says of one signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Info {
    /// Its number.
    pub signal: i32,
    /// `si_code`: `SI_USER`, `SI_KERNEL`, …
    pub code: i32,
    /// The sender, when a process sent it.
    pub pid: u32,
}

/// Replaces the calling thread's mask of blocked signals and returns the one before.
pub fn set_mask(blocked: Set) -> Result<Set> {
    let mut old = 0u64;
    // SAFETY: both point to 8 bytes, the size that is passed, and outlive the call.
    result(unsafe {
        libc::syscall(libc::SYS_rt_sigprocmask, libc::SIG_SETMASK, &raw const blocked.0, &raw mut old, size_of::<u64>())
    })?;
    Ok(Set(old))
}

/// A descriptor from which the blocked signals of `set` are read, without waiting.
pub fn signalfd(set: Set) -> Result<OwnedFd> {
    let flags = libc::SFD_CLOEXEC | libc::SFD_NONBLOCK;
    // SAFETY: the set is 8 bytes, the size that is passed, and outlives the call.
    let fd = result(unsafe { libc::syscall(libc::SYS_signalfd4, -1, &raw const set.0, size_of::<u64>(), flags) })?;
    // SAFETY: a new descriptor that nobody else knows.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
}

/// The next signal of a [`signalfd`], if one is pending.
pub fn read_signalfd(fd: BorrowedFd) -> Result<Option<Info>> {
    // SAFETY: a struct of numbers, for which all zeroes is a value.
    let mut info: libc::signalfd_siginfo = unsafe { std::mem::zeroed() };
    let size = size_of::<libc::signalfd_siginfo>();
    // SAFETY: the kernel writes at most `size` bytes into `info`, which is plain numbers.
    let read = unsafe { libc::read(fd.as_raw_fd(), (&raw mut info).cast(), size) };
    if read == size as isize {
        return Ok(Some(Info { signal: info.ssi_signo as i32, code: info.ssi_code, pid: info.ssi_pid }));
    }
    match last_errno() {
        crate::Errno::AGAIN => Ok(None),
        other => Err(other),
    }
}

/// Gives every signal its default action: an ignored one would stay ignored over execve. Those that the C library keeps
/// for itself (32, 33) too, which is why this is rt_sigaction(2) itself.
pub fn default_all() {
    /// `struct sigaction` of the kernel: handler (0 is the default), flags, restorer, mask.
    const DEFAULT: [u64; 4] = [0; 4];
    for signal in 1..=64 {
        if signal != libc::SIGKILL && signal != libc::SIGSTOP {
            let (action, old) = (DEFAULT.as_ptr(), std::ptr::null_mut::<u64>());
            // SAFETY: the kernel reads one struct of the layout above with a mask of 8 bytes; the default action runs no
            // code of this process.
            unsafe { libc::syscall(libc::SYS_rt_sigaction, signal, action, old, size_of::<u64>()) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;

    #[test]
    fn a_blocked_signal_is_read_from_the_descriptor() {
        std::thread::spawn(|| {
            let set = Set::of(&[libc::SIGUSR2]);
            set_mask(set).unwrap();
            let fd = signalfd(set).unwrap();
            assert_eq!(read_signalfd(fd.as_fd()), Ok(None));
            // SAFETY: to this very thread, which blocks it.
            unsafe { libc::pthread_kill(libc::pthread_self(), libc::SIGUSR2) };
            let info = read_signalfd(fd.as_fd()).unwrap().unwrap();
            assert_eq!((info.signal, info.pid), (libc::SIGUSR2, std::process::id()));
            assert_eq!(set_mask(Set::default()).unwrap(), set);
        })
        .join()
        .unwrap();
    }
}
