//! landlock(7): a thread gives up the right to change files outside a few directories; and the thread's own umask.

use crate::{Result, result};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

const CREATE_RULESET_VERSION: u32 = 1;
const RULE_PATH_BENEATH: libc::c_int = 1;

const EXECUTE: u64 = 1;
const WRITE_FILE: u64 = 1 << 1;
const READ_FILE: u64 = 1 << 2;
const READ_DIR: u64 = 1 << 3;
/// Removing and making every kind of file, bits 4 to 12.
const REMOVE_AND_MAKE: u64 = 0x1ff0;
const REFER: u64 = 1 << 13;
const TRUNCATE: u64 = 1 << 14;
const NET_TCP: u64 = 0b11;
const SCOPE_ABSTRACT_SOCKET_AND_SIGNAL: u64 = 0b11;

/// `struct landlock_ruleset_attr`.
#[repr(C)]
struct RulesetAttr {
    handled_access_fs: u64,
    handled_access_net: u64,
    scoped: u64,
}

/// `struct landlock_path_beneath_attr`.
#[repr(C, packed)]
struct PathBeneathAttr {
    allowed_access: u64,
    parent_fd: i32,
}

/// The version of Landlock that this kernel has; `None` when it has none or does not run it.
pub fn abi() -> Option<u32> {
    // SAFETY: with the version flag the kernel takes a null attribute of size 0 and makes nothing.
    let version = unsafe {
        libc::syscall(
            libc::SYS_landlock_create_ruleset,
            std::ptr::null::<RulesetAttr>(),
            0usize,
            CREATE_RULESET_VERSION,
        )
    };
    u32::try_from(version).ok().filter(|v| *v > 0)
}

/// From now on, and for good, this thread and what it starts can open, make and remove files below `within` alone, and
/// can neither use TCP nor reach other processes by abstract sockets or signals, so far as this kernel's version of
/// Landlock knows these rights. Descriptors that are open already keep theirs. `false`: this kernel cannot; nothing
/// has changed.
pub fn restrict_to(within: &[BorrowedFd]) -> Result<bool> {
    let Some(abi) = abi() else { return Ok(false) };
    let mut files = EXECUTE | WRITE_FILE | READ_FILE | READ_DIR | REMOVE_AND_MAKE;
    files |= if abi >= 2 { REFER } else { 0 };
    files |= if abi >= 3 { TRUNCATE } else { 0 };
    let attr = RulesetAttr {
        handled_access_fs: files,
        handled_access_net: if abi >= 4 { NET_TCP } else { 0 },
        scoped: if abi >= 6 { SCOPE_ABSTRACT_SOCKET_AND_SIGNAL } else { 0 },
    };
    let size: usize = match abi {
        ..4 => 8,
        4..6 => 16,
        _ => 24,
    };
    // SAFETY: `attr` is at least `size` bytes and lives through the call, which only reads it.
    let made = result(unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, &raw const attr, size, 0) })?;
    // SAFETY: the kernel has just made this descriptor for us alone.
    let ruleset = unsafe { OwnedFd::from_raw_fd(made as i32) };
    for dir in within {
        let rule = PathBeneathAttr { allowed_access: files & !EXECUTE, parent_fd: dir.as_raw_fd() };
        // SAFETY: `rule` lives through the call, which only reads it.
        result(unsafe {
            libc::syscall(libc::SYS_landlock_add_rule, ruleset.as_raw_fd(), RULE_PATH_BENEATH, &raw const rule, 0)
        })?;
    }
    rustix::thread::set_no_new_privs(true)?;
    // SAFETY: no pointers; it takes rights of this thread away and touches no memory.
    result(unsafe { libc::syscall(libc::SYS_landlock_restrict_self, ruleset.as_fd().as_raw_fd(), 0) })?;
    Ok(true)
}

/// Gives this thread a umask and a working directory of its own, unshared with the process's other threads, and sets the
/// umask to 0: from now on it makes files with exactly the mode it asks for.
pub fn exact_modes() -> Result<()> {
    // SAFETY: CLONE_FS separates umask, working directory and root of this thread; none of them is memory, and no safe
    // abstraction relies on threads sharing them.
    result(unsafe { libc::unshare(libc::CLONE_FS) }.into())?;
    rustix::process::umask(rustix::fs::Mode::empty());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::{Mode, OFlags};
    use rustix::io::Errno;

    #[test]
    fn a_restricted_thread_writes_within_its_directory_alone() {
        let base = std::env::temp_dir().join(format!("dhow-landlock-{}", std::process::id()));
        std::fs::create_dir_all(base.join("in")).unwrap();
        std::fs::create_dir_all(base.join("out")).unwrap();
        let dir = crate::rootfs::open_root(&base).unwrap();
        let inner = crate::rootfs::open_root(&base.join("in")).unwrap();
        let made = std::thread::spawn(move || {
            exact_modes().unwrap();
            if !restrict_to(&[inner.as_fd()]).unwrap() {
                eprintln!("SKIPPED: this kernel has no Landlock");
                return None;
            }
            let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
            let outside = rustix::fs::openat(&dir, "out/f", flags, Mode::from_raw_mode(0o666)).map(drop);
            let inside = rustix::fs::openat(&dir, "in/f", flags, Mode::from_raw_mode(0o666)).map(drop);
            Some((outside, inside))
        })
        .join()
        .unwrap();
        if let Some((outside, inside)) = made {
            assert_eq!(outside, Err(Errno::ACCESS));
            assert_eq!(inside, Ok(()));
            let mode = std::os::unix::fs::MetadataExt::mode(&std::fs::metadata(base.join("in/f")).unwrap());
            assert_eq!(mode & 0o7777, 0o666);
        }
        std::fs::remove_dir_all(&base).unwrap();
    }
}
