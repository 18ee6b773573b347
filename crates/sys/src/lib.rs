//! Every raw system call of the engine, every `unsafe`, and paths inside a root file system.
//!
//! rustix is safe and may be used anywhere; here stands only what it lacks. One wrapper is one system call, named as its
//! man page; an error is the kernel's own [`Errno`].
//!
//! ```text
//! bare.rs       a mount namespace with nothing in it
//! bpf.rs        bpf(2): the device program of a cgroup
//! caps.rs       capget(2), capset(2), the bounding and ambient sets
//! cgroup.rs     quick moves between cgroups
//! chroot.rs     the root of a new mount namespace
//! clone.rs      clone3(2)
//! landlock.rs   landlock(7), a thread's own umask
//! mount.rs      mount_setattr(2)
//! namespace.rs  setns(2), unshare(2)
//! overlay.rs    overlayfs on old and new kernels
//! own.rs        close_range(2), fork(3), giving free memory back
//! process.rs    execve(2), close_range(2), kill(2), personality(2), keyctl(2), /proc/<pid>/stat
//! remove.rs     unlinkat(2): whole trees of somebody else's
//! rootfs.rs     openat2(2): paths inside a root file system
//! sched.rs      sched_setattr(2), ioprio_set(2), set_mempolicy(2)
//! seccomp.rs    seccomp(2)
//! signal.rs     sigprocmask(2), signalfd(2), sigaction(2)
//! socket.rs     descriptors over a socket (SCM_RIGHTS)
//! step.rs       where tests have a process die
//! ```
//!
//! Invariants
//! - No other crate contains `unsafe`.
//! - Every descriptor made here is close-on-exec.
//! - A path in a root file system is (directory descriptor, relative bytes) and acted on through the descriptor it
//!   resolves to; no string is resolved twice for one decision.
//!
//! It must never know what an image, a container or a network is.

pub mod bare;
pub mod bpf;
pub mod caps;
pub mod cgroup;
pub mod chroot;
pub mod clone;
pub mod inherited;
pub mod landlock;
pub mod malloc;
pub mod mount;
pub mod namespace;
pub mod overlay;
pub mod own;
pub mod process;
pub mod remove;
pub mod rootfs;
pub mod sched;
pub mod seccomp;
pub mod signal;
pub mod socket;
pub mod step;

pub use clone::clone3;
pub use mount::mount_setattr;
pub use namespace::{setns, unshare};
pub use rustix::io::{Errno, Result};

/// What `libc::syscall` returned, as a result.
pub(crate) fn result(returned: libc::c_long) -> Result<libc::c_long> {
    if returned < 0 { Err(last_errno()) } else { Ok(returned) }
}

/// The error of the C library call that has just failed on this thread.
pub(crate) fn last_errno() -> Errno {
    Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::INVAL)
}
