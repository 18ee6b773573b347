//! `/dev`: always a fresh tmpfs of our own (or the caller's bind), never what the image brought.

use crate::Failure;
use crate::mount::{attach, clone_tree};
use crate::plan::{Device, Plan};
use rustix::fs::{AtFlags, CWD, FileType, Gid, Mode, OFlags, Uid, makedev};
use rustix::io::Errno;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use sys::rootfs;

/// In every container: name and minor number; the major is 1, of tty 5.
const DEFAULTS: [(&str, u32, u32); 6] =
    [("null", 1, 3), ("zero", 1, 5), ("full", 1, 7), ("random", 1, 8), ("urandom", 1, 9), ("tty", 5, 0)];

const LINKS: [(&str, &str); 5] = [
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
    ("ptmx", "pts/ptmx"),
];

/// The default devices and the configuration's, the latter in place of a default of the same path.
fn devices(plan: &Plan) -> impl Iterator<Item = Device> {
    let defaults = DEFAULTS.iter().map(|(name, major, minor)| Device {
        path: format!("/dev/{name}"),
        kind: FileType::CharacterDevice,
        number: makedev(*major, *minor),
        mode: 0o666,
        uid: 0,
        gid: 0,
    });
    let own = |device: &Device| !plan.devices.iter().any(|given| given.path == device.path);
    let defaults: Vec<_> = defaults.filter(own).collect();
    // `ptmx` is always the link to that of the container's own devpts; all the host's devices (--privileged) have another.
    let given = plan.devices.iter().filter(|device| device.path != "/dev/ptmx");
    defaults.into_iter().chain(given.cloned())
}

fn failed(path: &str, e: Errno) -> Failure {
    Failure::system("devices", &format!("create device {path:?}"), e)
}

/// Fills the tmpfs before anybody can see it. In a user namespace no node can be made: see [`bind_hosts`].
pub(crate) fn populate(dev: BorrowedFd, plan: &Plan) -> Result<(), Failure> {
    if !plan.namespaces.has_user() {
        for device in devices(plan) {
            if let Some(below) = device.path.strip_prefix("/dev/") {
                match make(dev, below, &device) {
                    // Nobody else has been here: the configuration names it twice.
                    Ok(()) | Err(Errno::EXIST) => {}
                    Err(e) => return Err(failed(&device.path, e)),
                }
            }
        }
    }
    for (name, target) in LINKS {
        match rustix::fs::symlinkat(target, dev, name) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(e) => return Err(failed(name, e)),
        }
    }
    if plan.has_kcore {
        rustix::fs::symlinkat("/proc/kcore", dev, "core").map_err(|e| failed("core", e))?;
    }
    Ok(())
}

/// Makes the node at `path` below `root`; the process's umask is 0.
fn make(root: BorrowedFd, path: &str, device: &Device) -> Result<(), Errno> {
    let above;
    let (directory, name) = match path.rsplit_once('/') {
        None => (root, path),
        Some((directory, name)) => {
            above = rootfs::create_dir_all(root, directory.as_bytes(), 0o755)?;
            (above.as_fd(), name)
        }
    };
    rustix::fs::mknodat(directory, name, device.kind, Mode::from_raw_mode(device.mode), device.number)?;
    if (device.uid, device.gid) != (0, 0) {
        let (uid, gid) = (Uid::from_raw(device.uid), Gid::from_raw(device.gid));
        rustix::fs::chownat(directory, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)?;
    }
    Ok(())
}

/// After all mounts: the configuration's devices elsewhere than in /dev, where something of the image may be in the way.
pub(crate) fn elsewhere(root: BorrowedFd, plan: &Plan) -> Result<(), Failure> {
    for device in plan.devices.iter().filter(|device| !device.path.starts_with("/dev/")) {
        match make(root, device.path.trim_start_matches('/'), device) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(e) => return Err(failed(&device.path, e)),
        }
    }
    Ok(())
}

/// In a user namespace: the host's nodes, each checked to be the very device, bound over empty files.
pub(crate) fn bind_hosts(root: BorrowedFd, plan: &Plan) -> Result<(), Failure> {
    for device in devices(plan) {
        let bind = || -> Result<(), Errno> {
            let tree = clone_tree(CWD, device.path.as_bytes(), false)?;
            if rootfs::kind(tree.as_fd())? != (device.kind, device.number) {
                return Err(Errno::NODEV);
            }
            let target = rootfs::create_file(root, device.path.as_bytes(), 0o666)?;
            attach(tree.as_fd(), target.as_fd())
        };
        bind().map_err(|e| failed(&device.path, e))?;
    }
    Ok(())
}

/// A detached bind of the null device: from our own /dev, or from a bound one if it really is the null device.
pub(crate) fn null(root: BorrowedFd, dev: Option<BorrowedFd>) -> Result<OwnedFd, Errno> {
    let found = match dev {
        Some(dev) => rootfs::resolve_plain(dev, b"null", OFlags::PATH | OFlags::NOFOLLOW),
        None => rootfs::resolve(root, b"dev/null", OFlags::PATH | OFlags::NOFOLLOW),
    };
    // In a user namespace the node is a mount of its own.
    let found = match found {
        Err(Errno::XDEV) => rootfs::resolve(root, b"dev/null", OFlags::PATH | OFlags::NOFOLLOW)?,
        other => other?,
    };
    is_null(found.as_fd())?;
    clone_tree(found.as_fd(), b"", false)
}

/// Opens the null device of the container for a standard stream that nobody gave.
pub(crate) fn open_null(root: BorrowedFd) -> Result<OwnedFd, Failure> {
    let open = || -> Result<OwnedFd, Errno> {
        let file = rootfs::resolve(root, b"dev/null", OFlags::RDWR | OFlags::NOCTTY | OFlags::NONBLOCK)?;
        is_null(file.as_fd())?;
        rustix::fs::fcntl_setfl(&file, OFlags::empty())?;
        Ok(file)
    };
    open().map_err(|e| Failure::system("stdio", "open /dev/null", e))
}

fn is_null(fd: BorrowedFd) -> Result<(), Errno> {
    let is = rootfs::kind(fd)? == (FileType::CharacterDevice, makedev(1, 3));
    if is { Ok(()) } else { Err(Errno::NODEV) }
}
