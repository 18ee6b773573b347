//! `GET /containers/{id}/json`.

use super::{ContainerConfig, HostConfig, PortBinding};
use crate::go::{List, Map, is_default, objects};
use crate::network::EndpointSettings;

objects! {
    /// All that is known about a container.
    struct ContainerInspect {
        id: String,
        /// RFC 3339, nanoseconds.
        created: String,
        path: String,
        args: List<String>,
        state: State,
        /// The image's ID.
        image: String,
        resolv_conf_path: String,
        hostname_path: String,
        hosts_path: String,
        log_path: String,
        /// With a slash before it.
        name: String,
        restart_count: i64,
        driver: String,
        platform: String,
        mount_label: String,
        process_label: String,
        app_armor_profile: String,
        #[serde(rename = "ExecIDs")]
        exec_ids: List<String>,
        host_config: HostConfig,
        graph_driver: GraphDriver,
        #[serde(skip_serializing_if = "Option::is_none")]
        size_rw: Option<i64>,
        #[serde(skip_serializing_if = "Option::is_none")]
        size_root_fs: Option<i64>,
        /// Never null.
        mounts: Vec<MountPoint>,
        config: ContainerConfig,
        network_settings: NetworkSettings,
    }

    /// What the container does now.
    struct State {
        /// `created`, `running`, `paused`, `restarting`, `removing`, `exited` or `dead`
        status: String,
        running: bool,
        paused: bool,
        restarting: bool,
        #[serde(rename = "OOMKilled")]
        oom_killed: bool,
        dead: bool,
        pid: i32,
        exit_code: i32,
        error: String,
        /// `0001-01-01T00:00:00Z` before the first start.
        started_at: String,
        /// `0001-01-01T00:00:00Z` before the first end.
        finished_at: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        health: Option<Health>,
    }

    /// What the health check found.
    struct Health {
        /// `none`, `starting`, `healthy` or `unhealthy`
        status: String,
        failing_streak: i64,
        log: List<HealthResult>,
    }

    /// One run of the health check.
    struct HealthResult { start: String, end: String, exit_code: i64, output: String }

    /// How the root file system is stored.
    struct GraphDriver { data: Map<String>, name: String }

    /// The network as the container has it.
    struct NetworkSettings {
        bridge: String,
        #[serde(rename = "SandboxID")]
        sandbox_id: String,
        sandbox_key: String,
        ports: Map<List<PortBinding>>,
        hairpin_mode: bool,
        #[serde(rename = "LinkLocalIPv6Address")]
        link_local_ipv6_address: String,
        #[serde(rename = "LinkLocalIPv6PrefixLen")]
        link_local_ipv6_prefix_len: u8,
        #[serde(rename = "SecondaryIPAddresses")]
        secondary_ip_addresses: List<Address>,
        #[serde(rename = "SecondaryIPv6Addresses")]
        secondary_ipv6_addresses: List<Address>,
        #[serde(rename = "EndpointID")]
        endpoint_id: String,
        gateway: String,
        #[serde(rename = "GlobalIPv6Address")]
        global_ipv6_address: String,
        #[serde(rename = "GlobalIPv6PrefixLen")]
        global_ipv6_prefix_len: u8,
        #[serde(rename = "IPAddress")]
        ip_address: String,
        #[serde(rename = "IPPrefixLen")]
        ip_prefix_len: u8,
        #[serde(rename = "IPv6Gateway")]
        ipv6_gateway: String,
        mac_address: String,
        networks: Map<Box<EndpointSettings>>,
    }

    /// An address with the length of its prefix.
    struct Address { addr: String, prefix_len: u8 }

    /// One mount that is in use.
    struct MountPoint {
        #[serde(rename = "Type", skip_serializing_if = "is_default")]
        kind: String,
        #[serde(skip_serializing_if = "is_default")]
        name: String,
        source: String,
        destination: String,
        #[serde(skip_serializing_if = "is_default")]
        driver: String,
        mode: String,
        #[serde(rename = "RW")]
        rw: bool,
        propagation: String,
    }
}
