//! Paths of the host that a user has named. Behind them may be a file system that has stopped answering, and a thread that
//! asks it waits where no signal reaches it: with such a thread the engine could not even be ended. So the engine itself
//! looks only at what the kernel knows without asking; everything else a process of its own finds out, which is left
//! behind when it does not come back.

use crate::error::{Error, Result};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, openat2};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use std::io::Read;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// How long a file system may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// Whether something is at `path`; `init` is the program that looks.
///
/// # Errors
/// When that cannot be said, or not in time.
pub(crate) fn exists(init: &Path, path: &str) -> Result<bool> {
    match known(path) {
        Some(there) => Ok(there),
        None => ask(init, path, false, PATIENCE),
    }
}

/// Makes the directory `path` and those above it, if nothing is there.
///
/// # Errors
/// As [`exists`].
pub(crate) fn ensure(init: &Path, path: &str) -> Result<()> {
    match known(path) {
        Some(true) => Ok(()),
        _ => ask(init, path, true, PATIENCE).map(drop),
    }
}

/// What the kernel says without asking a file system.
fn known(path: &str) -> Option<bool> {
    match openat2(CWD, path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty(), ResolveFlags::CACHED) {
        Ok(_) => Some(true),
        Err(Errno::NOENT) => Some(false),
        Err(_) => None,
    }
}

fn ask(init: &Path, path: &str, make: bool, patience: Duration) -> Result<bool> {
    let wrong = |e: std::io::Error| Error::System(format!("starting the process that looks at {path}: {e}"));
    let mut command = Command::new(init);
    command.arg("look").args(make.then_some("--make")).arg("--").arg(path).env_clear();
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().map_err(wrong)?;
    if !ends_within(&child, patience) {
        leave(child);
        return Err(Error::System(format!(
            "bind source path {path}: its file system has not answered for {patience:?}"
        )));
    }
    let mut text = String::new();
    // What it has to say fits a pipe.
    let _ = child.stdout.take().map(|mut out| out.read_to_string(&mut text));
    match child.wait().map_err(wrong)?.code() {
        Some(0) => Ok(true),
        Some(2) => Ok(false),
        _ if text.is_empty() => Err(Error::System(format!("the process that looks at {path} has died"))),
        _ => Err(Error::System(text)),
    }
}

fn ends_within(child: &Child, patience: Duration) -> bool {
    // Without a descriptor for it there is only the wait itself.
    let Ok(pidfd) = pidfd_open(Pid::from_child(child), PidfdFlags::empty()) else { return true };
    let time = Timespec { tv_sec: patience.as_secs() as i64, tv_nsec: patience.subsec_nanos().into() };
    loop {
        match poll(&mut [PollFd::new(&pidfd, PollFlags::IN)], Some(&time)) {
            Err(Errno::INTR) => {}
            Ok(ready) => return ready > 0,
            Err(_) => return true,
        }
    }
}

/// Kills it and collects it whenever the kernel lets it go.
fn leave(mut child: Child) {
    let _ = child.kill();
    let _ = std::thread::Builder::new().name("left".into()).stack_size(64 << 10).spawn(move || child.wait());
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    /// A program in the place of `dhow-init`.
    fn program(script: &str) -> (tempdir::Dir, std::path::PathBuf) {
        let dir = tempdir::Dir::new();
        let path = dir.0.join("init");
        std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        (dir, path)
    }

    mod tempdir {
        pub struct Dir(pub std::path::PathBuf);

        impl Dir {
            pub fn new() -> Dir {
                static COUNT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
                let count = COUNT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                let path = std::env::temp_dir().join(format!("dhow-outside-{}-{count}", std::process::id()));
                std::fs::create_dir_all(&path).unwrap();
                Dir(path)
            }
        }

        impl Drop for Dir {
            fn drop(&mut self) {
                let _ = std::fs::remove_dir_all(&self.0);
            }
        }
    }

    #[test]
    fn what_is_known_costs_no_process() {
        let nobody = Path::new("/nonexistent/init");
        std::fs::metadata("/proc/self").unwrap();
        assert!(exists(nobody, "/").unwrap());
        assert!(matches!(ensure(nobody, "/"), Ok(())));
    }

    #[test]
    fn answers_are_understood() {
        let (_dir, init) = program(
            "case $4$3 in */there) exit 0;; */missing) exit 2;; */sick) echo -n 'stat: I/O error'; exit 1;; esac; kill -9 $$",
        );
        let ask = |path: &str| ask(&init, path, false, PATIENCE).map_err(|e| e.to_string());
        assert_eq!(ask("/there"), Ok(true));
        assert_eq!(ask("/missing"), Ok(false));
        assert_eq!(ask("/sick"), Err("stat: I/O error".into()));
        assert_eq!(ask("/dead"), Err("the process that looks at /dead has died".into()));
    }

    #[test]
    fn one_that_does_not_come_back_is_left() {
        let (_dir, init) = program("exec sleep 1000");
        let error = ask(&init, "/x", true, Duration::from_millis(20)).unwrap_err().to_string();
        assert_eq!(error, "bind source path /x: its file system has not answered for 20ms");
    }
}
