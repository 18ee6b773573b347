//! Limits as cgroup v2 takes them (Documentation/admin-guide/cgroup-v2.rst).

use super::{open_dir, set, write};
use crate::Failure;
use oci::runtime::{BlockIo, Cpu, Memory, Resources};
use rustix::fs::{Access, AtFlags};
use std::os::fd::{AsFd, BorrowedFd};

/// The controllers that a container's cgroup shall have; those that this host lacks are found out when a limit needs one.
const CONTROLLERS: [&str; 7] = ["cpuset", "cpu", "io", "memory", "hugetlb", "rdma", "pids"];

/// Whether a cgroup has got its controllers, which the first container on a host must still do. Another process may be in
/// the midst of it: so it is the file of the last one that says, and [`enable`] may always be done again.
pub(super) fn enabled(dir: BorrowedFd) -> bool {
    rustix::fs::accessat(dir, "pids.max", Access::EXISTS, AtFlags::empty()).is_ok()
}

/// Hands the controllers down from `root` to the last of `parts`, as far as that goes.
pub(super) fn enable(root: BorrowedFd, parts: &[&str]) {
    let mut at = rustix::io::fcntl_dupfd_cloexec(root, 0);
    for part in parts {
        let Ok(dir) = at else { return };
        // One write each: a single unknown name would refuse the whole line.
        for controller in CONTROLLERS {
            let _ = write(dir.as_fd(), "cgroup.subtree_control", format!("+{controller}").as_bytes());
        }
        at = open_dir(dir.as_fd(), part);
    }
}

/// A number of v2: -1 is `max`.
fn or_max(value: i64) -> String {
    if value < 0 { "max".into() } else { value.to_string() }
}

/// cpu.weight for cpu.shares: [2, 262144] onto [1, 10000].
pub(crate) fn cpu_weight(shares: u64) -> u64 {
    1 + (shares.clamp(2, 262_144) - 2) * 9999 / 262_142
}

/// io.weight for blkio.weight: [10, 1000] onto [1, 10000].
pub(crate) fn io_weight(weight: u16) -> u64 {
    1 + (u64::from(weight.clamp(10, 1000)) - 10) * 9999 / 990
}

fn unsupported(field: &str) -> Failure {
    Failure::invalid("cgroup", format!("cannot set {field}: cgroup v2 has no such limit"))
}

pub(super) fn limit(dir: BorrowedFd, r: &Resources) -> Result<(), Failure> {
    if let Some(memory) = &r.memory {
        limit_memory(dir, memory)?;
    }
    if let Some(cpu) = &r.cpu {
        limit_cpu(dir, cpu)?;
    }
    if let Some(pids) = &r.pids
        && pids.limit != 0
    {
        set(dir, "pids.limit", "pids.max", &or_max(pids.limit))?;
    }
    if let Some(block) = &r.block_io {
        limit_block_io(dir, block)?;
    }
    for huge in &r.hugepage_limits {
        set(dir, "hugepageLimits", &format!("hugetlb.{}.max", huge.page_size), &huge.limit.to_string())?;
    }
    if r.network.as_ref().is_some_and(|n| n.class_id.is_some() || !n.priorities.is_empty()) {
        return Err(unsupported("network.classID and network.priorities"));
    }
    for (device, rdma) in &r.rdma {
        let number = |n: Option<u32>| n.map_or("max".into(), |n| n.to_string());
        let value = format!("{device} hca_handle={} hca_object={}", number(rdma.hca_handles), number(rdma.hca_objects));
        set(dir, "rdma", "rdma.max", &value)?;
    }
    for (file, value) in &r.unified {
        if file.contains('/') || !file.contains('.') {
            return Err(Failure::invalid("cgroup", format!("unified {file:?} is not the name of a cgroup file")));
        }
        for line in value.lines() {
            set(dir, &format!("unified {file:?}"), file, line)?;
        }
    }
    Ok(())
}

