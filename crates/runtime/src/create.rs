//! The parent's part of making a container.

use crate::cgroup::{Cgroup, Place};
use crate::hooks::{self, Told};
use crate::namespaces::Namespaces;
use crate::notify::Notified;
use crate::plan::{Manner, Plan};
use crate::seccomp::Filter;
use crate::sync::{self, Order, Report, Socket};
use crate::{Failure, FailureKind, cgroups, identity, idmap, init, mount, netdev};
use oci::runtime::{Hooks, Linux, Mount, Resources, Spec};
use rustix::io::Errno;
use rustix::process::{WaitId, WaitIdOptions};
use rustix::thread::CpuSet;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use sys::clone::{Cloned, flags as ns};
use sys::mount::{MountAttr, attr};

/// What clients search for in front of every failure of a container's start.
const CREATE_FAILED: &str = "OCI runtime create failed: unable to start container process: ";

/// The standard streams of a process; what is `None` is the null device. With a terminal they are not used.
#[derive(Debug, Default)]
pub struct Stdio {
    /// Descriptor 0.
    pub stdin: Option<OwnedFd>,
    /// Descriptor 1.
    pub stdout: Option<OwnedFd>,
    /// Descriptor 2.
    pub stderr: Option<OwnedFd>,
}

/// A container to be made.
#[derive(Debug)]
pub struct Create<'a> {
    /// Its ID.
    pub id: &'a str,
    /// Its configuration.
    pub spec: &'a Spec,
    /// The root file system, mounted in the container's own mount namespace; otherwise a bind of `root.path`.
    pub rootfs: Option<&'a Mount>,
    /// Where relative paths of `rootfs` and of `root.path` start.
    pub rootfs_base: &'a Path,
    /// Where its cgroup is to be.
    pub cgroup: &'a Place,
    /// Its standard streams.
    pub stdio: Stdio,
    /// The network namespace to join, in place of the configuration's.
    pub netns: Option<BorrowedFd<'a>>,
    /// A sysfs that shows the devices of `netns`, mounted nowhere, for the first mount of one.
    pub sysfs: Option<BorrowedFd<'a>>,
    /// A mount namespace without the host's mounts ([`sys::bare`]), to make the container's of where that will do: what is not
    /// copied need not be taken away.
    pub bare: Option<BorrowedFd<'a>>,
    /// The program that is PID 1 and has the command as its child, if there is to be one.
    pub init: Option<BorrowedFd<'a>>,
    /// The container is to outlive the calling process.
    pub detached: Option<Detached>,
}

/// What a process has that outlives its maker, as those do that the command line of an OCI runtime starts.
#[derive(Debug, Default)]
pub struct Detached {
    /// Of a container: the listening socket on which it waits for its start.
    pub gate: Option<OwnedFd>,
    /// Descriptors from 3 on, in this order and without a gap, that the command gets too.
    pub preserved: Vec<OwnedFd>,
    /// It keeps the caller's session keyring.
    pub keeps_keyring: bool,
    /// The root file system is entered by chroot(2): it lies on the initial ramdisk.
    pub no_pivot: bool,
}

/// A container whose process waits for the go. Dropped, it is gone.
pub struct Created {
    attempt: Attempt,
    socket: Socket,
    ready: bool,
    namespaces: u64,
    keyring_id: String,
    filter: Option<Filter>,
    manner: Manner,
    notified: Option<Notified>,
    hooks: Option<Box<(Hooks, Told)>>,
}

/// A container whose process waits for its start by itself. Dropped, it waits on.
pub struct Parked {
    /// Its first process, as the caller's pid namespace numbers it; not yet waited for.
    pub pid: i32,
    /// The same.
    pub pidfd: OwnedFd,
}

/// A running container. Dropped, it runs on.
pub struct Running {
    /// Its first process, as the caller's pid namespace numbers it; not yet waited for.
    pub pid: i32,
    /// The same.
    pub pidfd: OwnedFd,
    /// The master of its pty, if it has a terminal.
    pub terminal: Option<OwnedFd>,
    /// Its cgroup.
    pub cgroup: Cgroup,
    /// `CLONE_NEW*` of every namespace that is not the host's.
    pub namespaces: u64,
    /// Its ID.
    pub id: String,
    /// Its filter, which whatever joins it gets too.
    pub(crate) filter: Option<Filter>,
    pub(crate) manner: Manner,
}

