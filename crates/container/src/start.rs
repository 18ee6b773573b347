//! Start: one straight way with steps back. What comes back is either a container that runs, or nothing left of the try.

use crate::check;
use crate::containers::{BUILTIN_RUNTIME, Container, Containers, Shared, lock, now_ns};
use crate::error::{Error, Result, conflict, invalid};
use crate::files::{self, Place};
use crate::mounts::{self, Kind};
use crate::outside;
use crate::record::Record;
use crate::spec::{self, Input, Joined};
use crate::state::{Endpoint, Phase, State};
use crate::undo::Undo;
use crate::user::{self, Account, Files};
use crate::view::View;
use oci::runtime::{Mount, Spec};
use std::net::IpAddr;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use supervisor::protocol::{self, Failure, FailureKind, Launch, PassedFd, StartRecord, Started};
use sys::step::{Step, reached};

/// Exit codes of a container whose command could not be executed.
const NOT_EXECUTABLE: i32 = 126;
const NOT_FOUND: i32 = 127;
const UNKNOWN: i32 = 128;
/// When the next start's supervisor is made if nobody expects it: a short command has come to its end by then.
const LATER: Duration = Duration::from_millis(20);

/// Why a start failed, and the exit code that `inspect` shows.
struct Failed {
    error: Error,
    code: i32,
}

impl From<Error> for Failed {
    fn from(error: Error) -> Failed {
        Failed { error, code: UNKNOWN }
    }
}

/// What is collected on the way for the supervisor.
#[derive(Default)]
struct Parts {
    fds: Vec<OwnedFd>,
    meaning: Vec<PassedFd>,
    joined: Joined,
    /// Open until the supervisor has answered: the specification names them by `/proc/<us>/fd/N`.
    held: Vec<OwnedFd>,
    endpoint: Option<Endpoint>,
    /// Whose files of /etc are mounted.
    files: PathBuf,
}

impl Parts {
    fn pass(&mut self, fd: OwnedFd, meaning: PassedFd) {
        self.fds.push(fd);
        self.meaning.push(meaning);
    }

    fn pass_network(&mut self, netns: network::Netns) {
        self.pass(netns.fd, PassedFd::NetworkNamespace);
        if let Some(sysfs) = netns.sysfs {
            self.pass(sysfs, PassedFd::Sysfs);
        }
    }
}

impl Containers {
    /// Starts a container that is there.
    ///
    /// # Errors
    /// `NotModified` when it runs; `Invalid` with exit code 126 or 127 in the state when its command cannot be executed.
    pub fn start(&self, name: &str) -> Result<()> {
        let c = self.shared.find(name)?;
        let _turn = c.turn_in_time()?;
        self.shared.check_startable(&c)?;
        self.shared.launch(&c, true)
    }
}

impl Shared {
    pub fn check_startable(&self, c: &Container) -> Result<()> {
        c.peek(|s| match s.phase {
            Phase::Running if s.paused => Err(conflict!("cannot start a paused container, try unpause instead")),
            Phase::Running | Phase::Restarting => Err(Error::NotModified("container is already running".into())),
            _ if s.removing || s.removed || s.phase == Phase::Dead => {
                Err(conflict!("container is marked for removal and cannot be started"))
            }
            _ => Ok(()),
        })
    }

    /// Starts; the caller has the turn.
    pub fn launch(self: &Arc<Shared>, c: &Arc<Container>, by_hand: bool) -> Result<()> {
        c.wait_for_copies()?;
        let record = c.record();
        match self.try_launch(c, &record) {
            Ok((started, endpoint, socket)) => {
                let run = started.started_ns;
                c.change(|s| {
                    if by_hand {
                        s.restart_count = 0;
                        s.stopped_by_hand = false;
                        s.backoff.reset();
                    }
                    s.started(&started, endpoint);
                });
                reached(Step::StartNoted);
                self.begin_probes(c);
                c.save();
                reached(Step::StartSaved);
                self.tell(c, "start", &[]);
                self.follow(c, socket.into(), run)?;
                reached(Step::StartFollowed);
                Ok(())
            }
            Err(failed) => {
                let text = failed.error.to_string();
                c.change(|s| s.start_failed(&text, failed.code, now_ns()));
                c.save();
                if record.host_config.auto_remove {
                    self.remove_now(c, true)?;
                }
                Err(failed.error)
            }
        }
    }

