//! The two commands that make containers. Flags in the order of the alphabet, as help shows them.

use crate::flags::{Command, Flag, flag, hidden};

/// `container run`
pub const CONTAINER_RUN: Command = Command {
    path: "container run",
    top: "run",
    other_paths: &["container run", "run"],
    args: "[OPTIONS] IMAGE [COMMAND] [ARG...]",
    top_args: "[OPTIONS] IMAGE [COMMAND] [ARG...]",
    about: "Create and run a new container from an image",
    least: 1,
    most: None,
    interspersed: false,
    flags: &RUN_FLAGS,
};

/// `container create`
pub const CONTAINER_CREATE: Command = Command {
    path: "container create",
    top: "create",
    other_paths: &["container create", "create"],
    args: "[OPTIONS] IMAGE [COMMAND] [ARG...]",
    top_args: "[OPTIONS] IMAGE [COMMAND] [ARG...]",
    about: "Create a new container",
    least: 1,
    most: None,
    interspersed: false,
    flags: &CREATE_FLAGS,
};

/// Flags of `run` that `create` has not: nobody is attached to what does not run yet.
const RUN_ONLY: [&str; 3] = ["detach", "detach-keys", "sig-proxy"];

const CREATE_FLAGS: [Flag; RUN_FLAGS.len() - RUN_ONLY.len()] = {
    let mut flags = [RUN_FLAGS[0]; RUN_FLAGS.len() - RUN_ONLY.len()];
    let (mut from, mut to) = (0, 0);
    while from < RUN_FLAGS.len() {
        let flag = RUN_FLAGS[from];
        if !is_one_of(flag.name, &RUN_ONLY) {
            flags[to] = flag;
            if is_one_of(flag.name, &["pull"]) {
                // the bar before `missing` is Docker's
                flags[to].usage =
                    "Pull image before creating (\"always\", \"|missing\", \"never\") (default \"missing\")";
            }
            to += 1;
        }
        from += 1;
    }
    flags
};

/// Whether a name is among others; comparing strings is no constant operation yet.
const fn is_one_of(name: &str, names: &[&str]) -> bool {
    let (name, mut which) = (name.as_bytes(), 0);
    while which < names.len() {
        let (other, mut at) = (names[which].as_bytes(), 0);
        while at < name.len() && at < other.len() && name[at] == other[at] {
            at += 1;
        }
        if at == name.len() && at == other.len() {
            return true;
        }
        which += 1;
    }
    false
}

