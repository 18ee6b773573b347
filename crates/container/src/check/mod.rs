//! Everything of a request that can be refused before anything is touched, in dockerd's order and words. Pure, but for
//! the question whether the source of a bind is there.
//!
//! ```text
//! modes.rs      namespaces and how they contradict each other
//! limits.rs     memory, CPU, block devices, pids: refused, or discarded with a warning
//! security.rs   --security-opt, --sysctl, --ulimit
//! log.rs        --log-driver, --log-opt
//! ```

mod limits;
mod log;
mod modes;
mod security;

pub use log::LOG_DRIVERS;
pub(crate) use log::{Wanted, log, pattern};
pub(crate) use modes::{of_container, parent_slice};
pub(crate) use security::{SeccompChoice, Security, rlimits};

use crate::error::{Error, Result, invalid};
use crate::host::Host;
use crate::restart::Policy;
use api::container::{ContainerConfig, HostConfig, RestartPolicy};
use network::Protocol;
use std::net::IpAddr;

/// The longest host name (HOST_NAME_MAX).
const MAX_HOSTNAME: usize = 64;
/// The largest sum of everything of a request that becomes arguments and environment.
const MAX_STRINGS: usize = 4 << 20;

/// Checks a create request and discards what the kernel cannot do. `exists` says whether a path of the host is there.
///
/// # Errors
/// The first thing wrong.
pub(crate) fn create(
    config: &mut ContainerConfig,
    host: &mut HostConfig,
    facts: &Host,
    exists: &dyn Fn(&str) -> Result<bool>,
) -> Result<Vec<String>> {
    modes::network(config, host)?;
    modes::isolation(host)?;
    limits::realtime(&host.resources, facts)?;
    container(config)?;
    let mut warnings = host_config(host, facts, exists)?;
    warnings.extend(limits::check(&mut host.resources, facts, false)?);
    if config.hostname.len() > MAX_HOSTNAME {
        return Err(invalid!("hostname {:?} is too long (maximum {MAX_HOSTNAME} bytes)", config.hostname));
    }
    modes::namespaces(host)?;
    if host.network_mode == "host" && !host.port_bindings.is_empty() {
        warnings.push("Published ports are discarded when using host network mode".into());
    }
    Ok(warnings)
}

/// Checks an update.
///
/// # Errors
/// The first thing wrong.
pub(crate) fn update(
    resources: &mut api::container::Resources,
    policy: &RestartPolicy,
    facts: &Host,
) -> Result<Vec<String>> {
    restart_policy(policy)?;
    limits::check(resources, facts, true)
}

fn container(config: &mut ContainerConfig) -> Result<()> {
    if !config.working_dir.is_empty() {
        if !config.working_dir.starts_with('/') {
            return Err(invalid!(
                "the working directory '{}' is invalid, it needs to be an absolute path",
                config.working_dir
            ));
        }
        config.working_dir = crate::mounts::clean(&config.working_dir);
    }
    if !config.stop_signal.is_empty() {
        api::signal::parse(&config.stop_signal).map_err(Error::Invalid)?;
    }
    for env in &config.env {
        if env.is_empty() || env.starts_with('=') {
            return Err(invalid!("invalid environment variable: {env}"));
        }
    }
    crate::health::refuse(config).map_err(Error::Invalid)?;
    if !config.mac_address.is_empty() {
        mac(&config.mac_address)?;
    }
    for volume in config.volumes.keys() {
        if !volume.starts_with('/') || crate::mounts::clean(volume) == "/" || volume.contains('\0') {
            return Err(invalid!("invalid volume specification: '{volume}'"));
        }
    }
    let test = config.healthcheck.iter().flat_map(|h| h.test.iter());
    let text = config.env.iter().chain(&*config.cmd).chain(&*config.entrypoint).chain(test);
    let fields = [&config.hostname, &config.domainname, &config.user, &config.working_dir];
    let mut total = 0;
    for text in text.chain(fields) {
        total += text.len() + 1;
        if text.contains('\0') {
            return Err(invalid!("invalid string {text:?}: it contains a NUL byte"));
        }
    }
    if total > MAX_STRINGS {
        return Err(invalid!("arguments and environment of {total} bytes are more than {MAX_STRINGS}"));
    }
    if config.hostname.contains(|c: char| c.is_whitespace() || c.is_control() || c == '/')
        || config.domainname.contains(|c: char| c.is_whitespace() || c.is_control() || c == '/')
    {
        return Err(invalid!("invalid hostname format: {}", config.hostname));
    }
    Ok(())
}