    fn try_launch(
        self: &Arc<Shared>,
        c: &Arc<Container>,
        record: &Record,
    ) -> std::result::Result<(StartRecord, Option<Endpoint>, std::os::unix::net::UnixStream), Failed> {
        reached(Step::StartBegun);
        let mut undo = Undo::default();
        let host = &record.host_config;
        let mut parts = self.network(c, record, &mut undo)?;
        reached(Step::StartNetwork);
        if let Some(other) = check::of_container(&host.pid_mode) {
            let path = self
                .namespace_of(other, "pid", &mut parts.held)
                .map_err(|e| e.context("failed to join PID namespace"))?;
            parts.joined.pid = Some(path);
        }
        let (rootfs, base) = self.rootfs(&c.id, host.auto_remove)?;
        let account = account(&rootfs, &base, record)?;
        let mut own = self.mounts(c, record, &mut parts, &mut undo)?;
        reached(Step::StartMounts);
        own.extend(files::mounts(&parts.files, &own, host.readonly_rootfs));
        own.sort_by_key(|m| m.destination.split('/').filter(|p| !p.is_empty()).count());
        let spec = self.spec(c, record, &account, own, &parts)?;
        let launch = self.launch_message(c, record, spec, (rootfs, base), &mut parts)?;
        if c.peek(|s| s.started_ns) != 0 {
            let _ = rustix::fs::unlink(c.dir.join(protocol::EXIT_RECORD));
        }
        let fds = std::mem::take(&mut parts.fds);
        reached(Step::StartMessage);
        let (started, socket, child) = self.spawner.spawn(launch, fds).map_err(|e| {
            self.clear_away(c);
            Error::System(format!("failed to start the supervisor {}: {e}", self.paths.init.display()))
        })?;
        match started {
            Started::Ok(started) => {
                reached(Step::StartSpawned);
                lock(&c.streams).child = Some(child);
                undo.forget();
                self.refill(LATER);
                Ok((started, parts.endpoint, socket))
            }
            Started::Failed(failure) => Err(of_failure(failure)),
        }
    }

    /// A supervisor that died without an answer may have got as far as the command.
    fn clear_away(&self, c: &Container) {
        if let Err(error) = self.reap_cgroup(&self.cgroup_of(c, &State::default())) {
            tracing::error!(container = %c.id, "what its supervisor left was not ended: {error}");
        }
        let _ = std::fs::remove_dir_all(&c.run);
    }

    /// Makes the next start's supervisor, if there is none by then.
    fn refill(&self, delay: Duration) {
        let spawner = self.spawner.clone();
        self.watcher.after(delay, move || spawner.refill());
    }

    /// Makes what a start needs, and is not there already, while the container is being created: most are started at once.
    pub(crate) fn expect_start(&self, record: &Record) {
        match record.host_config.network_mode.as_str() {
            mode if record.config.network_disabled || mode == "none" => self.rooms.networks.expect(false),
            "host" => {}
            mode if check::of_container(mode).is_some() => {}
            _ => self.rooms.networks.expect(true),
        }
        if self.spawner.waiting().is_none() {
            self.refill(Duration::ZERO);
        }
    }

    fn launch_message(
        &self,
        c: &Container,
        record: &Record,
        spec: Spec,
        (rootfs, rootfs_base): (Mount, PathBuf),
        parts: &mut Parts,
    ) -> Result<Launch> {
        let host = &record.host_config;
        for (meaning, stream) in lock(&c.streams).pending.drain(..) {
            parts.fds.push(stream.into());
            parts.meaning.push(meaning);
        }
        let runtime = match host.runtime.as_str() {
            "" | BUILTIN_RUNTIME => None,
            name => Some(
                self.options
                    .runtimes
                    .get(name)
                    .cloned()
                    .ok_or_else(|| invalid!("unknown or invalid runtime name: {name}"))?,
            ),
        };
        Ok(Launch {
            version: protocol::VERSION,
            id: c.id.clone(),
            state_dir: c.dir.clone(),
            run_dir: c.run.clone(),
            spec,
            rootfs: Some(rootfs),
            rootfs_base,
            open_stdin: record.config.open_stdin,
            stdin_once: record.config.stdin_once,
            log: c.log_of_run(record)?,
            runtime,
            systemd_cgroup: self.options.defaults.systemd_cgroup,
            // With another's or the host's pid namespace there is an init already.
            init: host.pid_mode.is_empty() && host.init.unwrap_or(self.options.init),
            filter_ahead: false,
            fds: parts.meaning.clone(),
        })
    }

