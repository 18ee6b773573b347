//! Reads an archive entry by entry, without copying what the files hold.

use super::header::{self, BLOCK, Header, Layout, invalid};
use super::pax::{self, Records};
use super::sparse::{self, Ranges};
use crate::error::{Error, Result};
use crate::limits::Limits;
use std::io::{self, BufRead, ErrorKind};

/// Seconds since the epoch, and nanoseconds after them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[allow(missing_docs)]
pub struct Time {
    pub secs: i64,
    pub nanos: u32,
}

/// What an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[allow(missing_docs)]
pub enum Kind {
    #[default]
    File,
    Directory,
    Symlink,
    HardLink,
    Fifo,
    Char,
    Block,
}

/// One member of an archive. Names are bytes as the archive has them: no path is cleaned or trusted here.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Entry {
    /// Its name; never empty, no NUL.
    pub path: Vec<u8>,
    /// What a link points to; otherwise empty.
    pub link: Vec<u8>,
    /// What it is.
    pub kind: Kind,
    /// Permission bits, set-id and sticky ones included.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Size of a file, its holes included; 0 of everything else.
    pub size: u64,
    /// Last change.
    pub mtime: Time,
    /// Major and minor number of a device.
    pub device: (u32, u32),
    /// Extended attributes.
    pub xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    /// Of a sparse file: offset and length of each range that the data is made of.
    pub sparse: Option<Vec<(u64, u64)>>,
}

/// What headers before an entry's own say of it.
#[derive(Default)]
struct Before {
    name: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    records: Option<Records>,
}

/// Reads entries from `R`. After [`Reader::next`] the entry's data comes by [`Reader::data`] and [`Reader::consume`], or
/// by [`io::Read`]; what is not read is skipped.
pub struct Reader<R> {
    input: R,
    limits: Limits,
    /// Of the current entry: bytes of data not yet consumed.
    stored: u64,
    /// Bytes that fill its last block.
    padding: u64,
    sparse: bool,
    headers: u64,
    entries: u64,
    bytes: u64,
    ended: bool,
}

impl<R: BufRead> Reader<R> {
    /// Reads the archive that `input` gives, within `limits`.
    pub fn new(input: R, limits: &Limits) -> Reader<R> {
        Reader {
            input,
            limits: limits.clone(),
            stored: 0,
            padding: 0,
            sparse: false,
            headers: 0,
            entries: 0,
            bytes: 0,
            ended: false,
        }
    }

    /// Goes on to the next entry and fills `entry`. `false`: that was all, the input was read to its very end.
    pub fn next(&mut self, entry: &mut Entry) -> Result<bool> {
        if self.ended {
            return Ok(false);
        }
        self.skip()?;
        let mut before = Before::default();
        loop {
            let Some(block) = self.block()? else {
                return self.end(&before);
            };
            if header::is_zero(&block) {
                self.trailer()?;
                return self.end(&before);
            }
            self.headers += 1;
            // Three headers before each entry are more than any writer needs.
            if self.headers > self.limits.entries.saturating_mul(4) {
                return Err(Error::Limit {
                    what: "number of tar headers",
                    limit: self.limits.entries.saturating_mul(4),
                });
            }
            let header = Header::new(&block)?;
            if !self.extension(&header, &mut before)? {
                self.member(&header, before, entry)?;
                return Ok(true);
            }
        }
    }

    /// The next piece of the current entry's data, as large as the input has it at hand; empty at its end.
    pub fn data(&mut self) -> Result<&[u8]> {
        if self.stored == 0 {
            return Ok(&[]);
        }
        // Looked at twice, for the borrow checker: the first call does the work.
        if retry(&mut self.input)?.is_empty() {
            return Err(cut());
        }
        let buffer = self.input.fill_buf().map_err(read_error)?;
        let len = usize::try_from(self.stored).unwrap_or(usize::MAX).min(buffer.len());
        Ok(buffer.get(..len).unwrap_or_default())
    }

