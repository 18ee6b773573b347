//! The built-in runtime, as the supervisor drives it.

use oci::runtime::Resources;
use runtime::cgroup::Place;
use runtime::{Create, Created, Running};
use std::fs::File;
use std::os::fd::AsFd;
use supervisor::protocol::{Exec, Failure, FailureKind, Launch};
use supervisor::serve::{Ahead, OomAlarm, Process, Runtime, Stdio};

/// One container.
#[derive(Default)]
pub struct Builtin {
    created: Option<Created>,
    running: Option<Running>,
}

/// The same words on both sides of a seam that neither crate crosses.
fn failure(failure: runtime::Failure) -> Failure {
    let kind = match failure.kind {
        runtime::FailureKind::CommandNotFound => FailureKind::CommandNotFound,
        runtime::FailureKind::NotExecutable => FailureKind::NotExecutable,
        runtime::FailureKind::Invalid => FailureKind::Invalid,
        runtime::FailureKind::System => FailureKind::System,
    };
    Failure { stage: failure.stage, kind, errno: failure.errno, text: failure.text }
}

fn io_failure(stage: &str, error: &std::io::Error) -> Failure {
    Failure {
        stage: stage.into(),
        kind: FailureKind::System,
        errno: error.raw_os_error().unwrap_or(0),
        text: format!("{stage}: {error}"),
    }
}

fn streams(stdio: Stdio) -> runtime::Stdio {
    runtime::Stdio { stdin: stdio.stdin, stdout: stdio.stdout, stderr: stdio.stderr }
}

impl Builtin {
    fn running(&self) -> Result<&Running, Failure> {
        self.running.as_ref().ok_or_else(|| Failure {
            stage: "runtime".into(),
            kind: FailureKind::Invalid,
            errno: 0,
            text: "the container is not running".into(),
        })
    }
}

impl Runtime for Builtin {
    fn create(&mut self, launch: &Launch, stdio: Stdio, ahead: Ahead) -> Result<i32, Failure> {
        let init = match launch.init {
            true => Some(File::open("/proc/self/exe").map_err(|e| io_failure("init", &e))?),
            false => None,
        };
        let place = Place::new(&launch.spec, &launch.id, launch.systemd_cgroup)
            .map_err(|refused| failure(runtime::create_failed(refused)))?;
        let created = runtime::begin(Create {
            id: &launch.id,
            spec: &launch.spec,
            rootfs: launch.rootfs.as_ref(),
            rootfs_base: &launch.rootfs_base,
            cgroup: &place,
            stdio: streams(stdio),
            netns: ahead.netns.as_ref().map(AsFd::as_fd),
            sysfs: ahead.sysfs.as_ref().map(AsFd::as_fd),
            bare: ahead.bare.as_ref().map(AsFd::as_fd),
            init: init.as_ref().map(AsFd::as_fd),
            detached: None,
        })
        .map_err(failure)?;
        let pid = created.pid();
        self.created = Some(created);
        Ok(pid)
    }

    fn start(&mut self) -> Result<Process, Failure> {
        let created = self.created.take().ok_or_else(|| Failure {
            stage: "start".into(),
            kind: FailureKind::Invalid,
            errno: 0,
            text: "the container has not been created".into(),
        })?;
        let mut running = created.start().map_err(failure)?;
        let pidfd = running.pidfd.try_clone().map_err(|e| io_failure("pidfd", &e))?;
        let process = Process { pid: running.pid, pidfd, terminal: running.terminal.take() };
        self.running = Some(running);
        Ok(process)
    }

    fn exec(&mut self, exec: &Exec, stdio: Stdio) -> Result<Process, Failure> {
        let executed =
            runtime::exec(self.running()?, &exec.process, exec.seccomp.as_ref(), streams(stdio)).map_err(failure)?;
        Ok(Process { pid: executed.pid, pidfd: executed.pidfd, terminal: executed.terminal })
    }

    fn processes(&mut self) -> Result<Vec<i32>, Failure> {
        Ok(self.running()?.cgroup.pids())
    }

    fn signal_all(&mut self, signal: i32) -> Result<(), Failure> {
        self.running()?.cgroup.signal_all(signal);
        Ok(())
    }

    fn pause(&mut self) -> Result<(), Failure> {
        self.running()?.cgroup.pause().map_err(failure)
    }

    fn resume(&mut self) -> Result<(), Failure> {
        self.running()?.cgroup.resume().map_err(failure)
    }

    fn update(&mut self, resources: &Resources) -> Result<(), Failure> {
        self.running()?.cgroup.update(resources).map_err(failure)
    }

    fn oom_kills(&mut self) -> u64 {
        self.running.as_ref().map_or(0, |running| running.cgroup.oom_kills())
    }

    fn oom_alarm(&mut self) -> Option<OomAlarm> {
        Some(match self.running.as_ref()?.cgroup.oom_alarm()? {
            runtime::cgroup::OomAlarm::Event(fd) => OomAlarm::Event(fd),
            runtime::cgroup::OomAlarm::File(fd) => OomAlarm::File(fd),
        })
    }

    fn kill_all(&mut self) -> Result<(), Failure> {
        self.running()?.cgroup.kill_all();
        Ok(())
    }

    fn remove(&mut self) -> Result<(), Failure> {
        // Without a running container there is nothing that its own making has not undone.
        self.created = None;
        match &self.running {
            Some(running) => running.cgroup.remove().map_err(failure),
            None => Ok(()),
        }
    }
}
