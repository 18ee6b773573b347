//! Opening: what the last engine left is read back. Containers that run are followed again, ends that nobody saw are
//! made up for, half-made things are swept away, damaged ones put aside and reported.

use crate::check;
use crate::containers::{Changes, Container, Containers, Options, Paths, Rooms, Shared, Table};
use crate::error::{Error, Result};
use crate::events::Events;
use crate::host::Host;
use crate::record::{self, Found, Record};
use crate::restart::Policy;
use crate::start::unmount_shm;
use crate::state::{Endpoint, Phase, State};
use crate::watch::Watcher;
use fault::Survey;
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, RwLock};
use std::time::Duration;
use supervisor::protocol::StartRecord;

/// After so long a start does not hold up the next one any more.
const LONG_START: Duration = Duration::from_secs(1);

/// A create or a removal that was cut off.
pub(crate) const HALF: &str = "this container is only half made or half removed";

/// What was found out about a container that may be running.
pub(crate) enum Life {
    /// It runs: its start, and its supervisor, whose end is its own.
    Alive(StartRecord, OwnedFd),
    /// It ran, and does not any more.
    Ended(u64),
    Down,
}

impl Containers {
    /// Opens the room. What is damaged is put aside and logged.
    ///
    /// # Errors
    /// Only when the directories themselves cannot be used.
    pub fn open(paths: Paths, rooms: Rooms, options: Options) -> Result<Containers> {
        let mut survey = Survey::mending();
        let shared = Containers::found(paths, rooms, options, &mut survey)?;
        survey.faults().iter().for_each(|fault| tracing::error!("{fault}"));
        let lives: Vec<(Arc<Container>, Life)> = shared.all().into_iter().map(|c| (c.clone(), life(&c))).collect();
        let alive = |l: &(Arc<Container>, Life)| matches!(l.1, Life::Alive(..));
        let live: Vec<String> = lives.iter().filter(|l| alive(l)).map(|l| l.0.id.clone()).collect();
        for error in shared.rooms.networks.recover(&live) {
            tracing::error!("network not recovered: {error}");
        }
        shared.sweep_run(&live);
        for (c, life) in lives {
            shared.resume(&c, life);
        }
        shared.start_by_policy();
        Ok(Containers { shared })
    }

    /// The room of an engine that does not run, to be checked: nothing starts, nothing is followed, and nothing is mended
    /// but what `survey` mends.
    ///
    /// # Errors
    /// As [`Containers::open`].
    pub fn at_rest(paths: Paths, rooms: Rooms, options: Options, survey: &mut Survey) -> Result<Containers> {
        Ok(Containers { shared: Containers::found(paths, rooms, options, survey)? })
    }

    fn found(paths: Paths, rooms: Rooms, options: Options, survey: &mut Survey) -> Result<Arc<Shared>> {
        make(&paths.root, 0o711)?;
        make(&paths.run, 0o700)?;
        let shared = Shared {
            spawner: Arc::new(supervisor::Spawner::new(paths.init.clone())),
            _moves: favor_moves(),
            paths,
            rooms,
            options,
            host: Host::look(),
            events: Events::default(),
            watcher: Watcher::new()?,
            table: RwLock::new(Table::default()),
            changes: Changes::default(),
            brief: Mutex::default(),
            execs: Mutex::new(HashMap::new()),
            pruning: Mutex::new(()),
            closing: AtomicBool::new(false),
        };
        shared.load(survey)?;
        Ok(Arc::new(shared))
    }

    /// Whose writable layers are needed: those of all containers, of those that are just being made, and of those whose
    /// damaged record has been put aside, because what they have written is still the user's.
    ///
    /// # Errors
    /// When the room's directories cannot be listed.
    pub fn kept(&self) -> Result<Vec<String>> {
        let mut all: Vec<String> = self.shared.table().names.values().cloned().collect();
        for directory in [self.shared.paths.root.clone(), self.shared.paths.root.join(record::QUARANTINE)] {
            let entries = match std::fs::read_dir(&directory) {
                Err(e) if e.kind() == std::io::ErrorKind::NotFound => continue,
                entries => entries.map_err(Error::io("read", &directory))?,
            };
            let names = entries.flatten().filter_map(|e| e.file_name().into_string().ok());
            all.extend(names.filter_map(|n| Some(n.get(..64)?.to_owned())).filter(|id| record::is_id(id)));
        }
        all.sort();
        all.dedup();
        Ok(all)
    }
}

