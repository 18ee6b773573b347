//! Tar archives of `cp`: writing what is on this machine, and unpacking what an engine sends without trusting it.
//!
//! Writing stores links as links. Unpacking stays below the destination: parents are opened with
//! `RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS`, so that neither `..` nor a link that the archive brought along leads out.

use crate::failure::{Failure, Result, describe};
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{AtFlags, CWD, Gid, Mode, OFlags, ResolveFlags, Timespec, Timestamps, Uid};
use std::collections::HashMap;
use std::fs::{File, Metadata};
use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Component, Path, PathBuf};
use tar::{EntryType, Header};

/// Writes `source` under the name `name`; `follow` looks through a link that `source` itself is.
pub fn write(source: &Path, name: &Path, follow: bool, out: impl Write) -> io::Result<()> {
    let mut builder = tar::Builder::new(out);
    let mut seen = HashMap::new();
    add(&mut builder, source, name, follow, &mut seen)?;
    builder.into_inner()?.flush()
}

fn add(
    builder: &mut tar::Builder<impl Write>,
    source: &Path,
    name: &Path,
    follow: bool,
    seen: &mut HashMap<(u64, u64), PathBuf>,
) -> io::Result<()> {
    let meta = if follow { source.metadata()? } else { source.symlink_metadata()? };
    let kind = meta.file_type();
    let mut header = Header::new_gnu();
    header.set_metadata(&meta);
    header.set_mode(meta.mode() & 0o7777);
    if kind.is_dir() {
        // "." stands for the contents of a directory
        let mut directory = name.as_os_str().to_os_string();
        directory.push("/");
        header.set_entry_type(EntryType::Directory);
        header.set_size(0);
        builder.append_data(&mut header, &directory, io::empty())?;
        let mut children: Vec<_> = std::fs::read_dir(source)?.collect::<io::Result<Vec<_>>>()?;
        children.sort_by_key(std::fs::DirEntry::file_name);
        for child in children {
            add(builder, &child.path(), &name.join(child.file_name()), false, seen)?;
        }
        return Ok(());
    }
    if kind.is_symlink() {
        header.set_entry_type(EntryType::Symlink);
        header.set_size(0);
        return builder.append_link(&mut header, name, std::fs::read_link(source)?);
    }
    if kind.is_file() {
        return add_file(builder, source, name, &meta, header, seen);
    }
    if kind.is_socket() {
        return Ok(());
    }
    header.set_size(0);
    header.set_entry_type(match () {
        () if kind.is_fifo() => EntryType::Fifo,
        () if kind.is_char_device() => EntryType::Char,
        () => EntryType::Block,
    });
    if !kind.is_fifo() {
        header.set_device_major(rustix::fs::major(meta.rdev()))?;
        header.set_device_minor(rustix::fs::minor(meta.rdev()))?;
    }
    builder.append_data(&mut header, name, io::empty())
}

fn add_file(
    builder: &mut tar::Builder<impl Write>,
    source: &Path,
    name: &Path,
    meta: &Metadata,
    mut header: Header,
    seen: &mut HashMap<(u64, u64), PathBuf>,
) -> io::Result<()> {
    if meta.nlink() > 1 {
        match seen.get(&(meta.dev(), meta.ino())) {
            Some(first) => {
                header.set_entry_type(EntryType::Link);
                header.set_size(0);
                return builder.append_link(&mut header, name, first);
            }
            None => seen.insert((meta.dev(), meta.ino()), name.to_path_buf()),
        };
    }
    let file = File::open(source)?;
    header.set_entry_type(EntryType::Regular);
    header.set_size(meta.len());
    // a file that shrinks meanwhile is filled up, one that grows is cut: the header has been written
    builder.append_data(&mut header, name, file.chain(io::repeat(0)).take(meta.len()))
}

/// How to unpack.
#[derive(Debug, Clone)]
pub struct Unpack {
    /// The first component of every entry becomes this; `None` leaves names alone.
    pub rename: Option<Vec<u8>>,
    /// Give files to the owners that the archive names.
    pub owners: bool,
}

/// Unpacks an archive below `root`, and gives the number of bytes of content.
pub fn unpack(archive: impl Read, root: &Path, how: &Unpack) -> Result<u64> {
    let root_fd = rustix::fs::openat(CWD, root, OFlags::DIRECTORY | OFlags::PATH | OFlags::CLOEXEC, Mode::empty())
        .map_err(|e| Failure::new(format!("open {}: {}", root.display(), describe(&e.into()))))?;
    let mut archive = tar::Archive::new(archive);
    let mut total = 0;
    // times and modes of directories are set when nothing is put into them any more
    let mut directories: Vec<(Vec<Vec<u8>>, Header)> = Vec::new();
    for entry in archive.entries()? {
        let mut entry = entry?;
        let shown = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        let failed =
            |e: io::Error| Failure::new(format!("unpacking {}: {}", crate::output::visible(&shown), describe(&e)));
        let Some(parts) = parts(&entry.path_bytes(), how) else {
            return Err(Failure::new(format!(
                "the archive holds the name {}, which leads out of the destination",
                crate::flags::quote(&shown)
            )));
        };
        total += entry.header().size().unwrap_or(0);
        if parts.is_empty() {
            continue;
        }
        place(&root_fd, &parts, &mut entry, how).map_err(failed)?;
        if entry.header().entry_type().is_dir() {
            directories.push((parts, entry.header().clone()));
        }
    }
    for (parts, header) in directories.iter().rev() {
        if let Ok(directory) = open_directory(&root_fd, parts) {
            finish(&directory, b".", header, how, true).map_err(|e| Failure::new(describe(&e)))?;
        }
    }
    Ok(total)
}