    fn spec(
        &self,
        c: &Container,
        record: &Record,
        account: &Account,
        mounts: Vec<Mount>,
        parts: &Parts,
    ) -> Result<Spec> {
        let host = &record.host_config;
        let mut devices = if host.privileged { spec::all_of_host()? } else { vec![] };
        for mapping in &host.resources.devices {
            if host.privileged && mapping.path_on_host == mapping.path_in_container {
                continue;
            }
            devices.extend(spec::from_mapping(mapping)?);
        }
        spec::spec(Input {
            id: &c.id,
            config: &record.config,
            host,
            args: &record.command(),
            hostname: &record.config.hostname,
            account,
            mounts,
            joined: parts.joined.clone(),
            devices,
            block_io: spec::block_io(&host.resources)?,
            facts: &self.host,
            defaults: &self.options.defaults,
        })
    }

    /// A namespace of another container that runs, as a path that stays the same one while `held` is open.
    fn namespace_of(&self, other: &str, kind: &str, held: &mut Vec<OwnedFd>) -> Result<String> {
        let fd = self.namespace_fd(other, kind)?;
        let path = format!("/proc/{}/fd/{}", std::process::id(), fd.as_raw_fd());
        held.push(fd);
        Ok(path)
    }

    fn namespace_fd(&self, other: &str, kind: &str) -> Result<OwnedFd> {
        let donor = self.find(other)?;
        let (pid, start, phase) = donor.peek(|s| (s.pid, s.pid_start, s.phase));
        match phase {
            Phase::Running => {}
            Phase::Restarting => return Err(crate::error::text::restarting(&donor.id)),
            _ => return Err(crate::error::text::not_running(&donor.id)),
        }
        let path = PathBuf::from(format!("/proc/{pid}/ns/{kind}"));
        let fd = std::fs::File::open(&path).map_err(Error::io("open", &path))?;
        // Opened first, compared then: the number cannot have become someone else's in between unnoticed.
        match sys::process::start_time(pid) == Some(start) {
            true => Ok(fd.into()),
            false => Err(crate::error::text::not_running(&donor.id)),
        }
    }

    fn network(self: &Arc<Shared>, c: &Arc<Container>, record: &Record, undo: &mut Undo) -> Result<Parts> {
        let (config, host) = (&record.config, &record.host_config);
        let mut parts = Parts { files: c.dir.clone(), ..Parts::default() };
        let mut place = Place { ip: None, gateway: None, host: false };
        match host.network_mode.as_str() {
            mode if config.network_disabled || mode == "none" => {
                parts.pass_network(self.loopback()?);
                parts.endpoint = Some(Endpoint { network_id: self.network_id("none"), ..Endpoint::default() });
            }
            "host" => {
                place.host = true;
                parts.endpoint = Some(Endpoint { network_id: self.network_id("host"), ..Endpoint::default() });
            }
            mode if check::of_container(mode).is_some() => {
                let donor = self.find(&mode["container:".len()..])?;
                let joined = self.namespace_fd(&donor.id, "net").map_err(|e| match e {
                    Error::Conflict(_) => {
                        conflict!("cannot join network namespace of a non running container: {}", donor.id)
                    }
                    other => other,
                })?;
                parts.pass(joined, PassedFd::NetworkNamespace);
                parts.files = donor.dir.clone();
                return Ok(parts);
            }
            _ => {
                let (netns, sockets, endpoint) = self.join(&c.id, &join(record)?)?;
                let (of_undo, id) = (self.clone(), c.id.clone());
                undo.push(move || of_undo.leave(&id));
                (place.ip, place.gateway) = (endpoint.ip, endpoint.gateway);
                parts.pass_network(netns);
                for socket in sockets {
                    parts.pass(socket, PassedFd::Port);
                }
                parts.endpoint = Some(endpoint);
            }
        }
        files::write(c, record, &config.hostname, &place, &self.options)?;
        Ok(parts)
    }

