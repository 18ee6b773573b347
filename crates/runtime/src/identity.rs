//! The last part of a process's life before execve, the same for a container's first process and for an exec: it is in its
//! namespaces and in its root already, and now becomes who it is to be.

use crate::hooks::Told;
use crate::plan::Work;
use crate::privileges::SYS_ADMIN;
use crate::sync::{Order, Report, Socket};
use crate::{Detached, Failure, Stdio, command, dev, gate, hooks};
use oci::runtime::Hook;
use rustix::fs::{FileType, Gid, Mode, OFlags, Uid, makedev};
use rustix::io::Errno;
use std::convert::Infallible;
use std::ffi::CString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use sys::caps::{self, Sets};
use sys::process::Command;
use sys::rootfs;

/// The largest `/etc/passwd` that is read for a home directory.
const MAX_PASSWD: usize = 1 << 20;

/// Where the process is.
pub(crate) struct Place<'a> {
    /// Its root.
    pub root: BorrowedFd<'a>,
    /// Its working directory, not yet entered.
    pub cwd: OwnedFd,
    /// Its terminal.
    pub terminal: Option<OwnedFd>,
    /// It is root only in a user namespace.
    pub in_userns: bool,
}

/// A process that lacks nothing but execve.
pub(crate) struct Ready {
    command: Command,
    program: Program,
    /// `HOME`, where the configuration has none.
    home: Option<CString>,
    /// The capability sets once the filter is in place, where they are others than now.
    after_filter: Option<Sets>,
}

/// What is executed.
pub(crate) enum Program {
    Path(CString),
    /// The in-container init, whose argument the command is.
    Init(OwnedFd),
    /// Nothing.
    None,
}

/// Runs a child's `life`, which comes back only by failing, and ends the process. Nothing gets past here: the frames
/// above are a copy of the parent's, and no business of the child.
pub(crate) fn live(socket: &Socket, life: impl FnOnce() -> Result<Infallible, Failure>) -> ! {
    let failure = match std::panic::catch_unwind(std::panic::AssertUnwindSafe(life)) {
        Ok(Ok(never)) => match never {},
        Ok(Err(failure)) => failure,
        Err(_) => Failure::system("start", "the container's process panicked", Errno::PROTO),
    };
    // If the parent cannot be told any more it has gone, and nobody is left to tell.
    let _ = socket.report(&Report::Failed(failure));
    sys::process::exit_now(1)
}

/// The very first thing in a child: whoever shares a namespace with it must not look into it, it must not outlive its
/// parent, and signals are as a fresh process expects them. Unless `hidden`, its parent can write its maps though it is not
/// root.
pub(crate) fn seclude(hidden: bool) -> Result<(), Failure> {
    let failed = |what: &'static str| move |e| Failure::system("start", what, e);
    if hidden {
        hide()?;
    }
    caps::set_pdeathsig(libc::SIGKILL).map_err(failed("prctl(PR_SET_PDEATHSIG)"))?;
    sys::signal::default_all();
    sys::signal::set_mask(sys::signal::Set::default()).map_err(failed("sigprocmask"))?;
    Ok(())
}

/// Nobody may look into it.
pub(crate) fn hide() -> Result<(), Failure> {
    caps::set_dumpable(false).map_err(|e| Failure::system("start", "prctl(PR_SET_DUMPABLE)", e))
}

/// Root of the user namespace that was just entered or made.
pub(crate) fn become_root() -> Result<(), Failure> {
    let failed = |what: &'static str| move |e| Failure::system("user namespace", what, e);
    set_ids(0, 0).map_err(failed("become root in the user namespace"))?;
    set_groups(&[], true).map_err(failed("setgroups"))
}

/// With root's rights in a user namespace this is refused where its maker, an ordinary user, had to give it up: then nobody
/// can have other groups than it.
fn set_groups(groups: &[Gid], in_userns: bool) -> Result<(), Errno> {
    match rustix::thread::set_thread_groups(groups) {
        Err(Errno::PERM) if groups.is_empty() && in_userns => Ok(()),
        other => other,
    }
}

fn set_ids(uid: u32, gid: u32) -> Result<(), Errno> {
    let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
    rustix::thread::set_thread_res_gid(gid, gid, gid)?;
    rustix::thread::set_thread_res_uid(uid, uid, uid)
}

