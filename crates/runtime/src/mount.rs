//! Mounting inside the root file system: a new or cloned mount is made detached, gets its attributes, and is then moved
//! onto a descriptor that was resolved in the root. No path of the container is ever given to the kernel twice.

use crate::options::{self, Options};
use crate::plan::{Plan, is};
use crate::{Failure, copy};
use oci::runtime::Mount;
use rustix::fs::{CWD, FileType, Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{
    FsPickFlags, MoveMountFlags, OpenTreeFlags, fsconfig_reconfigure, fsconfig_set_flag, fsconfig_set_string, fspick,
    move_mount, open_tree,
};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use sys::mount::{MountAttr, attr};
use sys::rootfs;

const PROC_MAGIC: u64 = 0x9fa0;

/// Attributes about access times.
const TIMES: u64 = attr::ATIME | attr::NODIRATIME;

/// The files of procfs over which lxcfs and the like may put their own.
const OVER_PROC: [&str; 11] = [
    "/proc/cpuinfo",
    "/proc/diskstats",
    "/proc/meminfo",
    "/proc/stat",
    "/proc/swaps",
    "/proc/uptime",
    "/proc/loadavg",
    "/proc/slabinfo",
    "/proc/net/dev",
    "/proc/sys/kernel/ns_last_pid",
    "/proc/sys/crypto/fips_enabled",
];

/// The failure of the mount at `destination`.
pub(crate) fn failed(mount: &Mount, what: &str, errno: Errno) -> Failure {
    let source = if mount.source.is_empty() { &mount.kind } else { &mount.source };
    let what = format!("error mounting {source:?} to rootfs at {:?}: {what}", mount.destination);
    let mut failure = Failure::system(&format!("mount {}", mount.destination), &what, errno);
    if errno == Errno::NOTDIR {
        failure.text.push_str(
            ": Are you trying to mount a directory onto a file (or vice-versa)? \
             Check if the specified host path exists and is the expected type",
        );
    }
    failure
}

/// A copy of the mount at `path`, attached nowhere; with `recursive` of all mounts below it too.
pub(crate) fn clone_tree(dir: BorrowedFd, path: &[u8], recursive: bool) -> Result<OwnedFd, Errno> {
    let mut flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    flags.set(OpenTreeFlags::AT_EMPTY_PATH, path.is_empty());
    flags.set(OpenTreeFlags::AT_RECURSIVE, recursive);
    open_tree(dir, path, flags)
}

/// Puts a detached mount onto what `target` is.
pub(crate) fn attach(mount: BorrowedFd, target: BorrowedFd) -> Result<(), Errno> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    move_mount(mount, "", target, "", flags)
}

fn configure(context: BorrowedFd, source: &str, data: &[(String, Option<String>)]) -> Result<(), (Errno, String)> {
    if !source.is_empty() {
        fsconfig_set_string(context, "source", source).map_err(|e| (e, "source".into()))?;
    }
    for (key, value) in data {
        match value {
            Some(value) => fsconfig_set_string(context, key.as_str(), value.as_str()),
            None => fsconfig_set_flag(context, key.as_str()),
        }
        .map_err(|e| (e, format!("option {key:?}")))?;
    }
    Ok(())
}

/// Adds to `what` the sentence that the kernel left in the context, if it did.
pub(crate) fn explain(context: BorrowedFd, what: String) -> String {
    match sys::mount::message(context) {
        Some(said) => format!("{what} ({said})"),
        None => what,
    }
}

/// Changes a mount as `options` says: of its attributes those of its own first, of propagation last.
pub(crate) fn change(mount: BorrowedFd, options: &Options) -> Result<(), Errno> {
    let propagation = |recursive: bool| {
        options.propagation.iter().rev().find(|(_, all)| *all == recursive).map_or(0, |(kind, _)| *kind)
    };
    let own = MountAttr { set: options.set, clear: options.clear, ..MountAttr::default() };
    let all = MountAttr {
        set: options.set_all,
        clear: options.clear_all,
        propagation: propagation(true),
        ..MountAttr::default()
    };
    let alone = MountAttr { propagation: propagation(false), ..MountAttr::default() };
    for (recursive, change) in [(false, own), (true, all), (false, alone)] {
        if change != MountAttr::default() {
            sys::mount_setattr(mount, c"", recursive, &change)?;
        }
    }
    Ok(())
}

/// What is mounted in the tree's peers comes to it, and nothing of its own to them.
pub(crate) fn enslave(tree: BorrowedFd) -> Result<(), Errno> {
    let slave = MountAttr { propagation: attr::PROPAGATION_SLAVE, ..MountAttr::default() };
    sys::mount_setattr(tree, c"", true, &slave)
}

