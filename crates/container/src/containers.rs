//! The handle, the table of containers, and how a name becomes one of them.

use crate::error::{Error, Result, conflict, invalid, text};
use crate::events::Events;
use crate::exec::Exec;
use crate::host::Host;
use crate::record::Record;
use crate::spec::Defaults;
use crate::state::State;
use crate::watch::{Timers, Watcher};
use api::event::Event;
use image::Images;
use layer::Layers;
use network::Networks;
use std::collections::{BTreeMap, HashMap};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::Child;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard, Weak};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use supervisor::protocol::{ForeignRuntime, PassedFd};
use tokio::sync::watch;
use volume::Volumes;

/// Where containers live.
#[derive(Debug, Clone)]
pub struct Paths {
    /// Durable: `/var/lib/dhow/container`.
    pub root: PathBuf,
    /// On tmpfs: `/run/dhow/container`.
    pub run: PathBuf,
    /// The `dhow-init` that runs supervisors.
    pub init: PathBuf,
}

/// The rooms this one joins.
#[derive(Clone)]
#[allow(missing_docs)]
pub struct Rooms {
    pub images: Images,
    pub layers: Layers,
    pub networks: Networks,
    pub volumes: Volumes,
}

/// What the engine's own options say.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Ulimits, parent control group, seccomp profile, no-new-privileges.
    pub defaults: Defaults,
    /// `--default-shm-size`, bytes; 0 is 64 MiB.
    pub shm_size: i64,
    /// `--default-ipc-mode`; empty is `private`.
    pub ipc_mode: String,
    /// `--default-cgroupns-mode`; empty is `private` on version 2 and `host` on version 1.
    pub cgroupns_mode: String,
    /// `--init`
    pub init: bool,
    /// `--log-driver`, `--log-opt`
    pub log: api::container::LogConfig,
    /// `--dns` and its kin.
    pub dns: Vec<String>,
    /// `--dns-search`
    pub dns_search: Vec<String>,
    /// `--dns-opt`
    pub dns_options: Vec<String>,
    /// `--host-gateway-ip`; otherwise the bridge's address.
    pub host_gateway: Option<std::net::IpAddr>,
    /// `--add-runtime`, by name; the built-in one has the name [`BUILTIN_RUNTIME`].
    pub runtimes: BTreeMap<String, ForeignRuntime>,
    /// `--default-runtime`; empty is the built-in one.
    pub default_runtime: String,
    /// `--shutdown-timeout`, seconds, and a container's own stop timeout where it has none.
    pub stop_timeout: Option<i64>,
}

impl Options {
    /// Refuses what no container could be made with, before there is one.
    ///
    /// # Errors
    /// As for a container that asks for it.
    pub fn check(&self) -> Result<()> {
        crate::check::options(self)
    }
}

/// Name of the runtime inside `dhow-init`.
pub const BUILTIN_RUNTIME: &str = "dhow";

/// How long a command waits for another one with the same container.
const PATIENCE: Duration = Duration::from_secs(15);

/// All containers of one engine. Cheap to clone.
#[derive(Clone)]
pub struct Containers {
    pub(crate) shared: Arc<Shared>,
}

pub(crate) struct Shared {
    pub paths: Paths,
    pub rooms: Rooms,
    pub options: Options,
    pub host: Host,
    pub events: Events,
    pub watcher: Watcher,
    pub table: RwLock<Table>,
    pub changes: Changes,
    /// The last answer of [`Containers::brief`].
    pub brief: Mutex<Option<crate::list::Brief>>,
    pub execs: Mutex<HashMap<String, Arc<Exec>>>,
    /// One prune at a time.
    pub pruning: Mutex<()>,
    /// The engine goes down: nothing restarts.
    pub closing: std::sync::atomic::AtomicBool,
    /// Makes supervisors, and keeps one ready.
    pub spawner: Arc<supervisor::Spawner>,
    /// While it is open, moves between cgroups are quick on kernels before 6.18 (`docs/adr/002`).
    pub _moves: Option<OwnedFd>,
}

