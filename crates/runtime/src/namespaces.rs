//! Which namespaces a container is made in, read and checked.

use crate::Failure;
use crate::plan::errno;
use crate::sysctl::Own;
use oci::runtime::{self as spec, Linux};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use sys::clone::flags as ns;

/// Namespaces to make and to join.
#[derive(Debug, Default)]
pub(crate) struct Namespaces {
    /// Made by clone3.
    pub new: u64,
    /// Made by the child, once it is in its cgroup: its root is where the process is at that moment.
    pub new_cgroup: bool,
    /// Made by the child when clocks are shifted; `clock seconds nanoseconds` lines.
    pub clocks: Option<String>,
    /// Joined by the child, in this order.
    pub join: Vec<(u64, OwnedFd)>,
    /// Joined by the parent for its next child.
    pub join_pid: Option<OwnedFd>,
    /// Of a new user namespace: the lines of uid_map and gid_map.
    pub maps: Option<(String, String)>,
}

impl Namespaces {
    /// Every kind that is not the host's.
    pub fn own(&self) -> u64 {
        let joined = self.join.iter().fold(0, |all, (kind, _)| all | kind);
        let pid = if self.join_pid.is_some() { ns::NEWPID } else { 0 };
        let cgroup = if self.new_cgroup { ns::NEWCGROUP } else { 0 };
        let time = if self.clocks.is_some() { ns::NEWTIME } else { 0 };
        self.new | joined | pid | cgroup | time
    }

    /// A user namespace to join before others are made, which otherwise would belong to the host's.
    pub fn user_before(&self) -> Option<BorrowedFd<'_>> {
        let joined = self.join.iter().find(|(kind, _)| *kind == ns::NEWUSER);
        joined.filter(|_| self.new != 0).map(|(_, fd)| fd.as_fd())
    }

    /// Joins, with the host's rights, what may not belong to the user namespace that is joined next. What needs that one's
    /// rights is left for later.
    pub fn join_as_host(&self) -> Result<(), Failure> {
        for (kind, fd) in self.join.iter().filter(|(kind, _)| ![ns::NEWUSER, ns::NEWNS].contains(kind)) {
            match sys::setns(fd.as_fd(), *kind) {
                Ok(()) | Err(Errno::PERM) => {}
                Err(e) => return Err(Failure::system("namespaces", "join a namespace", e)),
            }
        }
        Ok(())
    }

    /// The process has only the rights of a user namespace.
    pub fn has_user(&self) -> bool {
        self.own() & ns::NEWUSER != 0
    }
}

/// Those of a configuration; `netns` stands in for its network namespace.
pub(crate) fn read(linux: &Linux, netns: Option<BorrowedFd>) -> Result<Namespaces, Failure> {
    let invalid = |text: String| Failure::invalid("namespaces", text);
    let system = |path: &str, e| Failure::system("namespaces", &format!("open namespace {path}"), e);
    let (mut found, mut seen) = (Namespaces::default(), 0u64);
    for namespace in &linux.namespaces {
        let kind = match namespace.kind.as_str() {
            "pid" => ns::NEWPID,
            "network" => ns::NEWNET,
            "mount" => ns::NEWNS,
            "ipc" => ns::NEWIPC,
            "uts" => ns::NEWUTS,
            "user" => ns::NEWUSER,
            "cgroup" => ns::NEWCGROUP,
            "time" => ns::NEWTIME,
            other => return Err(invalid(format!("unknown namespace {other:?}"))),
        };
        if seen & kind != 0 {
            return Err(invalid(format!("duplicated namespace {:?}", namespace.kind)));
        }
        seen |= kind;
        if kind == ns::NEWNET && netns.is_some() {
            continue;
        }
        if namespace.path.is_empty() {
            match kind {
                ns::NEWCGROUP => found.new_cgroup = true,
                // Its clocks can be set only before the first process is in it: the child makes it by itself.
                ns::NEWTIME if !linux.time_offsets.is_empty() => found.clocks = Some(clocks(linux)?),
                _ => found.new |= kind,
            }
            continue;
        }
        let fd = rustix::fs::open(namespace.path.as_str(), OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
            .map_err(|e| system(&namespace.path, e))?;
        if kind == ns::NEWPID { found.join_pid = Some(fd) } else { found.join.push((kind, fd)) }
    }
    if let Some(fd) = netns {
        found.join.push((
            ns::NEWNET,
            fd.try_clone_to_owned()
                .map_err(|e| Failure::system("namespaces", "duplicate the network namespace", errno(&e)))?,
        ));
    }
    if !linux.time_offsets.is_empty() && found.clocks.is_none() {
        return Err(invalid("timeOffsets need a new time namespace".into()));
    }
    user(linux, &mut found)?;
    // The user namespace first: it gives the right to join the others.
    found.join.sort_by_key(|(kind, _)| (*kind != ns::NEWUSER, *kind == ns::NEWNS));
    Ok(found)
}

fn user(linux: &Linux, found: &mut Namespaces) -> Result<(), Failure> {
    let invalid = |text: &str| Err(Failure::invalid("namespaces", text.into()));
    let mapped = !linux.uid_mappings.is_empty() || !linux.gid_mappings.is_empty();
    if found.new & ns::NEWUSER != 0 {
        if linux.uid_mappings.is_empty() || linux.gid_mappings.is_empty() {
            return invalid("a new user namespace needs uidMappings and gidMappings");
        }
        found.maps = Some((map_lines(&linux.uid_mappings), map_lines(&linux.gid_mappings)));
    } else if mapped && !found.join.iter().any(|(kind, _)| *kind == ns::NEWUSER) {
        return invalid("uidMappings and gidMappings need a user namespace");
    }
    Ok(())
}

/// The lines of uid_map or gid_map.
pub(crate) fn map_lines(maps: &[spec::IdMapping]) -> String {
    maps.iter().map(|m| format!("{} {} {}\n", m.container_id, m.host_id, m.size)).collect()
}

fn clocks(linux: &Linux) -> Result<String, Failure> {
    let mut lines = String::new();
    for (clock, offset) in &linux.time_offsets {
        if clock != "monotonic" && clock != "boottime" {
            return Err(Failure::invalid("namespaces", format!("timeOffsets of an unknown clock {clock:?}")));
        }
        lines.push_str(&format!("{clock} {} {}\n", offset.secs, offset.nanosecs));
    }
    Ok(lines)
}

/// Whether this process is in the namespace `fd`; `None` when that cannot be found out.
pub(crate) fn is_in(kind: u64, fd: BorrowedFd) -> Option<bool> {
    let name = match kind {
        ns::NEWNET => "net",
        ns::NEWIPC => "ipc",
        ns::NEWUTS => "uts",
        ns::NEWUSER => "user",
        ns::NEWCGROUP => "cgroup",
        ns::NEWTIME => "time",
        ns::NEWNS => "mnt",
        _ => return None,
    };
    let here = rustix::fs::stat(format!("/proc/self/ns/{name}")).ok()?;
    let there = rustix::fs::fstat(fd).ok()?;
    Some((here.st_dev, here.st_ino) == (there.st_dev, there.st_ino))
}

/// Which namespaces really are others than the host's: a path may name the host's own.
pub(crate) fn own(namespaces: &Namespaces) -> Own {
    let of = |kind: u64| match namespaces.join.iter().find(|(k, _)| *k == kind) {
        None => namespaces.new & kind != 0,
        Some((_, fd)) => is_in(kind, fd.as_fd()) == Some(false),
    };
    Own { ipc: of(ns::NEWIPC), network: of(ns::NEWNET), uts: of(ns::NEWUTS), user: of(ns::NEWUSER) }
}
