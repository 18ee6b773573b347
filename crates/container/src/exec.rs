//! More processes in a running container.

use crate::containers::{Container, Containers, Shared, lock};
use crate::error::{Error, Result, conflict, invalid, missing, text};
use crate::state::Phase;
use crate::user::{self, Account, Files};
use crate::view::View;
use crate::{caps, names, spec};
use api::exec::{CreateExec, ExecInspect, ExecProcess, StartExec};
use oci::runtime::{ConsoleSize, Process, User};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use supervisor::protocol::{self, ExecExit, FailureKind, Reply, Request, frame};
use sys::step::{Step, reached};

/// The most execs that are remembered; beyond it, those that have ended are forgotten.
const REMEMBERED: usize = 10_000;
/// How long an exec that has ended can still be inspected when its container has ended too.
const FORGET_AFTER: Duration = Duration::from_secs(300);

pub(crate) struct Exec {
    pub id: String,
    pub container: String,
    config: CreateExec,
    run: Mutex<Run>,
}

#[derive(Default)]
struct Run {
    running: bool,
    pid: i32,
    code: Option<i32>,
    can_remove: bool,
}

/// An exec that runs, seen from its starter.
pub struct ExecStream {
    /// Frames from the exec, raw bytes to it. The last frame is of kind [`frame::EXIT`]: hand its payload to
    /// [`Containers::exec_ended`]; a stream that nobody wants to read any more goes to [`Containers::exec_abandoned`].
    pub stream: UnixStream,
    /// It has a terminal: only stdout frames come, to be sent on without Docker's header.
    pub tty: bool,
}

impl Containers {
    /// Prepares an exec and gives its ID.
    ///
    /// # Errors
    /// `Conflict` when the container does not run or is paused.
    pub fn exec_create(&self, name: &str, config: CreateExec) -> Result<String> {
        let shared = &self.shared;
        let c = shared.find(name)?;
        shared.active(&c, name)?;
        if config.cmd.is_empty() || config.cmd[0].is_empty() {
            return Err(invalid!("No exec command specified"));
        }
        let texts = config.cmd.iter().chain(config.env.iter()).chain([&config.user, &config.working_dir]);
        if texts.into_iter().any(|t| t.contains('\0')) {
            return Err(invalid!("invalid exec configuration: it contains a NUL byte"));
        }
        if !config.working_dir.is_empty() && !config.working_dir.starts_with('/') {
            return Err(invalid!("Cwd must be an absolute path"));
        }
        if !config.user.is_empty() {
            shared.account_in(&c, &config.user)?;
        }
        Ok(shared.new_exec(&c, config)?.id.clone())
    }

    /// Starts a prepared exec. Nothing comes back when it is detached.
    ///
    /// # Errors
    /// `Invalid`, with 126 or 127 as the exec's exit code, when the command cannot be executed.
    pub fn exec_start(&self, id: &str, how: &StartExec) -> Result<Option<ExecStream>> {
        let shared = &self.shared;
        let (exec, c) = shared.active_exec(id)?;
        {
            let mut run = lock(&exec.run);
            if run.code.is_some() {
                return Err(conflict!("exec command {id} has already run"));
            }
            if std::mem::replace(&mut run.running, true) {
                return Err(conflict!("exec command {id} is already running"));
            }
        }
        reached(Step::ExecBegun);
        let stream = shared.begin_exec(&c, &exec, how, None)?;
        reached(Step::ExecRunning);
        if how.detach {
            shared.drain(&exec, stream);
            return Ok(None);
        }
        Ok(Some(ExecStream { stream, tty: exec.config.tty }))
    }

    /// Notes the end of an exec: the payload of its last frame.
    pub fn exec_ended(&self, id: &str, payload: &[u8]) {
        let exec = lock(&self.shared.execs).get(id).cloned();
        if let (Some(exec), Ok(end)) = (exec, serde_json::from_slice::<ExecExit>(payload)) {
            self.shared.exec_done(&exec, end.code);
        }
    }

