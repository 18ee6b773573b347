//! What lies on the disk: one document per image and one for the names. Both begin with a version.

use crate::names::Names;
use crate::{Error, Result};
use layer::ChainId;
use oci::image::{Descriptor, ImageConfig};
use oci::{Digest, Reference};
use rustix::fs::{Mode, OFlags};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;

/// The format written.
const VERSION: u32 = 1;
/// Larger documents are damaged.
pub(crate) const DOCUMENT_LIMIT: u64 = 64 << 20;

/// An image as its record has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Record {
    version: u32,
    /// The configuration; its digest is the image ID.
    pub config: Descriptor,
    /// The manifest it was pulled by, and the index that was in, as far as there were any.
    pub manifests: Vec<Descriptor>,
    /// The layers as they were fetched, lowest first; none of an image made here.
    pub layers: Vec<Descriptor>,
    /// Bytes of the unpacked layers.
    pub size: u64,
    /// Seconds since 1970 of the last tag.
    pub tagged: i64,
}

impl Record {
    pub(crate) fn new(config: Descriptor, size: u64, tagged: i64) -> Record {
        Record { version: VERSION, config, manifests: Vec::new(), layers: Vec::new(), size, tagged }
    }

    pub(crate) fn parse(bytes: &[u8]) -> Result<Record> {
        let record: Record = serde_json::from_slice(bytes).map_err(|e| Error::Corrupt(format!("image record: {e}")))?;
        if record.version != VERSION {
            let version = record.version;
            return Err(Error::Corrupt(format!("image record has version {version}, this engine knows {VERSION}")));
        }
        Ok(record)
    }

    pub(crate) fn print(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }
}

/// An image that is known: its record and its parsed configuration.
#[derive(Debug)]
pub(crate) struct Stored {
    pub record: Record,
    pub config: Arc<ImageConfig>,
    /// The chain of each layer, lowest first.
    pub chains: Vec<ChainId>,
}

impl Stored {
    pub(crate) fn id(&self) -> &Digest {
        &self.record.config.digest
    }

    /// The blobs that belong to it.
    pub(crate) fn blobs(&self) -> impl Iterator<Item = &Digest> {
        let Record { manifests, layers, .. } = &self.record;
        std::iter::once(self.id()).chain(manifests.iter().chain(layers).map(|d| &d.digest))
    }
}

/// The chain of every layer of a configuration, lowest first.
pub(crate) fn chains(config: &ImageConfig) -> Vec<ChainId> {
    let mut chains: Vec<ChainId> = Vec::with_capacity(config.rootfs.diff_ids.len());
    for diff_id in &config.rootfs.diff_ids {
        let chain = ChainId::of(chains.last(), diff_id);
        chains.push(chain);
    }
    chains
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Repositories {
    version: u32,
    names: BTreeMap<String, Digest>,
}

impl Names {
    pub(crate) fn parse(bytes: &[u8]) -> Result<Names> {
        let damaged = |why: String| Error::Corrupt(format!("repositories.json: {why}"));
        let document: Repositories = serde_json::from_slice(bytes).map_err(|e| damaged(e.to_string()))?;
        if document.version != VERSION {
            return Err(damaged(format!("version {} is unknown", document.version)));
        }
        let mut names = Names::default();
        for (name, id) in document.names {
            let reference: Reference = name.parse().map_err(|e: oci::Error| damaged(format!("{name:?}: {e}")))?;
            names.set(&reference, &id);
        }
        Ok(names)
    }

    pub(crate) fn print(&self) -> Vec<u8> {
        let names = self.iter().map(|(name, id)| (name.to_string(), id.clone())).collect();
        serde_json::to_vec(&Repositories { version: VERSION, names }).unwrap_or_default()
    }
}

/// Replaces `directory/name` so that after a power cut it is the old or the new document. The caller syncs the
/// directory.
pub(crate) fn replace(directory: &Path, name: &str, bytes: &[u8]) -> Result<()> {
    let (temporary, path) = (directory.join(format!("{name}.tmp")), directory.join(name));
    // A new file each time: one whose sync failed once cannot be trusted again.
    let _ = std::fs::remove_file(&temporary);
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    let opened = rustix::fs::open(&temporary, flags, Mode::RUSR | Mode::WUSR);
    let mut file = File::from(opened.map_err(|e| Error::io("creating", &temporary, e))?);
    let written = file.write_all(bytes).and_then(|()| file.sync_all());
    let renamed = written.and_then(|()| std::fs::rename(&temporary, &path));
    renamed.map_err(|e| {
        let _ = std::fs::remove_file(&temporary);
        Error::io("writing", &path, e)
    })
}

/// Makes renames and removals in a directory last.
pub(crate) fn sync_directory(directory: &Path) -> Result<()> {
    File::open(directory).and_then(|d| d.sync_all()).map_err(|e| Error::io("syncing", directory, e))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_round_trip_and_damage_shows() {
        let digest = Digest::from_sha256(&[7; 32]);
        let descriptor: Descriptor =
            serde_json::from_str(&format!(r#"{{"mediaType":"x","digest":"{digest}","size":3}}"#)).unwrap();
        let record = Record::new(descriptor, 5, 6);
        let text = record.print();
        assert_eq!(Record::parse(&text).unwrap(), record);
        for length in 0..text.len() {
            assert!(Record::parse(&text[..length]).is_err(), "{length}");
        }
        let newer = String::from_utf8(text).unwrap().replace(r#""version":1"#, r#""version":2"#);
        assert!(Record::parse(newer.as_bytes()).is_err());
        let mut names = Names::default();
        names.set(&"127.0.0.1:5000/debian:13".parse().unwrap(), &digest);
        names.set(&format!("debian@{digest}").parse().unwrap(), &digest);
        assert_eq!(Names::parse(&names.print()).unwrap(), names);
        assert!(Names::parse(b"{}").is_err() && Names::parse(b"").is_err());
    }
}