/// A process that is killed and reaped, and a cgroup that is removed, unless all goes well.
pub(crate) struct Attempt {
    pub(crate) pid: i32,
    pub(crate) pidfd: Option<OwnedFd>,
    pub(crate) cgroup: Option<Cgroup>,
    pub(crate) terminal: Option<OwnedFd>,
}

impl Drop for Attempt {
    fn drop(&mut self) {
        if let Some(pidfd) = &self.pidfd {
            end(pidfd.as_fd());
        }
        if let Some(cgroup) = &self.cgroup {
            // The failure that led here is what the caller hears of.
            let _ = cgroup.remove();
        }
    }
}

/// Kills and reaps.
pub(crate) fn end(pidfd: BorrowedFd) {
    let _ = sys::process::pidfd_send_signal(pidfd, libc::SIGKILL);
    let _ = rustix::io::retry_on_intr(|| rustix::process::waitid(WaitId::PidFd(pidfd), WaitIdOptions::EXITED));
}

/// Kills, and reaps what dies of it at once. What waits in the kernel for a dead file system dies when that lets it go.
pub(crate) fn end_soon(pidfd: BorrowedFd) {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let _ = sys::process::pidfd_send_signal(pidfd, libc::SIGKILL);
    let second = Timespec { tv_sec: 1, tv_nsec: 0 };
    let _ = rustix::io::retry_on_intr(|| poll(&mut [PollFd::from_borrowed_fd(pidfd, PollFlags::IN)], Some(&second)));
    let _ = rustix::process::waitid(WaitId::PidFd(pidfd), WaitIdOptions::EXITED | WaitIdOptions::NOHANG);
}

/// Makes a container up to the point where only the execve of its command is left.
///
/// # Errors
/// `CommandNotFound`, `NotExecutable`, `Invalid` for what the configuration cannot have, `System` for what the kernel
/// refused. Nothing is left behind. The calling process must have one thread.
pub fn create(create: Create) -> Result<Created, Failure> {
    let mut created = begin(create)?;
    created.wait().map_err(create_failed)?;
    Ok(created)
}

/// As [`create`], but returns while the process is still mounting: there is time to do something else meanwhile.
///
/// # Errors
/// As [`create`]; what the process itself meets comes from [`Created::start`].
pub fn begin(create: Create) -> Result<Created, Failure> {
    make(create).map_err(create_failed)
}

/// As those that [`create`] returns.
pub fn create_failed(failure: Failure) -> Failure {
    prefixed(CREATE_FAILED, failure)
}

fn make(create: Create) -> Result<Created, Failure> {
    let mut plan = Plan::new(&create)?;
    plan.sources = idmap::open_sources(&plan)?;
    let init = create.init.map(read_only).transpose()?;
    let none = Resources::default();
    let resources = create.spec.linux.as_ref().and_then(|l| l.resources.as_ref()).unwrap_or(&none);
    let place = create.cgroup;

    let (socket, theirs) = sync::pair()?;
    let mut attempt = Attempt { pid: 0, pidfd: None, cgroup: None, terminal: None };
    // On v2 the child is born in its cgroup. On v1 it is moved, and the moving is slow: meanwhile the child mounts. systemd
    // makes a scope only with a process in it: that is the child, which makes its cgroup namespace when it is there, and
    // is held back until then.
    if unified() && !place.is_scope() {
        attempt.cgroup = Some(own_cgroup(create.spec, place, resources)?);
    }
    let user = plan.namespaces.user_before();
    // Root of another user namespace has no rights over the cgroup.
    let born_in = attempt.cgroup.as_ref().and_then(Cgroup::v2_fd).filter(|_| user.is_none());
    let born = born_in.is_some();
    let pid_namespace = plan.namespaces.join_pid.as_ref().map(AsFd::as_fd);
    let later = if plan.bare.is_some() { ns::NEWNS } else { 0 };
    let cloned = match user {
        None => clone_into(plan.namespaces.new & !later, ns::NEWPID, pid_namespace, born_in)?,
        Some(user) => clone_by_another(user, &plan.namespaces, pid_namespace)?,
    };
    match cloned {
        Cloned::Child => {
            drop(socket);
            init::run(&plan, &theirs, create.stdio, init, create.detached.as_ref())
        }
        Cloned::Parent { pid, pidfd } => (attempt.pid, attempt.pidfd) = (pid, Some(pidfd)),
    }
    drop(theirs);
    if let Some(linux) = &create.spec.linux {
        netdev::enter(linux, &plan.namespaces, attempt.pid).map_err(|failure| childs_own(&socket, failure))?;
    }
    let served = serve(&plan, &mut attempt, born, &socket, &create, resources);
    served.map_err(|failure| childs_own(&socket, failure))?;
    let hooks = plan.hooks.take().filter(|_| plan.runs_hooks);
    Ok(Created {
        attempt,
        socket,
        ready: false,
        namespaces: plan.namespaces.own(),
        keyring_id: create.id.into(),
        filter: plan.process.seccomp.take(),
        manner: std::mem::take(&mut plan.manner),
        notified: plan.process.notified.take(),
        hooks,
    })
}

