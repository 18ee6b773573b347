//! Whether everything of the containers is there, and no more: directories, records, what runs and what does not.

use crate::containers::{Container, Containers, Shared};
use crate::error::{Error, Result};
use crate::record::{self, Found};
use crate::recover::{HALF, Life, life, supervisor_of};
use crate::start::unmount_shm;
use crate::state::{Phase, State};
use fault::Survey;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use supervisor::protocol::{EXIT_RECORD, Request};

/// How long a supervisor may take to answer.
const PATIENCE: Duration = Duration::from_secs(2);
/// Other engines make and remove cgroups in the same place: theirs are never empty for so long.
const STALE: Duration = Duration::from_secs(10);
const CGROUPS: &str = "/sys/fs/cgroup";

/// Nothing was thrown away.
fn done(text: &str) -> Result<String> {
    Ok(text.to_owned())
}

impl Containers {
    /// Looks at every container's files and, of an engine that works (`busy`), at what runs. A container that is just
    /// changing is left out.
    ///
    /// # Errors
    /// When the room's directories cannot be listed.
    pub fn check(&self, survey: &mut Survey, busy: bool) -> Result<()> {
        let shared = &self.shared;
        shared.check_directories(survey)?;
        for c in shared.all() {
            let Some(_turn) = c.try_turn() else { continue };
            let state = c.state();
            if state.removing || state.removed {
                continue;
            }
            shared.check_files(survey, &c, &state);
            shared.check_run(survey, &c, &state, busy);
        }
        shared.check_strangers(survey);
        if busy {
            shared.check_cgroups(survey);
        }
        Ok(())
    }

    /// Whether a container runs, or is just changing, and so may hold a place on a network.
    pub fn may_hold(&self, id: &str) -> bool {
        let Ok(c) = self.shared.find(id) else { return false };
        c.id == id && (c.peek(|s| s.phase == Phase::Running) || c.try_turn().is_none())
    }

    /// The volumes that containers have, and one of those containers each.
    pub fn volumes(&self) -> BTreeMap<String, String> {
        let of = |c: Arc<Container>| {
            let names = c.record().mounts.iter().map(|m| m.name.clone()).filter(|n| !n.is_empty()).collect::<Vec<_>>();
            names.into_iter().map(move |name| (name, c.id.clone()))
        };
        self.shared.all().into_iter().flat_map(of).collect()
    }
}

/// Names of directories and files.
fn names(path: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(path).into_iter().flatten().flatten();
    entries.filter_map(|e| e.file_name().into_string().ok()).collect()
}

impl Shared {
    /// Whether an ID is that of a container, or of one that is just being made.
    fn knows(&self, id: &str) -> bool {
        let table = self.table();
        table.by_id.contains_key(id) || table.names.values().any(|other| other == id)
    }

    fn check_directories(&self, survey: &mut Survey) -> Result<()> {
        std::fs::read_dir(&self.paths.root).map_err(Error::io("read", &self.paths.root))?;
        for id in names(&self.paths.root).into_iter().filter(|n| record::is_id(n) && !self.knows(n)) {
            let dir = self.paths.root.join(&id);
            match record::load(&dir, &id) {
                _ if self.knows(&id) || !dir.exists() => {}
                Found::Absent => survey.fault(&dir, HALF, || {
                    self.discard(&id)?;
                    std::fs::remove_dir_all(&dir).map_err(Error::io("remove", &dir))?;
                    done("removed")
                }),
                Found::Damaged(why) => {
                    survey.fault(&dir, format!("the container's record is damaged: {why}"), || {
                        record::quarantine(&dir, &id).map(|to| format!("moved to {}", to.display()))
                    });
                }
                Found::Whole(..) => survey.stays(&dir, "nobody knows this container", "the next start takes it in"),
            }
        }
        Ok(())
    }

