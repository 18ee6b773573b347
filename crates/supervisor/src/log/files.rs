//! A log is a set of files: `path`, and the rotated `path.1` (newest), `path.2` … The writer renames them at any moment.

use super::write::numbered;
use rustix::fs::{Mode, OFlags};
use std::fs::File;
use std::io;
use std::path::Path;

/// How often a set that changes while it is looked at is looked at again. A rotation takes microseconds.
const ATTEMPTS: u32 = 100;

/// What tells two files apart whatever their names.
pub(super) type Identity = (u64, u64);

pub(super) fn identity(file: &File) -> io::Result<Identity> {
    let stat = rustix::fs::fstat(file)?;
    Ok((stat.st_dev, stat.st_ino))
}

fn identity_of(path: &Path) -> io::Result<Option<Identity>> {
    match rustix::fs::stat(path) {
        Ok(stat) => Ok(Some((stat.st_dev, stat.st_ino))),
        Err(rustix::io::Errno::NOENT) => Ok(None),
        Err(errno) => Err(errno.into()),
    }
}

fn open(path: &Path) -> io::Result<Option<File>> {
    match rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW, Mode::empty()) {
        Ok(fd) => Ok(Some(File::from(fd))),
        Err(rustix::io::Errno::NOENT) => Ok(None),
        Err(errno) => Err(errno.into()),
    }
}

/// Opens the whole set, oldest first. Empty when there is no log.
pub(super) fn open_all(path: &Path) -> io::Result<Vec<File>> {
    let mut attempt = 0;
    loop {
        attempt += 1;
        let patient = attempt < ATTEMPTS;
        let mut files = Vec::new();
        let current = open(path)?;
        let first = current.as_ref().map(identity).transpose()?;
        files.extend(current);
        let mut number = 1;
        let mut gap = false;
        while let Some(file) = open(&numbered(path, number))? {
            files.push(file);
            number += 1;
        }
        // In the middle of a rotation one name is free while the next is taken, or `path` itself is not there.
        gap |= identity_of(&numbered(path, number + 1))?.is_some();
        gap |= first.is_none() && files.len() + 1 > 1;
        let moved = identity_of(path)? != first;
        if (gap || moved) && patient {
            std::thread::yield_now();
            continue;
        }
        files.reverse();
        return Ok(files);
    }
}

/// What has been written after a file.
pub(super) enum After {
    /// It is still the current one.
    Nothing,
    /// It has been rotated away, and this comes next.
    File(File),
}

/// Finds the file that follows `current` in the set.
pub(super) fn after(path: &Path, current: Option<Identity>) -> io::Result<After> {
    for _ in 0..ATTEMPTS {
        let newest = identity_of(path)?;
        if newest.is_some() && newest == current {
            return Ok(After::Nothing);
        }
        if let Some(found) = after_once(path, current)? {
            return Ok(After::File(found));
        }
        if newest.is_none() && identity_of(&numbered(path, 1))?.is_none() {
            // Neither a current nor a rotated file: the log is not there (yet, or any more).
            return Ok(After::Nothing);
        }
        std::thread::yield_now();
    }
    Ok(After::Nothing)
}

/// One look at the set; `None` when it changed under the eyes.
fn after_once(path: &Path, current: Option<Identity>) -> io::Result<Option<File>> {
    let name = |number: u32| if number == 0 { path.to_owned() } else { numbered(path, number) };
    let mut number = 1;
    let mut oldest = 0;
    while let Some(found) = identity_of(&name(number))? {
        if Some(found) == current {
            let Some(next) = open(&name(number - 1))? else { return Ok(None) };
            let still = identity_of(&name(number))? == current && Some(identity(&next)?) != current;
            return Ok(still.then_some(next));
        }
        oldest = number;
        number += 1;
    }
    if identity_of(&name(number + 1))?.is_some() {
        return Ok(None);
    }
    // It has left the set altogether (or there was none): the oldest that remains is the nearest to it.
    let Some(next) = open(&name(oldest))? else { return Ok(None) };
    let still = Some(identity(&next)?) != current && identity_of(&name(oldest))? == Some(identity(&next)?);
    Ok(still.then_some(next))
}
