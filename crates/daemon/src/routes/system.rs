//! `/_ping`, `/version`, `/info`, `/auth`, `/system/df`.

use crate::config::Config;
use crate::error::Error;
use crate::error::Result;
use crate::request;
use crate::response::{self, Body};
use crate::rooms::Rooms;
use api::auth::{AuthConfig, AuthStatus};
use api::system::{
    AddressPool, Commit, Component, FirewallBackend, IndexConfig, Info, PlatformName, Plugins, RegistryConfig, Runtime,
    Swarm, Version, ping,
};
use api::{List, Map};
use http::{HeaderName, HeaderValue, Request, Response, StatusCode};
use hyper::body::Incoming;
use image::Images;
use std::path::Path;

/// This program's version.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
/// What `/info` and inspect call the storage.
pub const STORAGE_DRIVER: &str = "overlay2";

/// `OK`, and headers that say more.
pub fn ping(method_is_head: bool) -> Response<Body> {
    let text = HeaderValue::from_static("text/plain; charset=utf-8");
    let mut response = response::text(StatusCode::OK, text, if method_is_head { "" } else { "OK" });
    for (name, value) in [
        (ping::BUILDER_VERSION, "1"),
        (ping::SWARM, "inactive"),
        ("Cache-Control", "no-cache, no-store, must-revalidate"),
        ("Pragma", "no-cache"),
    ] {
        if let Ok(name) = HeaderName::from_bytes(name.as_bytes()) {
            response.headers_mut().insert(name, HeaderValue::from_static(value));
        }
    }
    response
}

/// `GET /version`
pub fn version() -> Response<Body> {
    let kernel = rustix::system::uname().release().to_string_lossy().into_owned();
    let details = [
        ("ApiVersion", api::VERSION),
        ("Arch", arch()),
        ("Experimental", "false"),
        ("KernelVersion", &kernel),
        ("MinAPIVersion", api::MIN_VERSION),
        ("Os", "linux"),
    ];
    let details = details.into_iter().map(|(k, v)| (k.to_owned(), v.to_owned())).collect::<Map<String>>();
    let component = |name: &str, details| Component { name: name.into(), version: VERSION.into(), details };
    response::ok(&Version {
        platform: PlatformName { name: "dhow".into() },
        components: List::from([component("Engine", details), component("dhow-init", Map::null())]),
        version: VERSION.into(),
        api_version: api::VERSION.into(),
        min_api_version: api::MIN_VERSION.into(),
        os: "linux".into(),
        arch: arch().into(),
        kernel_version: kernel,
        ..Version::default()
    })
}

/// Go's name of this processor.
pub fn arch() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "x86" => "386",
        other => other,
    }
}

/// `POST /auth`
pub async fn auth(images: &Images, request: Request<Incoming>) -> Result<Response<Body>> {
    let (parts, body) = request.into_parts();
    let auth: AuthConfig = request::json(&parts.headers, body).await?.unwrap_or_default();
    let credentials = registry::Credentials {
        username: auth.username,
        password: auth.password,
        identity_token: auth.identitytoken,
        registry_token: auth.registrytoken,
    };
    // Docker Hub's own name for itself is a URL.
    let host = auth.serveraddress.trim_start_matches("https://").trim_start_matches("http://");
    let host = match host.split('/').next().unwrap_or_default() {
        "" | "index.docker.io" => "docker.io",
        host => host,
    };
    match images.registry().login(host, credentials).await {
        Ok(()) => Ok(response::ok(&AuthStatus { status: "Login Succeeded".into(), ..AuthStatus::default() })),
        Err(e @ (registry::Error::Unauthorized(_) | registry::Error::Denied(_))) => {
            Err(Error::new(StatusCode::UNAUTHORIZED, e.to_string()))
        }
        Err(e) => Err(e.into()),
    }
}

