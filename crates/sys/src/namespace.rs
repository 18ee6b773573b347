//! setns(2) and unshare(2), with the flags of [`crate::clone::flags`].

use crate::{Errno, Result, result};
use std::os::fd::{AsRawFd, BorrowedFd};

/// Moves this thread into the namespace of `fd`, or, when `fd` is a pidfd, into those of that process that `kinds` names.
pub fn setns(fd: BorrowedFd, kinds: u64) -> Result<()> {
    let kinds = libc::c_int::try_from(kinds).map_err(|_| Errno::INVAL)?;
    // SAFETY: no pointers; namespaces are not memory.
    result(unsafe { libc::setns(fd.as_raw_fd(), kinds) }.into())?;
    Ok(())
}

/// Moves this thread into new namespaces of `kinds` (for pid and time: its future children).
pub fn unshare(kinds: u64) -> Result<()> {
    use crate::clone::flags as f;
    // Not CLONE_FILES: it would take other threads' descriptors away from under them.
    let namespaces = f::NEWTIME | f::NEWNS | f::NEWCGROUP | f::NEWUTS | f::NEWIPC | f::NEWUSER | f::NEWPID | f::NEWNET;
    if kinds & !namespaces != 0 {
        return Err(Errno::INVAL);
    }
    // SAFETY: no pointers; only namespace flags, which are not memory.
    result(unsafe { libc::unshare(kinds as libc::c_int) }.into())?;
    Ok(())
}
