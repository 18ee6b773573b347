//! The [`Runtime`] that runs an OCI runtime (runc, crun) by path.
//!
//! ```text
//! mod.rs       Command: create, start, exec, kill, delete
//! bundle.rs    the bundle: config.json, and the root file system mounted where nobody else sees it
//! child.rs     running the program with the signals it would have without us
//! console.rs   receiving the master side of a terminal
//! cgroup.rs    the little that is read from the cgroup, whichever runtime made it
//! ```
//!
//! The container's first process is a child of the runtime's `create`, which ends at once: it falls to the supervisor,
//! the nearest subreaper, which is then its parent as with the built-in runtime. So do the processes of `exec`.

mod bundle;
mod cgroup;
mod child;
mod console;

use crate::protocol::{Exec, Failure, FailureKind, ForeignRuntime, Launch};
use crate::serve::{Ahead, OomAlarm, Process, Runtime, Stdio};
use crate::serve::{failure, refusal};
use oci::runtime::Resources;
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use std::fs::File;
use std::io::{Read, Seek};
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::process::{Command as Child, Stdio as ChildStdio};

/// One container of a foreign runtime.
#[derive(Debug)]
pub struct Command {
    program: ForeignRuntime,
    id: String,
    /// In the supervisor's run directory; holds the bundle, the runtime's own state and short-lived files.
    directory: PathBuf,
    cgroup: String,
    /// The runtime is to have systemd make it.
    systemd_cgroup: bool,
    terminal: bool,
    pid: Option<i32>,
    console: Option<OwnedFd>,
    mounted: bool,
    netns: Option<OwnedFd>,
}

impl Command {
    /// Nothing happens yet.
    pub fn new(program: ForeignRuntime, launch: &Launch) -> Command {
        Command {
            program,
            id: launch.id.clone(),
            directory: launch.run_dir.join("oci"),
            cgroup: launch.cgroup(),
            systemd_cgroup: launch.systemd_cgroup,
            terminal: launch.spec.process.as_ref().is_some_and(|p| p.terminal),
            pid: None,
            console: None,
            mounted: false,
            netns: None,
        }
    }

    fn command(&self) -> Child {
        let mut command = Child::new(&self.program.path);
        command.args(&self.program.args).arg("--root").arg(self.directory.join("state"));
        if self.systemd_cgroup {
            command.arg("--systemd-cgroup");
        }
        command.env_clear().env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
        command.stdin(ChildStdio::null()).stdout(ChildStdio::null());
        command
    }

    /// Runs the runtime to its end. What it says of an error is caught in a file: a pipe would be inherited by the
    /// container and never end.
    fn run(&self, stage: &str, mut command: Child, stderr: Option<OwnedFd>) -> Result<(), Failure> {
        let log = self.directory.join("log.json");
        let own_stderr = stderr.is_none();
        let said = self.directory.join("stderr");
        let mut file = File::options().create(true).truncate(true).read(true).write(true).open(&said);
        let file = file.as_mut().map_err(|e| failure(stage, std::io::Error::from(e.kind())))?;
        match stderr {
            Some(fd) => command.stderr(fd),
            None => command.stderr(file.try_clone().map_err(|e| failure(stage, e))?),
        };
        let status = child::run(&mut command).map_err(|error| Failure {
            text: format!("cannot run {}: {error}", self.program.path.display()),
            ..failure(stage, error)
        })?;
        if status.success() {
            return Ok(());
        }
        let mut text = String::new();
        if own_stderr {
            let _ = file.rewind();
            let _ = file.take(64 << 10).read_to_string(&mut text);
        }
        if text.trim().is_empty() {
            text = last_error(&std::fs::read_to_string(log).unwrap_or_default());
        }
        let text = if text.trim().is_empty() { format!("{status}") } else { text.trim().to_owned() };
        Err(Failure { stage: stage.into(), kind: kind_of(&text), errno: 0, text })
    }

    /// A command with the options that come before the sub-command, logging to a file.
    fn logged(&self) -> Child {
        let mut command = self.command();
        let log = self.directory.join("log.json");
        let _ = std::fs::remove_file(&log);
        command.arg("--log").arg(log).args(["--log-format", "json"]);
        command
    }

