//! Making one entry.

use super::attributes::Looks;
use super::fill::{self, Files};
use super::place::{Level, Places, is_whiteout};
use super::whiteout::{self, Meaning};
use super::{Options, Unpacked, attributes, clean_path, split};
use crate::error::{Error, Result};
use crate::tar::{Entry, Kind, Reader};
use rustix::fs::{AtFlags, FileType, Mode, OFlags, linkat, makedev, mkdirat, mknodat, openat, statat, symlinkat};
use rustix::io::Errno;
use std::ffi::CString;
use std::io::BufRead;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

const NEW_FILE: OFlags =
    OFlags::CREATE.union(OFlags::EXCL).union(OFlags::WRONLY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
const SET_ID: u32 = 0o6000;

/// The archive's own root: only its attributes count.
pub fn root(places: &mut Places, entry: &Entry) -> Result<()> {
    if entry.kind != Kind::Directory {
        return Err(Error::entry(&entry.path, "it would replace the root directory"));
    }
    let base = places.open_base()?;
    let acl = attributes::of_open(base.as_fd(), entry, &Looks::of(entry, u32::MAX, true))?;
    if let Some(acl) = acl {
        attributes::set_xattr(base.as_fd(), b"system.posix_acl_default", &acl)
            .map_err(|e| Error::at("set access list of", &entry.path, e))?;
    }
    places.set_base_inherits(entry.mode & 0o2000 != 0 || !entry.xattrs.is_empty());
    Ok(())
}

/// Makes the entry that stands at the clean path `path`.
pub fn entry<R: BufRead>(
    places: &mut Places,
    entry: &Entry,
    path: &[u8],
    reader: &mut Reader<R>,
    options: &Options,
    made: &mut Unpacked,
    files: &mut Files,
) -> Result<()> {
    let (dir, name) = split(path);
    if options.layer {
        match whiteout::meaning(dir, name).map_err(|why| Error::entry(&entry.path, why))? {
            Meaning::Entry => {}
            Meaning::Nothing => return Ok(()),
            Meaning::Opaque => {
                places.enter(dir, made)?;
                return whiteout::make_opaque(places, entry, made);
            }
            Meaning::Gone(name) => {
                places.enter(dir, made)?;
                return whiteout::make(places, entry, name, made);
            }
        }
    }
    places.enter(dir, made)?;
    match entry.kind {
        Kind::Directory => directory(places, entry, path, name, options, made),
        Kind::File => {
            made.bytes += entry.size;
            file(places, entry, name, reader, options, made, files)
        }
        Kind::HardLink => hard_link(places, entry, path, name, options, made),
        Kind::Symlink => {
            place(places, entry, name, options, made, |parent| symlinkat(entry.link.as_slice(), parent, name))?;
            let foreign = places.inherits();
            attributes::of_name(places.current()?, name, entry, foreign)
        }
        Kind::Fifo | Kind::Char | Kind::Block => device(places, entry, name, options, made),
    }
}

fn directory(
    places: &mut Places,
    entry: &Entry,
    path: &[u8],
    name: &[u8],
    options: &Options,
    made: &mut Unpacked,
) -> Result<()> {
    let error = |doing, e: Errno| Error::at(doing, &entry.path, e);
    let mut foreign = places.inherits();
    let mut opaque = false;
    // mkdir(2) takes no set-id bits.
    let mut mode = if foreign { u32::MAX } else { entry.mode & !SET_ID };
    let parent = places.current()?;
    match mkdirat(parent, name, Mode::from_raw_mode(entry.mode)) {
        Ok(()) => {}
        Err(Errno::EXIST) => {
            let stat = statat(parent, name, AtFlags::SYMLINK_NOFOLLOW).map_err(|e| error("stat", e))?;
            if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
                made.implied.remove(path);
                (foreign, mode) = (true, u32::MAX);
            } else {
                // A whiteout hid the lower directory of this name; the new one must not be merged with it.
                opaque = options.layer && is_whiteout(&stat);
                place(places, entry, name, options, made, |parent| {
                    mkdirat(parent, name, Mode::from_raw_mode(entry.mode))
                })?;
            }
        }
        Err(e) => return Err(error("create", e)),
    }
    let mut default_acl = None;
    let parent = places.current()?;
    if opaque || mode != entry.mode || !entry.xattrs.is_empty() {
        let fd = sys::rootfs::resolve_plain(parent, name, OFlags::RDONLY | OFlags::DIRECTORY)
            .map_err(|e| error("open", e))?;
        default_acl = attributes::of_open(fd.as_fd(), entry, &Looks::of(entry, mode, foreign))?;
        if opaque {
            whiteout::set_opaque(fd.as_fd()).map_err(|e| error("make opaque", e))?;
        }
    } else if entry.uid != 0 || entry.gid != 0 {
        let (uid, gid) = attributes::owner(entry);
        rustix::fs::chownat(parent, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)
            .map_err(|e| error("change owner of", e))?;
    }
    places.push(name, Level::described(entry.mtime, entry.mode & 0o2000 != 0, default_acl));
    Ok(())
}

