//! The OCI configuration of a container. A pure function of data: the same input gives the same bytes, which the golden
//! tests compare. Labels and annotations of images do not come in here at all; those of the request are passed on as
//! annotations, which the built-in runtime does not read.
//!
//! ```text
//! mounts.rs      the default mounts, with the container's own over them
//! resources.rs   limits
//! devices.rs     device nodes and the rules about them
//! ```

mod devices;
mod mounts;
mod resources;

pub(crate) use devices::{all_of_host, from_mapping, rule as device_rule};
pub(crate) use mounts::bind as bind_mount;
pub(crate) use resources::{block_io, update as updated_resources};

use crate::check::{SeccompChoice, Security};
use crate::error::{Error, Result};
use crate::host::Host;
use crate::user::Account;
use crate::{caps, check, seccomp};
use api::container::{ContainerConfig, HostConfig, Ulimit};
use oci::runtime::{BlockIo, Capabilities, ConsoleSize, Device, Linux, Mount, Namespace, Process, Root, Spec, User};
use std::collections::BTreeMap;

/// What the specification calls itself.
const OCI_VERSION: &str = "1.3.0";
/// The slice of containers that ask for none.
const SLICE: &str = "system.slice";
/// What Docker gives a container that says nothing.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What is the same for all containers of one engine.
#[derive(Debug, Clone, Default)]
pub struct Defaults {
    /// `--default-ulimit`
    pub ulimits: Vec<Ulimit>,
    /// `--cgroup-parent`; empty is `/dhow`.
    pub cgroup_parent: String,
    /// systemd makes the control groups; then the parent is a slice, and without one `system.slice`.
    pub systemd_cgroup: bool,
    /// `--no-new-privileges`
    pub no_new_privileges: bool,
    /// `--security-profile`
    pub profile: crate::strict::Profile,
    /// `--seccomp-profile`: empty or `builtin`, `unconfined`, or a profile as JSON.
    pub seccomp: String,
}

/// Paths of namespaces to join; `None` is a new one.
#[derive(Debug, Clone, Default)]
pub(crate) struct Joined {
    pub network: Option<String>,
    pub ipc: Option<String>,
    pub pid: Option<String>,
}

/// All that a specification depends on.
pub(crate) struct Input<'a> {
    pub id: &'a str,
    pub config: &'a ContainerConfig,
    pub host: &'a HostConfig,
    /// The command, entrypoint first.
    pub args: &'a [String],
    /// As the container sees itself.
    pub hostname: &'a str,
    pub account: &'a Account,
    /// The container's own mounts, those above before those below.
    pub mounts: Vec<Mount>,
    pub joined: Joined,
    /// Those asked for, or all of the host's.
    pub devices: Vec<(Device, String)>,
    pub block_io: Option<BlockIo>,
    pub facts: &'a Host,
    pub defaults: &'a Defaults,
}

/// The configuration.
///
/// # Errors
/// What of the request turns out wrong only here.
pub(crate) fn spec(input: Input) -> Result<Spec> {
    let host = input.host;
    let security = Security::parse(&host.security_opt, input.facts)?;
    let (privileged, strict) = (host.privileged, security.is_strict());
    let asked = caps::Asked { add: &host.cap_add, drop: &host.cap_drop, privileged, strict };
    let capabilities = caps::set(asked, input.facts.capabilities)?;
    let seccomp = filter(&security, host.privileged, &capabilities, &input)?;
    let process = process(&input, &security, &capabilities)?;
    let (masked, read_only) = paths(host, &security, input.facts);
    let (nodes, device_rules) = devices::nodes_and_rules(host, &input.devices)?;
    let own_uts = host.uts_mode != "host";
    let propagation = mounts::root_propagation(&input.mounts);
    let mounts = mounts::all(host, &security, input.mounts);
    Ok(Spec {
        oci_version: OCI_VERSION.into(),
        process: Some(process),
        root: Some(Root { path: "rootfs".into(), readonly: host.readonly_rootfs }),
        hostname: if own_uts { input.hostname.into() } else { String::new() },
        domainname: if own_uts { input.config.domainname.clone() } else { String::new() },
        mounts,
        hooks: None,
        annotations: host.annotations.clone().into_btree(),
        linux: Some(Linux {
            sysctl: sysctls(input.config, host),
            resources: Some(resources::all(&host.resources, device_rules, input.block_io)?),
            cgroups_path: cgroups_path(input.id, &host.resources.cgroup_parent, input.defaults),
            namespaces: namespaces(input.config, host, &input.joined),
            devices: nodes,
            seccomp,
            rootfs_propagation: propagation,
            masked_paths: masked,
            readonly_paths: read_only,
            ..Linux::default()
        }),
    })
}

