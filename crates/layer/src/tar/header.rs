//! One 512-byte header block, as ustar (POSIX.1-1988) and GNU tar lay it out.

use crate::error::{Error, Result};

/// The size of a block.
pub const BLOCK: usize = 512;

/// Which layout the block's magic announces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// Neither: no prefix, no extension.
    V7,
    /// `ustar\0`: has a prefix.
    Ustar,
    /// `ustar  \0`: base-256 numbers, sparse map.
    Gnu,
}

/// A view of one block whose checksum is right.
pub struct Header<'b>(&'b [u8; BLOCK]);

impl<'b> Header<'b> {
    /// Verifies the checksum. A block of zeros is not a header: see [`is_zero`].
    pub fn new(block: &'b [u8; BLOCK]) -> Result<Header<'b>> {
        let header = Header(block);
        let stated = octal(header.field(148, 8)).ok_or_else(|| invalid("checksum is not a number"))?;
        let sum: u64 = block.iter().map(|b| u64::from(*b)).sum();
        let own: u64 = header.field(148, 8).iter().map(|b| u64::from(*b)).sum();
        if sum - own + 8 * u64::from(b' ') != stated {
            return Err(invalid("header checksum is wrong"));
        }
        Ok(header)
    }

    fn field(&self, at: usize, len: usize) -> &'b [u8] {
        self.0.get(at..at + len).unwrap_or_default()
    }

    fn text(&self, at: usize, len: usize) -> &'b [u8] {
        let field = self.field(at, len);
        field.split(|b| *b == 0).next().unwrap_or_default()
    }

    pub fn layout(&self) -> Layout {
        match self.field(257, 8) {
            b"ustar  \0" => Layout::Gnu,
            [b'u', b's', b't', b'a', b'r', 0, ..] => Layout::Ustar,
            _ => Layout::V7,
        }
    }

    pub fn type_flag(&self) -> u8 {
        self.field(156, 1).first().copied().unwrap_or_default()
    }

    /// The name, with the prefix where the layout has one, appended to `out`.
    pub fn name(&self, out: &mut Vec<u8>) -> Result<()> {
        let name = self.text(0, 100);
        match self.layout() {
            Layout::Ustar => {
                if self.field(508, 4) == b"tar\0" && self.field(475, 26).iter().any(|b| *b != 0) {
                    return Err(invalid("header of the star program, which others read differently"));
                }
                let prefix = self.text(345, 155);
                if !prefix.is_empty() {
                    out.extend_from_slice(prefix);
                    out.push(b'/');
                }
            }
            // GNU's incremental archives keep times here, which some readers take for a prefix.
            Layout::Gnu if self.type_flag() != b'S' && self.field(345, 41).iter().any(|b| *b != 0) => {
                return Err(invalid("GNU header with access times, which others read as a name"));
            }
            Layout::V7 if self.field(345, 155).iter().any(|b| *b != 0) => {
                return Err(invalid("header without magic but with a name prefix"));
            }
            Layout::Gnu | Layout::V7 => {}
        }
        out.extend_from_slice(name);
        Ok(())
    }

    pub fn link(&self) -> &'b [u8] {
        self.text(157, 100)
    }

    pub fn mode(&self) -> Result<u32> {
        // Some writers put the file type above the permission bits.
        Ok((self.number(100, 8, "mode")? & 0o7777) as u32)
    }

    pub fn uid(&self) -> Result<u32> {
        id(self.number(108, 8, "uid")?, "uid")
    }

    pub fn gid(&self) -> Result<u32> {
        id(self.number(116, 8, "gid")?, "gid")
    }

    pub fn size(&self) -> Result<u64> {
        self.number(124, 12, "size")
    }

    pub fn mtime(&self) -> Result<i64> {
        signed(self.field(136, 12)).ok_or_else(|| invalid("mtime is not a number"))
    }

    pub fn device(&self) -> Result<(u32, u32)> {
        let major = self.number(329, 8, "device number")?;
        let minor = self.number(337, 8, "device number")?;
        match (u32::try_from(major), u32::try_from(minor)) {
            (Ok(major), Ok(minor)) if major < 1 << 12 && minor < 1 << 20 => Ok((major, minor)),
            _ => Err(invalid("device number is out of range")),
        }
    }

    /// Checks the numbers of a header that nobody needs.
    pub fn numbers(&self) -> Result<()> {
        self.mode()?;
        self.uid()?;
        self.gid()?;
        self.mtime()?;
        self.device()?;
        Ok(())
    }

    /// Of a GNU sparse header: the four ranges of the map, whether more blocks of it follow, and the expanded size.
    pub fn gnu_sparse(&self) -> Result<(&'b [u8], bool, u64)> {
        Ok((self.field(386, 96), flag(self.field(482, 1))?, self.number(483, 12, "real size")?))
    }

    fn number(&self, at: usize, len: usize, what: &str) -> Result<u64> {
        number(self.field(at, len)).ok_or_else(|| invalid(format!("{what} is not a number that fits")))
    }
}

