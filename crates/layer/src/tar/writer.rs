//! Writes an archive: ustar, with PAX records where ustar's fields are too small.

use super::header::{BLOCK, invalid};
use super::reader::{Entry, Kind};
use crate::error::{Error, Result};
use std::io::{self, Read, Write};

const ZEROS: [u8; BLOCK] = [0; BLOCK];
/// The largest numbers in octal fields of 8 and 12 bytes.
const MOST_8: u64 = 0o7777777;
const MOST_12: u64 = 0o77777777777;

/// Writes entries to `W`.
pub struct Writer<W> {
    output: W,
}

impl<W: Write> Writer<W> {
    /// An archive without entries yet.
    pub fn new(output: W) -> Writer<W> {
        Writer { output }
    }

    /// Adds an entry. `data` gives what a file holds: exactly [`Entry::size`] bytes are taken from it, filled up with
    /// zeros if it ends early. Sparse maps are not written: such data is given expanded.
    pub fn append(&mut self, entry: &Entry, data: &mut dyn Read) -> Result<()> {
        self.header(entry)?;
        if entry.kind != Kind::File {
            return Ok(());
        }
        let copied = copy_data(data, &mut self.output, entry.size)?;
        let rest = (entry.size - copied) + entry.size.wrapping_neg() % BLOCK as u64;
        self.zeros(rest)
    }

    /// Ends the archive and gives the output back.
    pub fn finish(mut self) -> Result<W> {
        self.zeros(2 * BLOCK as u64)?;
        self.output.flush().map_err(write_error)?;
        Ok(self.output)
    }

    fn zeros(&mut self, mut count: u64) -> Result<()> {
        while count > 0 {
            let n = count.min(BLOCK as u64);
            self.put(ZEROS.get(..n as usize).unwrap_or_default())?;
            count -= n;
        }
        Ok(())
    }

    fn put(&mut self, bytes: &[u8]) -> Result<()> {
        self.output.write_all(bytes).map_err(write_error)
    }

    fn header(&mut self, entry: &Entry) -> Result<()> {
        let mut path = entry.path.clone();
        if entry.kind == Kind::Directory && path.last() != Some(&b'/') {
            path.push(b'/');
        }
        if path.is_empty() || path.contains(&0) || entry.link.contains(&0) {
            return Err(invalid("a name is empty or has a NUL"));
        }
        let size = if entry.kind == Kind::File { entry.size } else { 0 };
        let records = records(entry, &path, size);
        if !records.is_empty() {
            let mut name = b"PaxHeaders/".to_vec();
            name.extend_from_slice(
                path.strip_suffix(b"/").unwrap_or(&path).rsplit(|b| *b == b'/').next().unwrap_or_default(),
            );
            name.truncate(100);
            let plain = Entry { mode: 0o644, ..Entry::default() };
            self.block(&plain, b'x', &name, b"", records.len() as u64)?;
            self.put(&records)?;
            self.zeros((records.len() as u64).wrapping_neg() % BLOCK as u64)?;
        }
        let flag = match entry.kind {
            Kind::File => b'0',
            Kind::HardLink => b'1',
            Kind::Symlink => b'2',
            Kind::Char => b'3',
            Kind::Block => b'4',
            Kind::Directory => b'5',
            Kind::Fifo => b'6',
        };
        self.block(entry, flag, &path, &entry.link, size)
    }

    fn block(&mut self, entry: &Entry, flag: u8, path: &[u8], link: &[u8], size: u64) -> Result<()> {
        let mut block = [0u8; BLOCK];
        let mut set = |at: usize, len: usize, bytes: &[u8]| {
            let bytes = bytes.get(..len).unwrap_or(bytes);
            if let Some(field) = block.get_mut(at..at + bytes.len()) {
                field.copy_from_slice(bytes);
            }
        };
        let octal_8 = |value: u64| format!("{:07o}\0", if value > MOST_8 { 0 } else { value });
        let octal_12 = |value: u64| format!("{:011o}\0", if value > MOST_12 { 0 } else { value });
        set(0, 100, path);
        set(100, 8, octal_8((entry.mode & 0o7777).into()).as_bytes());
        set(108, 8, octal_8(entry.uid.into()).as_bytes());
        set(116, 8, octal_8(entry.gid.into()).as_bytes());
        set(124, 12, octal_12(size).as_bytes());
        set(136, 12, octal_12(u64::try_from(entry.mtime.secs).unwrap_or(0)).as_bytes());
        set(148, 8, b"        ");
        set(156, 1, &[flag]);
        set(157, 100, link);
        set(257, 8, b"ustar\x0000");
        set(329, 8, octal_8(entry.device.0.into()).as_bytes());
        set(337, 8, octal_8(entry.device.1.into()).as_bytes());
        let sum: u32 = block.iter().map(|b| u32::from(*b)).sum();
        let sum = format!("{sum:06o}\0 ");
        if let Some(field) = block.get_mut(148..156) {
            field.copy_from_slice(sum.as_bytes());
        }
        self.put(&block)
    }
}

/// The PAX records that an entry needs.
fn records(entry: &Entry, path: &[u8], size: u64) -> Vec<u8> {
    let mut out = Vec::new();
    if path.len() > 100 {
        record(&mut out, b"path", path);
    }
    if entry.link.len() > 100 {
        record(&mut out, b"linkpath", &entry.link);
    }
    if size > MOST_12 {
        record(&mut out, b"size", size.to_string().as_bytes());
    }
    for (key, id) in [(&b"uid"[..], entry.uid), (b"gid", entry.gid)] {
        if u64::from(id) > MOST_8 {
            record(&mut out, key, id.to_string().as_bytes());
        }
    }
    let (secs, nanos) = (entry.mtime.secs, entry.mtime.nanos);
    if nanos != 0 || !(0..=MOST_12 as i64).contains(&secs) {
        let text = match (secs < 0 && nanos != 0, nanos) {
            (_, 0) => secs.to_string(),
            (true, _) => format!("-{}.{:09}", -(secs + 1), 1_000_000_000 - nanos),
            (false, _) => format!("{secs}.{nanos:09}"),
        };
        record(&mut out, b"mtime", text.as_bytes());
    }
    for (name, value) in &entry.xattrs {
        record(&mut out, &[b"SCHILY.xattr.", name.as_slice()].concat(), value);
    }
    out
}

/// `length key=value\n`, where the length counts its own digits.
fn record(out: &mut Vec<u8>, key: &[u8], value: &[u8]) {
    let rest = key.len() + value.len() + 3;
    let mut len = rest + 1;
    while len != rest + len.to_string().len() {
        len = rest + len.to_string().len();
    }
    out.extend_from_slice(len.to_string().as_bytes());
    out.push(b' ');
    out.extend_from_slice(key);
    out.push(b'=');
    out.extend_from_slice(value);
    out.push(b'\n');
}

/// Copies at most `most` bytes; returns how many there were.
fn copy_data(from: &mut dyn Read, to: &mut dyn Write, most: u64) -> Result<u64> {
    io::copy(&mut from.take(most), to).map_err(|e| Error::io("copy", "archive", e))
}

fn write_error(e: io::Error) -> Error {
    Error::io("write", "archive", e)
}