    /// The container's own mounts: volumes, binds, tmpfs, shared memory.
    fn mounts(&self, c: &Container, record: &Record, parts: &mut Parts, undo: &mut Undo) -> Result<Vec<Mount>> {
        let host = &record.host_config;
        let mut out = Vec::new();
        for point in &record.mounts {
            let source = match point.kind {
                Kind::Tmpfs => String::new(),
                Kind::Bind => {
                    self.bind_source(&point.source, point.create_source)?;
                    point.source.clone()
                }
                Kind::Volume => self.volume_source(point, &mut parts.held)?,
            };
            out.push(spec::bind_mount(point, &source));
        }
        for (destination, options) in &host.tmpfs {
            out.push(Mount {
                destination: mounts::clean(destination),
                kind: "tmpfs".into(),
                source: "tmpfs".into(),
                options: mounts::tmpfs_options(options)?,
                ..Mount::default()
            });
        }
        if let Some(source) = self.shared_memory(c, host, parts, undo)?
            && !out.iter().any(|m| m.destination == "/dev/shm")
        {
            let options = vec!["rbind".into(), "rprivate".into()];
            out.push(Mount {
                destination: "/dev/shm".into(),
                kind: "bind".into(),
                source,
                options,
                ..Mount::default()
            });
        }
        Ok(out)
    }

    /// `-v` makes a missing directory on the host, `--mount` refuses.
    fn bind_source(&self, source: &str, create: bool) -> Result<()> {
        if create {
            return outside::ensure(&self.paths.init, source);
        }
        match outside::exists(&self.paths.init, source)? {
            true => Ok(()),
            false => Err(invalid!("invalid mount config for type \"bind\": bind source path does not exist: {source}")),
        }
    }

    /// Where a volume is; a part of it is opened, so that nothing moved in the volume leads out of it.
    fn volume_source(&self, point: &mounts::MountPoint, held: &mut Vec<OwnedFd>) -> Result<String> {
        let root = self.rooms.volumes.mountpoint(&point.name)?;
        if point.subpath.is_empty() {
            return Ok(root.to_string_lossy().into_owned());
        }
        let missing = |e: rustix::io::Errno| {
            invalid!("cannot access path {}: {}", root.join(&point.subpath).display(), std::io::Error::from(e))
        };
        let fd = sys::rootfs::open_root(&root).map_err(missing)?;
        let part =
            sys::rootfs::resolve(std::os::fd::AsFd::as_fd(&fd), point.subpath.as_bytes(), rustix::fs::OFlags::PATH);
        let part = part.map_err(missing)?;
        let path = format!("/proc/{}/fd/{}", std::process::id(), part.as_raw_fd());
        held.push(part);
        Ok(path)
    }

    /// What is bound over /dev/shm: the host's, another container's, or one that others may share.
    fn shared_memory(
        &self,
        c: &Container,
        host: &api::container::HostConfig,
        parts: &mut Parts,
        undo: &mut Undo,
    ) -> Result<Option<String>> {
        if host.ipc_mode == "host" {
            return Ok(Some("/dev/shm".into()));
        }
        if let Some(other) = check::of_container(&host.ipc_mode) {
            let donor = self.find(other)?;
            let donor_mode = donor.record().host_config.ipc_mode.clone();
            let path = self
                .namespace_of(other, "ipc", &mut parts.held)
                .map_err(|e| e.context("failed to join IPC namespace"))?;
            parts.joined.ipc = Some(path);
            return match donor_mode.as_str() {
                "host" => Ok(Some("/dev/shm".into())),
                "shareable" => Ok(Some(self.shm_path(&donor.id).to_string_lossy().into_owned())),
                _ => Err(invalid!(
                    "failed to join IPC namespace: container {}: non-shareable IPC (hint: use IpcMode:shareable for the donor container)",
                    donor.id
                )),
            };
        }
        if host.ipc_mode != "shareable" {
            return Ok(None);
        }
        // The one mount on the host: others bind it, so it cannot be inside the container's own mount namespace.
        let path = self.shm_path(&c.id);
        std::fs::create_dir_all(&path).map_err(Error::io("mkdir", &path))?;
        let data = std::ffi::CString::new(format!("mode=1777,size={}", host.shm_size)).unwrap_or_default();
        let flags =
            rustix::mount::MountFlags::NOEXEC | rustix::mount::MountFlags::NOSUID | rustix::mount::MountFlags::NODEV;
        rustix::mount::mount("shm", &path, "tmpfs", flags, data.as_c_str())
            .map_err(|e| Error::io("mount", &path)(e.into()))?;
        let of_undo = path.clone();
        undo.push(move || unmount_shm(&of_undo));
        Ok(Some(path.to_string_lossy().into_owned()))
    }

