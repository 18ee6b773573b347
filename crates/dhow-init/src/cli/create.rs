//! create, run, start.

use super::options::Given;
use super::state::{Container, Lock, Saved, Status, now};
use super::streams::{self, Foreground, Inherited};
use super::{Error, Global, Result, bundle, control, lenient, update};
use oci::runtime::Spec;
use runtime::cgroup::Place;
use runtime::{Create, Detached, Notified, Parked, Stdio, hooks};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

/// `create`
pub fn create(global: &Global, given: &Given, inherited: Inherited) -> Result<i32> {
    let made = Making::begin(given, inherited, true).and_then(|making| making.create(global, streams::own()));
    made.map(|_| 0).map_err(global.failed("create"))
}

/// `run`
pub fn run(global: &Global, given: &Given, inherited: Inherited) -> Result<i32> {
    let failed = global.failed("run");
    let detach = given.is("detach");
    let making = Making::begin(given, inherited, detach).map_err(&failed)?;
    if making.spec.process.is_none() {
        return Err(failed(Error("process property must not be empty".into())));
    }
    if detach {
        let made = making.create(global, streams::own()).map_err(&failed)?;
        return match made.start() {
            Ok(()) => Ok(0),
            Err(error) => {
                made.undo(global);
                Err(failed(error))
            }
        };
    }
    if !given.is("no-subreaper") {
        // What its processes leave behind without a pid namespace of their own comes to this one.
        if let Err(e) = rustix::process::set_child_subreaper(Some(rustix::process::getpid())) {
            global.log.warn(&Error::errno("set the child subreaper")(e).0);
        }
    }
    let terminal = making.terminal();
    let (mut foreground, stdio) = Foreground::prepare(terminal).map_err(&failed)?;
    let mut made = making.create(global, stdio).map_err(&failed)?;
    let joined = made.terminal.take().map_or(Ok(()), |master| foreground.join(master));
    let ended = joined.and_then(|()| made.start()).and_then(|()| foreground.serve(made.parked.pid));
    drop(foreground);
    if ended.is_err() || !given.is("keep") {
        made.undo(global);
    }
    ended.map_err(&failed)
}

/// `start`
pub fn start(global: &Global, given: &Given) -> Result<i32> {
    let (container, lock) = Container::load_locked(global, given.id()?)?;
    match container.status(Some(&lock))? {
        Status::Created => {}
        Status::Stopped => return Error::new("cannot start a container that has stopped"),
        Status::Running => return Error::new("cannot start an already running container"),
        other => return Error::new(format!("cannot start a container in the {} state", other.name())),
    }
    let spec = container.spec()?;
    release(&container, &spec)?;
    Ok(0)
}

/// Lets the process that waits execute its command, and runs what the configuration wants after that.
fn release(container: &Container, spec: &Spec) -> Result<()> {
    let gone = || Error("the container's process does not wait for its start".into());
    let gate = container.knock()?.ok_or_else(gone)?;
    let seccomp = spec.linux.as_ref().and_then(|linux| linux.seccomp.as_ref());
    let mut notified = seccomp.map(|profile| Notified::of(&container.saved.id, profile)).transpose()?.flatten();
    if let Some(notified) = &mut notified {
        notified.told = container.told();
    }
    let kill = || {
        if let Some(pidfd) = container.process() {
            let _ = sys::process::pidfd_send_signal(pidfd.as_fd(), 9);
        }
    };
    let released = runtime::release(gate, container.saved.pid, notified.as_ref());
    if released.is_err() {
        kill();
    } else {
        container.remove_gate();
    }
    // As with other runtimes, which do not wait for the command, whatever has become of it: `poststop` undoes what they do.
    let poststart = spec.hooks.as_ref().map_or(&[][..], |hooks| &hooks.poststart);
    let state = match &released {
        Ok(()) => container.told().state("running", Some(container.saved.pid)),
        Err(_) => container.told().state("stopped", None),
    };
    let hooked = hooks::run("poststart", poststart, &state);
    released?;
    Ok(hooked.inspect_err(|_| kill())?)
}

/// A container that is about to be made.
struct Making<'a> {
    given: &'a Given,
    spec: Spec,
    bundle: PathBuf,
    pid_file: Option<PathBuf>,
    inherited: Inherited,
}

/// A container that was made.
struct Made {
    container: Container,
    spec: Spec,
    parked: Parked,
    terminal: Option<OwnedFd>,
    _lock: Lock,
}