    /// What lies in its directory, and its writable layer.
    fn check_files(&self, survey: &mut Survey, c: &Container, state: &State) {
        let known = c.record();
        let cause = match record::load(&c.dir, &c.id) {
            Found::Whole(read, _) if *read == *known => None,
            Found::Whole(..) => Some("it is not what is known of the container".to_owned()),
            Found::Absent => Some("it is missing".to_owned()),
            Found::Damaged(why) => Some(why),
        };
        if let Some(cause) = cause {
            survey.fault(&c.dir.join("config.json"), cause, || {
                std::fs::create_dir_all(&c.dir).map_err(Error::io("mkdir", &c.dir))?;
                record::write_config(&c.dir, &known)?;
                record::sync(&c.dir)?;
                done("written again")
            });
        }
        let essence = |s: &State| (s.phase, s.started_ns, s.finished_ns, s.exit_code, s.restart_count);
        let cause = match record::read_state(&c.dir) {
            Ok(ref read) if essence(read.as_ref().unwrap_or(&State::default())) == essence(state) => None,
            Ok(_) => Some("it is not what the container does".to_owned()),
            Err(why) => Some(why),
        };
        if let Some(cause) = cause {
            survey.fault(&c.dir.join("state.json"), cause, || {
                record::write_state(&c.dir, &State { version: record::VERSION, ..state.clone() })?;
                done("written again")
            });
        }
        let exit = c.dir.join(EXIT_RECORD);
        if record::exit_is_damaged(&c.dir) {
            survey.fault(&exit, "this record of an end cannot be read", || {
                let to = exit.with_extension("json.corrupt");
                std::fs::rename(&exit, &to).map_err(Error::io("rename", &exit))?;
                Ok::<_, Error>(format!("moved to {}", to.display()))
            });
        }
        // A supervisor that runs may be writing its record just now.
        let unfinished =
            [("config.json.tmp", true), ("state.json.tmp", true), (".exit.json", state.phase != Phase::Running)];
        for path in unfinished.iter().filter(|u| u.1).map(|u| c.dir.join(u.0)).filter(|p| p.exists()) {
            survey.fault(&path, "the writing of this file was cut off", || {
                std::fs::remove_file(&path).map_err(Error::io("remove", &path))?;
                done("removed")
            });
        }
        if self.rooms.layers.writable_top(&c.id).is_err() {
            survey.stays(&c.dir, "the container's writable layer is missing", "remove the container");
        }
    }

    /// What runs of it. The caller has the turn.
    fn check_run(self: &Arc<Shared>, survey: &mut Survey, c: &Arc<Container>, state: &State, busy: bool) {
        let found = life(c);
        if !busy {
            // What has ended meanwhile is taken note of by the next start.
            return;
        }
        match (state.phase == Phase::Running, found) {
            (true, Life::Alive(started, _)) if started.started_ns == state.started_ns => {
                self.check_alive(survey, c, state)
            }
            (true, Life::Alive(..)) => {
                survey.stays(&c.run, "what runs is not the run that is known", "stop the container");
            }
            (true, _) => survey.fault(&c.run, "the container is said to run, but its supervisor is gone", || {
                self.ended(c, state.started_ns);
                done("its end was taken note of")
            }),
            (false, alive @ Life::Alive(..)) => {
                survey.fault(&c.run, "the container is said not to run, but its supervisor does", || {
                    self.resume(c, alive);
                    done("it is followed again")
                });
            }
            (false, _) => self.check_down(survey, c, state),
        }
    }

    fn check_alive(&self, survey: &mut Survey, c: &Container, state: &State) {
        if let Err(error) = c.ask_within(&Request::Processes, PATIENCE) {
            survey.stays(&c.run, error.to_string(), "kill the container: it goes on without being reached");
        }
        if sys::process::start_time(state.pid) != Some(state.pid_start) {
            survey.stays(
                &c.run,
                "the container's first process is gone",
                "its supervisor should have noticed: kill it",
            );
        }
    }

