//! A container's cgroup, on v1, v2 and the hybrid of both.
//!
//! ```text
//! mod.rs      finding the hierarchies, making, joining, freezing, killing, removing
//! place.rs    where it is to be and who makes it: we do, or systemd as a scope
//! v1.rs       limits as v1 controllers take them
//! v2.rs       limits as v2 takes them
//! devices.rs  the device policy: lines for v1, a BPF program for v2
//! ```
//!
//! Everything is written through directory descriptors of the container's own cgroup, opened once. On a hybrid host the v1
//! controllers hold the limits, as in every other engine; the empty v2 tree is left alone.

mod devices;
mod place;
mod v1;
pub(crate) mod v2;

pub use place::{Place, release};

use crate::{Failure, FailureKind, create};
use oci::runtime::{DeviceRule, Resources};
use rustix::event::{EventfdFlags, eventfd};
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, fstatfs, mkdirat, openat, unlinkat};
use rustix::io::Errno;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

const ROOT: &str = "/sys/fs/cgroup";
const CGROUP_MAGIC: u64 = 0x0027_e0eb;
const CGROUP2_MAGIC: u64 = 0x6367_7270;
/// Every v1 hierarchy a container joins where the host has it; those with an own `=` name come last.
const CONTROLLERS: [&str; 13] = [
    "freezer",
    "devices",
    "memory",
    "cpu",
    "cpuacct",
    "cpuset",
    "blkio",
    "pids",
    "net_cls",
    "net_prio",
    "perf_event",
    "hugetlb",
    "systemd",
];
/// How deep cgroups that a container made for itself may nest for us to follow.
const MAX_DEPTH: usize = 64;
/// How long removal and freezing wait for the kernel.
const PATIENCE: Duration = Duration::from_secs(5);

/// One cgroup of a v1 hierarchy.
struct Controller {
    name: &'static str,
    dir: OwnedFd,
}

enum Tree {
    V1(Vec<Controller>),
    V2(OwnedFd),
}

/// A container's cgroup: one directory on v2, one per hierarchy on v1.
pub struct Cgroup {
    path: String,
    tree: Tree,
}

/// Where a container's cgroup lies on the host, for mounting it into the container.
#[derive(Debug)]
pub struct View {
    /// The directory's name below `/sys/fs/cgroup`; empty on v2.
    pub name: String,
    /// The container's cgroup in it.
    pub path: PathBuf,
    /// A mount of it, attached nowhere, for who does not see the host's.
    pub tree: Option<OwnedFd>,
}

fn open_dir(at: BorrowedFd, path: &str) -> Result<OwnedFd, Errno> {
    openat(at, path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
}

fn open_root(path: &str) -> Result<OwnedFd, Errno> {
    open_dir(rustix::fs::CWD, path)
}

fn magic(dir: &OwnedFd) -> u64 {
    fstatfs(dir).map_or(0, |fs| fs.f_type as u64)
}

/// The roots of this host's hierarchies, found once.
static ROOTS: OnceLock<Tree> = OnceLock::new();

/// Finds the hierarchies.
pub(crate) fn prepare() {
    let _ = roots();
}

fn roots() -> Result<&'static Tree, Failure> {
    match ROOTS.get() {
        Some(roots) => Ok(roots),
        None => {
            let found = find_roots()?;
            Ok(ROOTS.get_or_init(|| found))
        }
    }
}

/// The roots of this host's hierarchies: v2 alone, or the v1 controllers.
fn find_roots() -> Result<Tree, Failure> {
    let missing = |errno| Failure::system("cgroup", "cgroups are not mounted at /sys/fs/cgroup", errno);
    let root = open_root(ROOT).map_err(missing)?;
    if magic(&root) == CGROUP2_MAGIC {
        return Ok(Tree::V2(root));
    }
    let controllers: Vec<Controller> = CONTROLLERS
        .iter()
        .filter_map(|name| Some(Controller { name, dir: open_dir(root.as_fd(), name).ok()? }))
        .filter(|c| magic(&c.dir) == CGROUP_MAGIC)
        .collect();
    if !controllers.iter().any(|c| c.name == "devices") {
        return Err(missing(Errno::NOENT));
    }
    Ok(Tree::V1(controllers))
}