/// Becomes what `work` says, up to the point where only the filter and execve are left.
pub(crate) fn take_on(work: &Work, place: Place, stdio: Stdio, init: Option<OwnedFd>) -> Result<Ready, Failure> {
    let failed = |what: &'static str| move |e| Failure::system("process", what, e);
    // A session of its own, so that signals from the supervisor's terminal do not reach it; and then its terminal.
    rustix::process::setsid().map_err(failed("setsid"))?;
    streams(work, &place, stdio)?;
    // Keys of the caller must not be reachable. A kernel without keyrings, or one whose quota is used up, has none to give.
    if let Some(keyring) = &work.keyring {
        match sys::process::join_session_keyring(keyring) {
            Ok(()) | Err(Errno::NOSYS | Errno::DQUOT | Errno::PERM) => {}
            Err(e) => return Err(failed("create session keyring")(e)),
        }
    }
    let mut env = work.env.clone();
    // An empty one is as good as none.
    env.retain(|variable| variable.to_bytes() != b"HOME=");
    let has_home = env.iter().any(|variable| variable.to_bytes().starts_with(b"HOME="));
    let home = (!has_home).then(|| command::home(&read_passwd(place.root), work.uid));
    env.extend(home.clone());
    if let Some((file, label)) = &work.label {
        write_label(file, label)?;
    }
    if let Some(attr) = &work.scheduler {
        sys::sched::sched_setattr(attr).map_err(|e| match e {
            // sched(7): a deadline is for a thread that may run on every CPU.
            Errno::PERM if work.on_some_cpus => {
                let text = "process scheduler can't be used together with AllowedCPUs: set scheduler";
                failed(text)(e)
            }
            e => failed("set scheduler")(e),
        })?;
    }
    if let Some((class, level)) = work.io_priority {
        sys::sched::ioprio_set(class, level).map_err(failed("set io priority"))?;
    }
    for (resource, limit) in &work.rlimits {
        rustix::process::setrlimit(*resource, *limit)
            .map_err(|e| Failure::system("rlimits", &format!("error setting rlimit {resource:?}"), e))?;
    }
    // As root first: a directory that only root can enter is fine. As the user otherwise, where root's rights end (NFS).
    let entered = rustix::process::fchdir(&place.cwd);
    let after_filter = change_user(work, place.in_userns)?;
    match entered {
        Err(Errno::ACCESS | Errno::PERM) => rustix::process::fchdir(&place.cwd),
        other => other,
    }
    .map_err(|e| chdir_failed(&work.cwd, e))?;
    // A directory outside the root has no path from there: the descriptor of one must have come from somewhere else.
    let cwd = rustix::process::getcwd(Vec::new()).map_err(|e| chdir_failed(&work.cwd, e))?;
    if !cwd.to_bytes().starts_with(b"/") {
        let text = format!("current working directory {:?} is outside of container mount namespace root", work.cwd);
        return Err(Failure::invalid("cwd", text));
    }
    let (program, args) = match init {
        _ if work.idle => (Program::None, Vec::new()),
        None => (Program::Path(command::find(&work.args[0], &env)?), work.args.clone()),
        Some(init) => {
            command::find(&work.args[0], &env)?;
            let before = [c"dhow-init", c"init", c"--"].map(CString::from);
            (Program::Init(init), before.into_iter().chain(work.args.iter().cloned()).collect())
        }
    };
    // Changing the user has reset it.
    caps::set_pdeathsig(libc::SIGKILL).map_err(failed("prctl(PR_SET_PDEATHSIG)"))?;
    sys::process::cloexec_from(3).map_err(failed("close_range"))?;
    Ok(Ready { command: Command::new(args, env), program, home, after_filter })
}

/// The failure of entering the working directory, in runc's words.
pub(crate) fn chdir_failed(cwd: &str, e: Errno) -> Failure {
    Failure::system("cwd", &format!("chdir to cwd ({cwd:?}) set in config.json failed"), e)
}

/// Descriptors 0, 1 and 2: the terminal, or what the caller gave, or the null device; owned by the user so that it can
/// open them again by `/dev/stdout`.
fn streams(work: &Work, place: &Place, stdio: Stdio) -> Result<(), Failure> {
    let failed = |what: &'static str| move |e| Failure::system("stdio", what, e);
    // None of the new ones may itself lie in 0 to 2 while those are replaced one after the other.
    let above = |fd: BorrowedFd| rustix::io::fcntl_dupfd_cloexec(fd, 3).map_err(failed("dup"));
    let given = match &place.terminal {
        Some(terminal) => {
            rustix::process::ioctl_tiocsctty(terminal).map_err(failed("TIOCSCTTY"))?;
            [above(terminal.as_fd())?, above(terminal.as_fd())?, above(terminal.as_fd())?]
        }
        None => {
            let one = |fd: Option<OwnedFd>| match fd {
                Some(fd) => above(fd.as_fd()),
                None => dev::open_null(place.root).and_then(|null| above(null.as_fd())),
            };
            [one(stdio.stdin)?, one(stdio.stdout)?, one(stdio.stderr)?]
        }
    };
    let [stdin, stdout, stderr] = &given;
    rustix::stdio::dup2_stdin(stdin).map_err(failed("dup2"))?;
    rustix::stdio::dup2_stdout(stdout).map_err(failed("dup2"))?;
    rustix::stdio::dup2_stderr(stderr).map_err(failed("dup2"))?;
    if work.uid == 0 && !place.in_userns {
        return Ok(());
    }
    for stream in &given {
        let stat = rustix::fs::fstat(stream).map_err(failed("stat"))?;
        let null = FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice && stat.st_rdev == makedev(1, 3);
        if null || stat.st_uid == work.uid {
            continue;
        }
        match rustix::fs::fchown(stream, Some(Uid::from_raw(work.uid)), None) {
            // Not mapped, not ours, on a read-only file system, or of a kind without an owner.
            Ok(()) | Err(Errno::INVAL | Errno::PERM | Errno::ROFS | Errno::NOSYS) => {}
            Err(e) => return Err(failed("change the owner of a standard stream")(e)),
        }
    }
    Ok(())
}

