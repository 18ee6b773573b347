//! A layer that is unpacked, but whose place in a chain is not known yet: layers of one image are unpacked side by side.
//!
//! What depends on the layers below is settled when they are known: hard links to their files (the file is copied up, as
//! link(2) on the merged tree would have done), and directories that the archive does not describe (they look as below).

use crate::error::{Error, Result};
use crate::merged::{self, Found};
use crate::store::{Applied, ChainId, Layers, Record};
use crate::tar::Time;
use crate::unpack::place::{reopen, times};
use crate::unpack::{Unpacked, set_xattr, split};
use oci::Digest;
use rustix::fs::{
    AtFlags, FileType, Gid, Mode, OFlags, Stat, Uid, copy_file_range, fchmod, fchown, fgetxattr, flistxattr, fstat,
    ftruncate, futimens, linkat, mkdirat, openat,
};
use rustix::io::Errno;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// An unpacked layer without a place. Dropped, it is removed.
pub struct Staged {
    layers: Layers,
    number: u64,
    diff_id: Digest,
    unpacked: Unpacked,
    committed: bool,
}

impl Staged {
    pub(crate) fn new(layers: Layers, number: u64, diff_id: Digest, unpacked: Unpacked) -> Staged {
        Staged { layers, number, diff_id, unpacked, committed: false }
    }

    /// Digest of its uncompressed archive.
    pub fn diff_id(&self) -> &Digest {
        &self.diff_id
    }

    /// Bytes of its files.
    pub fn size(&self) -> u64 {
        self.unpacked.bytes
    }

    /// Puts it on top of `parent`, which must exist. It can be used from now on and is durable after [`Layers::sync`].
    pub fn commit(mut self, parent: Option<&ChainId>) -> Result<Applied> {
        let chain = ChainId::of(parent, &self.diff_id);
        let applied = Applied { chain: chain.clone(), diff_id: self.diff_id.clone(), size: self.unpacked.bytes };
        if self.layers.has(&chain) {
            return Ok(applied);
        }
        let below = self.layers.open_chain(parent)?;
        let own = self.layers.open_layer(self.number)?;
        if !below.is_empty() {
            self.settle(own.as_fd(), &below)?;
        } else if let Some((path, _)) = self.unpacked.links.first() {
            return Err(Error::entry(path, "it links to a file that is not there"));
        }
        let record = Record {
            version: crate::store::VERSION,
            chain,
            diff_id: self.diff_id.clone(),
            parent: parent.cloned(),
            size: self.unpacked.bytes,
            opaque: self.unpacked.opaque_root,
            exact: !self.unpacked.replaced,
            number: self.number,
        };
        self.committed = self.layers.add(record)?;
        sys::step::reached(sys::step::Step::PullLayer);
        Ok(applied)
    }

    fn settle(&mut self, own: BorrowedFd, below: &[OwnedFd]) -> Result<()> {
        let below: Vec<BorrowedFd> = below.iter().map(|fd| fd.as_fd()).collect();
        let visible = if self.unpacked.opaque_root { &[][..] } else { &below[..] };
        let mut all = vec![own];
        all.extend_from_slice(visible);
        for (path, target) in std::mem::take(&mut self.unpacked.links) {
            let copied = link(own, &all, &below, &path, &target)?;
            self.unpacked.bytes += copied;
        }
        for path in self.unpacked.implied.drain() {
            inherit(own, &below, &path)?;
        }
        if !self.unpacked.root_described
            && let Some(top) = below.first()
        {
            let from = reopen(*top).map_err(|e| Error::io("open", "/", e))?;
            let to = reopen(own).map_err(|e| Error::io("open", "/", e))?;
            copy_attributes(from.as_fd(), to.as_fd(), b"/")?;
        }
        Ok(())
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        if !self.committed {
            self.layers.abandon(self.number);
        }
    }
}

/// Makes the hard link `path` to `target`, which is in a layer below, or by now in this one. Returns the bytes copied.
fn link(own: BorrowedFd, all: &[BorrowedFd], below: &[BorrowedFd], path: &[u8], target: &[u8]) -> Result<u64> {
    let found = merged::find(all, target)?;
    let found = found.ok_or_else(|| Error::entry(path, "it links to a file that is not there"))?;
    let (target_dir, target_name) = split(&found.path);
    let target_dir = own_dir(own, below, target_dir)?;
    let copied = copy_up(&found, target_dir.as_fd(), target_name, path)?;
    // The link's own directory was left in place, or made, while unpacking.
    let (dir, name) = split(path);
    let dir =
        sys::rootfs::resolve(own, dir, OFlags::PATH | OFlags::DIRECTORY).map_err(|e| Error::at("open", path, e))?;
    match linkat(&target_dir, target_name, &dir, name, AtFlags::empty()) {
        // A later entry of the archive stands there: it wins.
        Ok(()) | Err(Errno::EXIST) => Ok(copied),
        Err(e) => Err(Error::at("link", path, e)),
    }
}

