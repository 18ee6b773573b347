//! The first container that mounts a new volume over a path of its image finds there what the image has.

use crate::volumes::{DATA, Volumes, open_directory, remove_directory, sync_directory};
use crate::{Error, Result, tree};
use rustix::fs::{CWD, RenameFlags};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

/// Being copied: worthless after a crash.
const UNFINISHED: &str = "_copy.tmp";
/// Complete and durable; what is left to do is to move it.
const FINISHED: &str = "_copy";

impl Volumes {
    /// Copies what is in `image`, an open directory, into the volume if that is empty, with owners, modes, times,
    /// extended attributes and links; says whether it did. After a crash the volume is empty, or the next call goes on:
    /// nothing half copied is ever seen.
    pub fn copy_up(&self, name: &str, image: BorrowedFd) -> Result<bool> {
        let directory = self.directory(name)?;
        if self.get(name)?.options.contains_key("device") {
            // A directory of the host: as it is.
            return Ok(false);
        }
        let (unfinished, finished, data) = (directory.join(UNFINISHED), directory.join(FINISHED), directory.join(DATA));
        if finished.is_dir() {
            return deliver(&finished, &data).map(|()| true);
        }
        if unfinished.is_dir() {
            remove_directory(&unfinished)?;
        }
        let empty = |path: &Path| {
            std::fs::read_dir(path).map(|mut entries| entries.next().is_none()).map_err(Error::io("read", path))
        };
        if !empty(&data)? {
            return Ok(false);
        }
        std::fs::create_dir(&unfinished).map_err(Error::io("create", &unfinished))?;
        let done = (|| {
            let to = open_directory(&unfinished)?;
            tree::copy(image, to.as_fd(), &unfinished)?;
            rustix::fs::syncfs(&to).map_err(Error::os("sync", &unfinished))?;
            std::fs::rename(&unfinished, &finished).map_err(Error::io("rename", &unfinished))?;
            sync_directory(&directory)
        })();
        if done.is_err() {
            let _ = remove_directory(&unfinished);
        }
        done?;
        deliver(&finished, &data).map(|()| true)
    }
}

/// Moves what was copied to where containers see it. The directory itself stays: it may be mounted somewhere.
fn deliver(finished: &Path, data: &Path) -> Result<()> {
    let (from, to) = (open_directory(finished)?, open_directory(data)?);
    let stat = tree::stat_of(from.as_fd(), finished)?;
    for entry in std::fs::read_dir(finished).map_err(Error::io("read", finished))? {
        let entry = entry.map_err(Error::io("read", finished))?;
        let to = data.join(entry.file_name());
        match rustix::fs::renameat_with(CWD, entry.path(), CWD, &to, RenameFlags::NOREPLACE) {
            // Another container wrote that meanwhile: its own is the newer one.
            Ok(()) | Err(rustix::io::Errno::EXIST) => {}
            Err(errno) => return Err(Error::os("move to", &to)(errno)),
        }
    }
    tree::copy_attributes(from.as_fd(), &stat, to.as_fd(), data)?;
    sync_directory(data)?;
    remove_directory(finished)
}
