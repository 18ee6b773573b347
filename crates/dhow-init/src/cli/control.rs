//! kill, delete, pause, resume.

use super::options::Given;
use super::state::{Container, GONE, Lock, Status, remove_dir};
use super::{Error, Global, Result};
use oci::runtime::Spec;
use runtime::hooks;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

const SIGKILL: i32 = rustix::process::Signal::KILL.as_raw();
const SIGTERM: i32 = rustix::process::Signal::TERM.as_raw();
const NEWPID: u64 = sys::clone::flags::NEWPID;
/// How long a killed process may take to end.
const PATIENCE: Timespec = Timespec { tv_sec: 10, tv_nsec: 0 };
/// How long a process may take that was told to end just before, when nobody said that it is to be ended.
const MOMENT: Timespec = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };

/// How long a command that makes a container may still be at it when the container is deleted by force.
const GRACE: Duration = Duration::from_secs(1);

/// The names of signals 1 to 31, in order.
const SIGNALS: [&str; 31] = [
    "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2", "PIPE", "ALRM", "TERM",
    "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG", "XCPU", "XFSZ", "VTALRM", "PROF", "WINCH", "IO",
    "PWR", "SYS",
];

fn signal(text: &str) -> Result<i32> {
    if let Ok(number) = text.parse::<i32>() {
        return Ok(number);
    }
    let upper = text.to_uppercase();
    let bare = upper.strip_prefix("SIG").unwrap_or(&upper);
    let others = [("IOT", 6), ("CLD", 17), ("POLL", 29), ("RTMIN", 34), ("RTMAX", 64)];
    let real_time = |bare: &str| {
        let (low, high) = (bare.strip_prefix("RTMIN+"), bare.strip_prefix("RTMAX-"));
        let low = low.and_then(|n| n.parse::<i32>().ok()).map(|n| 34 + n);
        low.or_else(|| high.and_then(|n| n.parse::<i32>().ok()).map(|n| 64 - n)).filter(|n| (34..=64).contains(n))
    };
    SIGNALS
        .iter()
        .position(|name| *name == bare)
        .map(|at| at as i32 + 1)
        .or_else(|| others.iter().find(|(name, _)| *name == bare).map(|(_, number)| *number))
        .or_else(|| real_time(bare))
        .ok_or_else(|| Error(format!("unknown signal {text:?}")))
}

/// `kill`
pub fn kill(global: &Global, given: &Given) -> Result<i32> {
    let container = Container::load(global, given.id()?)?;
    let signal = given.arguments.get(1).filter(|s| !s.is_empty()).map_or(Ok(SIGTERM), |text| signal(text))?;
    let cgroup = container.cgroup();
    let all = given.is("all");
    // Without a pid namespace the others do not end with the first.
    let together = all || (signal == SIGKILL && container.saved.namespaces & NEWPID == 0);
    let mut others = false;
    if together && let Some(cgroup) = &cgroup {
        others = !cgroup.pids().is_empty();
        if signal == SIGKILL { cgroup.kill_all() } else { cgroup.signal_all(signal) }
    }
    let Some(pidfd) = container.process() else {
        // The first one has gone, and was outlived.
        return if all || others { Ok(0) } else { Error::new("container not running") };
    };
    match sys::process::pidfd_send_signal(pidfd.as_fd(), signal) {
        Ok(()) => {}
        Err(Errno::SRCH) if all || together => {}
        Err(Errno::SRCH) => return Error::new("container not running"),
        Err(e) => return Err(Error::errno("unable to signal init")(e)),
    }
    // On v1 what is frozen does not even end.
    if signal == SIGKILL
        && let Some(cgroup) = cgroup.filter(runtime::cgroup::Cgroup::is_frozen)
    {
        cgroup.resume()?;
    }
    Ok(0)
}

/// Whether the process ends in time.
fn ends(pidfd: BorrowedFd, in_time: &Timespec) -> bool {
    let mut fds = [PollFd::from_borrowed_fd(pidfd, PollFlags::IN)];
    rustix::io::retry_on_intr(|| poll(&mut fds, Some(in_time))).is_ok_and(|n| n > 0)
}

/// `delete`
pub fn delete(global: &Global, given: &Given) -> Result<i32> {
    let (id, force) = (given.id()?, given.is("force"));
    match delete_found(global, id, force) {
        // Somebody else was quicker.
        Err(Error(text)) if text == GONE && force => Ok(0),
        other => other.map(|()| 0),
    }
}