/// A read-only view of the in-container init: through `/proc/1/exe` nobody can write to the host's file.
///
/// # Errors
/// `System` without the rights to make a mount.
pub fn read_only(file: BorrowedFd) -> Result<OwnedFd, Failure> {
    use rustix::fs::StatVfsMountFlags;
    let clone = || -> Result<OwnedFd, Errno> {
        // What the engine gives is one already; of a mount without a place older kernels make no other.
        if rustix::fs::fstatvfs(file)?.f_flag.contains(StatVfsMountFlags::RDONLY | StatVfsMountFlags::NOSUID) {
            return rustix::io::fcntl_dupfd_cloexec(file, 3);
        }
        let tree = mount::clone_tree(file, b"", false)?;
        let set = attr::RDONLY | attr::NOSUID | attr::NODEV;
        sys::mount_setattr(tree.as_fd(), c"", false, &MountAttr { set, ..MountAttr::default() })?;
        Ok(tree)
    };
    clone().map_err(|e| Failure::system("init", "clone the init program", e))
}

/// What the child needs from outside: its maps, its cgroup, its score.
fn serve(
    plan: &Plan,
    attempt: &mut Attempt,
    born: bool,
    socket: &Socket,
    create: &Create,
    resources: &Resources,
) -> Result<(), Failure> {
    if let Some((uids, gids)) = &plan.namespaces.maps {
        for (file, lines) in [("uid_map", uids), ("gid_map", gids)] {
            write_map(attempt.pid, file, lines, plan.rootless)
                .map_err(|e| Failure::system("user namespace", &format!("write {file}"), e))?;
        }
        socket.order(&Order::Mapped)?;
    }
    let cgroup = match attempt.cgroup.take() {
        Some(cgroup) => {
            if !born && let Err(failure) = cgroup.join(attempt.pid) {
                attempt.cgroup = Some(cgroup);
                return Err(failure);
            }
            cgroup
        }
        None => {
            let place = create.cgroup;
            let made = match place.is_scope() {
                true => place.make_with(attempt.pid, resources)?,
                false => own_cgroup(create.spec, place, resources)?,
            };
            let cgroup = attempt.cgroup.insert(made);
            cgroup.join(attempt.pid)?;
            if place.is_scope() {
                cgroup.set_up(resources)?;
            }
            attempt.cgroup.take().ok_or_else(|| Failure::system("cgroup", "make the cgroup", Errno::IO))?
        }
    };
    let mut views = cgroup.views();
    if plan.bare.is_some() && plan.mounts.iter().any(|(mount, _)| mount::shows_cgroup(mount)) {
        views.iter_mut().try_for_each(cgroups::open)?;
    }
    attempt.cgroup = Some(cgroup);
    reset_affinity(attempt.pid);
    adjust_score(attempt.pid, plan.process.oom_score_adj)?;
    socket.order(&Order::Joined(views))
}

/// The container's cgroup. Who is not root and asks for no limits may be refused one: then there is none.
fn own_cgroup(spec: &Spec, place: &Place, resources: &Resources) -> Result<Cgroup, Failure> {
    let denied = |failure: &Failure| {
        [Errno::ACCESS, Errno::PERM, Errno::ROFS].iter().any(|errno| errno.raw_os_error() == failure.errno)
    };
    let asked = spec.linux.as_ref().is_some_and(|linux| !linux.cgroups_path.is_empty());
    let limits = Resources { devices: Vec::new(), ..resources.clone() } != Resources::default();
    match place.make(resources) {
        Err(failure) if rootless() && !asked && !limits && denied(&failure) => Ok(Cgroup::none(place.path())),
        other => other,
    }
}

