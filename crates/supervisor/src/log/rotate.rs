//! The writer's side of the rotated set.

use super::BEHIND;
use super::compress::Compression;
use rustix::fs::{FlockOperation, Mode, OFlags};
use rustix::io::Errno;
use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

/// After the name of a compressed file.
pub(super) const PACKED: &str = ".gz";
/// After the name of a file that is being compressed.
const UNFINISHED: &str = ".gz~";
/// Between `path` and the number of a file that only followers need.
const OLD: &str = ".old-";

/// The names of a log's files, and who may still need which.
#[derive(Debug)]
pub(super) struct Files {
    path: PathBuf,
    max_file: u32,
    compress: bool,
    /// Files beyond their number, oldest first: name and size.
    old: VecDeque<(PathBuf, u64)>,
    next_old: u64,
    /// The file that is being compressed.
    packing: Option<File>,
    /// There may be a file that is not compressed yet.
    unpacked: bool,
}

impl Files {
    /// Looks at what is there: takes away what a killed writer left half done.
    pub fn open(path: &Path, max_file: u32, compress: bool) -> io::Result<Files> {
        let mut files = Files {
            path: path.to_owned(),
            max_file: max_file.max(1),
            compress: compress && max_file > 1,
            old: VecDeque::new(),
            next_old: 0,
            packing: None,
            unpacked: true,
        };
        for name in old_names(path)? {
            files.next_old = files.next_old.max(number_of(path, &name).unwrap_or(0) + 1);
            let size = rustix::fs::stat(&name).map_or(0, |stat| stat.st_size as u64);
            files.old.push_back((name, size));
        }
        let _ = rustix::fs::unlink(files.unfinished());
        files.close_gap();
        files.drop_old();
        Ok(files)
    }

    fn unfinished(&self) -> PathBuf {
        with_suffix(&self.path, UNFINISHED)
    }

    /// A writer that was killed in the middle of a rotation has left one number free.
    fn close_gap(&self) {
        for number in (2..self.max_file).rev() {
            if !self.is_there(number - 1) && self.is_there(number) {
                for moved in number..self.max_file {
                    let _ = self.shift(moved, moved - 1);
                }
            }
        }
    }

    fn is_there(&self, number: u32) -> bool {
        [false, true]
            .iter()
            .any(|packed| rustix::fs::access(name(&self.path, number, *packed), rustix::fs::Access::EXISTS).is_ok())
    }

    fn shift(&self, from: u32, to: u32) -> Result<(), Errno> {
        for packed in [false, true] {
            match rustix::fs::rename(name(&self.path, from, packed), name(&self.path, to, packed)) {
                Ok(()) | Err(Errno::NOENT) => {}
                Err(errno) => return Err(errno),
            }
        }
        Ok(())
    }

    /// `path` becomes `path.1`, and so on up to `max_file - 1`; returns the new, empty `path`.
    pub fn rotate(&mut self) -> Result<File, Errno> {
        self.unpacked = true;
        self.drop_old();
        let last = self.max_file - 1;
        self.let_go(last)?;
        for number in (1..last).rev() {
            self.shift(number, number + 1)?;
        }
        let newest = name(&self.path, 1, false);
        if last > 0 {
            match rustix::fs::rename(&self.path, &newest) {
                Ok(()) | Err(Errno::NOENT) => {}
                Err(errno) => return Err(errno),
            }
        }
        // A new file even when there is to be but one: who reads the old one can finish it.
        open_file(&self.path, OFlags::EXCL).inspect_err(|_| {
            // Its error is the one that matters; if the way back fails too, the open descriptor still takes the lines.
            if last > 0 {
                let _ = rustix::fs::rename(&newest, &self.path);
            }
        })
    }

    /// The file of this number is one too many.
    fn let_go(&mut self, number: u32) -> Result<(), Errno> {
        for packed in [false, true] {
            let from = name(&self.path, number, packed);
            let needed = match is_needed(&from) {
                Ok(needed) => needed || !self.old.is_empty(),
                Err(Errno::NOENT) => continue,
                Err(errno) => return Err(errno),
            };
            if !needed {
                rustix::fs::unlink(&from)?;
                continue;
            }
            let to = old_name(&self.path, self.next_old, packed);
            rustix::fs::rename(&from, &to)?;
            self.next_old += 1;
            let size = rustix::fs::stat(&to).map_or(0, |stat| stat.st_size as u64);
            self.old.push_back((to, size));
        }
        Ok(())
    }