/// On a host with cgroup v1, where each start moves a process into its cgroups.
fn favor_moves() -> Option<OwnedFd> {
    const CGROUP2_MAGIC: u64 = 0x6367_7270;
    if rustix::fs::statfs("/sys/fs/cgroup").is_ok_and(|fs| fs.f_type as u64 == CGROUP2_MAGIC) {
        return None;
    }
    match sys::cgroup::favor_moves() {
        Ok(held) => Some(held),
        Err(error) => {
            tracing::debug!("moves between cgroups are not favoured: {error}");
            None
        }
    }
}

fn make(path: &Path, mode: u32) -> Result<()> {
    std::fs::DirBuilder::new().recursive(true).mode(mode).create(path).map_err(Error::io("mkdir", path))
}

impl Shared {
    fn load(&self, survey: &mut Survey) -> Result<()> {
        let root = &self.paths.root;
        for entry in std::fs::read_dir(root).map_err(Error::io("read", root))? {
            let entry = entry.map_err(Error::io("read", root))?;
            let Ok(id) = entry.file_name().into_string() else { continue };
            if !record::is_id(&id) {
                continue;
            }
            let dir = entry.path();
            match record::load(&dir, &id) {
                Found::Whole(record, state) => self.take(*record, *state, survey),
                Found::Absent => survey.fault(&dir, HALF, || {
                    self.discard(&id)?;
                    std::fs::remove_dir_all(&dir).map_err(Error::io("remove", &dir))?;
                    Ok::<_, Error>("removed".to_owned())
                }),
                Found::Damaged(why) => {
                    survey.fault(&dir, format!("the container's record is damaged: {why}"), || {
                        record::quarantine(&dir, &id).map(|to| format!("moved to {}", to.display()))
                    });
                }
            }
        }
        Ok(())
    }

    fn take(&self, mut record: Record, mut state: State, survey: &mut Survey) {
        let mut table = self.table_mut();
        if let Some(other) = table.names.get(&record.name) {
            let dir = self.paths.root.join(&record.id);
            let cause = format!("its name {} is also that of container {other}", record.name);
            record.name = record.id.clone();
            survey.fault(&dir, cause, || {
                record::write_config(&dir, &record).map(|()| "its name is its ID now".to_owned())
            });
        }
        if state.phase == Phase::Dead {
            state.removing = false;
        }
        table.names.insert(record.name.clone(), record.id.clone());
        let container = Arc::new(Container::new(self, record, state));
        table.by_id.insert(container.id.clone(), container);
    }

    /// Directories and mounts of runs that are over.
    fn sweep_run(&self, live: &[String]) {
        let names = |path: &Path| {
            let entries = std::fs::read_dir(path).into_iter().flatten().flatten();
            entries.filter_map(|e| e.file_name().into_string().ok()).collect::<Vec<_>>()
        };
        for id in names(&self.paths.run.join("shm")) {
            if !live.contains(&id) {
                unmount_shm(&self.shm_path(&id));
            }
        }
        for id in names(&self.paths.run) {
            // One that is in the table may have been killed with its supervisor; its end needs to know that it ran.
            let known = self.table().by_id.contains_key(&id);
            let run = self.paths.run.join(&id);
            // One that runs and whose record is damaged is left the way to it: `system check` tells of it.
            if record::is_id(&id) && !known && supervisor_of(&run).is_none() {
                let _ = std::fs::remove_dir_all(run);
            }
        }
    }