fn delete_found(global: &Global, id: &str, force: bool) -> Result<()> {
    let Some(container) = Container::find(global, id)? else {
        if force {
            // Of one that was only begun there may be a directory.
            remove_dir(&global.root.join(id))?;
        }
        return Error::new(GONE);
    };
    let lock = match container.try_lock()? {
        Some(lock) => lock,
        None if force => interrupt(&container)?,
        None => container.lock()?,
    };
    let Some(container) = Container::find(global, id)? else { return Error::new(GONE) };
    let mut status = container.status(Some(&lock))?;
    // Scripts kill and delete in one breath; slower runtimes find it ended.
    if !force && status == Status::Running && container.process().is_none_or(|pidfd| ends(pidfd.as_fd(), &MOMENT)) {
        status = container.status(Some(&lock))?;
    }
    if !force && !matches!(status, Status::Stopped | Status::Created) {
        return Error::new(format!("cannot delete container {id} that is not stopped: {}", status.name()));
    }
    let spec = container.spec();
    destroy(&container)?;
    container.remove_dir()?;
    spec.map_or(Ok(()), |spec| poststop(&container, &spec))
}

/// The lock of a container that somebody is at: maybe making it, and for ever, in a hook. Without its process that mostly
/// has an end; otherwise the command is ended.
fn interrupt(container: &Container) -> Result<Lock> {
    end(container)?;
    let begin = Instant::now();
    loop {
        if let Some(lock) = container.try_lock()? {
            return Ok(lock);
        }
        match container.maker() {
            Some(maker) if begin.elapsed() > GRACE => {
                let _ = sys::process::pidfd_send_signal(maker.as_fd(), SIGKILL);
                ends(maker.as_fd(), &PATIENCE);
            }
            Some(_) => std::thread::sleep(Duration::from_millis(5)),
            None => return container.lock(),
        }
    }
}

/// Kills every process of the container.
fn end(container: &Container) -> Result<()> {
    let process = container.process();
    if let Some(pidfd) = &process {
        let _ = sys::process::pidfd_send_signal(pidfd.as_fd(), SIGKILL);
    }
    if let Some(cgroup) = container.cgroup() {
        cgroup.kill_all();
    }
    match process {
        Some(pidfd) if !ends(pidfd.as_fd(), &PATIENCE) => Error::new("container init still running"),
        _ => Ok(()),
    }
}

/// Ends the container, and removes everything but its directory.
fn destroy(container: &Container) -> Result<()> {
    end(container)?;
    container.unmount();
    let removed = match container.cgroup() {
        Some(cgroup) => cgroup.remove(),
        None => runtime::cgroup::release(&container.saved.cgroup),
    };
    removed.map_err(|failure| Error(format!("unable to remove container's cgroup: {}", failure.text)))
}

/// As [`destroy`], after a failure that is the one to be told of.
pub fn destroy_quietly(container: &Container) {
    let _ = destroy(container);
}

/// Runs the hooks that follow the end of a container, of which nothing is left by then. As in runc the first that fails is the
/// last, and the command's failure.
fn poststop(container: &Container, spec: &Spec) -> Result<()> {
    let all = spec.hooks.as_ref().map_or(&[][..], |hooks| &hooks.poststop);
    Ok(hooks::run("poststop", all, &container.told().state("stopped", None))?)
}

/// The same for a command that has something else to tell.
pub fn poststop_quietly(global: &Global, container: &Container, spec: &Spec) {
    if let Err(Error(text)) = poststop(container, spec) {
        global.log.warn(&text);
    }
}

/// `pause`
pub fn pause(global: &Global, given: &Given) -> Result<i32> {
    let (container, lock) = Container::load_locked(global, given.id()?)?;
    match container.status(Some(&lock))? {
        Status::Running | Status::Created => cgroup(&container)?.pause()?,
        _ => return Error::new("container not running"),
    }
    Ok(0)
}

/// `resume`
pub fn resume(global: &Global, given: &Given) -> Result<i32> {
    let (container, lock) = Container::load_locked(global, given.id()?)?;
    match container.status(Some(&lock))? {
        Status::Paused => cgroup(&container)?.resume()?,
        _ => return Error::new("container not paused"),
    }
    Ok(0)
}

/// The same; an ordinary user's may have none.
pub fn cgroup_or_none(container: &Container) -> Result<runtime::cgroup::Cgroup> {
    match cgroup(container) {
        Err(_) if !rustix::process::geteuid().is_root() => Ok(runtime::cgroup::Cgroup::none(&container.saved.cgroup)),
        other => other,
    }
}

/// The cgroup that a living container has.
pub fn cgroup(container: &Container) -> Result<runtime::cgroup::Cgroup> {
    container.cgroup().ok_or_else(|| Error("cgroup not exist".into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals() {
        let good = [
            ("9", 9),
            ("KILL", 9),
            ("sigterm", 15),
            ("SIGUSR1", 10),
            ("SYS", 31),
            ("RTMIN+3", 37),
            ("SIGRTMAX-1", 63),
            ("0", 0),
        ];
        for (text, number) in good {
            assert_eq!(signal(text), Ok(number), "{text}");
        }
        for text in ["nosuch", "SIG", "RTMIN+99", "1x"] {
            assert_eq!(signal(text), Error::new(format!("unknown signal {text:?}")));
        }
    }
}
