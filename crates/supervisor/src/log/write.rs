//! The writer: raw output in, whole records out.
//!
//! One `append` makes one `write`, so readers and a kill at any moment see whole batches of whole lines, save for a
//! batch that the kernel itself cut short. Times grow from record to record, so that order survives sorting by time.

use super::compress::Compression;
use super::format::{Encoder, Format, whole_prefix};
use super::rotate::{Files, open_file};
use super::{CHUNK, STDERR, encode, time};
use crate::protocol::LogFile;
use rustix::fs::OFlags;
use rustix::io::Errno;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

/// Writes one container's log.
#[derive(Debug)]
pub struct Writer {
    files: Files,
    file: File,
    /// Size of the current file as far as we know.
    size: u64,
    max_size: u64,
    /// What came after the last newline: of stdout, of stderr. Shorter than [`CHUNK`].
    carry: [Vec<u8>; 2],
    batch: Vec<u8>,
    encoder: Encoder,
    last_ns: i64,
    /// Records that found no room, not yet told in the log itself.
    dropped: u64,
    reason: Option<Reason>,
    /// The file ends in the middle of a record that could not be taken back.
    torn: bool,
}

/// Why records were dropped.
#[derive(Debug, Clone, Copy)]
enum Reason {
    Errno(Errno),
    Behind,
}

impl Writer {
    /// Opens the log at its end, creating it if need be. A torn last record, left by a crash, is cut off.
    pub fn open(format: Format, log: &LogFile) -> io::Result<Writer> {
        let file = open_file(&log.path, OFlags::empty())?;
        let mut size = rustix::fs::fstat(&file)?.st_size as u64;
        if size > 0 {
            size = cut_torn(format, &file, size)?;
        }
        Ok(Writer {
            // One file has no others beside it, save those that a follower needed when its writer was killed.
            files: Files::open(&log.path, log.max_file, log.compress)?,
            file,
            size,
            max_size: log.max_size.unwrap_or(u64::MAX),
            carry: [Vec::new(), Vec::new()],
            batch: Vec::new(),
            encoder: Encoder::new(format, &log.attrs),
            last_ns: 0,
            dropped: 0,
            reason: None,
            torn: false,
        })
    }

    /// Adds what a stream has said. Errors of the file system do not come back: what they cost is counted and noted in
    /// the log as soon as there is room.
    pub fn append(&mut self, stream: u8, data: &[u8]) {
        let now = self.now();
        self.append_at(stream, data, now);
    }

    fn append_at(&mut self, stream: u8, mut data: &[u8], mut now: i64) {
        let side = usize::from(stream == STDERR);
        let mut carry = std::mem::take(&mut self.carry[side]);
        while !data.is_empty() {
            let newline = memchr::memchr(b'\n', data);
            let text = newline.unwrap_or(data.len());
            if carry.len() + text >= CHUNK {
                self.long_line(stream, &mut carry, &mut data, &mut now);
            } else if newline.is_none() {
                carry.extend_from_slice(data);
                break;
            } else if carry.is_empty() {
                self.record(stream, &data[..=text], &mut now);
                data = &data[text + 1..];
            } else {
                carry.extend_from_slice(&data[..=text]);
                self.record(stream, &carry, &mut now);
                carry.clear();
                data = &data[text + 1..];
            }
        }
        self.carry[side] = carry;
        self.last_ns = now;
        self.flush();
    }

    /// Writes one record of [`CHUNK`] bytes (less, if a character would be torn) off the front of `carry` + `data`.
    fn long_line(&mut self, stream: u8, carry: &mut Vec<u8>, data: &mut &[u8], now: &mut i64) {
        if carry.is_empty() {
            let end = encode::cut(data, CHUNK);
            self.record(stream, &data[..end], now);
            *data = &data[end..];
            return;
        }
        let (taken, rest) = data.split_at(CHUNK - carry.len());
        carry.extend_from_slice(taken);
        // The bytes after the cut decide whether the last character is whole.
        let window = carry.len();
        carry.extend_from_slice(&rest[..rest.len().min(3)]);
        let end = encode::cut(carry, window);
        carry.truncate(window);
        self.record(stream, &carry[..end], now);
        carry.drain(..end);
        *data = rest;
    }

    /// A stream has ended: what it left without a newline is written as it is.
    pub fn finish(&mut self, stream: u8) {
        let carry = std::mem::take(&mut self.carry[usize::from(stream == STDERR)]);
        if !carry.is_empty() {
            let mut now = self.now();
            self.record(stream, &carry, &mut now);
            self.last_ns = now;
        }
        self.flush();
        if self.dropped > 0 {
            // Nothing may follow that the note could come with.
            let note = self.note();
            if self.write(&note, true) == note.len() {
                self.dropped = 0;
                self.torn = false;
            }
        }
    }

    /// Gives memory back after a burst.
    pub fn shrink(&mut self) {
        self.batch = Vec::new();
        for carry in &mut self.carry {
            carry.shrink_to_fit();
        }
    }

    /// The next file that should be compressed, unless one is being compressed now. When the work has ended, however it
    /// did, [`Writer::compressed`] must be told.
    pub fn compression(&mut self) -> Option<Compression> {
        self.files.pack()
    }

    /// The work on the last [`Writer::compression`] has ended.
    pub fn compressed(&mut self, done: bool) {
        self.files.packed(done);
    }

    /// So many lines were dropped before they came here, because the log did not keep up.
    pub fn missed(&mut self, lines: u64) {
        self.dropped += lines;
        self.reason = Some(Reason::Behind);
    }

