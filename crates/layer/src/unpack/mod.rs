//! Unpacking an archive into a directory.
//!
//! ```text
//! mod.rs         options, what came of it, the loop over entries
//! place.rs       the directory an entry goes to
//! make.rs        making one entry
//! fill.rs        filling small files on a second thread
//! attributes.rs  owner, mode, extended attributes, times
//! whiteout.rs    what a layer hides of those below
//! ```
//!
//! An ordinary small file takes four system calls: open on one thread; write, utimens, close on another. The threads have
//! a umask of their own (0) and, where the kernel has Landlock, can reach nothing outside the directory.

mod attributes;
mod fill;
mod make;
pub(crate) mod place;
pub(crate) mod whiteout;

use crate::error::{Error, Result};
use crate::limits::Limits;
use crate::tar::{Entry, Reader};
use fill::Files;
use place::Places;
use std::collections::HashSet;
use std::io::BufRead;
use std::os::fd::{AsFd, BorrowedFd};

pub(crate) use attributes::set_xattr;

/// What to unpack, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// The archive is a layer and the directory its own: whiteouts are made for overlayfs, hard links to files that are
    /// not there and directories that are not described are noted for later, every directory keeps its time.
    /// Otherwise names beginning with `.wh.` are names like any other.
    pub layer: bool,
    /// Refuse to put a directory in place of something else, and something else in place of a directory.
    pub keep_types: bool,
    /// Give everything to this user and group.
    pub owner: Option<(u32, u32)>,
    /// Bounds.
    pub limits: Limits,
}

impl Options {
    /// For a layer.
    pub fn layer(limits: &Limits) -> Options {
        Options { layer: true, keep_types: false, owner: None, limits: limits.clone() }
    }

    /// For files that somebody puts into a directory that has others.
    pub fn files(limits: &Limits) -> Options {
        Options { layer: false, keep_types: false, owner: None, limits: limits.clone() }
    }
}

/// A hard link that waits: its path and its target.
pub(crate) type Link = (Box<[u8]>, Box<[u8]>);

/// What came of it.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Unpacked {
    /// Entries in the archive.
    pub entries: u64,
    /// Bytes of all files.
    pub bytes: u64,
    pub(crate) whiteouts: u64,
    /// A later entry took the place of an earlier one: `bytes` counts both.
    pub(crate) replaced: bool,
    /// The layer hides all that is below it.
    pub(crate) opaque_root: bool,
    /// The archive describes the root directory itself.
    pub(crate) root_described: bool,
    /// Directories that exist for what is in them, but that the archive does not describe.
    pub(crate) implied: HashSet<Box<[u8]>>,
    /// Hard links, path and target, to what is not in this layer.
    pub(crate) links: Vec<Link>,
    pending: usize,
    most_pending: usize,
    /// Directories that were made for what is in them, described later or not.
    unasked: u64,
    most_entries: u64,
    most_depth: usize,
}

impl Unpacked {
    fn new(options: &Options) -> Unpacked {
        Unpacked {
            most_pending: if options.layer { options.limits.pending } else { 0 },
            most_entries: options.limits.entries,
            most_depth: options.limits.depth,
            ..Unpacked::default()
        }
    }

    /// Counts the entry `path`.
    fn enter(&mut self, path: &[u8]) -> Result<()> {
        self.entries += 1;
        self.few(path)
    }

    /// Counts directories that had to be made for `path`.
    fn made_unasked(&mut self, path: &[u8], many: usize) -> Result<()> {
        self.unasked += many as u64;
        self.few(path)
    }

    fn few(&self, path: &[u8]) -> Result<()> {
        match self.entries + self.unasked > self.most_entries {
            true => Err(Error::entry(
                path,
                format!("entries and the directories above them exceed the limit of {}", self.most_entries),
            )),
            false => Ok(()),
        }
    }

    /// Notes an implied directory.
    fn imply(&mut self, path: &[u8]) -> Result<()> {
        self.made_unasked(path, 1)?;
        if self.most_pending == 0 {
            return Ok(());
        }
        self.count(path.len())?;
        self.implied.insert(path.into());
        Ok(())
    }

