//! Tag and remove, with Docker's rules about what must be forced and what cannot be.

use crate::names::canonical;
use crate::record::Stored;
use crate::space::Thing;
use crate::store::{Images, State};
use crate::{Error, Result};
use oci::{Digest, Reference};
use std::sync::Arc;

/// One thing that a removal did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Removed {
    /// A name is gone: `debian:13`.
    Untagged(String),
    /// An image or a layer is gone: its ID or chain ID.
    Deleted(String),
}

/// A container that was made from an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// The container's full ID.
    pub id: String,
    /// Whether it runs.
    pub running: bool,
}

/// The twelve digits that are shown.
fn short(id: &str) -> &str {
    let hex = id.strip_prefix("sha256:").unwrap_or(id);
    hex.get(..12).unwrap_or(hex)
}

pub(crate) fn now() -> i64 {
    jiff::Timestamp::now().as_second()
}

/// At most one tag, and every digest in the repository of that tag.
fn is_single(names: &[Reference]) -> bool {
    let tags = names.iter().filter(|n| n.digest().is_none()).count();
    let one = names.first().map(Reference::repository);
    tags <= 1 && names.iter().all(|n| Some(n.repository()) == one)
}

impl State {
    /// Points a name at an image and returns the number of the change.
    pub(crate) fn name(&mut self, reference: &Reference, id: &Digest) -> u64 {
        self.names.set(reference, id);
        let Some(stored) = self.images.get(id).cloned() else { return self.pending.named() };
        let mut record = stored.record.clone();
        record.tagged = now();
        let stored = Arc::new(Stored { record, config: stored.config.clone(), chains: stored.chains.clone() });
        self.images.insert(id.clone(), stored.clone());
        self.pending.changed(stored)
    }

    /// Takes in an image, or adds what is newly known about it.
    pub(crate) fn add(&mut self, stored: Stored) -> u64 {
        let id = stored.id().clone();
        let mut stored = stored;
        if let Some(before) = self.images.get(&id) {
            for manifest in &before.record.manifests {
                if !stored.record.manifests.iter().any(|m| m.digest == manifest.digest) {
                    stored.record.manifests.push(manifest.clone());
                }
            }
            if stored.record.tagged == 0 {
                stored.record.tagged = before.record.tagged;
            }
        }
        let stored = Arc::new(stored);
        self.images.insert(id.clone(), stored.clone());
        self.pending.brought(stored)
    }

    /// Drops an image that the disk lost before it was written.
    pub(crate) fn forget(&mut self, id: &Digest) {
        for name in self.names.of(id) {
            self.names.remove(&name);
        }
        self.images.remove(id);
    }

    /// Removes a name of an image for a list of what was done.
    fn untag(&mut self, name: &Reference, done: &mut Vec<Removed>) {
        if self.names.remove(name).is_some() {
            done.push(Removed::Untagged(name.familiar()));
        }
    }

    /// Why an image may not be removed now.
    fn conflict(&self, id: &Digest, users: &[User], names_count: bool, force: bool) -> Option<Error> {
        let unable = |how: &str, why: String| {
            Some(Error::Conflict(format!("conflict: unable to delete {} ({how}) - {why}", short(id.as_str()))))
        };
        if let Some(user) = users.iter().find(|u| u.running) {
            return unable("cannot be forced", format!("image is being used by running container {}", short(&user.id)));
        }
        if force {
            return None;
        }
        if names_count && !self.names.of(id).is_empty() {
            return unable("must be forced", "image is referenced in multiple repositories".into());
        }
        let user = users.first()?;
        unable("must be forced", format!("image is being used by stopped container {}", short(&user.id)))
    }

    /// Removes an image with all its names.
    fn delete(&mut self, id: &Digest, users: &[User], done: &mut Vec<Removed>) {
        for name in self.names.of(id) {
            self.untag(&name, done);
        }
        let Some(stored) = self.images.remove(id) else { return };
        done.push(Removed::Deleted(id.to_string()));
        for thing in self.doom(stored.things()) {
            // Layers that a container stands on stay until it is removed.
            if let Thing::Layer(chain) = thing
                && users.is_empty()
            {
                done.push(Removed::Deleted(chain.to_string()));
            }
        }
        self.pending.removed(id);
    }
}

