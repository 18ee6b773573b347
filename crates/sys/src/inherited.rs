//! Descriptors that the parent left open for this process (systemd's socket activation).

use std::io;
use std::os::fd::{BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::sync::Mutex;

/// Takes the ownership of an inherited descriptor and marks it close-on-exec. Each can be taken once; only at the very
/// start of a process, before it opens anything that could have the same number.
///
/// # Errors
/// `EBADF` when nothing is open under that number or it was taken before.
pub fn take(fd: RawFd) -> io::Result<OwnedFd> {
    static TAKEN: Mutex<Vec<RawFd>> = Mutex::new(Vec::new());
    let mut taken = TAKEN.lock().unwrap_or_else(|e| e.into_inner());
    if fd < 3 || taken.contains(&fd) {
        return Err(io::Error::from_raw_os_error(libc::EBADF));
    }
    // SAFETY: only looked at; a number that is not open gives EBADF. It cannot be closed meanwhile: nobody owns it.
    let borrowed = unsafe { BorrowedFd::borrow_raw(fd) };
    rustix::io::fcntl_setfd(borrowed, rustix::io::FdFlags::CLOEXEC)?;
    taken.push(fd);
    // SAFETY: it is open, it came from the parent, so nothing in this process owns it, and `taken` lets it out once.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}