/// Whether this process is an ordinary user's.
pub(crate) fn rootless() -> bool {
    !rustix::process::geteuid().is_root()
}

/// Writes a map of a user namespace. An ordinary user may map itself alone, and only after having given up setgroups(2); the
/// programs that the administrator has given the right to may do more.
fn write_map(pid: i32, file: &str, lines: &str, rootless: bool) -> Result<(), Errno> {
    if !rootless {
        return write_proc(pid, file, lines);
    }
    let program = file.replace("id_map", "idmap");
    let words: Vec<String> =
        std::iter::once(pid.to_string()).chain(lines.split_whitespace().map(str::to_owned)).collect();
    if lines.lines().count() > 1 {
        let status = std::process::Command::new(format!("new{program}")).args(words).status();
        return if status.is_ok_and(|status| status.success()) { Ok(()) } else { Err(Errno::PERM) };
    }
    if file == "gid_map" {
        write_proc(pid, "setgroups", "deny")?;
    }
    write_proc(pid, file, lines)
}

/// Lets a process run on every CPU of its cgroup: what its maker was bound to it would otherwise inherit.
pub(crate) fn reset_affinity(pid: i32) {
    let mut all = CpuSet::new();
    (0..CpuSet::MAX_CPU).for_each(|cpu| all.set(cpu));
    // Where it may not, it runs where its maker does.
    let _ = rustix::thread::sched_setaffinity(rustix::process::Pid::from_raw(pid), &all);
}

/// Writes `oom_score_adj`, which only root of the host may lower; where it may not either, the score stays, as in runc.
pub(crate) fn adjust_score(pid: i32, score: Option<i32>) -> Result<(), Failure> {
    let Some(score) = score else { return Ok(()) };
    match write_proc(pid, "oom_score_adj", &score.to_string()) {
        Ok(()) | Err(Errno::ACCESS | Errno::PERM) => Ok(()),
        Err(e) => Err(Failure::system("oomScoreAdj", &format!("write oom_score_adj {score}"), e)),
    }
}

pub(crate) fn write_proc(pid: i32, file: &str, text: &str) -> Result<(), Errno> {
    use rustix::fs::{Mode, OFlags};
    let path = format!("/proc/{pid}/{file}");
    let file = rustix::fs::open(path, OFlags::WRONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW, Mode::empty())?;
    rustix::io::write(&file, text.as_bytes()).map(|_| ())
}

/// Whether the host has cgroup v2 and nothing else.
pub(crate) fn unified() -> bool {
    const CGROUP2_MAGIC: u64 = 0x6367_7270;
    rustix::fs::statfs("/sys/fs/cgroup").is_ok_and(|fs| fs.f_type as u64 == CGROUP2_MAGIC)
}

