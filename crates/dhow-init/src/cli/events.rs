//! events: usage, and what ran out of memory.

use super::options::Given;
use super::show::out;
use super::state::{Container, Status};
use super::{Error, Global, Result, control};
use runtime::cgroup::Cgroup;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde_json::{Map, Value, json};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

/// How often it is looked whether something ran out of memory.
const LOOK: Duration = Duration::from_millis(250);

/// `events`
pub fn print(global: &Global, given: &Given) -> Result<i32> {
    let container = Container::load(global, given.id()?)?;
    let id = container.saved.id.clone();
    let interval = duration(given.value("interval").unwrap_or("5s"))?;
    if interval.is_zero() {
        return Error::new("duration interval must be greater than 0");
    }
    if container.status(None)? == Status::Stopped {
        return Error::new(format!("container with id {id} is not running"));
    }
    let cgroup = control::cgroup(&container)?;
    let show = |cgroup: &Cgroup| out(&line("stats", &id, Some(stats(cgroup))));
    if given.is("stats") {
        show(&cgroup)?;
        return Ok(0);
    }
    let Some(pidfd) = container.process() else { return Ok(0) };
    let (mut kills, mut next) = (cgroup.oom_kills(), Instant::now() + interval);
    loop {
        let wait = LOOK.min(next.saturating_duration_since(Instant::now()));
        let wait = Timespec { tv_sec: wait.as_secs() as i64, tv_nsec: i64::from(wait.subsec_nanos()) };
        let mut fds = [PollFd::from_borrowed_fd(pidfd.as_fd(), PollFlags::IN)];
        let ended = rustix::io::retry_on_intr(|| poll(&mut fds, Some(&wait))).map_err(Error::errno("poll"))? > 0;
        let now = cgroup.oom_kills();
        for _ in kills..now {
            out(&line("oom", &id, None))?;
        }
        kills = now.max(kills);
        if ended {
            return Ok(0);
        }
        if Instant::now() >= next {
            show(&cgroup)?;
            next += interval;
        }
    }
}

fn duration(text: &str) -> Result<Duration> {
    if text.is_empty() {
        return Ok(Duration::ZERO);
    }
    let ns = oci::duration::parse(text).ok().and_then(|ns| u64::try_from(ns).ok());
    let ns = ns.ok_or_else(|| Error(format!("invalid value {text:?} for flag -interval: parse error")))?;
    Ok(Duration::from_nanos(ns))
}

fn number(cgroup: &Cgroup, controller: &str, file: &str) -> Option<u64> {
    match cgroup.read(controller, file)?.trim() {
        "max" => Some(u64::MAX),
        text => text.parse().ok(),
    }
}

/// The lines `key number` of a file.
fn table(cgroup: &Cgroup, controller: &str, file: &str) -> Map<String, Value> {
    let text = cgroup.read(controller, file).unwrap_or_default();
    let line =
        |l: &str| l.split_once(' ').and_then(|(k, v)| Some((k.to_owned(), v.trim().parse::<u64>().ok()?.into())));
    text.lines().filter_map(line).collect()
}

fn of(table: &Map<String, Value>, key: &str) -> u64 {
    table.get(key).and_then(Value::as_u64).unwrap_or(0)
}

/// One event, its parts in runc's order: there are those who look at the beginning only.
fn line(kind: &str, id: &str, data: Option<Value>) -> String {
    let data = data.map_or_else(String::new, |data| format!(",\"data\":{data}"));
    format!("{{\"type\":\"{kind}\",\"id\":{}{data}}}\n", json!(id))
}

/// What the container uses, in runc's form.
fn stats(cgroup: &Cgroup) -> Value {
    let (cpu, memory, blkio) = match cgroup.v2_fd() {
        Some(_) => v2(cgroup),
        None => v1(cgroup),
    };
    json!({
        "cpu": cpu,
        "cpuset": {},
        "memory": memory,
        "pids": {
            "current": number(cgroup, "pids", "pids.current").unwrap_or(0),
            "limit": number(cgroup, "pids", "pids.max").filter(|n| *n != u64::MAX).unwrap_or(0),
        },
        "blkio": blkio,
        "hugetlb": {},
        "intel_rdt": {},
        "network_interfaces": null,
    })
}