    /// Removes files beyond their number up to the first that a follower reads: it will come to the later ones.
    fn drop_old(&mut self) {
        let mut size: u64 = self.old.iter().map(|(_, size)| size).sum();
        while let Some((oldest, bytes)) = self.old.front() {
            if size <= BEHIND && is_needed(oldest) == Ok(true) {
                return;
            }
            size -= bytes;
            let _ = rustix::fs::unlink(oldest);
            self.old.pop_front();
        }
    }

    /// The next file to compress, unless one is being compressed. To be followed by [`Files::packed`].
    pub fn pack(&mut self) -> Option<Compression> {
        if !self.compress || self.packing.is_some() || !std::mem::take(&mut self.unpacked) {
            return None;
        }
        let plain = (1..self.max_file).find_map(|number| open_read(&name(&self.path, number, false)).ok())?;
        let unfinished = self.unfinished();
        let _ = rustix::fs::unlink(&unfinished);
        let to = open_file(&unfinished, OFlags::EXCL | OFlags::TRUNC).ok()?;
        let from = plain.try_clone().ok()?;
        self.packing = Some(plain);
        Some(Compression::new(from, to))
    }

    /// The compression has ended. Its result takes the place of the file, which may have another number by now, unless a
    /// follower reads that: then it is left for another time.
    pub fn packed(&mut self, done: bool) {
        let Some(plain) = self.packing.take() else { return };
        let unfinished = self.unfinished();
        let place = |number: &u32| same(&name(&self.path, *number, false), &plain);
        let number = (1..self.max_file).find(place).filter(|_| done);
        match number.filter(|_| rustix::fs::flock(&plain, FlockOperation::NonBlockingLockExclusive).is_ok()) {
            Some(number) if rustix::fs::rename(&unfinished, name(&self.path, number, true)).is_ok() => {
                self.unpacked = true;
                let _ = rustix::fs::unlink(name(&self.path, number, false));
            }
            _ => {
                let _ = rustix::fs::unlink(&unfinished);
            }
        }
    }
}

/// Whether a follower reads the file.
fn is_needed(path: &Path) -> Result<bool, Errno> {
    let file = open_read(path)?;
    match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Err(Errno::WOULDBLOCK) => Ok(true),
        // A file system without locks has no followers that hold one.
        _ => Ok(false),
    }
}

fn same(path: &Path, file: &File) -> bool {
    match (rustix::fs::stat(path), rustix::fs::fstat(file)) {
        (Ok(a), Ok(b)) => (a.st_dev, a.st_ino) == (b.st_dev, b.st_ino),
        _ => false,
    }
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

/// `path`, `path.number` or `path.number.gz`
pub(super) fn name(path: &Path, number: u32, packed: bool) -> PathBuf {
    match (number, packed) {
        (0, false) => path.to_owned(),
        (0, true) => with_suffix(path, ".0.gz"),
        (number, false) => with_suffix(path, &format!(".{number}")),
        (number, true) => with_suffix(path, &format!(".{number}{PACKED}")),
    }
}

fn old_name(path: &Path, number: u64, packed: bool) -> PathBuf {
    with_suffix(path, &format!("{OLD}{number}{}", if packed { PACKED } else { "" }))
}

fn number_of(path: &Path, name: &Path) -> Option<u64> {
    let name = name.file_name()?.to_str()?.strip_prefix(path.file_name()?.to_str()?)?.strip_prefix(OLD)?;
    name.strip_suffix(PACKED).unwrap_or(name).parse().ok()
}

/// The files beyond their number, oldest first.
pub(super) fn old_names(path: &Path) -> io::Result<Vec<PathBuf>> {
    let directory = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut all = Vec::new();
    for entry in std::fs::read_dir(directory)? {
        let name = entry?.path();
        if let Some(number) = number_of(path, &name) {
            all.push((number, name));
        }
    }
    all.sort();
    Ok(all.into_iter().map(|(_, name)| name).collect())
}

/// Opens for appending, with `more` flags.
pub(super) fn open_file(path: &Path, more: OFlags) -> Result<File, Errno> {
    let flags = OFlags::RDWR | OFlags::APPEND | OFlags::CREATE | OFlags::CLOEXEC | OFlags::NOFOLLOW | more;
    Ok(File::from(rustix::fs::open(path, flags, Mode::from_raw_mode(0o640))?))
}

pub(super) fn open_read(path: &Path) -> Result<File, Errno> {
    Ok(File::from(rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW, Mode::empty())?))
}
