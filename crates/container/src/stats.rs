//! What a running container uses just now: its cgroup's counters and its network's, in Docker's form.

use crate::containers::{Container, Containers, now_ns};
use crate::error::Result;
use crate::inspect::time;
use crate::state::Phase;
use api::container::{
    BlkioEntry, BlkioStats, CpuStats, CpuUsage, MemoryStats, NEVER, NetworkStats, PidsStats, Stats, ThrottlingData,
};
use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};

const ROOT: &str = "/sys/fs/cgroup";
/// Of the clock that `/proc/stat` and `cpuacct.stat` count in.
const TICK_NS: u64 = 10_000_000;
/// The lines of v1's `memory.stat` that Docker passes on; all but the last two also with `total_` before them.
const MEMORY_V1: [&str; 17] = [
    "cache",
    "rss",
    "rss_huge",
    "mapped_file",
    "dirty",
    "writeback",
    "pgpgin",
    "pgpgout",
    "pgfault",
    "pgmajfault",
    "inactive_anon",
    "active_anon",
    "inactive_file",
    "active_file",
    "unevictable",
    "hierarchical_memory_limit",
    "hierarchical_memsw_limit",
];
/// The lines of v2's.
const MEMORY_V2: [&str; 31] = [
    "anon",
    "file",
    "kernel_stack",
    "slab",
    "sock",
    "shmem",
    "file_mapped",
    "file_dirty",
    "file_writeback",
    "anon_thp",
    "inactive_anon",
    "active_anon",
    "inactive_file",
    "active_file",
    "unevictable",
    "slab_reclaimable",
    "slab_unreclaimable",
    "pgfault",
    "pgmajfault",
    "workingset_refault",
    "workingset_activate",
    "workingset_nodereclaim",
    "pgrefill",
    "pgscan",
    "pgsteal",
    "pgactivate",
    "pgdeactivate",
    "pglazyfree",
    "pglazyfreed",
    "thp_fault_alloc",
    "thp_collapse_alloc",
];

impl Containers {
    /// One sample; of a container that does not run only its names.
    ///
    /// # Errors
    /// `NotFound`
    pub fn sample(&self, name: &str) -> Result<Stats> {
        let c = self.shared.find(name)?;
        let mut stats = Stats { id: c.id.clone(), name: format!("/{}", c.record().name), ..Stats::default() };
        (stats.read, stats.preread) = (NEVER.into(), NEVER.into());
        let (phase, cgroup) = c.peek(|s| (s.phase, s.cgroup.clone()));
        // Without a cgroup of its own the root's numbers are not its.
        if phase == Phase::Running && !cgroup.trim_matches('/').is_empty() {
            let machine = machine_memory();
            match Path::new(ROOT).join("cgroup.controllers").exists() {
                true => v2(&Dir(Path::new(ROOT).join(cgroup.trim_start_matches('/'))), machine, &mut stats),
                false => v1(&|controller| Dir(v1_dir(controller, &cgroup)), machine, &mut stats),
            }
            stats.cpu_stats.system_cpu_usage = system_cpu();
            stats.cpu_stats.online_cpus = u32::try_from(self.shared.host.cpus).unwrap_or(u32::MAX);
            stats.networks = networks(&c);
            stats.read = time(now_ns());
        }
        Ok(stats)
    }
}

fn v1_dir(controller: &str, cgroup: &str) -> PathBuf {
    Path::new(ROOT).join(controller).join(cgroup.trim_start_matches('/'))
}

/// The files of one cgroup directory. What is not there, or is gone meanwhile, is 0.
struct Dir(PathBuf);

impl Dir {
    fn text(&self, file: &str) -> String {
        std::fs::read_to_string(self.0.join(file)).unwrap_or_default()
    }

    fn number(&self, file: &str) -> u64 {
        number(&self.text(file), 0)
    }
}

/// A number, or `max`.
fn number(text: &str, max: u64) -> u64 {
    match text.trim() {
        "max" => max,
        digits => digits.parse().unwrap_or(0),
    }
}

/// Lines of `key number`.
fn table(text: &str) -> BTreeMap<&str, u64> {
    text.lines().filter_map(|l| l.split_once(' ')).map(|(key, value)| (key, number(value, u64::MAX))).collect()
}

