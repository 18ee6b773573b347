//! Paths inside a root file system that somebody else controls.
//!
//! A path here is bytes relative to a directory descriptor, the root. The kernel resolves it (`openat2`,
//! `RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS`): symbolic links, absolute ones and `..` included, end inside the root, and
//! the links of `/proc` that lead anywhere are refused. Whatever is done next is done through the descriptor that came
//! back, so nothing that is renamed or replaced meanwhile can lead it elsewhere.

use crate::{Errno, Result};
use rustix::fs::{AtFlags, CWD, Mode, OFlags, ResolveFlags};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

/// How many symbolic links the creating functions follow by themselves; the kernel's own limit.
const MAX_LINKS: usize = 40;
/// `openat2` gives `EAGAIN` when something was renamed while it walked over a `..`; how often to try again.
const MAX_RACES: usize = 128;

/// Opens the directory that will be a root. `path` is one of ours, resolved as any other.
pub fn open_root(path: &Path) -> Result<OwnedFd> {
    rustix::fs::open(path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
}

/// Opens what `path` is inside `root`; an empty path is the root. With `OFlags::NOFOLLOW` a last symbolic link is not
/// followed, with `OFlags::PATH` it is then opened itself.
///
/// # Errors
/// `ELOOP` for a magic link of procfs, among the ordinary ones of open(2).
pub fn resolve(root: BorrowedFd, path: &[u8], flags: OFlags) -> Result<OwnedFd> {
    openat2(root, path, flags, Mode::empty(), ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS)
}

/// Opens what is there under exactly this name: no symbolic link anywhere, no `..` above `dir`, no mount on the way.
/// This is for our own procfs and the like, where anything in between would be an attack.
pub fn resolve_plain(dir: BorrowedFd, path: &[u8], flags: OFlags) -> Result<OwnedFd> {
    let strict = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
    openat2(dir, path, flags, Mode::empty(), strict | ResolveFlags::NO_MAGICLINKS)
}

fn openat2(dir: BorrowedFd, path: &[u8], flags: OFlags, mode: Mode, how: ResolveFlags) -> Result<OwnedFd> {
    let path = if path.is_empty() { b"." } else { path };
    let mut races = 0;
    loop {
        match rustix::fs::openat2(dir, path, flags | OFlags::CLOEXEC, mode, how) {
            Err(Errno::AGAIN) if races < MAX_RACES => races += 1,
            Err(Errno::INTR) => {}
            other => return other,
        }
    }
}

/// The directory that holds the last name of `path`, and that name; the name itself is not looked up.
///
/// # Errors
/// `EINVAL` when `path` has no last name: it is empty, `/`, or ends in `.` or `..`.
pub fn parent(root: BorrowedFd, path: &[u8]) -> Result<(OwnedFd, Vec<u8>)> {
    let (directory, name) = split_last(path).ok_or(Errno::INVAL)?;
    let directory = resolve(root, directory, OFlags::PATH | OFlags::DIRECTORY)?;
    Ok((directory, name.to_vec()))
}

/// Splits off the last name; trailing slashes do not count.
fn split_last(path: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = path.iter().rposition(|b| *b != b'/')? + 1;
    let start = path[..end].iter().rposition(|b| *b == b'/').map_or(0, |slash| slash + 1);
    let name = &path[start..end];
    (name != b"." && name != b"..").then_some((&path[..start], name))
}

/// Opens (`O_PATH`) the directory `path`, making it and those above it with `mode` where they are missing. A dangling
/// symbolic link on the way is followed too: what it names is made, inside the root.
pub fn create_dir_all(root: BorrowedFd, path: &[u8], mode: u32) -> Result<OwnedFd> {
    create_dir_all_within(root, path, mode, &mut Bounds { names: usize::MAX, made: 0 })
}

/// How much [`create_dir_all_within`] may do, and has done.
#[derive(Debug)]
pub struct Bounds {
    /// Names that may be walked, those of links' targets included.
    pub names: usize,
    /// Directories that were made.
    pub made: usize,
}

/// As [`create_dir_all`], within bounds.
///
/// # Errors
/// `ENAMETOOLONG` when the way is longer than they allow; what was made until then stays.
pub fn create_dir_all_within(root: BorrowedFd, path: &[u8], mode: u32, bounds: &mut Bounds) -> Result<OwnedFd> {
    // Nearly always it is there.
    match resolve(root, path, OFlags::PATH | OFlags::DIRECTORY) {
        Err(Errno::NOENT) => {}
        other => return other,
    }
    let mut walk = Walk::new(path);
    let mut directory = resolve(root, b"", OFlags::PATH | OFlags::DIRECTORY)?;
    while let Some(name) = walk.next() {
        bounds.names = bounds.names.checked_sub(1).ok_or(Errno::NAMETOOLONG)?;
        directory = match resolve(root, walk.with(&name), OFlags::PATH | OFlags::DIRECTORY) {
            Err(Errno::NOENT) => match rustix::fs::mkdirat(&directory, &name[..], Mode::from_raw_mode(mode)) {
                Ok(()) => {
                    bounds.made += 1;
                    open_child(directory.as_fd(), &name)?
                }
                // Something of that name is there and yet leads nowhere: a dangling link, or a directory made meanwhile.
                Err(Errno::EXIST) => match rustix::fs::readlinkat(&directory, &name[..], Vec::new()) {
                    Ok(target) => {
                        walk.follow(target.to_bytes())?;
                        directory = resolve(root, walk.so_far(), OFlags::PATH | OFlags::DIRECTORY)?;
                        continue;
                    }
                    Err(Errno::INVAL) => open_child(directory.as_fd(), &name)?,
                    Err(other) => return Err(other),
                },
                Err(other) => return Err(other),
            },
            found => found?,
        };
        walk.done(&name);
    }
    Ok(directory)
}

fn open_child(directory: BorrowedFd, name: &[u8]) -> Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(directory, name, flags, Mode::empty())
}

