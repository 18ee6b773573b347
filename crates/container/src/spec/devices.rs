//! Device nodes in a container, and who may use which numbers.

use super::resources::errno_text;
use crate::error::{Error, Result, invalid};
use api::container::{DeviceMapping, HostConfig};
use oci::runtime::{Device, DeviceRule};
use rustix::fs::{FileType, Mode, OFlags, Stat, major, minor};
use rustix::io::Errno;
use std::path::{Path, PathBuf};

/// The most nodes that one `--device` directory, or the host's /dev, gives.
const MAX_NODES: usize = 4096;

/// A node of the host under `path` in the container.
fn node(stat: &Stat, path: &str) -> Option<Device> {
    let kind = match FileType::from_raw_mode(stat.st_mode) {
        FileType::CharacterDevice => "c",
        FileType::BlockDevice => "b",
        _ => return None,
    };
    Some(Device {
        path: path.into(),
        kind: kind.into(),
        major: major(stat.st_rdev).into(),
        minor: minor(stat.st_rdev).into(),
        file_mode: Some(stat.st_mode & 0o7777),
        uid: Some(stat.st_uid),
        gid: Some(stat.st_gid),
    })
}

/// The nodes of one `--device`, each with its permissions: the node itself, or all those in a directory.
///
/// # Errors
/// When there is no device.
pub(crate) fn from_mapping(mapping: &DeviceMapping) -> Result<Vec<(Device, String)>> {
    let (host, permissions) = (mapping.path_on_host.as_str(), &mapping.cgroup_permissions);
    let wrong = |why: String| {
        Error::Invalid(format!("error gathering device information while adding custom device {host:?}: {why}"))
    };
    let stat = rustix::fs::stat(host).map_err(|e| wrong(errno_text(e)))?;
    if let Some(device) = node(&stat, &mapping.path_in_container) {
        return Ok(vec![(device, permissions.clone())]);
    }
    if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
        return Err(wrong("not a device node".into()));
    }
    let mut out = Vec::new();
    walk(Path::new(host), &mapping.path_in_container, &|_| true, &mut out).map_err(|e| wrong(errno_text(e)))?;
    match out.is_empty() {
        true => Err(wrong("not a device node".into())),
        false => Ok(out.into_iter().map(|d| (d, permissions.clone())).collect()),
    }
}

/// All devices of the host, for a privileged container: not its terminals, queues, shared memory and consoles.
///
/// # Errors
/// When /dev cannot be read.
pub(crate) fn all_of_host() -> Result<Vec<(Device, String)>> {
    let wanted = |path: &str| {
        !matches!(
            path,
            "/dev/pts"
                | "/dev/shm"
                | "/dev/fd"
                | "/dev/mqueue"
                | "/dev/.lxc"
                | "/dev/.lxd-mounts"
                | "/dev/.udev"
                | "/dev/console"
        )
    };
    let mut out = Vec::new();
    walk(Path::new("/dev"), "/dev", &wanted, &mut out)
        .map_err(|e| Error::System(format!("reading /dev: {}", errno_text(e))))?;
    Ok(out.into_iter().map(|d| (d, "rwm".to_owned())).collect())
}

fn walk(host: &Path, container: &str, wanted: &dyn Fn(&str) -> bool, out: &mut Vec<Device>) -> rustix::io::Result<()> {
    let mut pending: Vec<(PathBuf, String)> = vec![(host.to_owned(), container.to_owned())];
    while let Some((host, container)) = pending.pop() {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let directory = match rustix::fs::open(&host, flags, Mode::empty()) {
            Ok(directory) => directory,
            Err(e) if out.is_empty() && pending.is_empty() => return Err(e),
            Err(_) => continue,
        };
        for entry in rustix::fs::Dir::read_from(&directory)? {
            let entry = entry?;
            let Ok(name) = entry.file_name().to_str() else { continue };
            if name == "." || name == ".." {
                continue;
            }
            let inside = format!("{}/{name}", container.trim_end_matches('/'));
            if !wanted(&inside) {
                continue;
            }
            let found = rustix::fs::statat(&directory, entry.file_name(), rustix::fs::AtFlags::SYMLINK_NOFOLLOW);
            let stat = match found {
                Ok(stat) => stat,
                Err(Errno::NOENT) => continue,
                Err(e) => return Err(e),
            };
            if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
                pending.push((host.join(name), inside));
            } else if let Some(device) = node(&stat, &inside) {
                out.push(device);
            }
            if out.len() > MAX_NODES || pending.len() > MAX_NODES {
                return Err(Errno::TOOBIG);
            }
        }
    }
    out.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(())
}

fn allow(allow: bool, kind: &str, major: Option<i64>, minor: Option<i64>, access: &str) -> DeviceRule {
    DeviceRule { allow, kind: kind.into(), major, minor, access: access.into() }
}

/// The nodes to make, and the rules in the order in which they are applied.
pub(super) fn nodes_and_rules(
    host: &HostConfig,
    devices: &[(Device, String)],
) -> Result<(Vec<Device>, Vec<DeviceRule>)> {
    let nodes = devices.iter().map(|(d, _)| d.clone()).collect();
    if host.privileged {
        return Ok((nodes, vec![allow(true, "", None, None, "rwm")]));
    }
    let mut rules = vec![allow(false, "", None, None, "rwm")];
    for (major, minor) in [(1, 5), (1, 3), (1, 9), (1, 8), (5, 0), (5, 1)] {
        rules.push(allow(true, "c", Some(major), Some(minor), "rwm"));
    }
    // FUSE; in the list so that nothing before it can have let it in.
    rules.push(allow(false, "c", Some(10), Some(229), "rwm"));
    rules.extend(devices.iter().map(|(d, access)| allow(true, &d.kind, Some(d.major), Some(d.minor), access)));
    for text in &host.resources.device_cgroup_rules {
        rules.push(rule(text)?);
    }
    Ok((nodes, rules))
}

/// `c 1:3 rwm`, `b 8:* r`, `a *:* rwm`.
///
/// # Errors
/// When it is not of that form.
pub(crate) fn rule(text: &str) -> Result<DeviceRule> {
    let bad = || invalid!("invalid device cgroup rule format: '{text}'");
    let parts: Vec<&str> = text.split(' ').collect();
    let [kind, numbers, access] = parts[..] else { return Err(bad()) };
    let (first, second) = numbers.split_once(':').ok_or_else(bad)?;
    let number = |n: &str| match n {
        "*" => Ok(None),
        n if !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()) => {
            n.parse::<u32>().map(|n| Some(n.into())).map_err(|_| bad())
        }
        _ => Err(bad()),
    };
    if !matches!(kind, "a" | "b" | "c")
        || access.is_empty()
        || access.len() > 3
        || !access.chars().all(|c| "rwm".contains(c))
    {
        return Err(bad());
    }
    Ok(allow(true, kind, number(first)?, number(second)?, access))
}
