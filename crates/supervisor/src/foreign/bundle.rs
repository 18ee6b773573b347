//! The bundle of a foreign runtime.
//!
//! Its root file system is mounted in a mount namespace that belongs to the supervisor alone, so the host never shows
//! it, and it vanishes with the supervisor whatever happens.

use crate::protocol::{Failure, Launch};
use crate::serve::{failure, refusal};
use oci::runtime::{DeviceRule, Mount, Root, Spec};
use rustix::mount::{MountFlags, UnmountFlags};
use std::ffi::CString;
use std::fs::Permissions;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// Where the container finds the init process that `--init` asks for.
const INIT: &str = "/sbin/docker-init";
/// The version that the document says it is of. Runtimes of Debian 12 refuse one that is newer than they are, whatever it
/// has in it; what a runtime does not know it leaves out or refuses under any version.
const OCI_VERSION: &str = "1.0.2";

/// Writes the bundle below `directory`; `true` when the root file system has been mounted in it.
pub(super) fn write(directory: &Path, launch: &Launch, netns: Option<&OwnedFd>) -> Result<bool, Failure> {
    let bundle = directory.join("bundle");
    let root = bundle.join("rootfs");
    std::fs::create_dir_all(&root).map_err(|e| failure("bundle", e))?;
    let mut spec = Spec { oci_version: OCI_VERSION.into(), ..launch.spec.clone() };
    if let Some(rootfs) = &launch.rootfs {
        mount(rootfs, &launch.rootfs_base, &root)?;
        let readonly = spec.root.as_ref().is_some_and(|r| r.readonly);
        spec.root = Some(Root { path: root, readonly });
    }
    join_network(&mut spec, netns);
    omit_unlimited(&mut spec);
    omit_redundant(&mut spec);
    if launch.init {
        add_init(&mut spec, &bundle)?;
    }
    let text = serde_json::to_vec(&spec).map_err(|e| failure("bundle", e.into()))?;
    std::fs::write(bundle.join("config.json"), text).map_err(|e| failure("bundle", e))?;
    Ok(launch.rootfs.is_some())
}

/// Takes the root file system away again.
pub(super) fn unmount(directory: &Path) {
    let _ = rustix::mount::unmount(directory.join("bundle/rootfs"), UnmountFlags::DETACH);
}

fn mount(rootfs: &Mount, base: &Path, target: &Path) -> Result<(), Failure> {
    let fail = |errno: rustix::io::Errno| failure("mount root file system", errno.into());
    sys::unshare(sys::clone::flags::NEWNS).map_err(fail)?;
    // Slave, not private: what the host unmounts must not live on in here.
    sys::chroot::propagate(sys::mount::attr::PROPAGATION_SLAVE, true).map_err(fail)?;
    let mut flags = MountFlags::empty();
    let mut data = Vec::new();
    let mut bind = rootfs.kind == "bind";
    for option in &rootfs.options {
        match option.as_str() {
            "bind" | "rbind" => bind = true,
            "ro" => flags |= MountFlags::RDONLY,
            "nosuid" => flags |= MountFlags::NOSUID,
            "nodev" => flags |= MountFlags::NODEV,
            "noexec" => flags |= MountFlags::NOEXEC,
            "noatime" => flags |= MountFlags::NOATIME,
            "rw" | "private" | "rprivate" => {}
            other => data.push(other),
        }
    }
    rustix::process::chdir(base).map_err(fail)?;
    let mounted = if bind {
        rustix::mount::mount_bind_recursive(rootfs.source.as_str(), target).and_then(|()| {
            let again = MountFlags::BIND | flags;
            if flags.is_empty() { Ok(()) } else { rustix::mount::mount_remount(target, again, c"") }
        })
    } else {
        let data = CString::new(data.join(",")).map_err(|_| refusal("mount root file system", "a zero byte"))?;
        rustix::mount::mount(rootfs.source.as_str(), target, rootfs.kind.as_str(), flags, data.as_c_str())
    };
    rustix::process::chdir("/").map_err(fail)?;
    mounted.map_err(fail)
}

