//! Getting changes onto the disk in the order that survives a power cut: layers and blobs, then records, then names,
//! then removals of records, and only then the removal of what they named.
//!
//! A thread does it, started by the first change and gone when there is nothing left to write. Only what a pull brought
//! has to wait until layers and blobs are synced, which may take long. Other changes do not wait for that: whoever made
//! them writes the names and records of everything that is on the disk. A name that a pull has just moved stays where it
//! was on the disk until its new image is there.

use crate::names::Names;
use crate::record::{Stored, replace, sync_directory};
use crate::store::{Images, State};
use crate::{Error, Result};
use oci::Digest;
use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, PoisonError};
use sys::step::{Step, reached};

/// What is not on the disk yet. Lives inside the state, so that it is always in step with it.
#[derive(Default)]
pub(crate) struct Pending {
    /// Images to write, or to forget.
    records: BTreeMap<Digest, Option<Arc<Stored>>>,
    /// Images with layers or blobs that may not be on the disk, and the change that brought them.
    unsynced: BTreeMap<Digest, u64>,
    /// The names that are on the disk.
    on_disk: Names,
    /// Changes made.
    made: u64,
    /// Layers and blobs of changes up to this one are on the disk.
    synced: u64,
    /// Changes up to this one are on the disk, but for what is unsynced.
    written: u64,
    /// Why the last attempt to write did not succeed.
    failed: Option<Error>,
    running: bool,
    /// The thread waits for layers and blobs.
    syncing: bool,
    /// The last thread, so that `flush` leaves none behind.
    thread: Option<std::thread::JoinHandle<()>>,
}

/// What must be on the disk, while nobody writes.
pub(crate) struct OnDisk {
    pub there: HashSet<Digest>,
    /// Records that are to be written or removed next.
    pub perhaps: HashSet<Digest>,
    pub names: Names,
}

/// What to write now.
struct Ready {
    target: u64,
    synced: u64,
    records: BTreeMap<Digest, Option<Arc<Stored>>>,
    names: Names,
    /// The names are not those on the disk.
    renamed: bool,
}

impl Pending {
    /// Of a start: the names that were found.
    pub(crate) fn found(names: Names) -> Pending {
        Pending { on_disk: names, ..Pending::default() }
    }

    /// Notes a change of names. This number, as those below, is for [`Images::wait`].
    pub(crate) fn named(&mut self) -> u64 {
        self.made += 1;
        self.made
    }

    /// Notes a change of a record that brings nothing else.
    pub(crate) fn changed(&mut self, stored: Arc<Stored>) -> u64 {
        self.records.insert(stored.id().clone(), Some(stored));
        self.named()
    }

    /// Notes an image whose layers and blobs have just come.
    pub(crate) fn brought(&mut self, stored: Arc<Stored>) -> u64 {
        self.unsynced.insert(stored.id().clone(), self.made + 1);
        self.changed(stored)
    }

    /// Notes that an image is gone.
    pub(crate) fn removed(&mut self, id: &Digest) -> u64 {
        self.unsynced.remove(id);
        self.records.insert(id.clone(), None);
        self.named()
    }

    /// The document of names has been lost.
    pub(crate) fn lost_names(&mut self) {
        self.on_disk = Names::default();
        self.named();
    }

    /// Whether all removals so far are on the disk, and what they named can be freed.
    pub(crate) fn is_written(&self) -> bool {
        self.made == self.written
    }

    /// Whether an image must wait for its layers and blobs.
    fn holds(&self, id: &Digest) -> bool {
        self.unsynced.get(id).is_some_and(|brought| *brought > self.synced)
    }
}

impl State {
    pub(crate) fn on_disk(&self) -> OnDisk {
        let perhaps: HashSet<Digest> = self.pending.records.keys().cloned().collect();
        let there = self.images.keys().filter(|id| !perhaps.contains(*id)).cloned().collect();
        OnDisk { there, perhaps, names: self.pending.on_disk.clone() }
    }

    fn has_work(&self) -> bool {
        !self.pending.is_written() || !self.pending.records.is_empty() || !self.doomed.is_empty()
    }

