//! The files of a log, one after the other, as a sequence of records.

use super::files::{Identity, Part, identity};
use super::format::{Format, LONGEST, Next};
use flate2::read::MultiGzDecoder;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;

/// How much is read at once.
pub(super) const BLOCK: usize = 128 << 10;

/// Where bytes come from.
#[derive(Debug)]
enum Source {
    Plain {
        file: File,
        offset: u64,
    },
    Packed {
        gzip: Box<MultiGzDecoder<File>>,
        identity: Identity,
    },
    /// Nothing more comes from it: what it holds makes no sense.
    Broken {
        identity: Identity,
    },
}

/// What has been read of a file and not yet taken.
#[derive(Debug)]
pub(super) struct Input {
    format: Format,
    source: Option<Source>,
    buffer: Vec<u8>,
    /// The unread part of `buffer` is `start..end`, and up to `scanned` it is known to hold no end of a record.
    start: usize,
    end: usize,
    scanned: usize,
    /// So many records are passed over.
    skip: u64,
}

impl Input {
    pub fn new(format: Format) -> Input {
        Input { format, source: None, buffer: Vec::new(), start: 0, end: 0, scanned: 0, skip: 0 }
    }

    /// Goes on with another file. A record does not go on there: what is left of one was torn.
    pub fn open(&mut self, part: Part, offset: u64, skip: u64) -> io::Result<()> {
        (self.start, self.end, self.scanned, self.skip) = (0, 0, 0, skip);
        self.source = Some(match part.packed {
            false => Source::Plain { file: part.file, offset },
            true => {
                let identity = identity(&part.file)?;
                Source::Packed { gzip: Box::new(MultiGzDecoder::new(part.file)), identity }
            }
        });
        Ok(())
    }

    /// The file that is being read.
    pub fn identity(&self) -> io::Result<Option<Identity>> {
        Ok(match &self.source {
            None => None,
            Some(Source::Plain { file, .. }) => Some(identity(file)?),
            Some(Source::Packed { identity, .. } | Source::Broken { identity }) => Some(*identity),
        })
    }

    /// The next whole record in memory.
    #[inline]
    pub fn next(&mut self) -> Option<&[u8]> {
        loop {
            match self.format.next(&self.buffer[self.start..self.end], self.scanned - self.start) {
                Next::Record(length) => {
                    let start = self.start;
                    self.start += length;
                    self.scanned = self.start;
                    if self.skip > 0 {
                        self.skip -= 1;
                        continue;
                    }
                    return Some(&self.buffer[start..start + length]);
                }
                Next::More => {
                    self.scanned = self.end;
                    return None;
                }
                Next::Nonsense => {
                    self.give_up();
                    return None;
                }
            }
        }
    }

    #[cold]
    fn give_up(&mut self) {
        if let Ok(Some(identity)) = self.identity() {
            self.source = Some(Source::Broken { identity });
        }
        (self.start, self.end, self.scanned) = (0, 0, 0);
    }

    /// Nothing is buffered while nothing comes, save for the beginning of a record.
    pub fn shrink(&mut self) {
        if self.start == self.end {
            (self.start, self.end, self.scanned) = (0, 0, 0);
            self.buffer = Vec::new();
        }
    }

    /// Reads one block of the file; 0 at its end.
    pub fn fill(&mut self) -> io::Result<usize> {
        self.buffer.copy_within(self.start..self.end, 0);
        self.scanned -= self.start;
        self.end -= self.start;
        self.start = 0;
        if self.end > LONGEST {
            (self.end, self.scanned) = (0, 0);
        }
        if self.buffer.len() < self.end + BLOCK / 2 {
            self.buffer.resize(self.end + BLOCK, 0);
        }
        let space = &mut self.buffer[self.end..];
        let length = match &mut self.source {
            None | Some(Source::Broken { .. }) => return Ok(0),
            Some(Source::Packed { gzip, .. }) => match read_whole(gzip, space) {
                // A torn end, of a machine that went down: what came before it has been told.
                Err(error)
                    if matches!(
                        error.kind(),
                        io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput
                    ) =>
                {
                    0
                }
                result => result?,
            },
            Some(Source::Plain { file, offset }) => {
                let length = read_at(file, space, *offset)?;
                *offset += length as u64;
                if length == 0 && rustix::fs::fstat(&*file)?.st_size < *offset as i64 {
                    // Someone has emptied the file: what it holds from now on is new.
                    *offset = 0;
                    (self.start, self.end, self.scanned) = (0, 0, 0);
                    return self.fill();
                }
                length
            }
        };
        self.end += length;
        Ok(length)
    }
}