/// clone3, with the child in the pid namespace of `of` (a namespace or a process), where there is one.
pub(crate) fn clone_into(
    new: u64,
    kind: u64,
    of: Option<BorrowedFd>,
    cgroup: Option<BorrowedFd>,
) -> Result<Cloned, Failure> {
    use rustix::fs::{Mode, OFlags};
    let failed = |what: &'static str| move |e| Failure::system("start", what, e);
    let Some(of) = of else { return sys::clone3(new, cgroup).map_err(failed("clone3")) };
    // Joining changes only where later children go; this process stays, and afterwards its children do too.
    let own = rustix::fs::open("/proc/self/ns/pid", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
        .map_err(failed("open the pid namespace"))?;
    sys::setns(of, kind).map_err(failed("join the pid namespace"))?;
    let cloned = sys::clone3(new, cgroup).map_err(failed("clone3"));
    if !matches!(cloned, Ok(Cloned::Child)) {
        sys::setns(own.as_fd(), kind).map_err(failed("return to the pid namespace"))?;
    }
    cloned
}

/// clone3 for a child that is to make namespaces which belong to another user namespace than this process's, `user`. Another
/// process joins that, as this one could not come back from it, and makes the child as a sibling of its own.
pub(crate) fn clone_by_another(
    user: BorrowedFd,
    namespaces: &Namespaces,
    pid_namespace: Option<BorrowedFd>,
) -> Result<Cloned, Failure> {
    let (ours, theirs) = sync::pair()?;
    match sys::clone3(0, None).map_err(|e| Failure::system("start", "clone3", e))? {
        Cloned::Parent { pidfd, .. } => {
            drop(theirs);
            let made = ours.await_report();
            let _ = rustix::io::retry_on_intr(|| {
                rustix::process::waitid(WaitId::PidFd(pidfd.as_fd()), WaitIdOptions::EXITED)
            });
            match made? {
                Report::Made(pid, pidfd) => Ok(Cloned::Parent { pid, pidfd }),
                Report::Failed(failure) => Err(failure),
                _ => Err(died()),
            }
        }
        Cloned::Child => {
            drop(ours);
            let make = || -> Result<Cloned, Failure> {
                let failed = |what: &'static str| move |e| Failure::system("namespaces", what, e);
                let join_pid = || match pid_namespace {
                    Some(fd) => sys::setns(fd, ns::NEWPID).map_err(failed("join the pid namespace")),
                    None => Ok(()),
                };
                // The host's root may join any; an ordinary user must be root of the one that it belongs to.
                let ordinary = rootless();
                if !ordinary {
                    join_pid()?;
                    namespaces.join_as_host()?;
                }
                sys::setns(user, ns::NEWUSER).map_err(failed("join the user namespace"))?;
                identity::become_root()?;
                if ordinary {
                    join_pid()?;
                }
                sys::clone3(namespaces.new | ns::PARENT, None).map_err(failed("clone3"))
            };
            let report = match make() {
                Ok(Cloned::Child) => return Ok(Cloned::Child),
                Ok(Cloned::Parent { pid, pidfd }) => Report::Made(pid, pidfd),
                Err(failure) => Report::Failed(failure),
            };
            let _ = theirs.report(&report);
            sys::process::exit_now(0)
        }
    }
}

/// The child's own failure, if it has one to tell: it is the cause, and `ours` that we found it dead.
pub(crate) fn childs_own(socket: &Socket, ours: Failure) -> Failure {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let mut fds = [PollFd::from_borrowed_fd(socket.as_fd(), PollFlags::IN)];
    while poll(&mut fds, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })).is_ok_and(|n| n > 0) {
        match socket.await_report() {
            Ok(Report::Failed(failure)) => return in_init(failure),
            Ok(Report::Closed) | Err(_) => break,
            Ok(_) => continue,
        }
    }
    ours
}

fn in_init(failure: Failure) -> Failure {
    prefixed("error during container init: ", failure)
}

pub(crate) fn prefixed(prefix: &str, failure: Failure) -> Failure {
    Failure { text: format!("{prefix}{}", failure.text), ..failure }
}

/// Follows the child until it lacks only the go. `mounted` runs the hooks of the runtime's namespaces.
pub(crate) fn await_ready(
    socket: &Socket,
    terminal: &mut Option<OwnedFd>,
    mounted: impl Fn() -> Result<(), Failure>,
) -> Result<(), Failure> {
    loop {
        match socket.await_report()? {
            Report::Terminal(master) => *terminal = Some(master),
            Report::Mounted => {
                mounted()?;
                socket.order(&Order::Hooked)?;
            }
            Report::Ready => return Ok(()),
            Report::Failed(failure) => return Err(in_init(failure)),
            _ => return Err(died()),
        }
    }
}

/// Follows the child, which has got its go, until it has executed its command.
pub(crate) fn await_exec(socket: &Socket, pid: i32, notified: Option<&Notified>) -> Result<(), Failure> {
    loop {
        match (socket.await_report()?, notified) {
            (Report::Closed, _) => return Ok(()),
            (Report::Failed(failure), _) => return Err(in_init(failure)),
            (Report::Listener(listener), Some(notified)) => notified.hand_over(listener, pid)?,
            _ => return Err(died()),
        }
    }
}

fn died() -> Failure {
    Failure {
        stage: "start".into(),
        kind: FailureKind::System,
        errno: 0,
        text: "the container's process ended before its command was executed".into(),
    }
}

impl Created {
    /// Its process, as the caller's pid namespace numbers it.
    pub fn pid(&self) -> i32 {
        self.attempt.pid
    }

    /// Its cgroup.
    pub fn cgroup(&self) -> Option<&Cgroup> {
        self.attempt.cgroup.as_ref()
    }

