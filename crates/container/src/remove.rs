//! Removal, renaming, pruning.

use crate::containers::{Container, Containers, Shared, lock};
use crate::error::{Error, Result, conflict, invalid};
use crate::mounts::Kind;
use crate::names;
use crate::record;
use crate::state::Phase;
use api::container::Pruned;
use api::filters::Filters;
use std::sync::{Arc, TryLockError};
use sys::step::{Step, reached};

/// How to remove.
#[derive(Debug, Clone, Copy, Default)]
pub struct Remove {
    /// Kill it first if it runs.
    pub force: bool,
    /// Also its anonymous volumes.
    pub volumes: bool,
}

impl Containers {
    /// Removes a container.
    ///
    /// # Errors
    /// `Conflict` when it runs and `force` is not said.
    pub fn remove(&self, name: &str, how: Remove) -> Result<()> {
        let shared = &self.shared;
        let c = shared.find(name)?;
        if c.change(|s| std::mem::replace(&mut s.removing, true)) {
            return Err(conflict!("removal of container {name} is already in progress"));
        }
        let removed = self.remove_marked(&c, how);
        if removed.is_err() {
            c.change(|s| s.removing = false);
        }
        removed.map_err(|e| e.context(&format!("cannot remove container {name:?}")))
    }

    fn remove_marked(&self, c: &Arc<Container>, how: Remove) -> Result<()> {
        let (running, paused, status) = c.peek(|s| (s.is_running(), s.paused, s.status()));
        if running && !how.force {
            return Err(match paused {
                true => conflict!("container is paused and must be unpaused first"),
                false => conflict!("container is {status}: stop the container before removing or force remove"),
            });
        }
        if running {
            match self.shared.kill(c) {
                Err(Error::Conflict(_)) | Ok(()) => {}
                Err(e) => return Err(e.context("could not kill container")),
            }
        }
        let _turn = c.turn_in_time()?;
        // Someone may have started it, or `--rm` may have removed it, before the turn was ours.
        if c.peek(|s| s.removed) {
            return Ok(());
        }
        if c.peek(|s| s.phase == Phase::Running) {
            return Err(conflict!("container is running: stop the container before removing or force remove"));
        }
        self.shared.remove_now(c, how.volumes)
    }

    /// Gives a container another name.
    ///
    /// # Errors
    /// `Conflict` when the name is taken.
    pub fn rename(&self, name: &str, new: &str) -> Result<()> {
        if name.is_empty() || new.is_empty() {
            return Err(invalid!("Neither old nor new names may be empty"));
        }
        let shared = &self.shared;
        let c = shared.find(name)?;
        let _turn = c.turn_in_time()?;
        let old = c.record();
        if new.strip_prefix('/').unwrap_or(new) == old.name {
            return Err(invalid!("Renaming a container with the same name as its current name"));
        }
        let wrong = |e: Error| e.context("Error when allocating new name");
        let new = names::check_name(new).map_err(wrong)?;
        shared.reserve_name(new, &c.id).map_err(wrong)?;
        let mut renamed = (*old).clone();
        renamed.name = new.to_owned();
        if let Err(e) = record::write_config(&c.dir, &renamed).and_then(|()| record::sync(&c.dir)) {
            // The old record may have been replaced already: put it back, so that the name in use is the one on disk.
            let _ = record::write_config(&c.dir, &old);
            shared.table_mut().names.remove(new);
            return Err(e);
        }
        shared.table_mut().names.remove(&old.name);
        c.set_record(renamed);
        shared.tell(&c, "rename", &[("oldName", format!("/{}", old.name))]);
        Ok(())
    }