/// Who there is.
#[derive(Default)]
pub(crate) struct Table {
    pub by_id: BTreeMap<String, Arc<Container>>,
    /// Names without slash, those of containers that are just being made included.
    pub names: HashMap<String, String>,
}

/// Counts what is done to containers, each time while the thing that changes is locked: what was looked at since the same
/// number was read is as it was.
#[derive(Debug, Clone, Default)]
pub(crate) struct Changes(Arc<AtomicU64>);

impl Changes {
    fn note(&self) {
        self.0.fetch_add(1, Ordering::AcqRel);
    }

    pub fn count(&self) -> u64 {
        self.0.load(Ordering::Acquire)
    }
}

/// One container.
pub(crate) struct Container {
    pub id: String,
    /// `<root>/<id>`
    pub dir: PathBuf,
    /// `<run>/<id>`
    pub run: PathBuf,
    record: RwLock<Arc<Record>>,
    state: Mutex<Arc<State>>,
    changed: Condvar,
    seen: watch::Sender<Seen>,
    /// Taken through one change of state (start, the work after an end, removal …), never while waiting for the container.
    turn: (Mutex<bool>, Condvar),
    pub streams: Mutex<Streams>,
    pub prober: Mutex<crate::probe::Prober>,
    /// How many copies are at work in the root while it is mounted nowhere else.
    pub copies: (Mutex<u32>, Condvar),
    /// The state on the disk is an earlier one.
    unsaved: AtomicBool,
    timers: Timers,
    changes: Changes,
}

/// What hangs on a container's streams.
#[derive(Default)]
pub(crate) struct Streams {
    /// Attached before the start.
    pub pending: Vec<(PassedFd, UnixStream)>,
    /// Hang up when the container has ended for good: readers of the log wait for it.
    pub followers: Vec<Weak<UnixStream>>,
    /// The supervisor, which is our child when this engine started it.
    pub child: Option<Child>,
}

/// What waiters see of a state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Seen {
    pub running: bool,
    pub exits: u64,
    pub code: i32,
    pub removed: bool,
}

/// A container's turn; dropped, it is the next one's.
pub(crate) struct Turn<'a>(&'a (Mutex<bool>, Condvar));

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        *lock(&self.0.0) = false;
        self.0.1.notify_one();
    }
}

/// When a disk that refused a state is asked again.
const SAVE_AGAIN: Duration = Duration::from_secs(2);

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Nanoseconds since the epoch.
pub(crate) fn now_ns() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

impl Container {
    pub fn new(shared: &Shared, record: Record, state: State) -> Container {
        let (paths, id) = (&shared.paths, record.id.clone());
        let seen = Seen { running: state.is_running(), code: state.exit_code, ..Seen::default() };
        Container {
            dir: paths.root.join(&id),
            run: paths.run.join(&id),
            id,
            record: RwLock::new(Arc::new(record)),
            state: Mutex::new(Arc::new(state)),
            changed: Condvar::new(),
            seen: watch::Sender::new(seen),
            turn: Default::default(),
            streams: Mutex::default(),
            prober: Mutex::default(),
            copies: Default::default(),
            unsaved: AtomicBool::new(false),
            timers: shared.watcher.timers(),
            changes: shared.changes.clone(),
        }
    }

    /// Waits until the supervisor of a run that has ended is gone. It has given back all that it had, and is about to be.
    pub fn wait_for_supervisor(&self) {
        let child = lock(&self.streams).child.take();
        if let Some(mut child) = child {
            let _ = child.wait();
        }
    }

