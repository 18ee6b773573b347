//! Namespaces: which values there are, and which contradict each other.

use crate::error::{Error, Result, invalid};
use api::container::{ContainerConfig, HostConfig};

/// `container:X` gives X.
pub(crate) fn of_container(mode: &str) -> Option<&str> {
    mode.strip_prefix("container:")
}

/// The network mode against the rest.
pub(super) fn network(config: &ContainerConfig, host: &HostConfig) -> Result<()> {
    if host.network_mode == "container" || of_container(&host.network_mode).is_some() {
        joined_network(config, host)?;
    }
    if host.uts_mode == "host" && !config.hostname.is_empty() {
        return Err(invalid!("conflicting options: hostname and the UTS mode"));
    }
    Ok(())
}

fn joined_network(config: &ContainerConfig, host: &HostConfig) -> Result<()> {
    let conflict = |what: &str| Err(invalid!("conflicting options: {what}"));
    if of_container(&host.network_mode).is_none_or(str::is_empty) {
        return Err(invalid!("invalid network mode: invalid container format container:<name|id>"));
    }
    if !config.hostname.is_empty() {
        return conflict("hostname and the network mode");
    }
    if !host.links.is_empty() {
        return conflict("container type network can't be used with links. This would result in undefined behavior");
    }
    if !host.dns.is_empty() {
        return conflict("dns and the network mode");
    }
    if !host.extra_hosts.is_empty() {
        return conflict("custom host-to-IP mapping and the network mode");
    }
    if !config.mac_address.is_empty() {
        return conflict("mac-address and the network mode");
    }
    if !host.port_bindings.is_empty() || host.publish_all_ports {
        return conflict("port publishing and the container type network mode");
    }
    if !config.exposed_ports.is_empty() {
        return conflict("port exposing and the container type network mode");
    }
    Ok(())
}

/// Options of other systems.
pub(super) fn isolation(host: &HostConfig) -> Result<()> {
    if !matches!(host.isolation.as_str(), "" | "default") {
        return Err(invalid!("invalid isolation ({}): linux only supports 'default'", host.isolation));
    }
    if host.resources.io_maximum_bandwidth != 0 {
        return Err(invalid!("invalid option: QoS maximum bandwidth configuration is not supported on linux"));
    }
    if host.resources.io_maximum_iops != 0 {
        return Err(invalid!("invalid option: QoS maximum IOPs configuration is not supported on linux"));
    }
    Ok(())
}

/// The other namespaces.
pub(super) fn namespaces(host: &HostConfig) -> Result<()> {
    let joins = |mode: &str| of_container(mode).is_some_and(|c| !c.is_empty());
    let ipc = host.ipc_mode.as_str();
    if !matches!(ipc, "" | "none" | "private" | "shareable" | "host") && !joins(ipc) {
        return Err(invalid!("invalid IPC mode: {ipc}"));
    }
    let pid = host.pid_mode.as_str();
    if !matches!(pid, "" | "host") && !joins(pid) {
        return Err(invalid!("invalid PID mode: {pid}"));
    }
    if !matches!(host.uts_mode.as_str(), "" | "host") {
        return Err(invalid!("invalid UTS mode: {}", host.uts_mode));
    }
    if !matches!(host.userns_mode.as_str(), "" | "host") {
        return Err(invalid!("invalid USER mode: {}", host.userns_mode));
    }
    if !matches!(host.cgroupns_mode.as_str(), "" | "host" | "private") {
        return Err(invalid!("invalid cgroup namespace mode: {}", host.cgroupns_mode));
    }
    cgroup_parent(&host.resources.cgroup_parent)?;
    match host.network_mode.as_str() {
        "" | "default" | "bridge" | "host" | "none" => Ok(()),
        mode if of_container(mode).is_some() => Ok(()),
        other => Err(Error::NotFound(format!("network {other} not found"))),
    }
}

/// A slice, where systemd makes the control groups.
pub(crate) fn parent_slice(parent: &str) -> Result<()> {
    match parent.is_empty() || oci::scope::expand(parent).is_ok() {
        true => Ok(()),
        // Docker's words.
        false => Err(invalid!("cgroup-parent for systemd cgroup should be a valid slice named as \"xxx.slice\"")),
    }
}

/// A path below the root of the control groups, and nowhere else.
pub(crate) fn cgroup_parent(parent: &str) -> Result<()> {
    let good = parent.len() <= 1024
        && !parent.split('/').any(|part| part == ".." || part == ".")
        && !parent.contains(|c: char| c.is_control() || c.is_whitespace() || c == ':');
    match good {
        true => Ok(()),
        false => Err(invalid!("invalid cgroup-parent {parent:?}: it must be a plain path below the cgroup root")),
    }
}
