//! seccomp(2).

use crate::{Errno, Result, result};
use std::os::fd::{FromRawFd, OwnedFd};

/// `SECCOMP_FILTER_FLAG_NEW_LISTENER`: [`install`] returns the descriptor of the notifications.
pub const NEW_LISTENER: u32 = 1 << 3;

const SET_MODE_FILTER: libc::c_uint = 1;
const GET_ACTION_AVAIL: libc::c_uint = 2;

/// Puts `program` between this thread and the kernel, for good. Each element is one `struct sock_filter` as it lies in
/// memory (little endian: `code | jt << 16 | jf << 24 | k << 32`).
///
/// # Errors
/// `EACCES` without `CAP_SYS_ADMIN` and no_new_privs; `EINVAL` for a program the kernel refuses.
pub fn install(program: &[u64], flags: u32) -> Result<Option<OwnedFd>> {
    let len = u16::try_from(program.len()).map_err(|_| Errno::INVAL)?;
    let prog = libc::sock_fprog { len, filter: program.as_ptr().cast_mut().cast() };
    // SAFETY: `prog` points to `len` elements of 8 bytes, the size of sock_filter, of stricter alignment; the kernel reads
    // them during the call only.
    let fd = result(unsafe { libc::syscall(libc::SYS_seccomp, SET_MODE_FILTER, flags, &raw const prog) })?;
    if flags & NEW_LISTENER == 0 {
        return Ok(None);
    }
    // SAFETY: with this flag the call returns a new descriptor that nobody else knows.
    Ok(Some(unsafe { OwnedFd::from_raw_fd(fd as i32) }))
}

/// Whether the kernel knows the return action `action` (`SECCOMP_RET_*`).
pub fn action_available(action: u32) -> bool {
    // SAFETY: the kernel reads one u32 that outlives the call.
    unsafe { libc::syscall(libc::SYS_seccomp, GET_ACTION_AVAIL, 0, &raw const action) == 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_governs_the_thread_that_installs_it() {
        // ld [0] (the number); jeq getppid → errno 99, else allow
        let ld = 0x20u64;
        let jeq = 0x15u64 | 1 << 24 | (libc::SYS_getppid as u64) << 32;
        let ret_errno = 0x06u64 | u64::from(0x0005_0000u32 | 99) << 32;
        let ret_allow = 0x06u64 | u64::from(0x7fff_0000u32) << 32;
        let thread = std::thread::spawn(move || {
            crate::caps::no_new_privs().unwrap();
            install(&[ld, jeq, ret_errno, ret_allow], 0).unwrap();
            // SAFETY: takes no arguments.
            result(unsafe { libc::syscall(libc::SYS_getppid) })
        });
        assert_eq!(thread.join().unwrap(), Err(Errno::ADDRNOTAVAIL));
    }

    #[test]
    fn an_empty_program_is_refused() {
        assert!(install(&[], 0).is_err());
    }
}