fn v1(dir: &dyn Fn(&str) -> Dir, machine: u64, stats: &mut Stats) {
    let pids = dir("pids");
    stats.pids_stats = PidsStats { current: pids.number("pids.current"), limit: pids.number("pids.max") };

    let cpuacct = dir("cpuacct");
    let text = cpuacct.text("cpuacct.stat");
    let times = table(&text);
    let ticks = |key| times.get(key).copied().unwrap_or(0).saturating_mul(TICK_NS);
    let each = cpuacct.text("cpuacct.usage_percpu");
    let text = dir("cpu").text("cpu.stat");
    let throttled = table(&text);
    let of = |key| throttled.get(key).copied().unwrap_or(0);
    stats.cpu_stats = CpuStats {
        cpu_usage: CpuUsage {
            total_usage: cpuacct.number("cpuacct.usage"),
            percpu_usage: each.split_ascii_whitespace().map(|n| number(n, 0)).collect::<Vec<_>>().into(),
            usage_in_kernelmode: ticks("system"),
            usage_in_usermode: ticks("user"),
        },
        throttling_data: ThrottlingData {
            periods: of("nr_periods"),
            throttled_periods: of("nr_throttled"),
            throttled_time: of("throttled_time"),
        },
        ..CpuStats::default()
    };

    let memory = dir("memory");
    let text = memory.text("memory.stat");
    let lines = table(&text);
    let mut out = BTreeMap::new();
    let mut put = |key: String| {
        let value = lines.get(key.as_str()).copied().unwrap_or(0);
        out.insert(key, value);
    };
    for key in MEMORY_V1 {
        put(key.to_owned());
        if !key.starts_with("hierarchical_") {
            put(format!("total_{key}"));
        }
    }
    stats.memory_stats = MemoryStats {
        usage: memory.number("memory.usage_in_bytes"),
        max_usage: memory.number("memory.max_usage_in_bytes"),
        stats: out,
        failcnt: memory.number("memory.failcnt"),
        limit: at_most(memory.number("memory.limit_in_bytes"), machine),
    };

    let blkio = dir("blkio");
    stats.blkio_stats = BlkioStats {
        io_service_bytes_recursive: operations(&blkio.text("blkio.throttle.io_service_bytes_recursive")).into(),
        io_serviced_recursive: operations(&blkio.text("blkio.throttle.io_serviced_recursive")).into(),
        io_queue_recursive: vec![].into(),
        io_service_time_recursive: vec![].into(),
        io_wait_time_recursive: vec![].into(),
        io_merged_recursive: vec![].into(),
        io_time_recursive: vec![].into(),
        sectors_recursive: vec![].into(),
    };
}

fn v2(dir: &Dir, machine: u64, stats: &mut Stats) {
    let limit = number(&dir.text("pids.max"), u64::MAX);
    stats.pids_stats = PidsStats { current: dir.number("pids.current"), limit };

    let text = dir.text("cpu.stat");
    let times = table(&text);
    let of = |key| times.get(key).copied().unwrap_or(0);
    let ns = |key| of(key).saturating_mul(1000);
    stats.cpu_stats = CpuStats {
        cpu_usage: CpuUsage {
            total_usage: ns("usage_usec"),
            usage_in_kernelmode: ns("system_usec"),
            usage_in_usermode: ns("user_usec"),
            ..CpuUsage::default()
        },
        throttling_data: ThrottlingData {
            periods: of("nr_periods"),
            throttled_periods: of("nr_throttled"),
            throttled_time: ns("throttled_usec"),
        },
        ..CpuStats::default()
    };

    let text = dir.text("memory.stat");
    let lines = table(&text);
    let events = dir.text("memory.events");
    stats.memory_stats = MemoryStats {
        usage: dir.number("memory.current"),
        max_usage: 0,
        stats: MEMORY_V2.iter().map(|key| ((*key).to_owned(), lines.get(key).copied().unwrap_or(0))).collect(),
        failcnt: table(&events).get("oom").copied().unwrap_or(0),
        limit: at_most(number(&dir.text("memory.max"), u64::MAX), machine),
    };
    let entries = v2_operations(&dir.text("io.stat"));
    if !entries.is_empty() {
        stats.blkio_stats.io_service_bytes_recursive = entries.into();
    }
}

/// No more than the machine has, when that is known.
fn at_most(limit: u64, machine: u64) -> u64 {
    if machine > 0 { limit.min(machine) } else { limit }
}

