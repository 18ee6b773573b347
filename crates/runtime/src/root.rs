//! The root file system: mounted on top of the host's `/` in the container's own mount namespace, and made `/` at the end; or
//! in one where the host's mounts have never been.

use crate::mount::clone_tree;
use crate::options::Options;
use crate::plan::{Plan, changes_propagation};
use crate::{Failure, mount};
use rustix::fs::{AtFlags, CWD, StatxFlags};
use rustix::io::Errno;
use rustix::mount::{MoveMountFlags, UnmountFlags, move_mount};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use sys::clone::flags as ns;
use sys::mount::{MountAttr, attr};

/// What `mount` at `/` failed with.
fn failed(what: &str, errno: Errno) -> Failure {
    Failure::system("mount rootfs", &format!("error mounting the root file system: {what}"), errno)
}

/// Keeps what happens in this namespace from reaching the host's, as `rootfsPropagation` says or as a slave.
pub(crate) fn seclude(plan: &Plan) -> Result<(), Failure> {
    let (propagation, recursive) = plan.root_propagation.unwrap_or((attr::PROPAGATION_SLAVE, true));
    propagate(propagation, recursive)
}

/// Before the first mount is attached: whatever is still shared would carry it to the host.
pub(crate) fn make_private(plan: &Plan) -> Result<(), Failure> {
    if changes_propagation(plan.root_propagation) {
        propagate(attr::PROPAGATION_PRIVATE, true)?;
    }
    Ok(())
}

fn propagate(propagation: u64, recursive: bool) -> Result<(), Failure> {
    sys::chroot::propagate(propagation, recursive)
        .map_err(|e| Failure::system("mount rootfs", "set the propagation of the host's mounts", e))
}

/// Mounts the root file system over `/`, or over itself when hooks are to find it, and returns it. In a copy of the host's
/// mounts this process keeps seeing those until [`enter`].
pub(crate) fn mount(plan: &Plan) -> Result<OwnedFd, Failure> {
    let made = plan.sources.get(plan.mounts.len()).and_then(Option::as_ref);
    if made.is_none() {
        // By its path: mounts are cloned only from this namespace, where a descriptor of the parent's would not lead.
        rustix::process::chdir(&plan.base).map_err(|e| failed(&format!("chdir {}", plan.base.display()), e))?;
    }
    let root = match (&plan.root_options.bind, plan.root.kind.as_str()) {
        (Some(recursive), _) => {
            let tree = match made {
                Some(made) => rustix::io::fcntl_dupfd_cloexec(made, 3),
                None => clone_tree(CWD, plan.root.source.as_bytes(), *recursive),
            };
            let tree = tree.map_err(|e| failed(&plan.root.source, e))?;
            let private = Options { propagation: vec![(attr::PROPAGATION_PRIVATE, true)], ..Options::default() };
            mount::change(tree.as_fd(), &private).map_err(|e| failed("mount_setattr", e))?;
            mount::change(tree.as_fd(), &plan.root_options).map_err(|e| failed("mount_setattr", e))?;
            tree
        }
        (None, "overlay") => {
            let source = if plan.root.source.is_empty() { "overlay" } else { &plan.root.source };
            sys::overlay::mount(source, &plan.root_options.data, plan.root_options.set)
                .map_err(|(e, what)| failed(&format!("overlay {what}"), e))?
        }
        _ => mount::detached(&plan.root, &plan.root_options, None)?,
    };
    if let Some(bare) = &plan.bare {
        let enter = sys::setns(bare.as_fd(), ns::NEWNS).and_then(|()| sys::unshare(ns::NEWNS));
        enter.map_err(|e| failed("leave the host's mount namespace", e))?;
    }
    // Hooks look for it where the configuration says that it is.
    let own = plan.base.join(&plan.root.source);
    let put = |place: &Path| move_mount(&root, "", CWD, place, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH);
    match put(if plan.root_in_place { &own } else { Path::new("/") }) {
        // Where root of a user namespace cannot go, no hook in there can go either.
        Err(Errno::ACCESS) if !plan.no_pivot && !plan.on_host => put(Path::new("/")),
        other => other,
    }
    .map_err(|e| failed("move_mount", e))?;
    Ok(root)
}

/// Makes `root` this process's `/` and lets go of the host's.
pub(crate) fn enter(root: BorrowedFd, plan: &Plan) -> Result<(), Failure> {
    let wrong = |what: &'static str| move |e| Failure::system("pivot_root", what, e);
    rustix::process::fchdir(root).map_err(wrong("chdir to the root file system"))?;
    if plan.bare.is_some() {
        // What it lies on is empty. pivot_root(2) would look at every process of the machine.
        return rustix::process::chroot(".").map_err(wrong("chroot"));
    }
    if plan.no_pivot && !plan.on_host {
        forget_hosts(root)?;
    }
    if plan.no_pivot || plan.on_host {
        if plan.root_in_place && !plan.on_host {
            rustix::mount::mount_move(".", "/").map_err(wrong("move the root file system"))?;
        }
        rustix::process::chroot(".").map_err(wrong("chroot"))?;
    } else {
        // Both are ".": the old root is stacked onto the new one, and unmounted from there.
        rustix::process::pivot_root(".", ".").map_err(wrong("pivot_root"))?;
        rustix::mount::unmount(".", UnmountFlags::DETACH).map_err(wrong("unmount the host's root"))?;
    }
    if let Some((propagation, recursive)) = plan.root_propagation {
        let change = MountAttr { propagation, ..MountAttr::default() };
        sys::mount_setattr(root, c"", recursive, &change).map_err(wrong("set rootfsPropagation"))?;
    }
    Ok(())
}