    /// Says that `n` bytes of [`Reader::data`] are done with.
    pub fn consume(&mut self, n: usize) {
        let n = n.min(usize::try_from(self.stored).unwrap_or(usize::MAX));
        self.input.consume(n);
        self.stored -= n as u64;
    }

    /// The whole data of the current entry, which must not be more than `most` bytes.
    pub fn read_all(&mut self, most: usize) -> Result<Vec<u8>> {
        if self.stored > most as u64 || self.sparse {
            return Err(Error::Limit { what: "size of a small file in an archive", limit: most as u64 });
        }
        let mut all = Vec::with_capacity(self.stored as usize);
        loop {
            let piece = self.data()?;
            if piece.is_empty() {
                return Ok(all);
            }
            all.extend_from_slice(piece);
            let n = piece.len();
            self.consume(n);
        }
    }

    /// Takes in a header that only says something of the next one. `false`: it is a member itself.
    fn extension(&mut self, header: &Header, before: &mut Before) -> Result<bool> {
        let flag = header.type_flag();
        if !matches!(flag, b'x' | b'g' | b'L' | b'K') {
            return Ok(false);
        }
        // Nobody needs these, but a reader that stops at a malformed one sees another archive.
        header.numbers()?;
        let most = if matches!(flag, b'x' | b'g') { self.limits.header } else { self.limits.path + 1 };
        let content = self.content(header.size()?, most)?;
        match flag {
            b'x' => {
                if before.records.is_some() || before.name.is_some() || before.link.is_some() {
                    return Err(invalid("several headers say different things of one entry"));
                }
                before.records = Some(Records::parse(&content, self.limits.ranges)?);
            }
            b'g' if before.records.is_some() || before.name.is_some() || before.link.is_some() => {
                return Err(invalid("global header between an entry and its extended header"));
            }
            b'g' => pax::global(&content)?,
            _ => {
                let end = content.iter().position(|b| *b == 0).unwrap_or(content.len());
                let (name, rest) = content.split_at(end);
                if name.is_empty() || !header::is_zero(rest) {
                    return Err(invalid("long name is empty or has a NUL"));
                }
                let slot = if flag == b'L' { &mut before.name } else { &mut before.link };
                if slot.replace(name.to_vec()).is_some() || before.records.is_some() {
                    return Err(invalid("several headers say different things of one entry"));
                }
            }
        }
        Ok(true)
    }

    /// Reads all data of an extension header.
    fn content(&mut self, size: u64, most: usize) -> Result<Vec<u8>> {
        if size > most as u64 {
            return Err(Error::Limit { what: "size of an extended header", limit: most as u64 });
        }
        self.stored = size;
        self.padding = padding(size);
        self.sparse = false;
        let content = self.read_all(most)?;
        self.skip()?;
        Ok(content)
    }