    /// Notes a link that waits for the lower layers.
    fn wait(&mut self, path: &[u8], target: &[u8]) -> Result<()> {
        self.count(path.len() + target.len())?;
        self.links.push((path.into(), target.into()));
        Ok(())
    }

    fn count(&mut self, bytes: usize) -> Result<()> {
        self.pending += bytes + 64;
        match self.pending > self.most_pending {
            true => Err(Error::Limit { what: "memory for names to settle", limit: self.most_pending as u64 }),
            false => Ok(()),
        }
    }
}

/// Unpacks the archive that `input` gives into the directory `at` of `root` (empty: the root itself), on a thread of its
/// own that can reach nothing outside `root`. Absolute symbolic links on the way start at `root`.
pub fn unpack<R: BufRead + Send>(root: BorrowedFd, at: &[u8], input: R, options: &Options) -> Result<Unpacked> {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name("unpack".into());
        let started = thread.spawn_scoped(scope, || {
            confine(root)?;
            extract(root, at, &mut Reader::new(input, &options.limits), options)
        });
        let started = started.map_err(|e| Error::io("start", "unpack thread", e))?;
        started.join().unwrap_or_else(|_| Err(Error::Archive("the unpacking thread failed".into())))
    })
}

/// Shuts this thread, for good, into `root`.
pub(crate) fn confine(root: BorrowedFd) -> Result<()> {
    sys::landlock::exact_modes().map_err(|e| Error::io("set", "umask", e))?;
    sys::landlock::restrict_to(&[root]).map_err(|e| Error::io("restrict", "unpack thread", e))?;
    Ok(())
}

/// Unpacks on this thread, whose umask must be 0.
pub(crate) fn extract<R: BufRead>(
    root: BorrowedFd,
    at: &[u8],
    reader: &mut Reader<R>,
    options: &Options,
) -> Result<Unpacked> {
    let mut made = Unpacked::new(options);
    let mut places = Places::new(root, at, options.layer)?;
    let mut files = Files::default();
    let mut entry = Entry::default();
    let mut root_time = None;
    let mut clean = Vec::with_capacity(256);
    while reader.next(&mut entry)? {
        made.enter(&entry.path)?;
        if let Some((uid, gid)) = options.owner {
            (entry.uid, entry.gid) = (uid, gid);
        }
        clean_path(&entry.path, &mut clean).map_err(|why| Error::entry(&entry.path, why))?;
        if clean.is_empty() {
            make::root(&mut places, &entry)?;
            root_time = Some(entry.mtime);
            made.root_described = true;
            continue;
        }
        let depth = clean.iter().filter(|b| **b == b'/').count() + 1;
        if depth > made.most_depth {
            return Err(too_deep(&entry.path, made.most_depth));
        }
        make::entry(&mut places, &entry, &clean, reader, options, &mut made, &mut files)?;
    }
    files.finish()?;
    places.leave(0)?;
    if let Some(mtime) = root_time {
        let base = places.open_base()?;
        rustix::fs::futimens(base.as_fd(), &place::times(mtime)).map_err(|e| Error::io("set times of", "/", e))?;
    }
    Ok(made)
}

pub(crate) fn too_deep(path: &[u8], limit: usize) -> Error {
    Error::entry(path, format!("it lies deeper than the limit of {limit} directories"))
}

/// Writes `path` into `clean` without empty and `.` components; empty is the root.
pub(crate) fn clean_path(path: &[u8], clean: &mut Vec<u8>) -> std::result::Result<(), &'static str> {
    clean.clear();
    for part in path.split(|b| *b == b'/') {
        match part {
            b"" | b"." => continue,
            b".." => return Err("its path has a .. component"),
            _ if part.len() > 255 => return Err("its name is longer than 255 bytes"),
            _ => {}
        }
        if !clean.is_empty() {
            clean.push(b'/');
        }
        clean.extend_from_slice(part);
    }
    Ok(())
}

/// Directory and last name of a clean path.
pub(crate) fn split(clean: &[u8]) -> (&[u8], &[u8]) {
    match clean.iter().rposition(|b| *b == b'/') {
        Some(slash) => (clean.get(..slash).unwrap_or_default(), clean.get(slash + 1..).unwrap_or_default()),
        None => (b"", clean),
    }
}
