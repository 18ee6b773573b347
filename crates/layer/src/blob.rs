//! Blobs: content that is named by its digest.
//!
//! ```text
//! blobs/<algorithm>/<hex>          verified and durable
//! partial/<algorithm>-<hex>        the beginning of one, to go on with
//! partial/<algorithm>-<hex>.whole  verified; gets its name when [`crate::Layers::sync`] has made it durable
//! ```
//!
//! A name without the bytes behind it, which a power cut could leave, would be found by the next pull and believed; so
//! a name is given only after the bytes are on disk.

use crate::error::{Error, Result};
use crate::hash::Hasher;
use oci::Digest;
use rustix::fs::{AtFlags, Mode, OFlags, fstat, ftruncate, openat, renameat, unlinkat};
use rustix::io::Errno;
use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

const MODE: Mode = Mode::RUSR.union(Mode::WUSR);

/// The content store.
pub struct Blobs {
    /// The room's own directory.
    root: OwnedFd,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    writing: HashSet<Digest>,
    /// Verified, but not yet durable.
    whole: HashMap<Digest, u64>,
}

fn named(digest: &Digest) -> String {
    format!("blobs/{}/{}", digest.algorithm().name(), digest.hex())
}

fn partial(digest: &Digest) -> String {
    format!("partial/{}-{}", digest.algorithm().name(), digest.hex())
}

fn whole(digest: &Digest) -> String {
    partial(digest) + ".whole"
}

