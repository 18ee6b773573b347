//! Idmapped mounts: a bind whose files belong to other users than on the disk, without a file being touched. Whoever makes
//! one needs the host's rights over the file system, which the child may have given up: so the parent makes it, detached,
//! and the child inherits the descriptor. So it does with every bind of a container in a user namespace, whose root may not
//! even be able to reach what is bound.

use crate::create::{Attempt, write_proc};
use crate::namespaces::map_lines;
use crate::options::Options;
use crate::plan::Plan;
use crate::{Failure, mount};
use oci::runtime::{Linux, Mount};
use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;
use std::os::fd::{AsFd, OwnedFd};
use sys::clone::{Cloned, flags as ns};
use sys::mount::{MountAttr, PlainFd, attr};

/// A mapping as uid_map and gid_map take it.
type Maps = (String, String);

/// Whether `mount` can be what it asks for.
pub(crate) fn check(mount: &Mount, options: &Options, linux: Option<&Linux>) -> Result<(), Failure> {
    let invalid = |why: &str| {
        let text = format!("idmapped mount at {:?}: {why}", mount.destination);
        Err(Failure::invalid("mounts", text))
    };
    let mapped = !mount.uid_mappings.is_empty() || !mount.gid_mappings.is_empty();
    if !mapped && options.idmap.is_none() {
        return Ok(());
    }
    if options.binds().is_none() {
        return invalid("only a bind can have uidMappings and gidMappings");
    }
    if mapped && (mount.uid_mappings.is_empty() || mount.gid_mappings.is_empty()) {
        return invalid("uidMappings and gidMappings are needed both");
    }
    let user = linux.and_then(|linux| linux.namespaces.iter().find(|n| n.kind == "user"));
    if !mapped && user.is_none() {
        return invalid("without uidMappings and gidMappings it needs a user namespace");
    }
    Ok(())
}

/// The detached sources of the mounts that are idmapped, and last of the root.
pub(crate) fn open_sources(plan: &Plan) -> Result<Vec<Option<OwnedFd>>, Failure> {
    let root = (&plan.root, &plan.root_options);
    let all = plan.mounts.iter().map(|(mount, options)| (mount, options)).chain([root]);
    let idmapped = |mount: &Mount, options: &Options| options.idmap.is_some() || !mount.uid_mappings.is_empty();
    // With an ordinary user's rights mounts can be cloned only inside.
    let in_user = plan.namespaces.has_user() && !plan.rootless;
    let wanted = |(mount, options): &(&Mount, &Options)| {
        options.binds().is_some() && options.inside.is_none() && (in_user || idmapped(mount, options))
    };
    if !all.clone().any(|one| wanted(&one)) {
        return Ok(Vec::new());
    }
    let stays_shared = matches!(plan.root_propagation, Some((attr::PROPAGATION_SHARED, _)));
    let mut known: Vec<(Maps, OwnedFd)> = Vec::new();
    let mut open = |one: (&Mount, &Options)| {
        let (mount, options) = one;
        if !wanted(&one) {
            return Ok(None);
        }
        let failed = |what: &'static str| move |e| mount::failed(mount, what, e);
        let path = plan.base.join(&mount.source);
        let bytes = std::os::unix::ffi::OsStrExt::as_bytes(path.as_os_str());
        let tree = mount::clone_tree(CWD, bytes, options.bind == Some(true))
            .map_err(|e| mount::failed(mount, &format!("bind source {:?}", mount.source), e))?;
        if in_user || !stays_shared {
            // As it would be in the child's mount namespace: what is mounted there does not come here.
            mount::enslave(tree.as_fd()).map_err(failed("mount_setattr"))?;
        }
        if !idmapped(mount, options) {
            return Ok(Some(tree));
        }
        let joined = plan.namespaces.join.iter().find(|(kind, _)| *kind == ns::NEWUSER).map(|(_, fd)| fd.as_fd());
        let namespace = match (&plan.namespaces.maps, joined) {
            // The container's own, which another process has made.
            (_, Some(joined)) if mount.uid_mappings.is_empty() => joined,
            (own, _) => {
                let given = (map_lines(&mount.uid_mappings), map_lines(&mount.gid_mappings));
                let maps = if given.0.is_empty() { own.clone().unwrap_or_default() } else { given };
                let at = match known.iter().position(|(of, _)| *of == maps) {
                    Some(at) => at,
                    None => {
                        known.push((maps.clone(), namespace(&maps).map_err(failed("make a user namespace"))?));
                        known.len() - 1
                    }
                };
                known[at].1.as_fd()
            }
        };
        let change = MountAttr { set: attr::IDMAP, userns: Some(PlainFd(namespace)), ..MountAttr::default() };
        sys::mount_setattr(tree.as_fd(), c"", options.idmap == Some(true), &change)
            .map_err(failed("mount_setattr MOUNT_ATTR_IDMAP"))?;
        Ok(Some(tree))
    };
    all.map(&mut open).collect()
}

/// A user namespace with `maps`, in which nobody is.
fn namespace(maps: &Maps) -> Result<OwnedFd, Errno> {
    let (theirs, ours) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
    let (pid, pidfd) = match sys::clone3(ns::NEWUSER, None)? {
        Cloned::Child => {
            drop(ours);
            // Until it is killed, or the parent has gone.
            let _ = rustix::io::read(&theirs, &mut [0u8; 1]);
            sys::process::exit_now(0)
        }
        Cloned::Parent { pid, pidfd } => (pid, pidfd),
    };
    let _attempt = Attempt { pid, pidfd: Some(pidfd), cgroup: None, terminal: None };
    write_proc(pid, "uid_map", &maps.0)?;
    write_proc(pid, "gid_map", &maps.1)?;
    rustix::fs::open(format!("/proc/{pid}/ns/user"), OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
}