    /// Removes all that do not run and pass the filters (`label`, `label!`, `until`).
    ///
    /// # Errors
    /// For filters that make no sense, or while another prune is at work.
    pub fn prune(&self, filters: &Filters) -> Result<Pruned> {
        filters.validate(&["label", "label!", "until"]).map_err(|e| Error::Invalid(e.to_string()))?;
        let until = crate::list::until(filters)?;
        let _one = match self.shared.pruning.try_lock() {
            Ok(guard) => guard,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return Err(conflict!("a prune operation is already running")),
        };
        let mut out = Pruned::default();
        for c in self.shared.all() {
            let record = c.record();
            let kept = c.peek(|s| s.is_running() || s.removing)
                || until.is_some_and(|u| record.created_ns > u)
                || !filters.labels("label", &record.config.labels)
                || filters.contains("label!") && filters.labels("label!", &record.config.labels);
            if kept {
                continue;
            }
            let size = self.shared.sizes(&c.id, "").map_or(0, |(writable, _)| writable);
            match self.remove(&c.id, Remove::default()) {
                Ok(()) => {
                    out.space_reclaimed += u64::try_from(size).unwrap_or(0);
                    out.containers_deleted.push(c.id.clone());
                }
                Err(error) => tracing::warn!(container = %c.id, "not pruned: {error}"),
            }
        }
        let attributes = [("reclaimed".to_owned(), out.space_reclaimed.to_string())].into_iter().collect();
        let now = crate::containers::now_ns() as i64;
        self.shared.events.publish(api::event::Event::new("container", "prune", "", attributes, now));
        Ok(out)
    }
}

impl Shared {
    /// Removes a container that does not run; the caller has the turn. What fails half-way leaves it `dead`.
    pub fn remove_now(self: &Arc<Shared>, c: &Arc<Container>, volumes: bool) -> Result<()> {
        c.wait_for_copies()?;
        c.change(|s| s.removing = true);
        let dead = |e: Error| {
            c.change(|s| {
                (s.phase, s.removing) = (Phase::Dead, false);
                s.error = e.to_string();
            });
            c.save();
            e
        };
        reached(Step::RemoveBegun);
        // The record first: without it a crash from here on leaves a directory that the next start sweeps away, and the
        // layer with it. The other way round it would leave a container that can never start.
        let config = c.dir.join("config.json");
        match rustix::fs::unlink(&config) {
            Ok(()) | Err(rustix::io::Errno::NOENT) => {}
            Err(e) => return Err(dead(Error::io("unlink", &config)(e.into()))),
        }
        reached(Step::RemoveRecord);
        if let Err(e) = self.discard(&c.id) {
            // Still there: so is the container.
            record::write_config(&c.dir, &c.record()).unwrap_or_else(|e| {
                tracing::error!(container = %c.id, "its record is lost: {e}");
            });
            return Err(dead(e));
        }
        reached(Step::RemoveLayer);
        // What is left now is nobody's: a disk that refuses keeps nobody from what was asked for.
        let cleared = std::fs::remove_dir_all(&c.dir).or_else(|_| std::fs::remove_dir_all(&c.dir));
        if let Err(e) = cleared
            && e.kind() != std::io::ErrorKind::NotFound
        {
            tracing::error!(container = %c.id, "{} is left to the next start: {e}", c.dir.display());
        }
        // There for want of room for a record.
        c.forget_run();
        self.leave_at_last(&c.id);
        reached(Step::RemoveDirectory);
        let record = c.record();
        {
            let mut table = self.table_mut();
            table.by_id.remove(&c.id);
            if table.names.get(&record.name) == Some(&c.id) {
                table.names.remove(&record.name);
            }
        }
        *lock(&self.brief) = None;
        reached(Step::RemoveForgotten);
        if volumes {
            self.remove_volumes(&record);
            reached(Step::RemoveVolumes);
        }
        lock(&c.streams).pending.clear();
        self.forget_execs(&c.id);
        self.tell(c, "destroy", &[]);
        c.change(|s| (s.removed, s.removing) = (true, false));
        Ok(())
    }

    fn remove_volumes(&self, record: &record::Record) {
        for point in record.mounts.iter().filter(|m| m.kind == Kind::Volume && m.anonymous) {
            let others = self.all();
            if others.iter().any(|o| o.record().mounts.iter().any(|m| m.name == point.name)) {
                continue;
            }
            if let Err(error) = self.remove_volume(&point.name) {
                tracing::error!(volume = %point.name, "not removed with its container: {error}");
            }
        }
    }
}
