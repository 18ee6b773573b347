//! One more process in a running container: one clone3, whose child joins the namespaces of the first process.

use crate::cgroup::Cgroup;
use crate::create::{self, Detached, Running, Stdio, prefixed};
use crate::identity::{self, Alone, Place, Ready};
use crate::namespaces::Namespaces;
use crate::plan::Work;
use crate::privileges;
use crate::sync::{self, Order, Socket};
use crate::{Failure, terminal};
use oci::runtime::{Process, Seccomp};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::thread::CpuSet;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;
use sys::clone::{Cloned, flags as ns};
use sys::rootfs;

/// What clients search for in front of every failure of an exec.
const EXEC_FAILED: &str = "OCI runtime exec failed: exec failed: unable to start container process: ";

/// How long a process may take from its birth to its command.
const PATIENCE: Duration = Duration::from_secs(10);

/// A process that was added to a container; not yet waited for.
#[derive(Debug)]
pub struct Executed {
    /// As the caller's pid namespace numbers it.
    pub pid: i32,
    /// The same.
    pub pidfd: OwnedFd,
    /// The master of its pty, if it has a terminal.
    pub terminal: Option<OwnedFd>,
}

/// Runs `process` in the container and returns when it has executed its command.
///
/// # Errors
/// As [`crate::create`]; nothing is left behind. The calling process must have one thread.
pub fn exec(target: &Running, process: &Process, seccomp: Option<&Seccomp>, stdio: Stdio) -> Result<Executed, Failure> {
    run(target, process, seccomp, stdio, None).map_err(|failure| prefixed(EXEC_FAILED, failure))
}

/// As [`exec`], for a process that outlives the calling one.
///
/// # Errors
/// As [`exec`], but without the words that clients expect of an engine.
pub fn exec_detached(
    target: &Running,
    process: &Process,
    seccomp: Option<&Seccomp>,
    stdio: Stdio,
    detached: &Detached,
) -> Result<Executed, Failure> {
    run(target, process, seccomp, stdio, Some(detached))
        .map_err(|failure| prefixed("unable to start container process: ", failure))
}

/// Ends its process unless it was given away.
struct Attempt(Option<OwnedFd>);

impl Drop for Attempt {
    fn drop(&mut self) {
        if let Some(pidfd) = &self.0 {
            create::end_soon(pidfd.as_fd());
        }
    }
}

fn run(
    target: &Running,
    process: &Process,
    seccomp: Option<&Seccomp>,
    stdio: Stdio,
    detached: Option<&Detached>,
) -> Result<Executed, Failure> {
    let mut work = Work::new(&target.id, process, seccomp)?;
    if detached.is_some_and(|detached| detached.keeps_keyring) {
        work.keyring = None;
    }
    if work.seccomp.is_none() {
        work.seccomp.clone_from(&target.filter);
    }
    let (before, after) = affinity(process)?;
    let (socket, theirs) = sync::pair()?;
    if detached.is_none() {
        // The caller has a whole container to look after, which must not wait for a dead file system with one process.
        socket.set_patience(PATIENCE)?;
    }
    let root = outside(target)?;
    let joins_pid = target.namespaces & ns::NEWPID != 0;
    let of = joins_pid.then(|| target.pidfd.as_fd());
    let inside = create::rootless() && target.namespaces & ns::NEWUSER != 0;
    // A CPU set for the time before the cgroup needs such a time, and who makes the process from inside has no rights over it.
    let born_in = target.cgroup.v2_fd().filter(|_| before.is_none() && !inside);
    let cloned = match if inside {
        create::clone_by_another(target.pidfd.as_fd(), &Namespaces::default(), of)
    } else {
        create::clone_into(0, ns::NEWPID, of, born_in)
    } {
        // The container has handed controllers down to cgroups that it made for itself: then a process can be only in one of
        // those. Where the first one is, this one may be too.
        Err(failure) if born_in.is_some() && failure.errno == Errno::BUSY.raw_os_error() => {
            let theirs = Cgroup::of_process(target.pid)?;
            create::clone_into(0, ns::NEWPID, of, theirs.v2_fd())?
        }
        other => other?,
    };
    let (pid, pidfd) = match cloned {
        Cloned::Child => {
            drop(socket);
            child(target, &work, (root, inside), &theirs, stdio, detached)
        }
        Cloned::Parent { pid, pidfd } => (pid, pidfd),
    };
    drop(theirs);
    let mut attempt = Attempt(Some(pidfd));
    let serve = || -> Result<(), Failure> {
        set_affinity(pid, before)?;
        if born_in.is_none() {
            target.cgroup.join(pid)?;
        }
        match after {
            Some(_) => set_affinity(pid, after)?,
            None => create::reset_affinity(pid),
        }
        create::adjust_score(pid, work.oom_score_adj)?;
        socket.order(&Order::Joined(Vec::new()))?;
        socket.order(&Order::Go)
    };
    serve().map_err(|failure| create::childs_own(&socket, failure)).map_err(unwrapped)?;
    let mut terminal = None;
    create::await_ready(&socket, &mut terminal, || Ok(())).map_err(unwrapped)?;
    create::await_exec(&socket, pid, work.notified.as_ref()).map_err(unwrapped)?;
    match attempt.0.take() {
        Some(pidfd) => Ok(Executed { pid, pidfd, terminal }),
        None => Err(Failure::system("start", "exec", Errno::IO)),
    }
}

