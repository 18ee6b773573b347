//! Commands about containers. Flags in the order of the alphabet, as help shows them.

use crate::flags::{Command, flag, hidden};

/// `container attach`
pub const CONTAINER_ATTACH: Command = Command {
    path: "container attach",
    top: "attach",
    other_paths: &["container attach", "attach"],
    args: "[OPTIONS] CONTAINER",
    top_args: "[OPTIONS] CONTAINER",
    about: "Attach local standard input, output, and error streams to a running container",
    least: 1,
    most: Some(1),
    interspersed: true,
    flags: &[
        flag("detach-keys", '\0', "string", "Override the key sequence for detaching a container"),
        flag("no-stdin", '\0', "bool", "Do not attach STDIN"),
        flag("sig-proxy", '\0', "bool", "Proxy all received signals to the process (default true)"),
    ],
};

/// `container commit`
pub const CONTAINER_COMMIT: Command = Command {
    path: "container commit",
    top: "commit",
    other_paths: &["container commit", "commit"],
    args: "[OPTIONS] CONTAINER [REPOSITORY[:TAG]]",
    top_args: "[OPTIONS] CONTAINER [REPOSITORY[:TAG]]",
    about: "Create a new image from a container's changes",
    least: 1,
    most: Some(2),
    interspersed: true,
    flags: &[
        flag("author", 'a', "string", "Author (e.g., \"John Hannibal Smith <hannibal@a-team.com>\")"),
        flag("change", 'c', "list", "Apply Dockerfile instruction to the created image"),
        flag("message", 'm', "string", "Commit message"),
        flag("pause", 'p', "bool", "Pause container during commit (default true)"),
    ],
};

/// `container cp`
pub const CONTAINER_CP: Command = Command {
    path: "container cp",
    top: "cp",
    other_paths: &["container cp", "cp"],
    args: "[OPTIONS] CONTAINER:SRC_PATH DEST_PATH|-\n\tdocker cp [OPTIONS] SRC_PATH|- CONTAINER:DEST_PATH",
    top_args: "[OPTIONS] CONTAINER:SRC_PATH DEST_PATH|-\n\tdocker cp [OPTIONS] SRC_PATH|- CONTAINER:DEST_PATH",
    about: "Copy files/folders between a container and the local filesystem\n\nUse '-' as the source to read a tar archive from stdin\nand extract it to a directory destination in a container.\nUse '-' as the destination to stream a tar archive of a\ncontainer source to stdout.",
    least: 2,
    most: Some(2),
    interspersed: true,
    flags: &[
        flag("archive", 'a', "bool", "Archive mode (copy all uid/gid information)"),
        flag("follow-link", 'L', "bool", "Always follow symbol link in SRC_PATH"),
        flag(
            "quiet",
            'q',
            "bool",
            "Suppress progress output during copy. Progress output is automatically suppressed if no terminal is attached",
        ),
    ],
};

/// `container diff`
pub const CONTAINER_DIFF: Command = Command {
    path: "container diff",
    top: "diff",
    other_paths: &["container diff", "diff"],
    args: "CONTAINER",
    top_args: "CONTAINER",
    about: "Inspect changes to files or directories on a container's filesystem",
    least: 1,
    most: Some(1),
    interspersed: true,
    flags: &[],
};

/// `container exec`
pub const CONTAINER_EXEC: Command = Command {
    path: "container exec",
    top: "exec",
    other_paths: &["container exec", "exec"],
    args: "[OPTIONS] CONTAINER COMMAND [ARG...]",
    top_args: "[OPTIONS] CONTAINER COMMAND [ARG...]",
    about: "Execute a command in a running container",
    least: 2,
    most: None,
    interspersed: false,
    flags: &[
        flag("detach", 'd', "bool", "Detached mode: run command in the background"),
        flag("detach-keys", '\0', "string", "Override the key sequence for detaching a container"),
        flag("env", 'e', "list", "Set environment variables"),
        flag("env-file", '\0', "list", "Read in a file of environment variables"),
        flag("interactive", 'i', "bool", "Keep STDIN open even if not attached"),
        flag("privileged", '\0', "bool", "Give extended privileges to the command"),
        flag("tty", 't', "bool", "Allocate a pseudo-TTY"),
        flag("user", 'u', "string", "Username or UID (format: \"<name|uid>[:<group|gid>]\")"),
        flag("workdir", 'w', "string", "Working directory inside the container"),
    ],
};

