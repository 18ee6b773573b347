//! Where an entry goes: the directory above it, open.
//!
//! Archives list a directory's entries one after the other, so the directories above the last entry are kept open, one
//! level each, and a change of directory costs one `openat` per new component. Every component is opened by itself and
//! without following links, below a descriptor; only when one turns out to be a symbolic link does the kernel resolve
//! the path, within the root (`RESOLVE_IN_ROOT`). Leaving a level sets the directory's time, which its entries changed.

use super::Unpacked;
use crate::error::{Error, Result};
use crate::tar::Time;
use rustix::fs::{
    AtFlags, FileType, Mode, OFlags, Stat, Timespec, Timestamps, UTIME_OMIT, fstat, futimens, mkdirat, openat, statat,
    utimensat,
};
use rustix::io::Errno;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

const DIR: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
/// At most so many levels stay open.
const OPEN: usize = 64;

/// One directory on the way to the last entry.
pub struct Level {
    /// Where its path ends in [`Places::path`].
    end: usize,
    /// Opened when first needed.
    fd: Option<OwnedFd>,
    /// A symbolic link stands at its path.
    by_link: bool,
    /// What its time shall be when all its entries are there.
    mtime: Option<Time>,
    /// New entries inherit its group (and directories the bit), or an access list.
    pub inherits: bool,
    /// It hides what lower layers have in it: already said.
    pub opaque: bool,
    /// A default access list, set last so that it is not inherited.
    default_acl: Option<Vec<u8>>,
}

impl Level {
    /// A directory that an entry has just described.
    pub fn described(mtime: Time, inherits: bool, default_acl: Option<Vec<u8>>) -> Level {
        Level { end: 0, fd: None, by_link: false, mtime: Some(mtime), inherits, opaque: false, default_acl }
    }
}

/// The directories above the last entry.
pub struct Places<'r> {
    /// Where absolute links start from.
    root: BorrowedFd<'r>,
    /// The directory that entries are relative to, as a path in `root`; empty or ending in a slash.
    prefix: Vec<u8>,
    /// That directory.
    base: OwnedFd,
    base_inherits: bool,
    /// Path of the innermost level, relative to the base.
    path: Vec<u8>,
    levels: Vec<Level>,
    /// Everything below the base was made from this archive: times of all directories are kept.
    pub all_ours: bool,
}

impl<'r> Places<'r> {
    pub fn new(root: BorrowedFd<'r>, at: &[u8], all_ours: bool) -> Result<Places<'r>> {
        let at = if at.is_empty() { b"." } else { at };
        let base =
            sys::rootfs::resolve(root, at, OFlags::PATH | OFlags::DIRECTORY).map_err(|e| Error::at("open", at, e))?;
        let stat = fstat(&base).map_err(|e| Error::at("stat", at, e))?;
        let mut prefix = if at == b"." { Vec::new() } else { at.to_vec() };
        if !prefix.is_empty() && prefix.last() != Some(&b'/') {
            prefix.push(b'/');
        }
        let base_inherits = stat.st_mode & 0o2000 != 0;
        Ok(Places { root, prefix, base, base_inherits, path: Vec::new(), levels: Vec::new(), all_ours })
    }

    /// Makes `dir` (a clean path) the current directory, making directories that are missing.
    pub fn enter(&mut self, dir: &[u8], made: &mut Unpacked) -> Result<()> {
        let mut keep = 0;
        for level in &self.levels {
            let same = dir.get(..level.end).is_some_and(|d| Some(d) == self.path.get(..level.end));
            if !same || dir.get(level.end).is_some_and(|b| *b != b'/') {
                break;
            }
            keep += 1;
        }
        self.leave(keep)?;
        while self.path.len() < dir.len() {
            let start = if self.path.is_empty() { 0 } else { self.path.len() + 1 };
            let rest = dir.get(start..).unwrap_or_default();
            let name = rest.split(|b| *b == b'/').next().unwrap_or_default();
            let level = self.open_level(name, dir.get(..start + name.len()).unwrap_or_default(), made)?;
            self.push(name, level);
        }
        Ok(())
    }

    /// Goes one down from the current directory.
    pub fn push(&mut self, name: &[u8], mut level: Level) {
        if !self.path.is_empty() {
            self.path.push(b'/');
        }
        self.path.extend_from_slice(name);
        level.end = self.path.len();
        self.levels.push(level);
        // A deep path gives descriptors up in the middle; they are opened again when needed.
        if let Some(deep) = self.levels.len().checked_sub(OPEN)
            && let Some(level) = self.levels.get_mut(deep)
        {
            level.fd = None;
        }
    }

    /// The current directory's descriptor (`O_PATH`).
    pub fn current(&mut self) -> Result<BorrowedFd<'_>> {
        match self.levels.len() {
            0 => Ok(self.base.as_fd()),
            n => {
                if self.levels.get(n - 1).is_some_and(|level| level.fd.is_none()) {
                    let fd = self.open_again(n - 1)?;
                    if let Some(level) = self.levels.get_mut(n - 1) {
                        level.fd = Some(fd);
                    }
                }
                let fd = self.levels.last().and_then(|level| level.fd.as_ref());
                Ok(fd.map_or(self.base.as_fd(), |fd| fd.as_fd()))
            }
        }
    }