/// What every container gets that asks for nothing else.
///
/// # Errors
/// As for a container that asks for it.
pub(crate) fn options(options: &crate::Options) -> Result<()> {
    log(&options.log).map_err(|e| e.context("failed to set log opts"))?;
    rlimits(&options.defaults.ulimits)?;
    match options.defaults.systemd_cgroup {
        true => parent_slice(&options.defaults.cgroup_parent)?,
        false => modes::cgroup_parent(&options.defaults.cgroup_parent)?,
    }
    match options.dns.iter().find(|server| server.parse::<IpAddr>().is_err()) {
        Some(server) => Err(invalid!("{server} is not an ip address")),
        None => Ok(()),
    }
}

/// Six pairs of hex digits.
pub(crate) fn mac(text: &str) -> Result<[u8; 6]> {
    let mut out = [0; 6];
    let mut parts = text.split([':', '-']);
    for byte in &mut out {
        *byte = parts
            .next()
            .filter(|p| p.len() == 2)
            .and_then(|p| u8::from_str_radix(p, 16).ok())
            .ok_or_else(|| invalid!("invalid MAC address: address {text}: invalid MAC address"))?;
    }
    match parts.next() {
        None => Ok(out),
        Some(_) => Err(invalid!("invalid MAC address: address {text}: invalid MAC address")),
    }
}

fn host_config(host: &HostConfig, facts: &Host, exists: &dyn Fn(&str) -> Result<bool>) -> Result<Vec<String>> {
    if host.auto_remove && !matches!(host.restart_policy.name.as_str(), "" | "no") {
        return Err(invalid!("can't create 'AutoRemove' container with restart policy"));
    }
    for mount in &host.mounts {
        crate::mounts::parse_mount(mount, exists)?;
    }
    for extra in &host.extra_hosts {
        extra_host(extra)?;
    }
    for server in &host.dns {
        if server.parse::<IpAddr>().is_err() {
            return Err(invalid!("{server} is not an ip address"));
        }
    }
    for (port, bindings) in &host.port_bindings {
        parse_port(port)?;
        for binding in bindings {
            host_ports(&binding.host_port)?;
            if !binding.host_ip.is_empty() && binding.host_ip.parse::<IpAddr>().is_err() {
                return Err(invalid!("invalid IP address: {}", binding.host_ip));
            }
        }
    }
    restart_policy(&host.restart_policy)?;
    crate::caps::normalize(&host.cap_add, facts.capabilities).map_err(|e| e.context("invalid CapAdd"))?;
    crate::caps::normalize(&host.cap_drop, facts.capabilities).map_err(|e| e.context("invalid CapDrop"))?;
    if host.annotations.contains_key("") {
        return Err(invalid!("invalid Annotations: the empty string is not permitted as an annotation key"));
    }
    if host.shm_size < 0 {
        return Err(invalid!("SHM size can not be less than 0"));
    }
    if !(-1000..=1000).contains(&host.oom_score_adj) {
        return Err(invalid!("Invalid value {}, range for oom score adj is [-1000, 1000]", host.oom_score_adj));
    }
    for (destination, options) in &host.tmpfs {
        crate::mounts::check_destination(destination)?;
        crate::mounts::tmpfs_options(options)?;
    }
    security::sysctls(host)?;
    security::rlimits(&host.resources.ulimits)?;
    Security::parse(&host.security_opt, facts)?;
    not_supported(host)?;
    Ok(vec![])
}