    /// `CLONE_NEW*` of every namespace that is not the host's.
    pub fn namespaces(&self) -> u64 {
        self.namespaces
    }

    /// Waits until only the go is missing, running the hooks that are due before, and gives the master of its pty away, if
    /// it has a terminal.
    ///
    /// # Errors
    /// As [`create`]; nothing is left behind when this is dropped.
    pub fn ready(&mut self) -> Result<Option<OwnedFd>, Failure> {
        self.wait().map_err(create_failed)?;
        Ok(self.attempt.terminal.take())
    }

    fn wait(&mut self) -> Result<(), Failure> {
        if !self.ready {
            let (hooks, pid) = (&self.hooks, self.attempt.pid);
            let mounted = || {
                let Some((hooks, told)) = hooks.as_deref() else { return Ok(()) };
                // The old kind was made when there was no "creating".
                hooks::run("prestart", &hooks.prestart, &told.state("created", Some(pid)))?;
                hooks::run("createRuntime", &hooks.create_runtime, &told.state("creating", Some(pid)))
            };
            await_ready(&self.socket, &mut self.attempt.terminal, mounted)?;
            self.ready = true;
        }
        Ok(())
    }

    /// Lets it wait for its start without this process, on the gate that it was made with.
    ///
    /// # Errors
    /// As [`create`]; nothing is left behind.
    pub fn park(mut self) -> Result<Parked, Failure> {
        let mut park = || {
            self.wait()?;
            self.socket.order(&Order::Park)?;
            loop {
                match (self.socket.await_report()?, &self.notified) {
                    (Report::Parked, _) => return Ok(()),
                    (Report::Failed(failure), _) => return Err(in_init(failure)),
                    (Report::Listener(listener), Some(notified)) => notified.hand_over(listener, self.attempt.pid)?,
                    _ => return Err(died()),
                }
            }
        };
        park().map_err(create_failed)?;
        let pidfd = self.attempt.pidfd.take().ok_or_else(|| create_failed(died()))?;
        self.attempt.cgroup = None;
        Ok(Parked { pid: self.attempt.pid, pidfd })
    }

    /// Lets it execute its command, and returns when it has.
    ///
    /// # Errors
    /// As [`create`]; nothing is left behind.
    pub fn start(mut self) -> Result<Running, Failure> {
        // Given before it is asked for, the go costs no turn of its own.
        let sent = self.socket.order(&Order::Go);
        sent.and_then(|()| self.wait())
            .and_then(|()| await_exec(&self.socket, self.attempt.pid, self.notified.as_ref()))
            .map_err(create_failed)?;
        let gone = || create_failed(died());
        let cgroup = self.attempt.cgroup.take().ok_or_else(gone)?;
        let pidfd = self.attempt.pidfd.take().ok_or_else(gone)?;
        Ok(Running {
            pid: self.attempt.pid,
            pidfd,
            terminal: self.attempt.terminal.take(),
            cgroup,
            namespaces: self.namespaces,
            id: std::mem::take(&mut self.keyring_id),
            filter: self.filter.take(),
            manner: std::mem::take(&mut self.manner),
        })
    }
}

/// Lets a parked process `pid` execute its command, and returns when it has; `gate` is a connection to the socket on which
/// it waits.
///
/// # Errors
/// As [`create`]; the process has then ended by itself or is about to.
pub fn release(gate: OwnedFd, pid: i32, notified: Option<&Notified>) -> Result<(), Failure> {
    let socket = Socket(gate);
    let released = socket.order(&Order::Go).and_then(|()| await_exec(&socket, pid, notified));
    released.map_err(|failure| prefixed("unable to start container process: ", failure))
}

impl Running {
    /// A container that another process has started: `pid` and its `pidfd`, its namespaces as [`Created::namespaces`] gave
    /// them. What joins it takes on the personality and the memory policy of `linux`.
    ///
    /// # Errors
    /// `Invalid` when those cannot be.
    pub fn attach(
        id: &str,
        (pid, pidfd): (i32, OwnedFd),
        namespaces: u64,
        cgroup: Cgroup,
        linux: Option<&Linux>,
    ) -> Result<Running, Failure> {
        let manner = linux.map(Manner::new).transpose()?.unwrap_or_default();
        Ok(Running { pid, pidfd, terminal: None, cgroup, namespaces, id: id.into(), filter: None, manner })
    }
}
