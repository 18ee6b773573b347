//! A log is a set of files: `path`, and the rotated `path.1` (newest), `path.2` … The writer renames them at any moment.

use super::rotate::{name, old_names, open_read};
use rustix::fs::FlockOperation;
use rustix::io::Errno;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How often a set that changes while it is looked at is looked at again. A rotation takes microseconds, unless the
/// writer loses the processor in the middle of it.
const ATTEMPTS: u32 = 200;
const PATIENT: u32 = 50;

/// How many files a follower that is behind takes at one look: each look lists the whole set.
const AHEAD: usize = 32;

/// What tells two files apart whatever their names.
pub(super) type Identity = (u64, u64);

/// One file of the set.
#[derive(Debug)]
pub(super) struct Part {
    pub file: File,
    /// It is compressed.
    pub packed: bool,
}

pub(super) fn identity(file: &File) -> io::Result<Identity> {
    let stat = rustix::fs::fstat(file)?;
    Ok((stat.st_dev, stat.st_ino))
}

fn identity_of(path: &Path) -> io::Result<Option<Identity>> {
    match rustix::fs::stat(path) {
        Ok(stat) => Ok(Some((stat.st_dev, stat.st_ino))),
        Err(Errno::NOENT) => Ok(None),
        Err(errno) => Err(errno.into()),
    }
}

fn pause(attempt: u32) {
    if attempt < PATIENT {
        std::thread::yield_now();
    } else {
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// A file by its present name.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Named {
    path: PathBuf,
    packed: bool,
    identity: Identity,
}

impl Named {
    /// Opens it; with a lock the writer keeps it and all that come after it. `None` when the name means another by now.
    fn open(&self, lock: bool) -> io::Result<Option<Part>> {
        let file = match open_read(&self.path) {
            Ok(file) => file,
            Err(Errno::NOENT) => return Ok(None),
            Err(errno) => return Err(errno.into()),
        };
        if lock {
            // Nobody holds the other kind for longer than an instant. Where locks are not to be had files may go early.
            let _ = rustix::fs::flock(&file, FlockOperation::LockShared);
        }
        let same = identity(&file)? == self.identity && identity_of(&self.path)? == Some(self.identity);
        Ok(same.then_some(Part { file, packed: self.packed }))
    }
}

/// The set by its numbers, newest first; `None` in the middle of a rotation.
fn numbered(path: &Path) -> io::Result<Option<Vec<Named>>> {
    let find = |number: u32| -> io::Result<Option<Named>> {
        for packed in [false, true] {
            let path = name(path, number, packed);
            if let Some(identity) = identity_of(&path)? {
                return Ok(Some(Named { path, packed, identity }));
            }
        }
        Ok(None)
    };
    let current = find(0)?;
    let first = current.is_some();
    let mut all: Vec<Named> = current.into_iter().collect();
    let mut number = 1;
    while let Some(found) = find(number)? {
        all.push(found);
        number += 1;
    }
    // One name is free while the next is taken, or `path` itself is not there.
    let gap = find(number + 1)?.is_some() || (!first && !all.is_empty());
    Ok((!gap).then_some(all))
}

/// Opens the whole set, oldest first. Empty when there is no log.
pub(super) fn open_all(path: &Path, lock: bool) -> io::Result<Vec<Part>> {
    for attempt in 0..ATTEMPTS {
        if let Some(list) = numbered(path)? {
            let parts = list.iter().map(|named| named.open(lock)).collect::<io::Result<Option<Vec<Part>>>>()?;
            if let Some(mut parts) = parts
                && numbered(path)?.as_ref() == Some(&list)
            {
                parts.reverse();
                return Ok(parts);
            }
        }
        pause(attempt);
    }
    // It stays that way: a writer was killed in the middle of a rotation. What has a number is shown.
    let mut parts = Vec::new();
    let mut number = 0;
    let mut missing = 0;
    while missing < 2 {
        let found = [false, true]
            .into_iter()
            .find_map(|packed| open_read(&name(path, number, packed)).ok().map(|file| Part { file, packed }));
        missing = if found.is_some() { 0 } else { missing + 1 };
        parts.extend(found);
        number += 1;
    }
    parts.reverse();
    Ok(parts)
}

/// What has been written after a file.
pub(super) enum After {
    /// It is still the current one.
    Nothing,
    /// It has been rotated away, and these come next. `false`: others came between them and are gone.
    Files(Vec<Part>, bool),
}

/// Finds the files that follow `current` in the set, up to [`AHEAD`] of them, and locks them.
pub(super) fn after(path: &Path, current: Option<Identity>) -> io::Result<After> {
    for attempt in 0..ATTEMPTS {
        let newest = identity_of(path)?;
        if newest.is_some() && newest == current {
            return Ok(After::Nothing);
        }
        if let Some(found) = after_once(path, current)? {
            return Ok(found);
        }
        pause(attempt);
    }
    Ok(After::Nothing)
}

/// All there is, newest first, when it is at rest.
fn listed(path: &Path, with_old: bool) -> io::Result<Option<Vec<Named>>> {
    let Some(mut all) = numbered(path)? else { return Ok(None) };
    if with_old {
        for path in old_names(path)?.into_iter().rev() {
            let Some(identity) = identity_of(&path)? else { return Ok(None) };
            let packed = path.as_os_str().as_encoded_bytes().ends_with(super::rotate::PACKED.as_bytes());
            all.push(Named { path, packed, identity });
        }
    }
    Ok(Some(all))
}

/// One look at the set; `None` when it changed under the eyes.
fn after_once(path: &Path, current: Option<Identity>) -> io::Result<Option<After>> {
    let is_current = |named: &Named| Some(named.identity) == current;
    let Some(mut list) = listed(path, false)? else { return Ok(None) };
    let mut at = list.iter().position(is_current);
    let with_old = at.is_none() && current.is_some();
    if with_old {
        let Some(whole) = listed(path, true)? else { return Ok(None) };
        list = whole;
        at = list.iter().position(is_current);
    }
    // If it has left the set altogether (or there was none) the oldest that remains is the nearest to it.
    let newer = &list[..at.unwrap_or(list.len())];
    if newer.is_empty() {
        return Ok(Some(After::Nothing));
    }
    let next = newer.iter().rev().take(AHEAD);
    let Some(parts) = next.map(|named| named.open(true)).collect::<io::Result<Option<Vec<Part>>>>()? else {
        return Ok(None);
    };
    let whole = at.is_some() || current.is_none();
    Ok((listed(path, with_old)?.as_ref() == Some(&list)).then_some(After::Files(parts, whole)))
}
