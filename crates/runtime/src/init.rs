//! The life of a container's first process, from clone3 to execve, in the order in which the kernel wants it.

use crate::hooks::{self, Told};
use crate::identity::{self, Alone, Place, Ready};
use crate::mount::{self, shows_cgroup};
use crate::options::Options;
use crate::plan::{Plan, is};
use crate::sync::{Order, Report, Socket};
use crate::{Detached, Failure, Stdio, cgroups, dev, hide, root, terminal};
use oci::runtime::Hooks;
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use sys::clone::flags as ns;
use sys::mount::{MountAttr, attr};
use sys::rootfs;

/// Runs in the child and never returns.
pub(crate) fn run(plan: &Plan, socket: &Socket, stdio: Stdio, init: Option<OwnedFd>, detached: Option<&Detached>) -> ! {
    identity::live(socket, || {
        let ready = prepare(plan, socket, stdio, init)?;
        let hooks = plan.hooks.as_deref().map(|(hooks, told)| (hooks.start_container.as_slice(), told));
        let alone = detached.map(|detached| Alone { detached, hooks });
        Err(identity::execute(ready, &plan.process, socket, alone))
    })
}

fn prepare(plan: &Plan, socket: &Socket, stdio: Stdio, init: Option<OwnedFd>) -> Result<Ready, Failure> {
    identity::seclude(!plan.rootless)?;
    enter_namespaces(plan, socket)?;
    // Modes of what is made below are exact.
    rustix::process::umask(Mode::empty());
    // Before anything is mounted: nothing of it may reach the host.
    if !plan.on_host && plan.bare.is_none() {
        root::seclude(plan)?;
    }
    // From the host's tree, which the root file system is about to cover. The clones keep their peers, so a bind can be
    // shared although everything else is about to be private.
    let sources = mount::open_sources(plan)?;
    if !plan.on_host {
        root::make_private(plan)?;
    }
    let root = root::mount(plan)?;
    let root = root.as_fd();

    let made = mount_all(root, plan, sources, socket)?;
    if plan.namespaces.has_user() && !plan.dev_is_bound {
        dev::bind_hosts(root, plan)?;
    }
    dev::elsewhere(root, plan)?;

    // The terminal is of the container's devpts, so after the mounts; /dev/console, before /dev can be read-only.
    let terminal = plan.process.terminal.map(|size| terminal::open(root, size, socket)).transpose()?;
    if let Some(slave) = &terminal {
        terminal::console(root, slave.as_fd())?;
    }
    if let Some((hooks, told)) = plan.hooks.as_deref() {
        run_hooks(hooks, told, plan.runs_hooks, root, socket)?;
    }
    // Made like a mount point, before the root can be read-only. The descriptor is what will be entered.
    let cwd = rootfs::create_dir_all(root, plan.process.cwd.as_bytes(), 0o755)
        .map_err(|e| Failure::system("cwd", &format!("mkdir {}", plan.process.cwd), e))?;
    // Through procfs as it is before it is made read-only and masked.
    write_sysctl(plan, made.proc.as_ref().map(AsFd::as_fd))?;
    names(plan)?;
    hide::readonly(root, &plan.readonly)?;
    hide::mask(root, made.dev.as_ref().map(AsFd::as_fd), &plan.masked)?;
    let readonly = MountAttr { set: attr::RDONLY, ..MountAttr::default() };
    for mount in &made.readonly {
        sys::mount_setattr(mount.as_fd(), c"", false, &readonly)
            .map_err(|e| Failure::system("mounts", "make a tmpfs read-only", e))?;
    }
    if plan.root_readonly {
        sys::mount_setattr(root, c"", false, &readonly)
            .map_err(|e| Failure::system("mount rootfs", "make the root file system read-only", e))?;
    }
    root::enter(root, plan)?;

    plan.manner.adopt()?;
    let place = Place { root, cwd, terminal, in_userns: plan.namespaces.has_user() };
    identity::take_on(&plan.process, place, stdio, init)
}

/// The hooks that find the container's mounts made and the host's tree still there: first the parent's, then those that
/// run in the container's namespaces, in the directory that is about to be its root.
fn run_hooks(hooks: &Hooks, told: &Told, parents: bool, root: BorrowedFd, socket: &Socket) -> Result<(), Failure> {
    if parents {
        socket.report(&Report::Mounted)?;
        match socket.await_order()? {
            Order::Hooked => {}
            _ => return Err(Failure::system("start", "wait for the hooks", Errno::PROTO)),
        }
    }
    if hooks.create_container.is_empty() {
        return Ok(());
    }
    rustix::process::fchdir(root).map_err(|e| Failure::system("hooks", "enter the root file system", e))?;
    let pid = rustix::process::getpid().as_raw_nonzero().get();
    hooks::run("createContainer", &hooks.create_container, &told.state("creating", Some(pid)))
}