const RUN_FLAGS: [Flag; 108] = [
    flag("add-host", '\0', "list", "Add a custom host-to-IP mapping (host:ip)"),
    flag(
        "annotation",
        '\0',
        "map",
        "Add an annotation to the container (passed through to the OCI runtime) (default map[])",
    ),
    flag("attach", 'a', "list", "Attach to STDIN, STDOUT or STDERR"),
    flag(
        "blkio-weight",
        '\0',
        "uint16",
        "Block IO (relative weight), between 10 and 1000, or 0 to disable (default 0)",
    ),
    flag("blkio-weight-device", '\0', "list", "Block IO weight (relative device weight) (default [])"),
    flag("cap-add", '\0', "list", "Add Linux capabilities"),
    flag("cap-drop", '\0', "list", "Drop Linux capabilities"),
    flag("cgroup-parent", '\0', "string", "Optional parent cgroup for the container"),
    flag(
        "cgroupns",
        '\0',
        "string",
        "Cgroup namespace to use (host|private)\n'host':    Run the container in the Docker host's cgroup namespace\n'private': Run the container in its own private cgroup namespace\n'':        Use the cgroup namespace as configured by the\n           default-cgroupns-mode option on the daemon (default)",
    ),
    flag("cidfile", '\0', "string", "Write the container ID to the file"),
    hidden("cpu-count", '\0', "int", "CPU count (Windows only)"),
    hidden("cpu-percent", '\0', "int", "CPU percent (Windows only)"),
    flag("cpu-period", '\0', "int", "Limit CPU CFS (Completely Fair Scheduler) period"),
    flag("cpu-quota", '\0', "int", "Limit CPU CFS (Completely Fair Scheduler) quota"),
    flag("cpu-rt-period", '\0', "int", "Limit CPU real-time period in microseconds"),
    flag("cpu-rt-runtime", '\0', "int", "Limit CPU real-time runtime in microseconds"),
    flag("cpu-shares", 'c', "int", "CPU shares (relative weight)"),
    flag("cpus", '\0', "decimal", "Number of CPUs"),
    flag("cpuset-cpus", '\0', "string", "CPUs in which to allow execution (0-3, 0,1)"),
    flag("cpuset-mems", '\0', "string", "MEMs in which to allow execution (0-3, 0,1)"),
    flag("detach", 'd', "bool", "Run container in background and print container ID"),
    flag("detach-keys", '\0', "string", "Override the key sequence for detaching a container"),
    flag("device", '\0', "list", "Add a host device to the container"),
    flag("device-cgroup-rule", '\0', "list", "Add a rule to the cgroup allowed devices list"),
    flag("device-read-bps", '\0', "list", "Limit read rate (bytes per second) from a device (default [])"),
    flag("device-read-iops", '\0', "list", "Limit read rate (IO per second) from a device (default [])"),
    flag("device-write-bps", '\0', "list", "Limit write rate (bytes per second) to a device (default [])"),
    flag("device-write-iops", '\0', "list", "Limit write rate (IO per second) to a device (default [])"),
    flag("disable-content-trust", '\0', "bool", "Skip image verification (default true)"),
    flag("dns", '\0', "list", "Set custom DNS servers"),
    hidden("dns-opt", '\0', "list", ""),
    flag("dns-option", '\0', "list", "Set DNS options"),
    flag("dns-search", '\0', "list", "Set custom DNS search domains"),
    flag("domainname", '\0', "string", "Container NIS domain name"),
    flag("entrypoint", '\0', "string", "Overwrite the default ENTRYPOINT of the image"),
    flag("env", 'e', "list", "Set environment variables"),
    flag("env-file", '\0', "list", "Read in a file of environment variables"),
    flag("expose", '\0', "list", "Expose a port or a range of ports"),
    flag("gpus", '\0', "gpu-request", "GPU devices to add to the container ('all' to pass all GPUs)"),
    flag("group-add", '\0', "list", "Add additional groups to join"),
    flag("health-cmd", '\0', "string", "Command to run to check health"),
    flag("health-interval", '\0', "duration", "Time between running the check (ms|s|m|h) (default 0s)"),
    flag("health-retries", '\0', "int", "Consecutive failures needed to report unhealthy"),
    flag(
        "health-start-interval",
        '\0',
        "duration",
        "Time between running the check during the start period (ms|s|m|h) (default 0s)",
    ),
    flag(
        "health-start-period",
        '\0',
        "duration",
        "Start period for the container to initialize before starting health-retries countdown (ms|s|m|h) (default 0s)",
    ),
    flag("health-timeout", '\0', "duration", "Maximum time to allow one check to run (ms|s|m|h) (default 0s)"),
    flag("help", '\0', "bool", "Print usage"),
    flag("hostname", 'h', "string", "Container host name"),
    flag("init", '\0', "bool", "Run an init inside the container that forwards signals and reaps processes"),
    flag("interactive", 'i', "bool", "Keep STDIN open even if not attached"),
    hidden("io-maxbandwidth", '\0', "bytes", "Maximum IO bandwidth limit for the system drive (Windows only)"),
    hidden("io-maxiops", '\0', "uint", "Maximum IOps limit for the system drive (Windows only)"),
    flag("ip", '\0', "string", "IPv4 address (e.g., 172.30.100.104)"),
    flag("ip6", '\0', "string", "IPv6 address (e.g., 2001:db8::33)"),
    flag("ipc", '\0', "string", "IPC mode to use"),
    flag("isolation", '\0', "string", "Container isolation technology"),
    flag("kernel-memory", '\0', "bytes", "Kernel memory limit"),
    hidden("kernel-memory", '\0', "bytes", ""),
    flag("label", 'l', "list", "Set meta data on a container"),
    flag("label-file", '\0', "list", "Read in a line delimited file of labels"),
    flag("link", '\0', "list", "Add link to another container"),
    flag("link-local-ip", '\0', "list", "Container IPv4/IPv6 link-local addresses"),
    flag("log-driver", '\0', "string", "Logging driver for the container"),
    flag("log-opt", '\0', "list", "Log driver options"),
    flag("mac-address", '\0', "string", "Container MAC address (e.g., 92:d0:c6:0a:29:33)"),
    flag("memory", 'm', "bytes", "Memory limit"),
    flag("memory-reservation", '\0', "bytes", "Memory soft limit"),
    flag("memory-swap", '\0', "bytes", "Swap limit equal to memory plus swap: '-1' to enable unlimited swap"),
    flag("memory-swappiness", '\0', "int", "Tune container memory swappiness (0 to 100) (default -1)"),
    flag("mount", '\0', "mount", "Attach a filesystem mount to the container"),
    flag("name", '\0', "string", "Assign a name to the container"),
    hidden("net", '\0', "network", ""),
    hidden("net-alias", '\0', "list", ""),
    flag("network", '\0', "network", "Connect a container to a network"),
    flag("network-alias", '\0', "list", "Add network-scoped alias for the container"),
    flag("no-healthcheck", '\0', "bool", "Disable any container-specified HEALTHCHECK"),
    flag("oom-kill-disable", '\0', "bool", "Disable OOM Killer"),
    flag("oom-score-adj", '\0', "int", "Tune host's OOM preferences (-1000 to 1000)"),
    flag("pid", '\0', "string", "PID namespace to use"),
    flag("pids-limit", '\0', "int", "Tune container pids limit (set -1 for unlimited)"),
    flag("platform", '\0', "string", "Set platform if server is multi-platform capable"),
    flag("privileged", '\0', "bool", "Give extended privileges to this container"),
    flag("publish", 'p', "list", "Publish a container's port(s) to the host"),
    flag("publish-all", 'P', "bool", "Publish all exposed ports to random ports"),
    flag(
        "pull",
        '\0',
        "string",
        "Pull image before running (\"always\", \"missing\", \"never\") (default \"missing\")",
    ),
    flag("quiet", 'q', "bool", "Suppress the pull output"),
    flag("read-only", '\0', "bool", "Mount the container's root filesystem as read only"),
    flag("restart", '\0', "string", "Restart policy to apply when a container exits (default \"no\")"),
    flag("rm", '\0', "bool", "Automatically remove the container and its associated anonymous volumes when it exits"),
    flag("runtime", '\0', "string", "Runtime to use for this container"),
    flag("security-opt", '\0', "list", "Security Options"),
    flag("shm-size", '\0', "bytes", "Size of /dev/shm"),
    flag("sig-proxy", '\0', "bool", "Proxy received signals to the process (default true)"),
    flag("stop-signal", '\0', "string", "Signal to stop the container"),
    flag("stop-timeout", '\0', "int", "Timeout (in seconds) to stop a container"),
    flag("storage-opt", '\0', "list", "Storage driver options for the container"),
    flag("sysctl", '\0', "map", "Sysctl options (default map[])"),
    flag("tmpfs", '\0', "list", "Mount a tmpfs directory"),
    flag("tty", 't', "bool", "Allocate a pseudo-TTY"),
    flag("ulimit", '\0', "ulimit", "Ulimit options (default [])"),
    flag("use-api-socket", '\0', "bool", "Bind mount Docker API socket and required auth"),
    flag("user", 'u', "string", "Username or UID (format: <name|uid>[:<group|gid>])"),
    flag("userns", '\0', "string", "User namespace to use"),
    flag("uts", '\0', "string", "UTS namespace to use"),
    flag("volume", 'v', "list", "Bind mount a volume"),
    flag("volume-driver", '\0', "string", "Optional volume driver for the container"),
    flag("volumes-from", '\0', "list", "Mount volumes from the specified container(s)"),
    flag("workdir", 'w', "string", "Working directory inside the container"),
];