    pub(crate) fn resume(self: &Arc<Shared>, c: &Arc<Container>, life: Life) {
        let adopt = |started: &StartRecord| {
            c.change(|s| {
                if s.phase != Phase::Running || s.started_ns != started.started_ns {
                    let endpoint = self.rooms.networks.endpoint(&c.id).map(|e| self.endpoint(e));
                    s.started(started, endpoint.or_else(|| Some(Endpoint::default())));
                }
                (s.pid, s.pid_start) = (started.pid, started.start_time);
            });
        };
        match life {
            Life::Alive(started, supervisor) => {
                let run = started.started_ns;
                adopt(&started);
                if !c.peek(|s| s.paused) {
                    self.begin_probes(c);
                }
                c.save();
                if let Err(error) = self.follow(c, supervisor, run) {
                    tracing::error!(container = %c.id, "its end will not be noticed: {error}");
                }
            }
            Life::Ended(run) => {
                let unseen = c.peek(|s| s.phase != Phase::Running || s.started_ns != run);
                if unseen {
                    let started = StartRecord {
                        version: record::VERSION,
                        pid: 0,
                        start_time: 0,
                        supervisor: 0,
                        supervisor_start_time: 0,
                        started_ns: run,
                        cgroup: String::new(),
                    };
                    adopt(&started);
                }
                let _turn = c.turn();
                self.ended(c, run);
            }
            Life::Down => {}
        }
    }

    /// Starts what its policy wants to run, in the background: first those that join nobody.
    fn start_by_policy(self: &Arc<Shared>) {
        let mut wanted = Vec::new();
        for c in self.all() {
            let (record, state) = (c.record(), c.state());
            let policy = check::restart_policy(&record.host_config.restart_policy).unwrap_or(Policy::No);
            match state.phase {
                Phase::Exited if record.host_config.auto_remove => {
                    let _turn = c.turn();
                    if let Err(error) = self.remove_now(&c, true) {
                        tracing::error!(container = %c.id, "not removed: {error}");
                    }
                }
                Phase::Exited => {
                    let was = state.started_ns != 0;
                    if policy.starts_with_engine(was, state.stopped_by_hand, state.exit_code, state.restart_count) {
                        wanted.push(c);
                    }
                }
                Phase::Restarting => wanted.push(c),
                _ => {}
            }
        }
        if wanted.is_empty() {
            return;
        }
        let joins = |c: &Arc<Container>| {
            let host = &c.record().host_config;
            [&host.network_mode, &host.pid_mode, &host.ipc_mode].iter().any(|m| check::of_container(m).is_some())
        };
        wanted.sort_by_key(|c| joins(c));
        let shared = self.clone();
        self.watcher.after(Duration::ZERO, move || {
            for c in wanted {
                let (done, wait) = std::sync::mpsc::channel::<()>();
                let of_start = shared.clone();
                shared.watcher.after(Duration::ZERO, move || {
                    let _done = done;
                    let _turn = c.turn();
                    let down = c.peek(|s| s.phase != Phase::Running && !s.removed && !s.removing);
                    if down && let Err(error) = of_start.launch(&c, false) {
                        tracing::error!(container = %c.id, "not started: {error}");
                    }
                });
                // One after the other, but one that is stuck holds up the next ones only so long.
                let _ = wait.recv_timeout(LONG_START);
            }
        });
    }
}

/// Looks whether a container's supervisor lives.
pub(crate) fn life(c: &Container) -> Life {
    let state = c.state();
    let started = record::start_record(&c.run);
    if let Some(started) = started {
        // A supervisor that lives is waited for, whatever else is wrong with it: its container must not be lost.
        return match process(started.supervisor, started.supervisor_start_time) {
            Some(supervisor) => Life::Alive(started, supervisor),
            None => Life::Ended(started.started_ns),
        };
    }
    if state.phase == Phase::Running {
        return Life::Ended(state.started_ns);
    }
    // An engine that died between the start and the record of it: the supervisor's record of the end tells.
    match record::exit_record(&c.dir) {
        Some(end) if end.started_ns > state.started_ns => Life::Ended(end.started_ns),
        _ => Life::Down,
    }
}

/// The supervisor that works in a run directory.
pub(crate) fn supervisor_of(run: &Path) -> Option<(StartRecord, OwnedFd)> {
    let started = record::start_record(run)?;
    let supervisor = process(started.supervisor, started.supervisor_start_time)?;
    Some((started, supervisor))
}

/// A descriptor of the process that has had this number since then; it becomes readable at the process's end.
fn process(pid: i32, start: u64) -> Option<OwnedFd> {
    let pidfd = pidfd_open(Pid::from_raw(pid)?, PidfdFlags::empty()).ok()?;
    (sys::process::start_time(pid) == Some(start)).then_some(pidfd)
}
