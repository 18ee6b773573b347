//! Removing whole trees, by descriptors: nothing that happens to the names meanwhile leads outside.

use crate::{Errno, Result};
use rustix::fs::{AtFlags, FileType, Mode, OFlags, RawDir, RenameFlags, openat, renameat_with, unlinkat};
use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// From this depth on a directory is moved up to the top before it is emptied, so that a tree of any depth takes few
/// descriptors and little stack.
const DEEP: usize = 100;
/// How often something new may turn up in what was emptied.
const ROUNDS: u32 = 1000;

/// Removes what is at `name` in `parent`, whatever it is; nothing there is fine.
pub fn remove_at(parent: BorrowedFd, name: &CStr) -> Result<()> {
    match unlinkat(parent, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => return Ok(()),
        Err(Errno::ISDIR | Errno::PERM) => {}
        Err(e) => return Err(e),
    }
    match unlinkat(parent, name, AtFlags::REMOVEDIR) {
        Ok(()) | Err(Errno::NOENT) => return Ok(()),
        Err(Errno::NOTEMPTY) => {}
        Err(e) => return Err(e),
    }
    let top = open(parent, name)?;
    let mut moved = 0u64;
    let mut rounds = 0;
    loop {
        let before = moved;
        // Read from its beginning again: what is moved up may stand before the place where reading is.
        rustix::fs::seek(&top, rustix::fs::SeekFrom::Start(0))?;
        empty(top.as_fd(), top.as_fd(), 0, &mut moved)?;
        match unlinkat(parent, name, AtFlags::REMOVEDIR) {
            Ok(()) | Err(Errno::NOENT) => return Ok(()),
            // What was moved up, or what someone with an open descriptor did meanwhile.
            Err(Errno::NOTEMPTY) if before != moved => {}
            Err(Errno::NOTEMPTY) if rounds < ROUNDS => rounds += 1,
            Err(e) => return Err(e),
        }
    }
}

/// Removes all that is in `dir`, which lies `depth` below `top`.
fn empty(dir: BorrowedFd, top: BorrowedFd, depth: usize, moved: &mut u64) -> Result<()> {
    let mut buffer = Vec::with_capacity(16 << 10);
    let mut entries = RawDir::new(dir, buffer.spare_capacity_mut());
    while let Some(entry) = entries.next() {
        let entry = entry?;
        let name = entry.file_name();
        if name == c"." || name == c".." {
            continue;
        }
        let mut refused = None;
        if entry.file_type() != FileType::Directory {
            match unlinkat(dir, name, AtFlags::empty()) {
                Ok(()) | Err(Errno::NOENT) => continue,
                // The type was unknown, or it changed.
                Err(Errno::ISDIR) => {}
                Err(Errno::PERM) => refused = Some(Errno::PERM),
                Err(e) => return Err(e),
            }
        }
        match unlinkat(dir, name, AtFlags::REMOVEDIR) {
            Ok(()) | Err(Errno::NOENT) => continue,
            Err(Errno::NOTEMPTY) => {}
            // It changed again: the next round meets it; or it is a file that cannot be removed.
            Err(Errno::NOTDIR) => match refused {
                Some(e) => return Err(e),
                None => continue,
            },
            Err(e) => return Err(e),
        }
        if depth >= DEEP {
            lift(dir, name, top, moved)?;
            continue;
        }
        let below = match open(dir, name) {
            Ok(below) => below,
            // Something else stands there by now.
            Err(Errno::NOTDIR | Errno::LOOP | Errno::NOENT) => continue,
            Err(e) => return Err(e),
        };
        empty(below.as_fd(), top, depth + 1, moved)?;
        match unlinkat(dir, name, AtFlags::REMOVEDIR) {
            Ok(()) | Err(Errno::NOENT | Errno::NOTEMPTY | Errno::NOTDIR) => {}
            Err(e) => return Err(e),
        }
    }
    Ok(())
}

/// Moves a directory up to the top, under a name that is free there.
fn lift(dir: BorrowedFd, name: &CStr, top: BorrowedFd, moved: &mut u64) -> Result<()> {
    loop {
        *moved += 1;
        match renameat_with(dir, name, top, format!(".deep-{moved}"), RenameFlags::NOREPLACE) {
            Ok(()) | Err(Errno::NOENT) => return Ok(()),
            Err(Errno::EXIST) => {}
            Err(e) => return Err(e),
        }
    }
}

fn open(parent: BorrowedFd, name: &CStr) -> Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    openat(parent, name, flags, Mode::empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::{CWD, mkdirat};

    #[test]
    fn trees_of_any_depth_and_names_go() {
        let base = std::env::temp_dir().join(format!("dhow-remove-{}", std::process::id()));
        std::fs::create_dir_all(base.join("tree/.deep-1/full")).unwrap();
        std::fs::write(base.join("tree/.deep-2"), "a file").unwrap();
        std::fs::create_dir(base.join("outside")).unwrap();
        std::os::unix::fs::symlink("../outside", base.join("tree/link")).unwrap();
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let parent = openat(CWD, &base, flags, Mode::empty()).unwrap();
        let mut at = open(parent.as_fd(), c"tree").unwrap();
        for _ in 0..800 {
            mkdirat(&at, "d", Mode::RWXU).unwrap();
            mkdirat(&at, "e", Mode::RWXU).unwrap();
            at = open(at.as_fd(), c"d").unwrap();
        }
        drop(at);
        remove_at(parent.as_fd(), c"tree").unwrap();
        assert!(!base.join("tree").exists() && base.join("outside").exists());
        remove_at(parent.as_fd(), c"nothing").unwrap();
        remove_at(parent.as_fd(), c"outside").unwrap();
        std::fs::remove_dir(&base).unwrap();
    }
}