    /// Goes on reading for someone who left, to the exec's end.
    pub fn exec_abandoned(&self, id: &str, stream: UnixStream) {
        let exec = lock(&self.shared.execs).get(id).cloned();
        if let Some(exec) = exec {
            self.shared.drain(&exec, stream);
        }
    }

    /// What there is to know about an exec.
    ///
    /// # Errors
    /// `NotFound`
    pub fn exec_inspect(&self, id: &str) -> Result<ExecInspect> {
        let exec = self.shared.exec(id)?;
        self.shared.find(&exec.container).map_err(|_| no_exec(id))?;
        let (config, run) = (&exec.config, lock(&exec.run));
        Ok(ExecInspect {
            id: exec.id.clone(),
            running: run.running,
            exit_code: run.code,
            process_config: ExecProcess {
                tty: config.tty,
                entrypoint: config.cmd.first().cloned().unwrap_or_default(),
                arguments: config.cmd.iter().skip(1).cloned().collect(),
                privileged: Some(config.privileged),
                user: config.user.clone(),
            },
            open_stdin: config.attach_stdin,
            open_stderr: config.attach_stderr,
            open_stdout: config.attach_stdout,
            can_remove: run.can_remove,
            container_id: exec.container.clone(),
            detach_keys: config.detach_keys.clone(),
            pid: run.pid,
        })
    }

    /// Sets the size of an exec's terminal.
    ///
    /// # Errors
    /// When it does not run.
    pub fn exec_resize(&self, id: &str, height: u16, width: u16) -> Result<()> {
        let (exec, c) = self.shared.active_exec(id)?;
        if !lock(&exec.run).running {
            return Err(invalid!("exec process is not started"));
        }
        c.ask(&Request::Resize { exec: Some(id.to_owned()), height, width }).map(drop)
    }

    /// The keys that detach from this exec, as the client wrote them.
    ///
    /// # Errors
    /// `NotFound`
    pub fn exec_detach_keys(&self, id: &str) -> Result<String> {
        Ok(self.shared.exec(id)?.config.detach_keys.clone())
    }
}

fn no_exec(id: &str) -> Error {
    missing!("No such exec instance: {id}")
}

impl Shared {
    /// Makes an exec known.
    pub fn new_exec(&self, c: &Container, config: CreateExec) -> Result<Arc<Exec>> {
        let id = names::random_id();
        let line = config.cmd.join(" ");
        let exec = Arc::new(Exec { id: id.clone(), container: c.id.clone(), config, run: Mutex::default() });
        let mut execs = lock(&self.execs);
        if execs.len() >= REMEMBERED {
            execs.retain(|_, e| lock(&e.run).code.is_none());
        }
        if execs.len() >= REMEMBERED {
            return Err(conflict!("too many execs: {REMEMBERED}"));
        }
        execs.insert(id.clone(), exec.clone());
        drop(execs);
        self.tell(c, &format!("exec_create: {line}"), &[("execID", id)]);
        Ok(exec)
    }

    /// Runs a new exec. With a patience it is the engine's own: it does not outlive whoever listens to it.
    pub fn begin_exec(
        &self,
        c: &Container,
        exec: &Exec,
        how: &StartExec,
        patience: Option<Duration>,
    ) -> Result<UnixStream> {
        let line = exec.config.cmd.join(" ");
        self.tell(c, &format!("exec_start: {line}"), &[("execID", exec.id.clone())]);
        lock(&exec.run).running = true;
        match self.run_exec(c, exec, how, patience) {
            Ok((stream, pid)) => {
                lock(&exec.run).pid = pid;
                Ok(stream)
            }
            Err((error, code)) => {
                let mut run = lock(&exec.run);
                (run.running, run.code) = (false, Some(code));
                Err(error)
            }
        }
    }

    /// Forgets one that is over.
    pub fn forget_exec(&self, exec: &Exec) {
        lock(&self.execs).remove(&exec.id);
    }

    fn exec(&self, id: &str) -> Result<Arc<Exec>> {
        lock(&self.execs).get(id).cloned().ok_or_else(|| no_exec(id))
    }