/// `container export`
pub const CONTAINER_EXPORT: Command = Command {
    path: "container export",
    top: "export",
    other_paths: &["container export", "export"],
    args: "[OPTIONS] CONTAINER",
    top_args: "[OPTIONS] CONTAINER",
    about: "Export a container's filesystem as a tar archive",
    least: 1,
    most: Some(1),
    interspersed: true,
    flags: &[flag("output", 'o', "string", "Write to a file, instead of STDOUT")],
};

/// `container inspect`
pub const CONTAINER_INSPECT: Command = Command {
    path: "container inspect",
    top: "",
    other_paths: &[],
    args: "[OPTIONS] CONTAINER [CONTAINER...]",
    top_args: "[OPTIONS] CONTAINER [CONTAINER...]",
    about: "Display detailed information on one or more containers",
    least: 1,
    most: None,
    interspersed: true,
    flags: &[
        flag(
            "format",
            'f',
            "string",
            "Format output using a custom template:\n'json':             Print in JSON format\n'TEMPLATE':         Print output using the given Go template.\nRefer to https://docs.docker.com/go/formatting/ for more information about formatting output with templates",
        ),
        flag("size", 's', "bool", "Display total file sizes"),
    ],
};

/// `container kill`
pub const CONTAINER_KILL: Command = Command {
    path: "container kill",
    top: "kill",
    other_paths: &["container kill", "kill"],
    args: "[OPTIONS] CONTAINER [CONTAINER...]",
    top_args: "[OPTIONS] CONTAINER [CONTAINER...]",
    about: "Kill one or more running containers",
    least: 1,
    most: None,
    interspersed: true,
    flags: &[flag("signal", 's', "string", "Signal to send to the container")],
};

/// `container logs`
pub const CONTAINER_LOGS: Command = Command {
    path: "container logs",
    top: "logs",
    other_paths: &["container logs", "logs"],
    args: "[OPTIONS] CONTAINER",
    top_args: "[OPTIONS] CONTAINER",
    about: "Fetch the logs of a container",
    least: 1,
    most: Some(1),
    interspersed: true,
    flags: &[
        flag("details", '\0', "bool", "Show extra details provided to logs"),
        flag("follow", 'f', "bool", "Follow log output"),
        flag(
            "since",
            '\0',
            "string",
            "Show logs since timestamp (e.g. \"2013-01-02T13:23:37Z\") or relative (e.g. \"42m\" for 42 minutes)",
        ),
        flag("tail", 'n', "string", "Number of lines to show from the end of the logs (default \"all\")"),
        flag("timestamps", 't', "bool", "Show timestamps"),
        flag(
            "until",
            '\0',
            "string",
            "Show logs before a timestamp (e.g. \"2013-01-02T13:23:37Z\") or relative (e.g. \"42m\" for 42 minutes)",
        ),
    ],
};

/// `container ls`
pub const CONTAINER_LS: Command = Command {
    path: "container ls",
    top: "ps",
    other_paths: &["container ls", "container list", "container ps", "ps"],
    args: "[OPTIONS]",
    top_args: "[OPTIONS]",
    about: "List containers",
    least: 0,
    most: Some(0),
    interspersed: true,
    flags: &[
        flag("all", 'a', "bool", "Show all containers (default shows just running)"),
        flag("filter", 'f', "filter", "Filter output based on conditions provided"),
        flag(
            "format",
            '\0',
            "string",
            "Format output using a custom template:\n'table':            Print output in table format with column headers (default)\n'table TEMPLATE':   Print output in table format using the given Go template\n'json':             Print in JSON format\n'TEMPLATE':         Print output using the given Go template.\nRefer to https://docs.docker.com/go/formatting/ for more information about formatting output with templates",
        ),
        flag("last", 'n', "int", "Show n last created containers (includes all states) (default -1)"),
        flag("latest", 'l', "bool", "Show the latest created container (includes all states)"),
        flag("no-trunc", '\0', "bool", "Don't truncate output"),
        flag("quiet", 'q', "bool", "Only display container IDs"),
        flag("size", 's', "bool", "Display total file sizes"),
    ],
};