fn file<R: BufRead>(
    places: &mut Places,
    entry: &Entry,
    name: &[u8],
    reader: &mut Reader<R>,
    options: &Options,
    made: &mut Unpacked,
    files: &mut Files,
) -> Result<()> {
    let foreign = places.inherits();
    // Set-id bits come last: changing the owner and writing clear them.
    let mode = if entry.mode & SET_ID != 0 { entry.mode & !SET_ID & 0o700 } else { entry.mode };
    let open = |parent: BorrowedFd| openat(parent, name, NEW_FILE, Mode::from_raw_mode(mode));
    let file = match open(places.current()?) {
        Ok(file) => file,
        Err(Errno::EXIST) => place(places, entry, name, options, made, open)?,
        Err(e) => return Err(Error::at("create", &entry.path, e)),
    };
    let looks = Looks::of(entry, if foreign { u32::MAX } else { mode }, foreign);
    // Into what others see, a file follows complete upon the other: the archive may stall, or be cut.
    if options.layer && Files::take(entry) {
        return files.push(file, entry, looks, reader);
    }
    match &entry.sparse {
        None => write(&file, entry, reader, u64::MAX)?,
        Some(ranges) => {
            for (offset, len) in ranges {
                rustix::fs::seek(&file, rustix::fs::SeekFrom::Start(*offset))
                    .map_err(|e| Error::at("seek in", &entry.path, e))?;
                write(&file, entry, reader, *len)?;
            }
            rustix::fs::ftruncate(&file, entry.size).map_err(|e| Error::at("write", &entry.path, e))?;
        }
    }
    if let Some(acl) = attributes::of_open(file.as_fd(), entry, &looks)? {
        return Err(Error::entry(&entry.path, format!("a file with a default access list of {} bytes", acl.len())));
    }
    looks.set_times(file.as_fd(), &entry.path)
}

/// Writes the next `len` bytes of the entry's data, or all there are.
fn write<R: BufRead>(file: &OwnedFd, entry: &Entry, reader: &mut Reader<R>, mut len: u64) -> Result<()> {
    while len > 0 {
        let data = reader.data()?;
        let most = usize::try_from(len).unwrap_or(usize::MAX).min(data.len());
        let Some(data) = data.get(..most).filter(|data| !data.is_empty()) else { break };
        fill::write(file, data, &entry.path)?;
        reader.consume(most);
        len -= most as u64;
    }
    Ok(())
}

