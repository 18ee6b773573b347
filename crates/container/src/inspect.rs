//! What there is to know about a container, in Docker's form.

use crate::containers::{Container, Containers, Shared};
use crate::error::Result;
use crate::files;
use crate::health::Outcome;
use crate::mounts::{Kind, MountPoint as Ours};
use crate::record::Record;
use crate::state::{BoundPort, Phase, State as Now};
use api::container::{
    ContainerInspect, GraphDriver, Health, HealthResult, MountPoint, NEVER, NetworkSettings, PortBinding, State,
};
use api::network::EndpointSettings;
use api::{List, Map};

impl Containers {
    /// Everything about one container; with the sizes of its layers on request.
    ///
    /// # Errors
    /// `NotFound`
    pub fn inspect(&self, name: &str, size: bool) -> Result<ContainerInspect> {
        let shared = &self.shared;
        let c = shared.find(name)?;
        let (record, now) = (c.record(), c.state());
        let sizes = if size { Some(shared.sizes(&c.id, &record.image)?) } else { None };
        let path = |name: &str| c.dir.join(name).to_string_lossy().into_owned();
        let logs = record.host_config.log_config.kind == "json-file";
        let execs = shared.exec_ids(&c.id);
        let mut host_config = record.host_config.clone();
        for limit in &shared.options.defaults.ulimits {
            if !host_config.resources.ulimits.iter().any(|u| u.name == limit.name) {
                host_config.resources.ulimits.push(limit.clone());
            }
        }
        let apparmor = host_config.security_opt.iter().find_map(|o| o.strip_prefix("apparmor="));
        Ok(ContainerInspect {
            id: c.id.clone(),
            created: time(record.created_ns),
            path: record.path.clone(),
            args: record.args.clone().into(),
            state: state(&now),
            image: record.image.clone(),
            resolv_conf_path: path(files::RESOLV_CONF),
            hostname_path: path(files::HOSTNAME),
            hosts_path: path(files::HOSTS),
            log_path: if logs { c.json_log().to_string_lossy().into_owned() } else { String::new() },
            name: format!("/{}", record.name),
            restart_count: now.restart_count.into(),
            driver: DRIVER.into(),
            platform: "linux".into(),
            mount_label: String::new(),
            process_label: String::new(),
            app_armor_profile: apparmor.unwrap_or_default().to_owned(),
            exec_ids: if execs.is_empty() { List::null() } else { execs.into() },
            host_config,
            graph_driver: shared.graph_driver(&c),
            size_rw: sizes.map(|s| s.0),
            size_root_fs: sizes.map(|s| s.1),
            mounts: record.mounts.iter().map(mount_point).collect(),
            config: record.config.clone(),
            network_settings: shared.network_settings(&c, &record, &now),
        })
    }
}

/// What Docker calls the storage driver.
const DRIVER: &str = "overlay2";

/// RFC 3339 with nanoseconds as Go prints them: without trailing zeroes.
pub(crate) fn time(ns: u64) -> String {
    if ns == 0 {
        return NEVER.into();
    }
    let Ok(at) = jiff::Timestamp::from_nanosecond(i128::from(ns)) else { return NEVER.into() };
    let whole = at.strftime("%Y-%m-%dT%H:%M:%S").to_string();
    let fraction = format!("{:09}", ns % 1_000_000_000);
    match fraction.trim_end_matches('0') {
        "" => format!("{whole}Z"),
        digits => format!("{whole}.{digits}Z"),
    }
}

fn state(now: &Now) -> State {
    State {
        status: now.status().into(),
        running: now.is_running(),
        paused: now.paused,
        restarting: now.phase == Phase::Restarting,
        oom_killed: now.oom_killed,
        dead: now.phase == Phase::Dead,
        pid: now.pid,
        exit_code: now.exit_code,
        error: now.error.clone(),
        started_at: time(now.started_ns),
        finished_at: time(now.finished_ns),
        health: now.health.as_ref().map(|h| Health {
            status: h.status.name().into(),
            failing_streak: i64::try_from(h.failing_streak).unwrap_or(i64::MAX),
            log: h.log.iter().map(health_result).collect::<Vec<_>>().into(),
        }),
    }
}

