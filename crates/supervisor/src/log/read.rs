//! The reader: what has been written, from the end or from a moment on, and what is written still.

use super::files::{After, Part, after, open_all};
use super::follow::Follow;
use super::format::{Between, Decoded, Decoder, Format};
use super::input::{Input, tail};
use super::{Record, STDERR, time};
use std::collections::VecDeque;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

/// What a follower is told when it was too slow.
const LOST: &[u8] = b"dhow: log lines were removed before they could be read\n";

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
    /// The file being read.
    input: Input,
    decoder: Decoder,
    /// What comes after it, as found at the start.
    queue: VecDeque<Part>,
    between: Between,
    follow: Option<Follow>,
    /// A file is missing between the last one and this.
    lost: bool,
    finished: bool,
}

impl Reader {
    /// Opens the log at `path`, rotated files included. A log that is not there is an empty one.
    pub fn open(path: &Path, format: Format, query: Query) -> io::Result<Reader> {
        // The watch comes first, so that nothing written after the last read goes unnoticed.
        let follow = query.follow.map(|stop| Follow::new(path, stop)).transpose()?;
        let mut queue = VecDeque::from(open_all(path, follow.is_some())?);
        let (mut offset, mut skip) = (0, 0);
        if let Some(tail) = query.tail {
            (offset, skip) = keep_tail(format, &mut queue, tail)?;
        } else if let Some(since) = query.since_ns {
            drop_older(&mut queue, since)?;
        }
        let mut input = Input::new(format);
        if let Some(first) = queue.pop_front() {
            input.open(first, offset, skip)?;
        }
        Ok(Reader {
            path: path.to_owned(),
            input,
            decoder: Decoder::new(format),
            queue,
            between: Between { since: query.since_ns.unwrap_or(i64::MIN), until: query.until_ns.unwrap_or(i64::MAX) },
            follow,
            lost: false,
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
    #[inline]
    pub fn take(&mut self, record: &mut Record) -> bool {
        if self.lost {
            return self.tell_lost(record);
        }
        while !self.finished {
            let Some(bytes) = self.input.next() else { return false };
            match self.decoder.decode(bytes, self.between, record) {
                Decoded::Wanted => return true,
                Decoded::Late => self.finish(),
                Decoded::Early | Decoded::Nonsense => {}
            }
        }
        false
    }

    #[cold]
    fn tell_lost(&mut self, record: &mut Record) -> bool {
        self.lost = false;
        *record = Record { stream: STDERR, time_ns: time::now_ns(), line: LOST.to_vec(), attrs: None };
        true
    }

    /// Reads more into memory, waiting for it when following. `false` at the end.
    pub fn fill(&mut self) -> io::Result<bool> {
        while !self.finished {
            if self.input.fill()? > 0 {
                return Ok(true);
            }
            match self.advance()? {
                Next::Bytes => return Ok(true),
                Next::File => continue,
                Next::Nothing => {}
            }
            let Some(follow) = &mut self.follow else {
                self.finish();
                break;
            };
            if follow.ended() {
                self.finish();
                break;
            }
            self.input.shrink();
            let left = (self.between.until != i64::MAX).then(|| self.between.until - time::now_ns());
            if left.is_some_and(|ns| ns < 0) || !follow.wait(left)? {
                self.finish();
            }
        }
        Ok(false)
    }

    fn finish(&mut self) {
        self.finished = true;
        self.input = Input::new(Format::Json);
        self.queue.clear();
    }

    /// At the end of a file: goes on to the next one, if there is one, or finds that it was not the end.
    fn advance(&mut self) -> io::Result<Next> {
        if self.queue.is_empty() && self.follow.is_some() {
            let After::Files(next, whole) = after(&self.path, self.input.identity()?)? else {
                return Ok(Next::Nothing);
            };
            // The writer has left the current file for good, but perhaps after we last looked. The locks of the next
            // ones, let go here, are taken again then.
            if self.input.fill()? > 0 {
                return Ok(Next::Bytes);
            }
            self.lost |= !whole;
            self.queue = next.into();
        }
        let Some(next) = self.queue.pop_front() else { return Ok(Next::Nothing) };
        self.input.open(next, 0, 0)?;
        Ok(Next::File)
    }
}

/// What comes after the end of a file.
enum Next {
    /// It has grown: there is something to take.
    Bytes,
    /// Another one, nothing of which has been read.
    File,
    Nothing,
}

/// How far the time of a file may be behind the clock: the kernel notes it by ticks.
const TICK_NS: i64 = 1_000_000_000;

/// Drops files that end before `since`; the newest stays.
fn drop_older(files: &mut VecDeque<Part>, since_ns: i64) -> io::Result<()> {
    while files.len() > 1 {
        let stat = rustix::fs::fstat(&files[0].file)?;
        if stat.st_mtime * 1_000_000_000 + stat.st_mtime_nsec as i64 + TICK_NS >= since_ns {
            break;
        }
        files.pop_front();
    }
    Ok(())
}

/// Drops files that hold none of the last `count` records; returns where in the first that stays they begin.
fn keep_tail(format: Format, files: &mut VecDeque<Part>, count: u64) -> io::Result<(u64, u64)> {
    let mut missing = count;
    for index in (0..files.len()).rev() {
        match tail(format, &files[index], missing)? {
            Ok(place) => {
                files.drain(..index);
                return Ok(place);
            }
            Err(records) => missing -= records,
        }
    }
    Ok((0, 0))
}
