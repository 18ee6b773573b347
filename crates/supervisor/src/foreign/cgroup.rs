//! What is read from the cgroup that a foreign runtime has made.

use std::io;
use std::path::{Path, PathBuf};

const ROOT: &str = "/sys/fs/cgroup";

/// The directories of a container: one on v2, on v1 that of one controller which every runtime uses.
fn directory(controller: &str, path: &str) -> PathBuf {
    let root = Path::new(ROOT);
    let root = if root.join("cgroup.controllers").exists() { root.to_owned() } else { root.join(controller) };
    root.join(path.trim_start_matches('/'))
}

/// The PIDs of everything in the cgroup and below it; none when it is gone.
pub(super) fn processes(path: &str) -> io::Result<Vec<i32>> {
    let mut pids = Vec::new();
    // Without a path there is no cgroup of the container's own, and the root's processes are not its.
    if !path.trim_matches('/').is_empty() {
        collect(&directory("devices", path), &mut pids)?;
    }
    Ok(pids)
}

fn collect(directory: &Path, pids: &mut Vec<i32>) -> io::Result<()> {
    let text = match std::fs::read_to_string(directory.join("cgroup.procs")) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(19) => return Ok(()),
        Err(error) => return Err(error),
    };
    pids.extend(text.lines().filter_map(|line| line.parse::<i32>().ok()).filter(|pid| *pid > 0));
    let Ok(entries) = std::fs::read_dir(directory) else { return Ok(()) };
    for entry in entries.flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            collect(&entry.path(), pids)?;
        }
    }
    Ok(())
}

/// How many processes the kernel has killed in it for want of memory.
pub(super) fn oom_kills(path: &str) -> u64 {
    let directory = directory("memory", path);
    let text = std::fs::read_to_string(directory.join("memory.events"))
        .or_else(|_| std::fs::read_to_string(directory.join("memory.oom_control")))
        .unwrap_or_default();
    text.lines().find_map(|line| line.strip_prefix("oom_kill ")?.trim().parse().ok()).unwrap_or(0)
}
