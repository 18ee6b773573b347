//! Limits: refused when they make no sense, discarded with a warning when the kernel lacks them.

use crate::error::{Result, invalid};
use crate::host::Host;
use api::List;
use api::container::Resources;

const LEAST_MEMORY: i64 = 6 << 20;

/// The real-time scheduler, which dockerd looks at first.
pub(super) fn realtime(r: &Resources, facts: &Host) -> Result<()> {
    if (r.cpu_realtime_period != 0 || r.cpu_realtime_runtime != 0) && !facts.cgroups.cpu_realtime {
        return Err(invalid!("kernel does not support CPU real-time scheduler"));
    }
    if r.cpu_realtime_period != 0 && r.cpu_realtime_runtime != 0 && r.cpu_realtime_runtime > r.cpu_realtime_period {
        return Err(invalid!("cpu real-time runtime cannot be higher than cpu real-time period"));
    }
    if r.cpu_shares < 0 {
        return Err(invalid!("invalid CPU shares ({}): value must be a positive integer", r.cpu_shares));
    }
    Ok(())
}

/// All the others. `update`: of a container that is there already.
pub(super) fn check(r: &mut Resources, facts: &Host, update: bool) -> Result<Vec<String>> {
    let mut warnings = Vec::new();
    memory(r, facts, update, &mut warnings)?;
    oom_and_pids(r, facts, &mut warnings);
    cpu(r, facts, &mut warnings)?;
    cpuset(r, facts, &mut warnings)?;
    blkio(r, facts, &mut warnings)?;
    Ok(warnings)
}

fn memory(r: &mut Resources, facts: &Host, update: bool, warnings: &mut Vec<String>) -> Result<()> {
    let cg = &facts.cgroups;
    // -1 is what old clients send for "not set".
    if r.memory_swappiness == Some(-1) {
        r.memory_swappiness = None;
    }
    if r.memory != 0 && r.memory < LEAST_MEMORY {
        return Err(invalid!("Minimum memory limit allowed is 6MB"));
    }
    if r.memory > 0 && !cg.memory {
        warnings.push(discarded("memory limit capabilities", "Limitation discarded."));
        (r.memory, r.memory_swap) = (0, -1);
    }
    if r.memory > 0 && r.memory_swap != -1 && !cg.swap {
        warnings.push(discarded("swap limit capabilities", "Memory limited without swap."));
        r.memory_swap = -1;
    }
    if r.memory > 0 && r.memory_swap > 0 && r.memory_swap < r.memory {
        return Err(invalid!("Minimum memoryswap limit should be larger than memory limit, see usage"));
    }
    if r.memory == 0 && r.memory_swap > 0 && !update {
        return Err(invalid!("You should always set the Memory limit when using Memoryswap limit, see usage"));
    }
    if r.memory_swap < -1 {
        return Err(invalid!("invalid memoryswap limit: {}", r.memory_swap));
    }
    if r.memory_swappiness.is_some() && !cg.swappiness {
        warnings.push(discarded("memory swappiness capabilities", "Memory swappiness discarded."));
        r.memory_swappiness = None;
    }
    if let Some(s) = r.memory_swappiness.filter(|s| !(0..=100).contains(s)) {
        return Err(invalid!("Invalid value: {s}, valid memory swappiness range is 0-100"));
    }
    if r.memory_reservation > 0 && !cg.reservation {
        warnings.push(discarded("memory soft limit capabilities", "Limitation discarded."));
        r.memory_reservation = 0;
    }
    if r.memory_reservation != 0 && r.memory_reservation < LEAST_MEMORY {
        return Err(invalid!("Minimum memory reservation allowed is 6MB"));
    }
    if r.memory > 0 && r.memory_reservation > 0 && r.memory < r.memory_reservation {
        return Err(invalid!("Minimum memory limit can not be less than memory reservation limit, see usage"));
    }
    if r.kernel_memory != 0 || r.kernel_memory_tcp != 0 {
        return Err(invalid!("kernel memory limits are not supported: the kernel has dropped them"));
    }
    Ok(())
}

fn discarded(what: &str, then: &str) -> String {
    format!("Your kernel does not support {what} or the cgroup is not mounted. {then}")
}

fn oom_and_pids(r: &mut Resources, facts: &Host, warnings: &mut Vec<String>) {
    if let Some(off) = r.oom_kill_disable
        && !facts.cgroups.oom_kill_disable
    {
        if off {
            warnings.push("Your kernel does not support OomKillDisable. OomKillDisable discarded.".into());
        }
        r.oom_kill_disable = None;
    }
    if r.oom_kill_disable == Some(true) && r.memory == 0 {
        warnings.push("OOM killer is disabled for the container, but no memory limit is set, this can result in the system running out of resources.".into());
    }
    if let Some(limit) = r.pids_limit
        && !facts.cgroups.pids
    {
        if limit > 0 {
            warnings.push(discarded("PIDs limit capabilities", "PIDs limit discarded."));
        }
        r.pids_limit = None;
    }
}

