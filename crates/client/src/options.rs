//! The flags of `run` and `create` as the API's types: pure, but for the files that flags name.
//!
//! ```text
//! options/values.rs    values of single flags, checked as soon as they are read
//! options/mounts.rs    --mount, --volume       options/ports.rs  --publish, --expose
//! options/network.rs   --network and its kin   options/files.rs  --env-file, --label-file, seccomp profiles
//! ```

pub mod files;
pub mod mounts;
pub mod network;
pub mod ports;
pub mod values;

use crate::flags::{Parsed, units_size};
use api::Empty;
use api::container::{
    ContainerConfig, CreateContainer, HealthConfig, HostConfig, LogConfig, NetworkingConfig, Resources, RestartPolicy,
};
use api::go::{List, Map};

/// What create is asked, or what is wrong with the flags.
pub fn create(flags: &Parsed) -> Result<CreateContainer, String> {
    let (image, command) = flags.args.split_first().ok_or("an image is required")?;
    windows_only(flags)?;
    if flags.is("use-api-socket") {
        return Err("--use-api-socket: giving a container the engine's socket this way is not part of this version; mount it with -v".into());
    }
    let mac = flags.text("mac-address");
    if !mac.is_empty() && !network::is_mac(mac) {
        return Err(format!("{mac} is not a valid mac address"));
    }
    let swappiness = flags.int("memory-swappiness", -1);
    if swappiness != -1 && !(0..=100).contains(&swappiness) {
        return Err(format!("invalid value: {swappiness}. Valid memory swappiness range is 0-100"));
    }
    let (binds, volumes) = volumes(flags)?;
    let (exposed_ports, port_bindings) = ports::ports(&flags.all("publish"), &flags.all("expose"))?;
    let resources = resources(flags, swappiness)?;
    let env = files::environment(&flags.all("env-file"), &flags.all("env"))?;
    let labels = files::labels(&flags.all("label-file"), &flags.all("label"))?;
    modes(flags)?;
    let mut host = host(flags)?;
    host.resources = resources;
    host.binds = binds;
    host.port_bindings = port_bindings;
    let healthcheck = health(flags)?;
    if host.auto_remove && !matches!(host.restart_policy.name.as_str(), "" | "no") {
        return Err("conflicting options: cannot specify both --restart and --rm".into());
    }
    let (mode, endpoints) = network::endpoints(flags)?;
    host.network_mode = mode.clone();
    let endpoint_mac = endpoints.get(&mode).and_then(|e| e.as_ref()).map(|e| e.mac_address.clone());
    let attached = |stream: &str| flags.all("attach").iter().any(|a| a.eq_ignore_ascii_case(stream));
    let default = !flags.changed("attach");
    let stdin = flags.is("interactive");
    let config = ContainerConfig {
        hostname: flags.text("hostname").into(),
        domainname: flags.text("domainname").into(),
        user: flags.text("user").into(),
        attach_stdin: stdin || attached("stdin"),
        attach_stdout: default || attached("stdout"),
        attach_stderr: default || attached("stderr"),
        exposed_ports,
        tty: flags.is("tty"),
        open_stdin: stdin,
        // the end of the client's input is the end of the container's
        stdin_once: stdin,
        env: if env.is_empty() { List::null() } else { env.into() },
        cmd: if command.is_empty() { List::null() } else { command.to_vec().into() },
        healthcheck,
        image: image.clone(),
        volumes,
        working_dir: flags.text("workdir").into(),
        entrypoint: match flags.get("entrypoint") {
            Some(path) => vec![path.to_string()].into(),
            None => List::null(),
        },
        mac_address: endpoint_mac.unwrap_or_else(|| mac.into()),
        labels,
        stop_signal: flags.text("stop-signal").into(),
        stop_timeout: flags.changed("stop-timeout").then(|| flags.int("stop-timeout", 0)),
        ..ContainerConfig::default()
    };
    Ok(CreateContainer {
        config,
        host_config: Some(host),
        networking_config: Some(NetworkingConfig { endpoints_config: endpoints }),
    })
}

fn windows_only(flags: &Parsed) -> Result<(), String> {
    for name in ["cpu-count", "cpu-percent", "io-maxbandwidth", "io-maxiops"] {
        if flags.changed(name) {
            return Err(format!(
                "\"--{name}\" is only supported on a Docker daemon running on windows, but the Docker daemon is running on linux"
            ));
        }
    }
    Ok(())
}

fn list(flags: &Parsed, name: &str) -> List<String> {
    let values = flags.all(name);
    if values.is_empty() { List::null() } else { values.into() }
}

