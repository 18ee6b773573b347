//! `GET /containers/{id}/stats`: snake_case, unlike everything else.

use crate::go::{List, is_default, null_is_default};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

macro_rules! samples {
    ($( $(#[$meta:meta])* struct $name:ident { $( $(#[$fmeta:meta])* $field:ident : $ty:ty ),* $(,)? } )*) => { $(
        $(#[$meta])*
        #[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
        #[serde(default)]
        #[allow(missing_docs)]
        pub struct $name { $(
            $(#[$fmeta])*
            #[serde(deserialize_with = "null_is_default")]
            pub $field: $ty,
        )* }
    )* };
}

samples! {
    /// One sample of the resources in use.
    struct Stats {
        /// RFC 3339, nanoseconds.
        read: String,
        preread: String,
        pids_stats: PidsStats,
        blkio_stats: BlkioStats,
        num_procs: u32,
        storage_stats: crate::Empty,
        cpu_stats: CpuStats,
        precpu_stats: CpuStats,
        memory_stats: MemoryStats,
        #[serde(skip_serializing_if = "is_default")]
        name: String,
        #[serde(skip_serializing_if = "is_default")]
        id: String,
        #[serde(skip_serializing_if = "is_default")]
        networks: BTreeMap<String, NetworkStats>,
    }

    /// Processes and threads.
    struct PidsStats {
        #[serde(skip_serializing_if = "is_default")]
        current: u64,
        #[serde(skip_serializing_if = "is_default")]
        limit: u64,
    }

    /// Block devices.
    struct BlkioStats {
        io_service_bytes_recursive: List<BlkioEntry>,
        io_serviced_recursive: List<BlkioEntry>,
        io_queue_recursive: List<BlkioEntry>,
        io_service_time_recursive: List<BlkioEntry>,
        io_wait_time_recursive: List<BlkioEntry>,
        io_merged_recursive: List<BlkioEntry>,
        io_time_recursive: List<BlkioEntry>,
        sectors_recursive: List<BlkioEntry>,
    }

    /// One operation on one block device.
    struct BlkioEntry { major: u64, minor: u64, op: String, value: u64 }

    /// Processor time, nanoseconds.
    struct CpuStats {
        cpu_usage: CpuUsage,
        #[serde(skip_serializing_if = "is_default")]
        system_cpu_usage: u64,
        #[serde(skip_serializing_if = "is_default")]
        online_cpus: u32,
        throttling_data: ThrottlingData,
    }

    /// Processor time, nanoseconds.
    struct CpuUsage {
        total_usage: u64,
        #[serde(skip_serializing_if = "List::is_empty")]
        percpu_usage: List<u64>,
        usage_in_kernelmode: u64,
        usage_in_usermode: u64,
    }

    /// How often the quota ran out.
    struct ThrottlingData { periods: u64, throttled_periods: u64, throttled_time: u64 }

    /// Memory, bytes.
    struct MemoryStats {
        #[serde(skip_serializing_if = "is_default")]
        usage: u64,
        #[serde(skip_serializing_if = "is_default")]
        max_usage: u64,
        #[serde(skip_serializing_if = "is_default")]
        stats: BTreeMap<String, u64>,
        #[serde(skip_serializing_if = "is_default")]
        failcnt: u64,
        #[serde(skip_serializing_if = "is_default")]
        limit: u64,
    }

    /// One interface.
    struct NetworkStats {
        rx_bytes: u64,
        rx_packets: u64,
        rx_errors: u64,
        rx_dropped: u64,
        tx_bytes: u64,
        tx_packets: u64,
        tx_errors: u64,
        tx_dropped: u64,
    }
}