fn process(input: &Input, security: &Security, capabilities: &[String]) -> Result<Process> {
    let (config, host) = (input.config, input.host);
    let size = host.console_size;
    let console_size = (config.tty && size != [0, 0]).then(|| {
        let side = |n: u32| u16::try_from(n).unwrap_or(u16::MAX);
        ConsoleSize { height: side(size[0]), width: side(size[1]) }
    });
    let apparmor = match &security.apparmor {
        Some(profile) => Some(profile.clone()),
        None if host.privileged => Some("unconfined".to_owned()),
        None => None,
    };
    Ok(Process {
        terminal: config.tty,
        console_size,
        user: User {
            uid: input.account.uid,
            gid: input.account.gid,
            umask: None,
            additional_gids: input.account.groups.clone(),
        },
        args: input.args.to_vec(),
        env: environment(config, input.hostname, &input.account.home),
        cwd: if config.working_dir.is_empty() { "/".into() } else { config.working_dir.clone() },
        capabilities: Some(capability_sets(capabilities)),
        rlimits: rlimits(&host.resources.ulimits, &input.defaults.ulimits, security.is_strict())?,
        no_new_privileges: security.bars_privileges(input.defaults),
        apparmor_profile: apparmor.filter(|_| input.facts.apparmor),
        oom_score_adj: Some(host.oom_score_adj as i32),
        ..Process::default()
    })
}

/// Bounding, permitted and effective; nothing inheritable, nothing ambient.
pub(crate) fn capability_sets(names: &[String]) -> Capabilities {
    Capabilities {
        bounding: names.to_vec(),
        effective: names.to_vec(),
        permitted: names.to_vec(),
        inheritable: vec![],
        ambient: vec![],
    }
}

/// Those asked for, then the engine's, then the profile's.
pub(crate) fn rlimits(asked: &[Ulimit], defaults: &[Ulimit], strict: bool) -> Result<Vec<oci::runtime::Rlimit>> {
    let mut all = asked.to_vec();
    let strict = if strict { crate::strict::ulimits() } else { vec![] };
    for default in defaults.iter().chain(&strict) {
        if !all.iter().any(|u| u.name == default.name) {
            all.push(default.clone());
        }
    }
    check::rlimits(&all)
}

/// The engine's variables with the container's over them: a later `NAME=value` replaces an earlier one in its place, a bare
/// `NAME` takes it away.
pub(crate) fn environment(config: &ContainerConfig, hostname: &str, home: &str) -> Vec<String> {
    let mut env = vec![format!("PATH={PATH}"), format!("HOSTNAME={hostname}")];
    if config.tty {
        env.push("TERM=xterm".into());
    }
    replace_or_append(&mut env, &config.env);
    if !env.iter().any(|e| e.starts_with("HOME=") && e.len() > 5) {
        env.retain(|e| e != "HOME=");
        env.push(format!("HOME={home}"));
    }
    env
}

/// See [`environment`].
pub(crate) fn replace_or_append(env: &mut Vec<String>, over: &[String]) {
    for new in over {
        let name = new.split('=').next().unwrap_or_default();
        let at = env.iter().position(|old| old.split('=').next() == Some(name));
        match (at, new.contains('=')) {
            (Some(at), true) => env[at] = new.clone(),
            (Some(at), false) => drop(env.remove(at)),
            (None, true) => env.push(new.clone()),
            (None, false) => {}
        }
    }
}

fn filter(
    security: &Security,
    privileged: bool,
    capabilities: &[String],
    input: &Input,
) -> Result<Option<oci::runtime::Seccomp>> {
    let facts = seccomp::Facts { capabilities, arch: &input.facts.arch, kernel: input.facts.kernel };
    let parse = |json: &str| {
        seccomp::parse(json, facts)
            .map(Some)
            .map_err(|e| Error::Invalid(format!("Decoding seccomp profile failed: {e}")))
    };
    match &security.seccomp {
        SeccompChoice::Unconfined => Ok(None),
        SeccompChoice::Profile(json) => parse(json),
        SeccompChoice::Builtin if privileged => Ok(None),
        SeccompChoice::Unsaid if privileged => Ok(None),
        SeccompChoice::Builtin => Ok(Some(seccomp::default(facts))),
        SeccompChoice::Unsaid if security.is_strict() => Ok(Some(seccomp::strict(facts))),
        SeccompChoice::Unsaid => match input.defaults.seccomp.as_str() {
            "" | "builtin" => Ok(Some(seccomp::default(facts))),
            "unconfined" => Ok(None),
            json => parse(json),
        },
    }
}

