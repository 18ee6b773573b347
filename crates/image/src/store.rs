//! What is known about images, and how it is found again at a start.

use crate::durable::Pending;
use crate::fetch::Fetching;
use crate::names::Names;
use crate::record::{self, DOCUMENT_LIMIT, Record, Stored};
use crate::space::Thing;
use crate::{Error, Result};
use fault::Survey;
use layer::Layers;
use oci::Digest;
use oci::image::ImageConfig;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fs::{DirBuilder, File};
use std::io::Read;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// What the administrator decides about images.
#[derive(Debug, Clone, Default)]
pub struct Config {
    /// Registries.
    pub registry: registry::Config,
    /// Layers fetched at the same time, of all pulls together; 0 is Docker's 3.
    pub max_concurrent_downloads: usize,
    /// Bounds on what a layer may hold.
    pub limits: layer::Limits,
}

/// All images of one data root. Cheap to clone.
#[derive(Clone)]
pub struct Images(pub(crate) Arc<Shared>);

pub(crate) struct Shared {
    pub root: PathBuf,
    pub layers: Layers,
    pub client: registry::Client,
    pub limits: layer::Limits,
    pub fetching: Fetching,
    /// Something was written or freed.
    pub changed: Condvar,
    /// The same for tasks.
    pub freed: tokio::sync::Notify,
    state: Mutex<State>,
    /// Held while names and records are written.
    pub writing: Mutex<()>,
    problems: Vec<String>,
}

/// Everything that changes. Locked for moments, never across I/O.
#[derive(Default)]
pub(crate) struct State {
    pub images: BTreeMap<Digest, Arc<Stored>>,
    pub names: Names,
    pub pending: Pending,
    /// Needed by work under way.
    pub pins: BTreeMap<Thing, usize>,
    /// Brought by work that failed, for its next attempt; the next start frees what is not needed then.
    pub kept: BTreeSet<Thing>,
    /// To be freed once the removal of what named them is on the disk.
    pub doomed: VecDeque<Thing>,
    /// Being freed.
    pub dying: Option<Thing>,
}

impl Images {
    /// Opens the store below `root` (`<data root>/image`), making it when it is not there. What is damaged goes to
    /// `quarantine/` and is named by [`Images::problems`]; it stops nothing.
    ///
    /// # Errors
    /// When the directory cannot be used at all, or the registry configuration is wrong.
    pub fn open(root: &Path, layers: Layers, config: Config) -> Result<Images> {
        Images::open_surveyed(root, layers, config, &mut Survey::mending())
    }

    /// The same, with what is found wrong told to `survey`. One that only looks gets a store that must only be looked at.
    ///
    /// # Errors
    /// As [`Images::open`].
    pub fn open_surveyed(root: &Path, layers: Layers, config: Config, survey: &mut Survey) -> Result<Images> {
        let client = registry::Client::new(config.registry)?;
        for directory in [root.to_owned(), root.join("record"), root.join("quarantine")] {
            let made = DirBuilder::new().recursive(true).mode(0o700).create(&directory);
            made.map_err(|e| Error::io("creating", &directory, e))?;
        }
        let before = survey.faults().len();
        let mends = survey.mends();
        let mut opening = Opening { root, layers: &layers, survey };
        let mut state = State { images: opening.records()?, ..State::default() };
        let found = opening.names();
        state.names = opening.known(&found, &state.images);
        let dropped = state.names != found;
        state.pending = Pending::found(found);
        if dropped && mends {
            state.pending.named();
        }
        let problems: Vec<String> = survey.faults().iter().skip(before).map(ToString::to_string).collect();
        problems.iter().for_each(|problem| tracing::warn!("{problem}"));
        let downloads = if config.max_concurrent_downloads == 0 { 3 } else { config.max_concurrent_downloads };
        let images = Images(Arc::new(Shared {
            root: root.to_owned(),
            layers,
            client,
            limits: config.limits,
            fetching: Fetching::new(downloads),
            changed: Condvar::new(),
            freed: tokio::sync::Notify::new(),
            state: Mutex::new(state),
            writing: Mutex::default(),
            problems,
        }));
        // Names that were dropped are dropped on the disk, too.
        images.commit();
        Ok(images)
    }

    /// What was damaged when the store was opened, one line each.
    pub fn problems(&self) -> &[String] {
        &self.0.problems
    }

