//! Whiteouts (image-spec layer.md#whiteouts) as overlayfs has them: a character device 0/0 hides one lower entry, the
//! attribute `trusted.overlay.opaque` hides all that lower layers have in a directory.
//!
//! A whiteout speaks of lower layers alone: what the same layer brings under that name stays, whichever came first.

use super::Unpacked;
use super::place::{Places, reopen};
use crate::error::{Error, Result};
use crate::tar::{Entry, Kind};
use rustix::fs::{AtFlags, FileType, Mode, mknodat, statat};
use rustix::io::Errno;
use std::os::fd::{AsFd, BorrowedFd};

/// The attribute that hides what lower layers have in a directory.
pub const OPAQUE: &str = "trusted.overlay.opaque";
const PREFIX: &[u8] = b".wh.";
const META: &[u8] = b".wh..wh.";

/// What a clean path means in a layer.
#[derive(Debug, PartialEq, Eq)]
pub enum Meaning<'p> {
    /// An ordinary entry.
    Entry,
    /// The directory above hides what is below it.
    Opaque,
    /// The entry of this name in the directory above is gone.
    Gone(&'p [u8]),
    /// Notes that aufs left in the first years' images: nothing.
    Nothing,
}

/// Reads whiteouts off the names.
pub fn meaning<'p>(dir: &[u8], name: &'p [u8]) -> std::result::Result<Meaning<'p>, &'static str> {
    for above in dir.split(|b| *b == b'/') {
        if above.starts_with(META) {
            return Ok(Meaning::Nothing);
        }
        if above.starts_with(PREFIX) {
            return Err("it lies in a whiteout");
        }
    }
    match name.strip_prefix(PREFIX) {
        None => Ok(Meaning::Entry),
        Some(b".wh..opq") => Ok(Meaning::Opaque),
        Some(rest) if rest.starts_with(PREFIX) => Ok(Meaning::Nothing),
        Some(b"" | b"." | b"..") => Err("a whiteout of nothing"),
        Some(rest) => Ok(Meaning::Gone(rest)),
    }
}

/// Makes the whiteout of `name` in the current directory.
pub fn make(places: &mut Places, entry: &Entry, name: &[u8], made: &mut Unpacked) -> Result<()> {
    check(entry)?;
    let parent = places.current()?;
    match mknodat(parent, name, FileType::CharacterDevice, Mode::empty(), 0) {
        Ok(()) => {
            made.whiteouts += 1;
            Ok(())
        }
        Err(Errno::EXIST) => {
            let stat = statat(parent, name, AtFlags::SYMLINK_NOFOLLOW).map_err(|e| Error::at("stat", name, e))?;
            // A file of this layer hides the lower one already; a directory would be merged with it.
            if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
                opaque_at(parent, name).map_err(|e| Error::at("make opaque", &entry.path, e))?;
                made.whiteouts += 1;
            }
            Ok(())
        }
        Err(e) => Err(Error::at("create whiteout", &entry.path, e)),
    }
}

/// Makes the current directory opaque.
pub fn make_opaque(places: &mut Places, entry: &Entry, made: &mut Unpacked) -> Result<()> {
    check(entry)?;
    if places.level().is_none() {
        // overlayfs does not look at a layer's own root: the store leaves the lower layers out.
        made.opaque_root = true;
        return Ok(());
    }
    if places.level().is_some_and(|level| level.opaque) {
        return Ok(());
    }
    let error = |e| Error::at("make opaque", &entry.path, e);
    let dir = reopen(places.current()?).map_err(error)?;
    set_opaque(dir.as_fd()).map_err(error)?;
    made.whiteouts += 1;
    if let Some(level) = places.level() {
        level.opaque = true;
    }
    Ok(())
}

/// Marks an open directory.
pub fn set_opaque(dir: BorrowedFd) -> rustix::io::Result<()> {
    super::attributes::set_xattr(dir, OPAQUE.as_bytes(), b"y")
}

/// Marks the directory `name` in `parent`.
pub fn opaque_at(parent: BorrowedFd, name: &[u8]) -> rustix::io::Result<()> {
    let fd = sys::rootfs::resolve_plain(parent, name, rustix::fs::OFlags::RDONLY | rustix::fs::OFlags::DIRECTORY)?;
    set_opaque(fd.as_fd())
}

/// aufs made whiteouts as hard links.
fn check(entry: &Entry) -> Result<()> {
    match entry.kind {
        Kind::File | Kind::HardLink => Ok(()),
        _ => Err(Error::entry(&entry.path, "a whiteout is a file")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        assert_eq!(meaning(b"a", b"b"), Ok(Meaning::Entry));
        assert_eq!(meaning(b"a", b".wh.b"), Ok(Meaning::Gone(b"b")));
        assert_eq!(meaning(b"a", b".wh.."), Err("a whiteout of nothing"));
        assert_eq!(meaning(b"a", b".wh..."), Err("a whiteout of nothing"));
        assert_eq!(meaning(b"a", b".wh."), Err("a whiteout of nothing"));
        assert_eq!(meaning(b"a", b".wh....."), Ok(Meaning::Gone(b"....")));
        assert_eq!(meaning(b"a", b".wh..wh..opq"), Ok(Meaning::Opaque));
        assert_eq!(meaning(b"", b".wh..wh.aufs"), Ok(Meaning::Nothing));
        assert_eq!(meaning(b".wh..wh.plnk", b"1.2"), Ok(Meaning::Nothing));
        assert_eq!(meaning(b"victim/.wh.x", b"y"), Err("it lies in a whiteout"));
        assert_eq!(meaning(b".wh.", b"y"), Err("it lies in a whiteout"));
    }
}