/// `/parent/<id>`: absolute, without `.` and `..`.
fn components(path: &str) -> Result<Vec<&str>, Failure> {
    let parts: Vec<&str> = path.split('/').filter(|p| !p.is_empty()).collect();
    if !path.starts_with('/')
        || parts.is_empty()
        || parts.iter().any(|p| *p == "." || *p == ".." || p.contains(['\0', '\n']))
    {
        return Err(Failure::invalid(
            "cgroup",
            format!("cgroup path {path:?} is not an absolute path below the cgroup root"),
        ));
    }
    Ok(parts)
}

/// Makes the directories of `parts` below `root`. Also whether nobody can have been in the last one yet.
fn make(name: &str, root: &OwnedFd, parts: &[&str]) -> Result<(OwnedFd, bool), Failure> {
    let fail = |errno| Failure::system("cgroup", &format!("cannot make cgroup /{} in {name}", parts.join("/")), errno);
    let (last, parents) = parts.split_last().ok_or_else(|| fail(Errno::INVAL))?;
    // One call when the parent is there already, as for every container but the first.
    let whole = parts.join("/");
    let mode = Mode::from_raw_mode(0o755);
    match mkdirat(root, whole.as_str(), mode) {
        Ok(()) => return open_dir(root.as_fd(), &whole).map(|dir| (dir, true)).map_err(fail),
        Err(Errno::EXIST) => return open_dir(root.as_fd(), &whole).map(|dir| (dir, false)).map_err(fail),
        Err(Errno::NOENT) => {}
        Err(errno) => return Err(fail(errno)),
    }
    let mut at = rustix::io::fcntl_dupfd_cloexec(root, 0).map_err(fail)?;
    for part in parents {
        match mkdirat(&at, *part, mode) {
            Ok(()) | Err(Errno::EXIST) => at = open_dir(at.as_fd(), part).map_err(fail)?,
            Err(errno) => return Err(fail(errno)),
        }
    }
    match mkdirat(&at, *last, mode) {
        Ok(()) | Err(Errno::EXIST) => open_dir(at.as_fd(), last).map(|dir| (dir, false)).map_err(fail),
        Err(errno) => Err(fail(errno)),
    }
}