    /// Takes out what can be written now.
    fn ready(&mut self) -> Ready {
        let pending = &mut self.pending;
        let all = std::mem::take(&mut pending.records);
        let (held, records) = all.into_iter().partition(|(id, stored)| stored.is_some() && pending.holds(id));
        pending.records = held;
        let mut names = Names::default();
        for (name, id) in self.names.iter() {
            let before = || pending.on_disk.get(name).filter(|id| self.images.contains_key(*id) && !pending.holds(id));
            if let Some(id) = if pending.holds(id) { before() } else { Some(id) } {
                names.set(name, id);
            }
        }
        let renamed = names != pending.on_disk;
        Ready { target: pending.made, synced: pending.synced, records, names, renamed }
    }

    /// The disk did not take what was brought: images without their layers are gone whole, and must be pulled again.
    fn lose(&mut self, error: Error, has: impl Fn(&Stored) -> bool) {
        tracing::error!(%error, "layers could not be written");
        let records = self.pending.records.values().flatten();
        let lost: Vec<Digest> = records.filter(|stored| !has(stored)).map(|stored| stored.id().clone()).collect();
        for id in lost {
            self.forget(&id);
            self.pending.records.remove(&id);
            self.pending.unsynced.remove(&id);
        }
        self.pending.failed = Some(error);
    }
}

