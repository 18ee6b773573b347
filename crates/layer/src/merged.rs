//! What a stack of layers shows at a path, without mounting it.

use crate::error::{Error, Result};
use crate::unpack::place::{is_whiteout, reopen};
use crate::unpack::whiteout::OPAQUE;
use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat, fgetxattr, openat, readlinkat, statat};
use rustix::io::Errno;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

const DIR: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
/// The kernel's own limit.
const MAX_LINKS: usize = 40;

/// Something found.
pub struct Found {
    /// The directory that holds it, in the uppermost layer that has it.
    pub parent: OwnedFd,
    /// Its name there.
    pub name: Vec<u8>,
    /// What it is.
    pub stat: Stat,
    /// Its path, without symbolic links.
    pub path: Vec<u8>,
}

/// Looks `path` up in `layers`, the uppermost first. Symbolic links on the way are followed inside the stack, one at the
/// end is not.
pub fn find(layers: &[BorrowedFd], path: &[u8]) -> Result<Option<Found>> {
    let mut links = 0;
    let mut todo = parts(path);
    'restart: loop {
        let mut dirs: Vec<OwnedFd> = Vec::new();
        for layer in layers {
            dirs.push(openat(layer, ".", DIR, Mode::empty()).map_err(|e| Error::at("open", path, e))?);
        }
        let mut done: Vec<Vec<u8>> = Vec::new();
        let count = todo.len();
        for (i, name) in todo.iter().enumerate() {
            let last = i + 1 == count;
            if name == b".." {
                done.pop();
                done.extend(todo.iter().skip(i + 1).cloned());
                todo = done;
                links += 1;
                if links > MAX_LINKS {
                    return Ok(None);
                }
                continue 'restart;
            }
            let (merged, first) = step(&dirs, name).map_err(|e| Error::at("look up", path, e))?;
            let Some((at, stat)) = first else { return Ok(None) };
            if last {
                done.push(name.clone());
                let Some(parent) = dirs.into_iter().nth(at) else { return Ok(None) };
                return Ok(Some(Found { parent, name: name.clone(), stat, path: done.join(&b'/') }));
            }
            match FileType::from_raw_mode(stat.st_mode) {
                FileType::Directory => {
                    dirs = merged;
                    done.push(name.clone());
                }
                FileType::Symlink if links < MAX_LINKS => {
                    links += 1;
                    let Some(parent) = dirs.get(at) else { return Ok(None) };
                    let target = readlinkat(parent, name.as_slice(), Vec::new())
                        .map_err(|e| Error::at("read link", path, e))?
                        .into_bytes();
                    let mut next = if target.first() == Some(&b'/') { Vec::new() } else { done };
                    next.extend(parts(&target));
                    next.extend(todo.iter().skip(i + 1).cloned());
                    todo = next;
                    continue 'restart;
                }
                _ => return Ok(None),
            }
        }
        return Ok(None);
    }
}

fn parts(path: &[u8]) -> Vec<Vec<u8>> {
    path.split(|b| *b == b'/').filter(|p| !p.is_empty() && *p != b".").map(<[u8]>::to_vec).collect()
}

/// One component: the directories that are merged under this name, and the uppermost thing with its place in `dirs`.
#[allow(clippy::type_complexity)]
fn step(dirs: &[OwnedFd], name: &[u8]) -> rustix::io::Result<(Vec<OwnedFd>, Option<(usize, Stat)>)> {
    let mut merged = Vec::new();
    let mut first = None;
    for (at, dir) in dirs.iter().enumerate() {
        let stat = match statat(dir, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => stat,
            Err(Errno::NOENT) => continue,
            Err(e) => return Err(e),
        };
        if is_whiteout(&stat) {
            break;
        }
        let is_dir = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
        if first.is_none() {
            first = Some((at, stat));
        }
        if !is_dir {
            break;
        }
        let below = openat(dir, name, DIR, Mode::empty())?;
        let opaque = is_opaque(below.as_fd())?;
        merged.push(below);
        if opaque {
            break;
        }
    }
    Ok((merged, first))
}

fn is_opaque(dir: BorrowedFd) -> rustix::io::Result<bool> {
    let dir = reopen(dir)?;
    let mut value = [0u8; 4];
    match fgetxattr(&dir, OPAQUE, &mut value) {
        Ok(n) => Ok(value.get(..n) == Some(b"y")),
        Err(Errno::NODATA | Errno::OPNOTSUPP | Errno::RANGE) => Ok(false),
        Err(e) => Err(e),
    }
}
