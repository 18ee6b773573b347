//! The one property of the kernel's cgroups that the engine sets for the whole machine (docs/adr/002-cgroup-moves.md).

use crate::Result;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsconfig_set_flag, fsconfig_set_string, fsmount, fsopen,
};
use std::os::fd::{AsFd, OwnedFd};

/// Makes moving processes between cgroups quick on this machine for as long as the descriptor lives (from kernel 6.18 on:
/// until the next boot), by a named hierarchy of our own that asks for `favordynmods` and is mounted nowhere.
///
/// # Errors
/// `EINVAL` before kernel 6.0, `ENODEV` on a kernel without cgroup v1, `EPERM` without `CAP_SYS_ADMIN`.
pub fn favor_moves() -> Result<OwnedFd> {
    let fs = fsopen("cgroup", FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_set_flag(fs.as_fd(), "none")?;
    fsconfig_set_string(fs.as_fd(), "name", "dhow")?;
    fsconfig_set_flag(fs.as_fd(), "favordynmods")?;
    fsconfig_create(fs.as_fd())?;
    fsmount(fs.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty())
}
