//! One engine per bridge: two that make the same one, and the table of the same name, would undo each other's rules for ever.
//!
//! The claim is the lock on a file of root's, `/run/dhow-network/<network namespace>-<table>`, as bridges and tables belong to
//! a namespace. The kernel frees it with the process, however that ends. The file holds the number of the process.

use crate::{Error, Result};
use rustix::fs::{CWD, Mode, OFlags, openat};
use std::fs::{File, TryLockError};
use std::io::{Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

const DIRECTORY: &str = "/run/dhow-network";
/// How long one is waited for whose owner has ended.
const PATIENCE: Duration = Duration::from_secs(1);

/// Held as long as this lives.
#[derive(Debug)]
pub(crate) struct Claim {
    path: PathBuf,
    _locked: File,
}

impl Drop for Claim {
    fn drop(&mut self) {
        // Others who have opened it see that it is another one now.
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Claims the table, and with it its bridge, in the calling thread's network namespace.
///
/// # Errors
/// `Conflict`, naming the process, when another engine has it.
pub(crate) fn claim(table: &str, bridge: &str) -> Result<Claim> {
    let own = Path::new("/proc/thread-self/ns/net");
    let namespace = std::fs::metadata(own).map_err(Error::io("look at", own))?.ino();
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(DIRECTORY).map_err(Error::io("make", DIRECTORY))?;
    let path: PathBuf = [DIRECTORY, &format!("{namespace}-{table}")].iter().collect();
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let deadline = Instant::now() + PATIENCE;
    loop {
        let file = openat(CWD, &path, flags, Mode::RUSR | Mode::WUSR);
        let mut file = file.map(File::from).map_err(Error::os("open", &path))?;
        match file.try_lock() {
            // Its last owner may have removed it meanwhile.
            Ok(()) if is_at(&file, &path) => {
                let noted = file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id()));
                noted.map_err(Error::io("write", &path))?;
                return Ok(Claim { path, _locked: file });
            }
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut holder = String::new();
                let _ = file.read_to_string(&mut holder);
                let holder = holder.trim_end();
                // One that was killed while it made a child: the child has the lock until it executes its program.
                if holder.parse().is_ok_and(lives) || Instant::now() > deadline {
                    return Err(Error::Conflict(format!(
                        "failed to set up container networking: bridge {bridge} is used by another engine \
                         (process {holder}): give this one its own with --bridge"
                    )));
                }
                std::thread::sleep(Duration::from_millis(2));
            }
            Err(TryLockError::Error(error)) => return Err(Error::io("lock", &path)(error)),
        }
    }
}

fn is_at(file: &File, path: &Path) -> bool {
    let number = |found: std::io::Result<std::fs::Metadata>| found.map(|found| found.ino()).ok();
    number(file.metadata()).is_some_and(|ino| number(std::fs::symlink_metadata(path)) == Some(ino))
}

fn lives(pid: u32) -> bool {
    Path::new(&format!("/proc/{pid}")).exists()
}
