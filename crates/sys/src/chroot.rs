//! The root of a mount namespace that was just made, also where the process is in a chroot.
//!
//! There `/` is a directory of some mount, and the kernel neither changes that mount's propagation by this path nor lets
//! pivot_root(2) take it away: what a container has as its root would stay mounted upon the machine's, and whoever may
//! chroot(2) could climb out. So the namespace is first given a root of its own: the chroot's tree, and nothing else.

use crate::mount::{MountAttr, attr, mount_setattr};
use crate::{Errno, Result, clone, namespace};
use rustix::fs::{CWD, Mode, OFlags};
use rustix::mount::{MoveMountFlags, OpenTreeFlags, UnmountFlags, move_mount, open_tree, unmount};
use rustix::process::{PidfdFlags, fchdir, getpid, pidfd_open, pivot_root};
use std::os::fd::AsFd;

/// Sets the propagation of `/`, with `recursive` of every mount below it. The calling thread must be in a mount
/// namespace that nobody else is in.
pub fn propagate(propagation: u64, recursive: bool) -> Result<()> {
    let change = MountAttr { propagation, ..MountAttr::default() };
    let done = mount_setattr(CWD, c"/", recursive, &change);
    // Not a mount point: a chroot. (A pidfd is a whole process: another thread's namespace would not be this one.)
    if done == Err(Errno::INVAL) && rustix::thread::gettid() == getpid() {
        leave()?;
        return mount_setattr(CWD, c"/", recursive, &change);
    }
    done
}

/// Makes what is `/` here the root of the whole namespace, and lets go of the rest.
fn leave() -> Result<()> {
    let here = rustix::fs::open("/", OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    let flags = flags | OpenTreeFlags::AT_RECURSIVE | OpenTreeFlags::AT_EMPTY_PATH;
    // Before the rest is made private: the mounts below keep their peers.
    let tree = open_tree(&here, "", flags)?;
    // Entering a mount namespace leads to its root, even from within.
    let own = pidfd_open(getpid(), PidfdFlags::empty())?;
    namespace::setns(own.as_fd(), clone::flags::NEWNS)?;
    mount_setattr(CWD, c"/", true, &MountAttr { propagation: attr::PROPAGATION_PRIVATE, ..MountAttr::default() })?;
    // A shared mount could not become the root.
    let slave = MountAttr { propagation: attr::PROPAGATION_SLAVE, ..MountAttr::default() };
    mount_setattr(tree.as_fd(), c"", false, &slave)?;
    move_mount(&tree, "", CWD, "/", MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)?;
    fchdir(&tree)?;
    pivot_root(".", ".")?;
    unmount(".", UnmountFlags::DETACH)
}