impl Blobs {
    /// The store below `root`, whose directories exist; `tidy`: what an earlier process left is made ready to be gone on with.
    pub fn open(root: OwnedFd, tidy: bool) -> Result<Blobs> {
        let blobs = Blobs { root, state: Mutex::default() };
        // What was whole but not known to be durable is a beginning again: it is verified when it is gone on with.
        for name in crate::store::names(&blobs.root, "partial")? {
            if let Some(plain) = name.strip_suffix(".whole").filter(|_| tidy) {
                let (from, to) = (format!("partial/{name}"), format!("partial/{plain}"));
                renameat(&blobs.root, from.as_str(), &blobs.root, to.as_str())
                    .map_err(|e| Error::io("rename", from, e))?;
            }
        }
        Ok(blobs)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Opens a blob.
    pub fn get(&self, digest: &Digest) -> Result<Option<File>> {
        // Named again at the end: it may get its name between the two looks.
        for path in [named(digest), whole(digest), named(digest)] {
            match openat(&self.root, path.as_str(), OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())
            {
                Ok(fd) => return Ok(Some(fd.into())),
                Err(Errno::NOENT) => {}
                Err(e) => return Err(Error::io("open", path, e)),
            }
        }
        Ok(None)
    }

    /// Its size.
    pub fn size(&self, digest: &Digest) -> Result<Option<u64>> {
        let Some(file) = self.get(digest)? else { return Ok(None) };
        let meta = file.metadata().map_err(|e| Error::io("stat", named(digest), e))?;
        Ok(Some(meta.len()))
    }

    /// Stores a small blob that is at hand.
    pub fn put(self: &Arc<Self>, digest: &Digest, bytes: &[u8]) -> Result<()> {
        if self.get(digest)?.is_some() {
            return Ok(());
        }
        let mut new = self.begin(digest, Some(bytes.len() as u64))?;
        new.restart()?;
        new.append(bytes)?;
        new.verify()?;
        new.keep()
    }

    /// Forgets a blob; one that is not there is fine.
    pub fn remove(&self, digest: &Digest) -> Result<()> {
        self.state().whole.remove(digest);
        for path in [named(digest), whole(digest)] {
            unlink(&self.root, &path)?;
        }
        Ok(())
    }

    /// Moves a damaged blob out of the way, for a human to look at.
    pub fn quarantine(&self, digest: &Digest) -> Result<()> {
        self.state().whole.remove(digest);
        let to = format!("quarantine/{}-{}", digest.algorithm().name(), digest.hex());
        for path in [named(digest), whole(digest)] {
            match renameat(&self.root, path.as_str(), &self.root, to.as_str()) {
                Ok(()) | Err(Errno::NOENT) => {}
                Err(e) => return Err(Error::io("quarantine", path, e)),
            }
        }
        Ok(())
    }

    /// Forgets the beginning of a blob.
    pub fn forget(&self, digest: &Digest) -> Result<()> {
        if self.state().writing.contains(digest) {
            return Err(Error::Busy(digest.to_string()));
        }
        unlink(&self.root, &partial(digest))
    }

    /// Begins or goes on with a blob. It is the caller's alone until the returned value is dropped.
    pub fn begin(self: &Arc<Self>, digest: &Digest, size: Option<u64>) -> Result<Partial> {
        if !self.state().writing.insert(digest.clone()) {
            return Err(Error::Busy(digest.to_string()));
        }
        let guard = Writing { blobs: self.clone(), digest: digest.clone() };
        let path = partial(digest);
        let flags = OFlags::CREATE | OFlags::RDWR | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = openat(&self.root, path.as_str(), flags, MODE).map_err(|e| Error::io("create", &path, e))?;
        let mut offset = fstat(&file).map_err(|e| Error::io("stat", &path, e))?.st_size as u64;
        if size.is_some_and(|size| offset > size) {
            ftruncate(&file, 0).map_err(|e| Error::io("truncate", &path, e))?;
            offset = 0;
        }
        let hasher = Hasher::new(digest.algorithm());
        Ok(Partial { file, path, size, offset, hashed: 0, hasher: Some(hasher), done: false, guard })
    }

    /// What [`Partial::keep`] has left to be made durable.
    pub fn unsynced(&self) -> Vec<Digest> {
        self.state().whole.keys().cloned().collect()
    }

    /// Gives durable blobs their names.
    pub fn name(&self, digests: &[Digest]) -> Result<()> {
        for digest in digests {
            let (from, to) = (whole(digest), named(digest));
            match renameat(&self.root, from.as_str(), &self.root, to.as_str()) {
                Ok(()) | Err(Errno::NOENT) => {}
                Err(e) => return Err(Error::io("rename", from, e)),
            }
            self.state().whole.remove(digest);
        }
        Ok(())
    }

    /// Every named blob.
    pub fn list(&self) -> Result<Vec<Digest>> {
        let mut all = Vec::new();
        for algorithm in ["sha256", "sha512"] {
            for hex in crate::store::names(&self.root, &format!("blobs/{algorithm}"))? {
                all.extend(format!("{algorithm}:{hex}").parse::<Digest>().ok());
            }
        }
        Ok(all)
    }
}

fn unlink(root: &OwnedFd, path: &str) -> Result<()> {
    match unlinkat(root, path, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(e) => Err(Error::io("remove", path, e)),
    }
}

/// Keeps a digest to one writer.
struct Writing {
    blobs: Arc<Blobs>,
    digest: Digest,
}

impl Drop for Writing {
    fn drop(&mut self) {
        self.blobs.state().writing.remove(&self.digest);
    }
}

/// A blob in the making. Dropped before its end, what has come so far stays for the next attempt.
pub struct Partial {
    file: OwnedFd,
    path: String,
    size: Option<u64>,
    offset: u64,
    hashed: u64,
    hasher: Option<Hasher>,
    done: bool,
    guard: Writing,
}

impl Partial {
    /// How many bytes are there already.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Forgets what is there.
    pub fn restart(&mut self) -> Result<()> {
        ftruncate(&self.file, 0).map_err(|e| Error::io("truncate", &self.path, e))?;
        (self.offset, self.hashed) = (0, 0);
        self.hasher = Some(Hasher::new(self.guard.digest.algorithm()));
        Ok(())
    }

