//! What this machine is and can do. Read once when the engine starts; everything that decides is handed it as data.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Facts about the machine.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Host {
    /// As seccomp profiles name it: `amd64` …
    pub arch: String,
    /// Major and minor of the kernel.
    pub kernel: (u32, u32),
    /// How many CPUs are online.
    pub cpus: usize,
    /// `0-3`
    pub cpu_list: String,
    /// `0`
    pub memory_nodes: String,
    /// The capabilities that the engine has itself and so can give: bit n is capability n.
    pub capabilities: u64,
    /// Paths of `/sys/devices/system/cpu/cpuN/thermal_throttle` that exist.
    pub thermal: Vec<String>,
    /// AppArmor is on.
    pub apparmor: bool,
    /// What control groups can do.
    pub cgroups: Cgroups,
}

/// Which limits the kernel has.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[allow(missing_docs)]
pub struct Cgroups {
    /// Version 2 alone.
    pub unified: bool,
    pub memory: bool,
    pub swap: bool,
    pub reservation: bool,
    pub swappiness: bool,
    pub oom_kill_disable: bool,
    pub cpu_shares: bool,
    pub cpu_quota: bool,
    pub cpu_realtime: bool,
    pub cpuset: bool,
    pub pids: bool,
    pub blkio_weight: bool,
    pub blkio_weight_device: bool,
    pub blkio_throttle: bool,
}

fn read(path: impl AsRef<Path>) -> String {
    std::fs::read_to_string(path).unwrap_or_default().trim().to_owned()
}

impl Host {
    /// Looks.
    pub fn look() -> Host {
        let release = rustix::system::uname().release().to_string_lossy().into_owned();
        let cpu_list = read("/sys/devices/system/cpu/online");
        let cpu_list = if cpu_list.is_empty() { "0".to_owned() } else { cpu_list };
        let nodes = read("/sys/devices/system/node/online");
        let thermal = list(&read("/sys/devices/system/cpu/possible")).unwrap_or_default();
        let thermal = thermal.into_iter().map(|n| format!("/sys/devices/system/cpu/cpu{n}/thermal_throttle"));
        Host {
            arch: crate::seccomp::native_arch().to_owned(),
            kernel: crate::seccomp::kernel(&release).unwrap_or_default(),
            cpus: list(&cpu_list).map_or(1, |l| l.len().max(1)),
            cpu_list,
            memory_nodes: if nodes.is_empty() { "0".to_owned() } else { nodes },
            capabilities: sys::caps::capget().map_or(0, |sets| sets.effective),
            thermal: thermal.filter(|p| Path::new(p).exists()).collect(),
            apparmor: read("/sys/module/apparmor/parameters/enabled").starts_with('Y'),
            cgroups: Cgroups::look(&read("/proc/self/mountinfo")),
        }
    }
}

impl Cgroups {
    fn look(mountinfo: &str) -> Cgroups {
        let (v1, unified) = mounts(mountinfo);
        match v1.is_empty() {
            true => unified.map(|root| Cgroups::v2(&root)).unwrap_or_default(),
            false => Cgroups::v1(&v1),
        }
    }

    fn v2(root: &Path) -> Cgroups {
        let controllers = read(root.join("cgroup.controllers"));
        let has = |c: &str| controllers.split_whitespace().any(|x| x == c);
        Cgroups {
            unified: true,
            memory: has("memory"),
            swap: has("memory") && Path::new("/proc/swaps").exists(),
            reservation: has("memory"),
            cpu_shares: has("cpu"),
            cpu_quota: has("cpu"),
            cpuset: has("cpuset"),
            pids: has("pids"),
            blkio_weight: has("io"),
            blkio_weight_device: has("io"),
            blkio_throttle: has("io"),
            ..Cgroups::default()
        }
    }