/// The components of an entry's name; `None` when it leads out.
fn parts(name: &[u8], how: &Unpack) -> Option<Vec<Vec<u8>>> {
    let path = Path::new(std::ffi::OsStr::from_bytes(name));
    let mut parts = Vec::new();
    for component in path.components() {
        match component {
            Component::Normal(part) => parts.push(part.as_bytes().to_vec()),
            Component::CurDir | Component::RootDir => {}
            Component::ParentDir | Component::Prefix(_) => return None,
        }
    }
    if let (Some(rename), Some(first)) = (&how.rename, parts.first_mut()) {
        first.clone_from(rename);
    }
    Some(parts)
}

const BENEATH: ResolveFlags = ResolveFlags::BENEATH.union(ResolveFlags::NO_SYMLINKS);

fn open_directory(root: &OwnedFd, parts: &[Vec<u8>]) -> io::Result<OwnedFd> {
    let path = if parts.is_empty() { b".".to_vec() } else { parts.join(&b'/') };
    let flags = OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC;
    Ok(rustix::fs::openat2(root, path, flags, Mode::empty(), BENEATH)?)
}

/// The directory of an entry, made when the archive did not name it.
fn parent(root: &OwnedFd, parts: &[Vec<u8>]) -> io::Result<OwnedFd> {
    match open_directory(root, parts) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            let Some((last, before)) = parts.split_last() else { return Err(e) };
            let above = parent(root, before)?;
            match rustix::fs::mkdirat(&above, last.as_slice(), Mode::from_raw_mode(0o755)) {
                Ok(()) | Err(rustix::io::Errno::EXIST) => {}
                Err(e) => return Err(e.into()),
            }
            open_directory(root, parts)
        }
        other => other,
    }
}

fn place(root: &OwnedFd, parts: &[Vec<u8>], entry: &mut tar::Entry<'_, impl Read>, how: &Unpack) -> io::Result<()> {
    let Some((name, before)) = parts.split_last() else { return Ok(()) };
    let directory = parent(root, before)?;
    let name = name.as_slice();
    let kind = entry.header().entry_type();
    let existing = rustix::fs::statat(&directory, name, AtFlags::SYMLINK_NOFOLLOW).ok();
    let is_directory = existing.is_some_and(|s| rustix::fs::FileType::from_raw_mode(s.st_mode).is_dir());
    if kind.is_dir() {
        return match existing {
            Some(_) if is_directory => Ok(()),
            Some(_) => Err(io::Error::other("cannot overwrite a file with a directory")),
            None => Ok(rustix::fs::mkdirat(&directory, name, Mode::from_raw_mode(0o755))?),
        };
    }
    if is_directory {
        return Err(io::Error::other("cannot overwrite a directory with a file"));
    }
    if existing.is_some() {
        rustix::fs::unlinkat(&directory, name, AtFlags::empty())?;
    }
    let link =
        || entry.link_name_bytes().map(|l| l.into_owned()).ok_or_else(|| io::Error::other("a link without a target"));
    let special = |kind| {
        let major = entry.header().device_major().ok().flatten().unwrap_or(0);
        let minor = entry.header().device_minor().ok().flatten().unwrap_or(0);
        rustix::fs::mknodat(&directory, name, kind, Mode::from_raw_mode(0o600), rustix::fs::makedev(major, minor))
    };
    match kind {
        EntryType::Symlink => rustix::fs::symlinkat(link()?, &directory, name)?,
        EntryType::Link => {
            let target = parts_of_link(&link()?, how)?;
            let (last, before) = target.split_last().ok_or_else(|| io::Error::other("a link to nothing"))?;
            let from = open_directory(root, before)?;
            rustix::fs::linkat(&from, last.as_slice(), &directory, name, AtFlags::empty())?;
            return Ok(());
        }
        EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => {
            let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let mut file = File::from(rustix::fs::openat(&directory, name, flags, Mode::from_raw_mode(0o600))?);
            io::copy(entry, &mut file)?;
        }
        EntryType::Fifo => special(rustix::fs::FileType::Fifo)?,
        EntryType::Char => special(rustix::fs::FileType::CharacterDevice)?,
        EntryType::Block => special(rustix::fs::FileType::BlockDevice)?,
        _ => return Ok(()),
    }
    let header = entry.header().clone();
    finish(&directory, name, &header, how, kind != EntryType::Symlink)
}

