//! Names of capabilities, limits and scheduling → the kernel's numbers.

use crate::Failure;
use oci::runtime::{self as spec};
use rustix::process::{Resource, Rlimit};
use sys::sched::SchedAttr;

/// In the order of `linux/capability.h`; the position is the number.
const CAPABILITIES: [&str; 41] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
    "PERFMON",
    "BPF",
    "CHECKPOINT_RESTORE",
];

/// The bit of `CAP_SYS_ADMIN`.
pub const SYS_ADMIN: u64 = 1 << 21;

/// Every capability's name without its `CAP_`, in the order of its number.
pub fn capability_names() -> impl Iterator<Item = &'static str> {
    CAPABILITIES.into_iter()
}

/// The five sets, bit n being capability n.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[allow(missing_docs)]
pub struct Capabilities {
    pub bounding: u64,
    pub effective: u64,
    pub permitted: u64,
    pub inheritable: u64,
    pub ambient: u64,
}

/// The sets that `capabilities` names; none means none.
pub fn capabilities(capabilities: Option<&spec::Capabilities>) -> Result<Capabilities, Failure> {
    let Some(c) = capabilities else { return Ok(Capabilities::default()) };
    Ok(Capabilities {
        bounding: mask(&c.bounding)?,
        effective: mask(&c.effective)?,
        permitted: mask(&c.permitted)?,
        inheritable: mask(&c.inheritable)?,
        ambient: mask(&c.ambient)?,
    })
}

fn mask(names: &[String]) -> Result<u64, Failure> {
    names.iter().try_fold(0, |mask, name| {
        let bare = name.strip_prefix("CAP_");
        match bare.and_then(|bare| CAPABILITIES.iter().position(|known| *known == bare)) {
            Some(number) => Ok(mask | 1 << number),
            None => Err(Failure::invalid("capabilities", format!("unknown capability {name:?}"))),
        }
    })
}

/// One line of `process.rlimits`.
pub fn rlimit(limit: &spec::Rlimit) -> Result<(Resource, Rlimit), Failure> {
    let resource = match limit.kind.as_str() {
        "RLIMIT_AS" => Resource::As,
        "RLIMIT_CORE" => Resource::Core,
        "RLIMIT_CPU" => Resource::Cpu,
        "RLIMIT_DATA" => Resource::Data,
        "RLIMIT_FSIZE" => Resource::Fsize,
        "RLIMIT_LOCKS" => Resource::Locks,
        "RLIMIT_MEMLOCK" => Resource::Memlock,
        "RLIMIT_MSGQUEUE" => Resource::Msgqueue,
        "RLIMIT_NICE" => Resource::Nice,
        "RLIMIT_NOFILE" => Resource::Nofile,
        "RLIMIT_NPROC" => Resource::Nproc,
        "RLIMIT_RSS" => Resource::Rss,
        "RLIMIT_RTPRIO" => Resource::Rtprio,
        "RLIMIT_RTTIME" => Resource::Rttime,
        "RLIMIT_SIGPENDING" => Resource::Sigpending,
        "RLIMIT_STACK" => Resource::Stack,
        other => return Err(Failure::invalid("rlimits", format!("unknown rlimit {other:?}"))),
    };
    // RLIM_INFINITY is every bit set.
    let value = |v: u64| (v != u64::MAX).then_some(v);
    Ok((resource, Rlimit { current: value(limit.soft), maximum: value(limit.hard) }))
}

fn one_of<T: Copy>(field: &str, name: &str, known: &[(&str, T)]) -> Result<T, Failure> {
    let found = known.iter().find(|(n, _)| *n == name).map(|(_, value)| *value);
    found.ok_or_else(|| Failure::invalid("process", format!("unknown {field} {name:?}")))
}

/// `process.scheduler`.
pub fn scheduler(s: &spec::Scheduler) -> Result<SchedAttr, Failure> {
    let policies = [
        ("SCHED_OTHER", 0),
        ("SCHED_FIFO", 1),
        ("SCHED_RR", 2),
        ("SCHED_BATCH", 3),
        ("SCHED_ISO", 4),
        ("SCHED_IDLE", 5),
        ("SCHED_DEADLINE", 6),
    ];
    let flags = [
        ("SCHED_FLAG_RESET_ON_FORK", 1),
        ("SCHED_FLAG_RECLAIM", 2),
        ("SCHED_FLAG_DL_OVERRUN", 4),
        ("SCHED_FLAG_KEEP_POLICY", 8),
        ("SCHED_FLAG_KEEP_PARAMS", 0x10),
        ("SCHED_FLAG_UTIL_CLAMP_MIN", 0x20),
        ("SCHED_FLAG_UTIL_CLAMP_MAX", 0x40),
    ];
    let each = |all: u64, name: &String| Ok(all | one_of("scheduler flag", name, &flags)?);
    Ok(SchedAttr {
        policy: one_of("scheduler policy", &s.policy, &policies)?,
        flags: s.flags.iter().try_fold(0, each)?,
        nice: s.nice,
        priority: u32::try_from(s.priority)
            .map_err(|_| Failure::invalid("process", format!("scheduler priority {} is negative", s.priority)))?,
        runtime: s.runtime,
        deadline: s.deadline,
        period: s.period,
    })
}

