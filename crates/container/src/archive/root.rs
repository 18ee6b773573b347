//! How the process comes to a container's root.

use super::{Over, Root, Why};
use oci::runtime::Mount;
use rustix::fs::{CWD, Mode, OFlags};
use rustix::mount::{MoveMountFlags, OpenTreeFlags, move_mount, open_tree};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

pub(super) type Failure = (Why, String);

fn system(doing: &str) -> impl Fn(rustix::io::Errno) -> Failure + '_ {
    move |e| (Why::System, format!("{doing}: {}", std::io::Error::from(e)))
}

const NEWNS: u64 = 0x0002_0000;

/// The root as a descriptor. This process, single-threaded still, changes its mount namespace for it.
pub(super) fn enter(root: &Root) -> Result<OwnedFd, Failure> {
    match root {
        Root::Running { pid, start } => running(*pid, *start),
        Root::Mounted { mount, base, over } => mounted(mount, base, over),
    }
}

fn running(pid: i32, start: u64) -> Result<OwnedFd, Failure> {
    let gone = || (Why::System, "the container has ended".to_owned());
    let pidfd = Pid::from_raw(pid).and_then(|p| pidfd_open(p, PidfdFlags::empty()).ok()).ok_or_else(gone)?;
    if sys::process::start_time(pid) != Some(start) {
        return Err(gone());
    }
    sys::setns(pidfd.as_fd(), NEWNS).map_err(system("joining the container's mount namespace"))?;
    open_root()
}

fn open_root() -> Result<OwnedFd, Failure> {
    rustix::fs::open("/", OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()).map_err(system("open /"))
}

fn mounted(mount: &Mount, base: &Path, over: &[Over]) -> Result<OwnedFd, Failure> {
    sys::unshare(NEWNS).map_err(system("unshare"))?;
    sys::chroot::propagate(sys::mount::attr::PROPAGATION_PRIVATE, true).map_err(system("making mounts private"))?;
    // The options' paths are relative, and only this process is single-threaded enough to change its directory.
    rustix::process::chdir(base).map_err(system("chdir"))?;
    // Opened while the host's paths are all there.
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_RECURSIVE;
    let trees: Vec<_> = over.iter().map(|o| (o, open_tree(CWD, o.source.as_str(), flags))).collect();
    let root = overlay(mount)?;
    // It must be attached somewhere for mounts to be put over it.
    let moved = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
    move_mount(root.as_fd(), "", CWD, base, moved).map_err(system("attaching the root"))?;
    let root = sys::rootfs::open_root(base).map_err(system("open the root"))?;
    for (over, tree) in trees {
        // What is not there, on either side, is not there for a copy either.
        if let Ok(tree) = tree {
            cover(root.as_fd(), over, &tree)?;
        }
    }
    Ok(root)
}

fn overlay(mount: &Mount) -> Result<OwnedFd, Failure> {
    let wrong = system("mounting the root");
    if mount.kind == "bind" {
        let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_RECURSIVE;
        return open_tree(CWD, mount.source.as_str(), flags).map_err(wrong);
    }
    let mut attributes = 0;
    let mut options = Vec::new();
    for option in &mount.options {
        match option.split_once('=') {
            Some((key, value)) => options.push((key.to_owned(), Some(value.to_owned()))),
            None if option == "ro" => attributes |= sys::mount::attr::RDONLY,
            // A copy must reach the disk as any other write, and leave no mark behind.
            None if option == "volatile" => {}
            None => options.push((option.clone(), None)),
        }
    }
    sys::overlay::mount("overlay", &options, attributes).map_err(|(e, _)| wrong(e))
}

/// Puts a tree over its destination in the root.
fn cover(root: BorrowedFd, over: &Over, tree: &OwnedFd) -> Result<(), Failure> {
    let Ok(target) = sys::rootfs::resolve(root, over.destination.as_bytes(), OFlags::PATH) else { return Ok(()) };
    if !over.writable {
        let change = sys::mount::MountAttr { set: sys::mount::attr::RDONLY, ..Default::default() };
        sys::mount_setattr(tree.as_fd(), c"", true, &change).map_err(system("making a mount read-only"))?;
    }
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    match move_mount(tree.as_fd(), "", target.as_fd(), "", flags) {
        // A file over a directory, or the other way round: a start would refuse it too.
        Ok(()) | Err(rustix::io::Errno::NOTDIR | rustix::io::Errno::INVAL) => Ok(()),
        Err(e) => Err(system("covering the root")(e)),
    }
}