/// The passed network namespace is named by our own descriptor.
fn join_network(spec: &mut Spec, netns: Option<&OwnedFd>) {
    let (Some(netns), Some(linux)) = (netns, &mut spec.linux) else { return };
    for namespace in linux.namespaces.iter_mut().filter(|n| n.kind == "network") {
        namespace.path = format!("/proc/{}/fd/{}", std::process::id(), netns.as_raw_fd());
    }
}

/// A new cgroup has no limit of processes; the -1 that says so is more than some versions of crun understand.
fn omit_unlimited(spec: &mut Spec) {
    if let Some(resources) = spec.linux.as_mut().and_then(|linux| linux.resources.as_mut()) {
        resources.pids.take_if(|pids| pids.limit <= 0);
    }
}

/// Rules that take a device away which none before has given. Where systemd makes the cgroup, crun up to 1.21 can do none of
/// them, and Docker's defaults have one.
fn omit_redundant(spec: &mut Spec) {
    let Some(resources) = spec.linux.as_mut().and_then(|linux| linux.resources.as_mut()) else { return };
    let of_all = |kind: &str| matches!(kind, "" | "a");
    let any = |number: Option<i64>| number.is_none_or(|n| n == -1);
    let meet = |a: &DeviceRule, b: &DeviceRule| {
        (of_all(&a.kind) || of_all(&b.kind) || a.kind == b.kind)
            && (any(a.major) || any(b.major) || a.major == b.major)
            && (any(a.minor) || any(b.minor) || a.minor == b.minor)
    };
    let rules = std::mem::take(&mut resources.devices);
    let begins_empty = rules.first().is_some_and(|r| !r.allow && of_all(&r.kind) && any(r.major) && any(r.minor));
    let redundant = |at: usize, rule: &DeviceRule| {
        begins_empty && at > 0 && !rule.allow && !rules[..at].iter().any(|before| before.allow && meet(before, rule))
    };
    let kept = rules.iter().enumerate().filter(|(at, rule)| !redundant(*at, rule));
    resources.devices = kept.map(|(_, rule)| rule.clone()).collect();
}

/// As the supervisor's own file has no path (it is executed through a mount without a place), the container gets a copy.
fn add_init(spec: &mut Spec, bundle: &Path) -> Result<(), Failure> {
    let copy = bundle.join("init");
    std::fs::copy("/proc/self/exe", &copy).map_err(|e| failure("init", e))?;
    std::fs::set_permissions(&copy, Permissions::from_mode(0o555)).map_err(|e| failure("init", e))?;
    spec.mounts.push(Mount {
        destination: INIT.into(),
        kind: "bind".into(),
        source: copy.to_string_lossy().into_owned(),
        options: vec!["bind".into(), "ro".into(), "exec".into()],
        ..Mount::default()
    });
    if let Some(process) = &mut spec.process {
        process.args.splice(0..0, [INIT.into(), "init".into(), "--".into()]);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use oci::runtime::{Linux, Resources};

    #[test]
    fn rules_that_change_nothing_are_left_out() {
        let rule = |allow, kind: &str, major, minor| DeviceRule {
            allow,
            kind: kind.into(),
            major,
            minor,
            access: "rwm".into(),
        };
        let kept = |devices: Vec<DeviceRule>| {
            let resources = Some(Resources { devices, ..Resources::default() });
            let mut spec = Spec { linux: Some(Linux { resources, ..Linux::default() }), ..Spec::default() };
            omit_redundant(&mut spec);
            spec.linux.unwrap().resources.unwrap().devices
        };
        let none = rule(false, "", None, None);
        let (null, fuse) = (rule(true, "c", Some(1), Some(3)), rule(false, "c", Some(10), Some(229)));
        assert_eq!(kept(vec![none.clone(), null.clone(), fuse.clone()]), [none.clone(), null.clone()]);
        for all in [
            vec![none.clone(), rule(true, "c", Some(10), None), fuse.clone()],
            vec![none.clone(), rule(true, "a", None, None), fuse.clone()],
            vec![null, fuse],
            vec![none],
            vec![],
        ] {
            assert_eq!(kept(all.clone()), all);
        }
    }
}
