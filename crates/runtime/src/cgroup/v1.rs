//! Limits as the v1 controllers take them (Documentation/admin-guide/cgroup-v1).

use super::{Cgroup, Controller, Tree, open_dir, open_root, read, set, write};
use crate::Failure;
use oci::runtime::{BlockIo, Cpu, Memory, Resources};
use rustix::io::Errno;
use std::os::fd::{AsFd, BorrowedFd};

/// A new cpuset has no processors and no memory until they are written; take the parent's, down the whole path, unless
/// the parent already hands them on.
pub(super) fn inherit_cpuset(cgroup: &Cgroup, parts: &[&str]) -> Result<(), Failure> {
    let fail = |errno| Failure::system("cgroup", "cannot initialise the cpuset", errno);
    let Tree::V1(dirs) = &cgroup.tree else { return Ok(()) };
    let Some(own) = dirs.iter().find(|c| c.name == "cpuset") else { return Ok(()) };
    if read(own.dir.as_fd(), "cpuset.cpus").is_ok_and(|cpus| !cpus.trim().is_empty()) {
        return Ok(());
    }
    let mut at = open_root("/sys/fs/cgroup/cpuset").map_err(fail)?;
    for (depth, part) in parts.iter().enumerate() {
        let child = open_dir(at.as_fd(), part).map_err(fail)?;
        for file in ["cpuset.cpus", "cpuset.mems"] {
            if read(child.as_fd(), file).map_err(fail)?.trim().is_empty() {
                let inherited = read(at.as_fd(), file).map_err(fail)?;
                write(child.as_fd(), file, inherited.trim().as_bytes()).map_err(fail)?;
            }
        }
        if depth + 1 < parts.len() {
            // The next container below it needs none of this.
            let _ = write(child.as_fd(), "cgroup.clone_children", b"1");
        }
        at = child;
    }
    Ok(())
}

/// The directory of a controller that `field` needs.
fn need<'a>(dirs: &'a [Controller], controller: &str, field: &str) -> Result<BorrowedFd<'a>, Failure> {
    let found = dirs.iter().find(|c| c.name == controller);
    found.map(|c| c.dir.as_fd()).ok_or_else(|| {
        Failure::invalid("cgroup", format!("cannot set {field}: this host has no {controller} cgroup controller"))
    })
}

pub(super) fn limit(dirs: &[Controller], r: &Resources) -> Result<(), Failure> {
    if let Some(memory) = &r.memory {
        limit_memory(dirs, memory)?;
    }
    if let Some(cpu) = &r.cpu {
        limit_cpu(dirs, cpu)?;
    }
    if let Some(pids) = &r.pids
        && pids.limit != 0
    {
        let value = if pids.limit < 0 { "max".into() } else { pids.limit.to_string() };
        set(need(dirs, "pids", "pids.limit")?, "pids.limit", "pids.max", &value)?;
    }
    if let Some(block) = &r.block_io {
        limit_block_io(dirs, block)?;
    }
    for huge in &r.hugepage_limits {
        let file = format!("hugetlb.{}.limit_in_bytes", huge.page_size);
        set(need(dirs, "hugetlb", "hugepageLimits")?, "hugepageLimits", &file, &huge.limit.to_string())?;
    }
    if let Some(network) = &r.network {
        if let Some(class) = network.class_id {
            set(need(dirs, "net_cls", "network.classID")?, "network.classID", "net_cls.classid", &class.to_string())?;
        }
        for p in &network.priorities {
            let value = format!("{} {}", p.name, p.priority);
            set(need(dirs, "net_prio", "network.priorities")?, "network.priorities", "net_prio.ifpriomap", &value)?;
        }
    }
    if !r.rdma.is_empty() {
        return Err(Failure::invalid("cgroup", "cannot set rdma: this host has no rdma cgroup controller".into()));
    }
    if let Some(key) = r.unified.keys().next() {
        return Err(Failure::invalid(
            "cgroup",
            format!("invalid configuration: cannot set unified {key:?}: this host uses cgroup v1"),
        ));
    }
    Ok(())
}

fn limit_memory(dirs: &[Controller], m: &Memory) -> Result<(), Failure> {
    if m.kernel.is_some_and(|k| k != 0) {
        return Err(Failure::invalid(
            "cgroup",
            "cannot set memory.kernel: kernels no longer limit it by itself".into(),
        ));
    }
    let dir = || need(dirs, "memory", "memory");
    let mut writes: Vec<(&str, &str, i64)> = Vec::new();
    if let Some(limit) = m.limit.filter(|l| *l != 0) {
        writes.push(("memory.limit", "memory.limit_in_bytes", limit));
    }
    if let Some(swap) = m.swap.filter(|s| *s != 0) {
        writes.push(("memory.swap", "memory.memsw.limit_in_bytes", swap));
    }
    // Memory may never exceed memory plus swap: which is written first depends on the way the limits move.
    if let [limit, swap] = writes.as_slice()
        && write(dir()?, limit.1, limit.2.to_string().as_bytes()) == Err(Errno::INVAL)
    {
        writes = vec![*swap, *limit];
    }
    for (field, file, value) in writes {
        set(dir()?, field, file, &value.to_string()).map_err(|mut failure| {
            if failure.errno == Errno::BUSY.raw_os_error() {
                let usage = dir().ok().and_then(|d| read(d, "memory.usage_in_bytes").ok()).unwrap_or_default();
                failure.text = format!("unable to set memory limit to {value} (current usage: {})", usage.trim());
            }
            failure
        })?;
    }
    if let Some(v) = m.reservation.filter(|v| *v != 0) {
        set(dir()?, "memory.reservation", "memory.soft_limit_in_bytes", &v.to_string())?;
    }
    if let Some(v) = m.kernel_tcp.filter(|v| *v != 0) {
        set(dir()?, "memory.kernelTCP", "memory.kmem.tcp.limit_in_bytes", &v.to_string())?;
    }
    if let Some(v) = m.swappiness {
        set(dir()?, "memory.swappiness", "memory.swappiness", &v.to_string())?;
    }
    if m.disable_oom_killer == Some(true) {
        set(dir()?, "memory.disableOOMKiller", "memory.oom_control", "1")?;
    }
    Ok(())
}