/// `container pause`
pub const CONTAINER_PAUSE: Command = Command {
    path: "container pause",
    top: "pause",
    other_paths: &["container pause", "pause"],
    args: "CONTAINER [CONTAINER...]",
    top_args: "CONTAINER [CONTAINER...]",
    about: "Pause all processes within one or more containers",
    least: 1,
    most: None,
    interspersed: true,
    flags: &[],
};

/// `container port`
pub const CONTAINER_PORT: Command = Command {
    path: "container port",
    top: "port",
    other_paths: &["container port", "port"],
    args: "CONTAINER [PRIVATE_PORT[/PROTO]]",
    top_args: "CONTAINER [PRIVATE_PORT[/PROTO]]",
    about: "List port mappings or a specific mapping for the container",
    least: 1,
    most: Some(2),
    interspersed: true,
    flags: &[],
};

/// `container prune`
pub const CONTAINER_PRUNE: Command = Command {
    path: "container prune",
    top: "",
    other_paths: &[],
    args: "[OPTIONS]",
    top_args: "[OPTIONS]",
    about: "Remove all stopped containers",
    least: 0,
    most: Some(0),
    interspersed: true,
    flags: &[
        flag("filter", '\0', "filter", "Provide filter values (e.g. \"until=<timestamp>\")"),
        flag("force", 'f', "bool", "Do not prompt for confirmation"),
    ],
};

/// `container rename`
pub const CONTAINER_RENAME: Command = Command {
    path: "container rename",
    top: "rename",
    other_paths: &["container rename", "rename"],
    args: "CONTAINER NEW_NAME",
    top_args: "CONTAINER NEW_NAME",
    about: "Rename a container",
    least: 2,
    most: Some(2),
    interspersed: true,
    flags: &[],
};

/// `container restart`
pub const CONTAINER_RESTART: Command = Command {
    path: "container restart",
    top: "restart",
    other_paths: &["container restart", "restart"],
    args: "[OPTIONS] CONTAINER [CONTAINER...]",
    top_args: "[OPTIONS] CONTAINER [CONTAINER...]",
    about: "Restart one or more containers",
    least: 1,
    most: None,
    interspersed: true,
    flags: &[
        flag("signal", 's', "string", "Signal to send to the container"),
        hidden("time", '\0', "int", ""),
        flag("timeout", 't', "int", "Seconds to wait before killing the container"),
    ],
};

/// `container rm`
pub const CONTAINER_RM: Command = Command {
    path: "container rm",
    top: "rm",
    other_paths: &["container rm", "container remove", "rm"],
    args: "[OPTIONS] CONTAINER [CONTAINER...]",
    top_args: "[OPTIONS] CONTAINER [CONTAINER...]",
    about: "Remove one or more containers",
    least: 1,
    most: None,
    interspersed: true,
    flags: &[
        flag("force", 'f', "bool", "Force the removal of a running container (uses SIGKILL)"),
        flag("link", 'l', "bool", "Remove the specified link"),
        flag("volumes", 'v', "bool", "Remove anonymous volumes associated with the container"),
    ],
};

/// `container start`
pub const CONTAINER_START: Command = Command {
    path: "container start",
    top: "start",
    other_paths: &["container start", "start"],
    args: "[OPTIONS] CONTAINER [CONTAINER...]",
    top_args: "[OPTIONS] CONTAINER [CONTAINER...]",
    about: "Start one or more stopped containers",
    least: 1,
    most: None,
    interspersed: true,
    flags: &[
        flag("attach", 'a', "bool", "Attach STDOUT/STDERR and forward signals"),
        flag("checkpoint", '\0', "string", "Restore from this checkpoint"),
        flag("checkpoint-dir", '\0', "string", "Use a custom checkpoint storage directory"),
        flag("detach-keys", '\0', "string", "Override the key sequence for detaching a container"),
        flag("interactive", 'i', "bool", "Attach container's STDIN"),
    ],
};