impl Images {
    /// Starts writing what was noted.
    pub(crate) fn commit(&self) {
        {
            let mut state = self.state();
            if state.pending.running || !state.has_work() {
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

    /// Waits until change `number` is on the disk, and with it all of `image`.
    pub(crate) fn wait(&self, number: u64, image: Option<&Digest>) -> Result<()> {
        self.commit();
        let mut state = self.state();
        loop {
            let pending = &state.pending;
            let written = pending.written >= number;
            if written && image.is_none_or(|id| !pending.unsynced.contains_key(id)) {
                let lost = |id: &Digest| Error::Conflict(format!("image {id} was removed before it was on the disk"));
                return match image.filter(|id| !state.images.contains_key(*id)) {
                    Some(id) => Err(pending.failed.clone().unwrap_or_else(|| lost(id))),
                    None => Ok(()),
                };
            }
            if let Some(error) = pending.failed.clone().filter(|_| !pending.running) {
                return Err(error);
            }
            if pending.syncing && !written {
                drop(state);
                self.write()?;
                state = self.state();
                continue;
            }
            state = self.0.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Waits until everything acknowledged so far is on the disk and everything given up is freed. Blocks.
    ///
    /// # Errors
    /// When something could not be written; it is tried again with the next change.
    pub fn flush(&self) -> Result<()> {
        self.commit();
        let mut state = self.state();
        while state.pending.running {
            state = self.0.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        let thread = state.pending.thread.take();
        let failed = state.pending.failed.clone();
        drop(state);
        // It has nothing left to do but to end.
        thread.map_or(Ok(()), |thread| thread.join()).unwrap_or_default();
        failed.map_or(Ok(()), Err)
    }

    fn write_all(&self) {
        loop {
            let brought = {
                let mut state = self.state();
                if !state.has_work() {
                    break;
                }
                let pending = &mut state.pending;
                pending.syncing = pending.records.keys().any(|id| pending.holds(id));
                pending.syncing.then_some(pending.made)
            };
            if let Some(brought) = brought {
                // Who waits for something else need not.
                self.0.changed.notify_all();
                let layers = &self.0.layers;
                let synced = layers.sync();
                let mut state = self.state();
                state.pending.syncing = false;
                match synced {
                    Ok(()) => state.pending.synced = brought,
                    Err(error) => {
                        state.lose(error.into(), |stored| stored.chains.iter().all(|chain| layers.has(chain)));
                        break;
                    }
                }
            }
            if self.write().is_err() {
                break;
            }
            self.free_doomed();
        }
        self.state().pending.running = false;
        self.0.changed.notify_all();
    }

    /// Writes what can be written now.
    fn write(&self) -> Result<()> {
        let _alone = self.0.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let ready = self.state().ready();
        let result = self.write_ready(&ready);
        let mut state = self.state();
        let pending = &mut state.pending;
        let Ready { target, synced, records, names, .. } = ready;
        match &result {
            Ok(()) => {
                pending.unsynced.retain(|id, brought| !records.contains_key(id) || *brought > synced);
                (pending.written, pending.on_disk, pending.failed) = (target, names, None);
            }
            Err(error) => {
                tracing::error!(%error, "image records could not be written");
                for (id, record) in records {
                    // What changed again meanwhile is newer than what failed.
                    pending.records.entry(id).or_insert(record);
                }
                pending.failed = Some(error.clone());
            }
        }
        drop(state);
        self.0.changed.notify_all();
        result
    }

    fn write_ready(&self, ready: &Ready) -> Result<()> {
        let directory = self.0.root.join("record");
        let mut written = false;
        for stored in ready.records.values().flatten() {
            replace(&directory, &format!("{}.json", stored.id().hex()), &stored.record.print())?;
            written = true;
        }
        if written {
            sync_directory(&directory)?;
            reached(Step::PullRecord);
        }
        if ready.renamed {
            replace(&self.0.root, "repositories.json", &ready.names.print())?;
            sync_directory(&self.0.root)?;
            reached(Step::PullNames);
        }
        let mut removed = false;
        for (id, _) in ready.records.iter().filter(|(_, stored)| stored.is_none()) {
            let path = directory.join(format!("{}.json", id.hex()));
            match std::fs::remove_file(&path) {
                Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(Error::io("removing", &path, e)),
                Err(_) => {}
                Ok(()) => removed = true,
            }
        }
        if removed { sync_directory(&directory) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Record;
    use crate::store::Config;
    use oci::Reference;
    use oci::image::ImageConfig;

    fn id(n: u8) -> Digest {
        Digest::from_sha256(&[n; 32])
    }

    /// Takes in an image without layers.
    fn bring(images: &Images, n: u8, names: &[&str]) -> u64 {
        let config = serde_json::from_str(&format!(r#"{{"digest":"{}","size":1}}"#, id(n))).unwrap();
        let record = Record::new(config, 0, 0);
        let mut state = images.state();
        let mut number = state.add(Stored { record, config: Arc::new(ImageConfig::default()), chains: Vec::new() });
        for name in names {
            number = state.name(&name.parse().unwrap(), &id(n));
        }
        number
    }

    #[test]
    fn nobody_waits_for_what_others_pull() {
        let root = std::env::temp_dir().join(format!("dhow-durable-{}", std::process::id()));
        let layers = layer::Layers::open(&root.join("layer")).unwrap();
        let images = Images::open(&root.join("image"), layers, Config::default()).unwrap();
        let on_disk = || {
            let names = Names::parse(&std::fs::read(root.join("image/repositories.json")).unwrap()).unwrap();
            let names = names.iter().map(|(name, id)| (name.familiar(), id.clone())).collect::<Vec<_>>();
            (names, [1, 2].map(|n| root.join(format!("image/record/{}.json", id(n).hex())).exists()))
        };
        let names = |all: &[(&str, u8)]| all.iter().map(|(name, n)| ((*name).to_owned(), id(*n))).collect::<Vec<_>>();
        let number = bring(&images, 1, &["x:1"]);
        images.wait(number, Some(&id(1))).unwrap();
        assert_eq!(on_disk(), (names(&[("x:1", 1)]), [true, false]));

        // A sync that takes long.
        images.flush().unwrap();
        {
            let mut state = images.state();
            (state.pending.running, state.pending.syncing) = (true, true);
        }
        bring(&images, 2, &["x:1", "y:1"]);
        images.tag(id(1).as_str(), &"z:1".parse::<Reference>().unwrap()).unwrap();
        assert_eq!(on_disk(), (names(&[("x:1", 1), ("z:1", 1)]), [true, false]), "x is still the old one's");
        images.remove("x:1", false, &|_| Vec::new()).unwrap();
        assert_eq!(on_disk(), (names(&[("z:1", 1)]), [true, false]));
        images.remove("y:1", false, &|_| Vec::new()).unwrap();
        assert_eq!(images.count(), 1);
        assert_eq!(on_disk(), (names(&[("z:1", 1)]), [true, false]));
        bring(&images, 2, &["y:1"]);

        // It ends.
        {
            let mut state = images.state();
            (state.pending.running, state.pending.syncing) = (false, false);
        }
        images.flush().unwrap();
        assert_eq!(on_disk(), (names(&[("y:1", 2), ("z:1", 1)]), [true, true]));
        images.remove("y:1", false, &|_| Vec::new()).unwrap();
        assert_eq!(on_disk(), (names(&[("z:1", 1)]), [true, false]));
        drop(images);
        std::fs::remove_dir_all(&root).unwrap();
    }
}
