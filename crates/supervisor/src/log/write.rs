//! The writer: raw output in, whole records out.
//!
//! One `append` makes one `write`, so readers and a kill at any moment see whole batches of whole lines, save for a
//! batch that the kernel itself cut short. Times grow from record to record, so that order survives sorting by time.

use super::{CHUNK, STDERR, STDOUT, encode, time};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// Writes one container's log.
#[derive(Debug)]
pub struct Writer {
    path: PathBuf,
    file: File,
    /// Size of the current file as far as we know.
    size: u64,
    max_size: u64,
    max_file: u32,
    /// What came after the last newline: of stdout, of stderr. Shorter than [`CHUNK`].
    carry: [Vec<u8>; 2],
    batch: Vec<u8>,
    format: time::Formatter,
    last_ns: i64,
    /// Records that found no room, not yet told in the log itself.
    dropped: u64,
    reason: Option<Errno>,
    /// The file ends in the middle of a line that could not be taken back.
    torn: bool,
}

impl Writer {
    /// Opens the log at its end, creating it if need be. A torn last line, left by a crash, is cut off.
    pub fn open(path: &Path, max_size: Option<u64>, max_file: u32) -> io::Result<Writer> {
        let file = open_file(path, OFlags::empty())?;
        let mut size = rustix::fs::fstat(&file)?.st_size as u64;
        if size > 0 {
            size = cut_torn_line(&file, size)?;
        }
        Ok(Writer {
            path: path.to_owned(),
            file,
            size,
            max_size: max_size.unwrap_or(u64::MAX),
            max_file: max_file.max(1),
            carry: [Vec::new(), Vec::new()],
            batch: Vec::new(),
            format: time::Formatter::default(),
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
    }

    /// Gives memory back after a burst.
    pub fn shrink(&mut self) {
        self.batch = Vec::new();
        for carry in &mut self.carry {
            carry.shrink_to_fit();
        }
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
        encode_record(&mut self.batch, &mut self.format, stream, text, *now);
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
        let records = |bytes: &[u8]| memchr::memchr_iter(b'\n', bytes).count() as u64;
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
            note.push(b'\n');
        }
        let why = self.reason.map_or_else(String::new, |errno| format!(": {}", io::Error::from(errno)));
        let text = format!("dhow: {} log lines were dropped{why}\n", self.dropped);
        let now = self.now();
        encode_record(&mut note, &mut self.format, STDERR, text.as_bytes(), now);
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
                    self.reason = Some(errno);
                    break;
                }
            }
        }
        self.size += done as u64;
        if done == bytes.len() {
            return done;
        }
        let whole = if all_or_nothing { None } else { memchr::memrchr(b'\n', &bytes[..done]) };
        let whole = whole.map_or(0, |at| at + 1);
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
        match self.rotate_files() {
            Ok(file) => self.file = file,
            // The current file goes on; the next attempt is due after as much again.
            Err(errno) => self.reason = Some(errno),
        }
        self.size = 0;
    }

    fn rotate_files(&self) -> Result<File, Errno> {
        let fresh = OFlags::EXCL;
        if self.max_file == 1 {
            // A new file rather than a truncated one: who reads the old one can finish it.
            rustix::fs::unlink(&self.path).or_else(|e| if e == Errno::NOENT { Ok(()) } else { Err(e) })?;
            return open_file(&self.path, fresh);
        }
        for number in (1..self.max_file - 1).rev() {
            match rustix::fs::rename(numbered(&self.path, number), numbered(&self.path, number + 1)) {
                Ok(()) | Err(Errno::NOENT) => {}
                Err(errno) => return Err(errno),
            }
        }
        let newest = numbered(&self.path, 1);
        match rustix::fs::rename(&self.path, &newest) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(errno) => return Err(errno),
        }
        open_file(&self.path, fresh).inspect_err(|_| {
            // Its error is the one that matters; if the way back fails too, the open descriptor still takes the lines.
            let _ = rustix::fs::rename(&newest, &self.path);
        })
    }
}

/// `path.number`
pub(super) fn numbered(path: &Path, number: u32) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{number}"));
    PathBuf::from(name)
}

fn open_file(path: &Path, more: OFlags) -> Result<File, Errno> {
    let flags = OFlags::RDWR | OFlags::APPEND | OFlags::CREATE | OFlags::CLOEXEC | OFlags::NOFOLLOW | more;
    Ok(File::from(rustix::fs::open(path, flags, Mode::from_raw_mode(0o640))?))
}

/// Cuts off what follows the last newline; returns the size that remains.
fn cut_torn_line(file: &File, size: u64) -> io::Result<u64> {
    let mut end = size;
    let mut block = [0; 1];
    file.read_exact_at(&mut block, size - 1)?;
    if block[0] == b'\n' {
        return Ok(size);
    }
    let mut block = vec![0; 64 << 10];
    while end > 0 {
        let start = end.saturating_sub(block.len() as u64);
        let part = &mut block[..(end - start) as usize];
        file.read_exact_at(part, start)?;
        if let Some(at) = memchr::memrchr(b'\n', part) {
            end = start + at as u64 + 1;
            break;
        }
        end = start;
    }
    rustix::fs::ftruncate(file, end)?;
    Ok(end)
}

fn encode_record(out: &mut Vec<u8>, format: &mut time::Formatter, stream: u8, text: &[u8], time_ns: i64) {
    out.reserve(text.len() + 96);
    out.extend_from_slice(b"{\"log\":\"");
    encode::escape(out, text);
    let stream: &[u8] = if stream == STDOUT {
        b"\",\"stream\":\"stdout\",\"time\":\""
    } else {
        b"\",\"stream\":\"stderr\",\"time\":\""
    };
    out.extend_from_slice(stream);
    format.short(time_ns, out);
    out.extend_from_slice(b"\"}\n");
}