    fn member(&mut self, header: &Header, before: Before, entry: &mut Entry) -> Result<()> {
        let records = before.records.unwrap_or_default();
        let stored = size(header.size()?, records.size)?;
        entry.path.clear();
        header.name(&mut entry.path)?;
        let plain_slash = entry.path.last() == Some(&b'/');
        for long in [before.name, records.path].into_iter().flatten() {
            entry.path = long;
        }
        entry.link.clear();
        entry.mode = header.mode()?;
        let (uid, gid) = (header.uid()?, header.gid()?);
        entry.uid = records.uid.unwrap_or(uid);
        entry.gid = records.gid.unwrap_or(gid);
        let secs = header.mtime()?;
        entry.mtime = records.mtime.unwrap_or(Time { secs, nanos: 0 });
        let device = header.device()?;
        entry.device = (0, 0);
        entry.xattrs = records.xattrs;
        entry.sparse = None;
        entry.size = 0;
        let slash = entry.path.last() == Some(&b'/');
        if header.type_flag() == 0 && slash != plain_slash {
            // Of the oldest archives, where a slash alone makes a directory: some readers look at the short name.
            return Err(refuse(entry, "its short and its long name differ on whether it is a directory"));
        }
        entry.kind = match header.type_flag() {
            0 if slash => Kind::Directory,
            b'0' | 0 => Kind::File,
            b'S' if header.layout() == Layout::Gnu => Kind::File,
            b'1' => Kind::HardLink,
            b'2' => Kind::Symlink,
            b'3' => Kind::Char,
            b'4' => Kind::Block,
            b'5' => Kind::Directory,
            b'6' => Kind::Fifo,
            flag => return Err(refuse(entry, format!("type {:?} is not known", char::from(flag)))),
        };
        if entry.kind != Kind::File && (stored != 0 || records.sparse.is_some()) {
            return Err(refuse(entry, "only a file has data"));
        }
        match entry.kind {
            Kind::Symlink | Kind::HardLink => {
                entry.link.extend_from_slice(header.link());
                for long in [before.link, records.link].into_iter().flatten() {
                    entry.link = long;
                }
            }
            Kind::Char | Kind::Block => entry.device = device,
            Kind::File => {
                self.stored = stored;
                self.padding = padding(stored);
                entry.size = stored;
                if header.type_flag() == b'S' {
                    self.gnu_sparse(header, records.sparse.is_some(), entry)?;
                } else if records.sparse.is_some() {
                    self.pax_sparse(records.sparse, entry)?;
                }
            }
            Kind::Directory | Kind::Fifo => {}
        }
        self.sparse = entry.sparse.is_some();
        self.check(entry)
    }

    /// What holds of every entry.
    fn check(&mut self, entry: &Entry) -> Result<()> {
        if entry.path.is_empty() {
            return Err(invalid("an entry has no name"));
        }
        self.entries += 1;
        if self.entries > self.limits.entries {
            return Err(Error::Limit { what: "number of tar entries", limit: self.limits.entries });
        }
        let most = self.limits.path;
        if entry.path.len() > most || entry.link.len() > most {
            return Err(Error::Limit { what: "length of a path", limit: most as u64 });
        }
        if entry.kind != Kind::Directory && entry.path.last() == Some(&b'/') {
            return Err(refuse(entry, "it is not a directory, but its name ends in a slash"));
        }
        if matches!(entry.kind, Kind::Symlink | Kind::HardLink) && entry.link.is_empty() {
            return Err(refuse(entry, "a link to nothing"));
        }
        self.bytes = self.bytes.saturating_add(entry.size);
        if self.bytes > self.limits.bytes {
            return Err(Error::Limit { what: "size of all files in an archive", limit: self.limits.bytes });
        }
        Ok(())
    }

    fn gnu_sparse(&mut self, header: &Header, twice: bool, entry: &mut Entry) -> Result<()> {
        if twice {
            return Err(refuse(entry, "two sparse maps"));
        }
        let mut ranges = Ranges::new();
        let (fields, mut more, real) = header.gnu_sparse()?;
        let mut ended = sparse::gnu(fields, &mut ranges, self.limits.ranges)?;
        while more {
            let block = self.block()?.ok_or_else(cut)?;
            let (fields, again) = header::gnu_sparse_more(&block)?;
            if ended {
                return Err(refuse(entry, "sparse map goes on after its end"));
            }
            ended = sparse::gnu(fields, &mut ranges, self.limits.ranges)?;
            more = again;
        }
        entry.size = real;
        entry.sparse = Some(sparse::verify(ranges, real, self.stored)?);
        Ok(())
    }

    fn pax_sparse(&mut self, map: pax::Sparse, entry: &mut Entry) -> Result<()> {
        let malformed = || invalid("sparse file in an unknown form");
        let (ranges, real) = match (map.major, map.minor, map.size, map.real_size) {
            (Some(1), Some(0), None, Some(real)) if map.map.is_none() && map.blocks.is_none() && map.name.is_some() => {
                let most = self.limits.ranges;
                let ranges = sparse::version_1(most, || {
                    let block = if self.stored < BLOCK as u64 { None } else { self.block()? };
                    self.stored = self.stored.saturating_sub(BLOCK as u64);
                    block.ok_or_else(cut)
                })?;
                (ranges, real)
            }
            (None | Some(0), None | Some(0 | 1), Some(real), None) => {
                let numbers = map.map.unwrap_or_default();
                if map.blocks != Some(numbers.len() as u64 / 2) {
                    return Err(malformed());
                }
                (sparse::pairs(&numbers), real)
            }
            _ => return Err(malformed()),
        };
        if let Some(name) = map.name {
            entry.path = name;
        }
        entry.size = real;
        entry.sparse = Some(sparse::verify(ranges, real, self.stored)?);
        Ok(())
    }

