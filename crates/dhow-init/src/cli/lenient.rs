//! What a configuration asks for and nothing of this host could give, without the container being any other for it: it is left
//! out with a warning. Other engines' defaults have such things, and so has the OCI's own suite.

use super::Global;
use oci::runtime::{DeviceRule, Linux, Mount, Process, Spec};
use std::collections::BTreeSet;

/// What a tmpfs is given, and a bind of an existing file system has no use for.
const OF_TMPFS: [&str; 6] = ["mode", "size", "uid", "gid", "nr_inodes", "nr_blocks"];

/// Of the whole configuration.
pub fn configuration(global: &Global, spec: &mut Spec) {
    if let Some(mut made) = spec.process.take() {
        process(global, &mut made, spec.linux.as_ref());
        spec.process = Some(made);
    }
    if let Some(linux) = &mut spec.linux
        && !linux.mount_label.is_empty()
        && !runtime::has_selinux()
    {
        let label = std::mem::take(&mut linux.mount_label);
        global.log.warn(&format!("mountLabel {label:?} has no effect: this host has no SELinux"));
    }
    spec.mounts.iter_mut().for_each(|mount| bind(global, mount));
    let resources = spec.linux.as_mut().and_then(|linux| linux.resources.as_mut());
    resources.into_iter().flat_map(|resources| &mut resources.devices).for_each(|rule| device_access(global, rule));
}

/// The kernel knows of three ways to get at a device.
fn device_access(global: &Global, rule: &mut DeviceRule) {
    let given = rule.access.clone();
    rule.access.retain(|way| "rwm".contains(way));
    // Without any it would be a rule for all of them.
    if !rule.access.is_empty() && rule.access != given {
        global.log.warn(&format!("device access {given:?} is taken for {:?}: there are only r, w and m", rule.access));
    } else {
        rule.access = given;
    }
}

/// Of a process: capabilities that cannot be given, and labels of a security module that this host does not have, so that there
/// is nobody who would enforce any.
pub fn process(global: &Global, process: &mut Process, linux: Option<&Linux>) {
    capabilities(global, process, linux);
    let named = |label: &mut Option<String>, there: bool| label.take_if(|_| !there).filter(|label| !label.is_empty());
    // Without it everything is unconfined.
    let profile = named(&mut process.apparmor_profile, runtime::has_apparmor());
    if let Some(profile) = profile.filter(|profile| profile != "unconfined") {
        global.log.warn(&format!("apparmorProfile {profile:?} has no effect: this host has no AppArmor"));
    }
    if let Some(label) = named(&mut process.selinux_label, runtime::has_selinux()) {
        global.log.warn(&format!("selinuxLabel {label:?} has no effect: this host has no SELinux"));
    }
}

/// runtime-spec: what cannot be granted is to be logged, and is no failure.
fn capabilities(global: &Global, process: &mut Process, linux: Option<&Linux>) {
    let Some(sets) = &mut process.capabilities else { return };
    let own_users = linux.is_some_and(|linux| linux.namespaces.iter().any(|namespace| namespace.kind == "user"));
    let have = if own_users { u64::MAX } else { sys::caps::capget().map_or(u64::MAX, |sets| sets.permitted) };
    let given: BTreeSet<String> = runtime::capability_names()
        .enumerate()
        .filter(|(n, _)| have & 1 << n != 0)
        .map(|(_, name)| format!("CAP_{name}"))
        .collect();
    let mut left_out = BTreeSet::new();
    for set in [&mut sets.bounding, &mut sets.effective, &mut sets.permitted, &mut sets.inheritable, &mut sets.ambient]
    {
        left_out.extend(set.extract_if(.., |name| !given.contains(name)));
    }
    let raisable = |name: &String| sets.permitted.contains(name) && sets.inheritable.contains(name);
    for name in sets.ambient.extract_if(.., |name| !raisable(name)) {
        global.log.warn(&format!("can't raise ambient capability {name}: it is not both permitted and inheritable"));
    }
    if !left_out.is_empty() {
        let names: Vec<String> = left_out.into_iter().collect();
        global.log.warn(&format!("ignoring unknown or unavailable capabilities: [{}]", names.join(" ")));
    }
}

fn bind(global: &Global, mount: &mut Mount) {
    if mount.kind != "bind" && !mount.options.iter().any(|option| option == "bind" || option == "rbind") {
        return;
    }
    let destination = &mount.destination;
    mount.options.retain(|option| {
        let idle = option.split_once('=').is_some_and(|(key, _)| OF_TMPFS.contains(&key));
        if idle {
            global.log.warn(&format!("mount option {option:?} of {destination:?} has no effect on a bind"));
        }
        !idle
    });
}
