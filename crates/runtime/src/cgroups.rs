//! What a container sees at `/sys/fs/cgroup`.

use crate::Failure;
use crate::cgroup::View;
use crate::mount::{attach, change, clone_tree, detached, directory, enslave, failed};
use crate::options::Options;
use oci::runtime::Mount;
use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use sys::rootfs;

/// Clones a view's mount for who will not see the host's any more. On v2 there is nothing to clone: it is mounted anew.
pub(crate) fn open(view: &mut View) -> Result<(), Failure> {
    if !view.name.is_empty() {
        let tree = clone_tree(CWD, view.path.as_os_str().as_bytes(), false);
        view.tree = Some(tree.map_err(|e| Failure::system("cgroup", &format!("clone {}", view.path.display()), e))?);
    }
    Ok(())
}

/// Mounts the container's cgroup. On v2 it is the file system itself, whose root the cgroup namespace makes the container's
/// own cgroup. On v1 it is a tmpfs with one bind per hierarchy, of the container's own cgroup, so that nothing above it
/// (where `release_agent` is) can be reached, whatever the namespace.
pub(crate) fn mount(root: BorrowedFd, mount: &Mount, options: &Options, views: &[View]) -> Result<(), Failure> {
    let target = directory(root, &mount.destination).map_err(|e| failed(mount, "create mountpoint", e))?;
    if let [view] = views
        && view.name.is_empty()
    {
        let made = match sys::mount::filesystem("cgroup2", "cgroup", &options.data, options.set) {
            // In a user namespace without a cgroup namespace of its own.
            Err((Errno::PERM | Errno::BUSY, _)) => {
                let tree =
                    clone_tree(CWD, view.path.as_os_str().as_bytes(), false).map_err(|e| failed(mount, "bind", e))?;
                change(tree.as_fd(), options).map_err(|e| failed(mount, "mount_setattr", e))?;
                tree
            }
            other => other.map_err(|(e, what)| failed(mount, &what, e))?,
        };
        return attach(made.as_fd(), target.as_fd()).map_err(|e| failed(mount, "move_mount", e));
    }
    let tmpfs = Mount { kind: "tmpfs".into(), source: "tmpfs".into(), ..mount.clone() };
    let data = vec![("mode".to_string(), Some("755".to_string()))];
    // Attributes come last: directories are still to be made in it.
    let made = detached(&tmpfs, &Options { data, ..Options::default() }, None)?;
    for view in views {
        rustix::fs::mkdirat(&made, view.name.as_str(), Mode::from_raw_mode(0o755))
            .map_err(|e| failed(mount, &view.name, e))?;
    }
    attach(made.as_fd(), target.as_fd()).map_err(|e| failed(mount, "move_mount", e))?;
    for view in views {
        let one = || -> Result<(), Errno> {
            let tree;
            let tree = match &view.tree {
                Some(made) => {
                    enslave(made.as_fd())?;
                    made.as_fd()
                }
                None => {
                    tree = clone_tree(CWD, view.path.as_os_str().as_bytes(), false)?;
                    tree.as_fd()
                }
            };
            change(tree, &Options { data: Vec::new(), ..options.clone() })?;
            let place = rootfs::resolve_plain(made.as_fd(), view.name.as_bytes(), OFlags::PATH)?;
            attach(tree.as_fd(), place.as_fd())
        };
        one().map_err(|e| failed(mount, &view.name, e))?;
    }
    change(made.as_fd(), options).map_err(|e| failed(mount, "mount_setattr", e))
}