/// Mounts in their order; but what shows the cgroup, and what lies below that, waits until the parent has made it.
fn mount_all<'p>(
    root: BorrowedFd,
    plan: &'p Plan,
    mut sources: Vec<Option<OwnedFd>>,
    socket: &Socket,
) -> Result<Made<'p>, Failure> {
    let mut made = Made { sysfs: plan.sysfs.as_ref().map(AsFd::as_fd), ..Made::default() };
    let mut late = Vec::new();
    if !plan.mounts.iter().any(|(mount, options)| is(&mount.destination, "dev") && !options.remount) {
        let (mount, options) = mount::default_dev();
        mount_dev(root, plan, &mount, &options, &mut made)?;
    }
    for (n, source) in sources.iter_mut().enumerate() {
        let (mount, options) = &plan.mounts[n];
        let below = |(m, _): &(usize, _)| mount.destination.starts_with(&plan.mounts[*m].0.destination);
        if shows_cgroup(mount) && !options.remount || late.iter().any(below) {
            late.push((n, source.take()));
        } else {
            mount_one(root, plan, n, source.take(), &mut made)?;
        }
    }
    let views = match socket.await_order()? {
        Order::Joined(views) => views,
        _ => return Err(Failure::system("start", "wait for the cgroup", Errno::PROTO)),
    };
    // Its root is the cgroup that this process is in now.
    if plan.namespaces.new_cgroup {
        sys::unshare(ns::NEWCGROUP).map_err(|e| Failure::system("namespaces", "unshare the cgroup namespace", e))?;
    }
    for (n, source) in late {
        let (mount, options) = &plan.mounts[n];
        if shows_cgroup(mount) && !options.remount {
            cgroups::mount(root, mount, options, &views)?;
        } else {
            mount_one(root, plan, n, source, &mut made)?;
        }
    }
    Ok(made)
}

/// What was mounted and is needed again.
#[derive(Default)]
struct Made<'p> {
    /// Not yet: made ahead, and to be mounted in place of a new one.
    sysfs: Option<BorrowedFd<'p>>,
    dev: Option<OwnedFd>,
    proc: Option<OwnedFd>,
    /// To be made read-only when nothing more is to be made in it.
    readonly: Vec<OwnedFd>,
}

fn enter_namespaces(plan: &Plan, socket: &Socket) -> Result<(), Failure> {
    let namespaces = &plan.namespaces;
    if namespaces.maps.is_some() {
        // Until the parent has written the maps this process is nobody.
        match socket.await_order()? {
            Order::Mapped => {
                // While the file is still this process's own: hidden from others, it is host root's.
                shift_clocks(plan)?;
                identity::hide()?;
                identity::become_root()?;
            }
            _ => return Err(Failure::system("user namespace", "wait for the maps", Errno::PROTO)),
        }
    }
    // Born in it, in that case.
    let born = if namespaces.user_before().is_some() { ns::NEWUSER } else { 0 };
    if born == 0 && !plan.rootless && namespaces.join.iter().any(|(kind, _)| *kind == ns::NEWUSER) {
        namespaces.join_as_host()?;
    }
    for (kind, fd) in namespaces.join.iter().filter(|(kind, _)| *kind != born) {
        // Joined with the host's rights, which may be the only ones that it could be joined with.
        if *kind != ns::NEWUSER && crate::namespaces::is_in(*kind, fd.as_fd()) == Some(true) {
            continue;
        }
        sys::setns(fd.as_fd(), *kind).map_err(|e| Failure::system("namespaces", "join a namespace", e))?;
        if *kind == ns::NEWUSER {
            identity::become_root()?;
        }
    }
    if namespaces.maps.is_none() {
        shift_clocks(plan)?;
    }
    Ok(())
}

/// Makes the time namespace.
fn shift_clocks(plan: &Plan) -> Result<(), Failure> {
    if let Some(clocks) = &plan.namespaces.clocks {
        let failed = |what: &'static str| move |e| Failure::system("namespaces", what, e);
        sys::unshare(ns::NEWTIME).map_err(failed("unshare the time namespace"))?;
        let write = OFlags::WRONLY | OFlags::CLOEXEC;
        let file = rustix::fs::open("/proc/self/timens_offsets", write, Mode::empty())
            .map_err(failed("open timens_offsets"))?;
        rustix::io::write(&file, clocks.as_bytes()).map_err(failed("write timeOffsets"))?;
        // unshare(2) moves only later children; this process follows them.
        let read = OFlags::RDONLY | OFlags::CLOEXEC;
        let there = rustix::fs::open("/proc/self/ns/time_for_children", read, Mode::empty())
            .map_err(failed("open the time namespace"))?;
        sys::setns(there.as_fd(), ns::NEWTIME).map_err(failed("join the time namespace"))?;
    }
    Ok(())
}

