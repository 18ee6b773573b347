//! A root file system → an image of one layer.

use crate::fetch::patient;
use crate::names::canonical;
use crate::record::{Record, Stored};
use crate::space::Thing;
use crate::store::Images;
use crate::tag::now;
use crate::{Error, Result, changes};
use layer::Packing;
use oci::digest::Algorithm;
use oci::image::{Compression, ContainerConfig, Descriptor, History, ImageConfig, RootFs, media};
use oci::{Digest, Platform, Reference};
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;

/// What an import is given besides the archive.
#[derive(Debug, Clone, Default)]
pub struct Import {
    /// The name of the new image.
    pub reference: Option<Reference>,
    /// Dockerfile lines.
    pub changes: Vec<String>,
    /// A comment for the history.
    pub message: String,
    /// What the files are for; the host's platform when not given.
    pub platform: Option<Platform>,
}

impl Images {
    /// Makes an image of a tar archive, plain or packed with gzip, zstd, bzip2 or xz. On the disk when it returns; blocks.
    ///
    /// # Errors
    /// `Invalid` for changes or an archive that cannot be used.
    pub fn import(&self, mut archive: &mut dyn Read, import: &Import) -> Result<Digest> {
        if import.reference.as_ref().is_some_and(|r| r.digest().is_some()) {
            return Err(Error::Invalid("cannot import digest reference".into()));
        }
        let mut config = ContainerConfig::default();
        changes::apply(&mut config, &import.changes)?;
        let unreadable = |e| Error::io("reading", Path::new("the archive"), e);
        let mut start = Vec::with_capacity(Packing::TELLING);
        Read::by_ref(&mut archive).take(Packing::TELLING as u64).read_to_end(&mut start).map_err(unreadable)?;
        let whole = io::Read::chain(start.as_slice(), archive);
        let (compression, mut whole): (_, Box<dyn Read>) = match Packing::of(&start) {
            // As layers are packed: unpacked on a thread of its own.
            Packing::Gzip => (Compression::Gzip, Box::new(whole)),
            Packing::Zstd => (Compression::Zstd, Box::new(whole)),
            packing => (Compression::None, packing.reader(whole).map_err(unreadable)?),
        };
        let created = jiff::Timestamp::now().to_string();
        let image = ImageConfig {
            created: Some(created.clone()),
            platform: import.platform.clone().unwrap_or_else(Platform::host).normalized(),
            config,
            history: vec![History {
                created: Some(created),
                comment: Some(import.message.clone()).filter(|m| !m.is_empty()),
                ..History::default()
            }],
            ..ImageConfig::default()
        };
        self.build(&mut whole, compression, image, import.reference.as_ref())
    }

    /// One layer and a configuration → an image that is on the disk.
    pub(crate) fn build(
        &self,
        archive: &mut dyn Read,
        compression: Compression,
        mut config: ImageConfig,
        name: Option<&Reference>,
    ) -> Result<Digest> {
        let layers = &self.0.layers;
        let applied = layers.apply(None, archive, compression, None, &self.0.limits)?;
        config.rootfs = RootFs { kind: "layers".into(), diff_ids: vec![applied.diff_id.clone()] };
        let bytes = serde_json::to_vec(&config).map_err(|e| Error::Invalid(format!("image configuration: {e}")))?;
        let id = registry::digest(Algorithm::Sha256, &bytes);
        let pins = self.pin_blocking(vec![Thing::Layer(applied.chain.clone()), Thing::Blob(id.clone())]);
        if !layers.has(&applied.chain) {
            // The same files were in an image that was being removed at this very moment.
            return Err(Error::Conflict("the layer was removed while it was imported: try again".into()));
        }
        patient(|| layers.put_blob(&id, &bytes))?;
        let descriptor = Descriptor {
            media_type: media::DOCKER_CONFIG.into(),
            digest: id.clone(),
            size: bytes.len() as u64,
            urls: Vec::new(),
            annotations: Default::default(),
            platform: None,
            artifact_type: None,
        };
        let size = layers.layer_size(&applied.chain)?;
        let record = Record::new(descriptor, size, if name.is_some() { now() } else { 0 });
        let number = {
            let mut state = self.state();
            let added = state.add(Stored { record, config: Arc::new(config), chains: vec![applied.chain] });
            name.map_or(added, |name| state.name(&canonical(name), &id))
        };
        drop(pins);
        self.wait(number, Some(&id))?;
        Ok(id)
    }
}