/// The container's `/etc/passwd`, or nothing when it is not a file of a bearable size.
fn read_passwd(root: BorrowedFd) -> Vec<u8> {
    let read = || -> Option<Vec<u8>> {
        let file = rootfs::resolve(root, b"etc/passwd", OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY).ok()?;
        let stat = rustix::fs::fstat(&file).ok()?;
        let size = usize::try_from(stat.st_size).ok().filter(|size| *size <= MAX_PASSWD)?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return None;
        }
        let mut bytes = vec![0; size];
        let n = rustix::io::read(&file, &mut bytes[..]).ok()?;
        bytes.truncate(n);
        Some(bytes)
    };
    read().unwrap_or_default()
}

/// Writes an LSM's label for the coming execve, through a procfs of our own, and reads it back.
fn write_label(file: &str, label: &str) -> Result<(), Failure> {
    let failed = |e| Failure::system("label", &format!("set label {label:?}"), e);
    let proc = sys::mount::filesystem("proc", "proc", &[], 0).map_err(|(e, _)| failed(e))?;
    // `self` and `thread-self` are links; the number is not.
    let path = format!("{}/attr/{file}", rustix::process::getpid().as_raw_nonzero());
    let attr = rootfs::resolve_plain(proc.as_fd(), path.as_bytes(), OFlags::RDWR).map_err(failed)?;
    rustix::io::write(&attr, label.as_bytes()).map_err(failed)?;
    let mut back = vec![0; label.len() + 64];
    let n = rustix::io::pread(&attr, &mut back[..], 0).map_err(failed)?;
    let wanted = label.strip_prefix("exec ").unwrap_or(label);
    if back[..n].starts_with(wanted.as_bytes()) { Ok(()) } else { Err(failed(Errno::PERM)) }
}

/// Groups, user and capabilities. The result is the sets for after the filter, when one needs `CAP_SYS_ADMIN` to be
/// installed.
fn change_user(work: &Work, in_userns: bool) -> Result<Option<Sets>, Failure> {
    let failed = |what: &'static str| move |e| Failure::system("user", what, e);
    let capability = |what: &'static str| move |e| Failure::system("capabilities", what, e);
    let have = caps::capget().map_err(capability("capget"))?.permitted;
    for number in 0..64 {
        if work.capabilities.bounding & 1 << number == 0 {
            match caps::bounding_drop(number) {
                Ok(()) => {}
                // The first one that this kernel does not have.
                Err(Errno::INVAL) => break,
                Err(e) => return Err(capability("drop from the bounding set")(e)),
            }
        }
    }
    // Else the way from root to another user would take every capability.
    caps::keep(true).map_err(capability("prctl(PR_SET_KEEPCAPS)"))?;
    let groups: Vec<Gid> = work.groups.iter().map(|gid| Gid::from_raw(*gid)).collect();
    set_groups(&groups, in_userns).map_err(failed("setgroups"))?;
    set_ids(work.uid, work.gid).map_err(failed("setuid"))?;
    rustix::process::umask(Mode::from_raw_mode(work.umask));
    caps::keep(false).map_err(capability("prctl(PR_SET_KEEPCAPS)"))?;

    // What this process does not have it cannot give.
    let c = &work.capabilities;
    let sets = Sets { effective: c.effective & have, permitted: c.permitted & have, inheritable: c.inheritable & have };
    // Without no_new_privs the kernel takes a filter from CAP_SYS_ADMIN only; and everything that the filter might forbid
    // should be done before it is there.
    let admin = if work.seccomp.is_some() && !work.no_new_privileges { SYS_ADMIN & have } else { 0 };
    let now = Sets { effective: sets.effective | admin, permitted: sets.permitted | admin, ..sets };
    caps::capset(now).map_err(capability("capset"))?;
    let ambient = c.ambient & sets.permitted & sets.inheritable;
    for number in (0..64).filter(|number| ambient & 1 << number != 0) {
        caps::ambient_raise(number).map_err(capability("raise an ambient capability"))?;
    }
    if work.no_new_privileges {
        caps::no_new_privs().map_err(failed("prctl(PR_SET_NO_NEW_PRIVS)"))?;
    }
    Ok((now != sets).then_some(sets))
}

