//! A reference → a stored image.

use crate::choose::{self, CONFIG_LIMIT};
use crate::fetch::{Job, Wanted, blocking, patient};
use crate::progress::{Event, Progress};
use crate::record::{Record, Stored, chains};
use crate::space::{Pins, Thing};
use crate::store::Images;
use crate::tag::now;
use crate::{Error, Result};
use futures_util::future::try_join_all;
use layer::ChainId;
use oci::image::{Compression, Descriptor, Document, ImageConfig, Manifest};
use oci::{Digest, Platform, Reference};
use std::sync::Arc;
use sys::step::{Step, reached};

/// An index in an index in an index is enough.
const NESTING: usize = 3;
/// How often a pull starts again whose layer another pull was fetching from elsewhere, in vain.
const TRIES: u32 = 4;

/// What a pull came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pulled {
    /// The image ID.
    pub id: Digest,
    /// What the reference named: the digest of a manifest or an index.
    pub digest: Digest,
    /// The name stood for this image before.
    pub up_to_date: bool,
}

/// What the registry said a reference is.
struct Resolved {
    manifest: Manifest,
    /// The manifest, and the indexes above it.
    documents: Vec<(Descriptor, Vec<u8>)>,
    /// The digest of the outermost.
    digest: Digest,
}

type Tell<'a> = &'a (dyn Fn(Progress) + Send + Sync);

impl Images {
    /// Pulls an image and names it. It can be used when this returns; its record reaches the disk right after (see
    /// [`Images::flush`]). Dropping the future gives the pull up; what has come stays for the next attempt, and other
    /// pulls of the same layers go on.
    ///
    /// # Errors
    /// In Docker's words: the registry's, or what is wrong with the image.
    pub async fn pull(
        &self,
        reference: &Reference,
        platform: Option<Platform>,
        credentials: Option<registry::Credentials>,
        progress: impl Fn(Progress) + Send + Sync,
    ) -> Result<Pulled> {
        self.pull_dyn(reference, platform, credentials, &progress).await
    }

    async fn pull_dyn(
        &self,
        reference: &Reference,
        platform: Option<Platform>,
        credentials: Option<registry::Credentials>,
        tell: Tell<'_>,
    ) -> Result<Pulled> {
        let reference = reference.clone().or_latest();
        let repository = self.0.client.repository(&reference, credentials);
        let want = platform.clone().unwrap_or_else(Platform::host);
        let resolved = self.resolve(&repository, &reference, &want, tell).await?;
        let id = resolved.manifest.config.digest.clone();
        let (digest, mut brought) = (resolved.digest.clone(), None);
        let (up_to_date, actual) = loop {
            if let Some(named) = self.settle(&reference, &digest, &id, &mut brought) {
                break named;
            }
            reached(Step::PullBegun);
            brought = Some(self.bring(&repository, &resolved, tell).await?);
            reached(Step::PullBrought);
        };
        reached(Step::PullNamed);
        if let Some(asked) = platform.filter(|asked| asked.rank(&actual).is_none()) {
            let name = reference.familiar();
            let text = format!(
                "WARNING: image with reference {name} was found but its platform ({actual}) does not match the specified platform ({asked})"
            );
            tell(Progress { id: None, event: Event::Message(text) });
        }
        self.commit();
        tell(Progress { id: None, event: Event::Digest(digest.clone()) });
        let status = if up_to_date { "Image is up to date for" } else { "Downloaded newer image for" };
        tell(Progress { id: None, event: Event::Message(format!("Status: {status} {}", reference.familiar())) });
        Ok(Pulled { id, digest, up_to_date })
    }

    /// Takes in what was brought and names it, in one step, so that nobody finds an image without a name. `None` when
    /// the image is not there (any more) and must be brought. Otherwise whether the name stood for it before, and what
    /// it says it is for.
    fn settle(
        &self,
        reference: &Reference,
        digest: &Digest,
        id: &Digest,
        brought: &mut Option<(Stored, Pins)>,
    ) -> Option<(bool, Platform)> {
        // The pins go last: they take the lock themselves.
        let (stored, _pins) = brought.take().unzip();
        let mut state = self.state();
        if let Some(stored) = stored {
            state.add(stored);
        }
        let actual = state.images.get(id)?.config.platform.clone();
        let before = state.names.get(reference) == Some(id);
        for name in [&reference.with_digest(digest.clone()), reference] {
            if state.names.get(name) != Some(id) {
                state.name(name, id);
            }
        }
        Some((before, actual))
    }

    /// From the reference to the manifest for the platform.
    async fn resolve(
        &self,
        repository: &registry::Repository,
        reference: &Reference,
        want: &Platform,
        tell: Tell<'_>,
    ) -> Result<Resolved> {
        let mut fetched = repository.manifest(reference.digest()).await?;
        let digest = fetched.digest.clone();
        let mut documents = Vec::new();
        loop {
            let document = Document::parse(&fetched.bytes, &fetched.media_type)?;
            if documents.is_empty() {
                // The first news, and only when there is something to pull: until then a failure has no news before it.
                let named = reference.digest().map(Digest::as_str).or(reference.tag());
                tell(Progress { id: named.map(Into::into), event: Event::PullingFrom(reference.path().into()) });
            }
            let descriptor = describe(&fetched);
            documents.insert(0, (descriptor, fetched.bytes));
            let index = match document {
                Document::Manifest(manifest) => return Ok(Resolved { manifest, documents, digest }),
                Document::Index(index) => index,
            };
            if documents.len() > NESTING {
                return Err(Error::Corrupt("manifest lists are nested too deeply".into()));
            }
            let chosen = choose::choose(&index, want)?;
            fetched = repository.manifest(Some(&chosen.digest)).await?;
            if fetched.bytes.len() as u64 != chosen.size {
                let (size, said) = (fetched.bytes.len(), chosen.size);
                return Err(Error::Corrupt(format!(
                    "manifest {} has {size} bytes, its index says {said}",
                    chosen.digest
                )));
            }
            // The index said what it is; a registry's header may be more careless.
            fetched.media_type = chosen.media_type.clone();
        }
    }

