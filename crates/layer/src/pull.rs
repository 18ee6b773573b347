//! Applying compressed layers: from a download, from a stored blob, from any reader.

use crate::blob::Partial;
use crate::error::{Error, Result};
use crate::limits::Limits;
use crate::pipeline::{BUFFER, Outcome, Pipeline};
use crate::stage::Staged;
use crate::store::{Applied, ChainId, Layers};
use oci::Digest;
use oci::digest::Algorithm;
use oci::image::Compression;
use std::io::Read;

impl Layers {
    /// Unpacks a layer; where it belongs is said by [`Staged::commit`].
    pub fn stage(
        &self,
        compressed: &mut dyn Read,
        compression: Compression,
        expected_diff_id: Option<&Digest>,
        limits: &Limits,
    ) -> Result<Staged> {
        let mut unpacking = Unpacking::start(self, None, compression, expected_diff_id, limits)?;
        let mut buffer = vec![0; BUFFER];
        loop {
            match compressed.read(&mut buffer) {
                Ok(0) => return unpacking.finish().map(|(staged, _)| staged),
                Ok(n) => unpacking.pipeline.write(buffer.get(..n).unwrap_or_default())?,
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
                Err(e) => return Err(Error::io("read", "layer", e)),
            }
        }
    }

    /// Unpacks a layer on top of `parent`.
    pub fn apply(
        &self,
        parent: Option<&ChainId>,
        compressed: &mut dyn Read,
        compression: Compression,
        expected_diff_id: Option<&Digest>,
        limits: &Limits,
    ) -> Result<Applied> {
        self.stage(compressed, compression, expected_diff_id, limits)?.commit(parent)
    }

    /// Unpacks a layer from its stored blob, verifying the blob's digest again on the way; one that is damaged is put
    /// into quarantine.
    pub fn stage_blob(
        &self,
        digest: &Digest,
        compression: Compression,
        expected_diff_id: Option<&Digest>,
        limits: &Limits,
    ) -> Result<Staged> {
        let blob = self.blob(digest)?;
        let blob = blob.ok_or_else(|| Error::NotFound { what: "blob", name: digest.to_string() })?;
        let mut hashed = Hashed { file: blob, hasher: crate::hash::Hasher::new(digest.algorithm()) };
        let staged = self.stage(&mut hashed, compression, expected_diff_id, limits);
        if matches!(staged, Ok(_) | Err(Error::Compressed(_) | Error::Archive(_) | Error::Digest { .. })) {
            // Whatever the unpacker left unread belongs to the digest as well.
            std::io::copy(&mut hashed, &mut std::io::sink()).map_err(|e| Error::io("read", digest.as_str(), e))?;
            let found = hashed.hasher.finish()?;
            if found != *digest {
                self.quarantine_blob(digest)?;
                return Err(Error::Digest { what: "blob", expected: digest.clone(), found });
            }
        }
        staged
    }

    /// Begins to take in a layer from a download: its bytes become the blob `digest` and are unpacked on the way. What an
    /// interrupted download left is gone on with: fetch from [`PullSink::offset`] on. [`Error::Busy`]: somebody else
    /// takes it in right now.
    pub fn pull_sink(
        &self,
        digest: &Digest,
        size: Option<u64>,
        compression: Compression,
        expected_diff_id: Option<&Digest>,
        limits: &Limits,
    ) -> Result<PullSink> {
        let partial = self.0.blobs.begin(digest, size)?;
        let offset = partial.offset();
        let unpacking = Unpacking::start(self, Some(partial), compression, expected_diff_id, limits)?;
        Ok(PullSink { unpacking, digest: digest.clone(), offset })
    }
}

/// Takes the bytes of one layer's blob as they arrive. Threads of its own do the work; dropped before
/// [`PullSink::finish`], it leaves the beginning of the blob for the next attempt and nothing else.
pub struct PullSink {
    unpacking: Unpacking,
    digest: Digest,
    offset: u64,
}

impl PullSink {
    /// How many bytes are there already: fetch from here on. They are read back while the first new ones arrive.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Takes the next bytes. Holds the thread while unpacking is behind: not for async code.
    pub fn write(&mut self, bytes: &[u8]) -> Result<()> {
        let written = self.unpacking.pipeline.write(bytes);
        written.inspect_err(|e| self.forget(e))
    }

    /// Takes the next bytes. Waits without holding the thread, under any runtime; what is copied at once is at most a
    /// few hundred kilobytes.
    pub async fn write_async(&mut self, bytes: &[u8]) -> Result<()> {
        let written = self.unpacking.pipeline.write_async(bytes).await;
        written.inspect_err(|e| self.forget(e))
    }

    /// Says that this was all. Waits for the last file, verifies size, digest and diff ID, and keeps the blob. Holds the
    /// thread: call it where blocking is allowed.
    pub fn finish(self) -> Result<Staged> {
        let (layers, digest) = (self.unpacking.layers.clone(), self.digest.clone());
        match self.unpacking.finish() {
            Ok((staged, Some(partial))) => partial.keep().map(|()| staged),
            Ok((staged, None)) => Ok(staged),
            Err(e) => {
                forget(&layers, &digest, &e);
                Err(e)
            }
        }
    }

    fn forget(&self, e: &Error) {
        forget(&self.unpacking.layers, &self.digest, e);
    }
}

/// Bytes that led to a failure of their own are no beginning to go on from; too few are.
fn forget(layers: &Layers, digest: &Digest, e: &Error) {
    if !matches!(e, Error::Cut | Error::Size { .. })
        && let Err(e) = layers.forget_partial(digest)
    {
        tracing::warn!("{e}");
    }
}

/// A layer directory being filled.
struct Unpacking {
    layers: Layers,
    pipeline: Pipeline,
    number: Abandon,
    expected: Option<Digest>,
}

/// Removes the directory, unless it became a staged layer.
struct Abandon {
    layers: Layers,
    number: Option<u64>,
}

impl Drop for Abandon {
    fn drop(&mut self) {
        if let Some(number) = self.number {
            self.layers.abandon(number);
        }
    }
}

impl Unpacking {
    fn start(
        layers: &Layers,
        blob: Option<Partial>,
        compression: Compression,
        expected: Option<&Digest>,
        limits: &Limits,
    ) -> Result<Unpacking> {
        let number = Abandon { layers: layers.clone(), number: Some(layers.new_layer()?) };
        let dir = layers.open_layer(number.number.unwrap_or_default())?;
        let algorithm = expected.map_or(Algorithm::Sha256, |digest| digest.algorithm());
        let pipeline = Pipeline::start(dir, blob, compression, algorithm, limits)?;
        Ok(Unpacking { layers: layers.clone(), pipeline, number, expected: expected.cloned() })
    }

    fn finish(mut self) -> Result<(Staged, Option<Partial>)> {
        let Outcome { diff_id, unpacked, blob } = self.pipeline.finish()?;
        if let Some(expected) = self.expected.take_if(|expected| *expected != diff_id) {
            return Err(Error::Digest { what: "layer", expected, found: diff_id });
        }
        let number = self.number.number.take().ok_or(Error::Cut)?;
        Ok((Staged::new(self.layers.clone(), number, diff_id, unpacked), blob))
    }
}

/// A reader that hashes what it gives.
struct Hashed {
    file: std::fs::File,
    hasher: crate::hash::Hasher,
}

impl Read for Hashed {
    fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
        let n = self.file.read(out)?;
        self.hasher.update(out.get(..n).unwrap_or_default());
        Ok(n)
    }
}
