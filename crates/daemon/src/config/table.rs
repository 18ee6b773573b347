//! Each setting once: its flag, its key in daemon.json, and what it does.

use super::{Config, RuntimeCommand};
use crate::flags::{Flag, Takes, boolean};
use api::container::Ulimit;

/// What a setting does.
#[derive(Clone, Copy)]
pub enum Effect {
    /// Changes the configuration, or says what is wrong with the value.
    Set(fn(&mut Config, &str) -> Result<(), String>),
    /// Only these values, which change nothing, are taken; any other is refused with this reason.
    Only(&'static [&'static str], &'static str),
    /// Looked at before all others.
    Early,
}

/// One setting.
pub struct Entry {
    /// Without dashes.
    pub flag: &'static str,
    /// One letter.
    pub short: Option<char>,
    /// In daemon.json.
    pub key: Option<&'static str>,
    /// Whether the flag stands alone.
    pub takes: Takes,
    /// Whether it may be given several times.
    pub many: bool,
    /// What it does.
    pub effect: Effect,
    /// For `--help`.
    pub help: &'static str,
}

impl Entry {
    /// What the parser must know.
    pub fn as_flag(&self) -> Flag {
        Flag { name: self.flag, short: self.short, takes: self.takes }
    }
}

const ABSENT: &str = "is not implemented in this version of dhow";

macro_rules! entry {
    ($flag:literal $(, $short:literal)? ; $key:expr ; $takes:ident ; $effect:expr ; $help:literal) => {
        Entry { flag: $flag, short: short!($($short)?), key: $key, takes: Takes::$takes, many: false, effect: $effect, help: $help }
    };
}
macro_rules! many {
    ($flag:literal $(, $short:literal)? ; $key:expr ; $effect:expr ; $help:literal) => {
        Entry { flag: $flag, short: short!($($short)?), key: $key, takes: Takes::Value, many: true, effect: $effect, help: $help }
    };
}
macro_rules! short {
    () => {
        None
    };
    ($c:literal) => {
        Some($c)
    };
}
/// A boolean field.
macro_rules! switch {
    ($field:ident) => {
        Effect::Set(|c, v| {
            c.$field = boolean(v).unwrap_or_default();
            Ok(())
        })
    };
}
/// A field of text, a path, or an `Option` of one.
macro_rules! text {
    ($field:ident) => {
        Effect::Set(|c, v| {
            c.$field = v.into();
            Ok(())
        })
    };
}
macro_rules! optional {
    ($field:ident) => {
        Effect::Set(|c, v| {
            c.$field = (!v.is_empty()).then(|| v.into());
            Ok(())
        })
    };
}
macro_rules! push {
    ($field:ident) => {
        Effect::Set(|c, v| {
            c.$field.push(v.to_owned());
            Ok(())
        })
    };
}
macro_rules! number {
    ($field:ident, $min:expr) => {
        Effect::Set(|c, v| {
            let n: i64 = v.parse().map_err(|_| format!("strconv.ParseInt: parsing {v:?}: invalid syntax"))?;
            if n < $min {
                return Err(format!("invalid value: {n}"));
            }
            c.$field = n.try_into().map_err(|_| format!("strconv.ParseInt: parsing {v:?}: value out of range"))?;
            Ok(())
        })
    };
}