impl<'a> Making<'a> {
    /// Reads everything that can be wrong without anything being done.
    fn begin(given: &'a Given, inherited: Inherited, detach: bool) -> Result<Making<'a>> {
        let pid_file = given.value("pid-file").map(absolute).transpose()?;
        if let Some(dir) = given.value("bundle").filter(|dir| !dir.is_empty()) {
            std::env::set_current_dir(dir).map_err(Error::io(format!("chdir {dir}")))?;
        }
        let bundle = std::env::current_dir().map_err(Error::io("getwd"))?;
        let mut spec = bundle::load()?;
        super::state::check_id(given.id()?)?;
        if let Some(process) = &mut spec.process {
            if inherited.listening > 0 {
                process.env.push(format!("LISTEN_FDS={}", inherited.listening));
                process.env.push("LISTEN_PID=1".into());
            }
            streams::check_console(process.terminal, detach, given.value("console-socket"))?;
        }
        Ok(Making { given, spec, bundle, pid_file, inherited })
    }

    fn terminal(&self) -> bool {
        self.spec.process.as_ref().is_some_and(|process| process.terminal)
    }

    /// Makes it, up to its start.
    fn create(mut self, global: &Global, stdio: Stdio) -> Result<Made> {
        update::without_kernel_memory(global, self.spec.linux.as_mut().and_then(|linux| linux.resources.as_mut()));
        let root = self.spec.root.as_ref().map(|root| self.bundle.join(&root.path)).unwrap_or_default();
        if !root.is_dir() {
            return Error::new(format!("invalid rootfs: {} is not a directory", root.display()));
        }
        lenient::configuration(global, &mut self.spec);
        let id = self.given.id()?;
        let place = Place::new(&self.spec, id, global.systemd)?;
        let mounted_on = match &self.spec.linux {
            Some(linux) if !linux.namespaces.iter().any(|n| n.kind == "mount") => runtime::mount_of(&root).ok(),
            _ => None,
        };
        let saved = Saved {
            id: id.into(),
            oci_version: self.spec.oci_version.clone(),
            bundle: self.bundle.clone(),
            rootfs: root,
            annotations: self.spec.annotations.clone(),
            created: now().1,
            cgroup: place.path().into(),
            pid: 0,
            start_time: 0,
            namespaces: 0,
            keeps_keyring: self.given.is("no-new-keyring"),
            maker: own(),
            complete: false,
            mounted_on,
        };
        let (mut container, lock) = Container::reserve(global, saved, &self.spec)?;
        let mut begun = false;
        match self.fill(&mut container, &place, stdio, &mut begun) {
            Ok((parked, terminal)) => Ok(Made { container, spec: self.spec, parked, terminal, _lock: lock }),
            Err(error) => {
                // The process and the cgroup are gone already.
                container.unmount();
                if let Err(Error(text)) = container.remove_dir() {
                    global.log.warn(&text);
                }
                if begun {
                    control::poststop_quietly(global, &container, &self.spec);
                }
                Err(error)
            }
        }
    }

    fn fill(
        &mut self,
        container: &mut Container,
        place: &Place,
        stdio: Stdio,
        begun: &mut bool,
    ) -> Result<(Parked, Option<OwnedFd>)> {
        let console = self.given.value("console-socket").map(streams::connect).transpose()?;
        let pidfd_socket = self.given.value("pidfd-socket").map(streams::connect).transpose()?;
        let preserved = std::mem::take(&mut self.inherited.fds);
        let mut created = runtime::begin(Create {
            id: &container.saved.id,
            spec: &self.spec,
            rootfs: None,
            rootfs_base: &self.bundle,
            cgroup: place,
            stdio: if self.terminal() { Stdio::default() } else { stdio },
            netns: None,
            sysfs: None,
            bare: None,
            init: None,
            detached: Some(Detached {
                gate: Some(container.make_gate()?),
                preserved,
                keeps_keyring: container.saved.keeps_keyring,
                no_pivot: self.given.is("no-pivot"),
            }),
        })?;
        *begun = true;
        let saved = &mut container.saved;
        (saved.pid, saved.namespaces) = (created.pid(), created.namespaces());
        saved.start_time = sys::process::start_time(saved.pid).unwrap_or(0);
        container.save()?;
        let mut terminal = created.ready()?;
        if let Some(console) = &console
            && let Some(master) = terminal.take()
        {
            streams::send(console.as_fd(), "/dev/ptmx", master.as_fd())?;
        }
        container.saved.complete = true;
        container.save()?;
        let parked = created.park()?;
        let handed = || {
            if let Some(socket) = &pidfd_socket {
                streams::send(socket.as_fd(), "pidfd", parked.pidfd.as_fd())?;
            }
            self.pid_file.as_deref().map_or(Ok(()), |path| write_pid(path, parked.pid))
        };
        handed().inspect_err(|_| control::destroy_quietly(container))?;
        Ok((parked, terminal))
    }
}

impl Made {
    fn start(&self) -> Result<()> {
        release(&self.container, &self.spec)
    }

    /// Ends and removes it.
    fn undo(&self, global: &Global) {
        control::destroy_quietly(&self.container);
        if let Err(Error(text)) = self.container.remove_dir() {
            global.log.warn(&text);
        }
        control::poststop_quietly(global, &self.container, &self.spec);
    }
}

/// This process, and when it was started.
fn own() -> (i32, u64) {
    let pid = rustix::process::getpid().as_raw_nonzero().get();
    (pid, sys::process::start_time(pid).unwrap_or(0))
}

/// `path` from the root.
pub fn absolute(path: &str) -> Result<PathBuf> {
    std::path::absolute(path).map_err(Error::io(path))
}

/// Writes a pid file so that nobody reads half of it.
pub fn write_pid(path: &Path, pid: i32) -> Result<()> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let new = path.with_file_name(format!(".{name}"));
    let written = std::fs::write(&new, pid.to_string()).and_then(|()| std::fs::rename(&new, path));
    written.map_err(Error::io(format!("write the pid file {}", path.display())))
}
