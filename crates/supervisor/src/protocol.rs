//! What passes between the daemon and a supervisor. Version 1.
//!
//! The daemon starts `dhow-init supervise` with one end of a `SOCK_STREAM` socket pair as its standard input and sends
//! one [`Launch`]: a 4-byte big-endian length, then JSON; the descriptors that [`Launch::fds`] counts ride on the first
//! bytes (`SCM_RIGHTS`, 64 at a time). The supervisor answers one line of JSON, a [`Started`]. It never answers twice; the socket
//! then stays open and its end of file tells the daemon that the supervisor has ended and `exit.json` can be read.
//!
//! From then on the supervisor listens on `<run>/sock`. Each connection begins with one line of JSON, a [`Request`], and
//! is answered by one line of JSON, a [`Reply`]. After `Ok` of `Attach` and `Exec` the connection carries frames:
//!
//! ```text
//! supervisor → daemon   [kind, 0, 0, 0, length BE32] payload      kind 1 stdout, 2 stderr: Docker's own framing
//!                       kind 3: one JSON ExecExit (of an exec, the last frame) or ExitRecord (of an attach)
//! daemon → supervisor   raw bytes for stdin; shutdown(SHUT_WR) is its end of file
//! ```
//!
//! On `Watch` and on the launch socket the supervisor says nothing but [`OOM`], one byte, whenever the kernel has killed
//! a process of the container for want of memory; the end of file means that the container has ended. After a daemon
//! restart a `Watch` takes the place of the launch socket.

use crate::log::Format;
use oci::runtime::{Mount, Process, Spec};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// The version of this protocol and of the records below.
pub const VERSION: u32 = 1;
/// The longest `Launch` and the longest request line, in bytes.
pub const MAX_MESSAGE: usize = 16 << 20;
/// In the length before the first message: what follows is no launch but a filter (JSON) to be compiled while there is
/// nothing else to do. The launch comes after it.
pub const AHEAD: u32 = 1 << 31;
/// What a supervisor says on a silent connection when the container has run out of memory.
pub const OOM: u8 = b'o';
/// Name of the control socket in [`Launch::run_dir`].
pub const SOCKET: &str = "sock";
/// Name of the [`StartRecord`] in [`Launch::run_dir`].
pub const START_RECORD: &str = "start.json";
/// Name of the [`ExitRecord`] in [`Launch::state_dir`], or in [`Launch::run_dir`] when the former has no room.
pub const EXIT_RECORD: &str = "exit.json";

/// All that a supervisor needs to start one container.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Launch {
    /// [`VERSION`].
    pub version: u32,
    /// The container's ID: 64 hex digits.
    pub id: String,
    /// Durable directory of the container: the exit record goes here.
    pub state_dir: PathBuf,
    /// Directory on tmpfs that the supervisor makes, uses and, at its end, empties.
    pub run_dir: PathBuf,
    /// What to run. `root.path` is unused when [`Launch::rootfs`] is there.
    pub spec: Spec,
    /// Mount of the root file system, made inside the container's own mount namespace: type `overlay` with
    /// `lowerdir=`, `upperdir=`, `workdir=` (paths relative to [`Launch::rootfs_base`]), or a bind.
    pub rootfs: Option<Mount>,
    /// The directory that relative paths in the options of `rootfs` start from.
    pub rootfs_base: PathBuf,
    /// Keep stdin open for attached clients.
    pub open_stdin: bool,
    /// Close stdin when the first attached client with stdin leaves.
    pub stdin_once: bool,
    /// Where output goes.
    pub log: Log,
    /// A foreign OCI runtime to run instead of the built-in one.
    pub runtime: Option<ForeignRuntime>,
    /// systemd makes the cgroup, which the spec names as `slice:prefix:name` then.
    #[serde(default)]
    pub systemd_cgroup: bool,
    /// Put an init process (`dhow-init init`) before the command, as PID 1.
    pub init: bool,
    /// The filter of the spec is the one that was sent ahead ([`AHEAD`]), and left out here.
    #[serde(default)]
    pub filter_ahead: bool,
    /// What the descriptors that come with this message are, in their order.
    pub fds: Vec<PassedFd>,
}

impl Launch {
    /// Where the container's cgroup will be, below the cgroup root.
    pub fn cgroup(&self) -> String {
        let asked = self.spec.linux.as_ref().map_or("", |linux| linux.cgroups_path.as_str());
        match oci::Scope::parse(asked, &self.id, "system.slice") {
            Ok(scope) if self.systemd_cgroup => scope.cgroup(),
            _ => asked.into(),
        }
    }
}

/// The meaning of one passed descriptor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PassedFd {
    /// The network namespace to join; it stands in for the path of the spec's `network` namespace.
    NetworkNamespace,
    /// A sysfs of that namespace, mounted nowhere yet.
    Sysfs,
    /// A mount namespace without the host's mounts, to make the container's of.
    BareMounts,
    /// A bound socket that reserves a published port: kept open until the container ends.
    Port,
    /// A connected stream socket that is attached before the command runs, so that not a byte of output is missed:
    /// frames as after `Ok` of [`Request::Attach`], without the line before them.
    Attach {
        /// Feed stdin from it.
        stdin: bool,
        /// Send stdout (of a terminal: everything).
        stdout: bool,
        /// Send stderr.
        stderr: bool,
    },
}

/// Where a container's output goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "driver", rename_all = "kebab-case")]
pub enum Log {
    /// Nowhere.
    None,
    /// Docker's json-file format.
    JsonFile(LogFile),
    /// The format of Docker's `local` driver.
    Local(LogFile),
}