fn mount_one(root: BorrowedFd, plan: &Plan, n: usize, source: Option<OwnedFd>, made: &mut Made) -> Result<(), Failure> {
    let (mount, options) = &plan.mounts[n];
    if options.remount {
        if is(&mount.destination, "proc") && options.set & attr::RDONLY != 0 {
            made.proc = None;
        }
        return mount::remount(root, mount, options);
    }
    if let (Some(path), Some(recursive)) = (&options.inside, options.binds()) {
        let source = rootfs::resolve(root, path.as_bytes(), OFlags::PATH);
        let tree = source.and_then(|source| mount::clone_tree(source.as_fd(), b"", recursive));
        let tree = tree.map_err(|e| mount::failed(mount, &format!("bind source {:?}", mount.source), e))?;
        return mount::bind(root, mount, options, tree.as_fd(), plan.namespaces.has_user());
    }
    if let (Some(source), Some(recursive)) = (source, options.binds()) {
        let made = plan.sources.get(n).is_some_and(Option::is_some);
        let tree = if plan.in_order && !made {
            mount::clone_tree(source.as_fd(), b"", recursive).map_err(|e| mount::failed(mount, "bind", e))?
        } else {
            source
        };
        return mount::bind(root, mount, options, tree.as_fd(), plan.namespaces.has_user());
    }
    if mount.kind == "tmpfs" && is(&mount.destination, "dev") {
        return mount_dev(root, plan, mount, options, made);
    }
    if mount.kind == "sysfs"
        && options.data.is_empty()
        && let Some(sysfs) = made.sysfs.take()
    {
        return mount::made_ahead(root, mount, options, sysfs);
    }
    let late = mount.kind == "tmpfs" && options.set & attr::RDONLY != 0;
    let mounted =
        if late { mount::filesystem(root, mount, &writable(options)) } else { mount::filesystem(root, mount, options) };
    match mounted {
        Ok(fd) => {
            if late {
                made.readonly.push(fd);
            } else if mount.kind == "proc" && is(&mount.destination, "proc") && options.set & attr::RDONLY == 0 {
                made.proc = Some(fd);
            }
            Ok(())
        }
        // A user namespace may mount sysfs only together with a network namespace of its own; the host's is then shown.
        Err(failure)
            if mount.kind == "sysfs" && plan.namespaces.has_user() && failure.errno == Errno::PERM.raw_os_error() =>
        {
            let tree =
                mount::clone_tree(rustix::fs::CWD, b"/sys", true).map_err(|e| mount::failed(mount, "bind", e))?;
            mount::bind(root, mount, options, tree.as_fd(), true)
        }
        Err(failure) => Err(failure),
    }
}

/// What a tmpfs is mounted with that is to be read-only once everything has its place in it.
fn writable(options: &Options) -> Options {
    Options { set: options.set & !attr::RDONLY, ..options.clone() }
}

/// `/dev` is filled while nobody can see it, and then attached.
fn mount_dev(
    root: BorrowedFd,
    plan: &Plan,
    mount: &oci::runtime::Mount,
    options: &Options,
    made: &mut Made,
) -> Result<(), Failure> {
    let failed = |what: &'static str| move |e| mount::failed(mount, what, e);
    let dev = mount::detached(mount, &writable(options), None)?;
    dev::populate(dev.as_fd(), plan)?;
    let target = mount::directory(root, &mount.destination).map_err(failed("/dev is not a directory"))?;
    mount::attach(dev.as_fd(), target.as_fd()).map_err(failed("move_mount"))?;
    if options.set & attr::RDONLY != 0 {
        made.readonly.push(rustix::io::fcntl_dupfd_cloexec(&dev, 3).map_err(failed("dup"))?);
    }
    made.dev = Some(dev);
    Ok(())
}

/// Kernel parameters, through the procfs that was just mounted, or another that nobody can have touched.
fn write_sysctl(plan: &Plan, proc: Option<BorrowedFd>) -> Result<(), Failure> {
    if plan.sysctl.is_empty() {
        return Ok(());
    }
    let own;
    let proc = match proc {
        Some(proc) => proc,
        None => {
            own = sys::mount::filesystem("proc", "proc", &[], 0)
                .map_err(|(e, what)| Failure::system("sysctl", &format!("mount a procfs: {what}"), e))?;
            own.as_fd()
        }
    };
    for (path, value) in &plan.sysctl {
        let write = || -> Result<(), Errno> {
            let file = rootfs::resolve_plain(proc, format!("sys/{path}").as_bytes(), OFlags::WRONLY)?;
            rustix::io::write(&file, value.as_bytes()).map(|_| ())
        };
        write().map_err(|e| Failure::system("sysctl", &format!("write sysctl {path} = {value:?}"), e))?;
    }
    Ok(())
}

fn names(plan: &Plan) -> Result<(), Failure> {
    if !plan.hostname.is_empty() {
        rustix::system::sethostname(plan.hostname.as_bytes())
            .map_err(|e| Failure::system("hostname", "sethostname", e))?;
    }
    if !plan.domainname.is_empty() {
        rustix::system::setdomainname(plan.domainname.as_bytes())
            .map_err(|e| Failure::system("domainname", "setdomainname", e))?;
    }
    Ok(())
}
