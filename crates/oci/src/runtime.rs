//! The configuration of a container: runtime-spec 1.3 `config.json` for Linux (config.md, config-linux.md).
//!
//! Field names and meaning are the specification's; see there. Absent lists and maps are empty ones.

#![allow(missing_docs)]

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::PathBuf;

macro_rules! documents {
    ($($(#[$meta:meta])* struct $name:ident { $($(#[$fmeta:meta])* $field:ident : $ty:ty ,)* })*) => { $(
        $(#[$meta])*
        #[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
        #[serde(rename_all = "camelCase", default)]
        pub struct $name { $($(#[$fmeta])* pub $field: $ty,)* }
    )* };
}

documents! {
    /// `config.json`.
    struct Spec {
        oci_version: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        process: Option<Process>,
        #[serde(skip_serializing_if = "Option::is_none")]
        root: Option<Root>,
        #[serde(skip_serializing_if = "String::is_empty")]
        hostname: String,
        #[serde(skip_serializing_if = "String::is_empty")]
        domainname: String,
        #[serde(skip_serializing_if = "Vec::is_empty")]
        mounts: Vec<Mount>,
        #[serde(skip_serializing_if = "Option::is_none")]
        hooks: Option<Hooks>,
        #[serde(skip_serializing_if = "BTreeMap::is_empty")]
        annotations: BTreeMap<String, String>,
        #[serde(skip_serializing_if = "Option::is_none")]
        linux: Option<Linux>,
    }

    struct Root {
        path: PathBuf,
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        readonly: bool,
    }

    struct Process {
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        terminal: bool,
        #[serde(skip_serializing_if = "Option::is_none")]
        console_size: Option<ConsoleSize>,
        user: User,
        args: Vec<String>,
        #[serde(skip_serializing_if = "Vec::is_empty")]
        env: Vec<String>,
        cwd: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        capabilities: Option<Capabilities>,
        #[serde(skip_serializing_if = "Vec::is_empty")]
        rlimits: Vec<Rlimit>,
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        no_new_privileges: bool,
        #[serde(skip_serializing_if = "Option::is_none")]
        apparmor_profile: Option<String>,
        #[serde(skip_serializing_if = "Option::is_none")]
        oom_score_adj: Option<i32>,
        #[serde(skip_serializing_if = "Option::is_none")]
        selinux_label: Option<String>,
        #[serde(skip_serializing_if = "Option::is_none")]
        scheduler: Option<Scheduler>,
        #[serde(rename = "ioPriority", skip_serializing_if = "Option::is_none")]
        io_priority: Option<IoPriority>,
        #[serde(rename = "execCPUAffinity", skip_serializing_if = "Option::is_none")]
        exec_cpu_affinity: Option<CpuAffinity>,
    }

    struct ConsoleSize { height: u16, width: u16, }

    struct User {
        uid: u32,
        gid: u32,
        #[serde(skip_serializing_if = "Option::is_none")]
        umask: Option<u32>,
        #[serde(skip_serializing_if = "Vec::is_empty")]
        additional_gids: Vec<u32>,
    }

    /// Names such as `CAP_CHOWN`.
    struct Capabilities {
        #[serde(skip_serializing_if = "Vec::is_empty")]
        bounding: Vec<String>,
        #[serde(skip_serializing_if = "Vec::is_empty")]
        effective: Vec<String>,
        #[serde(skip_serializing_if = "Vec::is_empty")]
        inheritable: Vec<String>,
        #[serde(skip_serializing_if = "Vec::is_empty")]
        permitted: Vec<String>,
        #[serde(skip_serializing_if = "Vec::is_empty")]
        ambient: Vec<String>,
    }

    struct Rlimit {
        #[serde(rename = "type")]
        kind: String,
        hard: u64,
        soft: u64,
    }

    struct Scheduler {
        policy: String,
        nice: i32,
        priority: i32,
        flags: Vec<String>,
        runtime: u64,
        deadline: u64,
        period: u64,
    }

    struct IoPriority { class: String, priority: i32, }

    struct CpuAffinity { initial: String, r#final: String, }

    struct Mount {
        destination: String,
        #[serde(rename = "type", skip_serializing_if = "String::is_empty")]
        kind: String,
        #[serde(skip_serializing_if = "String::is_empty")]
        source: String,
        #[serde(skip_serializing_if = "Vec::is_empty")]
        options: Vec<String>,
        #[serde(skip_serializing_if = "Vec::is_empty")]
        uid_mappings: Vec<IdMapping>,
        #[serde(skip_serializing_if = "Vec::is_empty")]
        gid_mappings: Vec<IdMapping>,
    }

    struct Hooks {
        #[serde(skip_serializing_if = "Vec::is_empty")]
        prestart: Vec<Hook>,
        #[serde(skip_serializing_if = "Vec::is_empty")]
        create_runtime: Vec<Hook>,
        #[serde(skip_serializing_if = "Vec::is_empty")]
        create_container: Vec<Hook>,
        #[serde(skip_serializing_if = "Vec::is_empty")]
        start_container: Vec<Hook>,
        #[serde(skip_serializing_if = "Vec::is_empty")]
        poststart: Vec<Hook>,
        #[serde(skip_serializing_if = "Vec::is_empty")]
        poststop: Vec<Hook>,
    }

    struct Hook {
        path: PathBuf,
        #[serde(skip_serializing_if = "Vec::is_empty")]
        args: Vec<String>,
        #[serde(skip_serializing_if = "Vec::is_empty")]
        env: Vec<String>,
        #[serde(skip_serializing_if = "Option::is_none")]
        timeout: Option<i64>,
    }

    struct Linux {
        #[serde(skip_serializing_if = "Vec::is_empty")]
        uid_mappings: Vec<IdMapping>,
        #[serde(skip_serializing_if = "Vec::is_empty")]
        gid_mappings: Vec<IdMapping>,
        #[serde(skip_serializing_if = "BTreeMap::is_empty")]
        sysctl: BTreeMap<String, String>,
        #[serde(skip_serializing_if = "Option::is_none")]
        resources: Option<Resources>,
        #[serde(skip_serializing_if = "String::is_empty")]
        cgroups_path: String,
        #[serde(skip_serializing_if = "Vec::is_empty")]
        namespaces: Vec<Namespace>,
        #[serde(skip_serializing_if = "Vec::is_empty")]
        devices: Vec<Device>,
        #[serde(skip_serializing_if = "BTreeMap::is_empty")]
        net_devices: BTreeMap<String, NetDevice>,
        #[serde(skip_serializing_if = "Option::is_none")]
        seccomp: Option<Seccomp>,
        #[serde(skip_serializing_if = "String::is_empty")]
        rootfs_propagation: String,
        #[serde(skip_serializing_if = "Vec::is_empty")]
        masked_paths: Vec<String>,
        #[serde(skip_serializing_if = "Vec::is_empty")]
        readonly_paths: Vec<String>,
        #[serde(skip_serializing_if = "String::is_empty")]
        mount_label: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        intel_rdt: Option<serde_json::Value>,
        #[serde(skip_serializing_if = "Option::is_none")]
        memory_policy: Option<MemoryPolicy>,
        #[serde(skip_serializing_if = "Option::is_none")]
        personality: Option<Personality>,
        #[serde(skip_serializing_if = "BTreeMap::is_empty")]
        time_offsets: BTreeMap<String, TimeOffset>,
    }

    struct IdMapping {
        #[serde(rename = "containerID")]
        container_id: u32,
        #[serde(rename = "hostID")]
        host_id: u32,
        size: u32,
    }

    struct Namespace {
        /// `pid network mount ipc uts user cgroup time`
        #[serde(rename = "type")]
        kind: String,
        /// Join this one instead of making a new one.
        #[serde(skip_serializing_if = "String::is_empty")]
        path: String,
    }

    struct Device {
        path: String,
        /// `c`, `u`, `b` or `p`
        #[serde(rename = "type")]
        kind: String,
        major: i64,
        minor: i64,
        #[serde(skip_serializing_if = "Option::is_none")]
        file_mode: Option<u32>,
        #[serde(skip_serializing_if = "Option::is_none")]
        uid: Option<u32>,
        #[serde(skip_serializing_if = "Option::is_none")]
        gid: Option<u32>,
    }

    struct NetDevice { name: String, }

    struct MemoryPolicy { mode: String, nodes: String, flags: Vec<String>, }

    struct Personality { domain: String, flags: Vec<String>, }

    struct TimeOffset { secs: i64, nanosecs: u32, }

    struct Resources {
        #[serde(skip_serializing_if = "Vec::is_empty")]
        devices: Vec<DeviceRule>,
        #[serde(skip_serializing_if = "Option::is_none")]
        memory: Option<Memory>,
        #[serde(skip_serializing_if = "Option::is_none")]
        cpu: Option<Cpu>,
        #[serde(skip_serializing_if = "Option::is_none")]
        pids: Option<Pids>,
        #[serde(rename = "blockIO", skip_serializing_if = "Option::is_none")]
        block_io: Option<BlockIo>,
        #[serde(skip_serializing_if = "Vec::is_empty")]
        hugepage_limits: Vec<HugepageLimit>,
        #[serde(skip_serializing_if = "Option::is_none")]
        network: Option<NetworkClass>,
        #[serde(skip_serializing_if = "BTreeMap::is_empty")]
        rdma: BTreeMap<String, Rdma>,
        #[serde(skip_serializing_if = "BTreeMap::is_empty")]
        unified: BTreeMap<String, String>,
    }

    struct DeviceRule {
        allow: bool,
        /// `a`, `c` or `b`; empty is `a`
        #[serde(rename = "type", skip_serializing_if = "String::is_empty")]
        kind: String,
        /// Absent is every number.
        #[serde(skip_serializing_if = "Option::is_none")]
        major: Option<i64>,
        #[serde(skip_serializing_if = "Option::is_none")]
        minor: Option<i64>,
        /// Of `r`, `w`, `m`.
        #[serde(skip_serializing_if = "String::is_empty")]
        access: String,
    }

    /// Bytes; -1 is unlimited.
    struct Memory {
        #[serde(skip_serializing_if = "Option::is_none")]
        limit: Option<i64>,
        #[serde(skip_serializing_if = "Option::is_none")]
        reservation: Option<i64>,
        /// Memory plus swap.
        #[serde(skip_serializing_if = "Option::is_none")]
        swap: Option<i64>,
        #[serde(skip_serializing_if = "Option::is_none")]
        kernel: Option<i64>,
        #[serde(rename = "kernelTCP", skip_serializing_if = "Option::is_none")]
        kernel_tcp: Option<i64>,
        #[serde(skip_serializing_if = "Option::is_none")]
        swappiness: Option<u64>,
        #[serde(rename = "disableOOMKiller", skip_serializing_if = "Option::is_none")]
        disable_oom_killer: Option<bool>,
        #[serde(skip_serializing_if = "Option::is_none")]
        use_hierarchy: Option<bool>,
        #[serde(skip_serializing_if = "Option::is_none")]
        check_before_update: Option<bool>,
    }

    /// Times in microseconds.
    struct Cpu {
        #[serde(skip_serializing_if = "Option::is_none")]
        shares: Option<u64>,
        #[serde(skip_serializing_if = "Option::is_none")]
        quota: Option<i64>,
        #[serde(skip_serializing_if = "Option::is_none")]
        burst: Option<u64>,
        #[serde(skip_serializing_if = "Option::is_none")]
        period: Option<u64>,
        #[serde(skip_serializing_if = "Option::is_none")]
        realtime_runtime: Option<i64>,
        #[serde(skip_serializing_if = "Option::is_none")]
        realtime_period: Option<u64>,
        #[serde(skip_serializing_if = "String::is_empty")]
        cpus: String,
        #[serde(skip_serializing_if = "String::is_empty")]
        mems: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        idle: Option<i64>,
    }

    /// -1 or 0 is unlimited.
    struct Pids { limit: i64, }

    struct BlockIo {
        #[serde(skip_serializing_if = "Option::is_none")]
        weight: Option<u16>,
        #[serde(skip_serializing_if = "Option::is_none")]
        leaf_weight: Option<u16>,
        #[serde(skip_serializing_if = "Vec::is_empty")]
        weight_device: Vec<WeightDevice>,
        #[serde(skip_serializing_if = "Vec::is_empty")]
        throttle_read_bps_device: Vec<ThrottleDevice>,
        #[serde(skip_serializing_if = "Vec::is_empty")]
        throttle_write_bps_device: Vec<ThrottleDevice>,
        #[serde(rename = "throttleReadIOPSDevice", skip_serializing_if = "Vec::is_empty")]
        throttle_read_iops_device: Vec<ThrottleDevice>,
        #[serde(rename = "throttleWriteIOPSDevice", skip_serializing_if = "Vec::is_empty")]
        throttle_write_iops_device: Vec<ThrottleDevice>,
    }

    struct WeightDevice {
        major: i64,
        minor: i64,
        #[serde(skip_serializing_if = "Option::is_none")]
        weight: Option<u16>,
        #[serde(skip_serializing_if = "Option::is_none")]
        leaf_weight: Option<u16>,
    }

    /// Bytes or operations per second.
    struct ThrottleDevice { major: i64, minor: i64, rate: u64, }

    struct HugepageLimit { page_size: String, limit: u64, }

    struct NetworkClass {
        #[serde(rename = "classID", skip_serializing_if = "Option::is_none")]
        class_id: Option<u32>,
        #[serde(skip_serializing_if = "Vec::is_empty")]
        priorities: Vec<InterfacePriority>,
    }

    struct InterfacePriority { name: String, priority: u32, }

    struct Rdma {
        #[serde(skip_serializing_if = "Option::is_none")]
        hca_handles: Option<u32>,
        #[serde(skip_serializing_if = "Option::is_none")]
        hca_objects: Option<u32>,
    }

    struct Seccomp {
        /// `SCMP_ACT_*`
        default_action: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        default_errno_ret: Option<u32>,
        #[serde(skip_serializing_if = "Vec::is_empty")]
        architectures: Vec<String>,
        #[serde(skip_serializing_if = "Vec::is_empty")]
        flags: Vec<String>,
        #[serde(skip_serializing_if = "Option::is_none")]
        listener_path: Option<PathBuf>,
        #[serde(skip_serializing_if = "Option::is_none")]
        listener_metadata: Option<String>,
        #[serde(skip_serializing_if = "Vec::is_empty")]
        syscalls: Vec<SyscallRule>,
    }

    struct SyscallRule {
        names: Vec<String>,
        action: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        errno_ret: Option<u32>,
        #[serde(skip_serializing_if = "Vec::is_empty")]
        args: Vec<SyscallArg>,
    }

    struct SyscallArg {
        index: u32,
        value: u64,
        #[serde(skip_serializing_if = "Option::is_none")]
        value_two: Option<u64>,
        /// `SCMP_CMP_*`
        op: String,
    }
}