/// Every flag and key.
pub const OPTIONS: &[Entry] = &[
    many!("add-runtime"; Some("runtimes"); Effect::Set(runtime); "Register an additional OCI compatible runtime (name=path)"),
    many!("authorization-plugin"; Some("authorization-plugins"); Effect::Only(&[], ABSENT); "Authorization plugins to load"),
    entry!("bip"; Some("bip"); Value; optional!(bip); "IPv4 address for the default bridge"),
    entry!("bip6"; Some("bip6"); Value; Effect::Only(&[""], ABSENT); "IPv6 address for the default bridge"),
    entry!("bridge", 'b'; Some("bridge"); Value; optional!(bridge); "Attach containers to a network bridge; \"none\" disables it"),
    entry!("cgroup-parent"; Some("cgroup-parent"); Value; text!(cgroup_parent); "Set parent cgroup for all containers"),
    entry!("check"; None; Bool; switch!(check); "Check the state of an engine that does not run, and exit"),
    entry!("config-file"; None; Value; Effect::Early; "Daemon configuration file (default \"/etc/dhow/daemon.json\")"),
    entry!("containerd"; Some("containerd"); Value; Effect::Only(&[""], "is not used by dhow"); "containerd grpc address"),
    entry!("cri-containerd"; Some("cri-containerd"); Bool; Effect::Only(&["false"], ABSENT); "start containerd with cri"),
    entry!("data-root"; Some("data-root"); Value; Effect::Set(|c, v| path(&mut c.data_root, v)); "Root directory of persistent state (default \"/var/lib/dhow\")"),
    entry!("debug", 'D'; Some("debug"); Bool; switch!(debug); "Enable debug mode"),
    many!("default-address-pool"; Some("default-address-pools"); Effect::Set(pool); "Default address pools for node specific local networks"),
    entry!("default-cgroupns-mode"; Some("default-cgroupns-mode"); Value; Effect::Set(cgroupns); "Default mode for containers cgroup namespace (\"host\" | \"private\")"),
    entry!("default-gateway"; Some("default-gateway"); Value; Effect::Only(&[""], ABSENT); "Default gateway IPv4 address for the default bridge network"),
    entry!("default-gateway-v6"; Some("default-gateway-v6"); Value; Effect::Only(&[""], ABSENT); "Default gateway IPv6 address for the default bridge network"),
    entry!("default-ipc-mode"; Some("default-ipc-mode"); Value; Effect::Set(ipc); "Default mode for containers ipc (\"shareable\" | \"private\")"),
    many!("default-network-opt"; Some("default-network-opts"); Effect::Only(&[], ABSENT); "Default network options"),
    entry!("default-runtime"; Some("default-runtime"); Value; Effect::Set(default_runtime); "Default OCI runtime for containers (default \"dhow\")"),
    entry!("default-shm-size"; Some("default-shm-size"); Value; Effect::Set(shm); "Default shm size for containers (default 64MiB)"),
    many!("default-ulimit"; Some("default-ulimits"); Effect::Set(ulimit); "Default ulimits for containers"),
    many!("dns"; Some("dns"); push!(dns); "DNS server to use"),
    many!("dns-opt"; Some("dns-opts"); push!(dns_opts); "DNS options to use"),
    many!("dns-search"; Some("dns-search"); push!(dns_search); "DNS search domains to use"),
    many!("exec-opt"; Some("exec-opts"); Effect::Set(exec_opt); "Runtime execution options (native.cgroupdriver=\"cgroupfs\" | \"systemd\")"),
    entry!("exec-root"; Some("exec-root"); Value; Effect::Set(|c, v| path(&mut c.exec_root, v)); "Root directory for execution state files (default \"/run/dhow\")"),
    entry!("experimental"; Some("experimental"); Bool; Effect::Only(&["false"], ABSENT); "Enable experimental features"),
    many!("feature"; Some("features"); Effect::Only(&[], ABSENT); "Enable feature in the daemon"),
    entry!("firewall-backend"; Some("firewall-backend"); Value; Effect::Only(&["", "nftables"], "other than nftables is not implemented in this version of dhow"); "Firewall backend to use"),
    entry!("fixed-cidr"; Some("fixed-cidr"); Value; optional!(fixed_cidr); "IPv4 subnet for fixed IPs"),
    entry!("fixed-cidr-v6"; Some("fixed-cidr-v6"); Value; Effect::Only(&[""], ABSENT); "IPv6 subnet for fixed IPs"),
    entry!("group", 'G'; Some("group"); Value; optional!(group); "Group for the unix socket (default: docker or dhow, if there is one)"),
    entry!("help", 'h'; None; Bool; Effect::Early; "Print usage"),
    many!("host", 'H'; Some("hosts"); Effect::Set(host); "Daemon socket(s) to connect to"),
    many!("host-gateway-ip"; Some("host-gateway-ips"); Effect::Only(&[""], ABSENT); "IP addresses that the special 'host-gateway' string in --add-host resolves to"),
    entry!("http-proxy"; Some("http-proxy"); Value; Effect::Only(&[""], "is taken from the environment (HTTP_PROXY) only"); "HTTP proxy URL to use for outgoing traffic"),
    entry!("https-proxy"; Some("https-proxy"); Value; Effect::Only(&[""], "is taken from the environment (HTTPS_PROXY) only"); "HTTPS proxy URL to use for outgoing traffic"),
    entry!("icc"; Some("icc"); Bool; switch!(icc); "Enable inter-container communication for the default bridge network (default true)"),
    entry!("init"; Some("init"); Bool; switch!(init); "Run an init in the container to forward signals and reap processes"),
    entry!("init-path"; Some("init-path"); Value; optional!(init_path); "Path to the dhow-init binary"),
    many!("insecure-registry"; Some("insecure-registries"); push!(insecure_registries); "Enable insecure registry communication"),
    entry!("ip"; Some("ip"); Value; Effect::Set(ip); "Host IP for port publishing from the default bridge network (default 0.0.0.0)"),
    entry!("ip-forward"; Some("ip-forward"); Bool; switch!(ip_forward); "Enable IP forwarding in system configuration (default true)"),
    entry!("ip-masq"; Some("ip-masq"); Bool; switch!(ip_masq); "Enable IP masquerading for the default bridge network (default true)"),
    entry!("ip6tables"; Some("ip6tables"); Bool; Effect::Only(&["false"], "would filter nothing, as IPv6 networking is not implemented in this version of dhow: leave it out or set it to false"); "Enable addition of ip6tables rules"),
    entry!("iptables"; Some("iptables"); Bool; Effect::Only(&["true"], "cannot be turned off: that is not implemented in this version of dhow"); "Enable addition of packet filter rules (default true)"),
    entry!("ipv6"; Some("ipv6"); Bool; Effect::Only(&["false"], ABSENT); "Enable IPv6 networking for the default bridge network"),
    many!("label"; Some("labels"); push!(labels); "Set key=value labels to the daemon"),
    entry!("live-restore"; Some("live-restore"); Bool; switch!(live_restore); "Keep containers running when the daemon ends (default true)"),
    entry!("log-driver"; Some("log-driver"); Value; Effect::Set(log_driver); "Default driver for container logs (default \"json-file\")"),
    entry!("log-format"; Some("log-format"); Value; Effect::Only(&["text"], "other than text is not implemented in this version of dhow"); "Set the logging format (\"text\")"),
    entry!("log-level", 'l'; Some("log-level"); Value; Effect::Set(log_level); "Set the logging level (\"debug\"|\"info\"|\"warn\"|\"error\"|\"fatal\")"),
    many!("log-opt"; Some("log-opts"); Effect::Set(log_opt); "Default log driver options for containers"),
    entry!("max-concurrent-downloads"; Some("max-concurrent-downloads"); Value; number!(max_concurrent_downloads, 1); "Set the max concurrent downloads (default 3)"),
    entry!("max-concurrent-uploads"; Some("max-concurrent-uploads"); Value; Effect::Only(&["5"], ABSENT); "Set the max concurrent uploads"),
    entry!("max-download-attempts"; Some("max-download-attempts"); Value; number!(max_download_attempts, 1); "Set the max download attempts for each pull (default 5)"),
    entry!("metrics-addr"; Some("metrics-addr"); Value; Effect::Only(&[""], ABSENT); "Set default address and port to serve the metrics api on"),
    entry!("mtu"; Some("mtu"); Value; number!(mtu, 68); "Set the MTU for the default \"bridge\" network (default 1500)"),
    entry!("no-new-privileges"; Some("no-new-privileges"); Bool; switch!(no_new_privileges); "Set no-new-privileges by default for new containers"),
    entry!("no-proxy"; Some("no-proxy"); Value; Effect::Only(&[""], "is taken from the environment (NO_PROXY) only"); "List of hosts to be excluded from proxy"),
    entry!("oom-score-adjust"; Some("oom-score-adjust"); Value; number!(oom_score_adjust, -1000); "Set the oom_score_adj for the daemon"),
    entry!("pidfile", 'p'; Some("pidfile"); Value; Effect::Set(|c, v| path(&mut c.pidfile, v)); "Path to use for daemon PID file (default \"/run/dhow.pid\")"),
    entry!("raw-logs"; Some("raw-logs"); Bool; Effect::Only(&["true"], "cannot be turned off, as the log never has colours: leave it out or set it to true"); "Full timestamps without ANSI coloring (default true)"),
    many!("registry-mirror"; Some("registry-mirrors"); push!(registry_mirrors); "Preferred registry mirror"),
    entry!("repair"; None; Bool; switch!(repair); "With --check: mend what can be mended"),
    entry!("rootless"; None; Bool; Effect::Only(&["false"], ABSENT); "Enable rootless mode"),
    entry!("seccomp-profile"; Some("seccomp-profile"); Value; optional!(seccomp_profile); "Path to seccomp profile, \"builtin\" or \"unconfined\""),
    entry!("security-profile"; Some("security-profile"); Value; Effect::Set(security_profile); "Defaults of new containers (\"docker\"|\"strict\")"),
    entry!("selinux-enabled"; Some("selinux-enabled"); Bool; Effect::Only(&["false"], ABSENT); "Enable selinux support"),
    entry!("shutdown-timeout"; Some("shutdown-timeout"); Value; number!(shutdown_timeout, -1); "Set the default shutdown timeout (default 15)"),
    entry!("storage-driver", 's'; Some("storage-driver"); Value; Effect::Only(&["", "overlay", "overlay2"], "other than overlay2 is not implemented in this version of dhow"); "Storage driver to use (overlay2)"),
    many!("storage-opt"; Some("storage-opts"); Effect::Only(&[], ABSENT); "Storage driver options"),
    entry!("swarm-default-advertise-addr"; Some("swarm-default-advertise-addr"); Value; Effect::Only(&[""], ABSENT); "Set default address for swarm"),
    entry!("tls"; Some("tls"); Bool; Effect::Only(&["false"], ABSENT); "Use TLS"),
    entry!("tlscacert"; Some("tlscacert"); Value; Effect::Only(&[""], ABSENT); "Trust certs signed only by this CA"),
    entry!("tlscert"; Some("tlscert"); Value; Effect::Only(&[""], ABSENT); "Path to TLS certificate file"),
    entry!("tlskey"; Some("tlskey"); Value; Effect::Only(&[""], ABSENT); "Path to TLS key file"),
    entry!("tlsverify"; Some("tlsverify"); Bool; Effect::Only(&["false"], ABSENT); "Use TLS and verify the remote"),
    entry!("userland-proxy"; Some("userland-proxy"); Bool; Effect::Only(&["false"], "cannot be turned on, as the kernel alone forwards published ports and dhow has no proxy: leave it out or set it to false"); "Use userland proxy for loopback traffic"),
    entry!("userland-proxy-path"; Some("userland-proxy-path"); Value; Effect::Only(&[""], "is not used by dhow"); "Path to the userland proxy binary"),
    entry!("userns-remap"; Some("userns-remap"); Value; Effect::Only(&[""], ABSENT); "User/Group setting for user namespaces"),
    entry!("validate"; None; Bool; switch!(validate); "Validate daemon configuration and exit"),
    entry!("version", 'v'; None; Bool; Effect::Early; "Print version information and quit"),
];