/// What hides and what is read-only by default.
pub(crate) fn default_masked(facts: &Host) -> Vec<String> {
    const MASKED: [&str; 12] = [
        "/proc/asound",
        "/proc/acpi",
        "/proc/interrupts",
        "/proc/kcore",
        "/proc/keys",
        "/proc/latency_stats",
        "/proc/timer_list",
        "/proc/timer_stats",
        "/proc/sched_debug",
        "/proc/scsi",
        "/sys/firmware",
        "/sys/devices/virtual/powercap",
    ];
    MASKED.iter().map(|p| p.to_string()).chain(facts.thermal.iter().cloned()).collect()
}

/// See [`default_masked`].
pub(crate) fn default_read_only() -> Vec<String> {
    ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"].map(str::to_owned).to_vec()
}

fn paths(host: &HostConfig, security: &Security, facts: &Host) -> (Vec<String>, Vec<String>) {
    let open = host.privileged || security.system_paths;
    let choose = |asked: &api::List<String>, default: Vec<String>| match (asked.is_null(), open) {
        (false, _) => asked.to_vec(),
        (true, true) => vec![],
        (true, false) => default,
    };
    (choose(&host.masked_paths, default_masked(facts)), choose(&host.readonly_paths, default_read_only()))
}

fn sysctls(config: &ContainerConfig, host: &HostConfig) -> BTreeMap<String, String> {
    let mut out = BTreeMap::new();
    let own_network =
        config.network_disabled || (host.network_mode != "host" && !host.network_mode.starts_with("container:"));
    if own_network {
        out.insert("net.ipv4.ping_group_range".into(), "0 2147483647".into());
        out.insert("net.ipv4.ip_unprivileged_port_start".into(), "0".into());
    }
    out.extend(host.sysctls.iter().map(|(k, v)| (k.replace('/', "."), v.clone())));
    out
}

fn namespaces(config: &ContainerConfig, host: &HostConfig, joined: &Joined) -> Vec<Namespace> {
    let mut out = Vec::with_capacity(6);
    let mut add = |kind: &str, path: Option<&String>| {
        out.push(Namespace { kind: kind.into(), path: path.cloned().unwrap_or_default() });
    };
    add("mount", None);
    if host.network_mode != "host" || config.network_disabled {
        add("network", joined.network.as_ref());
    }
    if host.uts_mode != "host" {
        add("uts", None);
    }
    if host.pid_mode != "host" {
        add("pid", joined.pid.as_ref());
    }
    if host.ipc_mode != "host" {
        add("ipc", joined.ipc.as_ref());
    }
    if host.cgroupns_mode == "private" {
        add("cgroup", None);
    }
    out
}

/// Where the container's control group is, below the root of each hierarchy; or how systemd is asked for it.
pub(crate) fn cgroups_path(id: &str, asked: &str, defaults: &Defaults) -> String {
    let last = if defaults.systemd_cgroup { SLICE } else { "/dhow" };
    let parent = [asked, &defaults.cgroup_parent, last].into_iter().find(|p| !p.is_empty()).unwrap_or_default();
    if defaults.systemd_cgroup {
        return format!("{parent}:dhow:{id}");
    }
    let parent = crate::mounts::clean(parent);
    match parent.as_str() {
        "/" => format!("/{id}"),
        parent => format!("{parent}/{id}"),
    }
}

/// Where the container's control group is, below the root of each hierarchy; empty if it can be nowhere.
pub(crate) fn cgroup(id: &str, asked: &str, defaults: &Defaults) -> String {
    let path = cgroups_path(id, asked, defaults);
    match defaults.systemd_cgroup {
        true => oci::Scope::parse(&path, id, SLICE).map(|scope| scope.cgroup()).unwrap_or_default(),
        false => path,
    }
}

#[cfg(test)]
mod tests;