fn limit_cpu(dirs: &[Controller], c: &Cpu) -> Result<(), Failure> {
    let dir = || need(dirs, "cpu", "cpu");
    let some = |v: Option<u64>| v.filter(|v| *v != 0).map(|v| v.to_string());
    if let Some(v) = some(c.shares) {
        set(dir()?, "cpu.shares", "cpu.shares", &v)?;
    }
    let period = some(c.period);
    let quota = c.quota.filter(|q| *q != 0).map(|q| q.to_string());
    // Shrinking both at once can make the first one alone impossible: then the other goes first.
    let mut period_done = false;
    if let Some(v) = &period {
        period_done = write(dir()?, "cpu.cfs_period_us", v.as_bytes()).is_ok();
        if !period_done && quota.is_none() {
            set(dir()?, "cpu.period", "cpu.cfs_period_us", v)?;
        }
    }
    if let Some(v) = &quota {
        set(dir()?, "cpu.quota", "cpu.cfs_quota_us", v)?;
    }
    if let (Some(v), false) = (&period, period_done) {
        set(dir()?, "cpu.period", "cpu.cfs_period_us", v)?;
    }
    if let Some(v) = c.burst {
        set(dir()?, "cpu.burst", "cpu.cfs_burst_us", &v.to_string())?;
    }
    let realtime_period = || match some(c.realtime_period) {
        Some(v) => set(dir()?, "cpu.realtimePeriod", "cpu.rt_period_us", &v),
        None => Ok(()),
    };
    let realtime_runtime = || match c.realtime_runtime.filter(|v| *v != 0) {
        Some(v) => set(dir()?, "cpu.realtimeRuntime", "cpu.rt_runtime_us", &v.to_string()),
        None => Ok(()),
    };
    match realtime_period() {
        // Shorter than the time that is still given of it: then that goes first.
        Err(failure) if failure.errno == Errno::INVAL.raw_os_error() && c.realtime_runtime.is_some_and(|v| v != 0) => {
            realtime_runtime().and_then(|()| realtime_period())?;
        }
        other => other.and_then(|()| realtime_runtime())?,
    }
    if let Some(v) = c.idle {
        set(dir()?, "cpu.idle", "cpu.idle", &v.to_string())?;
    }
    if !c.cpus.is_empty() {
        set(need(dirs, "cpuset", "cpu.cpus")?, "cpu.cpus", "cpuset.cpus", &c.cpus)?;
    }
    if !c.mems.is_empty() {
        set(need(dirs, "cpuset", "cpu.mems")?, "cpu.mems", "cpuset.mems", &c.mems)?;
    }
    Ok(())
}

fn limit_block_io(dirs: &[Controller], b: &BlockIo) -> Result<(), Failure> {
    let dir = || need(dirs, "blkio", "blockIO");
    if let Some(w) = b.weight.filter(|w| *w != 0) {
        // The weight belongs to the BFQ scheduler since CFQ is gone.
        let value = w.to_string();
        if write(dir()?, "blkio.bfq.weight", value.as_bytes()).is_err() {
            set(dir()?, "blockIO.weight", "blkio.weight", &value)?;
        }
    }
    if b.leaf_weight.is_some_and(|w| w != 0) || b.weight_device.iter().any(|d| d.leaf_weight.is_some_and(|w| w != 0)) {
        return Err(Failure::invalid("cgroup", "cannot set blockIO.leafWeight: kernels since 5.0 have none".into()));
    }
    for d in &b.weight_device {
        if let Some(w) = d.weight {
            let value = format!("{}:{} {w}", d.major, d.minor);
            if write(dir()?, "blkio.bfq.weight_device", value.as_bytes()).is_err() {
                set(dir()?, "blockIO.weightDevice", "blkio.weight_device", &value)?;
            }
        }
    }
    for (field, file, devices) in [
        ("blockIO.throttleReadBpsDevice", "blkio.throttle.read_bps_device", &b.throttle_read_bps_device),
        ("blockIO.throttleWriteBpsDevice", "blkio.throttle.write_bps_device", &b.throttle_write_bps_device),
        ("blockIO.throttleReadIOPSDevice", "blkio.throttle.read_iops_device", &b.throttle_read_iops_device),
        ("blockIO.throttleWriteIOPSDevice", "blkio.throttle.write_iops_device", &b.throttle_write_iops_device),
    ] {
        for d in devices {
            set(dir()?, field, file, &format!("{}:{} {}", d.major, d.minor, d.rate))?;
        }
    }
    Ok(())
}