/// chroot(2) leaves the host's mounts in the namespace, where the kernel still finds them: a user namespace that is made in the
/// container could mount a procfs or sysfs of its own without the container's masks, as long as one that is whole is there.
fn forget_hosts(root: BorrowedFd) -> Result<(), Failure> {
    let wrong = |what: &str, e| Failure::system("chroot", what, e);
    let own = rustix::fs::statx(root, "", AtFlags::EMPTY_PATH, StatxFlags::MNT_ID).map_err(|e| wrong("statx", e))?;
    let mounts = std::fs::read_to_string("/proc/self/mountinfo")
        .map_err(|e| wrong("read /proc/self/mountinfo", crate::plan::errno(&e)))?;
    for place in whole_outside(&mounts, own.stx_mnt_id) {
        let cover = || -> Result<(), Errno> {
            let tmpfs = sys::mount::filesystem("tmpfs", "tmpfs", &[], attr::RDONLY).map_err(|(e, _)| e)?;
            move_mount(&tmpfs, "", CWD, &*place, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
        };
        match rustix::mount::unmount(&*place, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW) {
            // Gone with what it was mounted in.
            Ok(()) | Err(Errno::NOENT) => {}
            // Without the host's rights.
            Err(Errno::INVAL | Errno::PERM) => {
                cover().map_err(|e| wrong(&format!("cover {place}"), e))?;
            }
            Err(e) => return Err(wrong(&format!("unmount {place}"), e)),
        }
    }
    Ok(())
}

/// Where `mountinfo` has a whole procfs or sysfs that is not mounted in `root` or below.
fn whole_outside(mountinfo: &str, root: u64) -> Vec<String> {
    let number = |text: Option<&str>| text.and_then(|text| text.parse::<u64>().ok());
    let one = |line: &str| {
        let (front, back) = line.split_once(" - ")?;
        let mut words = front.split(' ');
        let (id, parent) = (number(words.next())?, number(words.next())?);
        let (part, place) = (words.nth(1)?, words.next()?);
        let kind = back.split(' ').next()?;
        Some((id, parent, part == "/" && ["proc", "sysfs"].contains(&kind), place.to_owned()))
    };
    let mounts: Vec<_> = mountinfo.lines().filter_map(one).collect();
    let inside = |mut id: u64| {
        // Not for ever: the topmost is its own parent or has one that is not shown.
        (0..mounts.len()).any(|_| {
            let found = id == root;
            id = mounts.iter().find(|mount| mount.0 == id).map_or(0, |mount| mount.1);
            found
        })
    };
    let outside = mounts.iter().filter(|(id, _, whole, _)| *whole && !inside(*id));
    outside.map(|(.., place)| unescaped(place)).collect()
}

/// A path as mountinfo has it: blanks and the like are three octal digits after a backslash.
fn unescaped(place: &str) -> String {
    [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")]
        .iter()
        .fold(place.to_owned(), |place, (code, plain)| place.replace(code, plain))
}

/// The mount that `path` lies in. For a container in the host's mount namespace it is to be kept from before there was one.
///
/// # Errors
/// When there is no such path.
pub fn mount_of(path: &Path) -> Result<u64, Errno> {
    rustix::fs::statx(CWD, path, AtFlags::empty(), StatxFlags::MNT_ID).map(|stat| stat.stx_mnt_id)
}

/// Takes away what a container in the host's mount namespace has mounted at `path` and below, if it has got so far; `before`
/// is what [`mount_of`] said before it.
pub fn unmount_root(path: &Path, before: u64) {
    if mount_of(path).is_ok_and(|now| now != before) {
        let _ = rustix::mount::unmount(path, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn procfs_that_is_the_hosts() {
        let mountinfo = "\
            20 1 8:1 / / rw - ext4 /dev/sda1 rw\n\
            21 20 0:5 / /proc rw shared:7 - proc proc rw\n\
            22 20 0:5 /sys /mnt/part ro - proc proc rw\n\
            23 20 0:6 / /a\\040b rw - sysfs sysfs rw\n\
            24 21 0:7 / /proc/sys/fs/binfmt_misc rw - binfmt_misc none rw\n\
            30 20 8:1 /box / rw - ext4 /dev/sda1 rw\n\
            31 30 0:9 / /proc rw - proc proc rw\n\
            32 31 0:8 / /proc/x rw - sysfs sysfs rw\n";
        assert_eq!(whole_outside(mountinfo, 30), ["/proc", "/a b"]);
    }
}
