//! The reader: what has been written, from the end or from a moment on, and what is written still.

use super::decode::{Decoded, decode_between};
use super::files::{After, after, identity, open_all};
use super::follow::Follow;
use super::{Record, time};
use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

const BLOCK: usize = 64 << 10;
/// A line longer than this is none of ours: the longest record escapes 16 KiB by six.
const LONGEST: usize = 4 << 20;

/// Which records to read.
#[derive(Debug, Default)]
pub struct Query {
    /// Only the last so many records.
    pub tail: Option<u64>,
    /// None before this moment, in nanoseconds since the epoch.
    pub since_ns: Option<i64>,
    /// None after this moment.
    pub until_ns: Option<i64>,
    /// Wait for more until this descriptor becomes readable or hangs up (the container has ended, or nobody listens any
    /// more); then deliver what is left and end.
    pub follow: Option<OwnedFd>,
}

/// Reads a log while it is written and rotated.
///
/// ```text
/// while reader.fill()? {                 blocks until there is something to take
///     while reader.take(&mut record) {}  what is there: no system call
/// }
/// ```
#[derive(Debug)]
pub struct Reader {
    path: PathBuf,
    /// The file being read and where its next unread byte is.
    current: Option<(File, u64)>,
    /// What comes after it, as found at the start.
    queue: VecDeque<File>,
    buffer: Vec<u8>,
    /// The unread part of `buffer`, and up to where it is known to hold no newline.
    start: usize,
    scanned: usize,
    since_ns: i64,
    until_ns: i64,
    follow: Option<Follow>,
    finished: bool,
}

impl Reader {
    /// Opens the log at `path`, rotated files included. A log that is not there is an empty one.
    pub fn open(path: &Path, query: Query) -> io::Result<Reader> {
        // The watch comes first, so that nothing written after the last read goes unnoticed.
        let follow = query.follow.map(|stop| Follow::new(path, stop)).transpose()?;
        let mut queue = VecDeque::from(open_all(path)?);
        let mut offset = 0;
        if let Some(tail) = query.tail {
            offset = keep_tail(&mut queue, tail)?;
        } else if let Some(since) = query.since_ns {
            drop_older(&mut queue, since)?;
        }
        let current = queue.pop_front().map(|file| (file, offset));
        Ok(Reader {
            path: path.to_owned(),
            current,
            queue,
            buffer: Vec::new(),
            start: 0,
            scanned: 0,
            since_ns: query.since_ns.unwrap_or(i64::MIN),
            until_ns: query.until_ns.unwrap_or(i64::MAX),
            follow,
            finished: false,
        })
    }

    /// The next record; waits for it when following. `false` at the end.
    pub fn next(&mut self, record: &mut Record) -> io::Result<bool> {
        loop {
            if self.take(record) {
                return Ok(true);
            }
            if !self.fill()? {
                return Ok(false);
            }
        }
    }

    /// The next record of those already in memory.
    pub fn take(&mut self, record: &mut Record) -> bool {
        while !self.finished {
            let Some(length) = memchr::memchr(b'\n', &self.buffer[self.scanned..]) else {
                self.scanned = self.buffer.len();
                return false;
            };
            let end = self.scanned + length;
            let line = &self.buffer[self.start..end];
            let decoded = decode_between(line, self.since_ns, self.until_ns, record);
            self.start = end + 1;
            self.scanned = self.start;
            match decoded {
                Decoded::Wanted => return true,
                Decoded::Late => self.finish(),
                Decoded::Early | Decoded::Nonsense => {}
            }
        }
        false
    }

    /// Reads more into memory, waiting for it when following. `false` at the end.
    pub fn fill(&mut self) -> io::Result<bool> {
        while !self.finished {
            if self.read_block()? > 0 {
                return Ok(true);
            }
            if self.advance()? {
                continue;
            }
            let Some(follow) = &mut self.follow else {
                self.finish();
                break;
            };
            if follow.ended() {
                self.finish();
                break;
            }
            // Nothing is buffered while nothing comes, save for the beginning of a line.
            if self.start == self.buffer.len() {
                (self.buffer, self.start, self.scanned) = (Vec::new(), 0, 0);
            }
            let left = (self.until_ns != i64::MAX).then(|| self.until_ns - time::now_ns());
            if left.is_some_and(|ns| ns < 0) || !follow.wait(left)? {
                self.finish();
            }
        }
        Ok(false)
    }