    /// The rest of the line that a stream has begun was dropped: so is its beginning.
    pub fn forget(&mut self, stream: u8) {
        self.carry[usize::from(stream == STDERR)].clear();
    }

    /// How many records have been lost and not yet been noted.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    fn now(&self) -> i64 {
        let now = time::now_ns();
        // Never before the previous record, unless the clock has really been set back.
        if now <= self.last_ns && self.last_ns - now < 1_000_000 { self.last_ns + 1 } else { now }
    }

    /// Puts one record into the batch; rotates when the file would grow past its limit.
    fn record(&mut self, stream: u8, text: &[u8], now: &mut i64) {
        let start = self.batch.len();
        self.encoder.record(&mut self.batch, stream, text, *now);
        *now += 1;
        if self.size + self.batch.len() as u64 > self.max_size && self.size + start as u64 > 0 {
            let tail = self.batch.split_off(start);
            self.flush();
            if self.size + tail.len() as u64 > self.max_size {
                self.rotate(tail.len() as u64);
            }
            self.batch.extend_from_slice(&tail);
        }
    }

    /// Writes the batch.
    fn flush(&mut self) {
        if self.batch.is_empty() {
            return;
        }
        let mut batch = std::mem::take(&mut self.batch);
        let format = self.encoder.format;
        let records = |bytes: &[u8]| format.whole(bytes).1;
        if self.torn || self.dropped > 0 {
            // The note comes with what follows it or not at all: else a disk with room for little but notes would fill
            // with them.
            let mut noted = self.note();
            noted.extend_from_slice(&batch);
            if self.write(&noted, true) == noted.len() {
                self.dropped = 0;
                self.torn = false;
            } else {
                self.dropped += records(&batch);
            }
        } else {
            let done = self.write(&batch, false);
            self.dropped += records(&batch[done..]);
        }
        batch.clear();
        self.batch = batch;
    }

    /// The record that tells in the log itself how much of it is missing.
    fn note(&mut self) -> Vec<u8> {
        let mut note = Vec::new();
        if self.torn {
            match self.encoder.format {
                Format::Json => note.push(b'\n'),
                // Only a new file puts an end to half a message.
                Format::Local => self.turn_over(),
            }
        }
        let why = match self.reason {
            None => String::new(),
            Some(Reason::Errno(errno)) => format!(": {}", io::Error::from(errno)),
            Some(Reason::Behind) => ": the log did not keep up".into(),
        };
        let text = format!("dhow: {} log lines were dropped{why}\n", self.dropped);
        let now = self.now();
        self.encoder.record(&mut note, STDERR, text.as_bytes(), now);
        note
    }

    /// Writes whole lines and returns how many bytes of them; takes back the beginning of a line that did not fit, or
    /// everything if it is `all_or_nothing`.
    fn write(&mut self, bytes: &[u8], all_or_nothing: bool) -> usize {
        let mut done = 0;
        while done < bytes.len() {
            match rustix::io::write(&self.file, &bytes[done..]) {
                Ok(0) => break,
                Ok(length) => done += length,
                Err(Errno::INTR) => {}
                Err(errno) => {
                    self.reason = Some(Reason::Errno(errno));
                    break;
                }
            }
        }
        self.size += done as u64;
        if done == bytes.len() {
            return done;
        }
        let whole = if all_or_nothing { 0 } else { self.encoder.format.whole(&bytes[..done]).0 };
        let excess = (done - whole) as u64;
        if excess > 0 {
            let taken_back = rustix::fs::fstat(&self.file)
                .and_then(|stat| rustix::fs::ftruncate(&self.file, (stat.st_size as u64).saturating_sub(excess)));
            match taken_back {
                Ok(()) => self.size -= excess,
                Err(_) => self.torn = true,
            }
        }
        whole
    }

    /// Makes room for `coming` bytes: `path` becomes `path.1`, and so on up to `max_file - 1`.
    fn rotate(&mut self, coming: u64) {
        // Someone else may have cut the file short meanwhile (logrotate's copytruncate).
        if let Ok(stat) = rustix::fs::fstat(&self.file) {
            self.size = stat.st_size as u64;
        }
        if self.size + coming <= self.max_size {
            return;
        }
        self.turn_over();
    }

    fn turn_over(&mut self) {
        match self.files.rotate() {
            Ok(file) => self.file = file,
            // The current file goes on; the next attempt is due after as much again.
            Err(errno) => self.reason = Some(Reason::Errno(errno)),
        }
        self.size = 0;
    }
}

/// Cuts off what follows the last whole record; returns the size that remains.
fn cut_torn(format: Format, file: &File, size: u64) -> io::Result<u64> {
    let end = match format {
        Format::Json => after_last_newline(file, size)?,
        Format::Local if super::input::ends_whole(file, size)? => size,
        Format::Local => whole_prefix(format, |block, at| {
            loop {
                match file.read_at(block, at) {
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    result => return result,
                }
            }
        })?,
    };
    if end < size {
        rustix::fs::ftruncate(file, end)?;
    }
    Ok(end)
}

fn after_last_newline(file: &File, size: u64) -> io::Result<u64> {
    let mut last = [0; 1];
    file.read_exact_at(&mut last, size - 1)?;
    if last[0] == b'\n' {
        return Ok(size);
    }
    let mut end = size;
    let mut block = vec![0; 64 << 10];
    while end > 0 {
        let start = end.saturating_sub(block.len() as u64);
        let part = &mut block[..(end - start) as usize];
        file.read_exact_at(part, start)?;
        if let Some(at) = memchr::memrchr(b'\n', part) {
            return Ok(start + at as u64 + 1);
        }
        end = start;
    }
    Ok(0)
}