/// What remains of `options` when attributes that nobody has spoken of are cleared.
fn exactly(options: &Options) -> Options {
    let plain = attr::RDONLY | attr::NOSUID | attr::NODEV | attr::NOEXEC | attr::NOSYMFOLLOW;
    // What is said of access times stands for all of it.
    let times = if options.set & TIMES != 0 || options.clear & attr::ATIME != 0 { TIMES } else { 0 };
    Options { clear: options.clear | plain | times, ..options.clone() }
}

/// What remains of `options` for a container with users of its own, whose mounts keep what the host's have: the kernel locks
/// that in a mount namespace that is not the host's users'.
fn within_locks(tree: BorrowedFd, options: &Options) -> Result<Options, Errno> {
    use rustix::fs::StatVfsMountFlags as Flags;
    let have = rustix::fs::fstatvfs(tree)?.f_flag;
    let lockable = [
        (Flags::RDONLY, attr::RDONLY),
        (Flags::NOSUID, attr::NOSUID),
        (Flags::NODEV, attr::NODEV),
        (Flags::NOEXEC, attr::NOEXEC),
    ];
    let unlocks = lockable.iter().any(|(flag, attribute)| have.contains(*flag) && options.clear & attribute != 0);
    let times = match () {
        () if have.contains(Flags::NOATIME) => attr::NOATIME,
        () if have.contains(Flags::RELATIME) => attr::RELATIME,
        () => attr::STRICTATIME,
    } | if have.contains(Flags::NODIRATIME) { attr::NODIRATIME } else { 0 };
    let asked = (times & !exactly(options).clear) | (options.set & TIMES);
    let clear = options.clear | (attr::NOSYMFOLLOW & !options.set);
    if unlocks || asked != times { Err(Errno::PERM) } else { Ok(Options { clear, ..options.clone() }) }
}

/// The host's side of every bind, opened before the root file system covers the host's.
pub(crate) fn open_sources(plan: &Plan) -> Result<Vec<Option<OwnedFd>>, Failure> {
    let open = |(n, (mount, options)): (usize, &(Mount, Options))| match options.binds() {
        None => Ok(None),
        Some(_) if options.inside.is_some() => Ok(None),
        // Touched, so that what mounts itself when it is looked at is there.
        Some(_) if plan.in_order && plan.sources.get(n).is_none_or(Option::is_none) => {
            open_tree(CWD, mount.source.as_str(), OpenTreeFlags::OPEN_TREE_CLOEXEC)
                .map(Some)
                .map_err(|e| failed(mount, &format!("bind source {:?}", mount.source), e))
        }
        Some(_) if plan.sources.get(n).is_some_and(Option::is_some) => {
            let made = plan.sources[n].as_ref().map(|fd| rustix::io::fcntl_dupfd_cloexec(fd, 3));
            made.transpose().map_err(|e| failed(mount, "dup", e))
        }
        Some(recursive) => {
            let tree = clone_tree(CWD, mount.source.as_bytes(), recursive).and_then(|tree| {
                // As in a copy of the host's mount namespace.
                if plan.bare.is_some() { enslave(tree.as_fd()).map(|()| tree) } else { Ok(tree) }
            });
            tree.map(Some).map_err(|e| failed(mount, &format!("bind source {:?}", mount.source), e))
        }
    };
    plan.mounts.iter().enumerate().map(open).collect()
}

/// Attaches the clone of a bind's source, making the mount point: a directory for a directory, else a file. `locked`: what the
/// host has forbidden stays so.
pub(crate) fn bind(
    root: BorrowedFd,
    mount: &Mount,
    options: &Options,
    tree: BorrowedFd,
    locked: bool,
) -> Result<(), Failure> {
    let failed = |what: &'static str| move |e| failed(mount, what, e);
    let (kind, _) = rootfs::kind(tree).map_err(failed("stat"))?;
    let target = if kind == FileType::Directory {
        directory(root, &mount.destination)
    } else {
        rootfs::create_file(root, mount.destination.as_bytes(), 0o644)
    };
    let target = target.map_err(failed("create mountpoint"))?;
    not_procfs(mount, target.as_fd(), is(&mount.destination, "proc") && is_procfs(tree))?;
    if kind != FileType::Directory && rootfs::kind(target.as_fd()).map_err(failed("stat"))?.0 == FileType::Directory {
        return Err(failed("create mountpoint")(Errno::NOTDIR));
    }
    let options = match (options.exact, locked) {
        (false, _) => options.clone(),
        (true, false) => exactly(options),
        (true, true) => within_locks(tree, options).map_err(failed("mount_setattr"))?,
    };
    change(tree, &options).map_err(failed("mount_setattr"))?;
    attach(tree, target.as_fd()).map_err(failed("move_mount"))
}

