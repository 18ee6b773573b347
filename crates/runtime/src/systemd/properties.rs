//! The properties of a scope that stand for the limits of a container. Pure.
//!
//! systemd must know every limit that it has a name for: what it does not know it takes back when it next goes over the
//! unit, as it does after `daemon-reload`. What it has no name for stands in the cgroup's files alone, which it then leaves
//! as they are.

use super::message::Value;
use super::variant;
use crate::Failure;
use crate::cgroup::v2::{cpu_weight, io_weight, swap_alone};
use oci::runtime::{Cpu, Resources};
use std::collections::BTreeMap;

/// What annotations that are properties begin with, as for runc.
const PREFIX: &str = "org.systemd.property.";
/// The period of a quota that comes without one, in microseconds.
const PERIOD: u64 = 100_000;

/// A property's name and value.
pub(crate) type Property = (String, Value);

/// A limit, of which there is none when it is negative.
fn infinite(value: i64) -> Value {
    Value::U64(u64::try_from(value).unwrap_or(u64::MAX))
}

/// Of `resources`, on cgroup v2 or v1.
pub(crate) fn resources(r: &Resources, v2: bool) -> Result<Vec<Property>, Failure> {
    let mut out: Vec<(&str, Value)> = Vec::new();
    if let Some(memory) = &r.memory {
        if let Some(limit) = memory.limit.filter(|l| *l != 0) {
            out.push((if v2 { "MemoryMax" } else { "MemoryLimit" }, infinite(limit)));
        }
        if v2 {
            if let Some(swap) = swap_alone(memory)? {
                out.push(("MemorySwapMax", infinite(swap)));
            }
            if let Some(low) = memory.reservation.filter(|v| *v != 0) {
                out.push(("MemoryLow", infinite(low)));
            }
        }
    }
    if let Some(cpu) = &r.cpu {
        of_cpu(cpu, v2, &mut out)?;
    }
    if let Some(pids) = r.pids.as_ref().filter(|pids| pids.limit != 0) {
        out.push(("TasksMax", infinite(pids.limit)));
    }
    if let Some(weight) = r.block_io.as_ref().and_then(|block| block.weight).filter(|w| *w != 0) {
        let (name, value) = if v2 { ("IOWeight", io_weight(weight)) } else { ("BlockIOWeight", weight.into()) };
        out.push((name, Value::U64(value)));
    }
    for (file, value) in &r.unified {
        of_file(file, value.trim(), &mut out)?;
    }
    Ok(out.into_iter().map(|(name, value)| (name.into(), value)).collect())
}

