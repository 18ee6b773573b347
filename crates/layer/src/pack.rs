//! Files become an archive. Links are stored as links: nothing outside the tree is ever read.

use crate::error::{Error, Result};
use crate::tar::{Entry, Kind, Time, Writer};
use rustix::fs::{
    AtFlags, FileType, Mode, OFlags, RawDir, Stat, fgetxattr, flistxattr, fstat, major, minor, openat, readlinkat,
    statat,
};
use rustix::io::Errno;
use std::collections::HashMap;
use std::ffi::{CStr, CString};
use std::io::{Empty, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// Directories nested deeper than this are refused.
const DEEP: usize = 1024;

/// What to leave out or change on the way.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Options {
    /// Names, relative to what is packed and without a leading slash, that are left out with all below them.
    pub exclude: Vec<Vec<u8>>,
    /// Give every entry this owner.
    pub owner: Option<(u32, u32)>,
    /// Keep times to the nanosecond; Docker's archives have whole seconds.
    pub exact_times: bool,
}

/// Packs what `path` is inside `root`, without following a link at its end, under the name `name` (empty: a directory's
/// entries are named relative to it, and it is itself `./`).
pub fn pack<W: Write>(
    root: BorrowedFd,
    path: &[u8],
    name: &[u8],
    writer: &mut Writer<W>,
    options: &Options,
) -> Result<()> {
    let mut walk = Walk { writer, options, inodes: HashMap::new() };
    let error = |e| Error::at("open", path, e);
    match sys::rootfs::parent(root, path) {
        Ok((parent, last)) => {
            let last = CString::new(last).map_err(|_| Error::entry(path, "its name has a NUL"))?;
            walk.entry(parent.as_fd(), &last, name, b"", 0)
        }
        // The root itself, or a path that ends in dots.
        Err(Errno::INVAL) => {
            let dir = sys::rootfs::resolve(root, path, OFlags::PATH | OFlags::DIRECTORY).map_err(error)?;
            walk.entry(dir.as_fd(), c".", name, b"", 0)
        }
        Err(e) => Err(error(e)),
    }
}

struct Walk<'w, W> {
    writer: &'w mut Writer<W>,
    options: &'w Options,
    /// First name of every file that has several.
    inodes: HashMap<(u64, u64), Vec<u8>>,
}