/// What a process has that outlives its maker.
pub(crate) struct Alone<'a> {
    pub detached: &'a Detached,
    /// The hooks between the go and the command, and what they are told.
    pub hooks: Option<(&'a [Hook], &'a Told)>,
}

impl Alone<'_> {
    /// Without hooks.
    pub fn of(detached: &Detached) -> Alone<'_> {
        Alone { detached, hooks: None }
    }
}

/// Reports, waits for the go, and executes; comes back only with a failure.
pub(crate) fn execute(ready: Ready, work: &Work, socket: &Socket, alone: Option<Alone>) -> Failure {
    if let Err(failure) = socket.report(&Report::Ready) {
        return failure;
    }
    let order = match socket.await_order() {
        Ok(order) => order,
        Err(failure) => return failure,
    };
    match (order, &alone) {
        (Order::Go, None) => {}
        (Order::Go, Some(_)) => {
            if let Err(e) = caps::set_pdeathsig(0) {
                return Failure::system("start", "prctl(PR_SET_PDEATHSIG)", e);
            }
        }
        (Order::Park, Some(Alone { detached: Detached { gate: Some(gate), preserved, .. }, .. })) => {
            let mut kept: Vec<BorrowedFd> = preserved.iter().map(AsFd::as_fd).collect();
            if let Program::Init(file) = &ready.program {
                kept.push(file.as_fd());
            }
            // Who answers for the command is told of it before it can begin.
            let early = work.seccomp.as_ref().is_some_and(|filter| filter.notifies);
            if early && let Err(failure) = harden(&ready, work, socket) {
                return failure;
            }
            let opener = match gate::wait(socket, gate.as_fd(), &kept) {
                Ok(opener) => opener,
                Err(failure) => return failure,
            };
            let failure = become_command(&ready, work, &opener, alone.as_ref(), early);
            let _ = opener.report(&Report::Failed(failure));
            // Most descriptors that this memory owns are closed already.
            sys::process::exit_now(1)
        }
        _ => return Failure::system("start", "wait for the go", Errno::PROTO),
    }
    become_command(&ready, work, socket, alone.as_ref(), false)
}

/// Installs the filter, and takes on the capabilities that only its installation has put off.
fn harden(ready: &Ready, work: &Work, socket: &Socket) -> Result<(), Failure> {
    if let Some(listener) = install(work, true)? {
        socket.report(&Report::Listener(listener))?;
    }
    lower(ready).map_err(|e| Failure::system("capabilities", "capset", e))
}

fn install(work: &Work, notify: bool) -> Result<Option<OwnedFd>, Failure> {
    let Some(filter) = &work.seccomp else { return Ok(None) };
    let wants = if filter.notifies && notify { sys::seccomp::NEW_LISTENER } else { 0 };
    sys::seccomp::install(&filter.program, filter.flags | wants)
        .map_err(|e| Failure::system("seccomp", "install the seccomp filter", e))
}

fn lower(ready: &Ready) -> Result<(), Errno> {
    ready.after_filter.map_or(Ok(()), caps::capset)
}

/// `hardened`: the filter is there already.
fn become_command(ready: &Ready, work: &Work, socket: &Socket, alone: Option<&Alone>, hardened: bool) -> Failure {
    // The program is the container's: it gets no more rights than the command will have.
    let hooked = alone.and_then(|alone| alone.hooks).map_or(Ok(()), |(hooks, told)| {
        let state = told.state("created", Some(rustix::process::getpid().as_raw_nonzero().get()));
        let env: Vec<CString> = work.env.iter().chain(&ready.home).cloned().collect();
        hooks::run_as("startContainer", hooks, &state, Some(&env), || {
            if !hardened {
                install(work, false).map_err(|failure| Errno::from_raw_os_error(failure.errno))?;
            }
            lower(ready)
        })
    });
    if let Err(failure) = hooked.and_then(|()| if hardened { Ok(()) } else { harden(ready, work, socket) }) {
        return failure;
    }
    for fd in alone.iter().flat_map(|alone| &alone.detached.preserved) {
        if let Err(e) = rustix::io::fcntl_setfd(fd, rustix::io::FdFlags::empty()) {
            return Failure::system("process", "preserve a descriptor", e);
        }
    }
    match &ready.program {
        Program::None => sys::process::exit_now(0),
        Program::Path(path) => command::failed(path, ready.command.execve(path)),
        Program::Init(file) => command::failed(c"dhow-init", ready.command.execveat(file.as_fd())),
    }
}