fn of_cpu(cpu: &Cpu, v2: bool, out: &mut Vec<(&'static str, Value)>) -> Result<(), Failure> {
    if let Some(shares) = cpu.shares.filter(|v| *v != 0) {
        let (name, value) = if v2 { ("CPUWeight", cpu_weight(shares)) } else { ("CPUShares", shares) };
        out.push((name, Value::U64(value)));
    }
    of_quota(cpu.quota.unwrap_or(0), cpu.period.unwrap_or(0), out);
    for (name, field, list) in [("AllowedCPUs", "cpu.cpus", &cpu.cpus), ("AllowedMemoryNodes", "cpu.mems", &cpu.mems)] {
        if !list.is_empty() {
            out.push((name, Value::Bytes(bits(field, list)?)));
        }
    }
    Ok(())
}

/// The quota in microseconds of each second. systemd keeps whole percents: rounded up, as the file may have less.
fn of_quota(quota: i64, period: u64, out: &mut Vec<(&'static str, Value)>) {
    if period != 0 {
        out.push(("CPUQuotaPeriodUSec", Value::U64(period)));
    }
    if quota != 0 || period != 0 {
        let period = if period == 0 { PERIOD } else { period };
        let each = u64::try_from(quota).ok().filter(|quota| *quota != 0);
        let each = each.map_or(u64::MAX, |quota| {
            let exact = u128::from(quota) * 1_000_000 / u128::from(period);
            u64::try_from(exact.next_multiple_of(10_000)).unwrap_or(u64::MAX)
        });
        out.push(("CPUQuotaPerSecUSec", Value::U64(each)));
    }
}

/// A file of `unified` that systemd has a name for.
fn of_file(file: &str, value: &str, out: &mut Vec<(&'static str, Value)>) -> Result<(), Failure> {
    let wrong = || Failure::invalid("cgroup", format!("cannot set unified {file:?}: {value:?} is not a value of it"));
    let number = |text: &str| match text {
        "max" => Ok(u64::MAX),
        text => text.parse::<u64>().map_err(|_| wrong()),
    };
    let name = match file {
        "memory.high" => "MemoryHigh",
        "memory.low" => "MemoryLow",
        "memory.min" => "MemoryMin",
        "memory.max" => "MemoryMax",
        "memory.swap.max" => "MemorySwapMax",
        "pids.max" => "TasksMax",
        "cpu.weight" => "CPUWeight",
        "cpuset.cpus" | "cpuset.mems" => {
            let name = if file == "cpuset.cpus" { "AllowedCPUs" } else { "AllowedMemoryNodes" };
            out.push((name, Value::Bytes(bits(&format!("unified {file:?}"), value)?)));
            return Ok(());
        }
        "cpu.max" => {
            let (quota, period) = value.split_once(' ').unwrap_or((value, ""));
            let quota = if quota == "max" { -1 } else { quota.parse().map_err(|_| wrong())? };
            let period = if period.is_empty() { PERIOD } else { period.trim().parse().map_err(|_| wrong())? };
            of_quota(quota, period, out);
            return Ok(());
        }
        _ => return Ok(()),
    };
    out.push((name, Value::U64(number(value)?)));
    Ok(())
}

/// `0-3,7` as a set of bits, the lowest first.
fn bits(field: &str, list: &str) -> Result<Vec<u8>, Failure> {
    const MAX: usize = 8192;
    let mut out = Vec::new();
    for number in crate::privileges::list(list, field, MAX)? {
        if out.len() <= number / 8 {
            out.resize(number / 8 + 1, 0u8);
        }
        out[number / 8] |= 1 << (number % 8);
    }
    Ok(out)
}

/// Those that annotations ask for: `org.systemd.property.TimeoutStopSec: "5"`.
pub(crate) fn annotated(annotations: &BTreeMap<String, String>) -> Result<Vec<Property>, Failure> {
    let named = annotations.iter().filter_map(|(key, value)| Some((key.strip_prefix(PREFIX)?, value)));
    named
        .map(|(name, text)| {
            let wrong = |what| Failure::invalid("systemd", format!("annotation {PREFIX}{name}={text}: {what}"));
            if name.len() < 3 || !name.chars().all(|c| c.is_ascii_alphabetic()) {
                return Err(wrong("not the name of a property"));
            }
            if ["Slice", "PIDs"].contains(&name) {
                return Err(wrong("it is set already, by what the container is"));
            }
            let value = variant::parse(text).ok_or_else(|| wrong("the value is not in GVariant's text format"))?;
            match name.strip_suffix("Sec").filter(|stem| !stem.ends_with('U')) {
                // On the bus times are in microseconds, and called so.
                Some(stem) => {
                    let value = microseconds(&value).ok_or_else(|| wrong("not a time in seconds"))?;
                    Ok((format!("{stem}USec"), Value::U64(value)))
                }
                None => Ok((name.into(), value)),
            }
        })
        .collect()
}

fn microseconds(seconds: &Value) -> Option<u64> {
    let whole = match seconds {
        Value::Byte(n) => u64::from(*n),
        Value::U16(n) => u64::from(*n),
        Value::U32(n) => u64::from(*n),
        Value::U64(n) => *n,
        Value::I16(n) => u64::try_from(*n).ok()?,
        Value::I32(n) => u64::try_from(*n).ok()?,
        Value::I64(n) => u64::try_from(*n).ok()?,
        Value::F64(n) if *n >= 0.0 && *n < 1e12 => return Some((n * 1e6) as u64),
        _ => return None,
    };
    whole.checked_mul(1_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;
    use oci::runtime::{BlockIo, Memory, Pids};

    fn number(name: &str, value: u64) -> Property {
        (name.into(), Value::U64(value))
    }

    #[test]
    fn limits_of_both_versions() {
        let r = Resources {
            memory: Some(Memory { limit: Some(64), swap: Some(96), reservation: Some(32), ..Memory::default() }),
            cpu: Some(Cpu {
                shares: Some(1024),
                quota: Some(33_333),
                cpus: "0-1,9".into(),
                mems: "0".into(),
                ..Cpu::default()
            }),
            pids: Some(Pids { limit: -1 }),
            block_io: Some(BlockIo { weight: Some(500), ..BlockIo::default() }),
            ..Resources::default()
        };
        let cpus = |name: &str, bits: &[u8]| (name.to_owned(), Value::Bytes(bits.into()));
        let wanted = [
            number("MemoryMax", 64),
            number("MemorySwapMax", 32),
            number("MemoryLow", 32),
            number("CPUWeight", 39),
            // 33.333 %, rounded up.
            number("CPUQuotaPerSecUSec", 340_000),
            cpus("AllowedCPUs", &[3, 2]),
            cpus("AllowedMemoryNodes", &[1]),
            number("TasksMax", u64::MAX),
            number("IOWeight", 4950),
        ];
        assert_eq!(resources(&r, true).unwrap(), wanted);
        let names: Vec<String> = resources(&r, false).unwrap().into_iter().map(|(name, _)| name).collect();
        let old = [
            "MemoryLimit",
            "CPUShares",
            "CPUQuotaPerSecUSec",
            "AllowedCPUs",
            "AllowedMemoryNodes",
            "TasksMax",
            "BlockIOWeight",
        ];
        assert_eq!(names, old);
    }

    #[test]
    fn quotas() {
        let of = |quota, period| {
            let cpu = Some(Cpu { quota: Some(quota), period: Some(period), ..Cpu::default() });
            resources(&Resources { cpu, ..Resources::default() }, true).unwrap()
        };
        let both = |period, each| vec![number("CPUQuotaPeriodUSec", period), number("CPUQuotaPerSecUSec", each)];
        assert_eq!(of(0, 0), []);
        assert_eq!(of(50_000, 100_000), both(100_000, 500_000));
        assert_eq!(of(-1, 50_000), both(50_000, u64::MAX));
        assert_eq!(of(-1, 0), [number("CPUQuotaPerSecUSec", u64::MAX)]);
        assert_eq!(of(i64::MAX, 1), both(1, u64::MAX));
    }

    #[test]
    fn files_that_systemd_has_names_for() {
        let of = |file: &str, value: &str| {
            let unified = [(file.to_owned(), value.to_owned())].into();
            resources(&Resources { unified, ..Resources::default() }, true)
        };
        assert_eq!(of("memory.high", "max\n").unwrap(), [number("MemoryHigh", u64::MAX)]);
        assert_eq!(of("pids.max", "5").unwrap(), [number("TasksMax", 5)]);
        let quota = [number("CPUQuotaPeriodUSec", 20_000), number("CPUQuotaPerSecUSec", 500_000)];
        assert_eq!(of("cpu.max", "10000 20000").unwrap(), quota);
        assert_eq!(of("cpuset.cpus", "8").unwrap(), [("AllowedCPUs".into(), Value::Bytes(vec![0, 1]))]);
        assert_eq!(of("hugetlb.2MB.max", "5").unwrap(), []);
        assert!(of("memory.max", "much").is_err());
        assert!(of("cpuset.cpus", "99999999").is_err());
    }

    #[test]
    fn annotations() {
        let of = |key: &str, value: &str| annotated(&[(key.to_owned(), value.to_owned())].into());
        assert_eq!(of("org.systemd.property.TimeoutStopSec", "1.5").unwrap(), [number("TimeoutStopUSec", 1_500_000)]);
        assert_eq!(
            of("org.systemd.property.CollectMode", "'inactive'").unwrap(),
            [("CollectMode".into(), Value::text("inactive"))]
        );
        assert_eq!(of("org.example.x", "?").unwrap(), []);
        for (key, value) in
            [("Ab", "1"), ("A b", "1"), ("TimeoutSec", "'x'"), ("Slice", "'x.slice'"), ("TimeoutSec", "-1")]
        {
            assert!(of(&format!("{PREFIX}{key}"), value).is_err(), "{key}={value}");
        }
    }
}