    /// Gives the command its streams, or a socket to send the terminal to.
    fn streams(&self, command: &mut Child, stdio: Stdio, terminal: bool) -> Result<Streams, Failure> {
        if terminal {
            let console = console::Listener::new(&self.directory).map_err(|e| failure("console socket", e))?;
            command.arg("--console-socket").arg(console.path());
            return Ok(Streams { console: Some(console), stderr: None });
        }
        command.stdin(stdio.stdin.map_or_else(ChildStdio::null, ChildStdio::from));
        command.stdout(stdio.stdout.map_or_else(ChildStdio::null, ChildStdio::from));
        Ok(Streams { console: None, stderr: stdio.stderr })
    }

    fn pid_from(&self, file: &str, stage: &str) -> Result<i32, Failure> {
        let path = self.directory.join(file);
        let text = std::fs::read_to_string(&path).map_err(|e| failure(stage, e))?;
        let _ = std::fs::remove_file(path);
        text.trim().parse().map_err(|_| refusal(stage, "the runtime wrote no process number"))
    }

    fn process(&self, pid: i32, terminal: Option<OwnedFd>) -> Result<Process, Failure> {
        let named = Pid::from_raw(pid).ok_or_else(|| refusal("pidfd", "the runtime named process 0"))?;
        let pidfd = pidfd_open(named, PidfdFlags::empty()).map_err(|e| failure("pidfd", e.into()))?;
        Ok(Process { pid, pidfd, terminal })
    }

    fn verb(&self, verb: &str) -> Result<(), Failure> {
        let mut command = self.logged();
        command.args([verb, &self.id]);
        self.run(verb, command, None)
    }

    /// Leaves nothing behind, whatever has been made so far.
    fn clean(&mut self) {
        let mut command = self.logged();
        command.args(["delete", "--force", &self.id]);
        let _ = self.run("delete", command, None);
        if std::mem::take(&mut self.mounted) {
            bundle::unmount(&self.directory);
        }
        self.netns = None;
        let _ = std::fs::remove_dir_all(&self.directory);
    }

    fn make(&mut self, launch: &Launch, stdio: Stdio) -> Result<i32, Failure> {
        let netns = self.netns.as_ref();
        self.mounted = bundle::write(&self.directory, launch, netns)?;
        let mut command = self.logged();
        command.arg("create").arg("--bundle").arg(self.directory.join("bundle"));
        command.arg("--pid-file").arg(self.directory.join("pid"));
        let streams = self.streams(&mut command, stdio, self.terminal)?;
        command.arg(&self.id);
        self.run("create", command, streams.stderr)?;
        if let Some(console) = streams.console {
            self.console = Some(console.receive().map_err(|e| failure("console socket", e))?);
        }
        self.pid_from("pid", "create")
    }
}

/// What [`Command::streams`] leaves to be done.
struct Streams {
    console: Option<console::Listener>,
    stderr: Option<OwnedFd>,
}

impl Runtime for Command {
    fn create(&mut self, launch: &Launch, stdio: Stdio, ahead: Ahead) -> Result<i32, Failure> {
        self.netns = ahead.netns;
        let made = self.make(launch, stdio);
        match made {
            Ok(pid) => self.pid = Some(pid),
            Err(_) => self.clean(),
        }
        made
    }

    fn start(&mut self) -> Result<Process, Failure> {
        let pid = self.pid.ok_or_else(|| refusal("start", "the container has not been created"))?;
        let console = self.console.take();
        let started = self.process(pid, console).and_then(|process| self.verb("start").map(|()| process));
        if started.is_err() {
            self.clean();
        }
        started
    }