    /// Of a container that does not run nothing is left.
    fn check_down(&self, survey: &mut Survey, c: &Container, state: &State) {
        let cgroup = self.cgroup_of(c, state);
        for path in cgroups(&cgroup) {
            survey.fault(&path, format!("this cgroup is left of container {}, which does not run", c.id), || {
                self.reap_cgroup(&cgroup)?;
                done("removed")
            });
        }
        if c.run.exists() {
            survey.fault(&c.run, "this is left of a run that is over", || {
                std::fs::remove_dir_all(&c.run).map_err(Error::io("remove", &c.run))?;
                done("removed")
            });
        }
        let shm = self.shm_path(&c.id);
        if shm.exists() {
            survey.fault(&shm, "this shared memory is left of a run that is over", || {
                unmount_shm(&shm);
                done("unmounted")
            });
        }
    }

    /// What lies in the run directory of containers that nobody knows.
    fn check_strangers(&self, survey: &mut Survey) {
        for id in names(&self.paths.run).into_iter().filter(|n| record::is_id(n) && !self.knows(n)) {
            let run = self.paths.run.join(&id);
            let started = record::start_record(&run);
            let cause = match supervisor_of(&run) {
                Some((started, _)) => format!(
                    "a container runs that nobody knows: its supervisor is process {}, its first process {}",
                    started.supervisor, started.pid
                ),
                None => "this is left of a container that nobody knows".to_owned(),
            };
            survey.fault(&run, cause, || {
                if let Some((_, supervisor)) = supervisor_of(&run) {
                    sys::process::pidfd_send_signal(std::os::fd::AsFd::as_fd(&supervisor), 9)
                        .map_err(|e| Error::io("kill", &run)(e.into()))?;
                }
                if let Some(started) = &started {
                    self.reap_cgroup(&started.cgroup)?;
                }
                std::fs::remove_dir_all(&run).map_err(Error::io("remove", &run))?;
                done("ended and removed")
            });
        }
        for id in names(&self.paths.run.join("shm")).into_iter().filter(|id| !self.knows(id)) {
            let shm = self.shm_path(&id);
            survey.fault(&shm, "this shared memory is that of no container", || {
                unmount_shm(&shm);
                done("unmounted")
            });
        }
    }

    /// Cgroups below the engine's own parent that nobody is in. Other engines may have the same parent.
    fn check_cgroups(&self, survey: &mut Survey) {
        let some = crate::spec::cgroup("x", "", &self.options.defaults);
        let (parent, name) = some.rsplit_once('/').unwrap_or_default();
        let (before, after) = name.split_once('x').unwrap_or_default();
        let of_stranger = |name: &String| {
            let id = name.strip_prefix(before).and_then(|rest| rest.strip_suffix(after));
            id.is_some_and(|id| record::is_id(id) && !self.knows(id))
        };
        for directory in cgroups(parent) {
            for name in names(&directory).into_iter().filter(of_stranger) {
                let path = directory.join(&name);
                let age = std::fs::metadata(&path).ok().and_then(|m| m.modified().ok()?.elapsed().ok());
                let empty = std::fs::read_to_string(path.join("cgroup.procs")).is_ok_and(|t| t.is_empty());
                if empty && age.is_some_and(|age| age > STALE) {
                    survey.fault(&path, "no process is in this cgroup, and no container has it", || {
                        std::fs::remove_dir(&path).map_err(Error::io("remove", &path))?;
                        if self.options.defaults.systemd_cgroup {
                            // systemd has noticed by itself, unless it missed something.
                            self.reap_cgroup(&format!("{parent}/{name}"))?;
                        }
                        done("removed")
                    });
                }
            }
        }
    }
}

/// A cgroup's directories: one on version 2, one for each controller on version 1.
fn cgroups(cgroup: &str) -> Vec<PathBuf> {
    let below = cgroup.trim_matches('/');
    if below.is_empty() {
        return Vec::new();
    }
    let roots = match Path::new(CGROUPS).join("cgroup.controllers").exists() {
        true => vec![PathBuf::from(CGROUPS)],
        false => names(Path::new(CGROUPS)).into_iter().map(|name| Path::new(CGROUPS).join(name)).collect(),
    };
    // Controllers that go together are one directory with several names.
    let real = roots.into_iter().filter(|root| !root.is_symlink()).map(|root| root.join(below));
    real.filter(|path| path.is_dir()).collect()
}
