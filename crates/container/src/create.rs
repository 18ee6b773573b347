//! Create: everything that can be refused is refused first; then the parts are made in order, and undone if one fails.

use crate::check;
use crate::containers::{BUILTIN_RUNTIME, Container, Containers, Shared, now_ns};
use crate::error::{Error, Result, conflict, invalid, text};
use crate::mounts::{self, Kind, MountPoint};
use crate::record::{self, Record, VERSION};
use crate::rooms::Base;
use crate::state::State;
use crate::undo::Undo;
use crate::{config, names, outside, spec, strict};
use api::container::{CreateContainer, Created, HostConfig};
use oci::Platform;
use std::os::unix::fs::DirBuilderExt;
use std::sync::{Arc, Weak};
use std::time::Duration;
use sys::step::{Step, reached};

/// How long a container may live without its record being on the disk for good.
const SYNC_AFTER: Duration = Duration::from_secs(1);
const SHM_SIZE: i64 = 64 << 20;

impl Containers {
    /// Makes a container. `name` may be empty.
    ///
    /// # Errors
    /// `NotFound` for the image, `Conflict` for the name, `Invalid` for what makes no sense; nothing is left then.
    pub fn create(&self, name: &str, platform: Option<&Platform>, request: CreateContainer) -> Result<Created> {
        let shared = &self.shared;
        let CreateContainer { mut config, host_config, networking_config } = request;
        let mut host = host_config.unwrap_or_default();
        let networking = networking_config.unwrap_or_default();
        let exists = |path: &str| outside::exists(&shared.paths.init, path);
        let mut warnings = check::create(&mut config, &mut host, &shared.host, &exists)?;
        let bare = if name.is_empty() { None } else { Some(names::check_name(name)?) };
        check_endpoints(&networking)?;
        shared.normalize(&mut host)?;
        let base = match config.image.as_str() {
            "" => None,
            image => Some(shared.image(image, platform)?),
        };
        if let (Some(base), None) = (&base, platform) {
            let here = Platform::host();
            if here.rank(&base.platform).is_none() {
                warnings.push(format!(
                    "The requested image's platform ({}) does not match the detected host platform ({here}) and no specific platform was requested",
                    base.platform
                ));
            }
        }
        config::merge(&mut config, base.as_ref().map(|b| &b.image.config.config))?;
        let id = names::random_id();
        check::log(&host.log_config)?;
        if config.hostname.is_empty() {
            config.hostname = shared.hostname(&id, &host);
        }
        let points = shared.mount_points(&config, &host)?;
        let (path, args) = config::command(&config);
        let image = base.as_ref().map(|b| b.image.id.to_string()).unwrap_or_default();
        let record = Record {
            version: VERSION,
            id: id.clone(),
            name: String::new(),
            created_ns: now_ns(),
            image,
            path,
            args,
            config,
            host_config: host,
            networking,
            mounts: points,
        };
        shared.make(bare, record, base.as_ref())?;
        Ok(Created { id, warnings })
    }
}

impl Shared {
    /// Name, directory, writable layer, volumes, record; all of it or nothing.
    fn make(self: &Arc<Shared>, name: Option<&str>, mut record: Record, base: Option<&Base>) -> Result<()> {
        reached(Step::CreateBegun);
        let mut undo = Undo::default();
        let id = record.id.clone();
        record.name = self.take_name(name, &id)?;
        reached(Step::CreateNamed);
        self.expect_start(&record);
        let (of_undo, taken) = (self.clone(), record.name.clone());
        undo.push(move || drop(of_undo.table_mut().names.remove(&taken)));

        let dir = self.paths.root.join(&id);
        let made = std::fs::DirBuilder::new().mode(0o710).create(&dir);
        made.map_err(Error::io("mkdir", &dir))?;
        reached(Step::CreateDirectory);
        let of_undo = dir.clone();
        undo.push(move || drop(std::fs::remove_dir_all(of_undo)));

        let (of_undo, of_id) = (self.clone(), id.clone());
        undo.push(move || drop(of_undo.discard(&of_id)));
        self.prepare(&id, base)?;
        reached(Step::CreateLayer);

        for at in 0..record.mounts.len() {
            let new = self.ensure_volume(&mut record.mounts[at])?;
            let point = &record.mounts[at];
            reached(Step::CreateVolume);
            if new {
                let (of_undo, volume) = (self.clone(), point.name.clone());
                undo.push(move || drop(of_undo.remove_volume(&volume)));
            }
            if point.kind == Kind::Volume && point.copy {
                self.copy_up(&id, point)?;
                reached(Step::CreateFilled);
            }
        }
        record::write_config(&dir, &record)?;
        reached(Step::CreateRecord);
        let container = Arc::new(Container::new(self, record, State::default()));
        self.table_mut().by_id.insert(id.clone(), container.clone());
        reached(Step::CreateKnown);
        undo.forget();
        self.tell(&container, "create", &[]);
        self.sync_later(&container);
        Ok(())
    }