    /// Whether new entries here inherit something.
    pub fn inherits(&self) -> bool {
        self.levels.last().map_or(self.base_inherits, |level| level.inherits)
    }

    /// The innermost level; `None` is the base.
    pub fn level(&mut self) -> Option<&mut Level> {
        self.levels.last_mut()
    }

    /// Path of the current directory.
    pub fn path(&self) -> &[u8] {
        &self.path
    }

    /// Says what entries made directly in the base inherit from now on.
    pub fn set_base_inherits(&mut self, inherits: bool) {
        self.base_inherits = inherits;
    }

    /// The base, for reading and changing.
    pub fn open_base(&self) -> Result<OwnedFd> {
        reopen(self.base.as_fd()).map_err(|e| Error::at("open", &self.prefix, e))
    }

    /// Leaves all levels but the outermost `keep`.
    pub fn leave(&mut self, keep: usize) -> Result<()> {
        while self.levels.len() > keep {
            let level = self.levels.len() - 1;
            self.settle(level)?;
            self.levels.pop();
            self.path.truncate(self.levels.last().map_or(0, |level| level.end));
        }
        Ok(())
    }

    /// Sets what entries of a level would have changed.
    fn settle(&mut self, at: usize) -> Result<()> {
        let Some(level) = self.levels.get_mut(at) else { return Ok(()) };
        let (mtime, acl, by_link) = (level.mtime, level.default_acl.take(), level.by_link);
        if acl.is_none() && mtime.is_none() {
            return Ok(());
        }
        let error = |doing, path: &[u8], e: Errno| Error::at(doing, path, e);
        if acl.is_some() || by_link {
            let fd = match self.levels.get(at).and_then(|level| level.fd.as_ref()) {
                Some(fd) => reopen(fd.as_fd()),
                None => reopen(self.open_again(at)?.as_fd()),
            };
            let fd = fd.map_err(|e| error("open", &self.path, e))?;
            if let Some(acl) = acl {
                super::attributes::set_xattr(fd.as_fd(), b"system.posix_acl_default", &acl)
                    .map_err(|e| error("set access list of", &self.path, e))?;
            }
            if let Some(mtime) = mtime {
                futimens(&fd, &times(mtime)).map_err(|e| error("set times of", &self.path, e))?;
            }
            return Ok(());
        }
        let Some(mtime) = mtime else { return Ok(()) };
        let above = if at == 0 { 0 } else { self.levels.get(at - 1).map_or(0, |l| l.end + 1) };
        let name = self.path.get(above..).unwrap_or_default().to_vec();
        if let Some(above) = at.checked_sub(1)
            && self.levels.get(above).is_some_and(|level| level.fd.is_none())
        {
            self.reopen_to(above)?;
        }
        let parent = match at.checked_sub(1).and_then(|above| self.levels.get(above)) {
            None => self.base.as_fd(),
            Some(level) => level.fd.as_ref().ok_or_else(|| error("open", &self.path, Errno::BADF))?.as_fd(),
        };
        utimensat(parent, name.as_slice(), &times(mtime), AtFlags::SYMLINK_NOFOLLOW)
            .map_err(|e| error("set times of", &self.path, e))
    }

    /// Opens a level that gave its descriptor up, and as many above it as stay open: those below it are being left, and
    /// the next one up will be wanted next.
    fn reopen_to(&mut self, at: usize) -> Result<()> {
        let first = at.saturating_sub(OPEN - 1);
        for i in first..=at {
            if self.levels.get(i).is_some_and(|level| level.fd.is_none()) {
                let fd = self.open_again(i)?;
                if let Some(level) = self.levels.get_mut(i) {
                    level.fd = Some(fd);
                }
            }
        }
        Ok(())
    }

    /// Opens a level whose descriptor is not there, from the nearest one above that is.
    fn open_again(&self, at: usize) -> Result<OwnedFd> {
        let path_of = |at: usize| self.levels.get(at).and_then(|l| self.path.get(..l.end)).unwrap_or_default();
        let known = (0..at).rev().find(|i| self.levels.get(*i).is_some_and(|l| l.fd.is_some()));
        let from = known.and_then(|i| self.levels.get(i).and_then(|l| l.fd.as_ref())).unwrap_or(&self.base);
        let mut opened: Option<OwnedFd> = None;
        for i in known.map_or(0, |i| i + 1)..=at {
            let whole = path_of(i);
            if self.levels.get(i).is_some_and(|l| l.by_link) {
                opened = Some(self.follow(whole).map_err(|e| Error::at("open", whole, e))?);
                continue;
            }
            let name = whole.rsplit(|b| *b == b'/').next().unwrap_or_default();
            let above = opened.as_ref().unwrap_or(from);
            opened = Some(openat(above, name, DIR, Mode::empty()).map_err(|e| Error::at("open", whole, e))?);
        }
        opened.ok_or_else(|| Error::at("open", &self.path, Errno::NOENT))
    }