fn cpu(r: &mut Resources, facts: &Host, warnings: &mut Vec<String>) -> Result<()> {
    let cg = &facts.cgroups;
    if r.nano_cpus > 0 && r.cpu_period > 0 {
        return Err(invalid!("Conflicting options: Nano CPUs and CPU Period cannot both be set"));
    }
    if r.nano_cpus > 0 && r.cpu_quota > 0 {
        return Err(invalid!("Conflicting options: Nano CPUs and CPU Quota cannot both be set"));
    }
    if r.nano_cpus > 0 && !cg.cpu_quota {
        return Err(invalid!(
            "NanoCPUs can not be set, as your kernel does not support CPU CFS scheduler or the cgroup is not mounted"
        ));
    }
    let cpus = facts.cpus;
    if r.nano_cpus < 0 || r.nano_cpus > i64::try_from(cpus).unwrap_or(i64::MAX).saturating_mul(1_000_000_000) {
        return Err(invalid!("range of CPUs is from 0.01 to {cpus}.00, as there are only {cpus} CPUs available"));
    }
    if r.cpu_shares > 0 && !cg.cpu_shares {
        warnings.push(discarded("CPU shares", "Shares discarded."));
        r.cpu_shares = 0;
    }
    if (r.cpu_period != 0 || r.cpu_quota != 0) && !cg.cpu_quota {
        warnings.push("Your kernel does not support CPU CFS scheduler. CPU period/quota discarded.".into());
        (r.cpu_period, r.cpu_quota) = (0, 0);
    }
    if r.cpu_period != 0 && !(1000..=1_000_000).contains(&r.cpu_period) {
        return Err(invalid!("CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)"));
    }
    if r.cpu_quota > 0 && r.cpu_quota < 1000 {
        return Err(invalid!("CPU cfs quota can not be less than 1ms (i.e. 1000)"));
    }
    if r.cpu_percent > 0 {
        warnings.push("linux does not support CPU percent. Percent discarded.".into());
        r.cpu_percent = 0;
    }
    Ok(())
}

fn cpuset(r: &mut Resources, facts: &Host, warnings: &mut Vec<String>) -> Result<()> {
    if (!r.cpuset_cpus.is_empty() || !r.cpuset_mems.is_empty()) && !facts.cgroups.cpuset {
        warnings.push(discarded("cpuset", "Cpuset discarded."));
        (r.cpuset_cpus, r.cpuset_mems) = (String::new(), String::new());
    }
    let within = |wanted: &str, there: &str, what: &str, named: &str| {
        let set = crate::host::list(wanted)
            .ok_or_else(|| invalid!("Invalid value {wanted} for cpuset {what}: invalid format: {wanted}"))?;
        match set.is_subset(&crate::host::list(there).unwrap_or_default()) {
            true => Ok(()),
            false => Err(invalid!("Requested {named} are not available - requested {wanted}, available: {there}")),
        }
    };
    within(&r.cpuset_cpus, &facts.cpu_list, "cpus", "CPUs")?;
    within(&r.cpuset_mems, &facts.memory_nodes, "mems", "memory nodes")
}

fn blkio(r: &mut Resources, facts: &Host, warnings: &mut Vec<String>) -> Result<()> {
    let cg = &facts.cgroups;
    if r.blkio_weight > 0 && !cg.blkio_weight {
        warnings.push(discarded("Block I/O weight", "Weight discarded."));
        r.blkio_weight = 0;
    }
    if r.blkio_weight > 0 && !(10..=1000).contains(&r.blkio_weight) {
        return Err(invalid!("Range of blkio weight is from 10 to 1000"));
    }
    if !r.blkio_weight_device.is_empty() && !cg.blkio_weight_device {
        warnings.push(discarded("Block I/O weight_device", "Weight-device discarded."));
        r.blkio_weight_device = List::empty();
    }
    if let Some(d) = r.blkio_weight_device.iter().find(|d| d.weight != 0 && !(10..=1000).contains(&d.weight)) {
        return Err(invalid!("invalid weight for device: {}:{}", d.path, d.weight));
    }
    let throttles = [
        (&mut r.blkio_device_read_bps, "BPS Block I/O read limit", "Block I/O BPS read limit discarded."),
        (&mut r.blkio_device_write_bps, "BPS Block I/O write limit", "Block I/O BPS write limit discarded."),
        (&mut r.blkio_device_read_iops, "IOPS Block read limit", "Block I/O IOPS read limit discarded."),
        (&mut r.blkio_device_write_iops, "IOPS Block write limit", "Block I/O IOPS write limit discarded."),
    ];
    for (list, what, then) in throttles {
        if !list.is_empty() && !cg.blkio_throttle {
            warnings.push(discarded(what, then));
            *list = List::empty();
        }
    }
    Ok(())
}