    fn active_exec(&self, id: &str) -> Result<(Arc<Exec>, Arc<Container>)> {
        let exec = self.exec(id)?;
        let c = self.find(&exec.container).map_err(|_| text::no_such_container(id))?;
        self.active(&c, &c.id)?;
        Ok((exec, c))
    }

    /// It runs and is not frozen.
    pub fn active(&self, c: &Container, name: &str) -> Result<()> {
        c.peek(|s| match s.phase {
            Phase::Running if s.paused => Err(text::paused(name)),
            Phase::Running => Ok(()),
            Phase::Restarting => Err(text::restarting(&c.id)),
            _ => Err(text::not_running(&c.id)),
        })
    }

    /// Who `user` is by the files that the running container sees.
    fn account_in(&self, c: &Container, user: &str) -> Result<Account> {
        let (pid, start) = c.peek(|s| (s.pid, s.pid_start));
        let path = PathBuf::from(format!("/proc/{pid}/root"));
        let root = sys::rootfs::open_root(&path).map_err(|e| Error::io("open", &path)(e.into()))?;
        if sys::process::start_time(pid) != Some(start) {
            return Err(text::not_running(&c.id));
        }
        let view = View::of_root(root);
        let read = |path: &str| {
            view.read(path, user::MAX_FILE)
                .map_err(|e| invalid!("unable to read {path} in the container: {}", crate::start::words(&e)))
        };
        let files = Files { passwd: read("/etc/passwd")?, group: read("/etc/group")? };
        user::resolve(user, &c.record().host_config.group_add, &files)
    }

    fn run_exec(
        &self,
        c: &Container,
        exec: &Exec,
        how: &StartExec,
        patience: Option<Duration>,
    ) -> std::result::Result<(UnixStream, i32), (Error, i32)> {
        const NOT_EXECUTABLE: i32 = 126;
        let plain = |e: Error| (e, NOT_EXECUTABLE);
        let config = &exec.config;
        if config.cmd.is_empty() {
            return Err(plain(invalid!("No exec command specified")));
        }
        let process = self.process(c, exec, how).map_err(plain)?;
        let request = Request::Exec(Box::new(protocol::Exec {
            id: exec.id.clone(),
            process,
            seccomp: None,
            stdin: config.attach_stdin && !how.detach,
            output: !how.detach && (config.attach_stdout || config.attach_stderr),
            with_client: patience.is_some(),
        }));
        let unreachable = |e: std::io::Error| match e.kind() {
            std::io::ErrorKind::WouldBlock => {
                plain(Error::System(format!("timed out starting health check for container {}", c.id)))
            }
            _ => plain(Error::System(format!("cannot reach the supervisor of container {}: {e}", c.id))),
        };
        let socket = supervisor::connect(&c.run).map_err(unreachable)?;
        socket.set_read_timeout(patience).map_err(unreachable)?;
        reached(Step::ExecConnected);
        match supervisor::request(&socket, &request).map_err(unreachable)? {
            Reply::Pid(pid) => Ok((socket, pid)),
            Reply::Failed(failure) => {
                const BEFORE: &str = "OCI runtime exec failed: ";
                let text = failure.text.strip_prefix(BEFORE).unwrap_or(&failure.text);
                let text = format!("{BEFORE}{text}: unknown");
                Err(match failure.kind {
                    FailureKind::CommandNotFound => (Error::Invalid(text), 127),
                    FailureKind::NotExecutable | FailureKind::Invalid => (Error::Invalid(text), NOT_EXECUTABLE),
                    // Docker goes by the words
                    FailureKind::System if text.contains("no such file or directory") => (Error::System(text), 127),
                    FailureKind::System => (Error::System(text), NOT_EXECUTABLE),
                })
            }
            other => Err(plain(Error::System(format!("the supervisor answered {other:?}")))),
        }
    }

