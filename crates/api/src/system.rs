//! The engine itself.

use crate::container::ContainerSummary;
use crate::go::{List, Map, is_default, objects};
use crate::image::ImageSummary;
use crate::volume::Volume;

objects! {
    /// Answer of `GET /version`.
    struct Version {
        platform: PlatformName,
        #[serde(skip_serializing_if = "List::is_empty")]
        components: List<Component>,
        version: String,
        api_version: String,
        #[serde(rename = "MinAPIVersion", skip_serializing_if = "is_default")]
        min_api_version: String,
        git_commit: String,
        go_version: String,
        os: String,
        arch: String,
        #[serde(skip_serializing_if = "is_default")]
        kernel_version: String,
        #[serde(skip_serializing_if = "is_default")]
        experimental: bool,
        #[serde(skip_serializing_if = "is_default")]
        build_time: String,
    }

    /// The product.
    struct PlatformName { name: String }

    /// One part of the engine.
    struct Component {
        name: String,
        version: String,
        #[serde(skip_serializing_if = "Map::is_empty")]
        details: Map<String>,
    }

    /// Answer of `GET /info`.
    struct Info {
        #[serde(rename = "ID")]
        id: String,
        containers: i64,
        containers_running: i64,
        containers_paused: i64,
        containers_stopped: i64,
        images: i64,
        driver: String,
        driver_status: List<[String; 2]>,
        plugins: Plugins,
        memory_limit: bool,
        swap_limit: bool,
        cpu_cfs_period: bool,
        cpu_cfs_quota: bool,
        #[serde(rename = "CPUShares")]
        cpu_shares: bool,
        #[serde(rename = "CPUSet")]
        cpu_set: bool,
        pids_limit: bool,
        #[serde(rename = "IPv4Forwarding")]
        ipv4_forwarding: bool,
        debug: bool,
        n_fd: i64,
        oom_kill_disable: bool,
        n_goroutines: i64,
        system_time: String,
        logging_driver: String,
        cgroup_driver: String,
        #[serde(skip_serializing_if = "is_default")]
        cgroup_version: String,
        n_events_listener: i64,
        kernel_version: String,
        operating_system: String,
        #[serde(rename = "OSVersion")]
        os_version: String,
        #[serde(rename = "OSType")]
        os_type: String,
        architecture: String,
        index_server_address: String,
        registry_config: Option<RegistryConfig>,
        #[serde(rename = "NCPU")]
        ncpu: i64,
        mem_total: i64,
        generic_resources: List<crate::Empty>,
        docker_root_dir: String,
        http_proxy: String,
        https_proxy: String,
        no_proxy: String,
        name: String,
        labels: List<String>,
        experimental_build: bool,
        server_version: String,
        runtimes: Map<Runtime>,
        default_runtime: String,
        swarm: Swarm,
        live_restore_enabled: bool,
        isolation: String,
        init_binary: String,
        containerd_commit: Commit,
        runc_commit: Commit,
        init_commit: Commit,
        security_options: List<String>,
        #[serde(skip_serializing_if = "is_default")]
        product_license: String,
        #[serde(skip_serializing_if = "List::is_empty")]
        default_address_pools: List<AddressPool>,
        #[serde(skip_serializing_if = "Option::is_none")]
        firewall_backend: Option<FirewallBackend>,
        #[serde(rename = "CDISpecDirs")]
        cdi_spec_dirs: List<String>,
        warnings: List<String>,
    }

    /// What can be chosen by name.
    struct Plugins {
        volume: List<String>,
        network: List<String>,
        authorization: List<String>,
        log: List<String>,
    }

    /// Registries as the daemon treats them.
    struct RegistryConfig {
        #[serde(rename = "InsecureRegistryCIDRs")]
        insecure_registry_cidrs: List<String>,
        index_configs: Map<IndexConfig>,
        mirrors: List<String>,
    }

    /// One registry.
    struct IndexConfig { name: String, mirrors: List<String>, secure: bool, official: bool }

    /// Always inactive.
    struct Swarm {
        #[serde(rename = "NodeID")]
        node_id: String,
        node_addr: String,
        local_node_state: String,
        control_available: bool,
        error: String,
        remote_managers: List<crate::Empty>,
    }

    /// Which build of a part this is.
    struct Commit {
        #[serde(rename = "ID")]
        id: String,
        #[serde(skip_serializing_if = "is_default")]
        expected: String,
    }

    /// A pool that networks take their subnets from.
    struct AddressPool { base: String, size: u8 }

    /// What filters packets.
    struct FirewallBackend {
        driver: String,
        #[serde(skip_serializing_if = "List::is_empty")]
        info: List<[String; 2]>,
    }

    /// Answer of `POST /system/check`, which is this engine's own.
    struct Check { faults: List<Fault> }

    /// One thing that is wrong with the engine's state.
    struct Fault {
        /// Whose state: `layer`, `image`, `container`, `network`, `volume`, `engine`.
        room: String,
        path: String,
        cause: String,
        /// `left`: only looked; `stays`: nothing to be done here; `mended`; `failed`: not mended.
        outcome: String,
        /// What was done, or why not.
        detail: String,
    }

    /// Answer of `GET /system/df`.
    struct DiskUsage {
        layers_size: i64,
        images: List<ImageSummary>,
        containers: List<ContainerSummary>,
        volumes: List<Volume>,
        build_cache: List<crate::Empty>,
    }
}

/// An OCI runtime.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(default)]
#[allow(missing_docs)]
pub struct Runtime {
    #[serde(skip_serializing_if = "String::is_empty")]
    pub path: String,
    #[serde(rename = "runtimeArgs", skip_serializing_if = "List::is_empty")]
    pub args: List<String>,
}

impl Fault {
    /// Whether it is still there.
    pub fn remains(&self) -> bool {
        self.outcome != "mended"
    }
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        write!(f, "{}: {}: {}", self.room, self.path, self.cause)?;
        match self.outcome.as_str() {
            "stays" => write!(f, " ({})", self.detail),
            "mended" => write!(f, "; {}", self.detail),
            "failed" => write!(f, "; not mended: {}", self.detail),
            _ => Ok(()),
        }
    }
}

/// The headers of `/_ping`, which are also on every other answer.
pub mod ping {
    #![allow(missing_docs)]
    pub const API_VERSION: &str = "Api-Version";
    pub const OS_TYPE: &str = "Ostype";
    pub const EXPERIMENTAL: &str = "Docker-Experimental";
    pub const BUILDER_VERSION: &str = "Builder-Version";
    pub const SWARM: &str = "Swarm";
}