    /// What it is.
    pub fn record(&self) -> Arc<Record> {
        self.record.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub fn set_record(&self, record: Record) {
        let mut now = self.record.write().unwrap_or_else(PoisonError::into_inner);
        *now = Arc::new(record);
        self.changes.note();
    }

    /// What it does, at this moment.
    pub fn state(&self) -> Arc<State> {
        lock(&self.state).clone()
    }

    /// Reads one thing of the state.
    pub fn peek<T>(&self, read: impl FnOnce(&State) -> T) -> T {
        read(&lock(&self.state))
    }

    /// Changes the state and wakes whoever waits for it.
    pub fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let mut state = lock(&self.state);
        let out = change(Arc::make_mut(&mut state));
        self.changes.note();
        let (running, exits) = (state.is_running(), state.exits);
        self.seen.send_replace(Seen { running, exits, code: state.exit_code, removed: state.removed });
        self.changed.notify_all();
        out
    }

    /// One change of state at a time.
    pub fn turn(&self) -> Turn<'_> {
        let mut taken = lock(&self.turn.0);
        while *taken {
            taken = self.turn.1.wait(taken).unwrap_or_else(PoisonError::into_inner);
        }
        *taken = true;
        Turn(&self.turn)
    }

    /// The same for a client, who is told when what goes on does not end, as on a dead file system.
    ///
    /// # Errors
    /// `Conflict`
    pub fn turn_in_time(&self) -> Result<Turn<'_>> {
        let deadline = Instant::now() + PATIENCE;
        let mut taken = lock(&self.turn.0);
        while *taken {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(conflict!(
                    "container {} is busy: what another command has begun with it has not ended for {PATIENCE:?}",
                    self.id
                ));
            }
            taken = self.turn.1.wait_timeout(taken, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        *taken = true;
        Ok(Turn(&self.turn))
    }

    /// The same for someone who does not wait.
    pub fn try_turn(&self) -> Option<Turn<'_>> {
        let mut taken = lock(&self.turn.0);
        match std::mem::replace(&mut *taken, true) {
            true => None,
            false => Some(Turn(&self.turn)),
        }
    }

    pub fn watch(&self) -> watch::Receiver<Seen> {
        self.seen.subscribe()
    }

    /// Waits until the state is as wanted; false when the deadline came first.
    pub fn wait_until(&self, deadline: Option<Instant>, wanted: impl Fn(&State) -> bool) -> bool {
        let mut state = lock(&self.state);
        loop {
            if wanted(&state) {
                return true;
            }
            state = match deadline.map(|d| d.saturating_duration_since(Instant::now())) {
                None => self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
                Some(left) if left.is_zero() => return false,
                Some(left) => self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0,
            };
        }
    }

    /// Writes the state; a disk that refuses is reported and does not stop what happens: it is asked again later. The
    /// caller has the turn. Says whether it was written.
    pub fn save(self: &Arc<Container>) -> bool {
        let mut state = Arc::unwrap_or_clone(self.state());
        state.version = crate::record::VERSION;
        if state.removed {
            return true;
        }
        let Err(error) = crate::record::write_state(&self.dir, &state) else {
            self.unsaved.store(false, Ordering::Release);
            return true;
        };
        tracing::error!(container = %self.id, "state not saved: {error}");
        if !self.unsaved.swap(true, Ordering::AcqRel) {
            self.save_later();
        }
        false
    }

    fn save_later(self: &Arc<Container>) {
        let container = Arc::downgrade(self);
        self.timers.after(SAVE_AGAIN, move || {
            let Some(container) = container.upgrade() else { return };
            let _turn = container.turn();
            if container.unsaved.swap(false, Ordering::AcqRel) && container.save() {
                // The last run's record of its end is not needed any more.
                container.forget_run();
            }
        });
    }

    /// Removes what a run that is over has left for want of room for its record.
    pub fn forget_run(&self) {
        if self.peek(|s| s.phase != crate::state::Phase::Running) && self.run.exists() {
            let _ = std::fs::remove_dir_all(&self.run);
        }
    }
}