    /// Reads and hashes the next piece of what was there before, into `buffer`; `None` when that was all.
    pub fn replay(&mut self, mut buffer: Vec<u8>) -> Result<Option<Vec<u8>>> {
        if self.hashed >= self.offset {
            return Ok(None);
        }
        buffer.clear();
        let read = rustix::io::pread(&self.file, rustix::buffer::spare_capacity(&mut buffer), self.hashed);
        let n = read.map_err(|e| Error::io("read", &self.path, e))?;
        if n == 0 {
            return Err(Error::io("read", &self.path, Errno::IO));
        }
        self.hashed += n as u64;
        if let Some(hasher) = &mut self.hasher {
            hasher.update(&buffer);
        }
        Ok(Some(buffer))
    }

    /// Writes and hashes more.
    pub fn append(&mut self, bytes: &[u8]) -> Result<()> {
        if let Some(size) = self.size.filter(|size| self.offset + bytes.len() as u64 > *size) {
            let found = self.offset + bytes.len() as u64;
            self.done = true;
            unlink(&self.guard.blobs.root, &self.path)?;
            return Err(Error::Size { digest: self.guard.digest.clone(), expected: size, found });
        }
        let mut rest = bytes;
        while !rest.is_empty() {
            match rustix::io::pwrite(&self.file, rest, self.offset) {
                Ok(0) => return Err(Error::io("write", &self.path, Errno::IO)),
                Ok(n) => {
                    self.offset += n as u64;
                    rest = rest.get(n..).unwrap_or_default();
                }
                Err(Errno::INTR) => {}
                Err(e) => {
                    // A full disk is not kept full.
                    self.done = true;
                    unlink(&self.guard.blobs.root, &self.path)?;
                    return Err(Error::io("write", &self.path, e));
                }
            }
        }
        self.hashed = self.offset;
        if let Some(hasher) = &mut self.hasher {
            hasher.update(bytes);
        }
        Ok(())
    }

    /// Checks that what is there is all of it and is what the digest says; what is not is removed.
    pub fn verify(&mut self) -> Result<()> {
        let digest = self.guard.digest.clone();
        let found = self.hasher.take().ok_or(Error::Cut)?.finish()?;
        if found == digest && self.size.is_none_or(|size| size == self.offset) {
            return Ok(());
        }
        if let Some(expected) = self.size.filter(|size| self.offset < *size) {
            // It may yet be gone on with.
            return Err(Error::Size { digest, expected, found: self.offset });
        }
        self.done = true;
        unlink(&self.guard.blobs.root, &self.path)?;
        Err(Error::Digest { what: "blob", expected: digest, found })
    }

    /// Keeps the verified blob: it can be opened now, and is durable after the next sync.
    pub fn keep(mut self) -> Result<()> {
        let (blobs, digest) = (self.guard.blobs.clone(), self.guard.digest.clone());
        let to = whole(&digest);
        renameat(&blobs.root, self.path.as_str(), &blobs.root, to.as_str())
            .map_err(|e| Error::io("rename", &self.path, e))?;
        self.done = true;
        sys::step::reached(sys::step::Step::PullBlob);
        blobs.state().whole.insert(digest, self.offset);
        Ok(())
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        if !self.done && self.offset == 0 {
            // An empty beginning is no help; a failure leaves an empty file, no more.
            let _ = unlink(&self.guard.blobs.root, &self.path);
        }
    }
}

/// A blob that is being taken in; see [`crate::Layers::ingest`].
pub struct Ingest(Partial);

impl Ingest {
    pub(crate) fn new(mut partial: Partial) -> Result<Ingest> {
        let mut buffer = Vec::with_capacity(crate::pipeline::BUFFER);
        while let Some(again) = partial.replay(buffer)? {
            buffer = again;
        }
        Ok(Ingest(partial))
    }

    /// How many bytes are there already: go on from here.
    pub fn offset(&self) -> u64 {
        self.0.offset()
    }

    /// Starts over.
    pub fn restart(&mut self) -> Result<()> {
        self.0.restart()
    }

    /// Takes the next bytes.
    pub fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.0.append(bytes)
    }

    /// Verifies size and digest, and keeps the blob.
    pub fn commit(mut self) -> Result<()> {
        self.0.verify()?;
        self.0.keep()
    }
}