/// Copies a regular file of a lower layer to `name` in `dir`; one that is there is fine.
fn copy_up(found: &Found, dir: BorrowedFd, name: &[u8], path: &[u8]) -> Result<u64> {
    let error = |doing, e: Errno| Error::at(doing, &found.path, e);
    let here = fstat(dir).map_err(|e| error("stat", e))?;
    let there = fstat(&found.parent).map_err(|e| error("stat", e))?;
    if (here.st_dev, here.st_ino) == (there.st_dev, there.st_ino) {
        return Ok(0);
    }
    if FileType::from_raw_mode(found.stat.st_mode) != FileType::RegularFile {
        return Err(Error::entry(path, "it links to something of a lower layer that is not a file"));
    }
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let from = openat(&found.parent, found.name.as_slice(), flags, Mode::empty()).map_err(|e| error("open", e))?;
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let to = openat(dir, name, flags, Mode::RUSR | Mode::WUSR).map_err(|e| error("create", e))?;
    let size = found.stat.st_size as u64;
    let mut copied = 0;
    while copied < size {
        let most = usize::try_from(size - copied).unwrap_or(usize::MAX).min(1 << 30);
        match copy_file_range(&from, None, &to, None, most).map_err(|e| error("copy", e))? {
            0 => break,
            n => copied += n as u64,
        }
    }
    ftruncate(&to, size).map_err(|e| error("copy", e))?;
    copy_attributes(from.as_fd(), to.as_fd(), &found.path)?;
    Ok(size)
}

/// Opens the directory `path` (without links) of this layer, making what is missing as it is below.
fn own_dir(own: BorrowedFd, below: &[BorrowedFd], path: &[u8]) -> Result<OwnedFd> {
    let error = |doing, e: Errno| Error::at(doing, path, e);
    let mut fd = openat(own, ".", OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
        .map_err(|e| error("open", e))?;
    let mut end = 0;
    for name in path.split(|b| *b == b'/').filter(|n| !n.is_empty()) {
        end += name.len() + usize::from(end > 0);
        let made = match mkdirat(&fd, name, Mode::from_raw_mode(0o755)) {
            Ok(()) => true,
            Err(Errno::EXIST) => false,
            Err(e) => return Err(error("create", e)),
        };
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        fd = openat(&fd, name, flags, Mode::empty()).map_err(|e| error("open", e))?;
        if made {
            inherit(own, below, path.get(..end).unwrap_or_default())?;
        }
    }
    Ok(fd)
}

/// Gives the directory `path` of this layer the looks that it has below, if there is one.
fn inherit(own: BorrowedFd, below: &[BorrowedFd], path: &[u8]) -> Result<()> {
    // A later entry of the archive may have replaced it.
    let Ok(to) = sys::rootfs::resolve_plain(own, path, OFlags::RDONLY | OFlags::DIRECTORY) else { return Ok(()) };
    let Some(found) = merged::find(below, path)? else { return Ok(()) };
    if FileType::from_raw_mode(found.stat.st_mode) != FileType::Directory {
        return Ok(());
    }
    let from = sys::rootfs::resolve_plain(found.parent.as_fd(), &found.name, OFlags::RDONLY | OFlags::DIRECTORY)
        .map_err(|e| Error::at("open", path, e))?;
    copy_attributes(from.as_fd(), to.as_fd(), path)
}

/// Copies owner, mode, extended attributes and time.
fn copy_attributes(from: BorrowedFd, to: BorrowedFd, path: &[u8]) -> Result<()> {
    let error = |doing, e: Errno| Error::at(doing, path, e);
    let stat: Stat = fstat(from).map_err(|e| error("stat", e))?;
    fchown(to, Some(Uid::from_raw(stat.st_uid)), Some(Gid::from_raw(stat.st_gid)))
        .map_err(|e| error("change owner of", e))?;
    fchmod(to, Mode::from_raw_mode(stat.st_mode & 0o7777)).map_err(|e| error("change mode of", e))?;
    let mut names = vec![0u8; 64 << 10];
    let listed = match flistxattr(from, names.as_mut_slice()) {
        Ok(n) => n,
        Err(Errno::OPNOTSUPP) => 0,
        Err(e) => return Err(error("list extended attributes of", e)),
    };
    names.truncate(listed);
    for name in names.split(|b| *b == 0).filter(|n| !n.is_empty() && !n.starts_with(b"trusted.overlay.")) {
        let mut value = vec![0u8; 64 << 10];
        let n = fgetxattr(from, name, value.as_mut_slice()).map_err(|e| error("read extended attribute of", e))?;
        set_xattr(to, name, value.get(..n).unwrap_or_default()).map_err(|e| error("set extended attribute of", e))?;
    }
    let mtime = Time { secs: stat.st_mtime, nanos: stat.st_mtime_nsec as u32 };
    futimens(to, &times(mtime)).map_err(|e| error("set times of", e))
}
