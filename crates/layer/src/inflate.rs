//! Decompression: gzip and Zstandard streams, pushed in and pulled out in buffers. Nothing may follow the last member.

use crate::error::{Error, Result};
use crate::limits::Limits;
use flate2::{Decompress, FlushDecompress, Status};
use oci::image::Compression;
use zstd::zstd_safe::{DCtx, DParameter, InBuffer, OutBuffer};

/// The state of one stream.
pub enum Inflate {
    /// Of a plain stream, which needs no state.
    Plain,
    #[allow(missing_docs)]
    Gzip(Box<Gzip>),
    #[allow(missing_docs)]
    Zstd(Box<Zstd>),
}

/// Members of RFC 1952, one after the other.
pub struct Gzip {
    state: Decompress,
    /// Between two members, or before the first.
    between: bool,
    members: u64,
    /// Bytes of the member's first two seen so far: the check that what follows a member is one.
    magic: u8,
}

/// Frames of RFC 8878, one after the other.
pub struct Zstd {
    state: DCtx<'static>,
    between: bool,
    frames: u64,
}

/// What one step came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    /// Input bytes taken.
    pub taken: usize,
    /// Output bytes given.
    pub given: usize,
    /// There may be more output without more input.
    pub more: bool,
}

impl Inflate {
    /// For a stream of this kind.
    pub fn new(compression: Compression, limits: &Limits) -> Result<Inflate> {
        Ok(match compression {
            Compression::None => Inflate::Plain,
            Compression::Gzip => {
                Inflate::Gzip(Box::new(Gzip { state: Decompress::new_gzip(15), between: true, members: 0, magic: 0 }))
            }
            Compression::Zstd => {
                let mut state = DCtx::try_create().ok_or_else(|| broken("out of memory"))?;
                state.set_parameter(DParameter::WindowLogMax(limits.window_log)).map_err(zstd_error)?;
                Inflate::Zstd(Box::new(Zstd { state, between: true, frames: 0 }))
            }
        })
    }

    /// Gives into `out`, from its start on, what `input` comes to.
    pub fn step(&mut self, input: &[u8], out: &mut [u8]) -> Result<Step> {
        match self {
            Inflate::Plain => {
                let n = input.len().min(out.len());
                if let (Some(to), Some(from)) = (out.get_mut(..n), input.get(..n)) {
                    to.copy_from_slice(from);
                }
                Ok(Step { taken: n, given: n, more: false })
            }
            Inflate::Gzip(gzip) => gzip.step(input, out),
            Inflate::Zstd(zstd) => zstd.step(input, out),
        }
    }

    /// Says that the input has ended: it must have ended between two members.
    pub fn finish(&self) -> Result<()> {
        let whole = match self {
            Inflate::Plain => true,
            Inflate::Gzip(gzip) => gzip.between && gzip.magic == 0 && gzip.members > 0,
            Inflate::Zstd(zstd) => zstd.between && zstd.frames > 0,
        };
        if whole { Ok(()) } else { Err(broken("the stream is cut off")) }
    }
}

impl Gzip {
    fn step(&mut self, input: &[u8], out: &mut [u8]) -> Result<Step> {
        if self.between {
            // The decoder would report anything else as a bad header; this says what it is.
            for byte in input.iter().take(2 - usize::from(self.magic)) {
                if *byte != [0x1f, 0x8b][usize::from(self.magic & 1)] {
                    let what =
                        if self.members == 0 { "not a gzip stream" } else { "something follows the gzip stream" };
                    return Err(broken(what));
                }
                self.magic += 1;
            }
            if self.magic == 2 {
                (self.between, self.magic) = (false, 0);
            }
        }
        let (before_in, before_out) = (self.state.total_in(), self.state.total_out());
        let status = self.state.decompress(input, out, FlushDecompress::None);
        let taken = (self.state.total_in() - before_in) as usize;
        let given = (self.state.total_out() - before_out) as usize;
        let more = given == out.len();
        match status {
            Ok(Status::StreamEnd) => {
                self.members += 1;
                self.between = true;
                // Reset would expect a zlib header.
                self.state = Decompress::new_gzip(15);
                Ok(Step { taken, given, more: false })
            }
            Ok(Status::Ok) => Ok(Step { taken, given, more }),
            Ok(Status::BufError) if taken > 0 || given > 0 || input.is_empty() || out.is_empty() => {
                Ok(Step { taken, given, more })
            }
            Ok(Status::BufError) => Err(broken("the gzip stream makes no progress")),
            Err(e) => Err(broken(e.message().unwrap_or("corrupt gzip stream"))),
        }
    }
}