/// Mounts a file system that is there and has no attributes yet.
pub(crate) fn made_ahead(root: BorrowedFd, mount: &Mount, options: &Options, made: BorrowedFd) -> Result<(), Failure> {
    let target = directory(root, &mount.destination).map_err(|e| no_directory(mount, e))?;
    not_procfs(mount, target.as_fd(), false)?;
    change(made, options).map_err(|e| failed(mount, "mount_setattr", e))?;
    attach(made, target.as_fd()).map_err(|e| failed(mount, "move_mount", e))
}

/// Mounts a new file system, a writable one when it begins with a copy, and returns it.
pub(crate) fn filesystem(root: BorrowedFd, mount: &Mount, options: &Options) -> Result<OwnedFd, Failure> {
    let mut options = std::borrow::Cow::Borrowed(options);
    if mount.kind == "tmpfs" && !options.data.iter().any(|(key, _)| key == "mode") {
        let flags = OFlags::PATH | OFlags::DIRECTORY;
        if rootfs::resolve(root, mount.destination.as_bytes(), flags).is_err() {
            // It covers nothing that could have a mode: it is for everybody, as tmpfs has it.
            options.to_mut().data.push(("mode".into(), Some("1777".into())));
        }
    }
    let options = options.as_ref();
    let target = directory(root, &mount.destination).map_err(|e| no_directory(mount, e))?;
    not_procfs(mount, target.as_fd(), mount.kind == "proc")?;
    let made = detached(mount, options, Some(target.as_fd()))?;
    if options.copy_up {
        let from =
            rustix::fs::openat(&target, ".", OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty());
        let to = rustix::fs::openat(&made, ".", OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty());
        let (from, to) =
            (from.map_err(|e| failed(mount, "tmpcopyup", e))?, to.map_err(|e| failed(mount, "tmpcopyup", e))?);
        copy::tree(from.as_fd(), to.as_fd())
            .map_err(|(name, e)| failed(mount, &format!("tmpcopyup of {name:?}"), e))?;
    }
    attach(made.as_fd(), target.as_fd()).map_err(|e| failed(mount, "move_mount", e))?;
    Ok(made)
}

/// Changes what is mounted at the destination already, as mount(2) does with `MS_REMOUNT`: its attributes, all of them, and
/// without `bind` its file system too, for whoever else has that mounted.
pub(crate) fn remount(root: BorrowedFd, mount: &Mount, options: &Options) -> Result<(), Failure> {
    let failed = |what: &str, e| failed(mount, &format!("remount: {what}"), e);
    let target = if ["proc", "sys", "dev"].into_iter().any(|name| is(&mount.destination, name)) {
        directory(root, &mount.destination)
    } else {
        rootfs::resolve(root, mount.destination.as_bytes(), OFlags::PATH)
    };
    let target = target.map_err(|e| failed("open", e))?;
    not_procfs(mount, target.as_fd(), is_procfs(target.as_fd()))?;
    if options.bind.is_none() {
        reconfigure(target.as_fd(), options).map_err(|(e, what)| failed(&what, e))?;
    }
    match change(target.as_fd(), &exactly(options)) {
        // Of another user namespace's mount some attributes are locked: those that nobody wants to clear may stay.
        Err(Errno::PERM) => within_locks(target.as_fd(), options).and_then(|kept| change(target.as_fd(), &kept)),
        other => other,
    }
    .map_err(|e| failed("mount_setattr", e))
}

/// Gives the file system that is mounted at `target` the options that are its own.
fn reconfigure(target: BorrowedFd, options: &Options) -> Result<(), (Errno, String)> {
    let flags = FsPickFlags::FSPICK_CLOEXEC | FsPickFlags::FSPICK_EMPTY_PATH;
    let context = fspick(target, "", flags).map_err(|e| (e, "fspick".into()))?;
    let mut data = vec![if options.set & attr::RDONLY != 0 { "ro" } else { "rw" }];
    let given = |name: &str| options.data.iter().any(|(key, _)| key == name);
    data.extend(
        [("sync", "async"), ("lazytime", "nolazytime")].iter().filter(|(on, _)| !given(on)).map(|(_, off)| *off),
    );
    let flags: Vec<_> = data.into_iter().map(|flag| (flag.to_owned(), None)).collect();
    let configured =
        configure(context.as_fd(), "", &flags).and_then(|()| configure(context.as_fd(), "", &options.data));
    configured.map_err(|(e, what)| (e, explain(context.as_fd(), what)))?;
    fsconfig_reconfigure(&context).map_err(|e| (e, explain(context.as_fd(), "reconfigure".into())))
}