    pub fn shm_path(&self, id: &str) -> PathBuf {
        self.paths.run.join("shm").join(id)
    }
}

/// Takes a container's shared memory away, if it has one on the host.
pub(crate) fn unmount_shm(path: &Path) {
    if rustix::mount::unmount(path, rustix::mount::UnmountFlags::DETACH).is_ok() || path.exists() {
        let _ = std::fs::remove_dir(path);
    }
}

/// The user against the files of the layers: the root is mounted nowhere yet.
pub(crate) fn account(rootfs: &Mount, base: &Path, record: &Record) -> Result<Account> {
    let view = View::open(rootfs, base).map_err(Error::io("open layers below", base))?;
    let read = |path: &str| {
        view.read(path, user::MAX_FILE).map_err(|e| invalid!("unable to read {path} in the container: {}", words(&e)))
    };
    let files = Files { passwd: read("/etc/passwd")?, group: read("/etc/group")? };
    user::resolve(&record.config.user, &record.host_config.group_add, &files)
}

/// Why a file of the container cannot be read.
pub(crate) fn words(e: &std::io::Error) -> String {
    match e.raw_os_error().map(rustix::io::Errno::from_raw_os_error) {
        Some(rustix::io::Errno::FBIG) => format!("it is larger than {} bytes", user::MAX_FILE),
        Some(rustix::io::Errno::INVAL) => "it is not a regular file".into(),
        _ => e.to_string(),
    }
}

/// What is asked of the default network.
fn join(record: &Record) -> Result<network::Join> {
    let host = &record.host_config;
    let mut ports = Vec::new();
    let mut publish = |port: &str, ip: &str, range: Option<(u16, u16)>| -> Result<()> {
        let (container_port, proto) = check::parse_port(port)?;
        let host_ip = match ip {
            "" => None,
            ip => Some(ip.parse::<IpAddr>().map_err(|_| invalid!("invalid IP address: {ip}"))?),
        };
        ports.push(network::PublishedPort {
            proto,
            container_port,
            host_ip,
            host_port: range.map(|r| r.0),
            host_port_end: range.map(|r| r.1).filter(|end| Some(*end) != range.map(|r| r.0)),
        });
        Ok(())
    };
    for (port, bindings) in &host.port_bindings {
        if bindings.is_empty() {
            publish(port, "", None)?;
        }
        for binding in bindings {
            publish(port, &binding.host_ip, check::host_ports(&binding.host_port)?)?;
        }
    }
    if host.publish_all_ports {
        for port in record.config.exposed_ports.keys() {
            if !host.port_bindings.contains_key(port) {
                publish(port, "", None)?;
            }
        }
    }
    let endpoint = record.networking.endpoints_config.values().flatten().next();
    let mac = endpoint.map(|e| e.mac_address.as_str()).filter(|m| !m.is_empty());
    let mac = mac.or(Some(record.config.mac_address.as_str())).filter(|m| !m.is_empty());
    Ok(network::Join {
        name: record.name.clone(),
        mac: mac.map(check::mac).transpose()?.map(network::Mac),
        ip: None,
        ports,
    })
}

/// dockerd's sentence around the runtime's, and the exit code; clients look for words in it.
fn of_failure(failure: Failure) -> Failed {
    const BEFORE: &str = "OCI runtime create failed: ";
    let text = failure.text.strip_prefix(BEFORE).unwrap_or(&failure.text);
    let wrapped = format!("failed to create task for container: failed to create shim task: {BEFORE}{text}: unknown");
    match failure.kind {
        FailureKind::CommandNotFound => Failed { error: Error::Invalid(wrapped), code: NOT_FOUND },
        FailureKind::NotExecutable => {
            let lacks = !wrapped.contains("permission denied");
            let text = if lacks { format!("{wrapped}: permission denied") } else { wrapped };
            Failed { error: Error::Invalid(text), code: NOT_EXECUTABLE }
        }
        FailureKind::Invalid if failure.text.contains("not a directory") => Failed {
            error: Error::Invalid(format!(
                "{wrapped}: Are you trying to mount a directory onto a file (or vice-versa)? Check if the specified host path exists and is the expected type"
            )),
            code: NOT_FOUND,
        },
        FailureKind::Invalid => Failed { error: Error::Invalid(wrapped), code: UNKNOWN },
        FailureKind::System => Failed { error: Error::System(wrapped), code: UNKNOWN },
    }
}
