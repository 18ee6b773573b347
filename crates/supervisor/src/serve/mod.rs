//! The supervisor itself: one thread and one poll loop.
//!
//! ```text
//! mod.rs       the Runtime it drives; run(): from the launch to the end
//! boot.rs      receiving the launch, becoming a supervisor, starting the container
//! server.rs    the loop: what is waited for, and who deals with it
//! stdio.rs     pipes of a process; its stdin with what could not be written yet
//! process.rs   the container's first process and the execs: output, reaping, the end of an exec
//! client.rs    one connection and what is still to be sent on it
//! request.rs   what clients ask for
//! sink.rs      the log: written here, its files compressed by children
//! apart.rs     the log: written by a process of its own, when the container must not wait for it
//! oom.rs       the moment the container runs out of memory
//! finish.rs    the end: drain, kill what is left, exit.json, give everything back
//! ```
//!
//! How slow clients are treated. Output for a client that does not take it is queued, up to [`QUEUE`] bytes. Beyond
//! that the container's output is not read any more, as with any pipe, so that `run … | slow` loses nothing; but a
//! client that takes nothing at all for [`STALL`] is cut off, so that none can hold a container (or its log) up for
//! longer. The output of an exec goes to one client alone, and that one may hold it up for ever.

mod apart;
mod boot;
mod client;
mod finish;
mod oom;
mod process;
mod request;
mod server;
mod sink;
mod stdio;

use crate::protocol::{Exec, Failure, FailureKind, Launch};
use oci::runtime::Resources;
use std::os::fd::OwnedFd;
use std::time::Duration;

pub use boot::run;
pub use oom::OomAlarm;

/// How much output is kept for a client that is slower than the container.
pub const QUEUE: usize = 256 << 10;
/// How long a client may hold the container up without taking a byte.
pub const STALL: Duration = Duration::from_secs(30);
/// How long after the end of an exec its output may still be held open by processes it left behind.
pub const EXEC_GRACE: Duration = Duration::from_millis(200);
/// How long after the end of the container its output may still be held open by processes that cannot be killed.
pub const END_GRACE: Duration = Duration::from_secs(2);

/// The standard streams of a new process: all there, or none of them when it gets a terminal.
#[derive(Debug, Default)]
pub struct Stdio {
    /// Its descriptor 0.
    pub stdin: Option<OwnedFd>,
    /// Its descriptor 1.
    pub stdout: Option<OwnedFd>,
    /// Its descriptor 2.
    pub stderr: Option<OwnedFd>,
}

/// What has been made ahead of the start.
#[derive(Debug, Default)]
pub struct Ahead {
    /// The network namespace, in place of the spec's.
    pub netns: Option<OwnedFd>,
    /// A sysfs of that namespace, mounted nowhere.
    pub sysfs: Option<OwnedFd>,
    /// A mount namespace without the host's mounts.
    pub bare: Option<OwnedFd>,
}

/// A running process, a child of the supervisor.
#[derive(Debug)]
pub struct Process {
    /// Its number in the host's pid namespace.
    pub pid: i32,
    /// The process itself.
    pub pidfd: OwnedFd,
    /// The master side of its terminal, if it has one.
    pub terminal: Option<OwnedFd>,
}

/// What makes, changes and ends one container's processes. Single-threaded; one container per value.
pub trait Runtime {
    /// Makes the container, ready to execute its command; returns the PID. On failure nothing is left of it.
    fn create(&mut self, launch: &Launch, stdio: Stdio, ahead: Ahead) -> Result<i32, Failure>;
    /// Executes the command. On failure nothing is left of the container.
    fn start(&mut self) -> Result<Process, Failure>;
    /// Runs another process in it.
    fn exec(&mut self, exec: &Exec, stdio: Stdio) -> Result<Process, Failure>;
    /// The PIDs of all its processes.
    fn processes(&mut self) -> Result<Vec<i32>, Failure>;
    /// Sends a signal to each of them.
    fn signal_all(&mut self, signal: i32) -> Result<(), Failure>;
    /// Stops them all.
    fn pause(&mut self) -> Result<(), Failure>;
    /// Lets them go on.
    fn resume(&mut self) -> Result<(), Failure>;
    /// Changes limits.
    fn update(&mut self, resources: &Resources) -> Result<(), Failure>;
    /// How many of its processes the kernel has killed for want of memory.
    fn oom_kills(&mut self) -> u64;
    /// What tells of the next one; `None` where the kernel has no such thing.
    fn oom_alarm(&mut self) -> Option<OomAlarm>;
    /// Kills everything in it, paused or not.
    fn kill_all(&mut self) -> Result<(), Failure>;
    /// Gives back what is left of it once its processes are gone; fails while some are not.
    fn remove(&mut self) -> Result<(), Failure>;
}

/// A failure of the system: errno and all.
pub(crate) fn failure(stage: &str, error: std::io::Error) -> Failure {
    Failure {
        stage: stage.to_owned(),
        kind: FailureKind::System,
        errno: error.raw_os_error().unwrap_or(0),
        text: format!("{stage}: {error}"),
    }
}

/// A request that makes no sense now.
pub(crate) fn refusal(stage: &str, text: &str) -> Failure {
    Failure { stage: stage.to_owned(), kind: FailureKind::Invalid, errno: 0, text: text.to_owned() }
}
