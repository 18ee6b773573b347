//! One daemon for one data root, and the file that names its process.

use anyhow::{Context, Result, bail};
use rustix::fs::{FlockOperation, flock};
use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// The mode of the data root.
const MODE: u32 = 0o710;

/// The format of the tree below the data root.
const FORMAT: &str = "1";

/// How long the lock of a daemon that is no more may outlive it.
const PATIENCE: Duration = Duration::from_secs(5);

/// Held while the daemon lives; the kernel gives it back however the process ends.
pub struct DataRoot {
    _lock: File,
}

/// Makes the data root if need be, checks its format, and locks it.
///
/// # Errors
/// When another daemon works there, naming it, or when the tree is of a newer version.
pub fn data_root(root: &Path) -> Result<DataRoot> {
    let wrong = || format!("creating the data root {}", root.display());
    std::fs::DirBuilder::new().recursive(true).mode(MODE).create(root).with_context(wrong)?;
    // Volumes and layers hold files that make whoever runs them root: others of this machine shall not come near them, nor
    // where an older version, or the administrator, has made the directory.
    let mode = std::fs::metadata(root).with_context(wrong)?.permissions().mode();
    if mode & 0o007 != 0 {
        let closed = std::fs::Permissions::from_mode(mode & 0o770);
        std::fs::set_permissions(root, closed).with_context(wrong)?;
    }
    let path = root.join("lock");
    let mut lock = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&path)
        .with_context(|| format!("opening {}", path.display()))?;
    let deadline = Instant::now() + PATIENCE;
    while flock(&lock, FlockOperation::NonBlockingLockExclusive).is_err() {
        let mut pid = String::new();
        lock.rewind()?;
        lock.read_to_string(&mut pid)?;
        // One that was killed while it made a child: the child has the lock until it executes its program.
        if pid.trim().parse().is_ok_and(is_daemon) || Instant::now() > deadline {
            bail!("the data root {} is in use by another daemon (process {})", root.display(), pid.trim());
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    lock.set_len(0)?;
    lock.rewind()?;
    writeln!(lock, "{}", std::process::id())?;
    let version = root.join("version");
    match std::fs::read_to_string(&version) {
        Ok(text) if text.trim() == FORMAT => {}
        Ok(text) => bail!(
            "the data root {} has format {}, which this version of dhow does not know (it knows {FORMAT})",
            root.display(),
            text.trim()
        ),
        Err(_) => {
            std::fs::write(&version, format!("{FORMAT}\n")).with_context(|| format!("writing {}", version.display()))?
        }
    }
    Ok(DataRoot { _lock: lock })
}

/// The pid file; gone when this is dropped.
pub struct PidFile(PathBuf);

/// Writes the pid file.
///
/// # Errors
/// When the process that an existing one names is alive.
pub fn pidfile(path: &Path) -> Result<PidFile> {
    let own = std::process::id();
    if let Some(pid) = std::fs::read_to_string(path).ok().and_then(|t| t.trim().parse::<u32>().ok())
        && pid != own
        && is_daemon(pid)
    {
        bail!(
            "failed to start daemon, ensure dhow is not running or delete {}: process with PID {pid} is still running",
            path.display()
        );
    }
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent).with_context(|| format!("creating {}", parent.display()))?;
    }
    std::fs::write(path, own.to_string()).with_context(|| format!("failed to write pid file {}", path.display()))?;
    Ok(PidFile(path.to_owned()))
}

/// A number is used again soon after a reboot: only a process of the same program counts.
fn is_daemon(pid: u32) -> bool {
    let exe = |pid: &str| {
        std::fs::read_link(format!("/proc/{pid}/exe")).ok().and_then(|p| p.file_name().map(|n| n.to_owned()))
    };
    let name = exe(&pid.to_string());
    name.is_some() && name == exe("self")
}

impl Drop for PidFile {
    fn drop(&mut self) {
        if std::fs::read_to_string(&self.0).is_ok_and(|t| t == std::process::id().to_string()) {
            let _ = std::fs::remove_file(&self.0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_daemon_is_told_who_is_first() {
        let root = std::env::temp_dir().join(format!("dhow-lock-{}", std::process::id()));
        let first = data_root(&root).unwrap();
        let error = data_root(&root).err().unwrap().to_string();
        let want =
            format!("the data root {} is in use by another daemon (process {})", root.display(), std::process::id());
        assert_eq!(error, want);
        drop(first);
        drop(data_root(&root).unwrap());
        std::fs::write(root.join("version"), "9\n").unwrap();
        assert!(data_root(&root).err().unwrap().to_string().contains("has format 9"));
        std::fs::remove_dir_all(&root).unwrap();
    }

    #[test]
    fn the_lock_of_the_dead_is_waited_for() {
        let root = std::env::temp_dir().join(format!("dhow-dead-lock-{}", std::process::id()));
        std::fs::create_dir_all(&root).unwrap();
        // No process has this number.
        std::fs::write(root.join("lock"), "4194305\n").unwrap();
        let child = File::open(root.join("lock")).unwrap();
        flock(&child, FlockOperation::LockExclusive).unwrap();
        let next = std::thread::spawn({
            let root = root.clone();
            move || data_root(&root).map(drop).map_err(|e| e.to_string())
        });
        drop(child);
        assert_eq!(next.join().unwrap(), Ok(()));
        std::fs::remove_dir_all(&root).unwrap();
    }

    #[test]
    fn a_pid_file_of_the_dead_is_replaced() {
        let path = std::env::temp_dir().join(format!("dhow-pid-{}", std::process::id()));
        std::fs::write(&path, "1").unwrap();
        let held = pidfile(&path).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), std::process::id().to_string());
        drop(held);
        assert!(!path.exists());
    }
}