    fn v1(roots: &[(BTreeSet<String>, PathBuf)]) -> Cgroups {
        let root = |c: &str| roots.iter().find(|(names, _)| names.contains(c)).map(|(_, path)| path);
        let file = |c: &str, name: &str| root(c).is_some_and(|r| r.join(name).exists());
        Cgroups {
            unified: false,
            memory: root("memory").is_some(),
            swap: file("memory", "memory.memsw.limit_in_bytes"),
            reservation: file("memory", "memory.soft_limit_in_bytes"),
            swappiness: file("memory", "memory.swappiness"),
            oom_kill_disable: file("memory", "memory.oom_control"),
            cpu_shares: file("cpu", "cpu.shares"),
            cpu_quota: file("cpu", "cpu.cfs_quota_us"),
            cpu_realtime: file("cpu", "cpu.rt_period_us"),
            cpuset: root("cpuset").is_some(),
            pids: root("pids").is_some(),
            blkio_weight: file("blkio", "blkio.weight") || file("blkio", "blkio.bfq.weight"),
            blkio_weight_device: file("blkio", "blkio.weight_device") || file("blkio", "blkio.bfq.weight_device"),
            blkio_throttle: file("blkio", "blkio.throttle.read_bps_device"),
        }
    }
}

/// A set of v1 controllers and where it is mounted.
type Hierarchy = (BTreeSet<String>, PathBuf);

/// The v1 hierarchies with a controller, and the v2 mount.
fn mounts(mountinfo: &str) -> (Vec<Hierarchy>, Option<PathBuf>) {
    let (mut v1, mut v2) = (Vec::new(), None);
    for line in mountinfo.lines() {
        let Some((left, right)) = line.split_once(" - ") else { continue };
        let Some(point) = left.split(' ').nth(4) else { continue };
        let mut right = right.split(' ');
        match (right.next(), right.nth(1)) {
            (Some("cgroup2"), _) => v2 = v2.or(Some(PathBuf::from(point))),
            (Some("cgroup"), Some(options)) => {
                let names: BTreeSet<String> = options
                    .split(',')
                    .filter(|o| !matches!(*o, "rw" | "ro" | "xattr" | "none") && !o.contains('='))
                    .map(str::to_owned)
                    .collect();
                if !names.is_empty() {
                    v1.push((names, PathBuf::from(point)));
                }
            }
            _ => {}
        }
    }
    (v1, v2)
}

/// The numbers of `0-2,5`, ascending; `None` when it is not of that form.
pub(crate) fn list(text: &str) -> Option<BTreeSet<u32>> {
    const HIGHEST: u32 = 8192;
    let mut out = BTreeSet::new();
    if text.is_empty() {
        return Some(out);
    }
    let number = |n: &str| n.parse::<u32>().ok().filter(|v| *v <= HIGHEST && n.bytes().all(|b| b.is_ascii_digit()));
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last) = (number(first)?, number(last)?);
        if first > last {
            return None;
        }
        out.extend(first..=last);
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_numbers() {
        let get = |t: &str| list(t).map(|l| l.into_iter().collect::<Vec<_>>());
        assert_eq!(get("0-2,5"), Some(vec![0, 1, 2, 5]));
        assert_eq!(get(""), Some(vec![]));
        for bad in ["a", "1-", "-1", "2-1", "1,,2", "+1", "1-99999999", " 1"] {
            assert_eq!(get(bad), None, "{bad}");
        }
    }

    #[test]
    fn hierarchies_of_mountinfo() {
        let text = "30 25 0:26 / /sys/fs/cgroup/unified rw shared:9 - cgroup2 cgroup2 rw\n\
            31 25 0:27 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,name=systemd\n\
            32 25 0:28 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n";
        let (v1, v2) = mounts(text);
        assert_eq!(v2, Some(PathBuf::from("/sys/fs/cgroup/unified")));
        assert_eq!(v1.len(), 1);
        assert!(v1[0].0.contains("cpuacct"));
    }
}
