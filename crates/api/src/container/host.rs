//! The half of a container's configuration that depends on the host.

use crate::go::{List, Map, flattened, is_default, null_is_default, objects};
use serde::{Deserialize, Serialize};

/// Docker's `HostConfig`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default, remote = "Self")]
#[allow(missing_docs)]
pub struct HostConfig {
    /// `source:destination[:options]`
    pub binds: List<String>,
    #[serde(rename = "ContainerIDFile", deserialize_with = "null_is_default")]
    pub container_id_file: String,
    #[serde(deserialize_with = "null_is_default")]
    pub log_config: LogConfig,
    /// ``, `default`, `bridge`, `none`, `host`, `container:…` or the name of a network
    #[serde(deserialize_with = "null_is_default")]
    pub network_mode: String,
    /// Keys are `80/tcp`.
    pub port_bindings: Map<List<PortBinding>>,
    #[serde(deserialize_with = "null_is_default")]
    pub restart_policy: RestartPolicy,
    #[serde(deserialize_with = "null_is_default")]
    pub auto_remove: bool,
    #[serde(deserialize_with = "null_is_default")]
    pub volume_driver: String,
    pub volumes_from: List<String>,
    /// Height, width.
    #[serde(deserialize_with = "null_is_default")]
    pub console_size: [u32; 2],
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub annotations: Map<String>,
    pub cap_add: List<String>,
    pub cap_drop: List<String>,
    /// ``, `private` or `host`
    #[serde(deserialize_with = "null_is_default")]
    pub cgroupns_mode: String,
    pub dns: List<String>,
    pub dns_options: List<String>,
    pub dns_search: List<String>,
    /// `name:address`
    pub extra_hosts: List<String>,
    pub group_add: List<String>,
    /// ``, `none`, `private`, `shareable`, `host` or `container:…`
    #[serde(deserialize_with = "null_is_default")]
    pub ipc_mode: String,
    #[serde(deserialize_with = "null_is_default")]
    pub cgroup: String,
    pub links: List<String>,
    #[serde(deserialize_with = "null_is_default")]
    pub oom_score_adj: i64,
    /// ``, `host` or `container:…`
    #[serde(deserialize_with = "null_is_default")]
    pub pid_mode: String,
    #[serde(deserialize_with = "null_is_default")]
    pub privileged: bool,
    #[serde(deserialize_with = "null_is_default")]
    pub publish_all_ports: bool,
    #[serde(deserialize_with = "null_is_default")]
    pub readonly_rootfs: bool,
    pub security_opt: List<String>,
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub storage_opt: Map<String>,
    /// Destination to options.
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub tmpfs: Map<String>,
    /// `` or `host`
    #[serde(rename = "UTSMode", deserialize_with = "null_is_default")]
    pub uts_mode: String,
    /// `` or `host`
    #[serde(deserialize_with = "null_is_default")]
    pub userns_mode: String,
    /// Bytes.
    #[serde(deserialize_with = "null_is_default")]
    pub shm_size: i64,
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub sysctls: Map<String>,
    #[serde(deserialize_with = "null_is_default", skip_serializing_if = "is_default")]
    pub runtime: String,
    #[serde(deserialize_with = "null_is_default")]
    pub isolation: String,
    /// Limits; their fields stand among these on the wire.
    #[serde(flatten)]
    pub resources: Resources,
    #[serde(skip_serializing_if = "List::is_empty")]
    pub mounts: List<Mount>,
    /// Null takes the engine's list; an empty list masks nothing.
    pub masked_paths: List<String>,
    /// Null takes the engine's list.
    pub readonly_paths: List<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub init: Option<bool>,
}

/// Its fields but for those of [`Resources`].
const OWN: [&str; 40] = [
    "Binds",
    "ContainerIDFile",
    "LogConfig",
    "NetworkMode",
    "PortBindings",
    "RestartPolicy",
    "AutoRemove",
    "VolumeDriver",
    "VolumesFrom",
    "ConsoleSize",
    "Annotations",
    "CapAdd",
    "CapDrop",
    "CgroupnsMode",
    "Dns",
    "DnsOptions",
    "DnsSearch",
    "ExtraHosts",
    "GroupAdd",
    "IpcMode",
    "Cgroup",
    "Links",
    "OomScoreAdj",
    "PidMode",
    "Privileged",
    "PublishAllPorts",
    "ReadonlyRootfs",
    "SecurityOpt",
    "StorageOpt",
    "Tmpfs",
    "UTSMode",
    "UsernsMode",
    "ShmSize",
    "Sysctls",
    "Runtime",
    "Isolation",
    "Mounts",
    "MaskedPaths",
    "ReadonlyPaths",
    "Init",
];

flattened!(HostConfig, &OWN, Resources);

/// Body of `POST /containers/{id}/update`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default, remote = "Self")]
pub struct UpdateContainer {
    /// Zero and null leave a limit as it is.
    #[serde(flatten)]
    pub resources: Resources,
    /// An empty name leaves it as it is.
    #[serde(deserialize_with = "null_is_default")]
    pub restart_policy: RestartPolicy,
}

flattened!(UpdateContainer, &["RestartPolicy"], Resources);