/// What `--help` prints.
pub fn help() -> String {
    let mut out = String::from(
        "\nUsage:  dhow daemon [OPTIONS]\n\nThe engine: serves the Docker API on a unix socket.\n\nOptions:\n",
    );
    for entry in OPTIONS.iter().filter(|e| !matches!(e.effect, Effect::Only([] | ["" | "false"] | ["5"], _))) {
        let short = entry.short.map_or("    ".into(), |c| format!("-{c}, "));
        let value = match (entry.takes, entry.many) {
            (Takes::Bool, _) => "",
            (Takes::Value, false) => " string",
            (Takes::Value, true) => " list",
        };
        let left = format!("--{}{value}", entry.flag);
        out.push_str(&format!("  {short}{left:<34} {}\n", entry.help));
    }
    out
}

fn path(field: &mut std::path::PathBuf, value: &str) -> Result<(), String> {
    *field = std::path::absolute(value).map_err(|_| "a path is wanted".to_owned())?;
    Ok(())
}

fn host(config: &mut Config, value: &str) -> Result<(), String> {
    let value = value.trim();
    if value.starts_with("tcp://") {
        return Err("refusing to serve the API over TCP without TLS and client certificates, which are not implemented in this version of dhow: use a unix socket, or reach this machine by ssh".into());
    }
    let normal = match value {
        "" | "unix://" => format!("unix://{}", api::DEFAULT_SOCKET),
        v if v.starts_with("unix:///") || v == "fd://" || v.starts_with("fd://") => v.to_owned(),
        v if v.starts_with("unix://") => {
            let path = std::path::absolute(&v[7..]).map_err(|_| format!("invalid bind address format: {v}"))?;
            format!("unix://{}", path.display())
        }
        v => return Err(format!("invalid bind address format: {v}")),
    };
    config.hosts.push(normal);
    Ok(())
}