    fn process(&self, c: &Container, exec: &Exec, how: &StartExec) -> Result<Process> {
        let (record, config) = (c.record(), &exec.config);
        let (container, host) = (&record.config, &record.host_config);
        let user = if config.user.is_empty() { &container.user } else { &config.user };
        let account = self.account_in(c, user)?;
        let usable = self.host.capabilities;
        let security = crate::check::Security::parse(&host.security_opt, &self.host)?;
        let (privileged, strict) = (host.privileged || config.privileged, security.is_strict());
        let asked = caps::Asked { add: &host.cap_add, drop: &host.cap_drop, privileged, strict };
        let bounding = caps::set(asked, usable)?;
        let mut shown = container.clone();
        shown.tty = config.tty;
        let mut env = spec::environment(&shown, &container.hostname, &account.home);
        spec::replace_or_append(&mut env, &config.env);
        let size = how.console_size.or(config.console_size).filter(|s| config.tty && *s != [0, 0]);
        let side = |n: u32| u16::try_from(n).unwrap_or(u16::MAX);
        let directory = [&config.working_dir, &container.working_dir].into_iter().find(|d| !d.is_empty());
        Ok(Process {
            terminal: config.tty,
            console_size: size.map(|[height, width]| ConsoleSize { height: side(height), width: side(width) }),
            user: User { uid: account.uid, gid: account.gid, umask: None, additional_gids: account.groups },
            args: config.cmd.to_vec(),
            env,
            cwd: directory.cloned().unwrap_or_else(|| "/".into()),
            capabilities: Some(spec::capability_sets(&bounding)),
            rlimits: spec::rlimits(&host.resources.ulimits, &self.options.defaults.ulimits, strict)?,
            no_new_privileges: security.bars_privileges(&self.options.defaults),
            apparmor_profile: security.apparmor.filter(|_| self.host.apparmor),
            oom_score_adj: Some(host.oom_score_adj as i32),
            ..Process::default()
        })
    }

    /// Reads to the end for nobody.
    fn drain(self: &Arc<Shared>, exec: &Arc<Exec>, mut stream: UnixStream) {
        let (shared, exec) = (self.clone(), exec.clone());
        let of_thread = exec.clone();
        let spawned = std::thread::Builder::new().name("exec".into()).stack_size(256 << 10).spawn(move || {
            let mut payload = Vec::new();
            let mut code = None;
            while let Ok(Some(kind)) = supervisor::read_frame(&mut stream, &mut payload) {
                if kind == frame::EXIT {
                    code = serde_json::from_slice::<ExecExit>(&payload).ok().map(|e| e.code);
                    break;
                }
            }
            // Without that frame the container, or its supervisor, was killed.
            shared.exec_done(&of_thread, code.unwrap_or(137));
        });
        if spawned.is_err() {
            self.exec_done(&exec, 137);
        }
    }

    pub fn exec_done(&self, exec: &Exec, code: i32) {
        {
            let mut run = lock(&exec.run);
            if run.code.is_some() {
                return;
            }
            (run.running, run.code) = (false, Some(code));
        }
        if let Ok(c) = self.find(&exec.container) {
            self.tell(&c, "exec_die", &[("execID", exec.id.clone()), ("exitCode", code.to_string())]);
        }
    }

    /// The container has ended: its execs with it, and after a while nobody remembers them.
    pub fn forget_execs(self: &Arc<Shared>, container: &str) {
        let ids: Vec<String> = lock(&self.execs)
            .values()
            .filter(|e| e.container == container)
            .map(|e| {
                lock(&e.run).can_remove = true;
                e.id.clone()
            })
            .collect();
        if ids.is_empty() {
            return;
        }
        let shared = Arc::downgrade(self);
        self.watcher.after(FORGET_AFTER, move || {
            if let Some(shared) = shared.upgrade() {
                lock(&shared.execs).retain(|id, _| !ids.contains(id));
            }
        });
    }

    /// The execs of a container that run, for inspect.
    pub fn exec_ids(&self, container: &str) -> Vec<String> {
        let execs = lock(&self.execs);
        let running = execs.values().filter(|e| e.container == container && lock(&e.run).code.is_none());
        running.map(|e| e.id.clone()).collect()
    }
}