/// Opens (`O_PATH`) the file `path` of whatever kind, making an empty regular file with `mode` (and directories above it
/// with mode 0755) when nothing is there.
pub fn create_file(root: BorrowedFd, path: &[u8], mode: u32) -> Result<OwnedFd> {
    match resolve(root, path, OFlags::PATH) {
        Err(Errno::NOENT) => {}
        other => return other,
    }
    let mut path = path.to_vec();
    for _ in 0..MAX_LINKS {
        let (above, name) = split_last(&path).ok_or(Errno::ISDIR)?;
        let directory = create_dir_all(root, above, 0o755)?;
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        match rustix::fs::openat(&directory, name, flags, Mode::from_raw_mode(mode)) {
            Ok(_) | Err(Errno::EXIST) => {}
            Err(other) => return Err(other),
        }
        let here =
            rustix::fs::openat(&directory, name, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())?;
        let target = match rustix::fs::readlinkat(&here, "", Vec::new()) {
            // Not a link: this is it.
            Err(Errno::INVAL | Errno::NOENT) => return Ok(here),
            other => other?,
        };
        let target = target.to_bytes();
        path = if target.starts_with(b"/") { target.to_vec() } else { [above, b"/", target].concat() };
        match resolve(root, &path, OFlags::PATH) {
            Err(Errno::NOENT) => {}
            other => return other,
        }
    }
    Err(Errno::LOOP)
}

/// The type bits and the device number of what a descriptor is.
pub fn kind(fd: BorrowedFd) -> Result<(rustix::fs::FileType, u64)> {
    let stat = rustix::fs::fstat(fd)?;
    Ok((rustix::fs::FileType::from_raw_mode(stat.st_mode), stat.st_rdev))
}

/// Whether `path` in `root` is there at all, without following a last symbolic link.
pub fn exists(root: BorrowedFd, path: &[u8]) -> Result<bool> {
    let (directory, name) = match parent(root, path) {
        Ok(found) => found,
        Err(Errno::INVAL) => return Ok(true),
        Err(Errno::NOENT | Errno::NOTDIR) => return Ok(false),
        Err(other) => return Err(other),
    };
    match rustix::fs::statat(directory.as_fd(), &name[..], AtFlags::SYMLINK_NOFOLLOW) {
        Ok(_) => Ok(true),
        Err(Errno::NOENT) => Ok(false),
        Err(other) => Err(other),
    }
}

/// The working directory as a descriptor to resolve from, for callers that have none.
pub fn cwd() -> BorrowedFd<'static> {
    CWD
}

/// A walk over the names of a path that grows when a link is followed.
struct Walk {
    /// The names that exist, as a path from the root.
    so_far: Vec<u8>,
    /// Those ahead, the next one last.
    ahead: Vec<Vec<u8>>,
    with: Vec<u8>,
    links: usize,
}

impl Walk {
    fn new(path: &[u8]) -> Walk {
        let mut walk = Walk { so_far: Vec::new(), ahead: Vec::new(), with: Vec::new(), links: 0 };
        walk.push(path);
        walk
    }

    fn push(&mut self, path: &[u8]) {
        let names = path.split(|b| *b == b'/').filter(|name| !name.is_empty() && *name != b".");
        self.ahead.extend(names.rev().map(<[u8]>::to_vec));
    }

    fn next(&mut self) -> Option<Vec<u8>> {
        self.ahead.pop()
    }

    fn with(&mut self, name: &[u8]) -> &[u8] {
        self.with.clear();
        self.with.extend_from_slice(&self.so_far);
        self.with.push(b'/');
        self.with.extend_from_slice(name);
        &self.with
    }

    fn done(&mut self, name: &[u8]) {
        self.so_far.push(b'/');
        self.so_far.extend_from_slice(name);
    }

    fn so_far(&self) -> &[u8] {
        &self.so_far
    }

    /// Goes on with the target of a link in place of its name.
    fn follow(&mut self, target: &[u8]) -> Result<()> {
        self.links += 1;
        if self.links > MAX_LINKS {
            return Err(Errno::LOOP);
        }
        if target.starts_with(b"/") {
            self.so_far.clear();
        }
        self.push(target);
        Ok(())
    }
}

#[cfg(test)]
#[path = "rootfs_tests.rs"]
mod tests;
