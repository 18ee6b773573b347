//! The mounts of a container: the defaults, and its own over them.

use crate::check::Security;
use crate::mounts::{Depth, Kind, MountPoint};
use api::container::HostConfig;
use oci::runtime::Mount;

fn mount(destination: &str, kind: &str, source: &str, options: &[&str]) -> Mount {
    Mount {
        destination: destination.into(),
        kind: kind.into(),
        source: source.into(),
        options: options.iter().map(|o| o.to_string()).collect(),
        ..Mount::default()
    }
}

fn defaults(host: &HostConfig, security: &Security) -> Vec<Mount> {
    let mut sys = mount("/sys", "sysfs", "sysfs", &["nosuid", "noexec", "nodev"]);
    if !host.privileged {
        sys.options.push("ro".into());
    }
    let mut cgroup = mount("/sys/fs/cgroup", "cgroup", "cgroup", &["nosuid", "noexec", "nodev"]);
    if !security.writable_cgroups.unwrap_or(host.privileged) {
        cgroup.options.insert(0, "ro".into());
    }
    let mut shm = mount("/dev/shm", "tmpfs", "shm", &["nosuid", "noexec", "nodev", "mode=1777"]);
    shm.options.push(format!("size={}", host.shm_size));
    vec![
        mount("/proc", "proc", "proc", &["nosuid", "noexec", "nodev"]),
        mount("/dev", "tmpfs", "tmpfs", &["nosuid", "strictatime", "mode=755", "size=65536k"]),
        mount(
            "/dev/pts",
            "devpts",
            "devpts",
            &["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"],
        ),
        sys,
        cgroup,
        mount("/dev/mqueue", "mqueue", "mqueue", &["nosuid", "noexec", "nodev"]),
        shm,
    ]
}

/// The defaults that the container's own leave, then its own.
pub(super) fn all(host: &HostConfig, security: &Security, own: Vec<Mount>) -> Vec<Mount> {
    let covers = |destination: &str| own.iter().any(|m| m.destination == destination);
    let own_dev = covers("/dev");
    let mut out: Vec<Mount> = defaults(host, security)
        .into_iter()
        .filter(|m| !covers(&m.destination))
        .filter(|m| !(own_dev && m.destination.starts_with("/dev/")))
        .filter(|m| !(m.destination == "/dev/shm" && host.ipc_mode == "none"))
        .collect();
    out.extend(own);
    out
}

/// The root must hand on what a mount below it is to receive or to show.
pub(super) fn root_propagation(own: &[Mount]) -> String {
    let any = |names: [&str; 2]| own.iter().any(|m| m.options.iter().any(|o| names.contains(&o.as_str())));
    if any(["shared", "rshared"]) {
        "shared".into()
    } else if any(["slave", "rslave"]) {
        "rslave".into()
    } else {
        String::new()
    }
}

/// A bind, a volume whose `source` is known by now, or a tmpfs.
pub(crate) fn bind(point: &MountPoint, source: &str) -> Mount {
    if point.kind == Kind::Tmpfs {
        return Mount {
            destination: point.destination.clone(),
            kind: "tmpfs".into(),
            source: "tmpfs".into(),
            options: point.options.clone(),
            ..Mount::default()
        };
    }
    let mut options = vec![if point.non_recursive { "bind" } else { "rbind" }.to_owned()];
    if !point.rw {
        options.push(if point.read_only == Depth::Top { "ro" } else { "rro" }.to_owned());
    }
    let propagation = if point.propagation.is_empty() { "rprivate" } else { &point.propagation };
    options.push(propagation.to_owned());
    Mount {
        destination: point.destination.clone(),
        kind: "bind".into(),
        source: source.into(),
        options,
        ..Mount::default()
    }
}