fn hard_link(
    places: &mut Places,
    entry: &Entry,
    path: &[u8],
    name: &[u8],
    options: &Options,
    made: &mut Unpacked,
) -> Result<()> {
    let mut target = Vec::new();
    clean_path(&entry.link, &mut target)
        .map_err(|_| Error::entry(&entry.path, "it links to a path with a .. component, or too long a name"))?;
    if target.is_empty() || target == path {
        return Err(Error::entry(&entry.path, "it links to the root directory, or to itself"));
    }
    let (target_dir, target_name) = split(&target);
    let here = target_dir == places.path();
    let found = if here { None } else { places.find(target_dir)? };
    let missing = !here && found.is_none();
    // A whiteout says that there is no such file: not here, and not in a lower layer either.
    let exists = !missing && {
        let from = found.as_ref().map(|fd| fd.as_fd()).map_or_else(|| places.current(), Ok)?;
        match statat(from, target_name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) if FileType::from_raw_mode(stat.st_mode) == FileType::Directory => {
                return Err(Error::entry(&entry.path, "it links to a directory"));
            }
            Ok(stat) => !(options.layer && is_whiteout(&stat)),
            Err(Errno::NOENT) => false,
            Err(e) => return Err(Error::at("stat", &target, e)),
        }
    };
    if !exists {
        if !options.layer {
            return Err(Error::entry(&entry.path, "it links to a file that is not there"));
        }
        clear(places, name, entry, options, made)?;
        return made.wait(path, &target);
    }
    let link = |parent: BorrowedFd| {
        let from = found.as_ref().map_or(parent, |fd| fd.as_fd());
        linkat(from, target_name, parent, name, AtFlags::empty())
    };
    match link(places.current()?) {
        Err(Errno::EXIST) => place(places, entry, name, options, made, link),
        done => done.map_err(|e| Error::at("link", &entry.path, e)),
    }
}

fn device(places: &mut Places, entry: &Entry, name: &[u8], options: &Options, made: &mut Unpacked) -> Result<()> {
    let kind = match entry.kind {
        Kind::Fifo => FileType::Fifo,
        Kind::Block => FileType::BlockDevice,
        _ => FileType::CharacterDevice,
    };
    if options.layer && entry.kind == Kind::Char && entry.device == (0, 0) {
        return Err(Error::entry(&entry.path, "a character device 0/0, which overlayfs takes for a whiteout"));
    }
    let number = makedev(entry.device.0, entry.device.1);
    place(places, entry, name, options, made, |parent| {
        mknodat(parent, name, kind, Mode::from_raw_mode(entry.mode), number)
    })?;
    let foreign = places.inherits();
    attributes::of_name(places.current()?, name, entry, foreign)
}

/// Makes something new at `name`, in place of what is there: in an archive the later entry wins.
fn place<T>(
    places: &mut Places,
    entry: &Entry,
    name: &[u8],
    options: &Options,
    made: &mut Unpacked,
    mut make: impl FnMut(BorrowedFd) -> rustix::io::Result<T>,
) -> Result<T> {
    match make(places.current()?) {
        Err(Errno::EXIST) => {}
        done => return done.map_err(|e| Error::at("create", &entry.path, e)),
    }
    clear(places, name, entry, options, made)?;
    make(places.current()?).map_err(|e| Error::at("create", &entry.path, e))
}

/// Removes what is at `name` in the current directory.
fn clear(places: &mut Places, name: &[u8], entry: &Entry, options: &Options, made: &mut Unpacked) -> Result<()> {
    let parent = places.current()?;
    let stat = match statat(parent, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => stat,
        Err(Errno::NOENT) => return Ok(()),
        Err(e) => return Err(Error::at("stat", &entry.path, e)),
    };
    let is_dir = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
    if options.keep_types && is_dir != (entry.kind == Kind::Directory) {
        let why = match is_dir {
            true => "cannot overwrite directory with non-directory",
            false => "cannot overwrite non-directory with directory",
        };
        return Err(Error::entry(&entry.path, why));
    }
    let c_name = CString::new(name).map_err(|_| Error::entry(&entry.path, "its name has a NUL"))?;
    sys::remove::remove_at(parent, &c_name).map_err(|e| Error::at("remove", &entry.path, e))?;
    made.replaced = true;
    if is_dir {
        // A level reached through a link may have been in there.
        let dir = places.path().to_vec();
        places.leave(0)?;
        places.enter(&dir, made)?;
    }
    Ok(())
}