/// Docker's sentence for an exec has no "container init" in it.
fn unwrapped(failure: Failure) -> Failure {
    let text = failure.text.strip_prefix("error during container init: ").unwrap_or(&failure.text).into();
    Failure { text, ..failure }
}

fn affinity(process: &Process) -> Result<(Option<CpuSet>, Option<CpuSet>), Failure> {
    let Some(affinity) = &process.exec_cpu_affinity else { return Ok((None, None)) };
    let set = |text: &str| -> Result<Option<CpuSet>, Failure> {
        let mut set = CpuSet::new();
        let numbers = privileges::list(text, "execCPUAffinity", CpuSet::MAX_CPU)?;
        numbers.iter().for_each(|number| set.set(*number));
        Ok((!numbers.is_empty()).then_some(set))
    };
    Ok((set(&affinity.initial)?, set(&affinity.r#final)?))
}

fn set_affinity(pid: i32, set: Option<CpuSet>) -> Result<(), Failure> {
    let Some(set) = set else { return Ok(()) };
    rustix::thread::sched_setaffinity(rustix::process::Pid::from_raw(pid), &set)
        .map_err(|e| Failure::system("execCPUAffinity", "sched_setaffinity", e))
}

/// The root of a container that has no mount namespace of its own, which joining its namespaces does not lead to.
fn outside(target: &Running) -> Result<Option<OwnedFd>, Failure> {
    if target.namespaces & ns::NEWNS != 0 {
        return Ok(None);
    }
    let failed = |e| Failure::system("rootfs", "open the container's root", e);
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = rustix::fs::open(format!("/proc/{}/root", target.pid), flags, Mode::empty()).map_err(failed)?;
    // Its number may be another's by now; not as long as the process is there.
    sys::process::pidfd_send_signal(target.pidfd.as_fd(), 0).map_err(failed)?;
    Ok(Some(root))
}

fn child(
    target: &Running,
    work: &Work,
    (root, inside): (Option<OwnedFd>, bool),
    socket: &Socket,
    stdio: Stdio,
    detached: Option<&Detached>,
) -> ! {
    identity::live(socket, || {
        let ready = prepare(target, work, root, inside, socket, stdio)?;
        Err(identity::execute(ready, work, socket, detached.map(Alone::of)))
    })
}

fn prepare(
    target: &Running,
    work: &Work,
    root: Option<OwnedFd>,
    inside: bool,
    socket: &Socket,
    stdio: Stdio,
) -> Result<Ready, Failure> {
    identity::seclude(true)?;
    // All at once, so that the kernel checks the rights for each before it changes any; the root and the working directory
    // become the container's. The pid namespace this process was born in.
    // So it was in the user namespace, when `inside`.
    let join = target.namespaces & !ns::NEWPID & if inside { !ns::NEWUSER } else { !0 };
    if join != 0 {
        sys::setns(target.pidfd.as_fd(), join)
            .map_err(|e| Failure::system("namespaces", "join the container's namespaces", e))?;
    }
    if let Some(root) = root {
        rustix::process::fchdir(&root)
            .and_then(|()| rustix::process::chroot("."))
            .map_err(|e| Failure::system("rootfs", "enter the container's root", e))?;
    }
    let in_userns = target.namespaces & ns::NEWUSER != 0;
    if in_userns && !inside {
        identity::become_root()?;
    }
    target.manner.adopt()?;
    let root =
        rootfs::open_root("/".as_ref()).map_err(|e| Failure::system("rootfs", "open the container's root", e))?;
    let root = root.as_fd();
    let terminal = work.terminal.map(|size| terminal::open(root, size, socket)).transpose()?;
    let cwd = rootfs::resolve(root, work.cwd.as_bytes(), OFlags::PATH | OFlags::DIRECTORY)
        .map_err(|e| identity::chdir_failed(&work.cwd, e))?;
    // Not a step further until the limits hold for it.
    match socket.await_order()? {
        Order::Joined(_) => {}
        _ => return Err(Failure::system("start", "wait for the cgroup", Errno::PROTO)),
    }
    identity::take_on(work, Place { root, cwd, terminal, in_userns }, stdio, None)
}
