//! `diff`: what the writable layer has over those below it.

use crate::containers::Containers;
use crate::error::{Error, Result};
use crate::view::View;
use api::container::Change;
use oci::runtime::Mount;
use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat};
use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

const MODIFIED: u8 = 0;
const ADDED: u8 = 1;
const DELETED: u8 = 2;
/// The most that is listed, and how deep.
const MAX_CHANGES: usize = 1_000_000;
const MAX_DEPTH: usize = 1024;

impl Containers {
    /// The files that are not as in the image, in the order of their paths.
    ///
    /// # Errors
    /// `NotFound`
    pub fn changes(&self, name: &str) -> Result<Vec<Change>> {
        let c = self.shared.find(name)?;
        let (mount, base) = self.shared.rootfs(&c.id, false)?;
        let wrong = |e: std::io::Error| Error::System(format!("reading the writable layer of {}: {e}", c.id));
        let Some(upper) = mount.options.iter().find_map(|o| o.strip_prefix("upperdir=")) else { return Ok(vec![]) };
        let upper = sys::rootfs::open_root(&base.join(upper)).map_err(|e| wrong(e.into()))?;
        let options = mount.options.iter().filter(|o| !o.starts_with("upperdir=")).cloned().collect();
        let below = View::open(&Mount { options, ..mount.clone() }, &base).map_err(wrong)?;
        let mut out = Vec::new();
        walk(upper, &below, &mut out).map_err(wrong)?;
        out.sort_by(|a, b| a.path.cmp(&b.path));
        hide_mount_points(&mut out);
        Ok(out)
    }
}

/// What a start makes for the engine's own mounts is no change of the container's; Docker has it in a layer below.
fn hide_mount_points(changes: &mut Vec<Change>) {
    const MADE: [&str; 11] = [
        "/dev",
        "/dev/console",
        "/dev/mqueue",
        "/dev/pts",
        "/dev/shm",
        "/etc/hostname",
        "/etc/hosts",
        "/etc/resolv.conf",
        "/proc",
        "/sys",
        "/sys/fs/cgroup",
    ];
    let before = changes.len();
    changes.retain(|c| !(c.kind == ADDED && MADE.contains(&c.path.as_str())));
    let below_etc = changes.iter().any(|c| c.path.starts_with("/etc/"));
    if before != changes.len() && !below_etc {
        changes.retain(|c| c.path != "/etc");
    }
}

/// Without recursion: how deep the tree is was for the container to say.
fn walk(top: OwnedFd, below: &View, out: &mut Vec<Change>) -> std::io::Result<()> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let open = |at: BorrowedFd, name: &CStr, path: String| {
        let readable = rustix::fs::openat(at, name, flags, Mode::empty())?;
        let entries = rustix::fs::Dir::read_from(&readable)?;
        Ok::<_, std::io::Error>((readable, entries, path))
    };
    let mut levels = vec![open(top.as_fd(), c".", String::new())?];
    while let Some((readable, entries, path)) = levels.last_mut() {
        let Some(entry) = entries.next() else {
            levels.pop();
            continue;
        };
        let entry = entry?;
        let name = entry.file_name();
        if name == c"." || name == c".." {
            continue;
        }
        let shown = format!("{path}/{}", name.to_string_lossy());
        let Ok(stat) = rustix::fs::statat(&*readable, name, AtFlags::SYMLINK_NOFOLLOW) else { continue };
        let next = match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => Some(open(readable.as_fd(), name, shown.clone())?),
            _ => None,
        };
        if out.len() >= MAX_CHANGES || levels.len() > MAX_DEPTH {
            return Err(std::io::ErrorKind::FileTooLarge.into());
        }
        if let Some(kind) = kind_of(&shown, &stat, below)? {
            out.push(Change { kind, path: shown });
        }
        levels.extend(next);
    }
    Ok(())
}

/// What became of the thing at a path; nothing when it is as it was.
fn kind_of(path: &str, stat: &Stat, below: &View) -> std::io::Result<Option<u8>> {
    let kind = FileType::from_raw_mode(stat.st_mode);
    if kind == FileType::CharacterDevice && stat.st_rdev == 0 {
        return Ok(Some(DELETED));
    }
    Ok(match below.status(path)? {
        None => Some(ADDED),
        // A directory is copied up for what changed in it; it has itself changed only when its times or mode say so.
        Some(old) if kind == FileType::Directory && FileType::from_raw_mode(old.st_mode) == kind => {
            let facts = |s: &Stat| (s.st_mtime, s.st_mtime_nsec, s.st_mode, s.st_uid, s.st_gid);
            (facts(&old) != facts(stat)).then_some(MODIFIED)
        }
        Some(_) => Some(MODIFIED),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mount_points_are_no_changes() {
        let change = |kind, path: &str| Change { kind, path: path.into() };
        let mut all =
            vec![change(MODIFIED, "/etc"), change(ADDED, "/etc/hosts"), change(ADDED, "/proc"), change(ADDED, "/x")];
        hide_mount_points(&mut all);
        assert_eq!(all, [change(ADDED, "/x")]);
        let mut all = vec![change(MODIFIED, "/etc"), change(ADDED, "/etc/hosts"), change(MODIFIED, "/etc/passwd")];
        hide_mount_points(&mut all);
        assert_eq!(all, [change(MODIFIED, "/etc"), change(MODIFIED, "/etc/passwd")]);
    }
}
