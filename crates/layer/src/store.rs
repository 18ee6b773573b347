//! The layer store.
//!
//! ```text
//! <root>/                 0700
//!   lock                  held by the one process that uses this directory
//!   layers/<n>/d          a layer's tree, as overlayfs takes it
//!   layers/<n>/meta.json  its record (version 1): present when and only when the tree is durable
//!   layers/<n>/meta.new   its record before that
//!   rw/<id>/              writable layers: see snapshot.rs
//!   blobs/ partial/       see blob.rs
//!   empty/                the lower layer of an image without layers
//!   trash/ quarantine/
//! ```
//!
//! Numbers instead of digests, because 127 of them have to fit in the 4096 bytes of a mount's options.

use crate::blob::{Blobs, Ingest};
use crate::error::{Error, Result};
use crate::trash::Trash;
use fault::Survey;
use oci::Digest;
use rustix::fs::{
    AtFlags, FlockOperation, Mode, OFlags, RenameFlags, flock, mkdirat, openat, renameat, syncfs, unlinkat,
};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use sys::step::{Step, reached};

/// Of every record below the root.
pub const VERSION: u32 = 1;
/// overlayfs takes no more lower layers than fit its options; Docker's limit.
pub const MAX_DEPTH: usize = 127;

const DIR: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// Names a layer together with all that are below it (image-spec config.md#layer-chainid).
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ChainId(pub Digest);

impl ChainId {
    /// Of the layer `diff_id` on top of `parent`.
    pub fn of(parent: Option<&ChainId>, diff_id: &Digest) -> ChainId {
        match parent {
            None => ChainId(diff_id.clone()),
            Some(parent) => ChainId(crate::hash::sha256(format!("{} {}", parent.0, diff_id).as_bytes())),
        }
    }

    /// Of a whole image: the chain of all its layers, lowest first. `None` of an image without layers.
    pub fn of_all(diff_ids: &[Digest]) -> Option<ChainId> {
        diff_ids.iter().fold(None, |parent, diff_id| Some(ChainId::of(parent.as_ref(), diff_id)))
    }
}

impl std::fmt::Display for ChainId {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// A layer that has been applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Applied {
    /// Its name.
    pub chain: ChainId,
    /// Digest of its uncompressed archive.
    pub diff_id: Digest,
    /// Bytes of its files.
    pub size: u64,
}

/// `meta.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Record {
    pub version: u32,
    pub chain: ChainId,
    pub diff_id: Digest,
    pub parent: Option<ChainId>,
    pub size: u64,
    /// Nothing of the layers below shows.
    pub opaque: bool,
    /// `size` is that of the tree, byte for byte; otherwise the tree may be smaller.
    #[serde(default)]
    pub exact: bool,
    #[serde(skip)]
    pub number: u64,
}

/// The layer store. Clones share it.
#[derive(Clone)]
pub struct Layers(pub(crate) Arc<Inner>);

pub(crate) struct Inner {
    pub path: PathBuf,
    pub root: OwnedFd,
    _lock: OwnedFd,
    next: AtomicU64,
    state: Mutex<State>,
    pub blobs: Arc<Blobs>,
    pub trash: Trash,
}

#[derive(Default)]
pub(crate) struct State {
    pub layers: HashMap<ChainId, Record>,
    /// Committed, but not yet durable.
    pub unsynced: HashSet<ChainId>,
    /// Writable layers and what they are on.
    pub writable: HashMap<String, Option<ChainId>>,
    pub quarantined: Vec<String>,
}

/// Locks the store. A former holder's threads may need a moment to end, so this asks for a second.
fn hold(lock: &OwnedFd) -> rustix::io::Result<()> {
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(1);
    loop {
        match flock(lock, FlockOperation::NonBlockingLockExclusive) {
            Err(Errno::WOULDBLOCK) if std::time::Instant::now() < deadline => {
                std::thread::sleep(std::time::Duration::from_millis(5));
            }
            outcome => return outcome,
        }
    }
}

impl Layers {
    /// Opens the store at `root`, making it if it is not there, and cleans up what an earlier process left unfinished.
    /// A damaged record is moved into `quarantine/` with its layer: see [`Layers::quarantined`].
    pub fn open(root: &Path) -> Result<Layers> {
        let mut survey = Survey::mending();
        let layers = Layers::open_surveyed(root, &mut survey)?;
        survey.faults().iter().for_each(|fault| tracing::warn!("{fault}"));
        Ok(layers)
    }

