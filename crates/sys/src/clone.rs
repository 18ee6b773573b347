//! clone3(2): a new process that is in its namespaces and its cgroup from its first instruction.

use crate::{Result, result};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// `CLONE_*` flags of [`clone3`].
pub mod flags {
    #![allow(missing_docs)]
    pub const NEWTIME: u64 = 0x80;
    pub const PARENT: u64 = 0x8000;
    pub const NEWNS: u64 = 0x0002_0000;
    pub const NEWCGROUP: u64 = 0x0200_0000;
    pub const NEWUTS: u64 = 0x0400_0000;
    pub const NEWIPC: u64 = 0x0800_0000;
    pub const NEWUSER: u64 = 0x1000_0000;
    pub const NEWPID: u64 = 0x2000_0000;
    pub const NEWNET: u64 = 0x4000_0000;
    /// Every flag above: those that keep the memory of parent and child apart.
    pub(super) const ALLOWED: u64 = NEWTIME | PARENT | NEWNS | NEWCGROUP | NEWUTS | NEWIPC | NEWUSER | NEWPID | NEWNET;
    pub(super) const PIDFD: u64 = 0x1000;
    pub(super) const INTO_CGROUP: u64 = 0x2_0000_0000;
}

/// On which side of [`clone3`] the caller is.
#[derive(Debug)]
pub enum Cloned {
    /// The caller.
    Parent {
        /// The child, as the caller's pid namespace numbers it.
        pid: i32,
        /// A descriptor of the child that is never reused.
        pidfd: OwnedFd,
    },
    /// The new process.
    Child,
}

/// `struct clone_args`, version 2 (Linux 5.7).
#[repr(C)]
#[derive(Default)]
struct CloneArgs {
    flags: u64,
    pidfd: u64,
    child_tid: u64,
    parent_tid: u64,
    exit_signal: u64,
    stack: u64,
    stack_size: u64,
    tls: u64,
    set_tid: u64,
    set_tid_size: u64,
    cgroup: u64,
}

/// Makes a child with a copy of the caller's memory, in the namespaces that `new` names, and in `cgroup` (of cgroup v2).
///
/// # Errors
/// `EINVAL` when the calling process has more than one thread, or for a flag that is not of [`flags`].
pub fn clone3(new: u64, cgroup: Option<BorrowedFd>) -> Result<Cloned> {
    if new & !flags::ALLOWED != 0 {
        return Err(crate::Errno::INVAL);
    }
    // With more threads the child would inherit whatever locks they hold (the allocator's, for one) and could never take
    // them. unshare(CLONE_THREAD) changes nothing and fails exactly when there is more than one thread.
    // SAFETY: the flag has no effect on a single-threaded process, and the call fails in any other.
    result(unsafe { libc::unshare(libc::CLONE_THREAD) }.into())?;
    let mut pidfd: libc::c_int = -1;
    let mut args = CloneArgs {
        flags: new | flags::PIDFD,
        pidfd: &raw mut pidfd as u64,
        // A sibling tells its parent's parent as its parent would.
        exit_signal: if new & flags::PARENT == 0 { libc::SIGCHLD as u64 } else { 0 },
        ..CloneArgs::default()
    };
    if let Some(fd) = cgroup {
        args.flags |= flags::INTO_CGROUP;
        args.cgroup = fd.as_raw_fd() as u64;
    }
    // SAFETY: neither CLONE_VM nor CLONE_FILES nor CLONE_THREAD is set (`ALLOWED`), so the child has a copy of this memory
    // and runs on its own copy of this stack; the caller is the only thread, so no lock is held by anyone else. `args` and
    // `pidfd` outlive the call.
    let pid = result(unsafe { libc::syscall(libc::SYS_clone3, &raw mut args, size_of::<CloneArgs>()) })?;
    if pid == 0 {
        return Ok(Cloned::Child);
    }
    // SAFETY: the kernel has just stored a new descriptor there, and nobody else knows it.
    let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
    Ok(Cloned::Parent { pid: pid as i32, pidfd })
}
