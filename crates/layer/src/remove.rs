//! Removing whole trees, by descriptors: nothing that happens to the names meanwhile leads outside.

use crate::error::{Error, Result};
use rustix::fs::{AtFlags, FileType, Mode, OFlags, RawDir, openat, renameat, unlinkat};
use rustix::io::Errno;
use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// From this depth on a directory is moved up to the top before it is emptied, so that a tree of any depth takes few
/// descriptors and little stack.
const DEEP: usize = 100;

/// Removes what is at `name` in `parent`, whatever it is; nothing there is fine.
pub fn remove_at(parent: BorrowedFd, name: &CStr) -> Result<()> {
    match unlinkat(parent, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => return Ok(()),
        Err(Errno::ISDIR | Errno::PERM) => {}
        Err(e) => return Err(error("remove", name, e)),
    }
    match unlinkat(parent, name, AtFlags::REMOVEDIR) {
        Ok(()) | Err(Errno::NOENT) => return Ok(()),
        Err(Errno::NOTEMPTY) => {}
        Err(e) => return Err(error("remove", name, e)),
    }
    let top = open(parent, name)?;
    let mut moved = 0u64;
    loop {
        let before = moved;
        empty(top.as_fd(), top.as_fd(), 0, &mut moved)?;
        if before == moved {
            break;
        }
    }
    match unlinkat(parent, name, AtFlags::REMOVEDIR) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(e) => Err(error("remove", name, e)),
    }
}

/// Removes all that is in `dir`, which lies `depth` below `top`.
fn empty(dir: BorrowedFd, top: BorrowedFd, depth: usize, moved: &mut u64) -> Result<()> {
    let mut buffer = Vec::with_capacity(16 << 10);
    let mut entries = RawDir::new(dir, buffer.spare_capacity_mut());
    while let Some(entry) = entries.next() {
        let entry = entry.map_err(|e| error("list", c"", e))?;
        let name = entry.file_name();
        if name == c"." || name == c".." {
            continue;
        }
        if entry.file_type() != FileType::Directory {
            match unlinkat(dir, name, AtFlags::empty()) {
                Ok(()) | Err(Errno::NOENT) => continue,
                // The type was unknown, or it changed.
                Err(Errno::ISDIR | Errno::PERM) => {}
                Err(e) => return Err(error("remove", name, e)),
            }
        }
        match unlinkat(dir, name, AtFlags::REMOVEDIR) {
            Ok(()) | Err(Errno::NOENT) => continue,
            Err(Errno::NOTEMPTY) => {}
            Err(e) => return Err(error("remove", name, e)),
        }
        if depth >= DEEP {
            *moved += 1;
            let up = format!(".deep-{moved}");
            renameat(dir, name, top, up.as_str()).map_err(|e| error("move", name, e))?;
            continue;
        }
        let below = open(dir, name)?;
        empty(below.as_fd(), top, depth + 1, moved)?;
        match unlinkat(dir, name, AtFlags::REMOVEDIR) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(e) => return Err(error("remove", name, e)),
        }
    }
    Ok(())
}

fn open(parent: BorrowedFd, name: &CStr) -> Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    openat(parent, name, flags, Mode::empty()).map_err(|e| error("open", name, e))
}

fn error(doing: &'static str, name: &CStr, e: Errno) -> Error {
    Error::at(doing, name.to_bytes(), e)
}