    /// The same, with what is found wrong told to `survey`. One that only looks gets a store that must only be looked at.
    pub fn open_surveyed(root: &Path, survey: &mut Survey) -> Result<Layers> {
        let error = |doing, e: Errno| Error::io(doing, root, e);
        std::fs::create_dir_all(root).map_err(|e| Error::io("create", root, e))?;
        let private = Mode::RWXU;
        rustix::fs::chmod(root, private).map_err(|e| error("change mode of", e))?;
        let dir = || rustix::fs::open(root, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty());
        let fd = dir().map_err(|e| error("open", e))?;
        let lock = openat(&fd, "lock", OFlags::CREATE | OFlags::RDWR | OFlags::CLOEXEC, Mode::RUSR | Mode::WUSR)
            .map_err(|e| error("lock", e))?;
        hold(&lock).map_err(|e| match e {
            Errno::WOULDBLOCK => Error::InUse { name: root.display().to_string(), by: "another process".into() },
            e => error("lock", e),
        })?;
        let dirs = ["layers", "rw", "blobs", "blobs/sha256", "blobs/sha512", "partial", "empty", "trash", "quarantine"];
        for name in dirs {
            let mode = if name == "empty" { Mode::from_raw_mode(0o755) } else { private };
            match mkdirat(&fd, name, mode) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(e) => return Err(Error::io("create", root.join(name), e)),
            }
        }
        let mends = survey.mends();
        let blobs = Arc::new(Blobs::open(dir().map_err(|e| error("open", e))?, mends)?);
        let trash = Trash::open(dir().map_err(|e| error("open", e))?, mends)?;
        let layers = Layers(Arc::new(Inner {
            path: root.to_owned(),
            root: fd,
            _lock: lock,
            next: AtomicU64::new(1),
            state: Mutex::default(),
            blobs,
            trash,
        }));
        layers.load(survey)?;
        layers.load_writable(survey)?;
        Ok(layers)
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads every record.
    fn load(&self, survey: &mut Survey) -> Result<()> {
        let mut state = State::default();
        for name in names(&self.0.root, "layers")? {
            let number = name.parse::<u64>().ok().filter(|n| n.to_string() == name);
            self.0.next.fetch_max(number.unwrap_or(0) + 1, Ordering::Relaxed);
            let path = format!("layers/{name}");
            let (Some(number), Some(record)) = (number, self.read(&format!("{path}/meta.json"))?) else {
                survey.fault(&self.0.path.join(&path), "its unpacking was cut off", || self.throw_away(&path));
                continue;
            };
            match serde_json::from_slice::<Record>(&record) {
                Ok(record) if record.version > VERSION => {
                    return Err(Error::Version { path: self.0.path.join(path), version: record.version });
                }
                Ok(record) if record.chain == ChainId::of(record.parent.as_ref(), &record.diff_id) => {
                    let record = Record { number, ..record };
                    if state.layers.contains_key(&record.chain) {
                        let cause = format!("it is layer {} a second time", record.chain);
                        survey.fault(&self.0.path.join(&path), cause, || self.throw_away(&path));
                    } else {
                        state.layers.insert(record.chain.clone(), record);
                    }
                }
                _ => self.put_aside(&name, "its record is damaged", &mut state, survey),
            }
        }
        // A layer is no use without those below it.
        loop {
            let known = |chain: &Option<ChainId>| chain.as_ref().is_none_or(|c| state.layers.contains_key(c));
            let Some(record) = state.layers.values().find(|r| !known(&r.parent)).cloned() else { break };
            state.layers.remove(&record.chain);
            self.put_aside(&record.number.to_string(), "the layer below it is missing", &mut state, survey);
        }
        *self.state() = state;
        Ok(())
    }

    fn put_aside(&self, number: &str, why: &str, state: &mut State, survey: &mut Survey) {
        let from = format!("layers/{number}");
        survey.fault(&self.0.path.join(&from), why, || {
            let to = self.quarantine(&from, &format!("layer-{number}"))?;
            state.quarantined.push(format!("{to}: {why}"));
            Ok::<_, Error>(format!("moved to {to}"))
        });
    }