    fn take_name(&self, name: Option<&str>, id: &str) -> Result<String> {
        if let Some(name) = name {
            self.reserve_name(name, id)?;
            return Ok(name.to_owned());
        }
        for attempt in 0..6 {
            let name = names::random_name(attempt);
            if self.reserve_name(&name, id).is_ok() {
                return Ok(name);
            }
        }
        self.reserve_name(&id[..12], id)?;
        Ok(id[..12].to_owned())
    }

    /// Once the container has shown that it stays, its record is made to survive a power cut. What is gone by then, as after
    /// `run --rm`, has cost no fsync.
    pub fn sync_later(&self, container: &Arc<Container>) {
        let container: Weak<Container> = Arc::downgrade(container);
        self.watcher.after(SYNC_AFTER, move || {
            let Some(container) = container.upgrade() else { return };
            if container.peek(|s| s.removing || s.removed) {
                return;
            }
            if let Err(error) = record::sync(&container.dir)
                && !container.peek(|s| s.removed)
            {
                tracing::error!(container = %container.id, "record not synced: {error}");
            }
        });
    }

    /// What the engine's options, and Docker's defaults, say where the request does not.
    fn normalize(&self, host: &mut HostConfig) -> Result<()> {
        let options = &self.options;
        let defaulted = |value: &mut String, default: &str| {
            if value.is_empty() {
                default.clone_into(value);
            }
        };
        if host.resources.memory > 0 && host.resources.memory_swap == 0 {
            host.resources.memory_swap = host.resources.memory.saturating_mul(2);
        }
        if host.shm_size == 0 {
            host.shm_size = if options.shm_size > 0 { options.shm_size } else { SHM_SIZE };
        }
        defaulted(&mut host.ipc_mode, if options.ipc_mode.is_empty() { "private" } else { &options.ipc_mode });
        if options.defaults.systemd_cgroup {
            check::parent_slice(&host.resources.cgroup_parent)?;
        }
        let unified = self.host.cgroups.unified;
        let strictly = strict::is_asked(host, options.defaults.profile, &self.host)?;
        let cgroupns = match (options.cgroupns_mode.as_str(), unified) {
            _ if host.privileged && !unified => "host",
            ("", true) => "private",
            ("", false) if strictly => "private",
            ("", false) => "host",
            (mode, _) => mode,
        };
        defaulted(&mut host.cgroupns_mode, cgroupns);
        defaulted(&mut host.network_mode, "default");
        if host.network_mode == "default" {
            host.network_mode = if self.rooms.networks.disabled() { "none" } else { "bridge" }.into();
        }
        if host.network_mode == "bridge" && self.rooms.networks.disabled() {
            return Err(Error::NotFound("network bridge not found".into()));
        }
        defaulted(&mut host.restart_policy.name, "no");
        // Options without a driver are for the default one, and fill in what is not given.
        let default_log = if options.log.kind.is_empty() { "json-file" } else { &options.log.kind };
        defaulted(&mut host.log_config.kind, default_log);
        if host.log_config.kind == default_log {
            for (key, value) in &options.log.config {
                host.log_config.config.entry(key.clone()).or_insert_with(|| value.clone());
            }
        }
        defaulted(
            &mut host.runtime,
            if options.default_runtime.is_empty() { BUILTIN_RUNTIME } else { &options.default_runtime },
        );
        if host.runtime != BUILTIN_RUNTIME && !options.runtimes.contains_key(&host.runtime) {
            return Err(invalid!("unknown or invalid runtime name: {}", host.runtime));
        }
        host.resources.oom_kill_disable.get_or_insert(false);
        for mode in [&mut host.pid_mode, &mut host.ipc_mode, &mut host.network_mode] {
            if let Some(other) = mode.strip_prefix("container:") {
                *mode = format!("container:{}", self.find(other).map_err(|e| self.joins_nobody(e, other))?.id);
            }
        }
        strict::settle(host, options.defaults.profile, &self.host)?;
        let open = host.privileged || host.security_opt.iter().any(|o| o == "systempaths=unconfined");
        if host.masked_paths.is_null() && !open {
            host.masked_paths = spec::default_masked(&self.host).into();
        }
        if host.readonly_paths.is_null() && !open {
            host.readonly_paths = spec::default_read_only().into();
        }
        Ok(())
    }

