//! A mount namespace in which nothing is mounted but the kernel's own root, on which the machine's stands elsewhere.

use crate::mount::{MountAttr, attr, mount_setattr};
use crate::{Errno, Result, clone, namespace};
use rustix::fs::{CWD, Mode, OFlags};
use rustix::mount::{UnmountFlags, unmount};
use std::os::fd::OwnedFd;

/// Makes one, in a thread of its own: whoever makes a namespace is in it.
///
/// # Errors
/// What the kernel says without the rights for it, and `EINVAL` where `/` is nothing that could be unmounted: in a chroot,
/// and where the kernel's own root is the machine's.
pub fn mounts() -> Result<OwnedFd> {
    let made = std::thread::Builder::new().name("mounts".into()).spawn(|| {
        namespace::unshare(clone::flags::NEWNS)?;
        let read = OFlags::RDONLY | OFlags::CLOEXEC;
        let own = rustix::fs::open("/proc/thread-self/ns/mnt", read, Mode::empty())?;
        // First of all: the host's mounts must not go with these.
        mount_setattr(CWD, c"/", true, &MountAttr { propagation: attr::PROPAGATION_PRIVATE, ..MountAttr::default() })?;
        unmount("/", UnmountFlags::DETACH)?;
        Ok(own)
    });
    let made = made.map_err(|e| Errno::from_io_error(&e).unwrap_or(Errno::AGAIN))?;
    made.join().unwrap_or(Err(Errno::IO))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;

    #[test]
    fn nothing_is_mounted_in_it_and_all_is_where_it_was() {
        if !rustix::process::geteuid().is_root() {
            return;
        }
        let mounts = || std::fs::read_to_string("/proc/thread-self/mountinfo").unwrap();
        let before = mounts();
        let bare = super::mounts().unwrap();
        assert_eq!(mounts(), before);
        let there = std::thread::spawn(move || {
            namespace::unshare(clone::flags::NEWNS).unwrap();
            namespace::setns(bare.as_fd(), clone::flags::NEWNS).unwrap();
            rustix::fs::open("/proc/self", OFlags::PATH, Mode::empty()).map(drop)
        });
        assert_eq!(there.join().unwrap(), Err(Errno::NOENT));
        assert_eq!(mounts(), before);
    }
}