    fn finish(&mut self) {
        self.finished = true;
        self.buffer = Vec::new();
        (self.start, self.scanned) = (0, 0);
    }

    /// Reads one block of the current file; 0 at its end.
    fn read_block(&mut self) -> io::Result<usize> {
        let Some((file, offset)) = &mut self.current else { return Ok(0) };
        self.buffer.drain(..self.start);
        self.scanned -= self.start;
        self.start = 0;
        if self.buffer.len() > LONGEST {
            self.buffer.clear();
            self.scanned = 0;
        }
        let kept = self.buffer.len();
        self.buffer.resize(kept + BLOCK, 0);
        let result = loop {
            match file.read_at(&mut self.buffer[kept..], *offset) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => break result,
            }
        };
        let length = result.as_ref().map_or(0, |length| *length);
        self.buffer.truncate(kept + length);
        *offset += length as u64;
        if length == 0 && rustix::fs::fstat(&*file)?.st_size < *offset as i64 {
            // Someone has emptied the file: what it holds from now on is new.
            *offset = 0;
            self.buffer.clear();
            self.scanned = 0;
            return self.read_block();
        }
        result
    }

    /// At the end of a file: goes on to the next one, if there is one.
    fn advance(&mut self) -> io::Result<bool> {
        if let Some(next) = self.queue.pop_front() {
            self.open_next(next);
            return Ok(true);
        }
        if self.follow.is_none() {
            return Ok(false);
        }
        let current = self.current.as_ref().map(|(file, _)| identity(file)).transpose()?;
        let After::File(next) = after(&self.path, current)? else { return Ok(false) };
        // The writer has left the current file for good, but perhaps after we last looked.
        if self.read_block()? > 0 {
            return Ok(true);
        }
        self.open_next(next);
        Ok(true)
    }

    /// A line does not go on in the next file: what is left of one was torn.
    fn open_next(&mut self, next: File) {
        self.current = Some((next, 0));
        self.buffer.clear();
        (self.start, self.scanned) = (0, 0);
    }
}

/// Drops files that end before `since`; the newest stays.
fn drop_older(files: &mut VecDeque<File>, since_ns: i64) -> io::Result<()> {
    while files.len() > 1 {
        let stat = rustix::fs::fstat(&files[0])?;
        if stat.st_mtime * 1_000_000_000 + stat.st_mtime_nsec as i64 >= since_ns {
            break;
        }
        files.pop_front();
    }
    Ok(())
}

/// Drops files that hold none of the last `count` lines; returns where in the first that stays they begin.
fn keep_tail(files: &mut VecDeque<File>, count: u64) -> io::Result<u64> {
    let mut missing = count;
    for index in (0..files.len()).rev() {
        match tail_offset(&files[index], missing)? {
            Ok(offset) => {
                files.drain(..index);
                return Ok(offset);
            }
            Err(lines) => missing -= lines,
        }
    }
    Ok(0)
}

/// Where the last `count` lines of a file begin; `Err(lines)` when it has no more than `lines`, which are not enough or
/// just enough. Reads backwards, and no further than needed.
fn tail_offset(file: &File, count: u64) -> io::Result<Result<u64, u64>> {
    let mut end = rustix::fs::fstat(file)?.st_size as u64;
    let mut block = vec![0; BLOCK.min(end as usize)];
    let mut newlines = 0;
    while end > 0 {
        let start = end.saturating_sub(block.len() as u64);
        let part = &mut block[..(end - start) as usize];
        match file.read_exact_at(part, start) {
            // Emptied meanwhile.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(Ok(0)),
            result => result?,
        }
        for at in memchr::memrchr_iter(b'\n', part) {
            if newlines == count {
                return Ok(Ok(start + at as u64 + 1));
            }
            newlines += 1;
        }
        end = start;
    }
    if newlines == count && count > 0 { Ok(Ok(0)) } else { Ok(Err(newlines)) }
}