impl Shared {
    pub fn table(&self) -> RwLockReadGuard<'_, Table> {
        self.table.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn table_mut(&self) -> RwLockWriteGuard<'_, Table> {
        let table = self.table.write().unwrap_or_else(PoisonError::into_inner);
        self.changes.note();
        table
    }

    /// By ID, name, or the beginning of an ID.
    pub fn find(&self, name: &str) -> Result<Arc<Container>> {
        if name.is_empty() {
            return Err(invalid!("invalid name or ID supplied: \"\""));
        }
        let table = self.table();
        let bare = name.strip_prefix('/').unwrap_or(name);
        let named = table.names.get(bare).and_then(|id| table.by_id.get(id));
        if let Some(found) = table.by_id.get(name).or(named) {
            return Ok(found.clone());
        }
        let mut begins = table.by_id.range(name.to_owned()..).take_while(|(id, _)| id.starts_with(name));
        match (begins.next(), begins.next()) {
            (Some((_, found)), None) => Ok(found.clone()),
            (Some(_), Some(_)) => Err(invalid!("multiple IDs found with provided prefix: {name}")),
            (None, _) => Err(text::no_such_container(name)),
        }
    }

    /// All of them, in the order of their IDs.
    pub fn all(&self) -> Vec<Arc<Container>> {
        self.table().by_id.values().cloned().collect()
    }

    /// Takes a name for an ID.
    pub fn reserve_name(&self, name: &str, id: &str) -> Result<()> {
        let mut table = self.table_mut();
        match table.names.get(name) {
            Some(other) if other != id => Err(conflict!(
                "Conflict. The container name \"/{name}\" is already in use by container \"{other}\". You have to remove (or rename) that container to be able to reuse that name."
            )),
            _ => {
                table.names.insert(name.to_owned(), id.to_owned());
                Ok(())
            }
        }
    }

    /// Tells of something that happened to a container.
    pub fn tell(&self, container: &Container, action: &str, extra: &[(&str, String)]) {
        let record = container.record();
        let mut attributes = record.config.labels.clone();
        attributes.insert("image".into(), record.config.image.clone());
        attributes.insert("name".into(), record.name.clone());
        for (key, value) in extra {
            attributes.insert((*key).to_owned(), value.clone());
        }
        self.events.publish(Event::new("container", action, &container.id, attributes, now_ns() as i64));
    }
}

impl Containers {
    /// What happens.
    pub fn events(&self) -> &Events {
        &self.shared.events
    }

    /// What this machine is.
    pub fn host(&self) -> &Host {
        &self.shared.host
    }

    /// The full ID of what a user typed.
    ///
    /// # Errors
    /// When there is none, or more than one.
    pub fn id(&self, name: &str) -> Result<String> {
        Ok(self.shared.find(name)?.id.clone())
    }

    /// A container that uses the image, if there is one, and whether it runs.
    pub fn using_image(&self, image: &str) -> Option<(String, bool)> {
        let users = self.shared.all().into_iter().filter(|c| c.record().image == image);
        users.map(|c| (c.id.clone(), c.peek(State::is_running))).max_by_key(|(_, running)| *running)
    }

    /// The containers that use a volume.
    pub fn using_volume(&self, volume: &str) -> Vec<String> {
        let uses = |c: &Container| c.record().mounts.iter().any(|m| m.name == volume);
        self.shared.all().into_iter().filter(|c| uses(c)).map(|c| c.id.clone()).collect()
    }

    /// How many there are: running, paused, stopped.
    pub fn counts(&self) -> (usize, usize, usize) {
        self.shared.all().iter().fold((0, 0, 0), |(running, paused, stopped), c| match c.peek(|s| s.status()) {
            "running" | "restarting" => (running + 1, paused, stopped),
            "paused" => (running, paused + 1, stopped),
            _ => (running, paused, stopped + 1),
        })
    }

    /// The engine goes down: nothing starts by itself any more. Containers stay as they are.
    pub fn close(&self) {
        self.shared.closing.store(true, std::sync::atomic::Ordering::Release);
    }
}

impl From<std::io::Error> for Error {
    fn from(e: std::io::Error) -> Error {
        Error::System(e.to_string())
    }
}