fn health_result(outcome: &Outcome) -> HealthResult {
    HealthResult {
        start: time(outcome.start_ns),
        end: time(outcome.end_ns),
        exit_code: outcome.code.into(),
        output: outcome.output.clone(),
    }
}

pub(crate) fn mount_point(m: &Ours) -> MountPoint {
    MountPoint {
        kind: m.kind.name().into(),
        name: m.name.clone(),
        source: m.source.clone(),
        destination: m.destination.clone(),
        driver: m.driver.clone(),
        mode: m.mode.clone(),
        rw: m.rw,
        propagation: if m.kind == Kind::Bind { m.propagation.clone() } else { String::new() },
    }
}

impl Shared {
    fn graph_driver(&self, c: &Container) -> GraphDriver {
        let mut data = Map::empty();
        if let Ok((mount, base)) = self.rootfs(&c.id, false) {
            let names = [("lowerdir=", "LowerDir"), ("upperdir=", "UpperDir"), ("workdir=", "WorkDir")];
            for (option, name) in names {
                let value = mount.options.iter().find_map(|o| o.strip_prefix(option));
                let full = value.unwrap_or_default().split(':').map(|p| base.join(p).to_string_lossy().into_owned());
                data.insert(name.to_owned(), full.collect::<Vec<_>>().join(":"));
            }
        }
        GraphDriver { data, name: DRIVER.into() }
    }

    fn network_settings(&self, c: &Container, record: &Record, now: &Now) -> NetworkSettings {
        let mut out = NetworkSettings { ports: Map::empty(), ..NetworkSettings::default() };
        let mode = record.host_config.network_mode.as_str();
        out.networks = self.networks(record, now);
        if now.phase != Phase::Running || mode.starts_with("container:") {
            return out;
        }
        out.sandbox_id.clone_from(&c.id);
        out.sandbox_key = if now.pid > 0 { format!("/proc/{}/ns/net", now.pid) } else { String::new() };
        let Some(endpoint) = &now.endpoint else { return out };
        if mode == "host" || mode == "none" {
            return out;
        }
        out.ports = port_map(record, &endpoint.ports);
        if let Some(settings) = out.networks.get("bridge").cloned() {
            out.endpoint_id = settings.endpoint_id;
            out.gateway = settings.gateway;
            out.ip_address = settings.ip_address;
            out.ip_prefix_len = settings.ip_prefix_len;
            out.mac_address = settings.mac_address;
        }
        out
    }

    /// The networks of a container by name.
    pub fn networks(&self, record: &Record, now: &Now) -> Map<Box<EndpointSettings>> {
        let mode = record.host_config.network_mode.as_str();
        if mode.starts_with("container:") {
            return Map::empty();
        }
        let name = if record.config.network_disabled { "none" } else { mode };
        let asked = record.networking.endpoints_config.values().flatten().next().cloned().unwrap_or_default();
        let mut settings = EndpointSettings { network_id: self.network_id(name), ..asked };
        if let (Phase::Running, Some(e)) = (now.phase, &now.endpoint) {
            settings.network_id.clone_from(&e.network_id);
            settings.endpoint_id.clone_from(&e.endpoint_id);
            settings.ip_address = e.ip.map(|ip| ip.to_string()).unwrap_or_default();
            settings.ip_prefix_len = e.prefix;
            settings.gateway = e.gateway.map(|ip| ip.to_string()).unwrap_or_default();
            settings.mac_address.clone_from(&e.mac);
        }
        [(name.to_owned(), Box::new(settings))].into_iter().collect()
    }
}

/// Published and exposed ports.
fn port_map(record: &Record, bound: &[BoundPort]) -> Map<List<PortBinding>> {
    let mut out: Map<List<PortBinding>> = Map::empty();
    for port in record.config.exposed_ports.keys() {
        out.entry(port.clone()).or_default();
    }
    for port in bound {
        let binding = PortBinding { host_ip: port.host_ip.to_string(), host_port: port.host.to_string() };
        out.entry(format!("{}/{}", port.container, port.protocol)).or_default().push(binding);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_as_go_prints_them() {
        assert_eq!(time(0), NEVER);
        assert_eq!(time(1_700_000_000_000_000_000), "2023-11-14T22:13:20Z");
        assert_eq!(time(1_700_000_000_120_000_000), "2023-11-14T22:13:20.12Z");
    }
}