    /// Resolves a path with symbolic links on it, inside the root.
    fn follow(&self, path: &[u8]) -> rustix::io::Result<OwnedFd> {
        let whole = [&self.prefix, path].concat();
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        sys::rootfs::resolve(self.root, &whole, flags)
    }

    /// Opens, below the current directory, the parent of a hard link's target. `None`: it is not there.
    pub fn find(&mut self, dir: &[u8]) -> Result<Option<OwnedFd>> {
        let whole = if self.prefix.is_empty() && dir.is_empty() { b".".to_vec() } else { [&self.prefix, dir].concat() };
        match sys::rootfs::resolve(self.root, &whole, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC) {
            Ok(fd) => Ok(Some(fd)),
            Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
            Err(e) => Err(Error::at("open", dir, e)),
        }
    }

    fn open_level(&mut self, name: &[u8], whole: &[u8], made: &mut Unpacked) -> Result<Level> {
        let all_ours = self.all_ours;
        let error = |doing, e| Error::at(doing, whole, e);
        let parent = self.current()?;
        let (fd, by_link) = match openat(parent, name, DIR, Mode::empty()) {
            Ok(fd) => (fd, false),
            Err(Errno::NOENT) => (imply(parent, name, whole, made)?, false),
            Err(Errno::NOTDIR) => {
                let stat = statat(parent, name, AtFlags::SYMLINK_NOFOLLOW).map_err(|e| error("stat", e))?;
                if is_whiteout(&stat) && all_ours {
                    // The archive first hid the lower layers' directory, then names entries of a new one.
                    rustix::fs::unlinkat(parent, name, AtFlags::empty()).map_err(|e| error("remove", e))?;
                    let fd = imply(parent, name, whole, made)?;
                    let dir = reopen(fd.as_fd()).map_err(|e| error("open", e))?;
                    super::whiteout::set_opaque(dir.as_fd()).map_err(|e| error("make opaque", e))?;
                    (fd, false)
                } else if FileType::from_raw_mode(stat.st_mode) == FileType::Symlink {
                    (self.through_link(whole, made)?, true)
                } else {
                    return Err(Error::entry(whole, "not a directory, but it has entries"));
                }
            }
            Err(e) => return Err(error("open", e)),
        };
        let stat = fstat(&fd).map_err(|e| error("stat", e))?;
        let mtime = all_ours.then_some(Time { secs: stat.st_mtime, nanos: stat.st_mtime_nsec as u32 });
        let inherits = stat.st_mode & 0o2000 != 0;
        Ok(Level { end: 0, fd: Some(fd), by_link, mtime, inherits, opaque: false, default_acl: None })
    }

    fn through_link(&self, whole: &[u8], made: &mut Unpacked) -> Result<OwnedFd> {
        match self.follow(whole) {
            Ok(fd) => Ok(fd),
            Err(Errno::NOENT) => {
                let path = [&self.prefix, whole].concat();
                let names = path.iter().filter(|b| **b == b'/').count() + 1;
                let mut bounds = sys::rootfs::Bounds { names: names + made.most_depth, made: 0 };
                let done = sys::rootfs::create_dir_all_within(self.root, &path, 0o755, &mut bounds);
                made.made_unasked(whole, bounds.made)?;
                done.map_err(|e| match e {
                    Errno::NAMETOOLONG => super::too_deep(whole, made.most_depth),
                    e => Error::at("create", whole, e),
                })
            }
            Err(Errno::LOOP) => Err(Error::entry(whole, "a loop of symbolic links")),
            Err(Errno::NOTDIR) => Err(Error::entry(whole, "not a directory, but it has entries")),
            Err(e) => Err(Error::at("open", whole, e)),
        }
    }
}

/// Makes a directory that the archive does not describe (yet).
fn imply(parent: BorrowedFd, name: &[u8], whole: &[u8], made: &mut Unpacked) -> Result<OwnedFd> {
    mkdirat(parent, name, Mode::from_raw_mode(0o755)).map_err(|e| Error::at("create", whole, e))?;
    made.imply(whole)?;
    openat(parent, name, DIR, Mode::empty()).map_err(|e| Error::at("open", whole, e))
}

/// A directory behind an `O_PATH` descriptor, for reading and changing its attributes.
pub fn reopen(fd: BorrowedFd) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    openat(fd, ".", flags, Mode::empty())
}

/// overlayfs' mark that a lower entry is gone.
pub fn is_whiteout(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice && stat.st_rdev == 0
}

/// Times for `utimensat`: the last access stays.
pub fn times(mtime: Time) -> Timestamps {
    Timestamps {
        last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
        last_modification: Timespec { tv_sec: mtime.secs, tv_nsec: mtime.nanos.into() },
    }
}