    fn joins_nobody(&self, error: Error, name: &str) -> Error {
        match error {
            Error::NotFound(_) => text::no_such_container(name),
            other => other,
        }
    }

    fn hostname(&self, id: &str, host: &HostConfig) -> String {
        if host.uts_mode == "host" || host.network_mode == "host" {
            return rustix::system::uname().nodename().to_string_lossy().into_owned();
        }
        match host.network_mode.strip_prefix("container:").and_then(|other| self.find(other).ok()) {
            Some(other) => other.record().config.hostname.clone(),
            None => id[..12].to_owned(),
        }
    }

    /// `--volumes-from`, `-v`, `--mount`, then the image's VOLUMEs where nothing else is; those above first.
    fn mount_points(&self, config: &api::container::ContainerConfig, host: &HostConfig) -> Result<Vec<MountPoint>> {
        let mut all: Vec<MountPoint> = Vec::new();
        let put = |all: &mut Vec<MountPoint>, point: MountPoint| {
            all.retain(|m| m.destination != point.destination);
            all.push(point);
        };
        for from in &host.volumes_from {
            let (name, writable) = mounts::parse_volumes_from(from)?;
            for point in &self.find(name)?.record().mounts {
                let shared = MountPoint { copy: false, rw: point.rw && writable, anonymous: false, ..point.clone() };
                put(&mut all, shared);
            }
        }
        let mut own: Vec<String> = host.tmpfs.keys().map(|d| mounts::clean(d)).collect();
        let mut add = |all: &mut Vec<MountPoint>, point: MountPoint| {
            if own.contains(&point.destination) {
                return Err(conflict_point(&point.destination));
            }
            own.push(point.destination.clone());
            put(all, point);
            Ok(())
        };
        for bind in &host.binds {
            add(&mut all, mounts::parse_bind(bind, &host.volume_driver)?)?;
        }
        for mount in &host.mounts {
            add(&mut all, mounts::parse_mount(mount, |_| Ok(true))?)?;
        }
        for destination in config.volumes.keys() {
            let destination = mounts::clean(destination);
            let covered = own.contains(&destination) || all.iter().any(|m| m.destination == destination);
            if !covered && destination != "/" {
                all.push(MountPoint {
                    kind: Kind::Volume,
                    anonymous: true,
                    driver: "local".into(),
                    destination,
                    rw: true,
                    copy: true,
                    ..MountPoint::default()
                });
            }
        }
        mounts::sort(&mut all);
        Ok(all)
    }
}

fn conflict_point(destination: &str) -> Error {
    invalid!("Duplicate mount point: {destination}")
}

/// What is asked of networks: addresses of one's own only where networks are one's own.
fn check_endpoints(networking: &api::container::NetworkingConfig) -> Result<()> {
    for (name, endpoint) in &networking.endpoints_config {
        let Some(endpoint) = endpoint else {
            return Err(invalid!("invalid config for network {name}: EndpointsConfig is nil"));
        };
        let wrong = |why: &str| invalid!("invalid config for network {name}: {why}");
        if !endpoint.aliases.is_empty() {
            return Err(wrong("network-scoped alias is supported only for containers in user defined networks"));
        }
        if endpoint.ipam_config.as_ref().is_some_and(|i| !i.ipv4_address.is_empty() || !i.ipv6_address.is_empty()) {
            return Err(wrong("user specified IP address is supported on user defined networks only"));
        }
        if !endpoint.links.is_empty() || !endpoint.driver_opts.is_empty() {
            return Err(Error::Unsupported(format!(
                "links and driver options of network {name} are not supported by this engine"
            )));
        }
        if !endpoint.mac_address.is_empty() {
            check::mac(&endpoint.mac_address)?;
        }
    }
    match networking.endpoints_config.len() {
        0 | 1 => Ok(()),
        _ => Err(conflict!(
            "Container cannot be connected to network endpoints: more than one network is not supported by this engine"
        )),
    }
}