impl<W: Write> Walk<'_, W> {
    /// Packs `name` in `dir` as `path`; `inner` is its path relative to what is packed.
    fn entry(&mut self, dir: BorrowedFd, name: &CStr, path: &[u8], inner: &[u8], depth: usize) -> Result<()> {
        let error = |doing, e: Errno| Error::at(doing, path, e);
        let stat = match statat(dir, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => stat,
            // Gone since it was listed.
            Err(Errno::NOENT) if depth > 0 => return Ok(()),
            Err(e) => return Err(error("stat", e)),
        };
        let mut entry = self.describe(&stat, path);
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => {
                let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                let fd = openat(dir, name, flags, Mode::empty()).map_err(|e| error("open", e))?;
                entry.kind = Kind::Directory;
                if entry.path.is_empty() {
                    entry.path = b"./".to_vec();
                }
                entry.xattrs = xattrs(fd.as_fd(), path)?;
                self.put(&entry)?;
                return self.directory(&fd, path, inner, depth);
            }
            FileType::RegularFile => return self.file(dir, name, entry, &stat),
            FileType::Symlink => {
                entry.kind = Kind::Symlink;
                let target = readlinkat(dir, name, Vec::new()).map_err(|e| error("read link", e))?;
                entry.link = target.into_bytes();
            }
            FileType::CharacterDevice => entry.kind = Kind::Char,
            FileType::BlockDevice => entry.kind = Kind::Block,
            FileType::Fifo => entry.kind = Kind::Fifo,
            // Sockets cannot be archived.
            _ => return Ok(()),
        }
        entry.device = (major(stat.st_rdev), minor(stat.st_rdev));
        if let Some(first) = self.first_name(&stat, path) {
            (entry.kind, entry.link) = (Kind::HardLink, first);
        }
        self.put(&entry)
    }

    fn directory(&mut self, fd: &OwnedFd, path: &[u8], inner: &[u8], depth: usize) -> Result<()> {
        if depth >= DEEP {
            return Err(Error::Limit { what: "depth of a directory", limit: DEEP as u64 });
        }
        let mut names = Vec::new();
        let mut buffer = Vec::with_capacity(32 << 10);
        let mut entries = RawDir::new(fd, buffer.spare_capacity_mut());
        while let Some(entry) = entries.next() {
            let entry = entry.map_err(|e| Error::at("list", path, e))?;
            if entry.file_name() != c"." && entry.file_name() != c".." {
                names.push(entry.file_name().to_owned());
            }
        }
        drop(buffer);
        names.sort_unstable();
        for name in names {
            let inner = join(inner, name.to_bytes());
            if !self.options.exclude.contains(&inner) {
                self.entry(fd.as_fd(), &name, &join(path, name.to_bytes()), &inner, depth + 1)?;
            }
        }
        Ok(())
    }

    fn file(&mut self, dir: BorrowedFd, name: &CStr, mut entry: Entry, seen: &Stat) -> Result<()> {
        if let Some(first) = self.first_name(seen, &entry.path) {
            (entry.kind, entry.link) = (Kind::HardLink, first);
            return self.put(&entry);
        }
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let fd = match openat(dir, name, flags, Mode::empty()) {
            Ok(fd) => fd,
            Err(Errno::NOENT) => return Ok(()),
            Err(e) => return Err(Error::at("open", &entry.path, e)),
        };
        let stat = fstat(&fd).map_err(|e| Error::at("stat", &entry.path, e))?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(Error::entry(&entry.path, "it was replaced while it was packed"));
        }
        entry = self.describe(&stat, &entry.path);
        entry.size = stat.st_size as u64;
        entry.xattrs = xattrs(fd.as_fd(), &entry.path)?;
        self.writer.append(&entry, &mut std::fs::File::from(fd))
    }

    fn first_name(&mut self, stat: &Stat, path: &[u8]) -> Option<Vec<u8>> {
        if stat.st_nlink < 2 {
            return None;
        }
        let key = (stat.st_dev, stat.st_ino);
        let first = self.inodes.get(&key).cloned();
        if first.is_none() {
            self.inodes.insert(key, path.to_vec());
        }
        first
    }

    fn put(&mut self, entry: &Entry) -> Result<()> {
        self.writer.append(entry, &mut Empty::default())
    }

    fn describe(&self, stat: &Stat, path: &[u8]) -> Entry {
        let (uid, gid) = self.options.owner.unwrap_or((stat.st_uid, stat.st_gid));
        let nanos = if self.options.exact_times { stat.st_mtime_nsec as u32 } else { 0 };
        let mtime = Time { secs: stat.st_mtime, nanos };
        Entry { path: path.to_vec(), mode: stat.st_mode & 0o7777, uid, gid, mtime, ..Entry::default() }
    }
}

fn join(dir: &[u8], name: &[u8]) -> Vec<u8> {
    match dir {
        b"" => name.to_vec(),
        _ if dir.last() == Some(&b'/') => [dir, name].concat(),
        _ => [dir, b"/", name].concat(),
    }
}

/// The attributes that belong to the file and not to this host.
fn xattrs(fd: BorrowedFd, path: &[u8]) -> Result<Vec<(Vec<u8>, Vec<u8>)>> {
    let mut list = [0u8; 4096];
    let mut long;
    let listed: &[u8] = match flistxattr(fd, &mut list) {
        Ok(0) | Err(Errno::OPNOTSUPP) => return Ok(Vec::new()),
        Ok(n) => list.get(..n).unwrap_or_default(),
        Err(Errno::RANGE) => {
            long = vec![0u8; 64 << 10];
            let n = flistxattr(fd, long.as_mut_slice()).map_err(|e| Error::at("list attributes of", path, e))?;
            long.get(..n).unwrap_or_default()
        }
        Err(e) => return Err(Error::at("list attributes of", path, e)),
    };
    let mut all = Vec::new();
    for name in listed.split(|b| *b == 0) {
        let ours =
            name.starts_with(b"user.") || name == b"security.capability" || name.starts_with(b"system.posix_acl_");
        if !ours || name.starts_with(b"user.overlay.") {
            continue;
        }
        let mut value = vec![0u8; 64 << 10];
        match fgetxattr(fd, name, value.as_mut_slice()) {
            Ok(n) => value.truncate(n),
            Err(Errno::NODATA) => continue,
            Err(e) => return Err(Error::at("read attribute of", path, e)),
        }
        all.push((name.to_vec(), value));
    }
    Ok(all)
}
