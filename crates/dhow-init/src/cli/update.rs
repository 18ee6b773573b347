//! update: other limits for a container.

use super::options::Given;
use super::state::{Container, Status};
use super::{Error, Global, Result, bundle, control};
use oci::runtime::{BlockIo, Cpu, Linux, Memory, Pids, Resources};
use std::path::Path;

/// `update`
pub fn update(global: &Global, given: &Given) -> Result<i32> {
    let (container, lock) = Container::load_locked(global, given.id()?)?;
    for option in ["l3-cache-schema", "mem-bw-schema"] {
        if given.value(option).is_some_and(|value| !value.is_empty()) {
            return Error::new(format!("--{option} is not supported: Intel RDT is not enabled"));
        }
    }
    let mut resources = match given.value("resources").filter(|path| !path.is_empty()) {
        Some("-") => {
            let text = bundle::content(std::io::stdin(), Path::new("standard input"))?;
            bundle::parse(&text, Path::new("standard input"))?
        }
        Some(path) => bundle::read(Path::new(path))?,
        None => from_options(given)?,
    };
    without_kernel_memory(global, Some(&mut resources));
    if let Some(memory) = &mut resources.memory {
        // Without a limit there can be none for memory and swap together.
        if memory.limit == Some(-1) && memory.swap.is_none() {
            memory.swap = Some(-1);
        }
    }
    if container.status(Some(&lock))? == Status::Stopped {
        return Error::new("container not running");
    }
    let mut spec = container.spec()?;
    let kept = spec.linux.get_or_insert_with(Linux::default).resources.get_or_insert_with(Resources::default);
    complete(&mut resources, kept);
    // The device policy stays: engines add to it behind the configuration's back.
    resources.devices.clear();
    control::cgroup(&container)?.update(&resources)?;
    merge(kept, resources);
    container.save_spec(&spec)?;
    Ok(0)
}

/// Takes away what kernels no longer limit by itself, and what every runtime leaves out.
pub fn without_kernel_memory(global: &Global, resources: Option<&mut Resources>) {
    let Some(memory) = resources.and_then(|resources| resources.memory.as_mut()) else { return };
    if memory.kernel.take().is_some() | memory.kernel_tcp.take().is_some() {
        global.log.warn("Kernel memory settings are ignored and will be removed");
    }
}

/// Adds what a new value cannot be set without: the period to a quota and the quota to a period.
fn complete(new: &mut Resources, old: &Resources) {
    let (Some(new), Some(old)) = (&mut new.cpu, &old.cpu) else { return };
    let given = |value: Option<i64>| value.filter(|v| *v != 0);
    if given(new.quota).is_some() && new.period.is_none_or(|p| p == 0) {
        new.period = old.period;
    } else if new.period.is_some_and(|p| p != 0) && given(new.quota).is_none() {
        new.quota = old.quota;
    }
}

/// Keeps in `old` what `new` has changed.
fn merge(old: &mut Resources, new: Resources) {
    fn take<T>(old: &mut Option<T>, new: Option<T>) {
        if new.is_some() {
            *old = new;
        }
    }
    if let Some(new) = new.memory {
        let old = old.memory.get_or_insert_default();
        take(&mut old.limit, new.limit);
        take(&mut old.reservation, new.reservation);
        take(&mut old.swap, new.swap);
        take(&mut old.swappiness, new.swappiness);
        take(&mut old.disable_oom_killer, new.disable_oom_killer);
    }
    if let Some(new) = new.cpu {
        let old = old.cpu.get_or_insert_default();
        take(&mut old.shares, new.shares);
        take(&mut old.quota, new.quota);
        take(&mut old.burst, new.burst);
        take(&mut old.period, new.period);
        take(&mut old.realtime_runtime, new.realtime_runtime);
        take(&mut old.realtime_period, new.realtime_period);
        take(&mut old.idle, new.idle);
        for (old, new) in [(&mut old.cpus, new.cpus), (&mut old.mems, new.mems)] {
            if !new.is_empty() {
                *old = new;
            }
        }
    }
    take(&mut old.pids, new.pids);
    take(&mut old.block_io, new.block_io);
    old.unified.extend(new.unified);
}

