//! A copy of a directory tree through descriptors: what `tmpcopyup` puts into a tmpfs.

use rustix::fs::{AtFlags, Dir, FileType, Gid, Mode, OFlags, Stat, Uid};
use rustix::io::Errno;
use std::os::fd::{AsFd, BorrowedFd};

/// How deep directories may nest.
const MAX_DEPTH: usize = 256;

/// Where a copy failed, and why.
type Failed = (String, Errno);

/// Copies what is in `from` into `to`: files, directories, links, nodes, with owner and mode. Stays on the mount it is given.
pub(crate) fn tree(from: BorrowedFd, to: BorrowedFd) -> Result<(), Failed> {
    level(from, to, 0)
}

fn level(from: BorrowedFd, to: BorrowedFd, depth: usize) -> Result<(), Failed> {
    if depth > MAX_DEPTH {
        return Err(("…".into(), Errno::LOOP));
    }
    let top = |e| (".".to_string(), e);
    let entries = Dir::read_from(from).map_err(top)?;
    for entry in entries {
        let entry = entry.map_err(top)?;
        let name = entry.file_name();
        if name.to_bytes() == b"." || name.to_bytes() == b".." {
            continue;
        }
        let failed = |e| (name.to_string_lossy().into_owned(), e);
        let stat = rustix::fs::statat(from, name, AtFlags::SYMLINK_NOFOLLOW).map_err(failed)?;
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => {
                rustix::fs::mkdirat(to, name, Mode::from_raw_mode(0o700)).map_err(failed)?;
                let open = |dir| rustix::fs::openat(dir, name, DIRECTORY, Mode::empty()).map_err(failed);
                level(open(from)?.as_fd(), open(to)?.as_fd(), depth + 1)?;
            }
            FileType::RegularFile => file(from, to, name, &stat).map_err(failed)?,
            FileType::Symlink => {
                let target = rustix::fs::readlinkat(from, name, Vec::new()).map_err(failed)?;
                rustix::fs::symlinkat(&target, to, name).map_err(failed)?;
            }
            kind => {
                rustix::fs::mknodat(to, name, kind, Mode::from_raw_mode(stat.st_mode & 0o7777), stat.st_rdev)
                    .map_err(failed)?;
            }
        }
        let (uid, gid) = (Uid::from_raw(stat.st_uid), Gid::from_raw(stat.st_gid));
        rustix::fs::chownat(to, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW).map_err(failed)?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::Symlink {
            // After the owner, whose change takes set-user-ID away. The name is ours: nobody else sees this tmpfs yet.
            rustix::fs::chmodat(to, name, Mode::from_raw_mode(stat.st_mode & 0o7777), AtFlags::empty())
                .map_err(failed)?;
        }
    }
    Ok(())
}

const DIRECTORY: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

fn file(from: BorrowedFd, to: BorrowedFd, name: &std::ffi::CStr, stat: &Stat) -> Result<(), Errno> {
    let common = OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let source = rustix::fs::openat(from, name, OFlags::RDONLY | OFlags::NONBLOCK | common, Mode::empty())?;
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | common;
    let target = rustix::fs::openat(to, name, flags, Mode::from_raw_mode(0o600))?;
    let mut left = stat.st_size as u64;
    while left > 0 {
        match rustix::fs::sendfile(&target, &source, None, left.min(1 << 30) as usize)? {
            0 => break,
            n => left -= n as u64,
        }
    }
    Ok(())
}