fn parts_of_link(target: &[u8], how: &Unpack) -> io::Result<Vec<Vec<u8>>> {
    parts(target, how).ok_or_else(|| io::Error::other("a hard link that leads out of the destination"))
}

/// Owner, mode and time of what has been made.
fn finish(directory: &OwnedFd, name: &[u8], header: &Header, how: &Unpack, has_mode: bool) -> io::Result<()> {
    if how.owners {
        let id = |n: io::Result<u64>| n.ok().and_then(|n| u32::try_from(n).ok()).filter(|n| *n != u32::MAX);
        let (uid, gid) = (id(header.uid()).map(Uid::from_raw), id(header.gid()).map(Gid::from_raw));
        rustix::fs::chownat(directory.as_fd(), name, uid, gid, AtFlags::SYMLINK_NOFOLLOW)?;
    }
    if has_mode {
        let mode = Mode::from_raw_mode(header.mode().unwrap_or(0o644) & 0o7777);
        // the name was made by us a moment ago and is no link
        rustix::fs::chmodat(directory.as_fd(), name, mode, AtFlags::empty())?;
    }
    let seconds = header.mtime().ok().and_then(|t| i64::try_from(t).ok()).unwrap_or(0);
    let time = Timespec { tv_sec: seconds, tv_nsec: 0 };
    let times = Timestamps { last_access: time, last_modification: time };
    Ok(rustix::fs::utimensat(directory.as_fd(), name, &times, AtFlags::SYMLINK_NOFOLLOW)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scratch(name: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("dhow-cp-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).unwrap();
        path
    }

    const PLAIN: Unpack = Unpack { rename: None, owners: false };

    #[test]
    fn there_and_back() {
        let dir = scratch("round");
        let source = dir.join("src");
        std::fs::create_dir_all(source.join("sub")).unwrap();
        std::fs::write(source.join("sub/file"), "hello").unwrap();
        std::fs::hard_link(source.join("sub/file"), source.join("twin")).unwrap();
        std::os::unix::fs::symlink("/etc/passwd", source.join("link")).unwrap();
        let mut tar = Vec::new();
        write(&source, Path::new("src"), false, &mut tar).unwrap();
        let out = dir.join("out");
        std::fs::create_dir(&out).unwrap();
        let how = Unpack { rename: Some(b"new".to_vec()), owners: false };
        assert_eq!(unpack(&tar[..], &out, &how).unwrap(), 5);
        assert_eq!(std::fs::read_to_string(out.join("new/sub/file")).unwrap(), "hello");
        assert_eq!(out.join("new/twin").metadata().unwrap().nlink(), 2);
        assert_eq!(std::fs::read_link(out.join("new/link")).unwrap(), Path::new("/etc/passwd"));
        std::fs::remove_dir_all(dir).unwrap();
    }

    fn hostile(entries: &[(&str, EntryType, &str)]) -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        for (name, kind, content) in entries {
            let mut header = Header::new_gnu();
            header.as_mut_bytes()[..name.len()].copy_from_slice(name.as_bytes());
            header.set_entry_type(*kind);
            header.set_mode(0o644);
            if matches!(kind, EntryType::Symlink | EntryType::Link) {
                header.set_link_name_literal(content).unwrap();
                header.set_size(0);
                header.set_cksum();
                builder.append(&header, io::empty()).unwrap();
            } else {
                header.set_size(content.len() as u64);
                header.set_cksum();
                builder.append(&header, content.as_bytes()).unwrap();
            }
        }
        builder.into_inner().unwrap()
    }

    #[test]
    fn nothing_leads_out() {
        let dir = scratch("hostile");
        let out = dir.join("out");
        std::fs::create_dir(&out).unwrap();
        std::fs::write(dir.join("secret"), "s").unwrap();
        for archive in [
            hostile(&[("../escaped", EntryType::Regular, "x")]),
            hostile(&[("a/../../escaped", EntryType::Regular, "x")]),
            hostile(&[("link", EntryType::Symlink, ".."), ("link/escaped", EntryType::Regular, "x")]),
            hostile(&[("hard", EntryType::Link, "../secret")]),
        ] {
            assert!(unpack(&archive[..], &out, &PLAIN).is_err());
            assert!(!dir.join("escaped").exists());
            assert!(!out.join("hard").exists());
        }
        unpack(&hostile(&[("/abs/file", EntryType::Regular, "x")])[..], &out, &PLAIN).unwrap();
        assert_eq!(std::fs::read_to_string(out.join("abs/file")).unwrap(), "x");
        std::fs::remove_dir_all(dir).unwrap();
    }
}