    /// Moves something into `quarantine/`; gives the place.
    pub(crate) fn quarantine(&self, from: &str, name: &str) -> Result<String> {
        for n in 0..1000u32 {
            let to = format!("quarantine/{name}.{n}");
            let flags = RenameFlags::NOREPLACE;
            match rustix::fs::renameat_with(&self.0.root, from, &self.0.root, to.as_str(), flags) {
                Ok(()) => return Ok(to),
                Err(Errno::EXIST | Errno::NOTEMPTY) => {}
                Err(e) => return Err(Error::io("quarantine", from, e)),
            }
        }
        Err(Error::Conflict("quarantine".into()))
    }

    /// For what nobody was told of.
    pub(crate) fn throw_away(&self, path: &str) -> Result<String> {
        self.0.trash.take(path).map(|()| "removed".into())
    }

    fn read(&self, path: &str) -> Result<Option<Vec<u8>>> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = match openat(&self.0.root, path, flags, Mode::empty()) {
            Ok(fd) => fd,
            Err(Errno::NOENT | Errno::NOTDIR) => return Ok(None),
            Err(e) => return Err(Error::io("open", path, e)),
        };
        let mut content = Vec::new();
        File::from(fd).take(64 << 10).read_to_end(&mut content).map_err(|e| Error::io("read", path, e))?;
        Ok(Some(content))
    }

    /// What was damaged and put aside when the store was opened, one sentence each.
    pub fn quarantined(&self) -> Vec<String> {
        self.state().quarantined.clone()
    }

    /// Opens a blob.
    pub fn blob(&self, digest: &Digest) -> Result<Option<File>> {
        self.0.blobs.get(digest)
    }

    /// Size of a blob.
    pub fn blob_size(&self, digest: &Digest) -> Result<Option<u64>> {
        self.0.blobs.size(digest)
    }

    /// Stores a small blob: verified at once, durable after [`Layers::sync`].
    pub fn put_blob(&self, digest: &Digest, bytes: &[u8]) -> Result<()> {
        self.0.blobs.put(digest, bytes)
    }

    /// Removes a blob; one that is not there is fine.
    pub fn remove_blob(&self, digest: &Digest) -> Result<()> {
        self.0.blobs.remove(digest)
    }

    /// Moves a blob whose bytes turned out not to be its digest's out of the way.
    pub fn quarantine_blob(&self, digest: &Digest) -> Result<()> {
        self.0.blobs.quarantine(digest)
    }

    /// Forgets the beginning of a blob that an interrupted pull left.
    pub fn forget_partial(&self, digest: &Digest) -> Result<()> {
        self.0.blobs.forget(digest)
    }

    /// Begins to take a blob in, or goes on with it. [`Error::Busy`]: somebody else does so right now.
    /// [`Error::Conflict`]: it is there.
    pub fn ingest(&self, digest: &Digest, size: Option<u64>) -> Result<Ingest> {
        if self.blob(digest)?.is_some() {
            return Err(Error::Conflict(format!("blob {digest}")));
        }
        Ingest::new(self.0.blobs.begin(digest, size)?)
    }

    /// Whether this layer, and so all below it, is there.
    pub fn has(&self, chain: &ChainId) -> bool {
        self.state().layers.contains_key(chain)
    }

    /// The layer below.
    pub fn parent(&self, chain: &ChainId) -> Option<ChainId> {
        self.state().layers.get(chain)?.parent.clone()
    }

    /// Bytes of the files of this layer alone.
    pub fn layer_size(&self, chain: &ChainId) -> Result<u64> {
        self.state().layers.get(chain).map(|record| record.size).ok_or_else(|| no_layer(chain))
    }

    /// Bytes of the files of this layer and all below.
    pub fn size_root(&self, chain: &ChainId) -> Result<u64> {
        Ok(self.chain(Some(chain))?.iter().map(|record| record.size).sum())
    }

    /// Records from the uppermost down.
    pub(crate) fn chain(&self, top: Option<&ChainId>) -> Result<Vec<Record>> {
        let state = self.state();
        let mut chain = Vec::new();
        let mut next = top;
        while let Some(id) = next {
            let record = state.layers.get(id).ok_or_else(|| no_layer(id))?;
            chain.push(record.clone());
            next = record.parent.as_ref();
        }
        Ok(chain)
    }

    /// The records whose trees show: those above, and including, the first that hides all below.
    pub(crate) fn visible(&self, top: Option<&ChainId>) -> Result<Vec<Record>> {
        let mut chain = self.chain(top)?;
        if let Some(last) = chain.iter().position(|record| record.opaque) {
            chain.truncate(last + 1);
        }
        Ok(chain)
    }

    pub(crate) fn open_chain(&self, top: Option<&ChainId>) -> Result<Vec<OwnedFd>> {
        self.visible(top)?.iter().map(|record| self.open_layer(record.number)).collect()
    }

    pub(crate) fn open_layer(&self, number: u64) -> Result<OwnedFd> {
        let path = format!("layers/{number}/d");
        openat(&self.0.root, path.as_str(), DIR, Mode::empty()).map_err(|e| Error::io("open", path, e))
    }

    /// Makes the directory of a new layer.
    pub(crate) fn new_layer(&self) -> Result<u64> {
        let number = self.0.next.fetch_add(1, Ordering::Relaxed);
        let path = format!("layers/{number}");
        mkdirat(&self.0.root, path.as_str(), Mode::RWXU).map_err(|e| Error::io("create", &path, e))?;
        let tree = format!("{path}/d");
        let made = mkdirat(&self.0.root, tree.as_str(), Mode::from_raw_mode(0o755));
        // Whatever the umask of this process is.
        let change = || rustix::fs::chmodat(&self.0.root, tree.as_str(), Mode::from_raw_mode(0o755), AtFlags::empty());
        let done = made.map_err(|e| Error::io("create", &tree, e));
        let done = done.and_then(|()| change().map_err(|e| Error::io("change mode of", &tree, e)));
        // A disk can be full from one directory to the next.
        done.inspect_err(|_| self.abandon(number))?;
        Ok(number)
    }

    /// Removes a layer that came to nothing.
    pub(crate) fn abandon(&self, number: u64) {
        if let Err(e) = self.0.trash.take(&format!("layers/{number}")) {
            tracing::warn!("{e}; the next start tries again");
        }
    }

    /// Takes a finished layer in. `false`: somebody else was first, this one is not needed.
    pub(crate) fn add(&self, record: Record) -> Result<bool> {
        if self.chain(record.parent.as_ref())?.len() + 1 > MAX_DEPTH {
            return Err(Error::Limit { what: "number of layers on top of each other", limit: MAX_DEPTH as u64 });
        }
        let path = format!("layers/{}/meta.new", record.number);
        let text = serde_json::to_vec(&record).map_err(|e| Error::io("write", &path, std::io::Error::from(e)))?;
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
        let file = openat(&self.0.root, path.as_str(), flags, Mode::RUSR | Mode::WUSR);
        let mut file = File::from(file.map_err(|e| Error::io("create", &path, e))?);
        file.write_all(&text).map_err(|e| Error::io("write", &path, e))?;
        let mut state = self.state();
        if state.layers.contains_key(&record.chain) {
            return Ok(false);
        }
        // It may have been removed since the look above.
        if let Some(parent) = record.parent.as_ref().filter(|parent| !state.layers.contains_key(*parent)) {
            return Err(no_layer(parent));
        }
        state.unsynced.insert(record.chain.clone());
        state.layers.insert(record.chain.clone(), record);
        Ok(true)
    }

    /// Makes everything committed so far durable. What fails to become so is gone: it must be fetched again.
    pub fn sync(&self) -> Result<()> {
        let blobs = self.0.blobs.unsynced();
        let layers: Vec<Record> = {
            let state = self.state();
            state.unsynced.iter().filter_map(|chain| state.layers.get(chain).cloned()).collect()
        };
        if blobs.is_empty() && layers.is_empty() {
            return Ok(());
        }
        let named = self.flush().and_then(|()| {
            reached(Step::PullSynced);
            self.0.blobs.name(&blobs)?;
            reached(Step::PullBlobs);
            for record in &layers {
                let (from, to) =
                    (format!("layers/{}/meta.new", record.number), format!("layers/{}/meta.json", record.number));
                renameat(&self.0.root, from.as_str(), &self.0.root, to.as_str())
                    .map_err(|e| Error::io("rename", from, e))?;
            }
            reached(Step::PullLayers);
            self.flush()
        });
        reached(Step::PullDurable);
        let mut state = self.state();
        for record in &layers {
            state.unsynced.remove(&record.chain);
            if named.is_err() {
                state.layers.remove(&record.chain);
            }
        }
        drop(state);
        if named.is_err() {
            // The kernel reports a lost write once and then forgets it: what was written cannot be trusted any more.
            for record in &layers {
                self.abandon(record.number);
            }
            for digest in &blobs {
                self.0.blobs.remove(digest)?;
            }
        }
        named
    }

    fn flush(&self) -> Result<()> {
        syncfs(&self.0.root).map_err(|e| Error::io("sync", &self.0.path, e))
    }

    /// Removes a layer that nothing stands on. Its space comes back soon after.
    pub fn remove(&self, chain: &ChainId) -> Result<()> {
        let number = {
            let mut state = self.state();
            let record = state.layers.get(chain).ok_or_else(|| no_layer(chain))?;
            let number = record.number;
            let above =
                state.layers.values().find(|r| r.parent.as_ref() == Some(chain)).map(|r| format!("layer {}", r.chain));
            let writable =
                || state.writable.iter().find(|(_, top)| top.as_ref() == Some(chain)).map(|(id, _)| id.clone());
            if let Some(by) = above.or_else(writable) {
                return Err(Error::InUse { name: format!("layer {chain}"), by });
            }
            state.layers.remove(chain);
            state.unsynced.remove(chain);
            number
        };
        self.0.trash.take(&format!("layers/{number}"))
    }

    /// Removes what nothing that is alive needs: at the start, after a crash. Beginnings of blobs stay for a day, to be
    /// gone on with.
    pub fn reclaim(
        &self,
        live_writable: &HashSet<String>,
        live_chains: &HashSet<ChainId>,
        live_blobs: &HashSet<Digest>,
    ) -> Result<()> {
        let dead: Vec<String> =
            self.state().writable.keys().filter(|id| !live_writable.contains(*id)).cloned().collect();
        for id in dead {
            self.discard(&id)?;
        }
        let (mut needed, roots) = {
            let state = self.state();
            let roots: Vec<ChainId> = state.writable.values().flatten().chain(live_chains).cloned().collect();
            (HashSet::new(), roots)
        };
        for root in roots {
            // An image may name a layer that is not there: it is the image's to report.
            for record in self.chain(Some(&root)).unwrap_or_default() {
                needed.insert(record.chain);
            }
        }
        let dead: Vec<Record> = {
            let mut state = self.state();
            let dead: Vec<Record> = state.layers.values().filter(|r| !needed.contains(&r.chain)).cloned().collect();
            for record in &dead {
                state.layers.remove(&record.chain);
                state.unsynced.remove(&record.chain);
            }
            dead
        };
        for record in dead {
            self.0.trash.take(&format!("layers/{}", record.number))?;
        }
        for digest in self.0.blobs.list()?.iter().filter(|digest| !live_blobs.contains(*digest)) {
            self.0.blobs.remove(digest)?;
        }
        self.forget_old_partials()
    }

    fn forget_old_partials(&self) -> Result<()> {
        let now = rustix::time::clock_gettime(rustix::time::ClockId::Realtime).tv_sec;
        for name in names(&self.0.root, "partial")? {
            let path = format!("partial/{name}");
            let old = rustix::fs::statat(&self.0.root, path.as_str(), AtFlags::SYMLINK_NOFOLLOW)
                .is_ok_and(|stat| now - stat.st_mtime > 24 * 60 * 60);
            if old && !name.ends_with(".whole") {
                unlinkat(&self.0.root, path.as_str(), AtFlags::empty()).map_err(|e| Error::io("remove", path, e))?;
            }
        }
        Ok(())
    }

    /// Waits until the space of everything removed so far has come back.
    pub fn settle(&self) {
        self.0.trash.settle();
    }
}

pub(crate) fn no_layer(chain: &ChainId) -> Error {
    Error::NotFound { what: "layer", name: chain.to_string() }
}

/// Names in one of our own directories.
pub(crate) fn names(root: &OwnedFd, path: &str) -> Result<Vec<String>> {
    let error = |e: Errno| Error::io("list", path, e);
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let fd = openat(root, path, flags, Mode::empty()).map_err(error)?;
    let mut names = Vec::new();
    for entry in rustix::fs::Dir::read_from(fd.as_fd()).map_err(error)? {
        let name = entry.map_err(error)?.file_name().to_string_lossy().into_owned();
        if name != "." && name != ".." {
            names.push(name);
        }
    }
    Ok(names)
}