    /// The registry client, for `login` and for asking about manifests.
    pub fn registry(&self) -> &registry::Client {
        &self.0.client
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The raw bytes of an image's configuration, as its digest names them. Blocks.
    ///
    /// # Errors
    /// When they cannot be read, or are no longer those bytes.
    pub fn raw_config(&self, id: &Digest) -> Result<Vec<u8>> {
        read_blob(&self.0.layers, id)
    }

    /// The raw bytes of a manifest or index that an image was pulled by. Blocks.
    ///
    /// # Errors
    /// As [`Images::raw_config`].
    pub fn raw_manifest(&self, digest: &Digest) -> Result<Vec<u8>> {
        read_blob(&self.0.layers, digest)
    }
}

/// Reads a small blob and verifies it.
fn read_blob(layers: &Layers, digest: &Digest) -> Result<Vec<u8>> {
    let missing = || Error::Corrupt(format!("blob {digest} is missing"));
    let file = layers.blob(digest)?.ok_or_else(missing)?;
    let mut bytes = Vec::new();
    let path = Path::new(digest.as_str());
    file.take(DOCUMENT_LIMIT).read_to_end(&mut bytes).map_err(|e| Error::io("reading blob", path, e))?;
    if registry::digest(digest.algorithm(), &bytes) != *digest {
        return Err(Error::Corrupt(format!("blob {digest} is damaged")));
    }
    Ok(bytes)
}

/// A start: reading what the last run left.
struct Opening<'a> {
    root: &'a Path,
    layers: &'a Layers,
    survey: &'a mut Survey,
}

impl Opening<'_> {
    fn records(&mut self) -> Result<BTreeMap<Digest, Arc<Stored>>> {
        let directory = self.root.join("record");
        let mut images = BTreeMap::new();
        let entries = std::fs::read_dir(&directory).map_err(|e| Error::io("listing", &directory, e))?;
        for entry in entries.flatten() {
            let path = entry.path();
            if path.extension().is_some_and(|e| e == "tmp") {
                // A write that a power cut interrupted; it was never acknowledged.
                if self.survey.mends() {
                    let _ = std::fs::remove_file(&path);
                }
                continue;
            }
            match read_record(self.layers, &path) {
                Ok(stored) => {
                    images.insert(stored.id().clone(), Arc::new(stored));
                }
                Err(error) => self.quarantine(&path, &error),
            }
        }
        Ok(images)
    }

    /// The names as they are on the disk.
    fn names(&mut self) -> Names {
        let path = self.root.join("repositories.json");
        if self.survey.mends() {
            let _ = std::fs::remove_file(self.root.join("repositories.json.tmp"));
        }
        let read = match read_document(&path) {
            Err(Error::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => Ok(Names::default()),
            Ok(bytes) => Names::parse(&bytes),
            Err(error) => Err(error),
        };
        read.unwrap_or_else(|error| {
            self.quarantine(&path, &error);
            Names::default()
        })
    }

    /// Those of images that are there.
    fn known(&mut self, all: &Names, images: &BTreeMap<Digest, Arc<Stored>>) -> Names {
        let mut names = Names::default();
        for (name, id) in all.iter() {
            if images.contains_key(id) {
                names.set(name, id);
            } else {
                // The next document that is written is without it.
                let cause = format!("name {} is that of image {id}, which is not there", name.familiar());
                let dropped = || Ok::<_, Error>("it is dropped".into());
                self.survey.fault(&self.root.join("repositories.json"), cause, dropped);
            }
        }
        names
    }

    fn quarantine(&mut self, path: &Path, why: &Error) {
        self.survey.fault(path, why.to_string(), || quarantine(self.root, path));
    }
}

/// Moves a document out of the way.
pub(crate) fn quarantine(root: &Path, path: &Path) -> Result<String> {
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |d| d.as_secs());
    let to = root.join("quarantine").join(format!("{since}-{name}"));
    std::fs::rename(path, &to).map_err(|e| Error::io("quarantining", path, e))?;
    Ok(format!("moved to {}", to.display()))
}

/// Reads an image's record, and what it names as far as that must be whole.
pub(crate) fn read_record(layers: &Layers, path: &Path) -> Result<Stored> {
    let record = Record::parse(&read_document(path)?)?;
    let id = &record.config.digest;
    if path.file_stem().and_then(|s| s.to_str()) != Some(id.hex()) {
        return Err(Error::Corrupt(format!("it is the record of {id}")));
    }
    let config = ImageConfig::parse(&read_blob(layers, id)?)?;
    let chains = record::chains(&config);
    if let Some(chain) = chains.iter().find(|c| !layers.has(c)) {
        return Err(Error::Corrupt(format!("layer {chain} is missing")));
    }
    Ok(Stored { record, config: Arc::new(config), chains })
}

pub(crate) fn read_document(path: &Path) -> Result<Vec<u8>> {
    let file = File::open(path).map_err(|e| Error::io("opening", path, e))?;
    let mut bytes = Vec::new();
    file.take(DOCUMENT_LIMIT).read_to_end(&mut bytes).map_err(|e| Error::io("reading", path, e))?;
    Ok(bytes)
}