/// The files of a log.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogFile {
    /// The current file; rotated ones are `path.1` (newest), `path.2` …
    pub path: PathBuf,
    /// Rotate when the file would grow past this many bytes; `None` never.
    pub max_size: Option<u64>,
    /// How many files to keep, the current one included; at least 1.
    pub max_file: u32,
    /// Compress rotated files, which are called `path.1.gz` … then.
    #[serde(default)]
    pub compress: bool,
    /// What every record says beside its text.
    #[serde(default)]
    pub attrs: Vec<(String, String)>,
    /// Keep at most so many bytes in memory and drop lines that find no room there, rather than let the container wait
    /// for the disk; `None`: it waits.
    #[serde(default)]
    pub buffer: Option<u64>,
}

impl LogFile {
    /// One file that grows without end.
    pub fn new(path: PathBuf) -> LogFile {
        LogFile { path, max_file: 1, ..LogFile::default() }
    }
}

impl Log {
    /// The files and how they are written, if there are any.
    pub fn files(&self) -> Option<(Format, &LogFile)> {
        match self {
            Log::None => None,
            Log::JsonFile(file) => Some((Format::Json, file)),
            Log::Local(file) => Some((Format::Local, file)),
        }
    }
}

/// An OCI runtime by path, with its extra arguments.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ForeignRuntime {
    /// Absolute path.
    pub path: PathBuf,
    /// Before the sub-command.
    pub args: Vec<String>,
}

/// The one answer to a [`Launch`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Started {
    /// The command has been executed.
    Ok(StartRecord),
    /// Nothing is left of the attempt.
    Failed(Failure),
}

/// A process, named so that a reused number is noticed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StartRecord {
    /// [`VERSION`].
    pub version: u32,
    /// PID of the container's first process in the host's pid namespace.
    pub pid: i32,
    /// Its start time, field 22 of `/proc/<pid>/stat`, in clock ticks since boot.
    pub start_time: u64,
    /// PID of the supervisor.
    pub supervisor: i32,
    /// Its start time.
    pub supervisor_start_time: u64,
    /// When the command was executed, nanoseconds since the epoch.
    pub started_ns: u64,
    /// The container's cgroup below the cgroup root (or, on v1, below each controller's root): `/dhow/<id>`.
    pub cgroup: String,
}

/// How a container ended. Written once, by the supervisor alone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExitRecord {
    /// [`VERSION`].
    pub version: u32,
    /// Which run this is the end of: [`StartRecord::started_ns`].
    pub started_ns: u64,
    /// 0-255, or 128 + signal.
    pub code: i32,
    /// The signal that ended it, if one did.
    pub signal: Option<i32>,
    /// The kernel killed a process of it for want of memory.
    pub oom_killed: bool,
    /// Nanoseconds since the epoch.
    pub finished_ns: u64,
}

/// Why a start or an exec did not happen; crosses processes as data.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// The step that failed: `mount /proc`, `exec`, `cgroup memory` …
    pub stage: String,
    /// What it means to the caller.
    pub kind: FailureKind,
    /// The system call's error, or 0.
    pub errno: i32,
    /// The whole sentence for the user, in runc's words where clients search for them.
    pub text: String,
}

/// What a caller does about a [`Failure`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FailureKind {
    /// The command does not exist: exit code 127.
    CommandNotFound,
    /// The command cannot be executed: exit code 126.
    NotExecutable,
    /// The configuration asks for something impossible: exit code 125 … 128.
    Invalid,
    /// The system refused.
    System,
}

/// The first line of a connection to `<run>/sock`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Request {
    /// Follow the container's streams.
    Attach {
        /// Feed stdin from this connection.
        stdin: bool,
        /// Send stdout (of a terminal: everything).
        stdout: bool,
        /// Send stderr.
        stderr: bool,
    },
    /// Run another process in the container.
    Exec(Box<Exec>),
    /// Set the size of the terminal of the container, or of one exec.
    Resize {
        /// Which exec; `None` is the container.
        exec: Option<String>,
        /// Lines.
        height: u16,
        /// Columns.
        width: u16,
    },
    /// Send a signal to the first process, or to an exec.
    Signal {
        /// Which exec; `None` is the container.
        exec: Option<String>,
        /// The number.
        signal: i32,
    },
    /// Send a signal to every process of the container.
    SignalAll {
        /// The number.
        signal: i32,
    },
    /// Stop every process until [`Request::Resume`].
    Pause,
    /// Go on.
    Resume,
    /// The PIDs of all its processes, as the host sees them.
    Processes,
    /// Change limits of the running container.
    Update(Box<oci::runtime::Resources>),
    /// Say nothing until the container has ended.
    Watch,
}

/// One more process in a running container.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Exec {
    /// The exec's ID: 64 hex digits.
    pub id: String,
    /// What to run.
    pub process: Process,
    /// The seccomp filter, if not the container's own.
    pub seccomp: Option<oci::runtime::Seccomp>,
    /// Feed stdin from this connection.
    pub stdin: bool,
    /// Send stdout and stderr; otherwise they go to /dev/null.
    pub output: bool,
    /// Kill it, and what it has begun in its session's process group, when this connection ends before it.
    #[serde(default)]
    pub with_client: bool,
}

/// The answer to a [`Request`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reply {
    /// Done.
    Ok,
    /// Of `Exec`: it runs under this PID.
    Pid(i32),
    /// Of `Processes`.
    Pids(Vec<i32>),
    /// Not done.
    Failed(Failure),
}

/// Frame kinds.
pub mod frame {
    #![allow(missing_docs)]
    pub const STDOUT: u8 = 1;
    pub const STDERR: u8 = 2;
    pub const EXIT: u8 = 3;
}

/// The last frame of an exec.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExecExit {
    /// 0-255, or 128 + signal.
    pub code: i32,
}
