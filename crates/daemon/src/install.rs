//! Puts the `dhow-init` that this binary carries where supervisors are started from.

use anyhow::{Context, Result};
use std::io::Write;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Name of the copy in the exec root.
const NAME: &str = "dhow-init";

/// Makes the exec root and a copy of dhow-init in it: a file of its own, which no container ever sees by another name,
/// and which an upgrade of the program on disk does not change under running supervisors.
///
/// # Errors
/// When it cannot be written.
pub fn init(exec_root: &Path, program: &[u8]) -> Result<PathBuf> {
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(exec_root)
        .with_context(|| format!("creating the exec root {}", exec_root.display()))?;
    let path = exec_root.join(NAME);
    if std::fs::read(&path).is_ok_and(|there| there == program) {
        return Ok(path);
    }
    let fresh = exec_root.join(".dhow-init.new");
    let _ = std::fs::remove_file(&fresh);
    let write = || -> std::io::Result<()> {
        let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o555).open(&fresh)?;
        file.write_all(program)?;
        // The writing descriptor must be closed before the first exec, or it is "text file busy".
        drop(file);
        std::fs::rename(&fresh, &path)
    };
    write().with_context(|| format!("installing {}", path.display()))?;
    Ok(path)
}

/// The copy as supervisors are executed from it: through a read-only mount that has no place in the file system. A
/// process enters a container as this program, where `/proc/<pid>/exe` is a way to it; nobody can write through that one,
/// not even in the moments in which no process runs it.
///
/// The path is good for this process and its children, as long as the descriptor is open.
///
/// # Errors
/// When the kernel makes no such mount.
pub fn sealed(program: &Path) -> Result<(OwnedFd, PathBuf)> {
    use rustix::mount::OpenTreeFlags;
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    let seal = || -> rustix::io::Result<OwnedFd> {
        let tree = rustix::mount::open_tree(rustix::fs::CWD, program, flags)?;
        let set = sys::mount::attr::RDONLY | sys::mount::attr::NOSUID | sys::mount::attr::NODEV;
        let change = sys::mount::MountAttr { set, ..Default::default() };
        sys::mount_setattr(tree.as_fd(), c"", false, &change)?;
        Ok(tree)
    };
    let tree = seal().with_context(|| format!("making a read-only mount of {}", program.display()))?;
    let path = PathBuf::from(format!("/proc/self/fd/{}", tree.as_raw_fd()));
    Ok((tree, path))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{MetadataExt, PermissionsExt};

    #[test]
    fn the_copy_is_replaced_only_when_it_differs() {
        let root = std::env::temp_dir().join(format!("dhow-install-{}", std::process::id()));
        let path = super::init(&root, b"one").unwrap();
        let first = std::fs::metadata(&path).unwrap();
        assert_eq!(first.permissions().mode() & 0o777, 0o555);
        super::init(&root, b"one").unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().ino(), first.ino());
        super::init(&root, b"two").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"two");
        std::fs::remove_dir_all(&root).unwrap();
    }
}