/// What of Docker's this engine does not do is refused by name, never ignored.
fn not_supported(host: &HostConfig) -> Result<()> {
    if !host.links.is_empty() {
        return Err(Error::Unsupported("links are not supported by this engine: --link".into()));
    }
    if !host.storage_opt.is_empty() {
        return Err(invalid!("--storage-opt is supported only for overlay over xfs with 'pquota' mount option"));
    }
    if let Some(request) = host.resources.device_requests.first() {
        let sets: Vec<String> = request.capabilities.iter().map(|set| format!("[{}]", set.join(" "))).collect();
        return Err(invalid!(
            "could not select device driver {:?} with capabilities: [{}]",
            request.driver,
            sets.join(" ")
        ));
    }
    if !host.cgroup.is_empty() {
        return Err(Error::Unsupported("the Cgroup option is not supported by this engine".into()));
    }
    for rule in &host.resources.device_cgroup_rules {
        crate::spec::device_rule(rule)?;
    }
    for device in &host.resources.devices {
        let permissions = &device.cgroup_permissions;
        if permissions.is_empty() || permissions.len() > 3 || !permissions.chars().all(|c| "rwm".contains(c)) {
            return Err(invalid!("invalid device mode: {permissions}"));
        }
        if !device.path_on_host.starts_with('/') || !device.path_in_container.starts_with('/') {
            return Err(invalid!("invalid device specification: {}:{}", device.path_on_host, device.path_in_container));
        }
    }
    Ok(())
}

/// `name:address`.
fn extra_host(text: &str) -> Result<()> {
    match text.split_once(':') {
        Some((name, _)) if name.is_empty() || name.contains(char::is_whitespace) => {
            Err(invalid!("bad format for add-host: {text:?}"))
        }
        Some((_, "host-gateway")) => Ok(()),
        Some((_, ip)) => match address(ip) {
            Some(_) => Ok(()),
            None => Err(invalid!("invalid IP address in add-host: {ip:?}")),
        },
        None => Err(invalid!("bad format for add-host: {text:?}")),
    }
}

/// An address, an IPv6 one perhaps in brackets.
pub(crate) fn address(text: &str) -> Option<IpAddr> {
    text.trim_start_matches('[').trim_end_matches(']').parse().ok()
}

/// `80/tcp`.
pub(crate) fn parse_port(text: &str) -> Result<(u16, Protocol)> {
    let bad = || invalid!("invalid port specification: {text:?}");
    let (number, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let protocol = protocol.parse::<Protocol>().map_err(|_| bad())?;
    match number.parse::<u16>() {
        Ok(n) if n > 0 && number.bytes().all(|b| b.is_ascii_digit()) => Ok((n, protocol)),
        _ => Err(bad()),
    }
}

/// The ports of the host that will do: none is an ephemeral one, `8000-8010` any of them.
pub(crate) fn host_ports(text: &str) -> Result<Option<(u16, u16)>> {
    let bad = || invalid!("invalid port specification: {text:?}");
    if text.is_empty() {
        return Ok(None);
    }
    let number = |n: &str| n.parse::<u16>().ok().filter(|_| n.bytes().all(|b| b.is_ascii_digit())).ok_or_else(bad);
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    match (number(first)?, number(last)?) {
        (0, 0) => Ok(None),
        (first, last) if first <= last && first > 0 => Ok(Some((first, last))),
        _ => Err(bad()),
    }
}

/// Docker's policy as ours.
pub(crate) fn restart_policy(policy: &RestartPolicy) -> Result<Policy> {
    let retries = policy.maximum_retry_count;
    let none = |ours| match retries {
        0 => Ok(ours),
        n if n < 0 => Err(invalid!(
            "invalid restart policy: maximum retry count can only be used with 'on-failure' and cannot be negative"
        )),
        _ => Err(invalid!("invalid restart policy: maximum retry count can only be used with 'on-failure'")),
    };
    match policy.name.as_str() {
        "" => Ok(Policy::No),
        "no" => none(Policy::No),
        "always" => none(Policy::Always),
        "unless-stopped" => none(Policy::UnlessStopped),
        "on-failure" if retries < 0 => Err(invalid!("invalid restart policy: maximum retry count cannot be negative")),
        "on-failure" => Ok(Policy::OnFailure(u32::try_from(retries).unwrap_or(u32::MAX))),
        other => Err(invalid!(
            "invalid restart policy: unknown policy '{other}'; use one of 'no', 'always', 'on-failure', or 'unless-stopped'"
        )),
    }
}

#[cfg(test)]
mod tests;