/// `GET /info`
pub fn info(rooms: &Rooms) -> Info {
    let config = rooms.config();
    let (running, paused, stopped) = rooms.containers.counts();
    let number = |n: usize| i64::try_from(n).unwrap_or_default();
    let uname = rustix::system::uname();
    let cgroups = &rooms.host.cgroups;
    let environment =
        |name: &str| std::env::var(name).or_else(|_| std::env::var(name.to_lowercase())).unwrap_or_default();
    Info {
        id: rooms.id.clone(),
        containers: number(running + paused + stopped),
        containers_running: number(running),
        containers_paused: number(paused),
        containers_stopped: number(stopped),
        images: number(rooms.images.count()),
        driver: STORAGE_DRIVER.into(),
        driver_status: storage(&config.data_root),
        plugins: plugins(),
        memory_limit: cgroups.memory,
        swap_limit: cgroups.swap,
        cpu_cfs_period: cgroups.cpu_quota,
        cpu_cfs_quota: cgroups.cpu_quota,
        cpu_shares: cgroups.cpu_shares,
        cpu_set: cgroups.cpuset,
        pids_limit: cgroups.pids,
        ipv4_forwarding: std::fs::read_to_string("/proc/sys/net/ipv4/ip_forward").is_ok_and(|t| t.trim() == "1"),
        debug: config.debug,
        n_fd: std::fs::read_dir("/proc/self/fd").map_or(0, |d| d.count() as i64),
        oom_kill_disable: cgroups.oom_kill_disable,
        n_goroutines: threads(),
        system_time: super::rfc3339(super::event::now_ns()),
        logging_driver: config.log_driver.clone(),
        cgroup_driver: if config.systemd_cgroup { "systemd" } else { "cgroupfs" }.into(),
        cgroup_version: if cgroups.unified { "2" } else { "1" }.into(),
        n_events_listener: super::event::listeners(),
        kernel_version: uname.release().to_string_lossy().into_owned(),
        operating_system: os_release("PRETTY_NAME").unwrap_or_else(|| "Linux".into()),
        os_version: os_release("VERSION_ID").unwrap_or_default(),
        os_type: "linux".into(),
        architecture: uname.machine().to_string_lossy().into_owned(),
        index_server_address: "https://index.docker.io/v1/".into(),
        registry_config: Some(registries(&config)),
        ncpu: number(rooms.host.cpus),
        mem_total: memory(),
        docker_root_dir: config.data_root.display().to_string(),
        http_proxy: environment("HTTP_PROXY"),
        https_proxy: environment("HTTPS_PROXY"),
        no_proxy: environment("NO_PROXY"),
        name: rooms.host_name(),
        labels: config.labels.clone().into(),
        server_version: VERSION.into(),
        runtimes: runtimes(&config),
        default_runtime: config.default_runtime.clone(),
        swarm: Swarm { local_node_state: "inactive".into(), ..Swarm::default() },
        live_restore_enabled: config.live_restore,
        init_binary: "dhow-init".into(),
        runc_commit: Commit { id: "N/A".into(), ..Commit::default() },
        containerd_commit: Commit { id: "N/A".into(), ..Commit::default() },
        init_commit: Commit { id: VERSION.into(), ..Commit::default() },
        security_options: security(rooms, &config),
        default_address_pools: pools(&config),
        firewall_backend: Some(FirewallBackend { driver: "nftables".into(), info: List::null() }),
        cdi_spec_dirs: List::empty(),
        warnings: warnings(rooms),
        ..Info::default()
    }
}

fn storage(data_root: &Path) -> List<[String; 2]> {
    let kind = rustix::fs::statfs(data_root).map_or("unknown", |s| match s.f_type as u64 & 0xffff_ffff {
        0xef53 => "extfs",
        0x5846_5342 => "xfs",
        0x9123_683e => "btrfs",
        0x0102_1994 => "tmpfs",
        0x794c_7630 => "overlayfs",
        0xf2f5_2010 => "f2fs",
        0x2fc1_2fc1 => "zfs",
        _ => "unknown",
    });
    [("Backing Filesystem", kind), ("Supports d_type", "true")].map(|(k, v)| [k.into(), v.into()]).into()
}