/// `process.ioPriority`: class and level.
pub fn io_priority(p: &spec::IoPriority) -> Result<(u16, u16), Failure> {
    let classes = [("IOPRIO_CLASS_RT", 1), ("IOPRIO_CLASS_BE", 2), ("IOPRIO_CLASS_IDLE", 3)];
    let class = one_of("ioPriority class", &p.class, &classes)?;
    match u16::try_from(p.priority) {
        Ok(level @ 0..=7) => Ok((class, level)),
        _ => Err(Failure::invalid("process", format!("ioPriority priority {} is not within 0 to 7", p.priority))),
    }
}

/// `linux.personality`.
pub fn personality(p: &spec::Personality) -> Result<u32, Failure> {
    if let Some(flag) = p.flags.first() {
        return Err(Failure::invalid("personality", format!("personality flag {flag:?} is not supported")));
    }
    one_of("personality domain", &p.domain, &[("LINUX", 0), ("LINUX32", 8)])
}

/// `linux.memoryPolicy`: the mode with its flags, and the mask of nodes.
pub fn memory_policy(p: &spec::MemoryPolicy) -> Result<(u32, Vec<u64>), Failure> {
    let modes = [
        ("MPOL_DEFAULT", 0),
        ("MPOL_PREFERRED", 1),
        ("MPOL_BIND", 2),
        ("MPOL_INTERLEAVE", 3),
        ("MPOL_LOCAL", 4),
        ("MPOL_PREFERRED_MANY", 5),
        ("MPOL_WEIGHTED_INTERLEAVE", 6),
    ];
    let flags =
        [("MPOL_F_STATIC_NODES", 1 << 15), ("MPOL_F_RELATIVE_NODES", 1 << 14), ("MPOL_F_NUMA_BALANCING", 1 << 13)];
    let mut mode: u32 = one_of("memoryPolicy mode", &p.mode, &modes)?;
    for flag in &p.flags {
        mode |= one_of("memoryPolicy flag", flag, &flags)?;
    }
    let mut nodes = Vec::new();
    for node in list(&p.nodes, "memoryPolicy nodes", 1024)? {
        nodes.resize(nodes.len().max(node / 64 + 1), 0u64);
        nodes[node / 64] |= 1 << (node % 64);
    }
    Ok((mode, nodes))
}

/// A list such as `0-3,7` of numbers below `limit`.
pub fn list(text: &str, field: &str, limit: usize) -> Result<Vec<usize>, Failure> {
    let bad = || Failure::invalid("process", format!("{field} {text:?} is not a list of numbers below {limit}"));
    let mut numbers = Vec::new();
    for range in text.split(',').map(str::trim).filter(|r| !r.is_empty()) {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let number = |n: &str| n.trim().parse::<usize>().ok().filter(|n| *n < limit).ok_or_else(bad);
        let (first, last) = (number(first)?, number(last)?);
        if first > last {
            return Err(bad());
        }
        numbers.extend(first..=last);
    }
    Ok(numbers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_exact() {
        let names = |n: &[&str]| n.iter().map(|s| s.to_string()).collect::<Vec<_>>();
        assert_eq!(
            mask(&names(&["CAP_CHOWN", "CAP_SYS_ADMIN", "CAP_CHECKPOINT_RESTORE"])),
            Ok(1 | SYS_ADMIN | 1 << 40)
        );
        for bad in ["CHOWN", "CAP_chown", "CAP_", "", "ALL", "CAP_CAP_CHOWN"] {
            assert_eq!(mask(&names(&[bad])).unwrap_err().text, format!("unknown capability {bad:?}"));
        }
    }

    #[test]
    fn lists() {
        assert_eq!(list("0-2, 5", "x", 8), Ok(vec![0, 1, 2, 5]));
        assert_eq!(list("", "x", 8), Ok(vec![]));
        for bad in ["8", "2-1", "a", "1-", "-1", "0-9999999999999999999"] {
            assert!(list(bad, "x", 8).is_err(), "{bad}");
        }
    }

    #[test]
    fn limits() {
        let of = |kind: &str, soft, hard| rlimit(&spec::Rlimit { kind: kind.into(), soft, hard });
        let limit = of("RLIMIT_NOFILE", 1024, u64::MAX).unwrap().1;
        assert_eq!((limit.current, limit.maximum), (Some(1024), None));
        assert_eq!(of("NOFILE", 1, 1).unwrap_err().text, "unknown rlimit \"NOFILE\"");
    }

    #[test]
    fn memory_policies() {
        let of = |mode: &str, nodes: &str| {
            memory_policy(&spec::MemoryPolicy { mode: mode.into(), nodes: nodes.into(), flags: vec![] })
        };
        assert_eq!(of("MPOL_BIND", "0,64"), Ok((2, vec![1, 1])));
        assert!(of("MPOL_NONE", "").is_err());
    }
}
