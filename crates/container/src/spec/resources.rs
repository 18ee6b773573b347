//! Limits, as the specification has them.

use crate::error::{Error, Result, invalid};
use api::container::{Resources as Asked, ThrottleDevice as Throttle};
use oci::runtime::{BlockIo, Cpu, DeviceRule, Memory, Pids, Resources, ThrottleDevice, WeightDevice};
use rustix::fs::{major, minor};

/// Everything but what a caller looks up: device rules and block devices.
pub(super) fn all(asked: &Asked, devices: Vec<DeviceRule>, block_io: Option<BlockIo>) -> Result<Resources> {
    Ok(Resources {
        devices,
        memory: memory(asked),
        cpu: cpu(asked)?,
        pids: pids(asked),
        block_io,
        ..Resources::default()
    })
}

/// The limits of an update, for a container that runs.
pub(crate) fn update(asked: &Asked) -> Result<Resources> {
    let block_io =
        (asked.blkio_weight != 0).then(|| BlockIo { weight: Some(asked.blkio_weight), ..BlockIo::default() });
    all(asked, vec![], block_io)
}

fn memory(asked: &Asked) -> Option<Memory> {
    let positive = |n: i64| (n > 0).then_some(n);
    let memory = Memory {
        limit: positive(asked.memory),
        reservation: positive(asked.memory_reservation),
        swap: (asked.memory_swap > 0 || asked.memory_swap == -1).then_some(asked.memory_swap),
        swappiness: asked.memory_swappiness.and_then(|s| u64::try_from(s).ok()),
        disable_oom_killer: asked.oom_kill_disable.filter(|off| *off),
        ..Memory::default()
    };
    (memory != Memory::default()).then_some(memory)
}

fn cpu(asked: &Asked) -> Result<Option<Cpu>> {
    const PERIOD: u64 = 100_000;
    let positive = |n: i64| u64::try_from(n).ok().filter(|n| *n > 0);
    if asked.cpu_shares < 0 {
        return Err(invalid!("invalid CPU shares ({}): value must be a positive integer", asked.cpu_shares));
    }
    let mut cpu = Cpu {
        shares: positive(asked.cpu_shares),
        period: positive(asked.cpu_period),
        quota: (asked.cpu_quota != 0).then_some(asked.cpu_quota),
        realtime_period: positive(asked.cpu_realtime_period),
        realtime_runtime: (asked.cpu_realtime_runtime != 0).then_some(asked.cpu_realtime_runtime),
        cpus: asked.cpuset_cpus.clone(),
        mems: asked.cpuset_mems.clone(),
        ..Cpu::default()
    };
    if asked.nano_cpus > 0 {
        cpu.period = Some(PERIOD);
        cpu.quota = Some((i128::from(asked.nano_cpus) * i128::from(PERIOD) / 1_000_000_000) as i64);
    }
    Ok((cpu != Cpu::default()).then_some(cpu))
}

fn pids(asked: &Asked) -> Option<Pids> {
    asked.pids_limit.map(|limit| Pids { limit: if limit <= 0 { -1 } else { limit } })
}

/// Limits of block devices; looks the paths up.
///
/// # Errors
/// When a path is not there.
pub(crate) fn block_io(asked: &Asked) -> Result<Option<BlockIo>> {
    let number = |path: &str| {
        let stat = rustix::fs::stat(path).map_err(|e| Error::Invalid(format!("stat {path}: {}", errno_text(e))))?;
        Ok((i64::from(major(stat.st_rdev)), i64::from(minor(stat.st_rdev))))
    };
    let throttle = |list: &[Throttle]| {
        list.iter()
            .map(|t| number(&t.path).map(|(major, minor)| ThrottleDevice { major, minor, rate: t.rate }))
            .collect::<Result<Vec<_>>>()
    };
    let weight = |d: &api::container::WeightDevice| {
        let (major, minor) = number(&d.path)?;
        Ok(WeightDevice { major, minor, weight: Some(d.weight), leaf_weight: None })
    };
    let out = BlockIo {
        weight: (asked.blkio_weight != 0).then_some(asked.blkio_weight),
        leaf_weight: None,
        weight_device: asked.blkio_weight_device.iter().map(weight).collect::<Result<_>>()?,
        throttle_read_bps_device: throttle(&asked.blkio_device_read_bps)?,
        throttle_write_bps_device: throttle(&asked.blkio_device_write_bps)?,
        throttle_read_iops_device: throttle(&asked.blkio_device_read_iops)?,
        throttle_write_iops_device: throttle(&asked.blkio_device_write_iops)?,
    };
    Ok((out != BlockIo::default()).then_some(out))
}

/// The system's words alone, as Go prints them: `no such file or directory`.
pub(crate) fn errno_text(e: rustix::io::Errno) -> String {
    let text = std::io::Error::from(e).to_string();
    let words = text.split(" (os error").next().unwrap_or_default();
    let mut chars = words.chars();
    chars.next().map_or_else(String::new, |first| first.to_lowercase().chain(chars).collect())
}