impl Images {
    /// Gives an image another name. On the disk when it returns; blocks.
    ///
    /// # Errors
    /// `NotFound`, or `Invalid` when the new name has a digest.
    pub fn tag(&self, source: &str, name: &Reference) -> Result<()> {
        if name.digest().is_some() {
            return Err(Error::Invalid("refusing to create a tag with a digest reference".into()));
        }
        let (number, id) = {
            let mut state = self.state();
            let id = state.find(source)?.id().clone();
            (state.name(&canonical(name), &id), id)
        };
        self.wait(number, Some(&id))
    }

    /// Removes a name, and the image with its last name; or an image by ID. `users` says which containers were made
    /// from an image. On the disk when it returns; blocks. The space is freed in the background.
    ///
    /// # Errors
    /// `NotFound`, or `Conflict` in Docker's words.
    pub fn remove(&self, text: &str, force: bool, users: &dyn Fn(&Digest) -> Vec<User>) -> Result<Vec<Removed>> {
        // Asked without the lock: containers have locks of their own.
        let id = self.get(text)?.id;
        let users = users(&id);
        let mut done = Vec::new();
        let number = {
            let mut state = self.state();
            if *state.find(text)?.id() != id {
                return Err(Error::Conflict(format!("{text} was given to another image meanwhile")));
            }
            let hex = text.strip_prefix("sha256:").unwrap_or(text);
            if id.hex().starts_with(hex) {
                state.remove_by_id(&id, force, &users, &mut done)?;
            } else {
                state.remove_by_name(text, &id, force, &users, &mut done)?;
            }
            state.pending.named()
        };
        self.wait(number, None)?;
        Ok(done)
    }
}

impl State {
    fn remove_by_id(&mut self, id: &Digest, force: bool, users: &[User], done: &mut Vec<Removed>) -> Result<()> {
        let several = !is_single(&self.names.of(id));
        match self.conflict(id, users, several, force) {
            Some(conflict) => Err(conflict),
            None => {
                self.delete(id, users, done);
                Ok(())
            }
        }
    }