/// A further block of a GNU sparse map: its 21 ranges, and whether another block follows.
pub fn gnu_sparse_more(block: &[u8; BLOCK]) -> Result<(&[u8], bool)> {
    Ok((block.get(..504).unwrap_or_default(), flag(block.get(504..505).unwrap_or_default())?))
}

fn flag(field: &[u8]) -> Result<bool> {
    match field {
        [0] | [b'0'] => Ok(false),
        [1] | [b'1'] => Ok(true),
        _ => Err(invalid("sparse map is malformed")),
    }
}

pub fn is_zero(block: &[u8]) -> bool {
    // Safe code that the compiler turns into wide compares.
    block.iter().fold(0, |all, b| all | b) == 0
}

/// A refusal of the archive as a whole.
pub fn invalid(why: impl Into<String>) -> Error {
    Error::Archive(why.into())
}

/// A user or group number; the largest means "unchanged" to chown(2).
pub fn id(value: u64, what: &str) -> Result<u32> {
    match u32::try_from(value) {
        Ok(id) if id != u32::MAX => Ok(id),
        _ => Err(invalid(format!("{what} {value} is out of range"))),
    }
}

/// A field that cannot be negative.
pub fn number(field: &[u8]) -> Option<u64> {
    u64::try_from(signed(field)?).ok()
}

/// Octal text, or a big-endian two's complement number whose first bit is set (GNU's base-256).
fn signed(field: &[u8]) -> Option<i64> {
    let (first, rest) = field.split_first()?;
    if first & 0x80 == 0 {
        return i64::try_from(octal(field)?).ok();
    }
    // The marker bit is dropped; the bit below it is the sign.
    let negative = first & 0x40 != 0;
    let mut value: i128 = i128::from(first & 0x7f) - if negative { 0x80 } else { 0 };
    for byte in rest {
        value = value.checked_mul(256)?.checked_add(i128::from(*byte))?;
    }
    i64::try_from(value).ok()
}

/// Leading spaces, octal digits, then only NULs and spaces. Nothing at all is 0.
fn octal(field: &[u8]) -> Option<u64> {
    let mut value = 0u64;
    let mut bytes = field.iter().copied().skip_while(|b| *b == b' ').peekable();
    while let Some(digit @ b'0'..=b'7') = bytes.peek().copied() {
        value = value.checked_mul(8)?.checked_add(u64::from(digit - b'0'))?;
        bytes.next();
    }
    bytes.all(|b| b == 0 || b == b' ').then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers() {
        assert_eq!(number(b"0000644\0"), Some(0o644));
        assert_eq!(number(b"   644 \0"), Some(0o644));
        assert_eq!(number(b"\0\0\0\0\0\0\0\0"), Some(0));
        assert_eq!(number(b"77777777777\0"), Some(0o77777777777));
        assert_eq!(number(b"777777777777"), Some(0o777777777777));
        assert_eq!(number(b"\x80\0\0\0\0\0\0\0\0\0\x01\x02"), Some(0x102));
        assert_eq!(number(b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"), None);
        assert_eq!(signed(b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"), Some(-1));
        assert_eq!(number(b"\x80\0\0\x01\0\0\0\0\0\0\0\0"), None);
        assert_eq!(number(b"644x\0\0\0\0"), None);
        assert_eq!(number(b"-644\0\0\0\0"), None);
        assert_eq!(number(b"64 4\0\0\0\0"), None);
        assert_eq!(number(b"0x64\0\0\0\0"), None);
        assert_eq!(number(b"6\x004\0\0\0\0\0"), None);
    }
}