fn volumes(flags: &Parsed) -> Result<(List<String>, Map<Empty>), String> {
    let mut binds = Vec::new();
    let mut anonymous: Map<Empty> = Map::empty();
    for spec in flags.all("volume") {
        match mounts::volume_spec(&spec)? {
            mounts::Volume::Anonymous(target) => {
                anonymous.insert(target, Empty {});
            }
            mounts::Volume::Bind(bind) if !binds.contains(&bind) => binds.push(bind),
            mounts::Volume::Bind(_) => {}
        }
    }
    Ok((if binds.is_empty() { List::null() } else { binds.into() }, anonymous))
}

/// Limits, for `run`, `create` and `update`.
pub fn size(flags: &Parsed, name: &str) -> Result<i64, String> {
    match flags.get(name) {
        None => Ok(0),
        Some("-1") if name == "memory-swap" => Ok(-1),
        Some(text) => units_size(text),
    }
}

fn resources(flags: &Parsed, swappiness: i64) -> Result<Resources, String> {
    let each = |name: &str, bytes: bool| -> Result<List<_>, String> {
        flags.all(name).iter().map(|v| values::throttle(v, bytes)).collect::<Result<Vec<_>, _>>().map(List::from)
    };
    let mut devices = Vec::new();
    let mut requests = match flags.get("gpus") {
        Some(value) => vec![values::gpus(value)?],
        None => Vec::new(),
    };
    let mut cdi = Vec::new();
    for device in flags.all("device") {
        // vendor.com/class=name
        match device.split_once('=') {
            Some((kind, name)) if !device.starts_with('/') && kind.contains('/') && !name.is_empty() => {
                cdi.push(device)
            }
            _ => devices.push(values::device(&device)?),
        }
    }
    if !cdi.is_empty() {
        requests.push(api::container::DeviceRequest {
            driver: "cdi".into(),
            device_ids: cdi.into(),
            ..Default::default()
        });
    }
    let weights: Result<Vec<_>, _> =
        flags.all("blkio-weight-device").iter().map(|v| values::weight_device(v)).collect();
    let ulimits: Result<Vec<_>, _> = flags.all("ulimit").iter().map(|v| values::ulimit(v)).collect();
    Ok(Resources {
        cpu_shares: flags.int("cpu-shares", 0),
        memory: size(flags, "memory")?,
        nano_cpus: flags.get("cpus").map_or(Ok(0), values::nano_cpus)?,
        cgroup_parent: flags.text("cgroup-parent").into(),
        blkio_weight: u16::try_from(flags.int("blkio-weight", 0)).unwrap_or(0),
        blkio_weight_device: weights?.into(),
        blkio_device_read_bps: each("device-read-bps", true)?,
        blkio_device_write_bps: each("device-write-bps", true)?,
        blkio_device_read_iops: each("device-read-iops", false)?,
        blkio_device_write_iops: each("device-write-iops", false)?,
        cpu_period: flags.int("cpu-period", 0),
        cpu_quota: flags.int("cpu-quota", 0),
        cpu_realtime_period: flags.int("cpu-rt-period", 0),
        cpu_realtime_runtime: flags.int("cpu-rt-runtime", 0),
        cpuset_cpus: flags.text("cpuset-cpus").into(),
        cpuset_mems: flags.text("cpuset-mems").into(),
        devices: devices.into(),
        device_cgroup_rules: list(flags, "device-cgroup-rule"),
        device_requests: if requests.is_empty() { List::null() } else { requests.into() },
        kernel_memory: size(flags, "kernel-memory")?,
        memory_reservation: size(flags, "memory-reservation")?,
        memory_swap: size(flags, "memory-swap")?,
        memory_swappiness: Some(swappiness),
        oom_kill_disable: Some(flags.is("oom-kill-disable")),
        pids_limit: Some(flags.int("pids-limit", 0)),
        ulimits: ulimits?.into(),
        ..Resources::default()
    })
}

fn modes(flags: &Parsed) -> Result<(), String> {
    let container = |mode: &str| mode.strip_prefix("container:").is_some_and(|name| !name.is_empty());
    let pid = flags.text("pid");
    if !matches!(pid, "" | "host") && !container(pid) {
        return Err("--pid: invalid PID mode".into());
    }
    if !matches!(flags.text("uts"), "" | "host") {
        return Err("--uts: invalid UTS mode".into());
    }
    if !matches!(flags.text("userns"), "" | "host") {
        return Err("--userns: invalid USER mode".into());
    }
    if !matches!(flags.text("cgroupns"), "" | "host" | "private") {
        return Err("--cgroupns: invalid CGROUP mode".into());
    }
    Ok(())
}