fn plugins() -> Plugins {
    let names = |list: &[&str]| list.iter().map(|s| (*s).to_owned()).collect::<List<String>>();
    Plugins {
        volume: names(&["local"]),
        network: names(&["bridge", "host", "null"]),
        authorization: List::null(),
        log: names(&container::LOG_DRIVERS),
    }
}

fn registries(config: &Config) -> RegistryConfig {
    let (networks, hosts): (Vec<_>, Vec<_>) =
        config.insecure_registries.iter().cloned().partition(|entry| entry.contains('/') && !entry.contains("://"));
    let mut networks = networks;
    networks.extend(["::1/128".to_owned(), "127.0.0.0/8".to_owned()]);
    let index = |name: &str, secure, official| IndexConfig {
        name: name.into(),
        mirrors: if official { config.registry_mirrors.clone().into() } else { List::empty() },
        secure,
        official,
    };
    let mut configs: Map<IndexConfig> = hosts.iter().map(|host| (host.clone(), index(host, false, false))).collect();
    configs.insert("docker.io".into(), index("docker.io", true, true));
    RegistryConfig {
        insecure_registry_cidrs: networks.into(),
        index_configs: configs,
        mirrors: if config.registry_mirrors.is_empty() { List::null() } else { config.registry_mirrors.clone().into() },
    }
}

fn runtimes(config: &Config) -> Map<Runtime> {
    let own = (crate::config::BUILTIN.to_owned(), Runtime { path: "dhow-init".into(), args: List::null() });
    let others = config.runtimes.iter().map(|(name, runtime)| {
        (name.clone(), Runtime { path: runtime.path.clone(), args: runtime.args.clone().into() })
    });
    std::iter::once(own).chain(others).collect()
}

fn security(rooms: &Rooms, config: &Config) -> List<String> {
    let mut options = Vec::new();
    if rooms.host.apparmor {
        options.push("name=apparmor".to_owned());
    }
    let profile = config.seccomp_profile.as_deref().filter(|p| !p.is_empty()).unwrap_or("builtin");
    options.push(format!("name=seccomp,profile={profile}"));
    options.push("name=cgroupns".into());
    if config.security_profile != container::Profile::Docker {
        options.push(format!("name=security,profile={}", config.security_profile.name()));
    }
    if config.no_new_privileges {
        options.push("name=no-new-privileges".into());
    }
    options.into()
}

fn pools(config: &Config) -> List<AddressPool> {
    config.address_pools.iter().map(|(base, size)| AddressPool { base: base.clone(), size: *size }).collect()
}

fn warnings(rooms: &Rooms) -> List<String> {
    let cgroups = &rooms.host.cgroups;
    let mut list = Vec::new();
    for (there, what) in [
        (cgroups.memory, "memory limit"),
        (cgroups.swap, "swap limit"),
        (cgroups.cpu_shares, "cpu shares"),
        (cgroups.cpu_quota, "cpu cfs quota"),
        (cgroups.cpuset, "cpuset"),
        (cgroups.pids, "pids limit"),
    ] {
        if !there {
            list.push(format!("WARNING: No {what} support"));
        }
    }
    if list.is_empty() { List::null() } else { list.into() }
}

fn os_release(key: &str) -> Option<String> {
    let text =
        std::fs::read_to_string("/etc/os-release").or_else(|_| std::fs::read_to_string("/usr/lib/os-release")).ok()?;
    let line = text.lines().find_map(|l| l.strip_prefix(key)?.strip_prefix('='))?;
    Some(line.trim().trim_matches('"').to_owned())
}

fn memory() -> i64 {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let kilobytes =
        text.lines().find_map(|l| l.strip_prefix("MemTotal:")?.trim().strip_suffix("kB")?.trim().parse::<i64>().ok());
    kilobytes.unwrap_or_default() * 1024
}

fn threads() -> i64 {
    std::fs::read_dir("/proc/self/task").map_or(0, |d| d.count() as i64)
}