/// `8:0`
fn device(text: &str) -> Option<(u64, u64)> {
    let (major, minor) = text.split_once(':')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

/// Lines of `8:0 Read 4096`.
fn operations(text: &str) -> Vec<BlkioEntry> {
    let entry = |line: &str| {
        let mut words = line.split_ascii_whitespace();
        let ((major, minor), op, value) = (device(words.next()?)?, words.next()?, words.next()?);
        Some(BlkioEntry { major, minor, op: op.to_owned(), value: value.parse().ok()? })
    };
    text.lines().filter_map(entry).collect()
}

/// Lines of `8:0 rbytes=4096 wbytes=0 …`.
fn v2_operations(text: &str) -> Vec<BlkioEntry> {
    let mut out = Vec::new();
    for line in text.lines() {
        let mut words = line.split_ascii_whitespace();
        let Some((major, minor)) = words.next().and_then(device) else { continue };
        let fields: BTreeMap<&str, &str> = words.filter_map(|w| w.split_once('=')).collect();
        for (op, key) in [("read", "rbytes"), ("write", "wbytes")] {
            let value = fields.get(key).and_then(|n| n.parse().ok()).unwrap_or(0);
            out.push(BlkioEntry { major, minor, op: op.to_owned(), value });
        }
    }
    out
}

fn machine_memory() -> u64 {
    let info = rustix::system::sysinfo();
    (info.totalram as u64).saturating_mul(info.mem_unit.into())
}

/// The time of all processors together, idle or not.
fn system_cpu() -> u64 {
    // Only the first line is wanted; the rest is long.
    let mut block = [0; 512];
    let Ok(read) = std::fs::File::open("/proc/stat").and_then(|mut f| f.read(&mut block)) else { return 0 };
    system_time(&String::from_utf8_lossy(&block[..read]))
}

fn system_time(text: &str) -> u64 {
    let Some(line) = text.lines().next().and_then(|l| l.strip_prefix("cpu ")) else { return 0 };
    // user nice system idle iowait irq softirq
    let ticks = line.split_ascii_whitespace().take(7).map(|n| n.parse::<u64>().unwrap_or(0));
    ticks.fold(0, u64::saturating_add).saturating_mul(TICK_NS)
}

/// The interfaces that it has of its own, or of the container that it has joined.
fn networks(c: &Container) -> BTreeMap<String, NetworkStats> {
    if c.record().host_config.network_mode == "host" {
        return BTreeMap::new();
    }
    let (pid, start) = c.peek(|s| (s.pid, s.pid_start));
    let text = std::fs::read_to_string(format!("/proc/{pid}/net/dev")).unwrap_or_default();
    // Read first, compared then: had the number become someone else's, the time would differ.
    match sys::process::start_time(pid) == Some(start) {
        true => interfaces(&text),
        false => BTreeMap::new(),
    }
}

/// `/proc/net/dev` without the loopback.
fn interfaces(text: &str) -> BTreeMap<String, NetworkStats> {
    let line = |line: &str| {
        let (name, counters) = line.split_once(':')?;
        let n: Vec<u64> = counters.split_ascii_whitespace().map(|n| n.parse().unwrap_or(0)).collect();
        let stats = NetworkStats {
            rx_bytes: *n.first()?,
            rx_packets: *n.get(1)?,
            rx_errors: *n.get(2)?,
            rx_dropped: *n.get(3)?,
            tx_bytes: *n.get(8)?,
            tx_packets: *n.get(9)?,
            tx_errors: *n.get(10)?,
            tx_dropped: *n.get(11)?,
        };
        Some((name.trim().to_owned(), stats))
    };
    text.lines().filter_map(line).filter(|(name, _)| name != "lo").collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Scratch(PathBuf);
    impl Scratch {
        fn new(name: &str, files: &[(&str, &str)]) -> Scratch {
            let root = std::env::temp_dir().join(format!("dhow-stats-{name}-{}", std::process::id()));
            let _ = std::fs::remove_dir_all(&root);
            for (file, text) in files {
                let path = root.join(file);
                std::fs::create_dir_all(path.parent().unwrap()).unwrap();
                std::fs::write(path, text).unwrap();
            }
            Scratch(root)
        }
    }
    impl Drop for Scratch {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn version_1() {
        let s = Scratch::new(
            "v1",
            &[
                ("pids/pids.current", "3\n"),
                ("pids/pids.max", "max\n"),
                ("cpuacct/cpuacct.usage", "5000\n"),
                ("cpuacct/cpuacct.usage_percpu", "2000 3000 \n"),
                ("cpuacct/cpuacct.stat", "user 1\nsystem 2\n"),
                ("cpu/cpu.stat", "nr_periods 4\nnr_throttled 1\nthrottled_time 77\n"),
                ("memory/memory.usage_in_bytes", "8192\n"),
                ("memory/memory.max_usage_in_bytes", "9000\n"),
                ("memory/memory.failcnt", "2\n"),
                ("memory/memory.limit_in_bytes", "9223372036854771712\n"),
                ("memory/memory.stat", "cache 1\nshmem 9\ntotal_inactive_file 4096\nhierarchical_memory_limit 7\n"),
                ("blkio/blkio.throttle.io_service_bytes_recursive", "8:16 Read 10\n8:16 Write 20\nTotal 30\n"),
            ],
        );
        let mut stats = Stats::default();
        v1(&|controller| Dir(s.0.join(controller)), 1 << 30, &mut stats);
        assert_eq!(stats.pids_stats, PidsStats { current: 3, limit: 0 });
        let cpu = &stats.cpu_stats.cpu_usage;
        assert_eq!((cpu.total_usage, &cpu.percpu_usage[..]), (5000, &[2000, 3000][..]));
        assert_eq!((cpu.usage_in_usermode, cpu.usage_in_kernelmode), (10_000_000, 20_000_000));
        assert_eq!(
            stats.cpu_stats.throttling_data,
            ThrottlingData { periods: 4, throttled_periods: 1, throttled_time: 77 }
        );
        let m = &stats.memory_stats;
        assert_eq!((m.usage, m.max_usage, m.failcnt, m.limit), (8192, 9000, 2, 1 << 30));
        assert_eq!((m.stats["cache"], m.stats["total_inactive_file"], m.stats.len()), (1, 4096, 32));
        assert!(!m.stats.contains_key("shmem"));
        let entry = |op: &str, value| BlkioEntry { major: 8, minor: 16, op: op.into(), value };
        assert_eq!(&stats.blkio_stats.io_service_bytes_recursive[..], [entry("Read", 10), entry("Write", 20)]);
    }

    #[test]
    fn version_2() {
        let s = Scratch::new(
            "v2",
            &[
                ("pids.current", "3\n"),
                ("pids.max", "max\n"),
                (
                    "cpu.stat",
                    "usage_usec 5\nuser_usec 3\nsystem_usec 2\nnr_periods 4\nnr_throttled 1\nthrottled_usec 7\n",
                ),
                ("memory.current", "8192\n"),
                ("memory.max", "max\n"),
                ("memory.stat", "anon 1\ninactive_file 4096\npercpu 5\n"),
                ("memory.events", "low 0\noom 6\noom_kill 2\n"),
                ("io.stat", "8:0 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=0 dios=0\n7:1 \n"),
            ],
        );
        let mut stats = Stats::default();
        v2(&Dir(s.0.clone()), 0, &mut stats);
        assert_eq!(stats.pids_stats, PidsStats { current: 3, limit: u64::MAX });
        assert_eq!(stats.cpu_stats.cpu_usage.total_usage, 5000);
        assert_eq!(stats.cpu_stats.throttling_data.throttled_time, 7000);
        let m = &stats.memory_stats;
        assert_eq!(
            (m.usage, m.failcnt, m.limit, m.stats["inactive_file"], m.stats.len()),
            (8192, 6, u64::MAX, 4096, 31)
        );
        let io: Vec<_> =
            stats.blkio_stats.io_service_bytes_recursive.iter().map(|e| (e.minor, &e.op[..], e.value)).collect();
        assert_eq!(io, [(0, "read", 1), (0, "write", 2), (1, "read", 0), (1, "write", 0)]);
        assert!(stats.blkio_stats.io_serviced_recursive.is_null());
    }

    #[test]
    fn the_rest() {
        assert_eq!(system_time("cpu  1 2 3 4 5 6 7 100 100 100\ncpu0 9\n"), 280_000_000);
        assert_eq!(system_time("nonsense"), 0);
        let text = "Inter-|   Receive  |  Transmit\n face |bytes    packets errs drop fifo frame compressed multicast|bytes\n\
            \u{20}   lo: 1 1 0 0 0 0 0 0 1 1 0 0 0 0 0 0\n  eth0: 10 2 3 4 0 0 0 0 50 6 7 8 0 0 0 0\n";
        let found = interfaces(text);
        assert_eq!(found.keys().collect::<Vec<_>>(), ["eth0"]);
        let e = &found["eth0"];
        assert_eq!((e.rx_bytes, e.rx_packets, e.rx_errors, e.rx_dropped), (10, 2, 3, 4));
        assert_eq!((e.tx_bytes, e.tx_packets, e.tx_errors, e.tx_dropped), (50, 6, 7, 8));
        // A container that ends while it is read.
        let mut stats = Stats::default();
        v2(&Dir("/nonexistent".into()), 0, &mut stats);
        v1(&|_| Dir("/nonexistent".into()), 0, &mut stats);
        assert_eq!(stats.cpu_stats.cpu_usage.total_usage, 0);
    }
}