fn host(flags: &Parsed) -> Result<HostConfig, String> {
    let restart_policy = match flags.get("restart") {
        Some(policy) => values::restart_policy(policy)?,
        None => RestartPolicy { name: "no".into(), maximum_retry_count: 0 },
    };
    let log_options = flags.all("log-opt");
    if flags.text("log-driver") == "none" && !log_options.is_empty() {
        return Err("invalid logging opts for driver none".into());
    }
    let mut security = files::security(flags.all("security-opt"))?;
    let unconfined = security.iter().any(|o| o == "systempaths=unconfined");
    security.retain(|o| o != "systempaths=unconfined");
    let paths = || if unconfined { List::empty() } else { List::null() };
    let mut storage: Map<String> = Map::empty();
    for option in flags.all("storage-opt") {
        let (key, value) = option.split_once('=').ok_or("invalid storage option")?;
        storage.insert(key.into(), value.into());
    }
    let tmpfs: Map<String> = flags
        .all("tmpfs")
        .iter()
        .map(|t| t.split_once(':').unwrap_or((t, "")))
        .map(|(path, options)| (path.to_string(), options.to_string()))
        .collect();
    let mounts: Result<Vec<_>, _> = flags.all("mount").iter().map(|m| mounts::mount(m)).collect();
    let hosts: Result<Vec<_>, _> = flags.all("add-host").iter().map(|h| values::extra_host(h)).collect();
    let mounts = mounts?;
    let never_null = |name: &str| List::from(flags.all(name));
    Ok(HostConfig {
        container_id_file: flags.text("cidfile").into(),
        log_config: LogConfig { kind: flags.text("log-driver").into(), config: values::key_values(&log_options) },
        restart_policy,
        auto_remove: flags.is("rm"),
        volume_driver: flags.text("volume-driver").into(),
        volumes_from: list(flags, "volumes-from"),
        annotations: values::key_values(&flags.all("annotation")),
        cap_add: list(flags, "cap-add"),
        cap_drop: list(flags, "cap-drop"),
        cgroupns_mode: flags.text("cgroupns").into(),
        dns: never_null("dns"),
        dns_options: never_null("dns-option"),
        dns_search: never_null("dns-search"),
        extra_hosts: {
            let hosts = hosts?;
            if hosts.is_empty() { List::null() } else { hosts.into() }
        },
        group_add: list(flags, "group-add"),
        ipc_mode: flags.text("ipc").into(),
        links: list(flags, "link"),
        oom_score_adj: flags.int("oom-score-adj", 0),
        pid_mode: flags.text("pid").into(),
        privileged: flags.is("privileged"),
        publish_all_ports: flags.is("publish-all"),
        readonly_rootfs: flags.is("read-only"),
        security_opt: if security.is_empty() { List::null() } else { security.into() },
        storage_opt: storage,
        tmpfs,
        uts_mode: flags.text("uts").into(),
        userns_mode: flags.text("userns").into(),
        shm_size: size(flags, "shm-size")?,
        sysctls: values::key_values(&flags.all("sysctl")),
        runtime: flags.text("runtime").into(),
        isolation: flags.text("isolation").into(),
        mounts: if mounts.is_empty() { List::null() } else { mounts.into() },
        masked_paths: paths(),
        readonly_paths: paths(),
        init: flags.changed("init").then(|| flags.is("init")),
        ..HostConfig::default()
    })
}

fn health(flags: &Parsed) -> Result<Option<HealthConfig>, String> {
    let time = |name: &str| flags.get(name).map_or(Ok(0), values::duration);
    let health = HealthConfig {
        test: match flags.text("health-cmd") {
            "" => List::null(),
            command => vec!["CMD-SHELL".to_string(), command.to_string()].into(),
        },
        interval: time("health-interval")?,
        timeout: time("health-timeout")?,
        start_period: time("health-start-period")?,
        start_interval: time("health-start-interval")?,
        retries: flags.int("health-retries", 0),
    };
    let given = health != HealthConfig::default();
    if flags.is("no-healthcheck") {
        if given {
            return Err("--no-healthcheck conflicts with --health-* options".into());
        }
        return Ok(Some(HealthConfig { test: vec!["NONE".to_string()].into(), ..HealthConfig::default() }));
    }
    for (name, value) in [
        ("interval", health.interval),
        ("timeout", health.timeout),
        ("retries", health.retries),
        ("start-period", health.start_period),
        ("start-interval", health.start_interval),
    ] {
        if value < 0 {
            return Err(format!("--health-{name} cannot be negative"));
        }
    }
    Ok(given.then_some(health))
}

#[cfg(test)]
mod tests;