fn v2(cgroup: &Cgroup) -> (Value, Value, Value) {
    let cpu = table(cgroup, "", "cpu.stat");
    let raw = table(cgroup, "", "memory.stat");
    let entry = |usage: &str, limit: &str, peak: &str| {
        json!({"limit": number(cgroup, "", limit).unwrap_or(0), "usage": number(cgroup, "", usage).unwrap_or(0),
            "max": number(cgroup, "", peak).unwrap_or(0), "failcnt": 0})
    };
    let mut bytes = Vec::new();
    for line in cgroup.read("", "io.stat").unwrap_or_default().lines() {
        let mut words = line.split(' ');
        let device = words.next().and_then(|d| d.split_once(':'));
        let Some((major, minor)) = device.and_then(|(a, b)| Some((a.parse::<u64>().ok()?, b.parse::<u64>().ok()?)))
        else {
            continue;
        };
        for word in words {
            let op = match word.split_once('=') {
                Some(("rbytes", n)) => ("Read", n),
                Some(("wbytes", n)) => ("Write", n),
                _ => continue,
            };
            bytes.push(json!({"major": major, "minor": minor, "op": op.0, "value": op.1.parse::<u64>().unwrap_or(0)}));
        }
    }
    (
        json!({
            "usage": {"total": of(&cpu, "usage_usec") * 1000, "kernel": of(&cpu, "system_usec") * 1000,
                "user": of(&cpu, "user_usec") * 1000},
            "throttling": {"periods": of(&cpu, "nr_periods"), "throttledPeriods": of(&cpu, "nr_throttled"),
                "throttledTime": of(&cpu, "throttled_usec") * 1000},
        }),
        json!({"cache": of(&raw, "file"), "usage": entry("memory.current", "memory.max", "memory.peak"),
            "swap": entry("memory.swap.current", "memory.swap.max", "memory.swap.peak"), "raw": raw}),
        json!({"ioServiceBytesRecursive": bytes}),
    )
}

fn v1(cgroup: &Cgroup) -> (Value, Value, Value) {
    // Ticks, of which every Linux has 100 in a second.
    let ticks = table(cgroup, "cpuacct", "cpuacct.stat");
    let throttled = table(cgroup, "cpu", "cpu.stat");
    let each = cgroup.read("cpuacct", "cpuacct.usage_percpu").unwrap_or_default();
    let each: Vec<u64> = each.split_whitespace().filter_map(|n| n.parse().ok()).collect();
    let raw = table(cgroup, "memory", "memory.stat");
    let entry = |name: &str| {
        let of = |what: &str| number(cgroup, "memory", &format!("memory.{name}{what}")).unwrap_or(0);
        json!({"limit": of("limit_in_bytes"), "usage": of("usage_in_bytes"), "max": of("max_usage_in_bytes"),
            "failcnt": of("failcnt")})
    };
    let io = |file: &str| {
        let text = cgroup.read("blkio", file).unwrap_or_default();
        let line = |l: &str| {
            let mut words = l.split_whitespace();
            let (major, minor) = words.next()?.split_once(':')?;
            let (op, value) = (words.next()?, words.next()?.parse::<u64>().ok()?);
            Some(
                json!({"major": major.parse::<u64>().ok()?, "minor": minor.parse::<u64>().ok()?, "op": op, "value": value}),
            )
        };
        text.lines().filter_map(line).collect::<Vec<_>>()
    };
    (
        json!({
            "usage": {"total": number(cgroup, "cpuacct", "cpuacct.usage").unwrap_or(0), "percpu": each,
                "kernel": of(&ticks, "system") * 10_000_000, "user": of(&ticks, "user") * 10_000_000},
            "throttling": {"periods": of(&throttled, "nr_periods"), "throttledPeriods": of(&throttled, "nr_throttled"),
                "throttledTime": of(&throttled, "throttled_time")},
        }),
        json!({"cache": of(&raw, "cache"), "usage": entry(""), "swap": entry("memsw."), "kernel": entry("kmem."),
            "kernelTCP": entry("kmem.tcp."), "raw": raw}),
        json!({"ioServiceBytesRecursive": io("blkio.throttle.io_service_bytes_recursive"),
            "ioServicedRecursive": io("blkio.throttle.io_serviced_recursive")}),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        for (text, millis) in [("5s", 5000), ("1m30s", 90_000), ("500ms", 500), ("0.5s", 500), ("", 0)] {
            assert_eq!(duration(text).unwrap(), Duration::from_millis(millis), "{text}");
        }
        for bad in ["5", "s", "5x", "-1s", "1s2"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
    }
}