fn read_at(file: &File, space: &mut [u8], offset: u64) -> io::Result<usize> {
    loop {
        match file.read_at(space, offset) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

/// Fills `space` as far as there is something to fill it with.
fn read_whole(from: &mut impl Read, space: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < space.len() {
        match from.read(&mut space[filled..]) {
            Ok(0) => break,
            Ok(length) => filled += length,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            // What came before it comes first.
            Err(_) if filled > 0 => break,
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

/// Where the last `count` records of a file begin: an offset, or how many to pass over from its beginning. `Err(records)`
/// when it has no more than `records`, which are not enough or just enough.
pub(super) fn tail(format: Format, part: &Part, count: u64) -> io::Result<Result<(u64, u64), u64>> {
    match (part.packed, format) {
        (true, _) => {
            let mut input = Input::new(format);
            let mut whole = Part { file: part.file.try_clone()?, packed: true };
            io::Seek::rewind(&mut whole.file)?;
            input.open(whole, 0, 0)?;
            let mut records = 0;
            while input.fill()? > 0 {
                while input.next().is_some() {
                    records += 1;
                }
            }
            io::Seek::rewind(&mut &part.file)?;
            Ok(if records > count || (records == count && count > 0) { Ok((0, records - count)) } else { Err(records) })
        }
        (false, Format::Json) => Ok(tail_lines(&part.file, count)?.map(|offset| (offset, 0))),
        (false, Format::Local) => Ok(tail_messages(&part.file, count)?.map(|offset| (offset, 0))),
    }
}

/// Reads backwards, and no further than needed.
fn tail_lines(file: &File, count: u64) -> io::Result<Result<u64, u64>> {
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
    Ok(if newlines == count && count > 0 { Ok(0) } else { Err(newlines) })
}

/// Whether a file of messages ends with a whole one.
pub(super) fn ends_whole(file: &File, size: u64) -> io::Result<bool> {
    Ok(Backwards { file, block: Vec::new(), at: 0 }.message_before(size)?.is_some())
}

/// As [`tail_lines`]; by the lengths that follow the messages. While the file is written its end may be half a message:
/// then the ends of all messages are found from the beginning.
fn tail_messages(file: &File, count: u64) -> io::Result<Result<u64, u64>> {
    let size = rustix::fs::fstat(file)?.st_size as u64;
    let mut back = Backwards { file, block: Vec::new(), at: 0 };
    let (mut end, mut messages) = (size, 0);
    if size > 0 && back.message_before(size)?.is_none() {
        return tail_forwards(file, count);
    }
    while end > 0 && messages < count {
        match back.message_before(end)? {
            Some(start) => end = start,
            None => return tail_forwards(file, count),
        }
        messages += 1;
    }
    Ok(if messages == count && (end > 0 || count > 0) { Ok(end) } else { Err(messages) })
}

fn tail_forwards(file: &File, count: u64) -> io::Result<Result<u64, u64>> {
    let mut input = Input::new(Format::Local);
    input.open(Part { file: file.try_clone()?, packed: false }, 0, 0)?;
    let (mut ends, mut end) = (Vec::new(), 0u64);
    while input.fill()? > 0 {
        while let Some(message) = input.next() {
            ends.push(end);
            end += message.len() as u64;
        }
    }
    let found = ends.len() as u64;
    let first = found.checked_sub(count).map(|index| ends.get(index as usize).copied().unwrap_or(end));
    Ok(match first {
        Some(offset) if offset > 0 || (count > 0 && found == count) => Ok(offset),
        _ => Err(found),
    })
}

/// Reads a file from its end, block by block.
struct Backwards<'f> {
    file: &'f File,
    block: Vec<u8>,
    /// Where `block` begins in the file.
    at: u64,
}

impl Backwards<'_> {
    /// Four bytes at `offset`.
    fn size_at(&mut self, offset: u64) -> io::Result<Option<u32>> {
        if offset < self.at || offset + 4 > self.at + self.block.len() as u64 {
            let end = offset + 4;
            self.at = end.saturating_sub(BLOCK as u64);
            self.block.resize((end - self.at) as usize, 0);
            match self.file.read_exact_at(&mut self.block, self.at) {
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
                result => result?,
            }
        }
        let from = (offset - self.at) as usize;
        Ok(self.block[from..].first_chunk().map(|bytes| u32::from_be_bytes(*bytes)))
    }

    /// Where the message begins that ends at `end`.
    fn message_before(&mut self, end: u64) -> io::Result<Option<u64>> {
        let Some(footer) = end.checked_sub(4) else { return Ok(None) };
        let Some(length) = self.size_at(footer)?.filter(|length| *length > 0 && (*length as usize) <= LONGEST) else {
            return Ok(None);
        };
        let Some(start) = footer.checked_sub(u64::from(length) + 4) else { return Ok(None) };
        Ok((self.size_at(start)? == Some(length)).then_some(start))
    }
}