fn write(dir: BorrowedFd, file: &str, value: &[u8]) -> Result<(), Errno> {
    let fd = openat(dir, file, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?;
    rustix::io::write(&fd, value)?;
    Ok(())
}

fn read(dir: BorrowedFd, file: &str) -> Result<String, Errno> {
    let fd = openat(dir, file, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    let mut out = Vec::new();
    let mut buf = [0; 4096];
    loop {
        match rustix::io::read(&fd, &mut buf)? {
            0 => return Ok(String::from_utf8_lossy(&out).into_owned()),
            n => out.extend_from_slice(&buf[..n]),
        }
    }
}

/// Sets one limit; the failure names the field of the specification, the file and the value.
fn set(dir: BorrowedFd, field: &str, file: &str, value: &str) -> Result<(), Failure> {
    write(dir, file, value.as_bytes()).map_err(|errno| {
        let mut failure = Failure::system("cgroup", &format!("cannot set {field}: write {value:?} to {file}"), errno);
        if errno == Errno::NOENT {
            failure.kind = FailureKind::Invalid;
            failure.text = format!("cannot set {field}: this kernel has no {file}");
        }
        failure
    })
}

/// The number after `key` in a file of lines `key number`.
fn counter(dir: BorrowedFd, file: &str, key: &str) -> Option<u64> {
    read(dir, file).ok()?.lines().find_map(|l| l.strip_prefix(key)?.trim().parse().ok())
}

/// Calls `visit` with `dir` and every cgroup below it, children first.
fn walk(dir: BorrowedFd, depth: usize, visit: &mut dyn FnMut(BorrowedFd)) {
    if depth < MAX_DEPTH {
        for name in children(dir) {
            if let Ok(child) = open_dir(dir, &name) {
                walk(child.as_fd(), depth + 1, visit);
            }
        }
    }
    visit(dir);
}

fn children(dir: BorrowedFd) -> Vec<String> {
    // The descriptor is O_PATH: open it anew for reading.
    let Ok(readable) = openat(dir, ".", OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()) else {
        return vec![];
    };
    let Ok(entries) = Dir::new(readable) else { return vec![] };
    entries
        .filter_map(Result::ok)
        .filter(|e| e.file_type() == FileType::Directory)
        .filter_map(|e| e.file_name().to_str().ok().map(str::to_owned))
        .filter(|name| name != "." && name != "..")
        .collect()
}

/// What [`Cgroup::oom_alarm`] tells it by.
#[derive(Debug)]
pub enum OomAlarm {
    /// v1: an eventfd, readable when it has happened.
    Event(OwnedFd),
    /// v2: a file to be read first and then polled for `POLLPRI`; it must be read again each time.
    File(OwnedFd),
}

impl Cgroup {
    /// Makes the cgroup `path` (`/dhow/<id>`) in every hierarchy and sets the limits.
    ///
    /// # Errors
    /// `Invalid` for a path or a limit that cannot be; `System` when the kernel refuses. Nothing is left behind.
    pub fn create(path: &str, resources: &Resources) -> Result<Cgroup, Failure> {
        let (cgroup, all_new) = Cgroup::make(path)?;
        if !all_new {
            // Another's: not ours to take back.
            cgroup.refuse_used()?;
        }
        cgroup.set_up(resources).inspect_err(|_| {
            let _ = cgroup.remove();
        })?;
        Ok(cgroup)
    }

    /// Makes its directories, of which some may be there. Also whether none was.
    fn make(path: &str) -> Result<(Cgroup, bool), Failure> {
        let parts = components(path)?;
        let mut all_new = true;
        let tree = match roots()? {
            Tree::V2(root) => {
                let (dir, made) = make("the cgroup2 tree", root, &parts)?;
                if !v2::enabled(dir.as_fd()) {
                    v2::enable(root.as_fd(), &parts);
                }
                all_new &= made;
                Tree::V2(dir)
            }
            Tree::V1(roots) => {
                let mut dirs = Vec::with_capacity(roots.len());
                for root in roots {
                    match make(root.name, &root.dir, &parts) {
                        Ok((dir, made)) => {
                            all_new &= made;
                            dirs.push(Controller { name: root.name, dir });
                        }
                        Err(failure) => {
                            let _ = Cgroup { path: path.into(), tree: Tree::V1(dirs) }.remove();
                            return Err(failure);
                        }
                    }
                }
                Tree::V1(dirs)
            }
        };
        Ok((Cgroup { path: path.into(), tree }, all_new))
    }

    /// Refuses one that is in use.
    fn refuse_used(&self) -> Result<(), Failure> {
        let path = &self.path;
        let others = self.pids().len();
        if others > 0 {
            let text = format!("container's cgroup is not empty: {others} process(es) found in {path}");
            return Err(Failure::invalid("cgroup", text));
        }
        // Whoever froze it would freeze the container's first process before it is one, and whoever makes it with it.
        if self.is_frozen() {
            return Err(Failure::invalid("cgroup", format!("container's cgroup unexpectedly frozen: {path}")));
        }
        Ok(())
    }

    /// Sets everything that it is to have from the beginning.
    pub(crate) fn set_up(&self, resources: &Resources) -> Result<(), Failure> {
        let parts = components(&self.path)?;
        if let Tree::V1(_) = &self.tree {
            v1::inherit_cpuset(self, &parts)?;
        }
        self.limit(resources).or_else(|failure| match &self.tree {
            // Below a parent of somebody else's, which has some of the controllers.
            Tree::V2(_) if failure.errno == Errno::NOENT.raw_os_error() => {
                if let Ok(Tree::V2(root)) = roots() {
                    v2::enable(root.as_fd(), &parts);
                }
                self.limit(resources)
            }
            _ => Err(failure),
        })?;
        match self.allow_devices(&resources.devices) {
            // An ordinary user may load no program, and has no rights over devices but those of the user's own.
            Err(failure) if create::rootless() && failure.errno == Errno::PERM.raw_os_error() => Ok(()),
            other => other,
        }
    }

    /// That of a container which has none of its own, because its maker may not make any.
    pub fn none(path: &str) -> Cgroup {
        Cgroup { path: path.into(), tree: Tree::V1(Vec::new()) }
    }

    /// The cgroup of a container that exists; hierarchies where it is gone are left out.
    ///
    /// # Errors
    /// `System` when there is no such cgroup at all.
    pub fn open(path: &str) -> Result<Cgroup, Failure> {
        let whole = components(path)?.join("/");
        let gone = |errno| Failure::system("cgroup", &format!("cannot open cgroup {path}"), errno);
        let tree = match roots()? {
            Tree::V2(root) => Tree::V2(open_dir(root.as_fd(), &whole).map_err(gone)?),
            Tree::V1(roots) => {
                let dirs: Vec<Controller> = roots
                    .iter()
                    .filter_map(|c| Some(Controller { name: c.name, dir: open_dir(c.dir.as_fd(), &whole).ok()? }))
                    .collect();
                if dirs.is_empty() {
                    return Err(gone(Errno::NOENT));
                }
                Tree::V1(dirs)
            }
        };
        Ok(Cgroup { path: path.into(), tree })
    }

    /// The cgroup of v2 that process `pid` is in.
    ///
    /// # Errors
    /// `System` when there is no such process, or its cgroup is not below ours.
    pub fn of_process(pid: i32) -> Result<Cgroup, Failure> {
        let failed = |errno| Failure::system("cgroup", &format!("find the cgroup of process {pid}"), errno);
        let text =
            std::fs::read_to_string(format!("/proc/{pid}/cgroup")).map_err(|e| failed(crate::plan::errno(&e)))?;
        let path = text.lines().find_map(|line| line.strip_prefix("0::")).ok_or_else(|| failed(Errno::NOENT))?;
        Cgroup::open(path)
    }

    /// The path it was made with.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The directory for `CLONE_INTO_CGROUP`; `None` on v1, where [`Cgroup::join`] is the only way.
    pub fn v2_fd(&self) -> Option<BorrowedFd<'_>> {
        match &self.tree {
            Tree::V2(dir) => Some(dir.as_fd()),
            Tree::V1(_) => None,
        }
    }

    fn dirs(&self) -> Vec<BorrowedFd<'_>> {
        match &self.tree {
            Tree::V2(dir) => vec![dir.as_fd()],
            Tree::V1(dirs) => dirs.iter().map(|c| c.dir.as_fd()).collect(),
        }
    }

    /// The one directory that lists processes and freezes them: on v1 the freezer's, which comes first.
    fn main_dir(&self) -> Result<BorrowedFd<'_>, Failure> {
        let none = || Failure::invalid("cgroup", "the container has no cgroup of its own".into());
        match &self.tree {
            Tree::V2(dir) => Ok(dir.as_fd()),
            Tree::V1(dirs) => dirs.first().map(|first| first.dir.as_fd()).ok_or_else(none),
        }
    }

    /// Moves a process in. The first move on a host waits for an RCU grace period (several ms) unless dynamic moves are
    /// favoured there (cgroups(7), `favordynmods`).
    ///
    /// # Errors
    /// `System`: the process is gone or the kernel refuses.
    pub fn join(&self, pid: i32) -> Result<(), Failure> {
        let value = pid.to_string();
        for dir in self.dirs() {
            match write(dir, "cgroup.procs", value.as_bytes()) {
                Ok(()) => {}
                // An ordinary user's process comes from where only systemd may take it away.
                Err(Errno::ACCESS) if place::attach(&self.path, pid)? => {}
                Err(errno) => {
                    let what = format!("cannot move process {pid} into cgroup {}", self.path);
                    return Err(Failure::system("cgroup", &what, errno));
                }
            }
        }
        Ok(())
    }

    /// Sets the limits that `resources` has; the device policy stays.
    ///
    /// # Errors
    /// `Invalid` for what this kernel cannot limit, `System` for a value it refuses.
    pub fn update(&self, resources: &Resources) -> Result<(), Failure> {
        // It would set its own again when it goes over the unit.
        place::tell(&self.path, resources)?;
        self.limit(resources)
    }

    fn limit(&self, resources: &Resources) -> Result<(), Failure> {
        match &self.tree {
            Tree::V1(dirs) => v1::limit(dirs, resources),
            Tree::V2(dir) => v2::limit(dir.as_fd(), resources),
        }
    }

    fn allow_devices(&self, rules: &[DeviceRule]) -> Result<(), Failure> {
        match &self.tree {
            Tree::V1(dirs) => match dirs.iter().find(|c| c.name == "devices") {
                Some(c) => devices::allow_v1(c.dir.as_fd(), rules),
                None => Err(Failure::invalid("cgroup", "this host has no devices controller".into())),
            },
            Tree::V2(dir) => devices::allow_v2(dir.as_fd(), rules),
        }
    }

    /// Every process in it and in the cgroups that it made for itself, as the caller's pid namespace sees them.
    pub fn pids(&self) -> Vec<i32> {
        let mut out = Vec::new();
        let Ok(main) = self.main_dir() else { return out };
        walk(main, 0, &mut |dir| {
            if let Ok(text) = read(dir, "cgroup.procs") {
                // 0 is a process that our pid namespace does not see.
                out.extend(text.lines().filter_map(|l| l.parse::<i32>().ok()).filter(|pid| *pid > 0));
            }
        });
        out
    }

    /// Sends a signal to every process.
    pub fn signal_all(&self, signal: i32) {
        for pid in self.pids() {
            let _ = sys::process::kill(pid, signal);
        }
    }

    /// Kills every process, also those being born meanwhile.
    pub fn kill_all(&self) {
        if let Tree::V2(dir) = &self.tree
            && write(dir.as_fd(), "cgroup.kill", b"1").is_ok()
        {
            return;
        }
        // Frozen processes cannot fork away from the list; the signal waits until they thaw.
        let deadline = Instant::now() + PATIENCE;
        loop {
            let frozen = self.pause().is_ok();
            self.signal_all(rustix::process::Signal::KILL.as_raw());
            if frozen {
                let _ = self.resume();
                return;
            }
            if self.pids().is_empty() || Instant::now() > deadline {
                return;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Stops every process where it is.
    ///
    /// # Errors
    /// `System` when they are not all frozen within five seconds; then they run on.
    pub fn pause(&self) -> Result<(), Failure> {
        let fail = |errno| Failure::system("cgroup", &format!("cannot freeze cgroup {}", self.path), errno);
        let deadline = Instant::now() + PATIENCE;
        let (file, value, state_file) = match &self.tree {
            Tree::V2(_) => ("cgroup.freeze", "1", "cgroup.events"),
            Tree::V1(_) => ("freezer.state", "FROZEN", "freezer.state"),
        };
        loop {
            // v1 wants the wish repeated while new processes keep appearing.
            let main = self.main_dir()?;
            write(main, file, value.as_bytes()).map_err(fail)?;
            let state = read(main, state_file).map_err(fail)?;
            if state.trim() == "FROZEN" || state.lines().any(|l| l == "frozen 1") {
                return Ok(());
            }
            if Instant::now() > deadline {
                let _ = self.resume();
                return Err(fail(Errno::TIMEDOUT));
            }
            std::thread::sleep(Duration::from_micros(200));
        }
    }

    /// Whether its processes are stopped where they are.
    pub fn is_frozen(&self) -> bool {
        let file = match &self.tree {
            Tree::V2(_) => "cgroup.freeze",
            Tree::V1(_) => "freezer.state",
        };
        let Ok(main) = self.main_dir() else { return false };
        read(main, file).is_ok_and(|state| ["1", "FROZEN", "FREEZING"].contains(&state.trim()))
    }

    /// What the kernel says in `file`, on v1 of `controller`; `None` when there is no such file here.
    pub fn read(&self, controller: &str, file: &str) -> Option<String> {
        let dir = match &self.tree {
            Tree::V2(dir) => dir,
            Tree::V1(dirs) => &dirs.iter().find(|c| c.name == controller)?.dir,
        };
        read(dir.as_fd(), file).ok()
    }

    /// A cgroup below this one, that exists: of an empty name everywhere, on v1 else of the controllers that are named, the
    /// others staying.
    ///
    /// # Errors
    /// `Invalid` for a path that leads elsewhere or a name that is no controller's; `System` when there is no such cgroup.
    pub fn below(mut self, paths: &[(String, String)]) -> Result<Cgroup, Failure> {
        for (name, path) in paths {
            let whole = format!("/{}", path.trim_start_matches('/'));
            let outside = |_| Failure::invalid("cgroup", format!("{path} is not a sub cgroup path"));
            let parts = if whole == "/" { Vec::new() } else { components(&whole).map_err(outside)? };
            let dirs: Vec<&mut OwnedFd> = match &mut self.tree {
                Tree::V2(dir) if name.is_empty() => vec![dir],
                Tree::V2(_) => Vec::new(),
                Tree::V1(dirs) => {
                    dirs.iter_mut().filter(|c| name.is_empty() || c.name == name).map(|c| &mut c.dir).collect()
                }
            };
            if dirs.is_empty() {
                return Err(Failure::invalid("cgroup", format!("unknown controller {name} in SubCgroupPaths")));
            }
            let what = format!("error adding pid to {}{whole}/cgroup.procs", self.path);
            for dir in dirs.into_iter().filter(|_| !parts.is_empty()) {
                *dir = open_dir(dir.as_fd(), &parts.join("/")).map_err(|e| Failure::system("cgroup", &what, e))?;
            }
        }
        Ok(self)
    }

    /// Lets every process go on.
    ///
    /// # Errors
    /// `System` when the kernel refuses.
    pub fn resume(&self) -> Result<(), Failure> {
        let (file, value) = match &self.tree {
            Tree::V2(_) => ("cgroup.freeze", "0"),
            Tree::V1(_) => ("freezer.state", "THAWED"),
        };
        write(self.main_dir()?, file, value.as_bytes())
            .map_err(|errno| Failure::system("cgroup", &format!("cannot thaw cgroup {}", self.path), errno))
    }

    /// How many processes the kernel has killed here for want of memory.
    pub fn oom_kills(&self) -> u64 {
        match &self.tree {
            Tree::V2(dir) => counter(dir.as_fd(), "memory.events", "oom_kill ").unwrap_or(0),
            Tree::V1(dirs) => dirs
                .iter()
                .find(|c| c.name == "memory")
                .and_then(|c| counter(c.dir.as_fd(), "memory.oom_control", "oom_kill "))
                .unwrap_or(0),
        }
    }

    /// What tells when a process of it is killed for want of memory; `None` where the kernel has no such thing.
    pub fn oom_alarm(&self) -> Option<OomAlarm> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        match &self.tree {
            Tree::V2(dir) => openat(dir, "memory.events", flags, Mode::empty()).ok().map(OomAlarm::File),
            Tree::V1(dirs) => {
                let memory = dirs.iter().find(|c| c.name == "memory")?.dir.as_fd();
                let control = openat(memory, "memory.oom_control", flags, Mode::empty()).ok()?;
                let event = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).ok()?;
                let pair = format!("{} {}", event.as_raw_fd(), control.as_raw_fd());
                write(memory, "cgroup.event_control", pair.as_bytes()).ok()?;
                Some(OomAlarm::Event(event))
            }
        }
    }

    /// Where it lies on the host, per hierarchy.
    pub fn views(&self) -> Vec<View> {
        let path = self.path.trim_start_matches('/');
        match &self.tree {
            Tree::V2(_) => vec![View { name: String::new(), path: [ROOT, path].iter().collect(), tree: None }],
            Tree::V1(dirs) => {
                let view = |c: &Controller| {
                    let path = [ROOT, c.name, path].iter().collect();
                    View { name: c.name.into(), path, tree: None }
                };
                dirs.iter().map(view).collect()
            }
        }
    }

    /// Removes it with the cgroups below it, waiting a little for the last processes to be gone, and stops the scope that it
    /// may belong to.
    ///
    /// # Errors
    /// `System` when processes are still in it after five seconds.
    pub fn remove(&self) -> Result<(), Failure> {
        let whole = self.path.trim_start_matches('/');
        let root_of = |name: &str| match roots().ok()? {
            Tree::V2(root) => Some(root.as_fd()),
            Tree::V1(roots) => roots.iter().find(|c| c.name == name).map(|c| c.dir.as_fd()),
        };
        let all: Vec<(&str, BorrowedFd)> = match &self.tree {
            Tree::V2(dir) => vec![("", dir.as_fd())],
            Tree::V1(dirs) => dirs.iter().map(|c| (c.name, c.dir.as_fd())).collect(),
        };
        let deadline = Instant::now() + PATIENCE;
        let mut first = None;
        for (name, dir) in all {
            let fail = |errno| {
                Failure::system("cgroup", &format!("cannot remove cgroup {} in {ROOT}/{name}", self.path), errno)
            };
            let root_dir = root_of(name).ok_or_else(|| fail(Errno::NOENT))?;
            let mut pause = Duration::from_micros(100);
            loop {
                match unlinkat(root_dir, whole, AtFlags::REMOVEDIR) {
                    Ok(()) | Err(Errno::NOENT) => break,
                    Err(Errno::BUSY) if Instant::now() < deadline => {
                        remove_children(dir, 0);
                        std::thread::sleep(pause);
                        pause = (pause * 2).min(Duration::from_millis(20));
                    }
                    Err(errno) => {
                        first.get_or_insert(fail(errno));
                        break;
                    }
                }
            }
        }
        first.map_or_else(|| release(&self.path), Err)
    }
}

fn remove_children(dir: BorrowedFd, depth: usize) {
    for name in children(dir) {
        if let Ok(child) = open_dir(dir, &name)
            && depth < MAX_DEPTH
        {
            remove_children(child.as_fd(), depth + 1);
        }
        let _ = unlinkat(dir, name.as_str(), AtFlags::REMOVEDIR);
    }
}

#[cfg(test)]
mod tests;