    fn exec(&mut self, exec: &Exec, stdio: Stdio) -> Result<Process, Failure> {
        let file = self.directory.join("process.json");
        let process = serde_json::to_vec(&exec.process).map_err(|e| failure("exec", e.into()))?;
        std::fs::write(&file, process).map_err(|e| failure("exec", e))?;
        let mut command = self.logged();
        command.args(["exec", "--detach", "--process"]).arg(&file);
        command.arg("--pid-file").arg(self.directory.join("exec.pid"));
        let streams = self.streams(&mut command, stdio, exec.process.terminal)?;
        command.arg(&self.id);
        let ran = self.run("exec", command, streams.stderr);
        let _ = std::fs::remove_file(&file);
        ran?;
        let terminal = match streams.console {
            Some(console) => Some(console.receive().map_err(|e| failure("console socket", e))?),
            None => None,
        };
        let pid = self.pid_from("exec.pid", "exec")?;
        self.process(pid, terminal)
    }

    fn processes(&mut self) -> Result<Vec<i32>, Failure> {
        cgroup::processes(&self.cgroup).map_err(|e| failure("processes", e))
    }

    fn signal_all(&mut self, signal: i32) -> Result<(), Failure> {
        for pid in self.processes()? {
            // One that has gone meanwhile has had its signal.
            let _ = sys::process::kill(pid, signal);
        }
        Ok(())
    }

    fn pause(&mut self) -> Result<(), Failure> {
        self.verb("pause")
    }

    fn resume(&mut self) -> Result<(), Failure> {
        self.verb("resume")
    }

    fn update(&mut self, resources: &Resources) -> Result<(), Failure> {
        let file = self.directory.join("resources.json");
        let text = serde_json::to_vec(resources).map_err(|e| failure("update", e.into()))?;
        std::fs::write(&file, text).map_err(|e| failure("update", e))?;
        let mut command = self.logged();
        command.args(["update", "--resources"]).arg(&file).arg(&self.id);
        let ran = self.run("update", command, None);
        let _ = std::fs::remove_file(&file);
        ran
    }

    fn oom_kills(&mut self) -> u64 {
        cgroup::oom_kills(&self.cgroup)
    }

    fn oom_alarm(&mut self) -> Option<OomAlarm> {
        cgroup::oom_alarm(&self.cgroup).ok()
    }

    fn kill_all(&mut self) -> Result<(), Failure> {
        const KILL: i32 = rustix::process::Signal::KILL.as_raw();
        // A frozen process dies only once it is thawed.
        let _ = self.verb("resume");
        self.signal_all(KILL)
    }

    fn remove(&mut self) -> Result<(), Failure> {
        if cgroup::processes(&self.cgroup).is_ok_and(|pids| !pids.is_empty()) {
            return Err(refusal("remove", "processes are left"));
        }
        self.clean();
        Ok(())
    }
}

/// The message of the last error in a runtime's JSON log.
fn last_error(log: &str) -> String {
    let message = |line: &str| -> Option<String> {
        let entry: serde_json::Value = serde_json::from_str(line).ok()?;
        (entry["level"] == "error").then(|| entry["msg"].as_str().unwrap_or_default().to_owned())
    };
    log.lines().rev().find_map(message).unwrap_or_default()
}

/// What a runtime's sentence means. There is nothing else to go by: it exits with 1 for everything.
fn kind_of(text: &str) -> FailureKind {
    let text = text.to_lowercase();
    let has = |part: &str| text.contains(part);
    let not_found = has("executable file") && has("not found");
    if not_found || (has("exec") && has("no such file or directory")) {
        FailureKind::CommandNotFound
    } else if has("exec") && (has("permission denied") || has("is a directory") || has("exec format error")) {
        FailureKind::NotExecutable
    } else {
        FailureKind::System
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_runtimes_say_is_understood() {
        let log = "{\"level\":\"warning\",\"msg\":\"a\"}\n{\"level\":\"error\",\"msg\":\"exec: \\\"x\\\": executable file not found in $PATH\"}\n";
        let text = last_error(log);
        assert_eq!(text, "exec: \"x\": executable file not found in $PATH");
        assert_eq!(kind_of(&text), FailureKind::CommandNotFound);
        assert_eq!(kind_of("exec /etc: permission denied"), FailureKind::NotExecutable);
        assert_eq!(kind_of("error mounting"), FailureKind::System);
    }
}
