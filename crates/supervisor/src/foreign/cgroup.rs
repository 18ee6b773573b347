//! What is read from the cgroup that a foreign runtime has made.

use crate::serve::OomAlarm;
use rustix::event::{EventfdFlags, eventfd};
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
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

/// What tells of the next one.
pub(super) fn oom_alarm(path: &str) -> io::Result<OomAlarm> {
    let directory = directory("memory", path);
    if let Ok(file) = File::open(directory.join("memory.events")) {
        return Ok(OomAlarm::File(file.into()));
    }
    let control = File::open(directory.join("memory.oom_control"))?;
    let event = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
    let pair = format!("{} {}", event.as_raw_fd(), control.as_raw_fd());
    std::fs::write(directory.join("cgroup.event_control"), pair)?;
    Ok(OomAlarm::Event(event))
}
