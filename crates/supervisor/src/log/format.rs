//! What is different between the two formats, in one place.

use super::decode::Json;
use super::{Record, STDERR, encode, local, time};
use std::io;

/// A record longer than this is none of ours: the longest text escapes 16 KiB by six.
pub(super) const LONGEST: usize = 4 << 20;

/// How records lie in the files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// One JSON object per line.
    Json,
    /// One protobuf message between two lengths.
    Local,
}

/// What bytes begin with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// A record of so many bytes, with what separates it from the next.
    Record(usize),
    /// The beginning of one.
    More,
    /// Nothing that a record begins with, and no way to find the next one.
    Nonsense,
}

impl Format {
    /// What `bytes` begin with; the first `seen` of them have been looked at before.
    #[inline]
    pub(super) fn next(self, bytes: &[u8], seen: usize) -> Next {
        match self {
            Format::Json => match memchr::memchr(b'\n', &bytes[seen..]) {
                Some(at) => Next::Record(seen + at + 1),
                None => Next::More,
            },
            Format::Local => local::next(bytes),
        }
    }

    /// How many bytes of `bytes` are whole records, and how many those are.
    pub(super) fn whole(self, bytes: &[u8]) -> (usize, u64) {
        if self == Format::Json {
            let end = memchr::memrchr(b'\n', bytes).map_or(0, |at| at + 1);
            return (end, memchr::memchr_iter(b'\n', &bytes[..end]).count() as u64);
        }
        let (mut end, mut count) = (0, 0);
        while let Next::Record(length) = self.next(&bytes[end..], 0) {
            end += length;
            count += 1;
        }
        (end, count)
    }
}

/// Writes records of one format.
#[derive(Debug)]
pub(super) struct Encoder {
    pub format: Format,
    times: time::Formatter,
    /// The attributes, as they stand in every record.
    attrs: Vec<u8>,
}

impl Encoder {
    pub fn new(format: Format, attrs: &[(String, String)]) -> Encoder {
        let attrs = match format {
            _ if attrs.is_empty() => Vec::new(),
            Format::Json => encode::attrs(attrs),
            Format::Local => local::attrs(attrs),
        };
        Encoder { format, times: time::Formatter::default(), attrs }
    }

    /// Appends one record.
    #[inline]
    pub fn record(&mut self, out: &mut Vec<u8>, stream: u8, text: &[u8], time_ns: i64) {
        if self.format == Format::Local {
            return local::encode(out, stream == STDERR, text, time_ns, &self.attrs);
        }
        out.reserve(text.len() + self.attrs.len() + 96);
        out.extend_from_slice(b"{\"log\":\"");
        encode::escape(out, text);
        out.extend_from_slice(if stream == STDERR { b"\",\"stream\":\"stderr\"" } else { b"\",\"stream\":\"stdout\"" });
        out.extend_from_slice(&self.attrs);
        out.extend_from_slice(b",\"time\":\"");
        self.times.short(time_ns, out);
        out.extend_from_slice(b"\"}\n");
    }
}

/// What became of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Decoded {
    /// Torn or foreign: not a record.
    Nonsense,
    Early,
    Late,
    Wanted,
}

/// Which moments are wanted, both included.
#[derive(Debug, Clone, Copy)]
pub(super) struct Between {
    pub since: i64,
    pub until: i64,
}

impl Between {
    #[inline]
    pub fn place(self, time_ns: i64) -> Decoded {
        match time_ns {
            t if t < self.since => Decoded::Early,
            t if t > self.until => Decoded::Late,
            _ => Decoded::Wanted,
        }
    }
}

/// Reads records of one format.
#[derive(Debug)]
pub(super) enum Decoder {
    Json(Json),
    Local(local::Decoder),
}

impl Decoder {
    pub fn new(format: Format) -> Decoder {
        match format {
            Format::Json => Decoder::Json(Json::default()),
            Format::Local => Decoder::Local(local::Decoder::default()),
        }
    }

    /// Takes one record, with what separates it from the next, apart. Its text is looked at only when its time is wanted.
    #[inline]
    pub fn decode(&mut self, bytes: &[u8], between: Between, record: &mut Record) -> Decoded {
        match self {
            Decoder::Json(json) => json.decode(bytes.strip_suffix(b"\n").unwrap_or(bytes), between, record),
            Decoder::Local(local) => local.decode(bytes, between, record),
        }
    }
}

/// Where the whole records at the beginning of a file end, read block by block.
pub(super) fn whole_prefix(
    format: Format,
    mut read: impl FnMut(&mut [u8], u64) -> io::Result<usize>,
) -> io::Result<u64> {
    let mut kept: Vec<u8> = Vec::new();
    let (mut end, mut at) = (0u64, 0u64);
    loop {
        let filled = kept.len();
        kept.resize(filled + (64 << 10), 0);
        let length = read(&mut kept[filled..], at)?;
        kept.truncate(filled + length);
        at += length as u64;
        let (whole, _) = format.whole(&kept);
        end += whole as u64;
        kept.drain(..whole);
        if length == 0 || kept.len() > LONGEST {
            return Ok(end);
        }
    }
}