impl Zstd {
    fn step(&mut self, input: &[u8], out: &mut [u8]) -> Result<Step> {
        if input.is_empty() && self.between {
            return Ok(Step { taken: 0, given: 0, more: false });
        }
        let mut from = InBuffer::around(input);
        let mut to = OutBuffer::around(&mut *out);
        let hint = self.state.decompress_stream(&mut to, &mut from).map_err(zstd_error)?;
        let given = to.pos();
        self.between = hint == 0;
        if self.between {
            self.frames += 1;
        }
        Ok(Step { taken: from.pos(), given, more: hint != 0 && given == out.len() })
    }
}

fn zstd_error(code: usize) -> Error {
    broken(zstd::zstd_safe::get_error_name(code))
}

fn broken(why: &str) -> Error {
    Error::Compressed(why.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn run(kind: Compression, input: &[u8], piece: usize) -> Result<Vec<u8>> {
        let mut inflate = Inflate::new(kind, &Limits::default())?;
        let mut all = Vec::new();
        for piece in input.chunks(piece) {
            let mut at = 0;
            loop {
                let mut out = [0; 1000];
                let step = inflate.step(&piece[at..], &mut out)?;
                at += step.taken;
                all.extend_from_slice(&out[..step.given]);
                if at == piece.len() && !step.more {
                    break;
                }
            }
        }
        inflate.finish()?;
        Ok(all)
    }

    fn gzip(data: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        encoder.write_all(data).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn members_and_frames() {
        let data: Vec<u8> = (0..100_000u32).flat_map(|i| (i / 7).to_le_bytes()).collect();
        let two = [gzip(&data), gzip(b"more")].concat();
        let frames = [zstd::bulk::compress(&data, 3).unwrap(), zstd::bulk::compress(b"more", 3).unwrap()].concat();
        let want = [&data[..], b"more"].concat();
        for piece in [1, 7, 1000, 1 << 20] {
            assert_eq!(run(Compression::Gzip, &two, piece).unwrap(), want);
            assert_eq!(run(Compression::Zstd, &frames, piece).unwrap(), want);
            assert_eq!(run(Compression::None, &data, piece).unwrap(), data);
        }
        assert_eq!(run(Compression::Gzip, &gzip(b""), 3).unwrap(), b"");
        for (kind, whole) in [(Compression::Gzip, two), (Compression::Zstd, frames)] {
            for piece in [1, 1 << 20] {
                for garbage in
                    [&b"x"[..], b"\0", b"\x1f", b"\x1f\x8b", b"\x1f\x8c\0\0\0\0\0\0\0\0\0\0\0", b"\x28\xb5\x2f"]
                {
                    assert!(run(kind, &[&whole[..], garbage].concat(), piece).is_err(), "{kind:?} {garbage:?}");
                }
                assert!(run(kind, &whole[..whole.len() - 1], piece).is_err());
                assert!(run(kind, b"", piece).is_err());
                let mut broken = whole.clone();
                let middle = broken.len() / 2;
                broken[middle] ^= 1;
                assert!(run(kind, &broken, piece).is_err() || kind == Compression::Zstd);
            }
        }
    }

    #[test]
    fn a_window_beyond_the_limit_is_refused() {
        let mut encoder = zstd::Encoder::new(Vec::new(), 1).unwrap();
        encoder.window_log(28).unwrap();
        encoder.include_contentsize(false).unwrap();
        encoder.write_all(&vec![7; 1 << 20]).unwrap();
        let data = encoder.finish().unwrap();
        assert!(run(Compression::Zstd, &data, 1 << 20).is_err());
    }
}