fn ip(config: &mut Config, value: &str) -> Result<(), String> {
    config.ip = Some(value.parse().map_err(|_| format!("invalid IP address: {value}"))?);
    Ok(())
}

fn shm(config: &mut Config, value: &str) -> Result<(), String> {
    config.shm_size = api::units::parse_ram(value)?;
    Ok(())
}

fn security_profile(c: &mut Config, v: &str) -> Result<(), String> {
    c.security_profile = container::Profile::parse(v).map_err(|e| e.to_string())?;
    Ok(())
}

fn log_level(config: &mut Config, value: &str) -> Result<(), String> {
    if !["trace", "debug", "info", "warn", "error", "fatal"].contains(&value) {
        return Err(format!("invalid logging level: {value}"));
    }
    config.log_level = if value == "fatal" { "error".into() } else { value.into() };
    Ok(())
}

fn log_driver(config: &mut Config, value: &str) -> Result<(), String> {
    if !["json-file", "none"].contains(&value) {
        return Err(format!("log driver {value:?} is not implemented in this version of dhow"));
    }
    config.log_driver = value.into();
    Ok(())
}

fn log_opt(config: &mut Config, value: &str) -> Result<(), String> {
    let (key, value) = value.split_once('=').ok_or_else(|| format!("bad attribute format: {value}"))?;
    config.log_opts.insert(key.into(), value.into());
    Ok(())
}