/// Whether file systems of this kind are the kernel's own, and made of nothing that has a path.
pub(crate) fn is_of_no_device(kind: &str) -> bool {
    ["proc", "sysfs", "tmpfs", "devpts", "mqueue", "cgroup", "cgroup2"].contains(&kind)
}

/// The new file system of `mount`, attached nowhere. A tmpfs without a mode takes that of the directory it will cover.
pub(crate) fn detached(mount: &Mount, options: &Options, covers: Option<BorrowedFd>) -> Result<OwnedFd, Failure> {
    let mut data = options.data.clone();
    if mount.kind == "tmpfs"
        && !data.iter().any(|(key, _)| key == "mode")
        && let Some(stat) = covers.and_then(|target| rustix::fs::fstat(target).ok())
    {
        data.push(("mode".into(), Some(format!("{:o}", stat.st_mode & 0o7777))));
    }
    if options.set & attr::RDONLY != 0 && !is_of_no_device(&mount.kind) && mount.kind != "overlay" {
        // Of a file system on a disk: not even its journal may be written.
        data.push(("ro".into(), None));
    }
    let made = sys::mount::filesystem(&mount.kind, &mount.source, &data, options.set)
        .map_err(|(e, what)| failed(mount, &what, e))?;
    // A new mount is private, and has nothing set that could be cleared.
    let private = |(kind, _): &(u64, bool)| *kind == attr::PROPAGATION_PRIVATE;
    if options.set_all | options.clear_all != 0 || !options.propagation.iter().all(private) {
        let rest = Options { set: 0, clear: 0, ..options.clone() };
        change(made.as_fd(), &rest).map_err(|e| failed(mount, "mount_setattr", e))?;
    }
    Ok(made)
}

/// Opens the directory of a mount point, making it if need be. `/proc`, `/sys` and `/dev` must be directories and not
/// links to some: programs trust what is mounted there.
pub(crate) fn directory(root: BorrowedFd, destination: &str) -> Result<OwnedFd, Errno> {
    let Some(name) = ["proc", "sys", "dev"].into_iter().find(|name| is(destination, name)) else {
        return rootfs::create_dir_all(root, destination.as_bytes(), 0o755);
    };
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    match rustix::fs::openat(root, name, flags, Mode::empty()) {
        Err(Errno::NOENT) => {
            rustix::fs::mkdirat(root, name, Mode::from_raw_mode(0o755))?;
            rustix::fs::openat(root, name, flags, Mode::empty())
        }
        other => other,
    }
}

/// Refuses to cover parts of procfs, where this runtime and the container's programs read and write, and to put anything
/// but a procfs (`what` is a mount of one) in its place.
fn not_procfs(mount: &Mount, target: BorrowedFd, what: bool) -> Result<(), Failure> {
    let refuse = |why: &str| {
        let text = format!("{:?} cannot be mounted because it is {why}", mount.destination);
        Err(Failure::invalid(&format!("mount {}", mount.destination), text))
    };
    if is(&mount.destination, "proc") {
        return if what { Ok(()) } else { refuse("not of type proc") };
    }
    if is_procfs(target) && !OVER_PROC.contains(&mount.destination.as_str()) {
        return refuse("inside /proc");
    }
    Ok(())
}

fn is_procfs(fd: BorrowedFd) -> bool {
    rustix::fs::fstatfs(fd).is_ok_and(|fs| fs.f_type as u64 == PROC_MAGIC)
}

/// The failure of [`directory`].
fn no_directory(mount: &Mount, errno: Errno) -> Failure {
    let place = ["proc", "sys", "dev"].into_iter().any(|name| is(&mount.destination, name));
    if place && [Errno::NOTDIR, Errno::LOOP].contains(&errno) {
        let what = format!("filesystem {:?} must be mounted on ordinary directory", mount.kind);
        return failed(mount, &what, errno);
    }
    failed(mount, "create mountpoint", errno)
}

/// Whether `mount` shows the container's cgroup.
pub(crate) fn shows_cgroup(mount: &Mount) -> bool {
    mount.kind == "cgroup" || mount.kind == "cgroup2"
}

/// The options of the tmpfs that `/dev` gets when the configuration mounts none.
pub(crate) fn default_dev() -> (Mount, Options) {
    let words = ["nosuid", "strictatime", "mode=755", "size=65536k"];
    let options: Vec<String> = words.iter().map(|o| (*o).to_string()).collect();
    let parsed = options::parse("/dev", "tmpfs", &options).unwrap_or_default();
    let mount =
        Mount { destination: "/dev".into(), kind: "tmpfs".into(), source: "tmpfs".into(), options, ..Mount::default() };
    (mount, parsed)
}
