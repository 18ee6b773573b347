//! Owner, mode, extended attributes and times of what was made, in the order in which they do not undo each other:
//! chown(2) clears set-id bits and capabilities, writing clears them too, and every change but utimens changes a time.

use super::place::times;
use crate::error::{Error, Result};
use crate::tar::{Entry, Time};
use rustix::fs::{
    AtFlags, Gid, Mode, Uid, XattrFlags, chownat, fchmod, fchown, fsetxattr, futimens, lsetxattr, utimensat,
};
use rustix::io::Errno;
use std::os::fd::{AsRawFd, BorrowedFd};

/// Owner, mode and time that a file shall have, and what it was made with.
#[derive(Debug, Clone, Copy)]
pub struct Looks {
    uid: u32,
    gid: u32,
    mode: u32,
    mtime: Time,
    /// The mode it has; [`u32::MAX`] when that is not known.
    made: u32,
    /// It may not be root's.
    foreign: bool,
}

impl Looks {
    /// Of an entry that was made with mode `made`, and as root's unless `foreign`.
    pub fn of(entry: &Entry, made: u32, foreign: bool) -> Looks {
        Looks { uid: entry.uid, gid: entry.gid, mode: entry.mode, mtime: entry.mtime, made, foreign }
    }

    /// Sets owner and mode, where they are not yet so.
    pub fn set(&self, fd: BorrowedFd, path: &[u8]) -> Result<()> {
        if self.foreign || self.uid != 0 || self.gid != 0 {
            let (uid, gid) = (Uid::from_raw(self.uid), Gid::from_raw(self.gid));
            fchown(fd, Some(uid), Some(gid)).map_err(|e| Error::at("change owner of", path, e))?;
        }
        if self.made != self.mode {
            fchmod(fd, Mode::from_raw_mode(self.mode)).map_err(|e| Error::at("change mode of", path, e))?;
        }
        Ok(())
    }

    /// Sets the time: last of all.
    pub fn set_times(&self, fd: BorrowedFd, path: &[u8]) -> Result<()> {
        futimens(fd, &times(self.mtime)).map_err(|e| Error::at("set times of", path, e))
    }
}

/// Sets everything of an open file or directory but its time. Returns the default access list, which would be inherited
/// if it were set now.
pub fn of_open(fd: BorrowedFd, entry: &Entry, looks: &Looks) -> Result<Option<Vec<u8>>> {
    looks.set(fd, &entry.path)?;
    let mut default_acl = None;
    for (name, value) in &entry.xattrs {
        match allowed(name) {
            false => {}
            true if name == b"system.posix_acl_default" => default_acl = Some(value.clone()),
            true => tolerate(set_xattr(fd, name, value)).map_err(|e| xattr_error(entry, name, e))?,
        }
    }
    Ok(default_acl)
}

/// Sets everything of a symbolic link, device or pipe, which cannot be opened: by its last name alone, below its open
/// directory, never following it.
pub fn of_name(parent: BorrowedFd, name: &[u8], entry: &Entry, foreign: bool) -> Result<()> {
    let error = |doing, e: Errno| Error::at(doing, &entry.path, e);
    if foreign || entry.uid != 0 || entry.gid != 0 {
        let (uid, gid) = owner(entry);
        chownat(parent, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)
            .map_err(|e| error("change owner of", e))?;
    }
    for (key, value) in &entry.xattrs {
        if allowed(key) {
            // There is no call for (directory, name) before Linux 6.13. The directory is pinned by its descriptor, the
            // last name is not followed, and /proc is our own.
            let mut path = format!("/proc/self/fd/{}/", parent.as_raw_fd()).into_bytes();
            path.extend_from_slice(name);
            let set = lsetxattr(path.as_slice(), key.as_slice(), value, XattrFlags::empty());
            tolerate(set).map_err(|e| xattr_error(entry, key, e))?;
        }
    }
    utimensat(parent, name, &times(entry.mtime), AtFlags::SYMLINK_NOFOLLOW).map_err(|e| error("set times of", e))
}

/// fsetxattr(2).
pub fn set_xattr(fd: BorrowedFd, name: &[u8], value: &[u8]) -> rustix::io::Result<()> {
    fsetxattr(fd, name, value, XattrFlags::empty())
}

/// Owner as chown(2) takes it.
pub fn owner(entry: &Entry) -> (Uid, Gid) {
    (Uid::from_raw(entry.uid), Gid::from_raw(entry.gid))
}

/// Attributes that steer overlayfs or a security module are the host's to give, not an archive's.
fn allowed(name: &[u8]) -> bool {
    if name.starts_with(b"trusted.overlay.") || name.starts_with(b"user.overlay.") {
        return false;
    }
    name.starts_with(b"user.")
        || name.starts_with(b"trusted.")
        || name == b"security.capability"
        || name.starts_with(b"system.posix_acl_")
}

/// A file system without an attribute still gets the files, as Docker has it.
fn tolerate(set: rustix::io::Result<()>) -> rustix::io::Result<()> {
    match set {
        Err(Errno::OPNOTSUPP | Errno::PERM) => Ok(()),
        other => other,
    }
}

fn xattr_error(entry: &Entry, name: &[u8], e: Errno) -> Error {
    match e {
        Errno::INVAL | Errno::RANGE | Errno::TOOBIG => {
            Error::entry(&entry.path, format!("extended attribute {} is malformed", String::from_utf8_lossy(name)))
        }
        e => Error::at("set extended attribute of", &entry.path, e),
    }
}