/// `container stats`
pub const CONTAINER_STATS: Command = Command {
    path: "container stats",
    top: "stats",
    other_paths: &["container stats", "stats"],
    args: "[OPTIONS] [CONTAINER...]",
    top_args: "[OPTIONS] [CONTAINER...]",
    about: "Display a live stream of container(s) resource usage statistics",
    least: 0,
    most: None,
    interspersed: true,
    flags: &[
        flag("all", 'a', "bool", "Show all containers (default shows just running)"),
        flag(
            "format",
            '\0',
            "string",
            "Format output using a custom template:\n'table':            Print output in table format with column headers (default)\n'table TEMPLATE':   Print output in table format using the given Go template\n'json':             Print in JSON format\n'TEMPLATE':         Print output using the given Go template.\nRefer to https://docs.docker.com/go/formatting/ for more information about formatting output with templates",
        ),
        flag("no-stream", '\0', "bool", "Disable streaming stats and only pull the first result"),
        flag("no-trunc", '\0', "bool", "Do not truncate output"),
    ],
};

/// `container stop`
pub const CONTAINER_STOP: Command = Command {
    path: "container stop",
    top: "stop",
    other_paths: &["container stop", "stop"],
    args: "[OPTIONS] CONTAINER [CONTAINER...]",
    top_args: "[OPTIONS] CONTAINER [CONTAINER...]",
    about: "Stop one or more running containers",
    least: 1,
    most: None,
    interspersed: true,
    flags: &[
        flag("signal", 's', "string", "Signal to send to the container"),
        hidden("time", '\0', "int", ""),
        flag("timeout", 't', "int", "Seconds to wait before killing the container"),
    ],
};

/// `container top`
pub const CONTAINER_TOP: Command = Command {
    path: "container top",
    top: "top",
    other_paths: &["container top", "top"],
    args: "CONTAINER [ps OPTIONS]",
    top_args: "CONTAINER [ps OPTIONS]",
    about: "Display the running processes of a container",
    least: 1,
    most: None,
    interspersed: false,
    flags: &[],
};

/// `container unpause`
pub const CONTAINER_UNPAUSE: Command = Command {
    path: "container unpause",
    top: "unpause",
    other_paths: &["container unpause", "unpause"],
    args: "CONTAINER [CONTAINER...]",
    top_args: "CONTAINER [CONTAINER...]",
    about: "Unpause all processes within one or more containers",
    least: 1,
    most: None,
    interspersed: true,
    flags: &[],
};

/// `container update`
pub const CONTAINER_UPDATE: Command = Command {
    path: "container update",
    top: "update",
    other_paths: &["container update", "update"],
    args: "[OPTIONS] CONTAINER [CONTAINER...]",
    top_args: "[OPTIONS] CONTAINER [CONTAINER...]",
    about: "Update configuration of one or more containers",
    least: 1,
    most: None,
    interspersed: true,
    flags: &[
        flag(
            "blkio-weight",
            '\0',
            "uint16",
            "Block IO (relative weight), between 10 and 1000, or 0 to disable (default 0)",
        ),
        flag("cpu-period", '\0', "int", "Limit CPU CFS (Completely Fair Scheduler) period"),
        flag("cpu-quota", '\0', "int", "Limit CPU CFS (Completely Fair Scheduler) quota"),
        flag("cpu-rt-period", '\0', "int", "Limit the CPU real-time period in microseconds"),
        flag("cpu-rt-runtime", '\0', "int", "Limit the CPU real-time runtime in microseconds"),
        flag("cpu-shares", 'c', "int", "CPU shares (relative weight)"),
        flag("cpus", '\0', "decimal", "Number of CPUs"),
        flag("cpuset-cpus", '\0', "string", "CPUs in which to allow execution (0-3, 0,1)"),
        flag("cpuset-mems", '\0', "string", "MEMs in which to allow execution (0-3, 0,1)"),
        hidden("kernel-memory", '\0', "bytes", ""),
        flag("memory", 'm', "bytes", "Memory limit"),
        flag("memory-reservation", '\0', "bytes", "Memory soft limit"),
        flag("memory-swap", '\0', "bytes", "Swap limit equal to memory plus swap: -1 to enable unlimited swap"),
        flag("pids-limit", '\0', "int", "Tune container pids limit (set -1 for unlimited)"),
        flag("restart", '\0', "string", "Restart policy to apply when a container exits"),
    ],
};

/// `container wait`
pub const CONTAINER_WAIT: Command = Command {
    path: "container wait",
    top: "wait",
    other_paths: &["container wait", "wait"],
    args: "CONTAINER [CONTAINER...]",
    top_args: "CONTAINER [CONTAINER...]",
    about: "Block until one or more containers stop, then print their exit codes",
    least: 1,
    most: None,
    interspersed: true,
    flags: &[],
};