    /// Fetches what is not there. The pins keep it until it is taken in.
    async fn bring(
        &self,
        repository: &registry::Repository,
        resolved: &Resolved,
        tell: Tell<'_>,
    ) -> Result<(Stored, Pins)> {
        let manifest = &resolved.manifest;
        let compressions = choose::compressions(manifest)?;
        // Kept until the end: another pull of the image finds it here.
        let document = self.document(repository, &manifest.config, CONFIG_LIMIT).await?;
        let bytes = document.get().cloned().unwrap_or_default();
        let config = choose::config(&bytes, manifest)?;
        let chains = chains(&config);
        let documents = resolved.documents.iter().map(|(d, _)| d);
        let blobs = std::iter::once(&manifest.config).chain(documents).chain(&manifest.layers);
        let things = chains.iter().cloned().map(Thing::Layer).chain(blobs.map(|d| Thing::Blob(d.digest.clone())));
        let pins = self.pin(things.collect()).await;
        let mut tries = 0;
        loop {
            let jobs = self.start(repository, manifest, &compressions, &config, &chains, tell);
            let followed =
                jobs.iter().map(|(id, job)| job.follow(move |event| tell(Progress { id: Some(id.clone()), event })));
            let Err(error) = try_join_all(followed).await else { break };
            let others = jobs.iter().any(|(_, job)| !job.is_from(repository));
            drop(jobs);
            tries += 1;
            // Another pull's registry has failed, not ours.
            if others && tries < TRIES {
                continue;
            }
            let again = matches!(
                error,
                Error::Registry(
                    registry::Error::Unreachable(_) | registry::Error::Server(_) | registry::Error::TooManyRequests(_)
                )
            );
            if !again {
                pins.give_up();
            }
            return Err(error);
        }
        let documents = resolved.documents.clone();
        let blobs = manifest.layers.clone();
        let stored = self.store(manifest.config.clone(), bytes, documents, blobs, config, chains).await?;
        Ok((stored, pins))
    }

    /// Starts the jobs of the layers that are not there, lowest first.
    fn start(
        &self,
        repository: &registry::Repository,
        manifest: &Manifest,
        compressions: &[Compression],
        config: &ImageConfig,
        chains: &[ChainId],
        tell: Tell<'_>,
    ) -> Vec<(String, Arc<Job>)> {
        let mut jobs: Vec<(String, Arc<Job>)> = Vec::new();
        let mut missing = false;
        let layers = manifest.layers.iter().zip(compressions).zip(config.rootfs.diff_ids.iter().zip(chains));
        for (n, ((blob, compression), (diff_id, chain))) in layers.enumerate() {
            let id = blob.digest.hex()[..12].to_owned();
            // Above a missing layer there can be none: it would have no parent.
            missing = missing || !self.0.layers.has(chain);
            if !missing {
                tell(Progress { id: Some(id), event: Event::Exists });
                continue;
            }
            tell(Progress { id: Some(id.clone()), event: Event::PullingLayer });
            let job = self.fetch(Wanted {
                repository: repository.clone(),
                blob: blob.clone(),
                compression: *compression,
                diff_id: diff_id.clone(),
                chain: chain.clone(),
                parent: n.checked_sub(1).map(|n| chains[n].clone()),
                below: jobs.last().map(|(_, job)| job.clone()),
            });
            jobs.push((id, job));
        }
        jobs
    }

    /// Stores the documents of an image whose layers are there.
    async fn store(
        &self,
        config_descriptor: Descriptor,
        config_bytes: Vec<u8>,
        documents: Vec<(Descriptor, Vec<u8>)>,
        blobs: Vec<Descriptor>,
        config: ImageConfig,
        chains: Vec<ChainId>,
    ) -> Result<Stored> {
        let layers = self.0.layers.clone();
        blocking(move || {
            patient(|| layers.put_blob(&config_descriptor.digest, &config_bytes))?;
            for (descriptor, bytes) in &documents {
                patient(|| layers.put_blob(&descriptor.digest, bytes))?;
            }
            let mut size = 0;
            for chain in &chains {
                size += layers.layer_size(chain)?;
            }
            let mut record = Record::new(config_descriptor, size, now());
            record.manifests = documents.into_iter().map(|(descriptor, _)| descriptor).collect();
            record.layers = blobs;
            Ok(Stored { record, config: Arc::new(config), chains })
        })
        .await
    }
}

fn describe(fetched: &registry::Manifest) -> Descriptor {
    Descriptor {
        media_type: fetched.media_type.clone(),
        digest: fetched.digest.clone(),
        size: fetched.bytes.len() as u64,
        urls: Vec::new(),
        annotations: Default::default(),
        platform: None,
        artifact_type: None,
    }
}