/// What the options of the command line ask for.
fn from_options(given: &Given) -> Result<Resources> {
    let text = |name: &str| given.value(name).filter(|value| !value.is_empty()).map(str::to_owned);
    fn number<T: std::str::FromStr>(given: &Given, name: &str) -> Result<Option<T>> {
        let value = given.value(name).filter(|value| !value.is_empty());
        value.map(|v| v.parse().map_err(|_| Error(format!("invalid value for {name}: {v:?}")))).transpose()
    }
    let bytes = |name: &str| -> Result<Option<i64>> {
        let value = given.value(name).filter(|value| !value.is_empty());
        value.map(|v| bytes(v).ok_or_else(|| Error(format!("invalid value for {name}: {v:?}")))).transpose()
    };
    let memory = Memory {
        limit: bytes("memory")?,
        reservation: bytes("memory-reservation")?,
        swap: bytes("memory-swap")?,
        kernel: bytes("kernel-memory")?,
        kernel_tcp: bytes("kernel-memory-tcp")?,
        ..Memory::default()
    };
    let cpu = Cpu {
        shares: number(given, "cpu-share")?,
        quota: number(given, "cpu-quota")?,
        burst: number(given, "cpu-burst")?,
        period: number(given, "cpu-period")?,
        realtime_runtime: number(given, "cpu-rt-runtime")?,
        realtime_period: number(given, "cpu-rt-period")?,
        cpus: text("cpuset-cpus").unwrap_or_default(),
        mems: text("cpuset-mems").unwrap_or_default(),
        idle: number(given, "cpu-idle")?,
    };
    let weight: Option<u16> = number(given, "blkio-weight")?;
    Ok(Resources {
        memory: (memory != Memory::default()).then_some(memory),
        cpu: (cpu != Cpu::default()).then_some(cpu),
        pids: number(given, "pids-limit")?.map(|limit| Pids { limit }),
        block_io: weight.filter(|w| *w != 0).map(|w| BlockIo { weight: Some(w), ..BlockIo::default() }),
        ..Resources::default()
    })
}

/// `512`, `64m`, `1.5GiB`, `-1`: bytes, with a unit of 1024.
fn bytes(text: &str) -> Option<i64> {
    if text == "-1" {
        return Some(-1);
    }
    let at = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(at);
    let unit = unit.trim_start().to_ascii_lowercase();
    let letter = unit.trim_end_matches('b').trim_end_matches('i');
    let power = ["", "k", "m", "g", "t", "p"].iter().position(|known| *known == letter)?;
    if !["", "b", "ib"].contains(&unit.strip_prefix(letter)?) || number.is_empty() {
        return None;
    }
    let factor = 1i64 << (10 * power);
    match number.parse::<i64>() {
        Ok(whole) => whole.checked_mul(factor),
        Err(_) => Some((number.parse::<f64>().ok()? * factor as f64) as i64),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        let good = [("0", 0), ("512", 512), ("64m", 64 << 20), ("1.5GiB", 3 << 29), ("2 kb", 2048), ("-1", -1)];
        for (text, size) in good {
            assert_eq!(bytes(text), Some(size), "{text}");
        }
        for bad in ["", "m", "-2", "1x", "1mm", "9999999999999t", "1i"] {
            assert_eq!(bytes(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_quota_needs_its_period() {
        let cpu =
            |quota, period| Resources { cpu: Some(Cpu { quota, period, ..Cpu::default() }), ..Resources::default() };
        let old = cpu(Some(1000), Some(5000));
        for (given, wanted) in [
            (cpu(Some(2000), None), cpu(Some(2000), Some(5000))),
            (cpu(None, Some(9000)), cpu(Some(1000), Some(9000))),
            (cpu(Some(1), Some(2)), cpu(Some(1), Some(2))),
            (cpu(None, None), cpu(None, None)),
        ] {
            let mut new = given;
            complete(&mut new, &old);
            assert_eq!(new, wanted);
        }
    }
}