    fn remove_by_name(
        &mut self,
        text: &str,
        id: &Digest,
        force: bool,
        users: &[User],
        done: &mut Vec<Removed>,
    ) -> Result<()> {
        if let Some(user) = users.first().filter(|_| !force && is_single(&self.names.of(id))) {
            return Err(Error::Conflict(format!(
                "conflict: unable to remove repository reference \"{text}\" (must force) - container {} is using its referenced image {}",
                short(&user.id),
                short(id.as_str())
            )));
        }
        let name = canonical(&text.parse()?);
        self.untag(&name, done);
        // Digests alone do not keep a repository.
        let same = |n: &Reference| n.repository() == name.repository();
        if name.digest().is_none() && !self.names.of(id).iter().any(|n| n.digest().is_none() && same(n)) {
            for other in self.names.of(id).into_iter().filter(same) {
                self.untag(&other, done);
            }
        }
        // Forced while a container runs: the name goes and the image stays, as in Docker.
        if self.names.of(id).is_empty() && self.conflict(id, users, false, force).is_none() {
            self.delete(id, users, done);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Record;
    use oci::image::ImageConfig;

    fn id(n: u8) -> Digest {
        Digest::from_sha256(&[n; 32])
    }

    fn name(text: &str) -> Reference {
        text.parse::<Reference>().unwrap()
    }

    /// Images without layers.
    fn state(images: &[(u8, &[&str])]) -> State {
        let mut state = State::default();
        for (n, names) in images {
            let config = serde_json::from_str(&format!(r#"{{"digest":"{}","size":1}}"#, id(*n))).unwrap();
            let record = Record::new(config, 0, 0);
            state.add(Stored { record, config: Arc::new(ImageConfig::default()), chains: Vec::new() });
            for text in *names {
                state.name(&name(text), &id(*n));
            }
        }
        state
    }

    fn user(running: bool) -> [User; 1] {
        [User { id: "c0ffee".repeat(10), running }]
    }

    #[test]
    fn by_name() {
        let mut s = state(&[(1, &["debian:13", "debian:latest"])]);
        s.names.set(&name(&format!("debian@{}", id(9))), &id(1));
        let mut done = Vec::new();
        s.remove_by_name("debian:13", &id(1), false, &[], &mut done).unwrap();
        assert_eq!(done, [Removed::Untagged("debian:13".into())]);
        done.clear();
        let error = s.remove_by_name("debian", &id(1), false, &user(false), &mut done).unwrap_err().to_string();
        assert_eq!(
            error,
            "conflict: unable to remove repository reference \"debian\" (must force) - container c0ffeec0ffee is using its referenced image 010101010101"
        );
        s.remove_by_name("debian", &id(1), false, &[], &mut done).unwrap();
        let expected = [
            Removed::Untagged("debian:latest".into()),
            Removed::Untagged(format!("debian@{}", id(9))),
            Removed::Deleted(id(1).to_string()),
        ];
        assert_eq!(done, expected);
        assert!(s.images.is_empty());
    }

    #[test]
    fn a_forced_name_of_a_running_container_leaves_the_image() {
        let mut s = state(&[(1, &["debian:13"])]);
        let mut done = Vec::new();
        s.remove_by_name("debian:13", &id(1), true, &user(true), &mut done).unwrap();
        assert_eq!((done.len(), s.images.len()), (1, 1));
    }

    #[test]
    fn by_id() {
        let mut s = state(&[(1, &["debian:13", "me/app:1"]), (2, &["x:1"])]);
        let mut done = Vec::new();
        let mut refused =
            |users: &[User], force| s.remove_by_id(&id(1), force, users, &mut done).unwrap_err().to_string();
        assert_eq!(
            refused(&[], false),
            "conflict: unable to delete 010101010101 (must be forced) - image is referenced in multiple repositories"
        );
        assert_eq!(
            refused(&user(true), true),
            "conflict: unable to delete 010101010101 (cannot be forced) - image is being used by running container c0ffeec0ffee"
        );
        let stopped = s.remove_by_id(&id(2), false, &user(false), &mut done).unwrap_err().to_string();
        assert_eq!(
            stopped,
            "conflict: unable to delete 020202020202 (must be forced) - image is being used by stopped container c0ffeec0ffee"
        );
        s.remove_by_id(&id(1), true, &[], &mut done).unwrap();
        s.remove_by_id(&id(2), false, &[], &mut done).unwrap();
        assert_eq!(done.len(), 5);
        assert_eq!(s.names, Default::default());
    }

    #[test]
    fn looking_up() {
        let mut s = state(&[(1, &["debian:latest"]), (0x12, &["beef:latest"])]);
        let ask = |s: &State, text: &str| s.find(text).map(|i| i.id().clone()).map_err(|e| e.to_string());
        for text in ["debian", "docker.io/library/debian:latest", "01", "sha256:0101", &id(1).to_string(), id(1).hex()]
        {
            assert_eq!(ask(&s, text), Ok(id(1)), "{text}");
        }
        assert_eq!(ask(&s, "beef"), Ok(id(0x12)));
        assert_eq!(ask(&s, "nope"), Err("No such image: nope:latest".into()));
        assert_eq!(ask(&s, "abc"), Err("No such image: abc:latest".into()));
        assert_eq!(ask(&s, &id(7).to_string()), Err(format!("No such image: {}", id(7))));
        assert!(ask(&s, "UPPER").unwrap_err().starts_with("invalid reference format: repository name"));
        s.names.remove(&name("debian"));
        assert_eq!(ask(&s, "debian"), Err("No such image: debian:latest".into()));
    }

    #[test]
    fn several_ids_with_one_beginning() {
        let mut raw = [1; 32];
        raw[31] = 2;
        let mut s = state(&[(1, &[])]);
        let other = Digest::from_sha256(&raw);
        let config = serde_json::from_str(&format!(r#"{{"digest":"{other}","size":1}}"#)).unwrap();
        let record = Record::new(config, 0, 0);
        s.add(Stored { record, config: Arc::new(ImageConfig::default()), chains: Vec::new() });
        let error = s.find("0101").unwrap_err();
        assert!(matches!(error, Error::Invalid(t) if t == "multiple IDs found with provided prefix: 0101"));
    }
}