fn cgroupns(config: &mut Config, value: &str) -> Result<(), String> {
    if !["", "host", "private"].contains(&value) {
        return Err(format!("invalid default cgroup namespace: {value}"));
    }
    config.cgroupns_mode = value.into();
    Ok(())
}

fn exec_opt(config: &mut Config, value: &str) -> Result<(), String> {
    let (key, value) =
        value.split_once('=').ok_or_else(|| format!("invalid key/value pair format in exec-opts: {value}"))?;
    if !key.trim().eq_ignore_ascii_case("native.cgroupdriver") {
        return Err(format!("exec-opt {key} is not implemented in this version of dhow"));
    }
    config.systemd_cgroup = match value.trim() {
        "" | "cgroupfs" => false,
        "systemd" => true,
        other => return Err(format!("native.cgroupdriver option {other} not supported")),
    };
    Ok(())
}

fn ipc(config: &mut Config, value: &str) -> Result<(), String> {
    if !["", "private", "shareable"].contains(&value) {
        return Err(format!("IPC mode \"{value}\" is not supported as default setting for IPC mode"));
    }
    config.ipc_mode = value.into();
    Ok(())
}

fn default_runtime(config: &mut Config, value: &str) -> Result<(), String> {
    config.default_runtime = if value.is_empty() { super::BUILTIN.into() } else { value.into() };
    Ok(())
}

/// `name=path`, and from daemon.json arguments on further lines.
fn runtime(config: &mut Config, value: &str) -> Result<(), String> {
    let (name, command) =
        value.split_once('=').ok_or_else(|| format!("invalid runtime: {value}: name=path is wanted"))?;
    let mut lines = command.split('\n');
    let path = lines.next().unwrap_or_default().to_owned();
    if name.is_empty() || path.is_empty() {
        return Err(format!("invalid runtime: {name:?}: name=path is wanted"));
    }
    if name == super::BUILTIN {
        return Err(format!("runtime name '{name}' is reserved"));
    }
    if config.runtimes.contains_key(name) {
        return Err(format!("runtime '{name}' was already defined"));
    }
    config.runtimes.insert(name.into(), RuntimeCommand { path, args: lines.map(str::to_owned).collect() });
    Ok(())
}

/// `nofile=1024` or `nofile=1024:2048`
fn ulimit(config: &mut Config, value: &str) -> Result<(), String> {
    let wrong = || format!("invalid ulimit argument: {value}");
    let (name, limits) = value.split_once('=').ok_or_else(wrong)?;
    let (soft, hard) = limits.split_once(':').unwrap_or((limits, limits));
    let (soft, hard): (i64, i64) = (soft.parse().map_err(|_| wrong())?, hard.parse().map_err(|_| wrong())?);
    if hard != -1 && (soft > hard || soft == -1) {
        return Err(format!("ulimit soft limit must be less than or equal to hard limit: {soft} > {hard}"));
    }
    config.ulimits.insert(name.into(), Ulimit { name: name.into(), hard, soft });
    Ok(())
}

/// `base=10.0.0.0/8,size=24`
fn pool(config: &mut Config, value: &str) -> Result<(), String> {
    let (mut base, mut size) = (None, None);
    for field in value.split(',') {
        match field.split_once('=') {
            Some(("base", v)) => base = Some(v.to_owned()),
            Some(("size", v)) => size = v.parse::<u8>().ok().filter(|n| *n <= 32),
            _ => return Err(format!("invalid field '{field}' must be a key=value pair")),
        }
    }
    match (base, size) {
        (Some(base), Some(size)) => config.address_pools.push((base, size)),
        _ => return Err(format!("invalid address pool: {value}")),
    }
    Ok(())
}
