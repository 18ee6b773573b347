//! Paths that a container may not read, or may not write.

use crate::mount::{attach, clone_tree};
use crate::{Failure, dev};
use rustix::fs::{FileType, OFlags};
use rustix::io::Errno;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use sys::mount::{MountAttr, attr};
use sys::rootfs;

/// Makes each of `paths` that is there read-only, with all mounts below it.
pub(crate) fn readonly(root: BorrowedFd, paths: &[String]) -> Result<(), Failure> {
    for path in paths {
        let one = || -> Result<(), Errno> {
            let Some(target) = find(root, path)? else { return Ok(()) };
            let tree = clone_tree(target.as_fd(), b"", true)?;
            let change = MountAttr { set: attr::RDONLY, ..MountAttr::default() };
            sys::mount_setattr(tree.as_fd(), c"", true, &change)?;
            attach(tree.as_fd(), target.as_fd())
        };
        one().map_err(|e| Failure::system("readonly paths", &format!("make {path:?} read-only"), e))?;
    }
    Ok(())
}

/// Covers each of `paths` that is there: a directory with an empty one, anything else with the null device.
pub(crate) fn mask(root: BorrowedFd, dev: Option<BorrowedFd>, paths: &[String]) -> Result<(), Failure> {
    let mut empty: Option<OwnedFd> = None;
    for path in paths {
        let mut one = || -> Result<(), Errno> {
            let Some(target) = find(root, path)? else { return Ok(()) };
            if rootfs::kind(target.as_fd())?.0 != FileType::Directory {
                return attach(dev::null(root, dev)?.as_fd(), target.as_fd());
            }
            // One file system for all: the first mount of it is made, the others are its clones.
            if let Some(first) = &empty {
                return attach(clone_tree(first.as_fd(), b"", false)?.as_fd(), target.as_fd());
            }
            let attributes = attr::RDONLY | attr::NOSUID | attr::NODEV | attr::NOEXEC;
            let data =
                [("ro".into(), None), ("size".into(), Some("4k".into())), ("nr_inodes".into(), Some("1".into()))];
            let made = sys::mount::filesystem("tmpfs", "tmpfs", &data, attributes).map_err(|(e, _)| e)?;
            attach(made.as_fd(), target.as_fd())?;
            empty = Some(made);
            Ok(())
        };
        one().map_err(|e| Failure::system("masked paths", &format!("mask {path:?}"), e))?;
    }
    Ok(())
}

fn find(root: BorrowedFd, path: &str) -> Result<Option<OwnedFd>, Errno> {
    match rootfs::resolve(root, path.as_bytes(), OFlags::PATH) {
        Ok(found) => Ok(Some(found)),
        Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
        Err(other) => Err(other),
    }
}
