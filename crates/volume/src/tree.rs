//! A tree of files copied below directory descriptors. The source is an image's and may hold anything: every step is one
//! name below an open directory, and no link is followed.

use crate::{Error, Result};
use rustix::fs::{AtFlags, Dir, FileType, Gid, Mode, OFlags, Stat, Timespec, Timestamps, Uid, XattrFlags};
use rustix::io::Errno;
use std::collections::{HashMap, HashSet};
use std::ffi::CStr;
use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

/// Every level holds two descriptors open; no sane image is this deep.
const DEEPEST: usize = 400;

/// Bytes on disk of all that is below a directory; a file with several names counts once. The tree may change meanwhile:
/// what vanishes does not count, and no link is followed.
pub(crate) fn disk_usage(top: OwnedFd) -> u64 {
    let mut seen = HashSet::new();
    let mut bytes = 0;
    let open = |fd: OwnedFd| Dir::read_from(&fd).ok().map(|entries| (fd, entries));
    let mut levels: Vec<_> = open(top).into_iter().collect();
    while let Some((fd, entries)) = levels.last_mut() {
        let Some(Ok(entry)) = entries.next() else {
            levels.pop();
            continue;
        };
        let name = entry.file_name();
        if matches!(name.to_bytes(), b"." | b"..") {
            continue;
        }
        let Ok(stat) = rustix::fs::statat(&*fd, name, AtFlags::SYMLINK_NOFOLLOW) else { continue };
        let below = match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => directory(fd.as_fd(), name).ok(),
            _ if stat.st_nlink > 1 && !seen.insert(stat.st_ino) => continue,
            _ => None,
        };
        bytes += stat.st_blocks as u64 * 512;
        // Every level holds two descriptors open.
        levels.extend(below.filter(|_| levels.len() < DEEPEST).and_then(open));
    }
    bytes
}

struct Copy<'a> {
    root: BorrowedFd<'a>,
    /// For messages.
    path: &'a Path,
    /// Files with several names: where the first one was put, below `root`.
    linked: HashMap<(u64, u64), Vec<u8>>,
}

/// Copies what is in `from`, and its own attributes, into the empty directory `to`.
pub(crate) fn copy(from: BorrowedFd, to: BorrowedFd, path: &Path) -> Result<()> {
    let mut copy = Copy { root: to, path, linked: HashMap::new() };
    let stat = stat_of(from, path)?;
    copy.children(from, to, &[], 0)?;
    copy_attributes(from, &stat, to, path)
}

/// What a directory is, before anything is taken out of it.
pub(crate) fn stat_of(from: BorrowedFd, path: &Path) -> Result<Stat> {
    rustix::fs::fstat(from).map_err(Error::os("look at the source of", path))
}

/// Gives the directory `to` the extended attributes of `from`, and the owner, mode and times that it had.
pub(crate) fn copy_attributes(from: BorrowedFd, stat: &Stat, to: BorrowedFd, path: &Path) -> Result<()> {
    attributes((from, c"."), (to, c"."), stat).map_err(Error::os("copy attributes to", path))
}

impl Copy<'_> {
    fn children(&mut self, from: BorrowedFd, to: BorrowedFd, below: &[u8], depth: usize) -> Result<()> {
        let failed = |errno| Error::Io {
            doing: "copy to",
            path: self.path.join(String::from_utf8_lossy(below).as_ref()),
            source: Errno::into(errno),
        };
        if depth > DEEPEST {
            return Err(failed(Errno::NAMETOOLONG));
        }
        let names = Dir::read_from(from)
            .and_then(|entries| entries.map(|entry| entry.map(|e| e.file_name().to_owned())).collect())
            .map_err(failed)?;
        let names: Vec<std::ffi::CString> = names;
        for name in names.iter().filter(|name| !matches!(name.to_bytes(), b"." | b"..")) {
            let mut place = below.to_vec();
            if !place.is_empty() {
                place.push(b'/');
            }
            place.extend_from_slice(name.to_bytes());
            self.entry(from, to, name, place, depth)?;
        }
        Ok(())
    }

    fn entry(&mut self, from: BorrowedFd, to: BorrowedFd, name: &CStr, place: Vec<u8>, depth: usize) -> Result<()> {
        let path = self.path.join(String::from_utf8_lossy(&place).as_ref());
        let failed = || Error::os("copy to", &path);
        let stat = rustix::fs::statat(from, name, AtFlags::SYMLINK_NOFOLLOW).map_err(failed())?;
        let kind = FileType::from_raw_mode(stat.st_mode);
        if kind != FileType::Directory && stat.st_nlink > 1 {
            if let Some(first) = self.linked.get(&(stat.st_dev, stat.st_ino)) {
                // The name was made here a moment ago, of directories made here.
                return rustix::fs::linkat(self.root, first.as_slice(), to, name, AtFlags::empty()).map_err(failed());
            }
            self.linked.insert((stat.st_dev, stat.st_ino), place.clone());
        }
        match kind {
            FileType::Directory => {
                let inner = directory(from, name).map_err(failed())?;
                rustix::fs::mkdirat(to, name, Mode::RWXU).map_err(failed())?;
                let made = directory(to, name).map_err(failed())?;
                self.children(inner.as_fd(), made.as_fd(), &place, depth + 1)?;
            }
            FileType::RegularFile => file(from, to, name, &path)?,
            FileType::Symlink => {
                let target = rustix::fs::readlinkat(from, name, Vec::new()).map_err(failed())?;
                rustix::fs::symlinkat(target.as_c_str(), to, name).map_err(failed())?;
            }
            kind => rustix::fs::mknodat(to, name, kind, Mode::empty(), stat.st_rdev).map_err(failed())?,
        }
        attributes((from, name), (to, name), &stat).map_err(failed())
    }
}

