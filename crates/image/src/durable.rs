//! Getting changes onto the disk in the order that survives a power cut: layers and blobs, then records, then names,
//! then removals of records, and only then the removal of what they named.
//!
//! A thread does it, started by the first change and gone when there is nothing left to write.

use crate::names::Names;
use crate::record::{Stored, replace, sync_directory};
use crate::store::Images;
use crate::{Error, Result};
use oci::Digest;
use std::collections::BTreeMap;
use std::sync::Arc;

/// What is not on the disk yet. Lives inside the state, so that it is always in step with it.
#[derive(Default)]
pub(crate) struct Pending {
    /// Images to write, or to forget.
    records: BTreeMap<Digest, Option<Arc<Stored>>>,
    /// Changes made.
    made: u64,
    /// Changes on the disk.
    done: u64,
    /// Why the last attempt to write did not succeed.
    failed: Option<Error>,
    running: bool,
    /// The last thread, so that `flush` leaves none behind.
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Pending {
    /// Notes a change of a record, or of names alone. The number is for [`Images::wait`].
    pub(crate) fn note(&mut self, record: Option<(Digest, Option<Arc<Stored>>)>) -> u64 {
        self.records.extend(record);
        self.made += 1;
        self.made
    }
}

impl Images {
    /// Starts writing what was noted.
    pub(crate) fn commit(&self) {
        {
            let mut state = self.state();
            if state.pending.running || (state.pending.made == state.pending.done && state.doomed.is_empty()) {
                return;
            }
            state.pending.running = true;
        }
        let images = self.clone();
        let thread = std::thread::Builder::new().name("image-commit".into()).spawn(move || images.write_all());
        match thread {
            Ok(thread) => self.state().pending.thread = Some(thread),
            // No thread to be had: then here and now.
            Err(_) => self.write_all(),
        }
    }

    /// Waits until change `number` is on the disk.
    pub(crate) fn wait(&self, number: u64) -> Result<()> {
        self.commit();
        let mut state = self.state();
        while state.pending.done < number {
            if let Some(error) = state.pending.failed.clone().filter(|_| !state.pending.running) {
                return Err(error);
            }
            state = self.0.changed.wait(state).unwrap_or_else(std::sync::PoisonError::into_inner);
        }
        Ok(())
    }

    /// Waits until everything acknowledged so far is on the disk and everything given up is freed. Blocks.
    ///
    /// # Errors
    /// When something could not be written; it is tried again with the next change.
    pub fn flush(&self) -> Result<()> {
        let made = self.state().pending.made;
        self.wait(made)?;
        let mut state = self.state();
        while state.pending.running {
            state = self.0.changed.wait(state).unwrap_or_else(std::sync::PoisonError::into_inner);
        }
        let thread = state.pending.thread.take();
        drop(state);
        // It has nothing left to do but to end.
        thread.map_or(Ok(()), |thread| thread.join()).unwrap_or_default();
        Ok(())
    }

    fn write_all(&self) {
        loop {
            let (target, records, names) = {
                let mut state = self.state();
                let work = state.pending.made > state.pending.done;
                if !work && state.doomed.is_empty() {
                    state.pending.running = false;
                    self.0.changed.notify_all();
                    return;
                }
                let names = work.then(|| state.names.clone());
                (state.pending.made, std::mem::take(&mut state.pending.records), names)
            };
            let result = names.map_or(Ok(()), |names| self.write(&records, &names));
            let mut state = self.state();
            match result {
                Ok(()) => (state.pending.done, state.pending.failed) = (target, None),
                Err(error) => {
                    tracing::error!(%error, "image records could not be written");
                    // What changed again meanwhile is newer than what failed.
                    for (id, record) in records {
                        if record.as_ref().is_some_and(|r| r.chains.iter().any(|c| !self.0.layers.has(c))) {
                            // The disk lost its layers: the image is gone whole, and must be pulled again.
                            state.forget(&id);
                            continue;
                        }
                        state.pending.records.entry(id).or_insert(record);
                    }
                    state.pending.failed = Some(error);
                    state.pending.running = false;
                    self.0.changed.notify_all();
                    return;
                }
            }
            self.0.changed.notify_all();
            drop(state);
            self.free_doomed();
        }
    }

    fn write(&self, records: &BTreeMap<Digest, Option<Arc<Stored>>>, names: &Names) -> Result<()> {
        let directory = self.0.root.join("record");
        if records.values().any(Option::is_some) {
            self.0.layers.sync()?;
            for (id, stored) in records {
                if let Some(stored) = stored {
                    replace(&directory, &format!("{}.json", id.hex()), &stored.record.print())?;
                }
            }
            sync_directory(&directory)?;
        }
        replace(&self.0.root, "repositories.json", &names.print())?;
        sync_directory(&self.0.root)?;
        let mut removed = false;
        for (id, stored) in records {
            if stored.is_none() {
                let path = directory.join(format!("{}.json", id.hex()));
                match std::fs::remove_file(&path) {
                    Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(Error::io("removing", &path, e)),
                    _ => removed = true,
                }
            }
        }
        if removed { sync_directory(&directory) } else { Ok(()) }
    }
}
