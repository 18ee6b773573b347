//! Which layers and blobs are needed, and freeing the others.
//!
//! Work under way pins what it uses. What loses its last image is doomed, and freed after the removal of that image is
//! on the disk; whoever pins a doomed thing in time saves it.

use crate::Result;
use crate::record::Stored;
use crate::store::{Images, State};
use layer::ChainId;
use oci::Digest;
use std::collections::HashMap;
use std::sync::PoisonError;

/// What takes space.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Thing {
    Layer(ChainId),
    Blob(Digest),
}

/// Keeps things from being freed while it lives.
pub(crate) struct Pins {
    images: Images,
    things: Vec<Thing>,
}

impl Stored {
    /// Everything an image is made of, uppermost layer first: children go before their parents.
    pub(crate) fn things(&self) -> impl Iterator<Item = Thing> {
        self.chains.iter().rev().cloned().map(Thing::Layer).chain(self.blobs().cloned().map(Thing::Blob))
    }
}

impl State {
    fn needed(&self, thing: &Thing) -> bool {
        self.pins.contains_key(thing)
            || match thing {
                Thing::Layer(chain) => self.images.values().any(|i| i.chains.contains(chain)),
                Thing::Blob(digest) => self.images.values().any(|i| i.blobs().any(|b| b == digest)),
            }
    }

    /// Marks what nothing needs any more; returns it.
    pub(crate) fn doom(&mut self, things: impl Iterator<Item = Thing>) -> Vec<Thing> {
        let doomed: Vec<Thing> = things.filter(|t| !self.needed(t) && !self.doomed.contains(t)).collect();
        self.doomed.extend(doomed.iter().cloned());
        doomed
    }

    fn pin(&mut self, things: &[Thing]) -> bool {
        if self.dying.as_ref().is_some_and(|d| things.contains(d)) {
            return false;
        }
        for thing in things {
            *self.pins.entry(thing.clone()).or_default() += 1;
        }
        self.doomed.retain(|d| !things.contains(d));
        true
    }
}

/// How images share their layers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sharing {
    /// Bytes of each image that others have too, by ID.
    pub shared: HashMap<Digest, u64>,
    /// Bytes of all layers together, each counted once.
    pub layers: u64,
}

impl Images {
    /// Measures what images share: by the sizes that were noted when they came, without looking at files.
    pub fn sharing(&self) -> Sharing {
        let images: Vec<(Digest, Vec<ChainId>)> =
            self.state().images.iter().map(|(id, stored)| (id.clone(), stored.chains.clone())).collect();
        let mut users: HashMap<&ChainId, (u32, u64)> = HashMap::new();
        for chain in images.iter().flat_map(|(_, chains)| chains) {
            let size = || self.0.layers.layer_size(chain).unwrap_or(0);
            users.entry(chain).or_insert_with(|| (0, size())).0 += 1;
        }
        let mut out = Sharing { layers: users.values().map(|(_, size)| size).sum(), ..Sharing::default() };
        for (id, chains) in &images {
            let of = |chain| users.get(chain).filter(|(count, _)| *count > 1).map_or(0, |(_, size)| *size);
            out.shared.insert(id.clone(), chains.iter().map(of).sum());
        }
        out
    }

    /// Pins, waiting for a removal that is under way.
    pub(crate) async fn pin(&self, things: Vec<Thing>) -> Pins {
        loop {
            let freed = self.0.freed.notified();
            if self.state().pin(&things) {
                return Pins { images: self.clone(), things };
            }
            freed.await;
        }
    }

    /// The same for a thread.
    pub(crate) fn pin_blocking(&self, things: Vec<Thing>) -> Pins {
        let mut state = self.state();
        while !state.pin(&things) {
            state = self.0.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        drop(state);
        Pins { images: self.clone(), things }
    }

    /// Frees what is doomed, one thing after the other.
    pub(crate) fn free_doomed(&self) {
        loop {
            let thing = {
                let mut state = self.state();
                if !state.pending.is_written() {
                    return;
                }
                let Some(thing) = state.doomed.pop_front() else { return };
                if state.needed(&thing) {
                    continue;
                }
                state.dying = Some(thing.clone());
                thing
            };
            let freed = match &thing {
                Thing::Layer(chain) => self.0.layers.remove(chain),
                Thing::Blob(digest) => self.0.layers.remove_blob(digest),
            };
            match freed {
                // A container, or another image's layer, stands on it: its removal comes back to this.
                Ok(()) | Err(layer::Error::InUse { .. } | layer::Error::NotFound { .. }) => {}
                // What stays is an orphan that the next start reclaims.
                Err(error) => tracing::warn!(%error, ?thing, "could not be freed"),
            }
            self.state().dying = None;
            self.0.changed.notify_all();
            self.0.freed.notify_waiters();
        }
    }

    /// A container that stood on this layer is gone. Frees the layer, and those below, when no image has them any more
    /// and nothing else stands on them: an image can be removed by force while a stopped container uses it.
    pub fn released(&self, chain: &ChainId) {
        let mut chains = vec![chain.clone()];
        while let Some(parent) = chains.last().and_then(|chain| self.0.layers.parent(chain)) {
            chains.push(parent);
        }
        if !self.state().doom(chains.into_iter().map(Thing::Layer)).is_empty() {
            self.commit();
        }
    }

    /// At a start, when containers are known: frees what no image and no container needs, which is what crashed work
    /// left. `containers` are their IDs, `chains` the layers they stand on.
    ///
    /// # Errors
    /// When the layers cannot be listed.
    pub fn reclaim(&self, containers: &[String], chains: &[ChainId]) -> Result<()> {
        let mut needed = self.needed();
        needed.chains.extend(chains.iter().cloned());
        needed.writable.extend(containers.iter().cloned());
        self.0.layers.reclaim(&needed.writable, &needed.chains, &needed.blobs)?;
        Ok(())
    }

    /// The layers and blobs of all images, and of work under way.
    pub(crate) fn needed(&self) -> layer::Needed {
        let mut needed = layer::Needed::default();
        let state = self.state();
        for image in state.images.values() {
            needed.chains.extend(image.chains.iter().cloned());
            needed.blobs.extend(image.blobs().cloned());
        }
        for thing in state.pins.keys() {
            match thing {
                Thing::Layer(chain) => needed.chains.insert(chain.clone()),
                Thing::Blob(digest) => needed.blobs.insert(digest.clone()),
            };
        }
        needed
    }
}

impl Pins {
    /// The work failed for good: what it brought is freed. Otherwise what it brought stays for another attempt.
    pub(crate) fn give_up(self) {
        let (images, things) = (self.images.clone(), self.things.clone());
        drop(self);
        images.state().doom(things.into_iter().rev());
        images.commit();
    }
}

impl Drop for Pins {
    fn drop(&mut self) {
        let mut state = self.images.state();
        for thing in &self.things {
            if let Some(count) = state.pins.get_mut(thing) {
                *count -= 1;
                if *count == 0 {
                    state.pins.remove(thing);
                    if !state.needed(thing) {
                        state.kept.insert(thing.clone());
                    }
                }
            }
        }
    }
}
