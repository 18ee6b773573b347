//! From compressed bytes to files on several cores.
//!
//! ```text
//! caller ─► [blob]  ─► inflate ─┬─► untar: writes files, shut into its directory
//!           hashes,             └─► hash: the diff ID
//!           writes the blob
//! ```
//!
//! Each stage is a thread; between them are bounded channels of shared buffers, so nothing is copied and a slow stage
//! slows the caller. Any stage's failure closes its channels and so stops all; [`Pipeline::finish`] gives the first cause.

use crate::blob::Partial;
use crate::error::{Error, Result};
use crate::hash::Hasher;
use crate::inflate::Inflate;
use crate::limits::Limits;
use crate::pipe::{Chunk, Pool, Receiver, Sender, channel};
use crate::tar::Reader;
use crate::unpack::{self, Options, Unpacked};
use oci::Digest;
use oci::digest::Algorithm;
use oci::image::Compression;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::thread::JoinHandle;

/// Size of a buffer: a few of them fit the second-level cache.
pub const BUFFER: usize = 256 << 10;
/// Buffers on the way between two stages.
const ROOM: usize = 16;

/// What came of a stream.
pub struct Outcome {
    /// Digest of the uncompressed stream.
    pub diff_id: Digest,
    /// The unpacked tree.
    pub unpacked: Unpacked,
    /// The verified blob, if one was kept.
    pub blob: Option<Partial>,
}

/// A stream being unpacked.
pub struct Pipeline {
    pool: Pool,
    input: Option<Sender>,
    filling: Vec<u8>,
    stages: Option<Stages>,
}

struct Stages {
    blob: Option<JoinHandle<Result<Partial>>>,
    inflate: JoinHandle<Result<()>>,
    untar: JoinHandle<Result<Unpacked>>,
    hash: JoinHandle<Result<Digest>>,
}

impl Pipeline {
    /// Starts the threads. Files go to `dir`; with `blob` the compressed bytes go there too, after those it already has.
    pub fn start(
        dir: OwnedFd,
        blob: Option<Partial>,
        compression: Compression,
        diff: Algorithm,
        limits: &Limits,
    ) -> Result<Pipeline> {
        let pool = Pool::default();
        let (to_inflate, from_input) = channel(ROOM);
        let (to_untar, untar_input) = channel(ROOM);
        let (to_hash, hash_input) = channel(ROOM);
        let inflate = Inflate::new(compression, limits)?;
        let options = Options::layer(limits);
        let untar = thread("untar", move || {
            unpack::confine(dir.as_fd())?;
            unpack::extract(dir.as_fd(), b"", &mut Reader::new(untar_input, &options.limits), &options)
        })?;
        let hash = thread("diff-id", move || digest(hash_input, Hasher::new(diff)))?;
        let inflate = {
            let (pool, limits) = (pool.clone(), limits.clone());
            thread("inflate", move || decompress(from_input, inflate, [to_untar, to_hash], &pool, &limits))?
        };
        let (input, blob) = match blob {
            None => (to_inflate, None),
            Some(partial) => {
                let (input, from_caller) = channel(ROOM);
                let pool = pool.clone();
                (input, Some(thread("blob", move || keep(from_caller, partial, to_inflate, &pool))?))
            }
        };
        let stages = Stages { blob, inflate, untar, hash };
        Ok(Pipeline { filling: pool.take(BUFFER), pool, input: Some(input), stages: Some(stages) })
    }

    /// Takes compressed bytes, holding the thread while the stages are behind.
    pub fn write(&mut self, mut bytes: &[u8]) -> Result<()> {
        while !bytes.is_empty() {
            bytes = self.fill(bytes);
            if let Some(chunk) = self.full(false) {
                let sent = self.input.as_ref().map(|input| input.send(chunk));
                self.sent(matches!(sent, Some(Ok(()))))?;
            }
        }
        Ok(())
    }

    /// The same for a task.
    pub async fn write_async(&mut self, mut bytes: &[u8]) -> Result<()> {
        while !bytes.is_empty() {
            bytes = self.fill(bytes);
            if let Some(chunk) = self.full(false) {
                let sent = match &self.input {
                    Some(input) => input.send_async(chunk).await.is_ok(),
                    None => false,
                };
                self.sent(sent)?;
            }
        }
        Ok(())
    }

    /// Says that this was all, and waits for the stages.
    pub fn finish(mut self) -> Result<Outcome> {
        if let (Some(chunk), Some(input)) = (self.full(true), &self.input) {
            // A failure shows below.
            let _ = input.send(chunk);
        }
        if let Some(input) = self.input.take() {
            input.end();
        }
        self.join()
    }