    /// The next block; `None` when the input ends before it.
    fn block(&mut self) -> Result<Option<[u8; BLOCK]>> {
        let mut block = [0; BLOCK];
        let mut have = 0;
        while have < BLOCK {
            let input = retry(&mut self.input)?;
            if input.is_empty() {
                return if have == 0 { Ok(None) } else { Err(cut()) };
            }
            let n = input.len().min(BLOCK - have);
            if let (Some(to), Some(from)) = (block.get_mut(have..have + n), input.get(..n)) {
                to.copy_from_slice(from);
            }
            self.input.consume(n);
            have += n;
        }
        Ok(Some(block))
    }

    /// Leaves out what remains of the current entry.
    fn skip(&mut self) -> Result<()> {
        let mut left = std::mem::take(&mut self.stored) + std::mem::take(&mut self.padding);
        while left > 0 {
            let len = retry(&mut self.input)?.len();
            if len == 0 {
                return Err(cut());
            }
            let n = usize::try_from(left).unwrap_or(usize::MAX).min(len);
            self.input.consume(n);
            left -= n as u64;
        }
        Ok(())
    }

    /// After one block of zeros: nothing but zeros may follow, or readers differ on where the archive ends.
    fn trailer(&mut self) -> Result<()> {
        loop {
            let input = retry(&mut self.input)?;
            if input.is_empty() {
                return Ok(());
            }
            if !header::is_zero(input) {
                return Err(invalid("something follows the end of the archive"));
            }
            let n = input.len();
            self.input.consume(n);
        }
    }

    fn end(&mut self, before: &Before) -> Result<bool> {
        if before.records.is_some() || before.name.is_some() || before.link.is_some() {
            return Err(cut());
        }
        self.ended = true;
        Ok(false)
    }
}

impl<R: BufRead> io::Read for Reader<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if self.sparse {
            return Err(io::Error::new(ErrorKind::Unsupported, "a sparse file cannot be read as a stream"));
        }
        let piece = self.data().map_err(io::Error::other)?;
        let n = piece.len().min(out.len());
        if let (Some(to), Some(from)) = (out.get_mut(..n), piece.get(..n)) {
            to.copy_from_slice(from);
        }
        self.consume(n);
        Ok(n)
    }
}

fn retry<R: BufRead>(input: &mut R) -> Result<&[u8]> {
    loop {
        match input.fill_buf() {
            Ok(_) => break,
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            Err(e) => return Err(read_error(e)),
        }
    }
    input.fill_buf().map_err(read_error)
}

fn read_error(e: io::Error) -> Error {
    Error::io("read", "archive", e)
}

fn cut() -> Error {
    invalid("the archive is cut off")
}

fn refuse(entry: &Entry, why: impl Into<String>) -> Error {
    Error::entry(&entry.path, why)
}

fn padding(size: u64) -> u64 {
    size.wrapping_neg() % BLOCK as u64
}

/// The size of the data. An extended header overrides the plain one, which writers leave at 0, at the true value, or at
/// the largest it can hold; anything else there is for a reader that forgets the extended header.
fn size(plain: u64, extended: Option<u64>) -> Result<u64> {
    const LARGEST_OCTAL: u64 = 0o77777777777;
    match extended {
        None => Ok(plain),
        Some(size) if plain == size || plain == 0 || (plain == LARGEST_OCTAL && size > plain) => Ok(size),
        Some(size) => Err(invalid(format!("size is {plain} in one header and {size} in another"))),
    }
}
