//! What remains to be done with a small file once it is made: its bytes, its owner, its time, closing it.
//!
//! Making a file changes a directory, so files are made one after the other; filling one touches nothing but the file,
//! through its own descriptor. So a second thread fills files while the next are being made. It gets them in batches,
//! and it is started only when the first batch is full: a small archive needs no thread. This is for layers, which
//! nobody sees before they are whole: until its batch is full or the archive ends, a file is there and empty.
//!
//! The thread is started by the one that unpacks, and so is shut in with it.

use super::attributes::Looks;
use crate::error::{Error, Result};
use crate::tar::{Entry, Reader};
use rustix::io::Errno;
use std::io::BufRead;
use std::ops::Range;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::mpsc::{Receiver, SyncSender, channel, sync_channel};
use std::thread::JoinHandle;

/// Files in a batch. Three batches can be under way, and each of their files is open.
const FILES: usize = 32;
/// Bytes of a batch: it stays in the second-level cache.
const BYTES: usize = 256 << 10;
/// A file with more is written at once, from where its bytes lie.
const SMALL: u64 = 32 << 10;

/// Files that are made, but not yet filled.
#[derive(Default)]
pub struct Files {
    filling: Batch,
    thread: Option<Thread>,
}

struct Thread {
    full: SyncSender<Batch>,
    /// Batches to use again.
    empty: Receiver<Batch>,
    handle: JoinHandle<Result<()>>,
}

#[derive(Default)]
struct Batch {
    files: Vec<File>,
    /// Of one file after the other: its path, then its data.
    bytes: Vec<u8>,
}

struct File {
    fd: OwnedFd,
    path: Range<usize>,
    data: Range<usize>,
    looks: Looks,
}

impl Files {
    /// Whether an entry's file can be left to [`Files::push`].
    pub fn take(entry: &Entry) -> bool {
        entry.size <= SMALL && entry.sparse.is_none() && entry.xattrs.is_empty()
    }

    /// Takes a file that was just made, and its data from `reader`.
    pub fn push<R: BufRead>(&mut self, fd: OwnedFd, entry: &Entry, looks: Looks, reader: &mut Reader<R>) -> Result<()> {
        let bytes = &mut self.filling.bytes;
        let start = bytes.len();
        bytes.extend_from_slice(&entry.path);
        let path = start..bytes.len();
        loop {
            let piece = reader.data()?;
            if piece.is_empty() {
                break;
            }
            bytes.extend_from_slice(piece);
            let n = piece.len();
            reader.consume(n);
        }
        let data = path.end..bytes.len();
        self.filling.files.push(File { fd, path, data, looks });
        if self.filling.files.len() >= FILES || self.filling.bytes.len() >= BYTES { self.hand_over() } else { Ok(()) }
    }

    /// Fills what is left and waits for it.
    pub fn finish(mut self) -> Result<()> {
        self.filling.fill()?;
        self.thread.take().map_or(Ok(()), Thread::end)
    }

    fn hand_over(&mut self) -> Result<()> {
        if self.thread.is_none() {
            self.thread = Thread::start();
        }
        let Some(thread) = &self.thread else {
            // No thread to be had: then here and now.
            return self.filling.fill();
        };
        let next = thread.empty.try_recv().unwrap_or_default();
        match thread.full.send(std::mem::replace(&mut self.filling, next)) {
            Ok(()) => Ok(()),
            // It ends before us only when it fails.
            Err(_) => self.thread.take().map_or(Ok(()), Thread::end).and(Err(Error::Cut)),
        }
    }
}

impl Drop for Files {
    /// Given up: what was handed over is still filled, and nothing of it works on afterwards.
    fn drop(&mut self) {
        if let Some(thread) = self.thread.take() {
            let _ = thread.end();
        }
    }
}

impl Thread {
    fn start() -> Option<Thread> {
        let (full, batches) = sync_channel::<Batch>(1);
        let (back, empty) = channel();
        let run = move || {
            for mut batch in batches {
                batch.fill()?;
                // Nobody may want it any more.
                let _ = back.send(batch);
            }
            Ok(())
        };
        let handle = std::thread::Builder::new().name("fill".into()).spawn(run).ok()?;
        Some(Thread { full, empty, handle })
    }

    fn end(self) -> Result<()> {
        drop(self.full);
        self.handle.join().unwrap_or_else(|_| Err(Error::Archive("the thread that fills files failed".into())))
    }
}

impl Batch {
    fn fill(&mut self) -> Result<()> {
        for file in self.files.drain(..) {
            let of = |range: &Range<usize>| self.bytes.get(range.clone()).unwrap_or_default();
            let path = of(&file.path);
            write(&file.fd, of(&file.data), path)?;
            file.looks.set(file.fd.as_fd(), path)?;
            file.looks.set_times(file.fd.as_fd(), path)?;
        }
        self.bytes.clear();
        Ok(())
    }
}

/// Writes all of `data`.
pub fn write(file: &OwnedFd, mut data: &[u8], path: &[u8]) -> Result<()> {
    while !data.is_empty() {
        match rustix::io::write(file, data) {
            Ok(0) => return Err(Error::at("write", path, Errno::IO)),
            Ok(n) => data = data.get(n..).unwrap_or_default(),
            Err(Errno::INTR) => {}
            Err(e) => return Err(Error::at("write", path, e)),
        }
    }
    Ok(())
}