fn directory(at: BorrowedFd, name: &CStr) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(at, name, flags, Mode::empty())
}

fn file(from: BorrowedFd, to: BorrowedFd, name: &CStr, path: &Path) -> Result<()> {
    // NONBLOCK: should it be a fifo by now, opening must not wait.
    let read = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let write = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let open = |at, flags, mode| rustix::fs::openat(at, name, flags, mode).map(File::from);
    let mut source = open(from, read, Mode::empty()).map_err(Error::os("open the source of", path))?;
    let mut target = open(to, write, Mode::RUSR | Mode::WUSR).map_err(Error::os("create", path))?;
    // The kernel copies, or shares the blocks, where it can.
    std::io::copy(&mut source, &mut target).map_err(Error::io("write", path))?;
    Ok(())
}

type Named<'a> = (BorrowedFd<'a>, &'a CStr);

/// Owner, mode, extended attributes, times, in the order in which none undoes another.
fn attributes(from: Named, to: Named, stat: &Stat) -> rustix::io::Result<()> {
    let link = FileType::from_raw_mode(stat.st_mode) == FileType::Symlink;
    let (uid, gid) = (Uid::from_raw(stat.st_uid), Gid::from_raw(stat.st_gid));
    rustix::fs::chownat(to.0, to.1, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)?;
    if !link {
        // A change of owner takes setuid away, so the mode comes after it. The name was made here and is no link.
        rustix::fs::chmodat(to.0, to.1, Mode::from_raw_mode(stat.st_mode & 0o7777), AtFlags::empty())?;
    }
    extended(from, to)?;
    let time = |seconds, nanoseconds| Timespec { tv_sec: seconds, tv_nsec: nanoseconds as _ };
    let times = Timestamps {
        last_access: time(stat.st_atime, stat.st_atime_nsec),
        last_modification: time(stat.st_mtime, stat.st_mtime_nsec),
    };
    rustix::fs::utimensat(to.0, to.1, &times, AtFlags::SYMLINK_NOFOLLOW)
}

/// Through the descriptor's entry in /proc, because there is no `…at` form of these: one name below it, not followed.
fn proc_path(of: Named) -> Vec<u8> {
    [format!("/proc/self/fd/{}/", of.0.as_raw_fd()).as_bytes(), of.1.to_bytes()].concat()
}

fn extended(from: Named, to: Named) -> rustix::io::Result<()> {
    let (source, target) = (proc_path(from), proc_path(to));
    let mut names = vec![0; 64 * 1024];
    let length = match rustix::fs::llistxattr(source.as_slice(), &mut names[..]) {
        Err(Errno::NOTSUP) | Ok(0) => return Ok(()),
        other => other?,
    };
    let mut value = vec![0; 64 * 1024];
    for name in names[..length].split(|b| *b == 0).filter(|name| !name.is_empty()) {
        // How overlayfs keeps its own books.
        if name.starts_with(b"trusted.overlay.") || name.starts_with(b"user.overlay.") {
            continue;
        }
        let length = rustix::fs::lgetxattr(source.as_slice(), name, &mut value[..])?;
        match rustix::fs::lsetxattr(target.as_slice(), name, &value[..length], XattrFlags::empty()) {
            // A file system without this kind of attribute.
            Err(Errno::NOTSUP) => {}
            other => other?,
        }
    }
    Ok(())
}