objects! {
    /// Where the output goes.
    struct LogConfig {
        /// `json-file`, `local`, `none` …; empty is the daemon's default.
        #[serde(rename = "Type")]
        kind: String,
        config: Map<String>,
    }

    /// When to start again by itself.
    struct RestartPolicy {
        /// ``, `no`, `always`, `unless-stopped` or `on-failure`
        name: String,
        maximum_retry_count: i64,
    }

    /// One published address.
    struct PortBinding {
        host_ip: String,
        /// Empty is an ephemeral port; may be a range.
        host_port: String,
    }

    /// Limits: Docker's `Resources`.
    struct Resources {
        cpu_shares: i64,
        /// Bytes.
        memory: i64,
        /// Billionths of a CPU.
        nano_cpus: i64,
        cgroup_parent: String,
        blkio_weight: u16,
        blkio_weight_device: List<WeightDevice>,
        blkio_device_read_bps: List<ThrottleDevice>,
        blkio_device_write_bps: List<ThrottleDevice>,
        #[serde(rename = "BlkioDeviceReadIOps")]
        blkio_device_read_iops: List<ThrottleDevice>,
        #[serde(rename = "BlkioDeviceWriteIOps")]
        blkio_device_write_iops: List<ThrottleDevice>,
        /// Microseconds.
        cpu_period: i64,
        /// Microseconds.
        cpu_quota: i64,
        cpu_realtime_period: i64,
        cpu_realtime_runtime: i64,
        cpuset_cpus: String,
        cpuset_mems: String,
        devices: List<DeviceMapping>,
        device_cgroup_rules: List<String>,
        device_requests: List<DeviceRequest>,
        #[serde(skip_serializing_if = "is_default")]
        kernel_memory: i64,
        #[serde(rename = "KernelMemoryTCP", skip_serializing_if = "is_default")]
        kernel_memory_tcp: i64,
        memory_reservation: i64,
        /// Memory plus swap; -1 is unlimited.
        memory_swap: i64,
        memory_swappiness: Option<i64>,
        oom_kill_disable: Option<bool>,
        pids_limit: Option<i64>,
        ulimits: List<Ulimit>,
        cpu_count: i64,
        cpu_percent: i64,
        #[serde(rename = "IOMaximumIOps")]
        io_maximum_iops: u64,
        #[serde(rename = "IOMaximumBandwidth")]
        io_maximum_bandwidth: u64,
    }

    /// Weight of one block device.
    struct WeightDevice { path: String, weight: u16 }

    /// Bytes or operations per second of one block device.
    struct ThrottleDevice { path: String, rate: u64 }

    /// One device of the host.
    struct DeviceMapping {
        path_on_host: String,
        path_in_container: String,
        /// Of `r`, `w`, `m`.
        cgroup_permissions: String,
    }

    /// Devices by the name of a driver (`--gpus`, CDI).
    struct DeviceRequest {
        driver: String,
        count: i64,
        #[serde(rename = "DeviceIDs")]
        device_ids: List<String>,
        capabilities: List<List<String>>,
        options: Map<String>,
    }

    /// One resource limit of processes.
    struct Ulimit { name: String, hard: i64, soft: i64 }

    /// One `--mount`.
    struct Mount {
        /// `bind`, `volume`, `tmpfs`, `image`, `npipe` or `cluster`
        #[serde(rename = "Type", skip_serializing_if = "is_default")]
        kind: String,
        #[serde(skip_serializing_if = "is_default")]
        source: String,
        #[serde(skip_serializing_if = "is_default")]
        target: String,
        #[serde(skip_serializing_if = "is_default")]
        read_only: bool,
        #[serde(skip_serializing_if = "is_default")]
        consistency: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        bind_options: Option<BindOptions>,
        #[serde(skip_serializing_if = "Option::is_none")]
        volume_options: Option<VolumeOptions>,
        #[serde(skip_serializing_if = "Option::is_none")]
        image_options: Option<ImageOptions>,
        #[serde(skip_serializing_if = "Option::is_none")]
        tmpfs_options: Option<TmpfsOptions>,
        #[serde(skip_serializing_if = "Option::is_none")]
        cluster_options: Option<crate::Empty>,
    }

    /// Of a bind mount.
    struct BindOptions {
        #[serde(skip_serializing_if = "is_default")]
        propagation: String,
        #[serde(skip_serializing_if = "is_default")]
        non_recursive: bool,
        #[serde(skip_serializing_if = "is_default")]
        create_mountpoint: bool,
        #[serde(skip_serializing_if = "is_default")]
        read_only_non_recursive: bool,
        #[serde(skip_serializing_if = "is_default")]
        read_only_force_recursive: bool,
    }

    /// Of a volume mount.
    struct VolumeOptions {
        #[serde(skip_serializing_if = "is_default")]
        no_copy: bool,
        #[serde(skip_serializing_if = "Map::is_empty")]
        labels: Map<String>,
        #[serde(skip_serializing_if = "is_default")]
        subpath: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        driver_config: Option<Driver>,
    }

    /// Of an image mount.
    struct ImageOptions {
        #[serde(skip_serializing_if = "is_default")]
        subpath: String,
    }

    /// Of a tmpfs mount.
    struct TmpfsOptions {
        #[serde(skip_serializing_if = "is_default")]
        size_bytes: i64,
        #[serde(skip_serializing_if = "is_default")]
        mode: u32,
        #[serde(skip_serializing_if = "List::is_empty")]
        options: List<List<String>>,
    }

    /// A volume driver.
    struct Driver {
        #[serde(skip_serializing_if = "is_default")]
        name: String,
        #[serde(skip_serializing_if = "Map::is_empty")]
        options: Map<String>,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_names_are_all_there() {
        let source = include_str!("host.rs");
        let body = source.split("pub struct HostConfig {").nth(1).unwrap().split("\n}").next().unwrap();
        let fields = body.lines().filter_map(|l| l.trim().strip_prefix("pub ")?.split(':').next());
        let fields: Vec<String> = fields.filter(|f| *f != "resources").map(|f| f.replace('_', "")).collect();
        assert_eq!(fields, OWN.map(str::to_ascii_lowercase));
    }
}