fn limit_memory(dir: BorrowedFd, m: &Memory) -> Result<(), Failure> {
    if m.kernel.is_some_and(|v| v != 0) || m.kernel_tcp.is_some_and(|v| v != 0) {
        return Err(unsupported("memory.kernel and memory.kernelTCP"));
    }
    if m.swappiness.is_some() {
        return Err(unsupported("memory.swappiness"));
    }
    if m.disable_oom_killer == Some(true) {
        return Err(unsupported("memory.disableOOMKiller"));
    }
    if let Some(limit) = m.limit.filter(|l| *l != 0) {
        set(dir, "memory.limit", "memory.max", &or_max(limit))?;
    }
    if let Some(swap) = swap_alone(m)? {
        set(dir, "memory.swap", "memory.swap.max", &or_max(swap))?;
    }
    if let Some(v) = m.reservation.filter(|v| *v != 0) {
        set(dir, "memory.reservation", "memory.low", &or_max(v))?;
    }
    Ok(())
}

/// The limit of swap alone, which v2 has in place of the specification's memory plus swap; -1 is none.
pub(crate) fn swap_alone(m: &Memory) -> Result<Option<i64>, Failure> {
    match (m.swap.unwrap_or(0), m.limit.unwrap_or(0)) {
        (0, _) => Ok(None),
        (s, _) if s < 0 => Ok(Some(-1)),
        (_, limit) if limit <= 0 => Err(Failure::invalid("cgroup", "memory.swap needs memory.limit".into())),
        (s, limit) if s < limit => {
            Err(Failure::invalid("cgroup", format!("memory.swap {s} is less than memory.limit {limit}")))
        }
        (s, limit) => Ok(Some(s - limit)),
    }
}

fn limit_cpu(dir: BorrowedFd, c: &Cpu) -> Result<(), Failure> {
    if c.realtime_period.is_some_and(|v| v != 0) || c.realtime_runtime.is_some_and(|v| v != 0) {
        return Err(unsupported("cpu.realtimePeriod and cpu.realtimeRuntime"));
    }
    if let Some(v) = c.shares.filter(|v| *v != 0) {
        set(dir, "cpu.shares", "cpu.weight", &cpu_weight(v).to_string())?;
    }
    let period = c.period.filter(|v| *v != 0);
    if c.quota.is_some_and(|q| q != 0) || period.is_some() {
        let quota = c.quota.filter(|q| *q > 0).map_or("max".into(), |q| q.to_string());
        set(dir, "cpu.quota", "cpu.max", &format!("{quota} {}", period.unwrap_or(100_000)))?;
    }
    if let Some(v) = c.burst {
        set(dir, "cpu.burst", "cpu.max.burst", &v.to_string())?;
    }
    if let Some(v) = c.idle {
        set(dir, "cpu.idle", "cpu.idle", &v.to_string())?;
    }
    if !c.cpus.is_empty() {
        set(dir, "cpu.cpus", "cpuset.cpus", &c.cpus)?;
    }
    if !c.mems.is_empty() {
        set(dir, "cpu.mems", "cpuset.mems", &c.mems)?;
    }
    Ok(())
}

fn limit_block_io(dir: BorrowedFd, b: &BlockIo) -> Result<(), Failure> {
    if b.leaf_weight.is_some_and(|w| w != 0) {
        return Err(unsupported("blockIO.leafWeight"));
    }
    if let Some(w) = b.weight.filter(|w| *w != 0)
        && write(dir, "io.bfq.weight", w.to_string().as_bytes()).is_err()
    {
        set(dir, "blockIO.weight", "io.weight", &io_weight(w).to_string())?;
    }
    for d in &b.weight_device {
        if let Some(w) = d.weight {
            set(dir, "blockIO.weightDevice", "io.bfq.weight", &format!("{}:{} {w}", d.major, d.minor))?;
        }
    }
    for (field, key, devices) in [
        ("blockIO.throttleReadBpsDevice", "rbps", &b.throttle_read_bps_device),
        ("blockIO.throttleWriteBpsDevice", "wbps", &b.throttle_write_bps_device),
        ("blockIO.throttleReadIOPSDevice", "riops", &b.throttle_read_iops_device),
        ("blockIO.throttleWriteIOPSDevice", "wiops", &b.throttle_write_iops_device),
    ] {
        for d in devices {
            set(dir, field, "io.max", &format!("{}:{} {key}={}", d.major, d.minor, d.rate))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_keep_their_ends() {
        assert_eq!([2, 1024, 262_144, 0, u64::MAX].map(cpu_weight), [1, 39, 10_000, 1, 10_000]);
        assert_eq!([10, 500, 1000].map(io_weight), [1, 4950, 10_000]);
    }
}