    fn fill<'b>(&mut self, bytes: &'b [u8]) -> &'b [u8] {
        let (now, later) = bytes.split_at(bytes.len().min(BUFFER.saturating_sub(self.filling.len())));
        self.filling.extend_from_slice(now);
        later
    }

    fn full(&mut self, last: bool) -> Option<Chunk> {
        if self.filling.len() < BUFFER && (!last || self.filling.is_empty()) {
            return None;
        }
        let full = std::mem::replace(&mut self.filling, self.pool.take(BUFFER));
        Some(self.pool.share(full))
    }

    fn sent(&mut self, sent: bool) -> Result<()> {
        if sent {
            return Ok(());
        }
        self.input = None;
        // A stage has gone: the others follow at once, and one of them has the reason.
        Err(self.join().err().unwrap_or(Error::Cut))
    }

    fn join(&mut self) -> Result<Outcome> {
        let stages = self.stages.take().ok_or(Error::Cut)?;
        let blob = stages.blob.map(join).transpose();
        let inflate = join(stages.inflate);
        let unpacked = join(stages.untar);
        let diff_id = join(stages.hash);
        let mut consequence = None;
        let (mut blob_ok, mut unpacked_ok, mut diff_ok) = (None, None, None);
        let errors = [
            blob.map(|b| blob_ok = b).err(),
            inflate.err(),
            unpacked.map(|u| unpacked_ok = Some(u)).err(),
            diff_id.map(|d| diff_ok = Some(d)).err(),
        ];
        for error in errors.into_iter().flatten() {
            if !is_consequence(&error) {
                return Err(error);
            }
            consequence = Some(error);
        }
        match (consequence, unpacked_ok, diff_ok) {
            (None, Some(unpacked), Some(diff_id)) => Ok(Outcome { diff_id, unpacked, blob: blob_ok }),
            _ => Err(Error::Cut),
        }
    }
}

impl Drop for Pipeline {
    /// Cut off: what has come is written, and no thread of it works on afterwards.
    fn drop(&mut self) {
        if let (Some(chunk), Some(input)) = (self.full(true), &self.input) {
            let _ = input.send(chunk);
        }
        self.input = None;
        let _ = self.join();
    }
}

/// Whether an error only says that another stage went away.
fn is_consequence(error: &Error) -> bool {
    match error {
        Error::Cut => true,
        Error::Io { doing: "read", source, .. } => source.kind() == io::ErrorKind::BrokenPipe,
        _ => false,
    }
}

fn thread<T: Send + 'static>(
    name: &str,
    run: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<JoinHandle<Result<T>>> {
    let builder = std::thread::Builder::new().name(name.into());
    builder.spawn(run).map_err(|e| Error::io("start", format!("thread {name}"), e))
}

fn join<T>(handle: JoinHandle<Result<T>>) -> Result<T> {
    handle.join().unwrap_or_else(|_| Err(Error::io("run", "unpacking thread", io::Error::other("it panicked"))))
}

/// Stage: what the partial blob has already goes first, then what comes; all of it is hashed, the new is written.
fn keep(mut input: Receiver, mut partial: Partial, next: Sender, pool: &Pool) -> Result<Partial> {
    while let Some(piece) = partial.replay(pool.take(BUFFER))? {
        next.send(pool.share(piece)).map_err(|_| Error::Cut)?;
    }
    while let Some(chunk) = input.receive().map_err(|_| Error::Cut)? {
        next.send(chunk.clone()).map_err(|_| Error::Cut)?;
        partial.append(&chunk)?;
    }
    partial.verify()?;
    next.end();
    Ok(partial)
}

/// Stage: decompression, to two readers.
fn decompress(
    mut input: Receiver,
    mut inflate: Inflate,
    next: [Sender; 2],
    pool: &Pool,
    limits: &Limits,
) -> Result<()> {
    let plain = matches!(inflate, Inflate::Plain);
    let mut total_in = 0u64;
    let mut total_out = 0u64;
    let mut out = pool.take_full(BUFFER);
    let mut filled = 0;
    let mut give = |chunk: Chunk, total_in: u64| {
        total_out += chunk.len() as u64;
        if total_out > limits.bytes {
            return Err(Error::Limit { what: "size of the uncompressed layer", limit: limits.bytes });
        }
        if total_out > limits.ratio_from && total_out / limits.ratio.max(1) > total_in {
            return Err(Error::Limit { what: "compression ratio of the layer", limit: limits.ratio });
        }
        next.iter().try_for_each(|next| next.send(chunk.clone()).map_err(|_| Error::Cut))
    };
    while let Some(chunk) = input.receive().map_err(|_| Error::Cut)? {
        if plain {
            total_in += chunk.len() as u64;
            give(chunk, total_in)?;
            continue;
        }
        let mut rest: &[u8] = &chunk;
        loop {
            let step = inflate.step(rest, out.get_mut(filled..).unwrap_or_default())?;
            rest = rest.get(step.taken..).unwrap_or_default();
            total_in += step.taken as u64;
            filled += step.given;
            if filled == out.len() {
                let full = std::mem::replace(&mut out, pool.take_full(BUFFER));
                filled = 0;
                give(pool.share(full), total_in)?;
            }
            if rest.is_empty() && !step.more {
                break;
            }
        }
    }
    inflate.finish()?;
    if filled > 0 {
        out.truncate(filled);
        give(pool.share(out), total_in)?;
    }
    next.into_iter().for_each(Sender::end);
    Ok(())
}

/// Stage: the digest.
fn digest(mut input: Receiver, mut hasher: Hasher) -> Result<Digest> {
    while let Some(chunk) = input.receive().map_err(|_| Error::Cut)? {
        hasher.update(&chunk);
    }
    hasher.finish()
}
