//! How an archive that somebody hands over is packed: its first bytes say it, whatever it is called.

use std::io::{self, Read};

/// The dictionary of `xz -9` takes 64 MiB; one that wants more memory than this is refused.
const XZ_MEMORY_KIB: u32 = 128 << 10;

/// How an archive is packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Packing {
    /// Not at all, or in a way that is not known.
    None,
    /// RFC 1952.
    Gzip,
    /// RFC 8878.
    Zstd,
    /// `BZh`
    Bzip2,
    /// The .xz file format, 1.2.
    Xz,
}

impl Packing {
    /// So many first bytes tell.
    pub const TELLING: usize = 6;

    /// What the first bytes say.
    pub fn of(start: &[u8]) -> Packing {
        match start {
            [0x1f, 0x8b, ..] => Packing::Gzip,
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Packing::Zstd,
            [b'B', b'Z', b'h', b'1'..=b'9', ..] => Packing::Bzip2,
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Packing::Xz,
            _ => Packing::None,
        }
    }

    /// Reads what is packed in `packed`, all members of it.
    ///
    /// # Errors
    /// When a decoder cannot be made; the reader's own are `InvalidData`, `InvalidInput` or `UnexpectedEof` for what is
    /// not as it should be.
    pub fn reader<'r>(self, packed: impl Read + 'r) -> io::Result<Box<dyn Read + 'r>> {
        Ok(match self {
            Packing::None => Box::new(packed),
            Packing::Gzip => Box::new(flate2::read::MultiGzDecoder::new(packed)),
            Packing::Zstd => Box::new(zstd::Decoder::new(packed)?),
            Packing::Bzip2 => Box::new(Told("bzip2", bzip2::read::MultiBzDecoder::new(packed))),
            Packing::Xz => Box::new(Told("xz", lzma_rust2::XzReader::new_mem_limit(packed, true, XZ_MEMORY_KIB))),
        })
    }
}

/// Says of which stream an error speaks, which these decoders do not.
struct Told<R>(&'static str, R);

impl<R: Read> Read for Told<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.1.read(buffer).map_err(|e| match e.kind() {
            io::ErrorKind::UnexpectedEof => io::Error::new(e.kind(), format!("the {} stream is cut off", self.0)),
            io::ErrorKind::Interrupted => e,
            _ => io::Error::new(e.kind(), format!("the {} stream: {e}", self.0)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn unpack(packed: &[u8]) -> io::Result<Vec<u8>> {
        let mut plain = Vec::new();
        Packing::of(packed).reader(packed)?.read_to_end(&mut plain)?;
        Ok(plain)
    }

    /// What the real tool, with options perhaps, makes of `plain`.
    fn pack(tool: &str, plain: &[u8]) -> Vec<u8> {
        let mut words = tool.split(' ');
        let mut command = std::process::Command::new(words.next().unwrap());
        let pipes = command.args(words).stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped());
        let mut child = pipes.spawn().unwrap_or_else(|e| panic!("{tool}: {e}"));
        let mut stdin = child.stdin.take().unwrap();
        std::thread::scope(|scope| {
            scope.spawn(move || stdin.write_all(plain).unwrap());
            child.wait_with_output().unwrap().stdout
        })
    }

    #[test]
    fn every_tool_is_understood() {
        let plain: Vec<u8> = (0..300_000u32).flat_map(|n| (n.wrapping_mul(n) / 7).to_le_bytes()).collect();
        for (tool, packing) in
            [("gzip", Packing::Gzip), ("zstd", Packing::Zstd), ("bzip2", Packing::Bzip2), ("xz", Packing::Xz)]
        {
            let packed = pack(tool, &plain);
            assert_eq!(Packing::of(&packed[..Packing::TELLING]), packing, "{tool}");
            assert!(unpack(&packed).unwrap() == plain, "{tool}");
            let twice = [&packed[..], &packed].concat();
            assert!(unpack(&twice).unwrap() == plain.repeat(2), "two members of {tool}");
            let torn = unpack(&packed[..packed.len() / 2]).unwrap_err();
            assert_eq!(torn.kind(), io::ErrorKind::UnexpectedEof, "a torn {tool}: {torn}");
            let mut broken = packed.clone();
            broken[packed.len() / 2] ^= 0x55;
            assert!(unpack(&broken).is_err(), "a broken {tool}");
        }
        assert_eq!(unpack(b"BZh0").unwrap(), b"BZh0");
        assert_eq!(unpack(b"").unwrap(), b"");
    }

    #[test]
    fn an_archive_that_wants_gigabytes_of_memory_is_refused() {
        // A block header that asks for a dictionary of 4 GiB less one byte (filter 0x21, size 40), with its checksum.
        // More threads would write sizes into it.
        let mut packed = pack("xz -T1", b"archive");
        assert_eq!(packed[12..16], [0x02, 0x00, 0x21, 0x01], "header of 12 bytes, one filter, LZMA2");
        packed[16] = 40;
        let mut crc = flate2::Crc::new();
        crc.update(&packed[12..20]);
        packed[20..24].copy_from_slice(&crc.sum().to_le_bytes());
        let why = unpack(&packed).unwrap_err().to_string();
        assert!(why.contains("memory"), "{why}");
    }
}
