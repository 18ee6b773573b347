//! What a process does to itself: descriptors it inherited, memory it no longer needs, a copy of it.

use crate::{Errno, Result, result};
use std::os::fd::{AsRawFd, BorrowedFd};

/// Closes every descriptor from `first` on. For the first lines of a program that has opened none itself yet:
/// whatever is there came by inheritance and belongs to nobody.
pub fn close_from(first: u32) -> Result<()> {
    // SAFETY: takes three numbers; that no live owner holds one of the descriptors is the caller's to see to, as said.
    result(unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, 0) }).map(drop)
}

/// Closes every descriptor from 3 on but those of `keep`. For a process that will only execute or end: whoever owns one of
/// the others in this memory must never be dropped.
pub fn close_all_but(keep: &[BorrowedFd]) -> Result<()> {
    let mut kept: Vec<u32> = keep.iter().filter_map(|fd| u32::try_from(fd.as_raw_fd()).ok()).collect();
    kept.sort_unstable();
    let mut first = 3u32;
    for fd in kept.into_iter().filter(|fd| *fd >= 3).chain([u32::MAX]) {
        if first < fd {
            // SAFETY: takes three numbers; that no live owner is dropped afterwards is the caller's to see to, as said.
            result(unsafe { libc::syscall(libc::SYS_close_range, first, fd - 1, 0) })?;
        }
        first = fd.saturating_add(1);
    }
    Ok(())
}

/// fork(3), for what must work inside a container too, whose filter refuses clone3. The child's PID, or `None` in the
/// child itself.
///
/// # Errors
/// `EINVAL` in a process that has, or has had, more than one thread.
pub fn fork() -> Result<Option<i32>> {
    if !is_single_threaded() {
        return Err(Errno::INVAL);
    }
    // SAFETY: there is one thread, so the child's copy of the memory is as consistent as its own, locks included.
    match result(unsafe { libc::fork() }.into())? {
        0 => Ok(None),
        pid => Ok(Some(pid as i32)),
    }
}

#[cfg(target_env = "gnu")]
fn is_single_threaded() -> bool {
    unsafe extern "C" {
        static __libc_single_threaded: libc::c_char;
    }
    // SAFETY: one byte of the C library (2.32), changed only by a thread that is about to make another.
    unsafe { (&raw const __libc_single_threaded).read_volatile() != 0 }
}

#[cfg(not(target_env = "gnu"))]
fn is_single_threaded() -> bool {
    std::fs::read_dir("/proc/self/task").is_ok_and(|tasks| tasks.count() == 1)
}

/// Gives free pages of the heap back to the kernel.
pub fn trim_heap() {
    #[cfg(target_env = "gnu")]
    // SAFETY: touches only memory that the allocator holds free.
    unsafe {
        libc::malloc_trim(0);
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_process_with_threads_does_not_fork() {
        std::thread::spawn(|| assert_eq!(super::fork(), Err(crate::Errno::INVAL))).join().unwrap();
    }
}
